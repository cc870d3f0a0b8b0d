"""Look-ups among routes: what laws reach by chance only."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Unpack
from unittest import mock

import attrs
import pytest

from exchanger.model.entry import BASELINE, Claim, DenyEntry, Entry, ExchangeEntry, MatchScope, PathType, TokenTarget
from exchanger.model.policy_decision import AMBIGUOUS_AUTHORITY, AMBIGUOUS_HEADER, AMBIGUOUS_PATH, NO_MATCH, PolicyDecision, Unhealthy
from exchanger.model.request import HeaderFields
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.grants.allowance import Allowance, Granted
from exchanger.policy.grants.restriction import routes_of
from exchanger.policy.interpretation import MAX_MARKER_WORK, MAX_POSSIBLE, Interpretation, InvalidByteMarkers
from exchanger.policy.lookup import Outcome, Request, Trace, decide, decide_at_once, denied_by, possible_paths
from exchanger.policy.namespace import NamespacePolicy
from exchanger.policy.scope import PathSet, Route, covers_host, covers_path, order_of
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.policy.steps import Steps
from exchanger.policy.table import VirtualHost, VirtualHosts
from tests.policy.examples import BLUE, HOST, RED, Where, allow, closed_scope, deny, exchange, snapshot_of, with_baseline

GET = frozenset({"GET"})


def decided(*claims: Claim, host: str | None = HOST, path: str = "/", method: str = "GET", raw: bool = False) -> PolicyDecision:
    return decide(VirtualHosts.of(claims), Request(host, path, method, raw))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("methods", [None, GET, frozenset({"HEAD", "PUT"})])
def test_of_two_denials_of_the_baseline_in_one_place_one_denies(method: str, methods: frozenset[str] | None) -> None:
    entries = [DenyEntry(BASELINE, index, MatchScope(HOST, "/x", allowed)) for index, allowed in enumerate([methods, methods])]
    found = with_baseline(PolicySnapshot.EMPTY, *entries).match(HOST, "/x/y", method)
    concerns = methods is None or method in methods or (method == "HEAD" and "GET" in methods)
    assert (found in entries) is concerns
    assert (found is NO_MATCH) is not concerns


def test_a_trace_without_a_denial_names_none() -> None:
    assert Trace().denial("GET") is AMBIGUOUS_PATH


def test_a_trace_names_what_fails_closed_on_every_host() -> None:
    trace = Trace()
    unknown = closed_scope("/x", host=None)
    decide(VirtualHosts.of([unknown]), Request(HOST, "/x", "GET", raw=True), trace=trace)
    steps = [step for look in trace.looks for step in look.steps if step.outcome is Outcome.CLOSED]
    assert [(step.host, step.namespace) for step in steps] == [(None, unknown.source.namespace)]


def test_an_unknown_host_is_ambiguous_where_something_covers_every_host() -> None:
    unknown = closed_scope("/x", host=None)
    assert decided(unknown, host=None) is AMBIGUOUS_AUTHORITY
    assert decided(exchange("/"), host=None) is AMBIGUOUS_AUTHORITY
    assert decided(unknown, host=None, path="/x") != AMBIGUOUS_AUTHORITY
    assert decided(unknown, path="/%zz") is AMBIGUOUS_PATH


@pytest.mark.parametrize(("count", "decision"), [(MAX_POSSIBLE // 2, NO_MATCH), (2 * MAX_POSSIBLE, AMBIGUOUS_PATH)])
def test_the_paths_that_a_mark_may_stand_for_are_bounded(count: int, decision: PolicyDecision) -> None:
    others = [deny(f"/{chr(0x4E00 + number)}", index=number, methods=frozenset({"PUT"})) for number in range(count)]
    assert decided(*others, path="/!") is decision


def test_the_characters_that_are_compared_for_a_mark_are_bounded() -> None:
    """1,500 prefixes of 500 characters took 13 ms."""
    others = [deny(f"/{chr(0x4E00 + number)}{'é' * 100}", index=number) for number in range(300)]
    with mock.patch.object(InvalidByteMarkers, "after", autospec=True, side_effect=InvalidByteMarkers.after) as compared:
        assert decided(*others, path="/" + "!" * 64) is AMBIGUOUS_PATH
    assert compared.call_count <= MAX_MARKER_WORK + 2 * 64


def test_a_marked_header_value_concerns_only_entries_of_the_requests_method() -> None:
    put = frozenset({"PUT"})
    others = [deny("/", index=number, methods=put, headers=(("x-tool", chr(0x4E00 + number)),)) for number in range(1_000)]
    policy, fields = snapshot_of(*others), HeaderFields((("x-tool", "!"),))
    assert policy.match(HOST, "/", "GET", headers=fields) is NO_MATCH
    assert policy.match(HOST, "/", "PUT", headers=fields) is AMBIGUOUS_HEADER


def granting(*prefixes: str, actions: frozenset[str], scopes: tuple[str, ...] = ("*",)) -> Granted:
    anything = ("*",)
    return Granted(frozenset({HOST}), frozenset(prefixes), actions, frozenset(anything), anything, anything, scopes)


def test_an_allow_that_is_granted_as_whole_segments_counts_there_alone() -> None:
    allowance = Allowance((granting("/a", "/ab", actions=frozenset({"allow"})),))
    (route,) = routes_of(allow("/a"), [allowance])
    assert route == Route(allow("/a"), PathSet(("/a",)))


def test_an_exchange_that_two_grants_allow_together_counts_on_their_whole_segments() -> None:
    both = [granting("/a", actions=frozenset({"exchange"}), scopes=(scope,)) for scope in "rw"]
    entry = ExchangeEntry(RED, 0, MatchScope(HOST, "/a"), TokenTarget("primary", scope="r w"))
    (route,) = routes_of(entry, [Allowance(tuple(both))])
    assert route == Route(entry, PathSet(("/a",)))


def test_a_part_that_no_granted_path_has_in_common_is_left_out() -> None:
    first, second = (Allowance((granting(prefix, actions=frozenset({"deny"})),)) for prefix in ("/a", "/b"))
    assert routes_of(deny("/"), [first, second]) == ()
    (left,) = routes_of(deny("/", path_type=PathType.PREFIX), [first, Allowance((granting("/a/b", actions=frozenset({"deny"})),))])
    assert left.granted_paths == PathSet(("/a/b",), in_any_reading=True)


def test_a_host_over_depth_closes_what_all_descriptions_are_granted() -> None:
    entries = tuple(deny("/a" + "a" * number, index=number) for number in range(30))
    denies = frozenset({"deny"})
    wide, narrow = Allowance((granting("", actions=denies),)), Allowance((granting("/aaa", actions=denies),))
    for allowances, enforced in (((wide, narrow), True), ((wide,), False)):
        namespace, _ = NamespacePolicy(allowances=allowances, enforced=enforced).changed({RED: PolicyDocument(RED, entries)})
        hosts = VirtualHosts().replaced(HOST, (), namespace.on(HOST))
        assert decide(hosts, Request(HOST, "/b", "GET", raw=True)) is NO_MATCH
        assert decide(hosts, Request(HOST, "/aaa/x", "GET", raw=True)) is not NO_MATCH


def test_a_denial_counts_on_no_host_where_other_paths_are_granted() -> None:
    denies = frozenset({"deny"})
    anything = ("*",)
    on = [
        Granted(frozenset({host}), frozenset({prefix}), denies, frozenset(), anything, anything, anything)
        for host, prefix in (("*.example.com", "/a"), (HOST, "/zzz"))
    ]
    entry = deny("/a", host="*.example.com")
    assert routes_of(entry, [Allowance(tuple(on))]) == (Route(entry, PathSet(("/a",), in_any_reading=True)),)


def instructions(call: Callable[[], object]) -> int:
    """Return how many instructions of the interpreter ``call`` takes, a measure that no machine's speed changes."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        deny("/")  # CPython 3.12 counts the instructions of what begins after a frame has asked for them
        sys.settrace(trace)
        count = 0
        call()
    finally:
        sys.settrace(before)
    return count


