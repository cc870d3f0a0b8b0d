"""Authors learn what became of their policies: once, in bounded numbers, and without harm where the server does not take Events."""

from collections.abc import Sequence
from random import Random
from typing import Final

import pytest
import trio
import trio.testing

from exchanger.model.entry import Source
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.grants.reader import read_grants
from exchanger.policy.selection import Text, advance
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.kube.event_writer import TRIES, EventWriter
from exchanger.sources.kube.events import BURST, PAUSE_S, RETRY_S, PolicyEvents, PolicyEventsSettings
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind
from tests.sources.kube.cluster import deny
from tests.sources.kube.telling import EXISTS, NO_VERSION, REFUSED, FakeEvents, stage

NO_RIGHT: Final = ApiFailure(
    FailureKind.FORBIDDEN, 403, 'events is forbidden: User "x" cannot create resource "events" in API group "" in the namespace "team"'
)
TERMINATING: Final = ApiFailure(
    FailureKind.FORBIDDEN, 403, 'events "p" is forbidden: unable to create new content in namespace team because it is being terminated'
)
QUOTA: Final = ApiFailure(FailureKind.FORBIDDEN, 403, 'events "p" is forbidden: exceeded quota: q, requested: count/events=1')
OUTSIDE: Final = "version: v1\nentries: [{match: {host: z, pathPrefix: /}, action: deny}]"
Change = dict[str, str | None]
Events = list[tuple[str, str, int]]


def grants(hosts: str, *, enforced: bool = True) -> Grants:
    found = read_grants(f"version: v1\ngrants: [{{namespaces: [team], hosts: [{hosts}]}}]", has_labels=True, enforced=enforced)
    assert isinstance(found, Grants)
    return found


def told(**reasons: str) -> Events:
    """Return an Event for each of the reasons of each document, in short: invalid, conflict, refused or ok, with a count above one."""
    names = {"invalid": "InvalidPolicy", "conflict": "ConflictingPolicy", "ok": "PolicyActive", "refused": "PolicyNotGranted"}
    return [
        (name, names[reason.rstrip("23456789")], int(reason[-1]) if reason[-1].isdigit() else 1)
        for name, all_reasons in reasons.items()
        for reason in all_reasons.split()
    ]


A, B = deny(), deny("/b")
BAD: Final[Change] = {"bad": NO_VERSION}
BOTH: Final[Change] = {"one": A, "two": A}
# By what is told: changes, and the Events that come of them.
HISTORIES: Final[dict[str, tuple[list[Change], Events]]] = {
    "invalid": ([{"good": B, "bad": NO_VERSION}], told(bad="invalid")),
    "repaired": ([BAD, {"bad": A}], told(bad="invalid ok")),
    "nothing was ever wrong": ([{"good": A}, {"good": B}, {"good": None}], []),
    "counted": ([BAD, {"bad": A}, BAD, {"bad": A}, BAD], told(bad="invalid3 ok2")),
    "both sides": ([BOTH], told(one="conflict", two="conflict")),
    "no change that conflicts": ([{"one": A}, {"two": A}], told(one="conflict", two="conflict")),
    "one side is gone, and there is nobody to tell": ([BOTH, {"one": None}], told(one="conflict", two="conflict ok")),
    "conflicts return": ([BOTH, {"one": None}, {"one": A}, {"one": B}], told(one="conflict2 ok", two="conflict2 ok2")),
    "the end of one of two conflicts is not the end": (
        [{**BOTH, "three": A}, {"three": None}, {"two": None}],
        told(one="conflict conflict ok", three="conflict", two="conflict conflict"),
    ),
    "the end of a conflict is not news for an invalid document": (
        [BOTH, {"one": NO_VERSION}, {"one": B}],
        told(one="conflict invalid ok", two="conflict ok"),
    ),
    "a conflict that returns when the document is valid again": (
        [BOTH, {"one": NO_VERSION}, {"one": A}],
        told(one="conflict2 invalid", two="conflict2 ok"),
    ),
    "invalid and in conflict": ([{"one": A[:-1] + ", {action: deny}]", "two": A}], told(one="conflict invalid", two="conflict")),
    "a new document of the name has no past": ([BAD, {"bad": None}, {"bad": A}], told(bad="invalid ok")),
    "new": ([{}, {"new": A}, {"new": B}], told(new="ok")),
    "new and invalid": ([{}, {"new": NO_VERSION}, {"new": A}, {"new": B}], told(new="invalid ok")),
    "new and in conflict": ([{"one": A}, {"two": A}, {"one": None}], told(one="conflict", two="conflict ok")),
    "new, and new again": ([{}, {"new": A}, {"new": None}, {"new": A}], told(new="ok2")),
    "refused, and moved inside": ([{"p": OUTSIDE}, {"p": A}], told(p="refused ok")),
    "refused, broken, mended": ([{"p": OUTSIDE}, {"p": NO_VERSION}, {"p": A}], told(p="refused invalid ok")),
    "invalid and refused": ([{"p": OUTSIDE[:-1] + ", {action: deny}]"}], told(p="invalid refused")),
    "refused, and gone: there is nobody to tell": ([{"p": OUTSIDE}, {"p": None}], told(p="refused")),
}


