"""Runs scenarios on a ground, the demo's or any other gateway, and says of each whether it came out as expected.

Must not know: processes, or how findings are shown.
"""

import json
import secrets
from pathlib import Path
from typing import assert_never, final

import attrs
import trio

from exchanger.demo.answer import Answer, Reached, answer_of, describe, relaxed
from exchanger.demo.client import fetch_from
from exchanger.demo.faults import NoAnswerError
from exchanger.demo.gateway import REQUEST_TIMEOUT, Asked, send
from exchanger.demo.ground import Ground
from exchanger.demo.hiding import without_tokens
from exchanger.demo.http import Request
from exchanger.demo.scenario import EDIT_BOUND, Call, EqualRequests, OneRequest, PolicyEdit, Scenario
from exchanger.util.address import format_address
from exchanger.util.regular_file import open_regular
from exchanger.util.text import printable

EDIT_POLL = 0.02  # seconds between two looks at whether an edit is in force

NO_STATS = "the token endpoint's counts cannot be seen"
NO_FRESH_USER = "it needs a token of a new user, and there is one token for all"
NO_POLICY = "the policy folder is not within reach"
UNSEEN_EDIT = "what your own token is exchanged for cannot be seen, so that no edit can be either"


@final
@attrs.frozen
class Finding:
    """What came of a scenario: one line of the table, ``elapsed`` in seconds; ``details`` say more of what is not as expected.

    ``asked`` are the requests that it is about; of many looks for an edit the last ones. ``skipped`` is why it was not run, and is then ok.
    """

    name: str
    expected: str
    got: str
    ok: bool
    elapsed: float
    details: tuple[str, ...] = ()
    asked: tuple[Asked, ...] = ()
    skipped: str = ""


@final
@attrs.frozen
class _Outcome:
    """What came of a scenario, in words; without ``details`` it is as expected."""

    got: str
    details: tuple[str, ...] = ()
    asked: tuple[Asked, ...] = ()


def summary(scenario: Scenario, *, lenient: bool = False) -> str:
    """Return what ``scenario`` expects, in a few words; ``lenient`` as in ``Ground``."""
    describe_expected = _describe_relaxed if lenient else describe
    match scenario:
        case OneRequest():
            return describe_expected(scenario.expected)
        case EqualRequests():
            return f"{scenario.count} × {describe_expected(scenario.expected)}, 1 token request"
        case PolicyEdit():
            return f"{describe_expected(scenario.edited)} within {EDIT_BOUND:g} s, and back"
        case _:
            assert_never(scenario)


async def run_scenario(scenario: Scenario, ground: Ground) -> Finding:
    """Run ``scenario`` and return what came of it; whatever goes wrong is in the finding."""
    expected = summary(scenario, lenient=ground.lenient)
    started = trio.current_time()
    subject = scenario.call.subject
    ran = await _run(scenario, ground) if subject in ground.made else f"it needs a token that is {subject.value}, which cannot be made here"
    if isinstance(ran, str):
        return Finding(scenario.name, expected, "skipped", ok=True, elapsed=0.0, skipped=ran)
    return Finding(
        scenario.name, expected, ran.got, ok=not ran.details, elapsed=trio.current_time() - started, details=ran.details, asked=ran.asked
    )


async def _run(scenario: Scenario, ground: Ground) -> _Outcome | str:
    """Return what came of it, or why it was not run."""
    match scenario:
        case OneRequest():
            return await _one_request(scenario, ground)
        case EqualRequests():
            return await _equal_requests(scenario, ground)
        case PolicyEdit():
            return await _policy_edit(scenario, ground)
        case _:
            assert_never(scenario)


async def ask(call: Call, ground: Ground, token: str) -> Answer | str:
    """Send ``call`` through the gateway with ``token`` ("" for none); return its answer, or in words why there is none."""
    return _judged(await send(ground.gateway, call, token, timeout=ground.timeout), ground)


async def _one_request(scenario: OneRequest, ground: Ground) -> _Outcome:
    asked = await send(ground.gateway, scenario.call, ground.subjects(scenario.call.subject), timeout=ground.timeout)
    got = _judged(asked, ground)
    return _Outcome(_words(got, asked), _difference(_expected(scenario.expected, ground), got, asked), (asked,))