ANYTHING = frozenset({"*"})


def many_grants(count: int, *, apart: bool) -> tuple[Allowance, ...]:
    """Return two descriptions of a namespace with ``count`` granted prefixes, each in a grant of its own or all in one."""
    prefixes = [f"/granted/{number}" for number in range(count)]
    return tuple(
        Allowance(
            tuple(
                Granted(frozenset({HOST}), frozenset(own), frozenset({"deny", "exchange"}), ANYTHING, ("*",), ("*",), ("*", scope))
                for own in ([[one] for one in prefixes] if apart else [prefixes])
            )
        )
        for scope in "rw"
    )


PLACES = {
    "inside": ("/granted/0/x{}", PathType.SEGMENT),
    "outside": ("/other/{}", PathType.SEGMENT),
    "partly": ("/granted", PathType.PREFIX),
    "whole segments": ("/granted/0", PathType.PREFIX),
}


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("host", [HOST, "*.example.com", None])
@pytest.mark.parametrize("ignores_case", [False, True])
@pytest.mark.parametrize("kind", [deny, exchange, allow])
def test_an_entry_takes_no_more_work_beside_more_grants(
    apart: bool, place: str, host: str | None, ignores_case: bool, kind: Callable[..., Entry]
) -> None:
    """500 entries took 3 s beside 1,000 grants."""
    prefix, path_type = PLACES[place]
    work = []
    for count in (4, 80):
        allowances = many_grants(count, apart=apart)
        entries = [kind(prefix.format(number), host=host, path_type=path_type, case_insensitive=ignores_case) for number in range(3)]
        for entry in entries:
            routes_of(entry, allowances)  # what is common to all of them is computed once
        work.append(instructions(lambda: [routes_of(entry, allowances) for entry in entries]))  # noqa: B023 - called at once
    assert work[1] <= 2 * work[0]