@pytest.mark.parametrize(("changes", "expected"), HISTORIES.values(), ids=HISTORIES)
async def test_authors_learn_of_changes(autojump_clock: trio.testing.MockClock, changes: Sequence[Change], expected: Events) -> None:
    async with stage() as it:
        it.grants = grants("h")
        for change in ({"other": deny("/other"), **changes[0]}, *changes[1:]):
            it.put(**change)
            await trio.sleep(5)
        assert sorted(it.server.said()) == sorted(expected)
        requests = len(it.server.requests)
        it.read_all_again()
        it.put(other=deny("/another"))
        await trio.sleep(60)
        assert len(it.server.requests) == requests  # nothing is told again
        assert it.events.pending == 0


@pytest.mark.parametrize(("enforced", "said"), [(True, "entries[0]"), (False, "would be refused: entries[0]")])
async def test_grants_that_change_are_told_once(autojump_clock: trio.testing.MockClock, enforced: bool, said: str) -> None:
    async with stage() as it:
        it.grants = grants("h", enforced=enforced)
        it.put(p=OUTSIDE)
        await it.settle()
        it.read_all_again()
        await it.settle()
        (event,) = it.server.events.values()
        assert (event["type"], event["reason"], event["count"]) == ("Warning", "PolicyNotGranted", 1)
        assert str(event["message"]).startswith(f"POL-2001: {said}")
        it.grants = grants("h, z", enforced=enforced)
        it.read_all_again()
        await it.settle()
        assert it.server.said() == told(p="refused ok")


@pytest.mark.parametrize(("successor", "uids"), [(NO_VERSION, ["first", "second"]), (deny(), ["first", "second"])])
async def test_a_report_under_way_is_about_what_was_withdrawn(
    autojump_clock: trio.testing.MockClock, successor: str, uids: list[str]
) -> None:
    """One of the same name that follows gets its own Event."""
    uid = "first"
    server = FakeEvents(answers_after=1.0)
    async with stage(server) as it:
        it.events.uid_of = lambda _source: uid
        it.put(bad=NO_VERSION)
        await it.settle()
        it.put(bad=None)
        uid = "second"
        it.put(bad=successor)
        await trio.sleep(60)
        involved = [event["involvedObject"] for event in server.events.values()]
        assert [about["uid"] for about in involved if isinstance(about, dict)] == uids


async def test_an_event_whose_answers_were_all_lost_is_contradicted(autojump_clock: trio.testing.MockClock) -> None:
    lost = True
    server = FakeEvents(answers_lost=1, failing=lambda _method, _path: REFUSED if lost and server.events else None)
    async with stage(server) as it:
        it.put(bad=NO_VERSION)
        await trio.sleep(300)
        lost = False
        it.put(bad=deny())
        await trio.sleep(60)
        assert server.said() == told(bad="invalid ok")


