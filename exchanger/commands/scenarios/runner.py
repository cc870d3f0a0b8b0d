"""Runs scenarios against a target, the demo's or any other gateway, and says whether each had the expected result."""

import json
from pathlib import Path
from typing import Final, assert_never, final

import attrs
import trio

from exchanger.commands.scenarios.answer import Reached, ScenarioAnswer, answer_of, describe, differs, relaxed
from exchanger.commands.scenarios.client import NoAnswerError, fetch_from
from exchanger.commands.scenarios.redaction import without_tokens
from exchanger.commands.scenarios.scenario import EDIT_BOUND, EqualRequests, GatewayCall, LooseRequest, OneRequest, PolicyEdit, Scenario
from exchanger.commands.scenarios.target import REQUEST_TIMEOUT, AnsweredCall, ScenarioTarget
from exchanger.net.http.message import Request, Response
from exchanger.net.network import SYSTEM
from exchanger.util.address import format_address
from exchanger.util.regular_file import open_regular
from exchanger.util.text import printable

_EDIT_POLL: Final = 0.02  # seconds between two checks whether an edit is active

NO_STATS: Final = "the token endpoint's counts cannot be seen"
NO_FRESH_USER: Final = "it needs a token of a new user, and there is one token for all"
NO_POLICY: Final = "the policy folder is not accessible"
UNSEEN_EDIT: Final = "what your own token is exchanged for cannot be seen, so an edit cannot be seen either"


@final
@attrs.frozen
class Finding:
    """The result of a scenario: one line of the table, ``elapsed`` in seconds; ``details`` explain unexpected results.

    ``asked`` are its requests; of the many that wait for an edit, the last ones. ``skipped`` says why it was not run; it is then ok.
    """

    name: str
    expected: str
    got: str
    ok: bool
    elapsed: float
    details: tuple[str, ...] = ()
    asked: tuple[AnsweredCall, ...] = ()
    skipped: str = ""


@final
@attrs.frozen
class _Outcome:
    """The result of a scenario in words; without ``details`` it is as expected."""

    got: str
    details: tuple[str, ...] = ()
    asked: tuple[AnsweredCall, ...] = ()


def summary(scenario: Scenario, *, lenient: bool = False) -> str:
    """Return what ``scenario`` expects, in a few words; ``lenient`` as in ``ScenarioTarget``."""
    describe_expected = _describe_relaxed if lenient else describe
    match scenario:
        case OneRequest():
            return describe_expected(scenario.expected)
        case LooseRequest():
            return str(scenario.expected)
        case EqualRequests():
            return f"{scenario.count} × {describe_expected(scenario.expected)}, 1 token request"
        case PolicyEdit():
            return f"{describe_expected(scenario.edited)} within {EDIT_BOUND:g} s, and back"
        case _:
            assert_never(scenario)


def is_exchanged(scenario: OneRequest | LooseRequest, response: Response, sent: str, target: ScenarioTarget) -> bool:
    """Whether ``response`` is as expected, and the upstream saw another token than the one that was ``sent``."""
    answer = answer_of(response, sent, target.recognise)
    if isinstance(scenario, OneRequest):
        return answer == scenario.expected
    return not scenario.expected.differences(response) and answer.upstream is Reached.WITH_DIFFERENT


async def run_scenario(scenario: Scenario, target: ScenarioTarget) -> Finding:
    """Run ``scenario``; any failure is part of the finding."""
    expected = summary(scenario, lenient=target.lenient)
    started = trio.current_time()
    ran = target.why_not(scenario.call) or await _run(scenario, target)
    if isinstance(ran, str):
        return Finding(scenario.name, expected, "skipped", ok=True, elapsed=0.0, skipped=ran)
    return Finding(
        scenario.name, expected, ran.got, ok=not ran.details, elapsed=trio.current_time() - started, details=ran.details, asked=ran.asked
    )


async def _run(scenario: Scenario, target: ScenarioTarget) -> _Outcome | str:
    """Return the outcome, or why it was not run."""
    match scenario:
        case OneRequest():
            return await _one_request(scenario, target)
        case LooseRequest():
            return await _loose_request(scenario, target)
        case EqualRequests():
            return await _equal_requests(scenario, target)
        case PolicyEdit():
            return await _policy_edit(scenario, target)
        case _:
            assert_never(scenario)


async def _one_request(scenario: OneRequest, target: ScenarioTarget) -> _Outcome:
    asked = await target.send(scenario.call, target.token(scenario.call))
    got = target.check(asked)
    return _Outcome(_words(got, asked), _difference(_expected(scenario.expected, target), got, asked), (asked,))


async def _loose_request(scenario: LooseRequest, target: ScenarioTarget) -> _Outcome:
    call, expected = scenario.call, scenario.expected
    asked = await target.send(call, target.token(call))
    if asked.response is None:
        return _Outcome(_clean(asked.problem, asked), (f"expected {expected}",), (asked,))
    if call.literal:  # if a user's own token is sent instead, the upstream is expected to see that one
        expected = attrs.evolve(expected, authorization=expected.authorization.replace(call.literal, asked.sent))
    details = tuple(_clean(line, asked) for line in expected.differences(asked.response))
    return _Outcome(_words(answer_of(asked.response, asked.sent, differs), asked), details, (asked,))