def a_route(number: int, prefix: str, paths: PathSet | None = None, **where: Unpack[Where]) -> Route:
    return Route(deny(prefix, index=number, **where), paths)


def a_host(routes: list[Route]) -> VirtualHost:
    host = VirtualHost().replaced((), routes)
    assert host is not None
    return host


@pytest.mark.parametrize("paths", [None, PathSet.of(["/é", "/é/x"])])
def test_a_change_beyond_ascii_takes_no_more_work_beside_more_prefixes(paths: PathSet | None) -> None:
    """One among 100,000 prefixes took 90 ms."""
    work = []
    for count in (10, 200):
        host = a_host([a_route(number, f"/é{number}", paths) for number in range(count)])
        before, after = a_route(0, "/é0", paths), a_route(count, "/é0", paths)
        work.append(instructions(lambda: host.replaced([before], [after])))  # noqa: B023 - called at once
    assert work[1] <= 1.5 * work[0]


def test_granted_paths_beyond_ascii_are_counted_once_for_all_routes() -> None:
    work = []
    for count in (10, 200):
        paths = PathSet.of([f"/é{number}" for number in range(count)])
        host = a_host([a_route(0, "/", paths)])
        few, many = ([a_route(number, "/x", paths) for number in range(1, end)] for end in (11, 21))
        work.append(instructions(lambda: host.replaced((), many)) - instructions(lambda: host.replaced((), few)))  # noqa: B023 - called at once
    assert work[1] <= 1.5 * work[0]


@pytest.mark.parametrize("methods", [lambda _: None, lambda number: frozenset({f"M{number}", "GET"})])
def test_a_change_at_a_prefix_takes_work_in_proportion_to_its_routes(methods: Callable[[int], frozenset[str] | None]) -> None:
    work = []
    for count in (50, 200):
        routes = [a_route(number, "/x", methods=methods(number), headers=(("x-tool", f"t{number}"),)) for number in range(count)]
        host = a_host(routes)
        after = a_route(count, "/x", methods=methods(0), headers=(("x-tool", "t0"),))
        work.append(instructions(lambda: host.replaced(routes[:1], [after])))  # noqa: B023 - called at once
    assert work[1] <= 5 * work[0]


@pytest.mark.parametrize(
    ("one", "other", "covers"),
    [
        (PathType.EXACT, PathType.EXACT, False),
        (PathType.SEGMENT, PathType.EXACT, True),
        (PathType.SEGMENT, PathType.SEGMENT, True),
        (PathType.SEGMENT, PathType.PREFIX, True),
        (PathType.PREFIX, PathType.PREFIX, True),
        (PathType.PREFIX, PathType.EXACT, True),
    ],
)
def test_a_path_covers_those_below_it(one: PathType, other: PathType, covers: bool) -> None:
    scope, below, beside = (
        MatchScope(HOST, "/a", path_type=one),
        MatchScope(HOST, "/a/b", path_type=other),
        MatchScope(HOST, "/ab", path_type=other),
    )
    assert covers_path(scope, below) is covers
    assert covers_path(scope, beside) is (one is PathType.PREFIX)
    assert not covers_path(below, scope)


