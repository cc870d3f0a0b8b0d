"""What one decision takes at the limits of a namespace, counted in operations: what is looked up once, and where a request ends in 400."""

from collections.abc import Iterator
from unittest import mock

import attrs
import pytest
from exchanger.policy.lookup import Beyond, UnreadableReach, find
from exchanger.policy.policy_trie import Cell
from exchanger.policy.shares import MAX_CLOSING_ABOVE, MAX_LOOKUPS, Lookups
from exchanger.policy.trie import PrefixTrie, Steps

from exchanger.policy.headers import RequestHeaders
from exchanger.policy.interpretation import MAX_NODES, Interpretation, InvalidByteMarkers, path_interpretations
from exchanger.policy.path import MAX_ODD_PATH, MAX_QUERY, MalformedPath, read_path
from exchanger.policy.prefix import MAX_PREFIX
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import Claim, MatchScope, PathType
from exchanger.values.request import NO_FIELDS
from exchanger.values.verdict import AMBIGUOUS_PATH, NO_MATCH, Unhealthy
from tests.policy.examples import BLUE, HOST, RED, deny, exchange, region, snapshot_of

PUT = frozenset({"PUT"})
ODD = "/a;b//c/./d%41"  # 16 interpretations


def forked(count: int, *, case_insensitive: bool = False) -> PolicySnapshot:
    """Return a policy whose prefixes all leave the way of one path, each at its own character."""
    return snapshot_of(
        *(deny(f"/{'a' * length}b", index=length, methods=PUT, case_insensitive=case_insensitive) for length in range(count)),
        exchange("/", index=count),
    )


@pytest.fixture
def walked() -> Iterator[list[Steps]]:
    """Collect the bounds of the searches, whose steps are taken."""
    asked: list[Steps] = []
    within = PrefixTrie.prefixes_within

    def counted(trie: PrefixTrie[Cell], text: str, steps: Steps) -> list[Cell] | None:
        asked.append(steps)
        return within(trie, text, steps)

    with mock.patch.object(PrefixTrie, "prefixes_within", counted):
        yield asked


@pytest.mark.parametrize("case_insensitive", [False, True])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_path_of_many_interpretations_passes_a_bounded_number_of_nodes(
    walked: list[Steps],
    method: str,
    case_insensitive: bool,
) -> None:
    count = 200
    policy, path = forked(count, case_insensitive=case_insensitive), "/" + "a" * count
    assert policy.match(HOST, path, method, raw=True) == exchange("/", index=count)
    assert policy.match(HOST, path + ODD, method, raw=True) is AMBIGUOUS_PATH
    interpretations = path_interpretations(HOST, path + ODD, method, raw=True)
    assert isinstance(interpretations, tuple)
    assert walked
    assert sum(interpretation.work for interpretation in interpretations) <= MAX_NODES
    few = forked(20, case_insensitive=case_insensitive)
    assert few.match(HOST, path + ODD, method, raw=True) == exchange("/", index=20)


def test_a_search_within_steps_finds_what_one_without_does_or_ends() -> None:
    trie: PrefixTrie[str] = PrefixTrie()
    for key in ("", "/a", "/ab", "/abc", "/b"):
        trie = trie.updated(key, lambda _, key=key: key)  # type: ignore[misc]
    for text in ("", "/abcd", "/ab", "/ax", "/c", "x"):
        assert trie.prefixes_within(text, Steps(8)) == trie.prefixes_of(text)
    assert trie.prefixes_within("/abcd", Steps(4)) == ["", "/a", "/ab", "/abc"]
    assert trie.prefixes_within("/abcd", Steps(3)) is None
    steps = Steps(5)
    assert trie.prefixes_within("/ab", steps) == ["", "/a", "/ab"]
    assert trie.prefixes_within("/ab", steps) is None


@pytest.mark.parametrize("case_insensitive", [False, True])
def test_head_looks_up_regions_of_unknown_host_once(case_insensitive: bool) -> None:
    claims: list[Claim] = [
        region("/" + "a" * length, index=length, host=None, methods=PUT, case_insensitive=case_insensitive) for length in range(8)
    ]
    policy, searched = snapshot_of(*claims), dict[str, int]()
    for method in ("GET", "HEAD"):
        with (
            mock.patch.object(PrefixTrie, "prefixes_of", autospec=True, side_effect=PrefixTrie.prefixes_of) as free,
            mock.patch.object(PrefixTrie, "prefixes_within", autospec=True, side_effect=PrefixTrie.prefixes_within) as bounded,
        ):
            assert policy.match(HOST, "/aaaaaaaaa" + ODD, method, raw=True) is NO_MATCH
        searched[method] = free.call_count + bounded.call_count
    assert searched["HEAD"] == searched["GET"] > 0


