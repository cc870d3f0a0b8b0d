"""What one decision takes at the limits of a namespace, counted in look-ups and levels, and where a request ends in 400."""

import attrs
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from exchanger.model.entry import Claim, PathType
from exchanger.model.policy_decision import AMBIGUOUS_PATH, NO_MATCH, Unhealthy
from exchanger.policy.depth import MAX_DEPTH
from exchanger.policy.interpretation import Interpretation, path_interpretations
from exchanger.policy.path import MAX_INTERPRETATIONS, MAX_ODD_PATH, MAX_QUERY, MalformedPath, read_path
from exchanger.policy.prefix import MAX_PREFIX
from exchanger.policy.snapshot import PolicySnapshot
from tests.policy.examples import BLUE, HOST, RED, closed_scope, deny, document_of, exchange, snapshot_of, with_documents
from tests.policy.work import Counted, counting
from tests.property.strategies_policy import path_types

PUT = frozenset({"PUT"})
ODD = "/a;b//c/./d%41"  # 16 interpretations


def work_of(policy: PolicySnapshot, path: str, method: str, *, raw: bool = True) -> Counted:
    with counting() as counted:
        policy.match(HOST, path, method, raw=raw)
    return counted


def readings_of(path: str) -> int:
    found = path_interpretations(HOST, path, "GET", raw=True)
    return len(found) if isinstance(found, tuple) else 1


texts = st.lists(st.sampled_from(["a", "b", "/", "%61", "%2F", "é"]), max_size=12).map(lambda parts: "/" + "".join(parts))
places = st.tuples(texts, path_types, st.booleans(), st.sampled_from(["deny", "PUT", "header", "close", "unknown host"]))


def claims_of(drawn: list[tuple[str, PathType, bool, str]], host: str = HOST) -> list[Claim]:
    """Return an entry or fail-closed scope for each place."""
    claims: list[Claim] = []
    for index, (prefix, path_type, ignores_case, what) in enumerate(drawn):
        if what == "unknown host":
            claims.append(closed_scope(prefix, index=index, host=None, case_insensitive=ignores_case))
        elif what == "close":
            claims.append(closed_scope(prefix, index=index, host=host, case_insensitive=ignores_case))
        else:
            written = prefix.rstrip("/") if path_type is PathType.SEGMENT else prefix
            entry = deny(written, index=index, host=host, case_insensitive=ignores_case, path_type=path_type)
            match = attrs.evolve(entry.match, methods=PUT if what == "PUT" else None, headers=(("x", "1"),) if what == "header" else ())
            claims.append(attrs.evolve(entry, match=match))
    return claims


@given(
    st.lists(places, min_size=10, max_size=60),
    st.sampled_from([HOST, "*.example.com"]),
    texts,
    st.sampled_from(["GET", "HEAD", "PUT"]),
    st.booleans(),
)
def test_a_namespace_adds_a_bounded_number_of_levels_to_each_look_up(
    drawn: list[tuple[str, PathType, bool, str]], host: str, path: str, method: str, raw: bool
) -> None:
    policy = snapshot_of(*claims_of(drawn, host))
    namespace = policy.namespace("red")
    assert namespace is not None
    event(f"over depth {len(namespace.over_depth)}")
    for there in (*policy.hosts.by_name.values(), *([] if policy.hosts.every is None else [policy.hosts.every])):
        levels = [level for levels in (*there.exact.covering(path), *there.folded.covering(path.lower())) for level in levels]
        assert len(levels) <= MAX_DEPTH
    # Each reading of a path is looked up in two tries of each host for entries, and for what yields to them; HEAD also as GET.
    counted, near = work_of(policy, path, method, raw=raw), len(policy.hosts.near(HOST))
    most = 2 * 2 * 2 * near * (readings_of(path) + 1) * (2 if method == "HEAD" else 1)
    assert counted.walks <= most
    assert counted.levels <= most * MAX_DEPTH


@pytest.mark.parametrize("case_insensitive", [False, True])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("count", [20, 200])
def test_prefixes_that_leave_the_way_of_a_path_cost_it_nothing(count: int, method: str, case_insensitive: bool) -> None:
    """A trie of characters passed a node for each of them, in each reading of the path."""
    forks = (deny(f"/{'a' * length}b", index=length, methods=PUT, case_insensitive=case_insensitive) for length in range(count))
    policy, path = snapshot_of(*forks, exchange("/", index=count)), "/" + "a" * count + ODD
    assert policy.match(HOST, path, method, raw=True) == exchange("/", index=count)
    assert work_of(policy, path, method).levels <= 4 * (MAX_INTERPRETATIONS + 1)