@pytest.mark.parametrize("one", PathType)
@pytest.mark.parametrize("other", PathType)
@pytest.mark.parametrize("ignores_case", [False, True])
def test_a_path_covers_another_type_of_itself_if_that_is_narrower(one: PathType, other: PathType, ignores_case: bool) -> None:
    rank = [PathType.EXACT, PathType.SEGMENT, PathType.PREFIX]
    scope = MatchScope(HOST, "/A", None, ignores_case, one)
    same, in_lower_case = (MatchScope(HOST, prefix, path_type=other) for prefix in ("/A", "/a"))
    assert covers_path(scope, same) is (rank.index(one) >= rank.index(other))
    assert covers_path(scope, in_lower_case) is (ignores_case and rank.index(one) >= rank.index(other))
    assert covers_path(same, attrs.evolve(scope, case_insensitive=True)) is False


@pytest.mark.parametrize("beside", [[], [deny("/other", index=1, case_insensitive=True)], [deny("/%61", index=1)]])
def test_a_yielding_closed_scopes_decoded_spelling_counts_only_where_no_entry_matches(beside: list[Entry]) -> None:
    unknown = closed_scope("/a%2Fb", host=None)
    assert decided(unknown, deny("/"), *beside, path="/a/b") == deny("/")
    assert decided(unknown, deny("/"), *beside, path="/a%2Fb") != deny("/")
    assert isinstance(decided(unknown, path="/a/b"), Unhealthy)


def test_a_yielding_closed_scopes_decoded_spelling_counts_for_head_as_for_get() -> None:
    entry = deny("/", methods=GET)
    assert decided(closed_scope("/a%2Fb", host=None), entry, path="/a/b", method="HEAD") == entry


def test_a_trace_of_head_has_both_look_ups() -> None:
    trace = Trace()
    assert decide(VirtualHosts.of([deny("/")]), Request(HOST, "/", "HEAD", raw=True), trace=trace) == deny("/")
    assert [look.method for look in trace.looks] == ["GET", "HEAD"]


@pytest.mark.parametrize(("path", "deciding"), [("/a", Outcome.WON), ("/a/b", Outcome.CLOSED), ("/a/h", Outcome.AMBIGUOUS)])
def test_a_trace_has_the_outcome_of_each_level_that_covers_the_path(path: str, deciding: Outcome) -> None:
    put = frozenset({"PUT"})
    claims: list[Claim] = [
        deny("/"),
        deny("/a", index=1),
        deny("/a", index=2, path_type=PathType.SEGMENT, methods=put),
        closed_scope("/a/b"),
        deny("/a/h", index=3, headers=(("x-a", "1"),)),
    ]
    trace, fields = Trace(), HeaderFields((("x-a", "1"), ("x-a", "2")), raw=True)
    decide(VirtualHosts.of(claims), Request(HOST, path, "GET", raw=True, fields=fields), trace=trace)
    outcomes = {(step.level.routes[0].effect.index, step.outcome) for step in trace.looks[0].steps}
    others = Outcome.LATER if deciding is not Outcome.WON else deciding
    assert {(0, Outcome.LATER), (1, others), (2, Outcome.OTHER_METHOD)} <= outcomes
    assert deciding in {outcome for _, outcome in outcomes}
    assert (2, Outcome.LATER) not in outcomes


def test_hosts_count_what_makes_requests_cost_more() -> None:
    with_methods, with_headers, unknown = (deny("/a", methods=GET), deny("/b", headers=(("x-a", "1"),)), closed_scope("/c", host=None))
    hosts = VirtualHosts.of([with_methods, with_headers, deny("/", host="*.example.com"), unknown])
    there = hosts.by_name[HOST]
    assert (there.with_methods, there.with_headers, there.yielding) == (1, 1, 0)
    assert hosts.every is not None
    assert (hosts.every.with_methods, hosts.every.with_headers, hosts.every.yielding) == (0, 0, 1)
    assert (hosts.wildcards, hosts.yielding, hosts.with_headers, hosts.has_farther) == (1, 1, 1, True)
    fewer = hosts.replaced(None, [Route(unknown)], ()).replaced("*.example.com", [Route(deny("/", host="*.example.com"))], ())
    assert (fewer.wildcards, fewer.yielding, fewer.with_headers, fewer.has_farther) == (0, 0, 1, False)
    least = fewer.replaced(HOST, [Route(with_headers)], ())
    assert (least.by_name[HOST].with_methods, least.by_name[HOST].with_headers, least.with_headers) == (1, 0, 0)
    assert not least.replaced(HOST, [Route(with_methods)], ())