async def _equal_requests(scenario: EqualRequests, target: ScenarioTarget) -> _Outcome | str:
    if target.stats is None:
        return NO_STATS
    if target.fresh is None:
        return NO_FRESH_USER
    user = f"equal-{SYSTEM.entropy(4).hex()}"  # a separate subject, so that its count is that of this run alone
    token = target.fresh(user).token(scenario.call.subject)
    all_asked: list[AnsweredCall] = []

    async def one() -> None:
        all_asked.append(await target.send(scenario.call, token))

    async with trio.open_nursery() as nursery:
        for _ in range(scenario.count):
            nursery.start_soon(one)
    expected, answers = _expected(scenario.expected, target), [(target.check(asked), asked) for asked in all_asked]
    different = dict(answers)  # each kind of answer once
    details = tuple(line for answer, asked in different.items() for line in _difference(expected, answer, asked))
    as_expected = sum(answer == expected for answer, _ in answers)
    count = await _token_requests(*target.stats, user)
    if count != 1:
        details = (*details, f"token requests: {'unknown' if count is None else count}, not 1")
    plural = "" if count == 1 else "s"
    return _Outcome(f"{as_expected} × {describe(expected)}, {count} token request{plural}", details, tuple(all_asked))


async def _policy_edit(scenario: PolicyEdit, target: ScenarioTarget) -> _Outcome | str:
    if target.policy is None:
        return NO_POLICY
    if target.lenient:
        return UNSEEN_EDIT
    file = target.policy / scenario.file
    try:
        original = _read(file)
        if scenario.old not in original:
            return _Outcome("nothing to edit", (f"{scenario.file} has no {scenario.old!r}",))
        _replace(file, original.replace(scenario.old, scenario.new))
    except OSError as error:
        return _Outcome("nothing to edit", (f"{scenario.file} cannot be read and written: {error.strerror}",))
    except UnicodeDecodeError:
        return _Outcome("nothing to edit", (f"{scenario.file} is not UTF-8",))
    try:
        edited, edited_after, edited_asked = await _until(scenario.edited, scenario.call, target)
    finally:
        _replace(file, original)
    restored, restored_after, restored_asked = await _until(scenario.expected, scenario.call, target)
    details = (
        *_difference(scenario.edited, edited, edited_asked),
        *_difference(scenario.expected, restored, restored_asked),
    )
    got = f"{_words(edited, edited_asked)} after {edited_after * 1000:.0f} ms, and back after {restored_after * 1000:.0f} ms"
    return _Outcome(got, details, (edited_asked, restored_asked))


async def _until(expected: ScenarioAnswer, call: GatewayCall, target: ScenarioTarget) -> tuple[ScenarioAnswer | str, float, AnsweredCall]:
    """Ask until the answer is as expected or ``EDIT_BOUND`` has passed; return the last answer, the seconds until it, and its request."""
    started = trio.current_time()
    while True:
        put = trio.current_time()
        asked = await target.send(call, target.token(call))
        got = target.check(asked)
        # Judged by when the request was sent: an edit is active for every request after it.
        if got == expected or put - started >= EDIT_BOUND:
            return got, put - started, asked
        await trio.sleep(_EDIT_POLL)


async def _token_requests(host: str, port: int, user: str) -> int | None:
    """Return how many token requests the endpoint has counted for ``user``, ``None`` if it does not say."""
    try:
        request = Request("GET", "/stats", (("Host", format_address(host, port)),))
        response = await fetch_from(host, port, request, timeout=REQUEST_TIMEOUT)
        counts = json.loads(response.body)
        return sum(int(count["requests"]) for count in counts if count["subject"] == user)
    except (NoAnswerError, ValueError, KeyError, TypeError):
        return None


def _expected(answer: ScenarioAnswer, target: ScenarioTarget) -> ScenarioAnswer:
    return relaxed(answer) if target.lenient else answer


def _describe_relaxed(answer: ScenarioAnswer) -> str:
    return describe(relaxed(answer))


def _difference(expected: ScenarioAnswer, got: ScenarioAnswer | str, asked: AnsweredCall) -> tuple[str, ...]:
    if got == expected:
        return ()
    return (f"expected {_full(expected)}", f"got      {_clean(_full(_shown(got, asked)), asked)}")


def _words(got: ScenarioAnswer | str, asked: AnsweredCall) -> str:
    shown = _shown(got, asked)
    return _clean(shown if isinstance(shown, str) else describe(shown), asked)


def _clean(text: str, asked: AnsweredCall) -> str:
    """Return ``text`` fit for a terminal, checked again for tokens: an answer's JSON may have escaped them."""
    return printable(without_tokens(text, asked.sent))


def _shown(got: ScenarioAnswer | str, asked: AnsweredCall) -> ScenarioAnswer | str:
    """Return the result without tokens, before it is cut to a length at which they could no longer be recognised."""
    if isinstance(got, str):
        return got
    return attrs.evolve(
        got,
        body=without_tokens(got.body, asked.sent),
        challenges=tuple(without_tokens(challenge, asked.sent) for challenge in got.challenges),
        content_type=without_tokens(got.content_type, asked.sent),
    )


def _full(answer: ScenarioAnswer | str) -> str:
    if isinstance(answer, str):
        return answer
    if answer.upstream is not Reached.NOT:
        return describe(answer)
    challenges = "".join(f", WWW-Authenticate: {challenge}" for challenge in answer.challenges)
    return f"{answer.status} {answer.content_type or 'without a content type'}{challenges}: {answer.body[:500]!r}"


def _read(file: Path) -> str:
    """Return the text of ``file``, its line ends untouched."""
    with open_regular(file) as opened:
        return opened.read().decode()


def _replace(file: Path, text: str) -> None:
    """Write ``text`` next to ``file`` and rename it, so that no one reads half a document."""
    written = file.with_name(f".{file.name}.new")
    written.write_bytes(text.encode())
    written.replace(file)
