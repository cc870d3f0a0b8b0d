"""Laws: whatever a namespace writes, what a request costs because of it is bounded, and its excess is nobody else's.

- The look-ups that one interpretation of a path takes stay below the share and what closes on each host, however the entries are chosen.
- Requests outside the hosts and paths of a namespace get the same verdict with and without it.
- What a namespace decides is decided the same or closed under its share; nothing opens.
- The same documents are the same policy, in whatever order they came and went.

The share is made small, so that most examples exceed it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanger.policy import shares
from exchanger.policy.authority import wildcards_above
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.headers import HeaderTable, RequestHeaders
from exchanger.policy.interpretation import Interpretation, path_interpretations
from exchanger.policy.policy_trie import Cell
from exchanger.policy.prefix import fold
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.policy.trie import PrefixTrie, Steps
from exchanger.values.entry import DenyEntry, Entry, ExchangeEntry, MatchScope, PathType, Source, TokenTarget
from exchanger.values.headers import HeaderFields
from exchanger.values.verdict import Ambiguous, Unhealthy, Verdict
from tests.examples import examples

SHARE, CLOSING = 6, 2
HOSTS = ("b.a.test", "*.a.test", "*.test", "other.test")
TARGET = TokenTarget("primary", scope="read")
NAMES = ("x-a", "x_a", "x-b")

prefixes = st.integers(0, 9).map(lambda length: "/" + "aA/aaa/aaa"[:length]) | st.sampled_from(["/b", "/aA%2Fa", "/%61A", "/aa"])
scopes = st.builds(
    MatchScope,
    st.sampled_from(HOSTS),
    prefixes.filter(lambda prefix: prefix == "/" or not prefix.endswith("/")),
    st.sampled_from([None, frozenset({"GET"}), frozenset({"POST"}), frozenset({"HEAD", "PUT"})]),
    st.booleans(),
    st.sampled_from(PathType),
    st.lists(st.sampled_from(NAMES), max_size=2, unique=True).map(lambda names: tuple((name, "1") for name in sorted(names))),
)
entries = st.tuples(scopes, st.booleans())
requests = st.tuples(
    st.sampled_from(["b.a.test", "c.a.test", "x.test", "other.test", "none.example"]),
    st.sampled_from(["/aA/aaa/aaa/x", "/aA%2Faaa;v/aaa", "/aA//aaa/aaa", "/b", "/aa/b", "/c", "/", "/a%2541/./aaa/aaa"]),
    st.sampled_from(["GET", "HEAD", "POST"]),
    st.sampled_from([(), (("x-a", "1"),), (("x_a", "1"), ("x-b", "2")), (("x-a", "1"), ("x-b", "1"))]),
)


def document(source: Source, found: list[tuple[MatchScope, bool]]) -> PolicyDocument:
    made: list[Entry] = [
        DenyEntry(source, index, scope) if denies else ExchangeEntry(source, index, scope, TARGET)
        for index, (scope, denies) in enumerate(found)
    ]
    return PolicyDocument(source, tuple(made))


def documents(namespace: str, found: list[list[tuple[MatchScope, bool]]]) -> list[PolicyDocument]:
    return [document(Source(namespace, f"policy-{number}"), own) for number, own in enumerate(found)]


crowds = st.lists(st.lists(entries, min_size=4, max_size=16), min_size=1, max_size=3)


# Most of these changes leave a namespace within its share, which is not divided again with each of them.
small_crowds = st.lists(st.lists(entries, min_size=1, max_size=3), min_size=2, max_size=8)


def snapshot_of(*found: PolicyDocument) -> PolicySnapshot:
    return PolicySnapshot.EMPTY.changed({one.source: one for one in found})


@contextmanager
def share(lookups: int = SHARE, closing: int = CLOSING) -> Iterator[None]:
    with mock.patch.object(shares, "MAX_LOOKUPS", lookups), mock.patch.object(shares, "MAX_CLOSING", closing):
        yield


@attrs.define
class Counted:
    """Prefixes at which something was looked up, and rows of tables of headers."""

    prefixes: int = 0
    rows: int = 0


@contextmanager
def counting() -> Iterator[Counted]:
    counted = Counted()
    prefixes_of, prefixes_within, is_doubtful = PrefixTrie.prefixes_of, PrefixTrie.prefixes_within, HeaderTable.is_doubtful

    def counted_prefixes(trie: PrefixTrie[Cell], text: str) -> list[Cell]:
        found = prefixes_of(trie, text)
        counted.prefixes += len(found)
        return found

    def counted_within(trie: PrefixTrie[Cell], text: str, steps: Steps) -> list[Cell] | None:
        found = prefixes_within(trie, text, steps)
        counted.prefixes += len(found or ())
        return found

    def counted_rows(table: HeaderTable, method: str, request: RequestHeaders) -> bool:
        counted.rows += len(table.named)
        return is_doubtful(table, method, request)

    with (
        mock.patch.object(PrefixTrie, "prefixes_of", counted_prefixes),
        mock.patch.object(PrefixTrie, "prefixes_within", counted_within),
        mock.patch.object(HeaderTable, "is_doubtful", counted_rows),
    ):
        yield counted


def ask(snapshot: PolicySnapshot, request: tuple[str, str, str, tuple[tuple[str, str], ...]]) -> Verdict:
    host, path, method, fields = request
    return snapshot.match(host, path, method, raw=True, headers=HeaderFields(fields, raw=True))


@settings(max_examples=examples(60), deadline=None)
@given(crowds, requests)
def test_a_request_takes_a_bounded_number_of_lookups(
    crowd: list[list[tuple[MatchScope, bool]]], request: tuple[str, str, str, tuple[tuple[str, str], ...]]
) -> None:
    host, path, method, _ = request
    with share():
        snapshot = snapshot_of(*documents("evil", crowd))
    with counting() as counted:
        ask(snapshot, request)
    found = path_interpretations(host, path, method, raw=True)
    interpretations = found if isinstance(found, tuple) else (Interpretation(path),)
    places = 1 + sum(1 for _ in wildcards_above(host))
    bound = len(interpretations) * (SHARE + CLOSING * places)
    # The path as it came is looked up in the usual way first; HEAD takes no more than GET.
    assert counted.prefixes <= bound + SHARE + CLOSING * places
    assert counted.rows <= 2 * bound


def is_near(entry: Entry, host: str, path: str, method: str) -> bool:
    """Tell whether the hosts and paths of ``entry`` may have the request, in any interpretation."""
    found = path_interpretations(host, path, method, raw=True)
    assert isinstance(found, tuple)
    covers_host = entry.match.host in {host, *wildcards_above(host)}
    plain = fold(entry.match.path_prefix).replace("%2f", "/").replace("%61", "a").rstrip("/")
    return covers_host and any(fold(interpretation.path).startswith((plain, fold(entry.match.path_prefix))) for interpretation in found)


@settings(max_examples=examples(60), deadline=None)
@given(crowds, crowds, requests)
def test_an_excess_changes_nothing_elsewhere(
    crowd: list[list[tuple[MatchScope, bool]]],
    good: list[list[tuple[MatchScope, bool]]],
    request: tuple[str, str, str, tuple[tuple[str, str], ...]],
) -> None:
    evil = [
        document(one.source, [(entry.match, isinstance(entry, DenyEntry)) for entry in one.entries if not is_near(entry, *request[:3])])
        for one in documents("evil", crowd)
    ]
    with share():
        alone = snapshot_of(*documents("good", good))
        both = snapshot_of(*documents("good", good), *evil)
    assert ask(both, request) == ask(alone, request)
    assert {source: one for source, one in both.documents.items() if source.namespace == "good"} == dict(alone.documents.items())


@settings(max_examples=examples(60), deadline=None)
@given(crowds, requests)
def test_a_share_closes_and_never_opens(
    crowd: list[list[tuple[MatchScope, bool]]], request: tuple[str, str, str, tuple[tuple[str, str], ...]]
) -> None:
    with share(1_000):
        free = ask(snapshot_of(*documents("evil", crowd)), request)
    with share():
        shared = ask(snapshot_of(*documents("evil", crowd)), request)
    assert (
        shared == free
        or isinstance(shared, Unhealthy)
        or (isinstance(free, Unhealthy | Ambiguous) and not isinstance(shared, ExchangeEntry))
    )


def most_of(found: list[PolicyDocument]) -> int:
    return shares.most_lookups(claim for one in found for claim in one.claims)


@settings(max_examples=examples(40), deadline=None)
@given(small_crowds, st.randoms(use_true_random=False))
def test_the_order_of_documents_does_not_matter(crowd: list[list[tuple[MatchScope, bool]]], random: object) -> None:
    with share():
        found = documents("evil", crowd)
        at_once = snapshot_of(*found)
        shuffled = list(found)
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        one_by_one = PolicySnapshot.EMPTY
        for number, one in enumerate((*shuffled, *found)):
            one_by_one = one_by_one.withdraw(one.source).apply(one)
            present = shuffled[: number + 1]
            assert one_by_one == snapshot_of(*present)
            assert one_by_one.namespaces["evil"].exceeds or one_by_one.namespaces["evil"].most >= most_of(present)
        assert one_by_one == at_once
        for one in found:
            assert one_by_one.documents[one.source].closing == at_once.documents[one.source].closing
