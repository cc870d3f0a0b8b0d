"""Runs scenarios against a demo that is up, and says of each whether it came out as expected.

Must not know: processes, or how findings are shown.
"""

import json
import secrets
from pathlib import Path
from typing import assert_never, final

import attrs
import trio

from exchanger.demo.answer import Answer, Reached, answer_of, describe
from exchanger.demo.client import fetch
from exchanger.demo.envoy import LOOPBACK
from exchanger.demo.faults import NoAnswerError
from exchanger.demo.http import Request
from exchanger.demo.scenarios import EDIT_BOUND, Call, EqualRequests, OneRequest, PolicyEdit, Scenario
from exchanger.demo.site import Site, make_subjects, request_of

REQUEST_TIMEOUT = 8.0  # seconds: beyond the gateway's own bounds together, 1 s for the service and 5 s for the upstream
EDIT_POLL = 0.02  # seconds between two looks at whether an edit is in force


@final
@attrs.frozen
class Finding:
    """What came of a scenario: one line of the table, ``elapsed`` in seconds; ``details`` say more of what is not as expected."""

    name: str
    expected: str
    got: str
    ok: bool
    elapsed: float
    details: tuple[str, ...] = ()


def summary(scenario: Scenario) -> str:
    """Return what ``scenario`` expects, in a few words."""
    match scenario:
        case OneRequest():
            return describe(scenario.expected)
        case EqualRequests():
            return f"{scenario.count} × {describe(scenario.expected)}, 1 token request"
        case PolicyEdit():
            return f"{describe(scenario.edited)} within {EDIT_BOUND:g} s, and back"
        case _:
            assert_never(scenario)


async def run_scenario(scenario: Scenario, site: Site) -> Finding:
    """Run ``scenario`` and return what came of it; whatever goes wrong is in the finding."""
    started = trio.current_time()
    match scenario:
        case OneRequest():
            got, details = await _one_request(scenario, site)
        case EqualRequests():
            got, details = await _equal_requests(scenario, site)
        case PolicyEdit():
            got, details = await _policy_edit(scenario, site)
        case _:
            assert_never(scenario)
    return Finding(scenario.name, summary(scenario), got, ok=not details, elapsed=trio.current_time() - started, details=details)


async def ask(call: Call, site: Site, token: str) -> Answer | str:
    """Send ``call`` through the gateway with ``token`` ("" for none); return its answer, or in words why there is none."""
    try:
        response = await fetch(site.envoy_port, request_of(call, token), timeout=REQUEST_TIMEOUT)
    except NoAnswerError as error:
        return str(error)
    return answer_of(response, token)


async def _one_request(scenario: OneRequest, site: Site) -> tuple[str, tuple[str, ...]]:
    got = await ask(scenario.call, site, site.subjects.token(scenario.call.subject))
    return _words(got), _difference(scenario.expected, got)


async def _equal_requests(scenario: EqualRequests, site: Site) -> tuple[str, tuple[str, ...]]:
    user = f"equal-{secrets.token_hex(4)}"  # a subject of its own, so that its count is that of this run alone
    token = make_subjects(user).token(scenario.call.subject)
    answers: list[Answer | str] = []

    async def one() -> None:
        answers.append(await ask(scenario.call, site, token))

    async with trio.open_nursery() as nursery:
        for _ in range(scenario.count):
            nursery.start_soon(one)
    different = dict.fromkeys(answers)  # each kind of answer once
    details = tuple(line for answer in different for line in _difference(scenario.expected, answer))
    as_expected = sum(answer == scenario.expected for answer in answers)
    asked = await _token_requests(site, user)
    if asked != 1:
        details = (*details, f"token requests: {'unknown' if asked is None else asked}, not 1")
    plural = "" if asked == 1 else "s"
    return f"{as_expected} × {describe(scenario.expected)}, {asked} token request{plural}", details


async def _policy_edit(scenario: PolicyEdit, site: Site) -> tuple[str, tuple[str, ...]]:
    file = site.policy / scenario.file
    original = _read(file)
    if scenario.old not in original:
        return "nothing to edit", (f"{scenario.file} has no {scenario.old!r}",)
    try:
        _replace(file, original.replace(scenario.old, scenario.new))
        edited, edited_after = await _until(scenario.edited, scenario.call, site)
    finally:
        _replace(file, original)
    restored, restored_after = await _until(scenario.expected, scenario.call, site)
    details = (*_difference(scenario.edited, edited), *_difference(scenario.expected, restored))
    return f"{_words(edited)} after {edited_after * 1000:.0f} ms, and back after {restored_after * 1000:.0f} ms", details


async def _until(expected: Answer, call: Call, site: Site) -> tuple[Answer | str, float]:
    """Ask until the answer is as expected or ``EDIT_BOUND`` has passed; return the last answer and the seconds that it took."""
    started = trio.current_time()
    while True:
        asked = trio.current_time()
        got = await ask(call, site, site.subjects.token(call.subject))
        # Judged by when the question was put: an edit is in force for whoever asks after it.
        if got == expected or asked - started >= EDIT_BOUND:
            return got, asked - started
        await trio.sleep(EDIT_POLL)


async def _token_requests(site: Site, user: str) -> int | None:
    """Return how many token requests the endpoint has counted for ``user``, ``None`` when it does not tell."""
    try:
        response = await fetch(site.token_port, Request("GET", "/stats", (("Host", LOOPBACK),)), timeout=REQUEST_TIMEOUT)
        counts = json.loads(response.body)
        return sum(int(count["requests"]) for count in counts if count["subject"] == user)
    except (NoAnswerError, ValueError, KeyError, TypeError):
        return None


def _difference(expected: Answer, got: Answer | str) -> tuple[str, ...]:
    if got == expected:
        return ()
    return (f"expected {_full(expected)}", f"got      {_full(got)}")


def _words(got: Answer | str) -> str:
    return got if isinstance(got, str) else describe(got)


def _full(answer: Answer | str) -> str:
    if isinstance(answer, str):
        return answer
    if answer.upstream is not Reached.NOT:
        return describe(answer)
    challenges = "".join(f", WWW-Authenticate: {challenge}" for challenge in answer.challenges)
    return f"{answer.status} {answer.content_type or 'without a content type'}{challenges}: {answer.body[:500]!r}"


def _read(file: Path) -> str:
    return file.read_text("utf-8")


def _replace(file: Path, text: str) -> None:
    """Write ``text`` beside ``file`` and rename it over: nobody reads half a document."""
    written = file.with_name(f".{file.name}.new")
    written.write_text(text, "utf-8")
    written.replace(file)
