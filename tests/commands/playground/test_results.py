"""The result of a run as the page shows it: everything that can be seen, and no token."""

import json
from typing import Any

import attrs
import pytest

from exchanger.commands.playground.results import MAX_BODY, MAX_TRACES, result_of_finding, result_of_request
from exchanger.commands.scenarios.answer import differs
from exchanger.commands.scenarios.runner import Finding
from exchanger.commands.scenarios.scenario import GatewayCall
from exchanger.commands.scenarios.target import AnsweredCall, Gateway, ScenarioTarget
from exchanger.commands.scenarios.tokens import Subject, encode
from exchanger.net.http.message import Response

SENT = encode({"sub": "alice", "n": 1})
RECEIVED = encode({"sub": "alice", "scope": "a"})
CALL = GatewayCall("h", "/")


def ground() -> ScenarioTarget:
    def token(subject: Subject) -> str:
        return "" if subject is Subject.NONE else SENT

    return ScenarioTarget(Gateway("127.0.0.1", 1), token, recognise=differs)


def asked(*, body: str = "", status: int = 200, sent: str = SENT, trace_id: str = "1" * 32) -> AnsweredCall:
    return AnsweredCall(CALL, trace_id, sent, Response(status, (("x-seen", f"Bearer {sent}"),), body.encode()), elapsed=0.0125)


def echoed(token: str, *extra: str) -> str:
    return json.dumps({"headers": {"authorization": f"Bearer {token}", "x": list(extra)}})


@attrs.frozen
class Judged:
    verified: bool
    text: str
    kid: str | None


async def verify(token: str) -> Judged:
    return Judged(verified=token == RECEIVED, text="signed", kid="k1")


async def test_a_finding_is_shown_with_the_contents_of_its_tokens() -> None:
    finding = Finding("one", "200 x", "200 y", ok=False, elapsed=0.0125, details=("why",), asked=(asked(body=echoed(RECEIVED)),))
    unsigned = {"header": {"alg": "none", "typ": "JWT"}, "signature": "none"}
    assert await result_of_finding(finding, verify) == {
        "name": "one",
        "ok": False,
        "expected": "200 x",
        "got": "200 y",
        "elapsed_ms": 12.5,
        "details": ["why"],
        "trace_ids": ["1" * 32],
        "answer": {"status": 200, "headers": [["x-seen", "Bearer (token)"]], "body": echoed("(token)")},
        "tokens": {
            "sent": {**unsigned, "claims": {"sub": "alice", "n": 1}},
            "received": {**unsigned, "claims": {"sub": "alice", "scope": "a"}},
            "verification": {"verified": True, "text": "signed", "kid": "k1"},
        },
    }
    skipped = await result_of_finding(Finding("one", "e", "skipped", ok=True, elapsed=0.0, skipped="because"), verify)
    assert (skipped["ok"], skipped["got"], skipped["answer"]) == (None, "skipped: because", None)


async def test_request_is_shown_with_the_parts_that_exist() -> None:
    refused: Any = await result_of_request(asked(status=403, body="{}", sent=""), ground(), verify)
    assert refused["tokens"] == {"sent": None, "received": None, "verification": None}
    assert (refused["ok"], refused["got"], refused["elapsed_ms"]) == (None, "403 {}", 12.5)
    unknown: Any = await result_of_request(asked(body=echoed(RECEIVED)), ground(), None)
    assert (unknown["got"], unknown["tokens"]["verification"]) == ("200 exchanged: differs from what was sent", None)
    silent = await result_of_request(AnsweredCall(CALL, "", SENT, None, "no answer within 8 s"), ground(), verify)
    assert (silent["answer"], silent["got"], silent["trace_ids"]) == (None, "no answer within 8 s", [])


@pytest.mark.parametrize("own", ["opaque-token-of-mine", SENT])
async def test_no_token_is_shown_wherever_it_came_back(own: str) -> None:
    back = asked(body=echoed(RECEIVED, own, f"a{own}b", RECEIVED), sent=own)
    finding = Finding("one", "e", f"200 {own}", ok=False, elapsed=1, details=(f"got {own} and {RECEIVED}",), asked=(back,))
    for found in (await result_of_finding(finding, verify), await result_of_request(back, ground(), verify)):
        assert not any(token in json.dumps(found) for token in (own, RECEIVED))


async def test_result_shows_the_first_request_with_a_redacted_and_bounded_body() -> None:
    body = "x" * (MAX_BODY - 5) + "opaque-token-of-mine"
    many = tuple(
        asked(status=403, body=body if number == 0 else "", sent="opaque-token-of-mine", trace_id=f"{number:032x}")
        for number in range(MAX_TRACES + 1)
    )
    found: Any = await result_of_finding(Finding("one", "e", "g", ok=True, elapsed=0, asked=many), None)
    assert found["trace_ids"] == [f"{number:032x}" for number in range(MAX_TRACES)]
    assert found["answer"]["body"] == "x" * (MAX_BODY - 5) + "(toke"
