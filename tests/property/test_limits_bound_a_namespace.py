"""Laws: what a namespace may have is bounded, and its excess is nobody else's.

- Of any ConfigMaps, the first ones by name are read for which there is room, in whatever order they come and go.
- Of any documents, no more areas are kept than the limit, and one for each document.
- What was denied or closed without the limits is denied or closed with them, unless another namespace decides it.
- What other namespaces decide they decide all the same; with grants, nothing outside the grant differs.
- The same documents are the same policy, in whatever order they came and went.
"""

import random
from unittest import mock

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanger.kube.list_watch import Item, Key
from exchanger.kube.store import Holding
from exchanger.policy import intake as intake_module
from exchanger.policy.grants.allowance import NO_GRANTS, Grant, Grants
from exchanger.policy.intake import Intake, beyond
from exchanger.policy.selection import ConfigMap, Namespace, advance, select
from exchanger.policy.shares import Limits
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import AllowEntry, DenyEntry, ExchangeEntry
from exchanger.values.selector import Selector
from exchanger.values.verdict import Ambiguous, Unhealthy, Verdict
from tests.examples import examples

NAMES = st.sampled_from("abcdefgh")
SIZES = st.integers(0, 1_500)
CHANGES = st.lists(st.tuples(NAMES, st.none() | SIZES), max_size=40)
LIMITS = st.builds(Limits, st.integers(1, 6), st.integers(1, 5), st.integers(1, 4), st.integers(1, 2))


def first_by_name(sizes: dict[str, int], limits: Limits) -> set[str]:
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
def test_the_first_by_name_are_read(changes: list[tuple[str, int | None]], limits: Limits) -> None:
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
def test_what_is_held_depends_on_what_there_is_alone(changes: list[tuple[str, int | None]], limits: Limits, told: int) -> None:
    """Except that what there is room for again is held as if there were none, until it comes again."""
    with mock.patch.object(intake_module, "MAX_TOLD", told):
        held, shown, there = Holding[ConfigMap].within(limits), dict[Key, Item[ConfigMap]](), dict[Key, Item[ConfigMap]]()
        for version, (name, size) in enumerate(changes):
            key = Key("n", name)
            if size is None:
                there.pop(key, None)
                kept = held.drop(key)
                shown.pop(key, None)
            else:
                there[key] = Item(key, str(version), ConfigMap("n", name, (), "x" * size))
                kept = held.put(there[key])
            shown.update((one.key, one) for one in kept.items)
            for gone in kept.gone:
                shown.pop(gone, None)
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


HOSTS = ("a.test", "b.test", "*.test", "other.example")
PATHS = ("/", "/a", "/a/b", "/%61", "/c")
ITEMS = st.tuples(st.sampled_from(HOSTS), st.sampled_from(PATHS), st.sampled_from(["deny", "exchange", "wrong", "nowhere"]))
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
CROWDS = st.dictionaries(NAMES, TEXTS, max_size=6)
REQUESTS = st.tuples(
    st.sampled_from(["a.test", "b.test", "x.test", "other.example", "none.example"]),
    st.sampled_from(["/", "/a", "/a/b/c", "/%61", "/c", "/x"]),
    st.sampled_from(["GET", "HEAD", "POST"]),
)
GRANTS = st.sampled_from(
    [
        NO_GRANTS,
        Grants((Grant(frozenset({"evil"}), None, ("a.test", "*.test"), ("", "/a")), Grant(frozenset({"good"}), None, ("*",)))),
        Grants((Grant(None, None, ("a.test", "b.test"), ("/a", "/c")),)),
        Grants((Grant(frozenset({"evil"}), None, ("a.test",)),), enforced=False),
    ]
)
GENEROUS = Limits()


def policy(limits: Limits, grants: Grants, **crowds: dict[str, str]) -> PolicySnapshot:
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
def test_what_is_kept_is_bounded(crowd: dict[str, str], limits: Limits, grants: Grants) -> None:
    limits = attrs.evolve(limits, entries=GENEROUS.entries)
    documents = policy(limits, grants, evil=crowd).documents
    read = [document for document in documents.values() if document.text is not None]
    assert len(read) <= limits.documents
    assert sum(len(document.text or "") for document in read) <= limits.kib * 1024
    apart = {area for document in documents.values() for area in document.areas}
    assert sum(len(document.regions) for document in read) <= limits.areas + len(read)
    assert len(apart) <= 1


def beside(crowd: dict[str, str], good: dict[str, str], limits: Limits, grants: Grants) -> PolicySnapshot:
    """Return the policy of both, in which ``limits`` are those of the crowd alone."""
    # A version's limits count for the namespaces that are changed in it.
    bounded = policy(limits, grants, evil=crowd).with_limits(GENEROUS)
    return bounded.changed(dict(policy(GENEROUS, grants, good=good).documents.items()), grants)


@settings(max_examples=examples(300), deadline=None)
@given(CROWDS, CROWDS, LIMITS, GRANTS, REQUESTS)
def test_limits_close_and_never_open(
    crowd: dict[str, str], good: dict[str, str], limits: Limits, grants: Grants, request: tuple[str, str, str]
) -> None:
    free, bounded = policy(GENEROUS, grants, evil=crowd).match(*request), policy(limits, grants, evil=crowd).match(*request)
    assert is_refused(bounded) or not is_refused(free)
    free, bounded = beside(crowd, good, GENEROUS, grants).match(*request), beside(crowd, good, limits, grants).match(*request)
    assert is_refused(bounded) or not is_refused(free) or is_of(bounded, "good")


@settings(max_examples=examples(300), deadline=None)
@given(CROWDS, CROWDS, LIMITS, GRANTS, REQUESTS)
def test_what_others_decide_they_decide_all_the_same(
    crowd: dict[str, str], good: dict[str, str], limits: Limits, grants: Grants, request: tuple[str, str, str]
) -> None:
    free, bounded = beside(crowd, good, GENEROUS, grants), beside(crowd, good, limits, grants)
    assert not is_of(free.match(*request), "good") or bounded.match(*request) == free.match(*request)
    theirs = {source: document for source, document in bounded.documents.items() if source.namespace == "good"}
    assert theirs == {source: document for source, document in free.documents.items() if source.namespace == "good"}


@settings(max_examples=examples(100), deadline=None)
@given(CROWDS, LIMITS, GRANTS, st.randoms(use_true_random=False))
def test_the_order_of_documents_does_not_matter(crowd: dict[str, str], limits: Limits, grants: Grants, order: random.Random) -> None:
    at_once = policy(limits, grants, evil=crowd)
    found = [document.alone or document for document in at_once.documents.values()]
    one_by_one = PolicySnapshot.EMPTY.with_limits(limits)
    for document in (*order.sample(found, len(found)), *order.sample(found, len(found))):
        one_by_one = one_by_one.withdraw(document.source, grants).apply(document, grants)
    assert one_by_one == at_once


@settings(max_examples=examples(100), deadline=None)
@given(CROWDS, LIMITS, REQUESTS)
def test_nothing_outside_the_grant_differs(crowd: dict[str, str], limits: Limits, request: tuple[str, str, str]) -> None:
    grants = Grants((Grant(frozenset({"evil"}), None, ("a.test",), ("/a",)),))
    host, path, _ = request
    verdict = policy(limits, grants, evil=crowd).match(*request)
    inside = host == "a.test" and path in {"/a", "/a/b/c", "/%61"}
    assert inside or not isinstance(verdict, DenyEntry | Unhealthy)