@pytest.mark.parametrize("host", [HOST, "*.example.com"])
def test_each_tree_of_prefixes_and_each_part_that_grants_leave_counts(host: str) -> None:
    def most_lookups(claims: list[Claim]) -> int:
        return Lookups().added(claims).most

    plain = deny("/a", host=host)
    folded = deny("/a", host=host, case_insensitive=True)
    guessed = region("/a", host=None)
    assert most_lookups([plain]) == 1
    assert most_lookups([folded]) == 2
    assert most_lookups([plain, folded]) == 3
    assert most_lookups([guessed]) == 2
    assert most_lookups([plain, guessed]) == 3
    assert most_lookups([deny("/a", host=host, within="/")]) == 2
    assert most_lookups([deny("/" + "a" * length, index=length, host=host, case_insensitive=True) for length in range(MAX_LOOKUPS)]) == (
        MAX_LOOKUPS + 1
    )


def test_what_closes_on_a_wildcard_is_nested_less_deeply_than_on_a_host() -> None:
    excess = tuple(deny("/" + "a" * length, index=length, host="*.example.com", methods=PUT) for length in range(MAX_LOOKUPS))
    other = tuple(
        deny("/" + "a" * length, index=length, host="*.example.com", methods=frozenset({f"M{length}"}))
        for length in range(MAX_LOOKUPS, MAX_LOOKUPS + 8)
    )
    policy = snapshot_of(*excess, *other)
    closing = [scope.match for document in policy.documents.values() for scope in document.closing or ()]
    assert len(closing) == MAX_CLOSING_ABOVE
    for entry in other:
        for method in entry.match.methods or ():
            assert isinstance(policy.match(HOST, entry.match.path_prefix, method), Unhealthy)
    assert policy.match(HOST, "/" + "a" * (MAX_LOOKUPS - 1), "PUT") == excess[-1]


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


@pytest.mark.parametrize(("path", "covers"), [("/Ab/c", True), ("/ab/c", False), ("/A/b", True)])
def test_parts_of_one_prefix_are_kept_apart_by_what_they_are_within(path: str, covers: bool) -> None:
    entries = [deny("/a", index=index, case_insensitive=True, within=within) for index, within in enumerate(("/A", "/Ab"))]
    policy = snapshot_of(*entries, deny("/A", index=2, within="/Ab"), deny("/Ab", index=3, within="/Ab"))
    assert (policy.match(HOST, path, "GET") is not NO_MATCH) == covers
    assert InvalidByteMarkers.STAND.children("ab", "", 0) == ()
    assert entries[0].match == MatchScope(HOST, "/a", case_insensitive=True, within="/A")


@pytest.mark.parametrize(
    ("path_type", "path", "verdict"),
    [
        (PathType.EXACT, "/a!", AMBIGUOUS_PATH),
        (PathType.EXACT, "/a!/b", NO_MATCH),
        (PathType.SEGMENT, "/a!", AMBIGUOUS_PATH),
        (PathType.SEGMENT, "/a!/b", AMBIGUOUS_PATH),
        (PathType.SEGMENT, "/a!b", NO_MATCH),
    ],
)
def test_marks_hide_the_end_of_a_path_or_segment(path_type: PathType, path: str, verdict: object) -> None:
    assert snapshot_of(deny("/a", path_type=path_type)).match(HOST, path, "GET") is verdict


def test_regions_beyond_count_for_head_where_they_count_for_both_of_its_decisions() -> None:
    closed = region("/", index=9, host=None, methods=frozenset({"HEAD"}))
    itself, as_get = deny("/", methods=frozenset({"HEAD"})), exchange("/", source=BLUE, methods=frozenset({"GET"}))
    assert snapshot_of(itself, as_get, closed).match(HOST, "/a", "HEAD") == itself
    own = attrs.evolve(as_get, source=attrs.evolve(RED, name="another"))
    assert isinstance(snapshot_of(itself, own, closed).match(HOST, "/a", "HEAD"), Unhealthy)
    assert isinstance(snapshot_of(itself, closed).match(HOST, "/a", "HEAD"), Unhealthy)
    assert isinstance(snapshot_of(as_get, closed, region("/", index=8, host=None, source=BLUE)).match(HOST, "/a", "HEAD"), Unhealthy)


def test_a_search_among_scopes_of_unknown_host_is_bounded() -> None:
    prefixes = [region(f"/{'a' * length}b", index=length, host=None) for length in range(20)]
    trie = snapshot_of(*prefixes).trie
    interpretation = Interpretation(f"/{'a' * 30}", work=5)
    beyond = Beyond(trie, HOST, UnreadableReach.UNMATCHED)
    assert find(trie, (), beyond, interpretation, "GET", RequestHeaders(NO_FIELDS)) is AMBIGUOUS_PATH
