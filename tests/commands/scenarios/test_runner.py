"""Scenarios are checked correctly, whatever the gateway does."""

from pathlib import Path
from typing import Any

import attrs
import pytest

from exchanger.commands.demo.servers import echo
from exchanger.commands.demo.setup import demo_target
from exchanger.commands.scenarios.answer import Exchanged, Reached, RequestedTarget, ScenarioAnswer
from exchanger.commands.scenarios.runner import NO_FRESH_USER, NO_POLICY, NO_STATS, UNSEEN_EDIT, Finding, run_scenario, summary
from exchanger.commands.scenarios.scenario import OneRequest, Scenario
from exchanger.commands.scenarios.tokens import Subject, make_subjects
from exchanger.net.http.message import Handler, Request, Response
from tests.commands.scenarios.stand_in import CALL, DENIED, EDIT, EQUAL, ONE, StandIn, demo, deny, ports, write_sample_policy
from tests.commands.scenarios.test_client import answering

OWN = "a-token-of-ones-own"


@pytest.fixture
def gateway(tmp_path: Path) -> StandIn:
    write_sample_policy(tmp_path / "policy")
    return StandIn(tmp_path / "policy")


async def finding(scenario: Scenario, gateway: StandIn, handler: Handler, **changed: Any) -> Finding:
    async with demo(gateway.policy.parent, handler, gateway.issuer) as where:
        found = await run_scenario(scenario, attrs.evolve(demo_target(where), **changed))
    assert (found.name, found.expected) == (scenario.name, summary(scenario))
    assert found.ok == (found.details == ())
    return found


async def test_each_kind_of_scenario_as_expected(gateway: StandIn) -> None:
    before = (gateway.policy / "yellow.yaml").read_text()
    one, equal = await finding(ONE, gateway, deny), await finding(EQUAL, gateway, gateway.equal)
    edit = await finding(EDIT, gateway, gateway.exchange)
    assert (one.ok, equal.ok, edit.ok) == (True, True, True), edit.details
    assert one.got == one.expected == "403 policy_denied"
    assert equal.got == equal.expected == "3 × 200 exchanged for scope a, 1 token request"
    assert (gateway.policy / "yellow.yaml").read_text() == before
    assert sorted(file.name for file in gateway.policy.iterdir()) == ["blue.yaml", "red.yaml", "yellow.yaml"]
    assert [len(found.asked) for found in (one, equal, edit)] == [1, EQUAL.count, 2]
    asked = [asked for found in (one, equal, edit) for asked in found.asked]
    assert len({each.trace_id for each in asked}) == len(asked)
    assert all(each.response is not None and each.sent not in repr(found) for found in (one, equal, edit) for each in found.asked)


@pytest.mark.parametrize(
    "expected",
    [
        ScenarioAnswer(401, DENIED.body),
        ScenarioAnswer(403, DENIED.body + " "),
        ScenarioAnswer(403, DENIED.body, ("Bearer",)),
        ScenarioAnswer(403, DENIED.body, content_type="text/plain"),
        ScenarioAnswer(403, upstream=Reached.WITH_ORIGINAL),
    ],
)
async def test_one_request_that_differs_in_anything(expected: ScenarioAnswer, gateway: StandIn) -> None:
    found = await finding(attrs.evolve(ONE, expected=expected), gateway, deny)
    assert (found.got, len(found.details)) == ("403 policy_denied", 2)


async def test_equal_requests_that_do_not_share_or_differ_or_cannot_be_counted(gateway: StandIn) -> None:
    unknown = await finding(EQUAL, gateway, gateway.equal, stats=("127.0.0.1", 1))
    assert unknown.details == ("token requests: unknown, not 1",)
    gateway.shared = False
    assert (await finding(EQUAL, gateway, gateway.equal)).details == ("token requests: 3, not 1",)
    assert not (await finding(EQUAL, gateway, deny)).ok


