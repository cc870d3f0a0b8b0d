"""Laws of limits and of shares: which documents of a namespace are in force, and what they may cost."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from unittest import mock

import attrs
from exchanger.policy.grants.restriction import closed_whole
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanger.kube.list_watch import Item, Key
from exchanger.kube.store import Holding
from exchanger.policy import intake as intake_module
from exchanger.policy import shares
from exchanger.policy.authority import wildcards_above
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.grants.allowance import NO_GRANTS, Grants, NamespaceGrant
from exchanger.policy.intake import Intake, beyond
from exchanger.policy.interpretation import Interpretation, path_interpretations
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.prefix import fold
from exchanger.policy.selection import ConfigMap, Namespace, advance, select
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import AllowEntry, DenyEntry, Entry, ExchangeEntry, MatchScope, PathType, Source, TokenTarget
from exchanger.values.request import HeaderFields
from exchanger.values.selector import Selector
from exchanger.values.verdict import Ambiguous, Unhealthy, Verdict
from tests.examples import examples
from tests.policy.work import counting

# Laws: what a namespace may have is bounded, and its excess is nobody else's.
#
# - Of any ConfigMaps, the first ones by name are read for which there is room, in whatever order they come and go.
# - Of any documents, no more areas are kept than the limit, and one for each document.
# - What was denied or closed without the limits is denied or closed with them, unless another namespace decides it.
# - What other namespaces decide they decide all the same; with grants, nothing outside the grant differs.
# - The same documents are the same policy, in whatever order they came and went.


names_of_maps = st.sampled_from("abcdefgh")
SIZES = st.integers(0, 1_500)
CHANGES = st.lists(st.tuples(names_of_maps, st.none() | SIZES), max_size=40)
LIMITS = st.builds(NamespaceLimits, st.integers(1, 6), st.integers(1, 5), st.integers(1, 4), st.integers(1, 2))


def first_by_name(sizes: dict[str, int], limits: NamespaceLimits) -> set[str]:
    """The rule, as one would say it."""
    read: set[str] = set()
    total = 0
    for name in sorted(sizes):
        total += sizes[name]
        if len(read) == limits.documents or total > limits.kib * 1024:
            break
        read.add(name)
    return read


@settings(max_examples=examples(200))
@given(CHANGES, LIMITS)
def test_the_first_by_name_are_read(changes: list[tuple[str, int | None]], limits: NamespaceLimits) -> None:
    intake, sizes, read = Intake(limits), dict[str, int](), set[str]()
    for name, size in changes:
        near = intake.drop("n", name) if size is None else intake.put("n", name, size)
        sizes = {**{known: of for known, of in sizes.items() if known != name}, **({} if size is None else {name: size})}
        before, read = read, first_by_name(sizes, limits)
        assert {known for known in sizes if intake.is_read("n", known)} == read
        assert (read ^ before) & sizes.keys() - {name} <= set(near)
    assert beyond((("n", name, size) for name, size in sizes.items()), limits) == {("n", name) for name in sizes.keys() - read}


@settings(max_examples=examples(200))
@given(CHANGES, LIMITS, st.integers(1, 3))
def test_what_is_held_depends_on_what_there_is_alone(changes: list[tuple[str, int | None]], limits: NamespaceLimits, told: int) -> None:
    """Except that what there is room for again is held as if there were none, until it comes again."""
    with mock.patch.object(intake_module, "MAX_TOLD", told):
        held, shown, there = Holding[ConfigMap].within(limits), dict[Key, Item[ConfigMap]](), dict[Key, Item[ConfigMap]]()
        for version, (name, size) in enumerate(changes):
            key = Key("n", name)
            if size is None:
                there.pop(key, None)
                moved = (key, *held.drop(key))
            else:
                there[key] = Item(key, str(version), ConfigMap("n", name, (), "x" * size))
                moved = held.put(there[key])
            for other in moved:
                shown.pop(other, None)
                if other in held.items:
                    shown[other] = held.items[other]
            afresh = Holding[ConfigMap].within(limits)
            for one in there.values():
                afresh.put(one)
            assert shown == held.items
            assert held.items.keys() == afresh.items.keys()
            for lacking in held.lacking:
                assert held.items[lacking].value.beyond
                assert not afresh.items[lacking].value.beyond
            others = held.items.keys() - held.lacking
            assert {other: held.items[other].value for other in others} == {other: afresh.items[other].value for other in others}


LIMITED_HOSTS = ("a.test", "b.test", "*.test", "other.example")
PATHS = ("/", "/a", "/a/b", "/%61", "/c")
ITEMS = st.tuples(st.sampled_from(LIMITED_HOSTS), st.sampled_from(PATHS), st.sampled_from(["deny", "exchange", "wrong", "nowhere"]))
ACTIONS = {
    "deny": "action: deny",
    "exchange": "action: exchange, exchange: {issuerRef: primary, scope: read}",
    "wrong": "action: no",
    "nowhere": "action: deny",
}
TEXTS = st.one_of(
    st.lists(ITEMS, max_size=6).map(
        lambda items: (
            "version: v1\nentries:\n"
            + "".join(
                f"- {{match: {{host: '{'*' if kind == 'nowhere' else host}', pathPrefix: '{path}'}}, {ACTIONS[kind]}}}\n"
                for host, path, kind in items
            )
        )
    ),
    st.just("version: v2\n"),
    st.just("#" * 1_000),
)
CROWDS = st.dictionaries(names_of_maps, TEXTS, max_size=6)
REQUESTS = st.tuples(
    st.sampled_from(["a.test", "b.test", "x.test", "other.example", "none.example"]),
    st.sampled_from(["/", "/a", "/a/b/c", "/%61", "/c", "/x"]),
    st.sampled_from(["GET", "HEAD", "POST"]),
)
GRANTS = st.sampled_from(
    [
        NO_GRANTS,
        Grants(
            (NamespaceGrant(frozenset({"evil"}), None, ("a.test", "*.test"), ("", "/a")), NamespaceGrant(frozenset({"good"}), None, ("*",)))
        ),
        Grants((NamespaceGrant(None, None, ("a.test", "b.test"), ("/a", "/c")),)),
        Grants((NamespaceGrant(frozenset({"evil"}), None, ("a.test",)),), enforced=False),
    ]
)
GENEROUS = NamespaceLimits()


def policy(limits: NamespaceLimits, grants: Grants, **crowds: dict[str, str]) -> PolicySnapshot:
    objects = [Namespace(namespace, ()) for namespace in crowds]
    maps = [ConfigMap(namespace, name, (), text) for namespace, texts in crowds.items() for name, text in texts.items()]
    rules = attrs.evolve(grants, limits=limits)
    documents = select([*objects, *maps], Selector(), Selector(), limits)
    return advance(PolicySnapshot.EMPTY, {}, documents, frozenset({"primary"}), grants=rules).snapshot


def is_refused(verdict: Verdict) -> bool:
    return isinstance(verdict, DenyEntry | Unhealthy | Ambiguous)


def is_of(verdict: Verdict, namespace: str) -> bool:
    return isinstance(verdict, AllowEntry | DenyEntry | ExchangeEntry) and verdict.source.namespace == namespace


@settings(max_examples=examples(150), deadline=None)
@given(CROWDS, LIMITS, GRANTS)
def test_what_is_kept_is_bounded(crowd: dict[str, str], limits: NamespaceLimits, grants: Grants) -> None:
    limits = attrs.evolve(limits, entries=GENEROUS.entries)
    documents = policy(limits, grants, evil=crowd).documents
    read = [document for document in documents.values() if document.text is not None]
    assert len(read) <= limits.documents
    assert sum(len(document.text or "") for document in read) <= limits.kib * 1024
    apart = {area for document in documents.values() for area in document.areas}
    assert sum(len(document.regions) for document in read) <= limits.areas + len(read)
    assert len(apart) <= 1


def beside(crowd: dict[str, str], good: dict[str, str], limits: NamespaceLimits, grants: Grants) -> PolicySnapshot:
    """Return the policy of both, in which ``limits`` are those of the crowd alone."""
    # A version's limits count for the namespaces that are changed in it.
    bounded = policy(limits, grants, evil=crowd).with_limits(GENEROUS)
    return bounded.changed(dict(policy(GENEROUS, grants, good=good).documents.items()), grants)


@settings(max_examples=examples(150), deadline=None)
@given(CROWDS, CROWDS, LIMITS, GRANTS, REQUESTS)
def test_limits_close_and_never_open(
    crowd: dict[str, str], good: dict[str, str], limits: NamespaceLimits, grants: Grants, request: tuple[str, str, str]
) -> None:
    free, bounded = policy(GENEROUS, grants, evil=crowd).match(*request), policy(limits, grants, evil=crowd).match(*request)
    assert is_refused(bounded) or not is_refused(free)
    free, bounded = beside(crowd, good, GENEROUS, grants).match(*request), beside(crowd, good, limits, grants).match(*request)
    assert is_refused(bounded) or not is_refused(free) or is_of(bounded, "good")


@settings(max_examples=examples(300), deadline=None)
@given(CROWDS, CROWDS, LIMITS, GRANTS, REQUESTS)
def test_what_others_decide_they_decide_all_the_same(
    crowd: dict[str, str], good: dict[str, str], limits: NamespaceLimits, grants: Grants, request: tuple[str, str, str]
) -> None:
    free, bounded = beside(crowd, good, GENEROUS, grants), beside(crowd, good, limits, grants)
    assert not is_of(free.match(*request), "good") or bounded.match(*request) == free.match(*request)
    theirs = {source: document for source, document in bounded.documents.items() if source.namespace == "good"}
    assert theirs == {source: document for source, document in free.documents.items() if source.namespace == "good"}


@settings(max_examples=examples(100), deadline=None)
@given(CROWDS, LIMITS, GRANTS, st.randoms(use_true_random=False))
def test_the_order_of_documents_does_not_matter_to_limits(
    crowd: dict[str, str], limits: NamespaceLimits, grants: Grants, order: random.Random
) -> None:
    at_once = policy(limits, grants, evil=crowd)
    found = [document.alone or document for document in at_once.documents.values()]
    one_by_one = PolicySnapshot.EMPTY.with_limits(limits)
    for document in (*order.sample(found, len(found)), *order.sample(found, len(found))):
        one_by_one = one_by_one.withdraw(document.source, grants).apply(document, grants)
    assert one_by_one == at_once


@settings(max_examples=examples(100), deadline=None)
@given(CROWDS, LIMITS, REQUESTS)
def test_nothing_outside_the_grant_differs(crowd: dict[str, str], limits: NamespaceLimits, request: tuple[str, str, str]) -> None:
    grants = Grants((NamespaceGrant(frozenset({"evil"}), None, ("a.test",), ("/a",)),))
    host, path, _ = request
    verdict = policy(limits, grants, evil=crowd).match(*request)
    inside = host == "a.test" and path in {"/a", "/a/b/c", "/%61"}
    assert inside or not isinstance(verdict, DenyEntry | Unhealthy)


# Laws: whatever a namespace writes, what a request costs because of it is bounded, and its excess is nobody else's.
#
# - The look-ups that one interpretation of a path takes stay below the share and what closes on each host, however the entries are chosen.
# - Requests outside the hosts and paths of a namespace get the same verdict with and without it.
# - What a namespace decides is decided the same or closed under its share; nothing opens.
# - The same documents are the same policy, in whatever order they came and went.
#
# The share is made small, so that most examples exceed it.


SHARE, CLOSING = 6, 2
HOSTS = ("b.a.test", "*.a.test", "*.test", "other.test")
TARGET = TokenTarget("primary", scope="read")
HEADER_NAMES = ("x-a", "x_a", "x-b")

prefixes = st.integers(0, 9).map(lambda length: "/" + "aA/aaa/aaa"[:length]) | st.sampled_from(["/b", "/aA%2Fa", "/%61A", "/aa"])
scopes = st.builds(
    MatchScope,
    st.sampled_from(HOSTS),
    prefixes.filter(lambda prefix: prefix == "/" or not prefix.endswith("/")),
    st.sampled_from([None, frozenset({"GET"}), frozenset({"POST"}), frozenset({"HEAD", "PUT"})]),
    st.booleans(),
    st.sampled_from(PathType),
    st.lists(st.sampled_from(HEADER_NAMES), max_size=2, unique=True).map(lambda names: tuple((name, "1") for name in sorted(names))),
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
    return shares.shared(found, shares.NamespaceLimits(), partial(closed_whole, NO_GRANTS)).most


@settings(max_examples=examples(40), deadline=None)
@given(small_crowds, st.randoms(use_true_random=False))
def test_the_order_of_documents_does_not_matter_to_shares(crowd: list[list[tuple[MatchScope, bool]]], random: object) -> None:
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
            assert one_by_one.namespaces["evil"].exceeds or one_by_one.namespaces["evil"].lookups.most >= most_of(present)
        assert one_by_one == at_once
        for one in found:
            assert one_by_one.documents[one.source].closing == at_once.documents[one.source].closing