async def test_events_have_messages_and_the_times_of_their_changes(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as it:
        for text in (NO_VERSION, deny("/bad"), NO_VERSION):
            it.put(bad=text, one=deny(), two=deny())
            await trio.sleep(5)
        it.put(two=None)
        await it.settle()
        first, *_ = it.server.events.values()
        assert (first["firstTimestamp"], first["lastTimestamp"]) == ("1970-01-01T00:00:00Z", "1970-01-01T00:00:10Z")
        in_common = "POL-2101: entries[0] shares a host, method and pathPrefix with team/{} entries[0]: such requests are refused"
        said = [(event["type"], event["message"]) for event in it.server.events.values()]
        assert said[0] == ("Warning", "line 1: POL-1007: the document has no version v1")
        assert sorted(said[1:3]) == [("Warning", in_common.format("one")), ("Warning", in_common.format("two"))]  # of one version
        assert said[3:] == [("Normal", "the policy is active; entries in effect: 1")] * 2


async def test_changes_before_the_start_are_reported(autojump_clock: trio.testing.MockClock) -> None:
    server = FakeEvents()
    events = PolicyEvents(EventWriter(server, Random(1)))
    events.published(advance(PolicySnapshot.EMPTY, {}, {Source("team", "bad"): Text(NO_VERSION)}, frozenset()))
    async with trio.open_nursery() as nursery:
        await nursery.start(events.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert server.said() == told(bad="invalid")


@pytest.mark.parametrize("after", [deny("/elsewhere"), None])
async def test_an_end_is_not_reported_if_its_beginning_was_not(autojump_clock: trio.testing.MockClock, after: str | None) -> None:
    async with stage(settings=PolicyEventsSettings(burst=1)) as it:
        it.put(bad=NO_VERSION, one=deny("/1"), two=deny("/2"), worse=deny("/3"))
        await it.settle()
        it.put(one=deny(), two=deny(), worse=NO_VERSION)
        await it.settle()
        assert it.events.pending == 3
        it.put(one=after, worse=after and deny("/w"))
        await trio.sleep(200)
        assert it.server.said() == told(bad="invalid")


async def test_a_problem_does_not_wait_behind_new_policies(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(settings=PolicyEventsSettings(burst=1)) as it:
        it.put(bad=deny())
        it.put(**{f"new-{number}": deny(f"/{number}") for number in range(50)})
        await it.settle()
        it.put(bad=NO_VERSION)
        await trio.sleep(3)
        assert ("bad", "InvalidPolicy", 1) in it.server.said()
        await trio.sleep(60)
        assert sum(reason == "PolicyActive" for _, reason, _ in it.server.said()) == 50


async def test_more_new_policies_than_may_wait_displace_no_problem(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(settings=PolicyEventsSettings(burst=1, max_pending=10)) as it:
        it.put(bad=deny("/bad"))
        it.put(bad=NO_VERSION, **{f"new-{number}": deny(f"/{number}") for number in range(50)})
        await it.settle()
        assert it.events.pending == 10
        await trio.sleep(100)
        reasons = [reason for _, reason, _ in it.server.said()]
        assert (reasons.count("InvalidPolicy"), reasons.count("PolicyActive"), it.events.pending) == (1, 10, 0)


async def test_all_together_get_a_burst_and_then_one_a_second(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as it:
        it.put(**{f"p{number:03}": NO_VERSION for number in range(100)})
        await it.settle()
        assert len(it.server.events) == BURST
        await trio.sleep(10.5)
        assert len(it.server.events) == BURST + 10
        await trio.sleep(1000)
        it.put(**{f"q{number:03}": NO_VERSION for number in range(100)})
        await it.settle()
        assert len(it.server.events) == 100 + BURST  # no more than a burst was saved up


async def test_a_missing_right_to_write_events_pauses_the_namespace_after_one_report(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(FakeEvents(lambda _method, path: NO_RIGHT if "/team/" in path else None)) as it:
        it.put(bad=NO_VERSION)
        it.put_in("other", bad=NO_VERSION)
        await trio.sleep(1)
        assert (it.server.said(), it.missing) == (told(bad="invalid"), [])  # the other namespace has its own
        it.put(bad="version: v3", worse=NO_VERSION)
        await trio.sleep(RETRY_S)
        assert len(it.server.requests) == 3
        await trio.sleep(PAUSE_S - 2)
        assert len(it.server.requests) == 3
        await trio.sleep(PAUSE_S)
        assert len(it.server.requests) == 4
        assert it.missing == ["needs create and patch on events in the namespace team"]
        it.server.failing = lambda _method, _path: None
        await trio.sleep(PAUSE_S)
        assert sorted(it.server.said()) == told(bad="invalid invalid", worse="invalid")
        it.server.failing = lambda _method, _path: NO_RIGHT
        it.put(bad=deny())
        await trio.sleep(RETRY_S + 1)
        assert len(it.missing) == 2


@pytest.mark.parametrize(
    ("failure", "wait"),
    [(NO_RIGHT, RETRY_S), (ApiFailure(FailureKind.TOO_MANY_REQUESTS, 429, retry_after=40.0), 40.0)],
    ids=["a right that comes a moment late", "too many requests"],
)
async def test_one_failure_is_tried_again(autojump_clock: trio.testing.MockClock, failure: ApiFailure, wait: float) -> None:
    failures = [failure]
    async with stage(FakeEvents(lambda _method, _path: failures.pop() if failures else None)) as it:
        it.put(bad=NO_VERSION)
        await trio.sleep(60)
        assert [at for at, _, _ in it.server.requests] == [pytest.approx(0.0), pytest.approx(wait)]
        assert (it.server.said(), it.missing) == (told(bad="invalid"), [])


@pytest.mark.parametrize("answer", [NO_RIGHT, QUOTA], ids=["forbidden", "dropped"])
@pytest.mark.parametrize("edited", ["one", "two"])
@pytest.mark.parametrize("after", [deny("/elsewhere"), NO_VERSION, None], ids=["valid", "invalid", "gone"])
async def test_a_conflict_that_ends_while_it_is_refused_is_never_told(
    autojump_clock: trio.testing.MockClock, answer: ApiFailure, edited: str, after: str | None
) -> None:
    async with stage(FakeEvents(hanging=True)) as it:
        it.put(one=deny(), two=deny("/two"))
        it.put(two=deny())
        await it.settle()
        it.put(**{edited: after})
        await it.settle()
        it.server.failing, it.server.hanging = lambda _method, _path: answer, False
        await trio.sleep(60)
        it.server.failing = lambda _method, _path: None
        await trio.sleep(3 * PAUSE_S)
        assert [event for event in it.server.said() if event[1] != "InvalidPolicy"] == []
        assert it.events.pending == 0


@pytest.mark.parametrize(
    ("failure", "tries"),
    [
        (TERMINATING, 1),
        (QUOTA, 1),
        (ApiFailure(FailureKind.NOT_FOUND, 404), 1),
        (ApiFailure(FailureKind.UNSUPPORTED, 422), 1),
        (REFUSED, TRIES),
        (None, TRIES),
    ],
)
async def test_a_server_that_fails_is_tried_a_few_times(
    autojump_clock: trio.testing.MockClock, failure: ApiFailure | None, tries: int
) -> None:
    async with stage(FakeEvents(lambda _method, _path: failure, hanging=failure is None)) as it:
        it.put(bad=NO_VERSION)
        await trio.sleep(PAUSE_S * 2)
        assert (len(it.server.requests), it.missing, it.events.pending) == (tries, [], 0)
        it.server.failing, it.server.hanging = lambda _method, _path: None, False
        it.put(worse=NO_VERSION)
        await it.settle()
        assert it.server.said() == told(worse="invalid")


@pytest.mark.parametrize(("counting", "requests"), [(EXISTS, 5), (REFUSED, 8)], ids=["another instance counts", "a lost request"])
async def test_only_a_conflict_with_another_instance_that_counts_is_no_failure(
    autojump_clock: trio.testing.MockClock, counting: ApiFailure, requests: int
) -> None:
    async with stage() as it:
        for text in (NO_VERSION, deny()):
            it.put(bad=text)
            await it.settle()
        patches = iter([None, counting])
        it.server.failing = lambda method, _path: next(patches, None) if method == "PATCH" else None
        it.put(bad=NO_VERSION)
        await trio.sleep(60)
        assert (len(it.server.requests), next(patches, "no more")) == (requests, "no more")