async def _equal_requests(scenario: EqualRequests, ground: Ground) -> _Outcome | str:
    if ground.stats is None:
        return NO_STATS
    if ground.fresh is None:
        return NO_FRESH_USER
    user = f"equal-{secrets.token_hex(4)}"  # a subject of its own, so that its count is that of this run alone
    token = ground.fresh(user).token(scenario.call.subject)
    all_asked: list[Asked] = []

    async def one() -> None:
        all_asked.append(await send(ground.gateway, scenario.call, token, timeout=ground.timeout))

    async with trio.open_nursery() as nursery:
        for _ in range(scenario.count):
            nursery.start_soon(one)
    expected, answers = _expected(scenario.expected, ground), [(_judged(asked, ground), asked) for asked in all_asked]
    different = dict(answers)  # each kind of answer once
    details = tuple(line for answer, asked in different.items() for line in _difference(expected, answer, asked))
    as_expected = sum(answer == expected for answer, _ in answers)
    count = await _token_requests(*ground.stats, user)
    if count != 1:
        details = (*details, f"token requests: {'unknown' if count is None else count}, not 1")
    plural = "" if count == 1 else "s"
    return _Outcome(f"{as_expected} × {describe(expected)}, {count} token request{plural}", details, tuple(all_asked))


async def _policy_edit(scenario: PolicyEdit, ground: Ground) -> _Outcome | str:
    if ground.policy is None:
        return NO_POLICY
    if ground.lenient:
        return UNSEEN_EDIT
    file = ground.policy / scenario.file
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
        edited, edited_after, edited_asked = await _until(scenario.edited, scenario.call, ground)
    finally:
        _replace(file, original)
    restored, restored_after, restored_asked = await _until(scenario.expected, scenario.call, ground)
    details = (
        *_difference(scenario.edited, edited, edited_asked),
        *_difference(scenario.expected, restored, restored_asked),
    )
    got = f"{_words(edited, edited_asked)} after {edited_after * 1000:.0f} ms, and back after {restored_after * 1000:.0f} ms"
    return _Outcome(got, details, (edited_asked, restored_asked))


async def _until(expected: Answer, call: Call, ground: Ground) -> tuple[Answer | str, float, Asked]:
    """Ask until the answer is as expected or ``EDIT_BOUND`` has passed; return the last answer, the seconds it took, and the request."""
    started = trio.current_time()
    while True:
        put = trio.current_time()
        asked = await send(ground.gateway, call, ground.subjects(call.subject), timeout=ground.timeout)
        got = _judged(asked, ground)
        # Judged by when the question was put: an edit is in force for whoever asks after it.
        if got == expected or put - started >= EDIT_BOUND:
            return got, put - started, asked
        await trio.sleep(EDIT_POLL)


async def _token_requests(host: str, port: int, user: str) -> int | None:
    """Return how many token requests the endpoint has counted for ``user``, ``None`` when it does not tell."""
    try:
        request = Request("GET", "/stats", (("Host", format_address(host, port)),))
        response = await fetch_from(host, port, request, timeout=REQUEST_TIMEOUT)
        counts = json.loads(response.body)
        return sum(int(count["requests"]) for count in counts if count["subject"] == user)
    except (NoAnswerError, ValueError, KeyError, TypeError):
        return None


def _judged(asked: Asked, ground: Ground) -> Answer | str:
    return asked.problem if asked.response is None else answer_of(asked.response, asked.sent, ground.recognise)


def _expected(answer: Answer, ground: Ground) -> Answer:
    return relaxed(answer) if ground.lenient else answer


def _describe_relaxed(answer: Answer) -> str:
    return describe(relaxed(answer))


def _difference(expected: Answer, got: Answer | str, asked: Asked) -> tuple[str, ...]:
    if got == expected:
        return ()
    return (f"expected {_full(expected)}", f"got      {_clean(_full(_shown(got, asked)), asked)}")


def _words(got: Answer | str, asked: Asked) -> str:
    shown = _shown(got, asked)
    return _clean(shown if isinstance(shown, str) else describe(shown), asked)


def _clean(text: str, asked: Asked) -> str:
    """Return what a terminal may be told: once more without tokens, as an answer's JSON may have spelt them in another way."""
    return printable(without_tokens(text, asked.sent))


def _shown(got: Answer | str, asked: Asked) -> Answer | str:
    """Return what was got without tokens, before it is cut to a length at which they could not be recognised any more."""
    if isinstance(got, str):
        return got
    return attrs.evolve(
        got,
        body=without_tokens(got.body, asked.sent),
        challenges=tuple(without_tokens(challenge, asked.sent) for challenge in got.challenges),
        content_type=without_tokens(got.content_type, asked.sent),
    )


def _full(answer: Answer | str) -> str:
    if isinstance(answer, str):
        return answer
    if answer.upstream is not Reached.NOT:
        return describe(answer)
    challenges = "".join(f", WWW-Authenticate: {challenge}" for challenge in answer.challenges)
    return f"{answer.status} {answer.content_type or 'without a content type'}{challenges}: {answer.body[:500]!r}"


def _read(file: Path) -> str:
    """Return the text of ``file`` with the ends of lines that it has."""
    with open_regular(file) as opened:
        return opened.read().decode()


def _replace(file: Path, text: str) -> None:
    """Write ``text`` beside ``file`` and rename it over: nobody reads half a document."""
    written = file.with_name(f".{file.name}.new")
    written.write_bytes(text.encode())
    written.replace(file)