@pytest.mark.parametrize("path", ["/orders/1", "/orders/%61//.;x", "/aaaa" + ODD])
@pytest.mark.parametrize(
    "claims",
    [
        (deny("/"),),
        (deny("/", methods=PUT),),
        (deny("/orders", methods=PUT, path_type=PathType.SEGMENT), deny("/", index=1, methods=frozenset({"HEAD"}))),
        (deny("/orders", headers=(("x", "1"),), methods=PUT), exchange("/orders", index=1)),
        tuple(closed_scope("/" + "a" * length, index=length, host=None, methods=PUT) for length in range(8)),
    ],
)
def test_head_takes_twice_the_look_ups_of_get_at_most(claims: tuple[Claim, ...], path: str) -> None:
    policy = snapshot_of(*claims)
    as_get, itself = (work_of(policy, path, method) for method in ("GET", "HEAD"))
    assert 0 < itself.walks <= 2 * as_get.walks
    assert itself.levels <= 2 * as_get.levels


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_other_hosts_and_other_prefixes_make_no_look_up_longer(method: str) -> None:
    alone = snapshot_of(deny("/orders"), exchange("/", index=1))
    others = [deny(f"/{number}", index=number) for number in range(500)]
    others += [deny("/", index=500 + number, host=f"h{number}.example.com") for number in range(500)]
    crowded = with_documents(alone, document_of(*others, source=BLUE))
    for path in ("/orders/1", "/orders" + ODD):
        assert work_of(crowded, path, method) == work_of(alone, path, method)


def test_a_header_is_looked_for_once_for_all_readings_of_a_path() -> None:
    policy = snapshot_of(*(deny("/a"[:length], index=length, headers=(("x-name", "v"),)) for length in (1, 2)))
    assert work_of(policy, "/a%2561;b/./c", "HEAD").headers == 1


def test_a_long_query_is_neither_copied_nor_folded() -> None:
    query = "?" + "A" * 60_000
    assert read_path("/a;b" + query, "GET") == ("/a;b" + query, "/a?" + "A" * MAX_QUERY)
    assert MAX_QUERY >= MAX_PREFIX
    assert len(Interpretation("/A" + query).folded) == MAX_PREFIX
    assert Interpretation("/" + "A" * 5_000 + query).folded.startswith("/" + "a" * 5_000)
    policy = snapshot_of(deny("/A", case_insensitive=True))
    assert policy.match(HOST, "/a;b" + query, "GET", raw=True) == deny("/A", case_insensitive=True)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/a?\u00e9", ("/a?\u00e9",)),
        ("/a?\u00a1" + "\u00e9" * MAX_ODD_PATH, ("/a?\u00a1" + "\u00e9" * MAX_ODD_PATH,)),
        ("/a?\u00a0\u00e9", ("/a?\u00a0\u00e9",)),  # not printable, but neither a control character nor a blank
        ("/a?\u00a0" + "\u00e9" * MAX_ODD_PATH, MalformedPath.TOO_LONG),
        ("/a?\u0085\u00e9", MalformedPath.UNPRINTABLE),
        ("/a?\u0085" + "\u00e9" * MAX_ODD_PATH, MalformedPath.UNPRINTABLE),
        ("/a?\x7f" + "x" * MAX_ODD_PATH, MalformedPath.UNPRINTABLE),
        ("/a? b\u00e9", MalformedPath.UNPRINTABLE),
        ("/a?\ud800", MalformedPath.NOT_UTF8),
    ],
)
def test_what_cannot_be_seen_is_looked_for_in_a_bounded_part(path: str, found: object) -> None:
    assert read_path(path, "GET") == found


def test_a_reading_that_is_searched_for_counts_twice() -> None:
    one = path_interpretations(HOST, "/a!;x", "GET", raw=False)
    assert isinstance(one, tuple)
    assert sum(interpretation.markers is not None for interpretation in one) == 4
    assert path_interpretations(HOST, "/a!;x%41", "GET", raw=False) is MalformedPath.TOO_MANY_INTERPRETATIONS
    assert isinstance(path_interpretations(HOST, "/a!;x%41", "GET", raw=True), tuple)


@pytest.mark.parametrize(
    ("path_type", "path", "decision"),
    [
        (PathType.EXACT, "/a!", AMBIGUOUS_PATH),
        (PathType.EXACT, "/a!/b", NO_MATCH),
        (PathType.SEGMENT, "/a!", AMBIGUOUS_PATH),
        (PathType.SEGMENT, "/a!/b", AMBIGUOUS_PATH),
        (PathType.SEGMENT, "/a!b", NO_MATCH),
    ],
)
def test_marks_hide_the_end_of_a_path_or_segment(path_type: PathType, path: str, decision: object) -> None:
    assert snapshot_of(deny("/a", path_type=path_type)).match(HOST, path, "GET") is decision


def test_yielding_closed_scopes_count_for_head_where_they_count_for_both_decisions() -> None:
    closed = closed_scope("/", index=9, host=None, methods=frozenset({"HEAD"}))
    itself, as_get = deny("/", methods=frozenset({"HEAD"})), exchange("/", source=BLUE, methods=frozenset({"GET"}))
    assert snapshot_of(itself, as_get, closed).match(HOST, "/a", "HEAD") == itself
    own = attrs.evolve(as_get, source=attrs.evolve(RED, name="another"))
    assert isinstance(snapshot_of(itself, own, closed).match(HOST, "/a", "HEAD"), Unhealthy)
    assert isinstance(snapshot_of(itself, closed).match(HOST, "/a", "HEAD"), Unhealthy)
    assert isinstance(snapshot_of(as_get, closed, closed_scope("/", index=8, host=None, source=BLUE)).match(HOST, "/a", "HEAD"), Unhealthy)
