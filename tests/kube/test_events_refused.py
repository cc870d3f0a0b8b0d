"""Authors learn what their namespace is not granted: as it is, or as it would be, and when that is over."""

from collections.abc import Mapping

import pytest
import trio.testing

from exchanger.policy.grants.allowance import Grants
from exchanger.policy.grants.reader import read_grants
from tests.kube.cluster import deny
from tests.kube.telling import NO_VERSION, Stage, stage

OUTSIDE = "version: v1\nentries: [{match: {host: z, pathPrefix: /}, action: deny}]"
BOTH = OUTSIDE[:-1] + ", {action: deny}]"


def grants(hosts: str = "h", *, enforced: bool = True) -> Grants:
    found = read_grants(f"version: v1\ngrants: [{{namespaces: [team], hosts: [{hosts}]}}]", has_labels=True, enforced=enforced)
    assert isinstance(found, Grants)
    return found


def reasons(at: Stage) -> list[object]:
    return [reason for _, reason, _ in at.server.said()]


def messages(at: Stage, reason: str) -> list[str]:
    return [str(event["message"]) for event in at.server.events.values() if event["reason"] == reason]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param([{"p": OUTSIDE}], ["PolicyRefused"], id="refused"),
        pytest.param([{"p": OUTSIDE}, {"p": deny()}], ["PolicyRefused", "PolicyActive"], id="moved inside"),
        pytest.param([{"p": OUTSIDE}, {"p": NO_VERSION}], ["PolicyRefused", "InvalidPolicy"], id="broken instead"),
        pytest.param(
            [{"p": OUTSIDE}, {"p": NO_VERSION}, {"p": deny()}],
            ["PolicyRefused", "InvalidPolicy", "PolicyActive"],
            id="mended",
        ),
        pytest.param([{"p": BOTH}], ["InvalidPolicy", "PolicyRefused"], id="invalid too"),
        pytest.param([{"p": OUTSIDE}, {"p": None}], ["PolicyRefused"], id="gone, and there is nobody to tell"),
    ],
)
async def test_each_change_of_a_refused_policy_has_an_event(
    autojump_clock: trio.testing.MockClock, changes: list[Mapping[str, str | None]], expected: list[str]
) -> None:
    async with stage() as at:
        at.grants = grants()
        for change in changes:
            at.put(**change)
            await at.settle()
        assert sorted(map(str, reasons(at))) == sorted(expected)
        assert all(event["type"] == "Warning" for event in at.server.events.values() if event["reason"] == "PolicyRefused")


async def test_grants_that_change_are_told_once(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as at:
        at.grants = grants()
        at.put(p=OUTSIDE)
        await at.settle()
        at.read_all_again()
        await at.settle()
        assert at.server.said() == [("p", "PolicyRefused", 1)]
        at.grants = grants("h, z")
        at.read_all_again()
        await at.settle()
        assert reasons(at) == ["PolicyRefused", "PolicyActive"]


async def test_report_mode_says_what_would_be(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as at:
        at.grants = grants(enforced=False)
        at.put(p=OUTSIDE)
        await at.settle()
        (message,) = messages(at, "PolicyRefused")
        assert message.startswith("POL-2001: would be refused: entries[0]")
