"""Laws of limits: which documents of a namespace are read, and what is kept of those over its quota."""

import random
from unittest import mock

import attrs
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exchanger.model.entry import AllowEntry, DenyEntry, ExchangeEntry
from exchanger.model.policy_decision import Ambiguous, PolicyDecision, Unhealthy
from exchanger.model.selector import Selector
from exchanger.policy import quota as quota_module
from exchanger.policy.grants.allowance import NO_GRANTS, Grants, NamespaceGrant
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.quota import NamespaceQuota, over_quota
from exchanger.policy.selection import ConfigMap, Namespace, advance, select
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.kube.list_watch import Item, Key
from exchanger.sources.kube.store import BoundedObjects
from tests.examples import examples
from tests.property.strategies_policy import ISSUERS, contents_of

# Laws: what a namespace may have is bounded, and its excess is nobody else's.
#
# - Of any ConfigMaps, the first ones by name are read for which there is room, in whatever order they come and go.
# - Of documents over quota, no more is kept than their text and the hosts that they name.
# - What was denied or closed without the limits is denied or closed with them, unless another namespace decides it.
# - With grants, nothing outside the grant differs.
# - The same documents are the same policy, in whatever order they came.


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
@example([("a", 1_500), ("b", 1), ("a", None)], NamespaceLimits(kib=1))
@given(CHANGES, LIMITS)
def test_the_first_by_name_are_read(changes: list[tuple[str, int | None]], limits: NamespaceLimits) -> None:
    quota, sizes, read = NamespaceQuota(limits), dict[str, int](), set[str]()
    for name, size in changes:
        near = quota.drop("n", name) if size is None else quota.put("n", name, size)
        sizes = {**{known: of for known, of in sizes.items() if known != name}, **({} if size is None else {name: size})}
        before, read = read, first_by_name(sizes, limits)
        assert {known for known in sizes if quota.is_read("n", known)} == read
        assert (read ^ before) & sizes.keys() - {name} <= set(near)
        assert len(near) <= abs(len(read) - len(before)) + 2
    assert over_quota((("n", name, size) for name, size in sizes.items()), limits) == {("n", name) for name in sizes.keys() - read}


@settings(max_examples=examples(200))
@given(CHANGES, LIMITS, st.integers(1, 3))
def test_what_is_held_depends_on_what_there_is_alone(changes: list[tuple[str, int | None]], limits: NamespaceLimits, told: int) -> None:
    """Except that what there is room for again is held as if there were none, until it comes again."""
    with mock.patch.object(quota_module, "MAX_LISTED", told):
        held, shown, there = BoundedObjects[ConfigMap].within(limits), dict[Key, Item[ConfigMap]](), dict[Key, Item[ConfigMap]]()
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
            afresh = BoundedObjects[ConfigMap].within(limits)
            for one in there.values():
                afresh.put(one)
            assert shown == held.items
            assert held.items.keys() == afresh.items.keys()
            for to_refetch in held.to_refetch:
                assert held.items[to_refetch].value.over_quota
                assert not afresh.items[to_refetch].value.over_quota
            others = held.items.keys() - held.to_refetch
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


def policy(limits: NamespaceLimits, grants: Grants, order: random.Random | None = None, **crowds: dict[str, str]) -> PolicySnapshot:
    objects = [Namespace(namespace, ()) for namespace in crowds]
    maps = [ConfigMap(namespace, name, (), text) for namespace, texts in crowds.items() for name, text in texts.items()]
    documents = select([*objects, *(order.sample(maps, len(maps)) if order else maps)], Selector(), Selector(), limits)
    return advance(PolicySnapshot.EMPTY, {}, documents, ISSUERS, grants=attrs.evolve(grants, limits=limits)).snapshot


def is_refused(decision: PolicyDecision) -> bool:
    return isinstance(decision, DenyEntry | Unhealthy | Ambiguous)


def is_of(decision: PolicyDecision, namespace: str) -> bool:
    return isinstance(decision, AllowEntry | DenyEntry | ExchangeEntry) and decision.source.namespace == namespace


@settings(max_examples=examples(150), deadline=None)
@given(CROWDS, LIMITS, GRANTS)
def test_what_is_kept_is_bounded(crowd: dict[str, str], limits: NamespaceLimits, grants: Grants) -> None:
    documents = list(policy(limits, grants, evil=crowd).documents())
    read = [document for document in documents if document.text is not None]
    assert len(read) <= limits.documents
    assert sum(len(document.text or "") for document in read) <= limits.kib * 1024
    within = [document for document in documents if not document.is_over_quota]
    assert sum(len(document.document.entries) for document in within) <= limits.entries
    assert all(document.document.entries == () for document in documents if document.is_over_quota)
    hosts = {"a.test", "b.test", "*.test", "other.example", None}
    assert all(len(document.document.closed_scopes) <= len(hosts) for document in documents if document.is_over_quota)


@settings(max_examples=examples(150), deadline=None)
@given(CROWDS, CROWDS, LIMITS, GRANTS, REQUESTS)
def test_limits_close_and_never_open(
    crowd: dict[str, str], good: dict[str, str], limits: NamespaceLimits, grants: Grants, request: tuple[str, str, str]
) -> None:
    free, bounded = (policy(some, grants, evil=crowd).match(*request) for some in (GENEROUS, limits))
    assert is_refused(bounded) or not is_refused(free)
    free, bounded = (policy(some, grants, evil=crowd, good=good).match(*request) for some in (GENEROUS, limits))
    assert is_refused(bounded) or not is_refused(free) or is_of(bounded, "good") or is_of(bounded, "evil")


@settings(max_examples=examples(100), deadline=None)
@given(CROWDS, LIMITS, GRANTS, st.randoms(use_true_random=False))
def test_the_order_of_documents_does_not_matter_to_limits(
    crowd: dict[str, str], limits: NamespaceLimits, grants: Grants, order: random.Random
) -> None:
    assert contents_of(policy(limits, grants, order, evil=crowd)) == contents_of(policy(limits, grants, evil=crowd))


@settings(max_examples=examples(100), deadline=None)
@given(CROWDS, LIMITS, REQUESTS)
def test_nothing_outside_the_grant_differs(crowd: dict[str, str], limits: NamespaceLimits, request: tuple[str, str, str]) -> None:
    grants = Grants((NamespaceGrant(frozenset({"evil"}), None, ("a.test",), ("/a",)),))
    host, path, _ = request
    decision = policy(limits, grants, evil=crowd).match(*request)
    inside = host == "a.test" and path in {"/a", "/a/b/c", "/%61"}
    assert inside or not isinstance(decision, DenyEntry | Unhealthy)