async def test_an_edit_is_undone_byte_for_byte_and_must_have_an_effect(gateway: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    file = gateway.policy / "yellow.yaml"
    before = file.read_bytes().replace(b"\n", b"\r\n")
    file.write_bytes(before)
    assert (await finding(EDIT, gateway, gateway.exchange)).ok
    assert file.read_bytes() == before
    monkeypatch.setattr("exchanger.commands.scenarios.runner.EDIT_BOUND", 0.0)
    gateway.watches = False
    assert not (await finding(EDIT, gateway, gateway.exchange)).ok
    assert file.read_bytes() == before


@pytest.mark.parametrize("broken", ["empty", "away", "folder", "bytes"])
async def test_an_edit_of_a_file_without_the_text(gateway: StandIn, broken: str) -> None:
    file = gateway.policy / "yellow.yaml"
    file.unlink()
    if broken == "folder":
        file.mkdir()
    elif broken != "away":
        file.write_bytes(b"\xff" if broken == "bytes" else b"")
    found = await finding(EDIT, gateway, deny)
    assert (found.got, len(found.details)) == ("nothing to edit", 1)
    assert "yellow.yaml" in found.details[0]


async def test_no_answer_is_a_finding(tmp_path: Path) -> None:
    found = await run_scenario(ONE, demo_target(ports(tmp_path)))
    assert not found.ok
    assert "no answer" in found.got


async def test_a_call_carries_the_subject_token_that_it_names(gateway: StandIn) -> None:
    for subject, reached in ((Subject.NONE, Reached.WITHOUT_TOKEN), (Subject.VALID, Reached.WITH_ORIGINAL)):
        scenario = OneRequest("one", "w", attrs.evolve(CALL, subject=subject), ScenarioAnswer(200, upstream=reached))
        assert (await finding(scenario, gateway, echo)).ok


@pytest.mark.parametrize(
    ("scenario", "missing", "reason"),
    [(EQUAL, {"stats": None}, NO_STATS), (EQUAL, {"fresh": None}, NO_FRESH_USER), (EDIT, {"policy": None}, NO_POLICY)],
)
async def test_a_scenario_that_cannot_be_run_is_skipped_with_the_reason(
    scenario: Scenario, missing: dict[str, Any], reason: str, gateway: StandIn
) -> None:
    found = await finding(scenario, gateway, gateway.exchange, **missing)
    assert (found.ok, found.skipped, found.asked) == (True, reason, ())


async def test_with_a_users_own_token_any_other_token_is_an_exchanged_one(gateway: StandIn) -> None:
    other = ("authorization", "Bearer opaque-and-new")
    scenario = OneRequest("exchanged", "w", CALL, ScenarioAnswer(200, upstream=Exchanged(RequestedTarget("anything"))))

    def seeing(*headers: tuple[str, str]) -> Handler:
        async def handle(_request: Request) -> Response:
            return await echo(Request("GET", "/", headers))

        return handle

    found = []
    for handler in (seeing(other), echo, seeing(other, ("x-original", f"Bearer {OWN}")), seeing()):
        async with demo(gateway.policy.parent, handler) as where:
            found.append(await run_scenario(scenario, demo_target(where).with_own_token(OWN)))
    assert [each.ok for each in found] == [True, False, False, False]
    assert found[0].got == found[0].expected == "200 exchanged: differs from what was sent"
    assert all(OWN not in str(attrs.astuple(each, recurse=False)) for each in found)


async def test_own_token_is_sent_and_unsuitable_scenarios_are_skipped(gateway: StandIn) -> None:
    async with demo(gateway.policy.parent, deny) as where:
        target = demo_target(where).with_own_token(OWN)
        valid, none, expired = [
            await run_scenario(OneRequest("one", "w", attrs.evolve(CALL, subject=subject), DENIED), target)
            for subject in (Subject.VALID, Subject.NONE, Subject.EXPIRED)
        ]
        equal, edit = await run_scenario(EQUAL, target), await run_scenario(EDIT, target)
    assert [each.sent for found in (valid, none) for each in found.asked] == [OWN, ""]
    assert "expired" in expired.skipped
    assert (equal.skipped, edit.skipped) == (NO_FRESH_USER, UNSEEN_EDIT)


async def test_findings_contain_neither_tokens_nor_terminal_controls(tmp_path: Path) -> None:
    """The worst gateway repeats what it got in several places and spellings, also where it is cut."""
    sent, issued = make_subjects(), make_subjects("somebody-else").valid
    spelt = "".join(f"\\u{ord(character):04x}" for character in sent.valid)
    tail = f"{sent.valid} {issued}"
    for body in (f'{{"error":"{spelt}"}}', f'{{"error":"{"x" * 300} {tail}"}}', "x" * 470 + tail, "x" * 30 + tail, "\x1b[2J\x9b"):
        head = f"HTTP/1.1 403 Forbidden\r\nWWW-Authenticate: Bearer {sent.valid}\r\nContent-Type: text/\x9b2J\r\n\r\n"
        async with answering(head.encode("latin-1") + body.encode()) as port:
            found = await run_scenario(ONE, demo_target(attrs.evolve(ports(tmp_path, port), subjects=sent)))
        shown = " ".join((found.got, *found.details))
        assert found.got.startswith("403 ")
        assert shown.isprintable()
        for token in (sent.valid, issued):
            assert token[:20] not in shown
            assert token[-20:] not in shown