@pytest.mark.parametrize("path", ["/a/b", "/a%2Fb", "/a/!", "/a/../b"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_may_no_longer_decide_fails_closed_in_each_reading(path: str, method: str) -> None:
    hosts = VirtualHosts.of([allow("/")])
    assert decide(hosts, Request(HOST, path, method), permits=lambda _entry, _path: True) == allow("/")
    assert isinstance(decide(hosts, Request(HOST, path, method), permits=lambda _entry, _path: False), Unhealthy)
    only_as_received = decide(hosts, Request(HOST, path, method), permits=lambda _entry, one: one == path)
    assert isinstance(only_as_received, Unhealthy) is (path != "/a/b")


@pytest.mark.parametrize("where", [HOST, "*.example.com", None])
def test_what_yields_and_ignores_case_closes_its_own_namespaces_entries(where: str | None) -> None:
    unknown = attrs.evolve(closed_scope("/A", host=where, case_insensitive=True), guessed=True)
    hosts = VirtualHosts.of([deny("/"), unknown])
    assert decide_at_once(hosts, HOST, "/a/x", "GET", raw=True) is None
    assert isinstance(decide(hosts, Request(HOST, "/a/x", "GET")), Unhealthy)
    assert isinstance(decide(hosts, Request(HOST, "/a%2Fx", "GET")), Unhealthy)


def test_a_trace_has_everything_that_yields_and_covers_the_path() -> None:
    trace = Trace()
    unknown = [closed_scope("/", source=source, host=None) for source in (RED, BLUE)]
    assert isinstance(decide(VirtualHosts.of([closed_scope("/"), *unknown]), Request(HOST, "/", "GET"), trace=trace), Unhealthy)
    assert {step.namespace for step in trace.looks[0].steps} == {None, RED.namespace, BLUE.namespace}


def test_prefixes_beyond_ascii_count_for_each_route_and_granted_path() -> None:
    routes = [a_route(0, "/é", PathSet.of(["/é"])), a_route(1, "/é"), a_route(2, "/x", PathSet.of(["/é", "/a"]))]
    host = a_host(routes)
    encoded = host.replaced(routes[2:], ())
    assert dict(zip(host.hidden.prefixes, host.hidden.nodes, strict=True)) == {"/": ((("/é", False), 4),)}
    assert encoded is not None
    assert dict(zip(encoded.hidden.prefixes, encoded.hidden.nodes, strict=True)) == {"/": ((("/é", False), 3),)}
    left = encoded.replaced(routes[:2], [a_route(0, "/a")])
    assert left is not None
    assert not left.hidden


def test_a_marked_path_has_as_many_possible_paths_as_steps_allow() -> None:
    near = VirtualHosts.of([deny(f"/{char}", index=ord(char)) for char in "éяж"]).near(HOST)
    for markers in InvalidByteMarkers:
        marked = Interpretation("/!", markers=markers)
        paths = possible_paths(near, marked, Steps(100))
        assert paths is not None
        room = Steps(len(paths))
        assert possible_paths(near, marked, room) == paths
        assert room.left == 0
        assert possible_paths(near, marked, Steps(len(paths) - 1)) is None
    assert possible_paths(near, Interpretation("/!"), Steps(0)) == (Interpretation("/!"),)


def test_what_is_written_comes_before_a_decoded_spelling() -> None:
    assert decided(deny("/a/b"), allow("/a%2Fb", index=1), path="/a%2Fb", raw=True) is AMBIGUOUS_PATH
    kinds = [(kind, decoded) for kind in (PathType.PREFIX, PathType.SEGMENT, PathType.EXACT) for decoded in (True, False)]
    orders = [order_of(2, kind, decoded=decoded) for kind, decoded in kinds]
    assert orders == sorted(set(orders))
    assert order_of(3, PathType.PREFIX, decoded=True) > order_of(2, PathType.SEGMENT, decoded=False)
    assert order_of(0, PathType.PREFIX, decoded=True) == order_of(1, PathType.PREFIX, decoded=True)


def test_requests_and_path_sets_are_not_raw_by_default() -> None:
    assert not Request(HOST, "/", "GET").raw
    assert not PathSet(("/a",)).in_any_reading


def test_what_yields_for_get_closes_head() -> None:
    hosts = VirtualHosts.of([deny("/"), closed_scope("/", host=None, methods=GET)])
    assert decide_at_once(hosts, HOST, "/", "HEAD", raw=True) is None
    assert decide_at_once(hosts, HOST, "/", "PUT", raw=True) == deny("/")
    assert isinstance(decide(hosts, Request(HOST, "/", "HEAD")), Unhealthy)


def test_what_closes_counts_where_another_reading_is_granted() -> None:
    granted = Route(deny("/"), PathSet.of(["/a/b"], in_any_reading=True))
    hosts = VirtualHosts().replaced(HOST, (), [granted])
    assert decide(hosts, Request(HOST, "/a%2Fb", "GET")) == deny("/")
    assert decide(hosts, Request(HOST, "/c%2Fb", "GET")) is NO_MATCH


def test_a_conflict_counts_in_each_interpretation_unless_only_marks_suggest_it() -> None:
    conflict = [deny("/a/é"), deny("/a/é", source=BLUE)]
    assert isinstance(decided(*conflict, path="/a/%C3%A9/../é", raw=True), Unhealthy)
    assert isinstance(decided(deny("/a/b"), deny("/a/b", source=BLUE), path="/a/x/../b", raw=True), Unhealthy)
    assert decided(*conflict, path="/a/!") is AMBIGUOUS_PATH


def test_a_trace_of_denials_has_every_reading() -> None:
    trace = Trace()
    assert denied_by(VirtualHosts.of([deny("/")]), Request(HOST, "/a%2Fb", "GET"), trace) == deny("/")
    assert [look.reading.path for look in trace.denials] == ["/a%2Fb", "/a/b"]


@pytest.mark.parametrize(
    ("host", "other", "covers"),
    [
        (None, HOST, True),
        (None, None, True),
        (HOST, None, False),
        ("*.example.com", "*.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "*.a.example.com", True),
        ("*.a.example.com", "*.example.com", False),
        ("*.example.com", "example.com", False),
        ("a.example.com", "b.a.example.com", False),
    ],
)
def test_a_host_covers_itself_and_a_wildcard_those_below_it(host: str | None, other: str | None, covers: bool) -> None:
    assert covers_host(host, other) is covers


def test_a_dropped_mark_in_a_path_of_another_case_never_opens() -> None:
    """Of ``/A!b!c``, a server may read ``/Ab!c``, which neither the path as received nor the one without any mark begins with."""
    claims: list[Claim] = [allow("/"), deny("/ab", index=1, case_insensitive=True), allow("/abc", index=2, case_insensitive=True)]
    assert decided(*claims, path="/A!b!c") is AMBIGUOUS_PATH


def test_a_long_path_with_a_mark_is_looked_up_to_its_end() -> None:
    near = VirtualHosts.of([deny("/é")]).near(HOST)
    paths = possible_paths(near, Interpretation("/!" + "a" * 3_000, markers=InvalidByteMarkers.STAND), Steps(100))
    assert paths is not None
    assert {len(one.path) for one in paths} == {3_002}


def test_a_trace_has_every_reading_also_where_the_first_fails_closed() -> None:
    trace = Trace()
    assert isinstance(decide(VirtualHosts.of([closed_scope("/")]), Request(HOST, "/a%2Fb", "GET"), trace=trace), Unhealthy)
    assert [look.reading.path for look in trace.looks] == ["/a%2Fb", "/a/b"]


def test_a_trace_of_head_shows_entries_for_other_paths_twice() -> None:
    trace = Trace()
    decide(VirtualHosts.of([deny("/"), deny("/a", index=1, path_type=PathType.EXACT)]), Request(HOST, "/ab", "HEAD", raw=True), trace=trace)
    outcomes = [{step.outcome for step in look.steps} for look in trace.looks]
    assert outcomes == [{Outcome.WON, Outcome.OTHER_PATH}] * 2
