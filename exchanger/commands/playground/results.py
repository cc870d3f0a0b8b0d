"""A run as the page shows it: expected and got in words, the answer, and the contents of tokens, never a token itself."""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from exchanger.commands.scenarios.answer import describe, token_seen
from exchanger.commands.scenarios.redaction import without_tokens
from exchanger.commands.scenarios.runner import Finding
from exchanger.commands.scenarios.target import AnsweredCall, ScenarioTarget
from exchanger.operations.console.decision_json import decoded

Json = dict[str, object]

# Characters of an answer's body that are shown; the demo's upstream repeats headers, of which Envoy lets 60 KiB through.
MAX_BODY: Final = 65_536
# Requests of one run that can be found again; equal requests are ten.
MAX_TRACES: Final = 100


class TokenVerdict(Protocol):
    """Whether a token is signed by its issuer, why or why not, and by which key (``None``: none fits)."""

    @property
    def verified(self) -> bool:
        """Whether the signature is the issuer's, and the token is active."""

    @property
    def text(self) -> str:
        """Why, in words."""

    @property
    def kid(self) -> str | None:
        """The key that the token names."""


Verify = Callable[[str], Awaitable[TokenVerdict]]


async def result_of_finding(finding: Finding, verify: Verify | None) -> Json:
    """Return the result of a scenario; ``ok`` is ``None`` if it was skipped."""
    skipped, sent = bool(finding.skipped), _sent(finding.asked)
    shown = await _shown(finding.asked, verify)
    return {
        "name": finding.name,
        "ok": None if skipped else finding.ok,
        "expected": finding.expected,
        "got": f"skipped: {finding.skipped}" if skipped else without_tokens(finding.got, *sent),
        "elapsed_ms": _ms(finding.elapsed),
        "details": [without_tokens(line, *sent) for line in finding.details],
        **shown,
    }


async def result_of_request(asked: AnsweredCall, target: ScenarioTarget, verify: Verify | None) -> Json:
    """Return the result of a request without an expectation."""
    answer = target.check(asked)
    got = answer if isinstance(answer, str) else describe(answer)
    shown = await _shown((asked,), verify)
    return {
        "name": "",
        "ok": None,
        "expected": "",
        "got": without_tokens(got, asked.sent),
        "elapsed_ms": _ms(asked.elapsed),
        "details": [],
        **shown,
    }


async def _shown(asked: tuple[AnsweredCall, ...], verify: Verify | None) -> Json:
    """Return how to find the requests again, and the answer and tokens of the first, which after an edit is the edited one."""
    traces = [one.trace_id for one in asked if one.trace_id][:MAX_TRACES]
    if not asked:
        return {"trace_ids": traces, "answer": None, "tokens": _tokens("", "", None)}
    first = asked[0]
    received = "" if first.response is None else token_seen(first.response)
    verification = await verify(received) if received and verify is not None else None
    return {"trace_ids": traces, "answer": _answer(first, received), "tokens": _tokens(first.sent, received, verification)}


def _answer(asked: AnsweredCall, received: str) -> Json | None:
    response = asked.response
    if response is None:
        return None
    body = without_tokens(response.body.decode("utf-8", "replace"), asked.sent, received)
    headers = [[name, without_tokens(value, asked.sent, received)] for name, value in response.headers]
    return {"status": response.status, "headers": headers, "body": body[:MAX_BODY]}


def _tokens(sent: str, received: str, verification: TokenVerdict | None) -> Json:
    checked = None if verification is None else {"verified": verification.verified, "text": verification.text, "kid": verification.kid}
    return {"sent": decoded(sent) if sent else None, "received": decoded(received) if received else None, "verification": checked}


def _sent(asked: tuple[AnsweredCall, ...]) -> tuple[str, ...]:
    return tuple({one.sent for one in asked})


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
