"""Laws of what a version knows of documents: any way to a state is a fresh start of it, and nothing that differs goes unnoticed."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias
from unittest import mock

import attrs
from hypothesis import event, given
from hypothesis import strategies as st

from exchanger.model.codes.grants import PARTLY_OUTSIDE_GRANTS
from exchanger.model.codes.manifests import MANY_AREAS
from exchanger.model.entry import EVERYWHERE, DenyEntry, FailClosedScope, MatchScope, Source
from exchanger.model.policy_decision import Ambiguous, NoMatch, Unhealthy
from exchanger.model.selector import parse_selector
from exchanger.policy import depth, expansion
from exchanger.policy.documents.document import Labels, PolicyDocument
from exchanger.policy.grants.allowance import NO_GRANTS, Grants, NamespaceGrant
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.snapshot import PolicySnapshot, changed_documents
from tests.policy.comparing import content
from tests.policy.examples import ACTIONS, ANYTHING
from tests.property.strategies_policy import documents, hosts, methods, odd_paths, plain_paths

NAMES = ("red", "blue")
# Documents that change, the labels of a namespace, or grants.
Step: TypeAlias = dict[Source, PolicyDocument | None] | tuple[str, tuple[Labels, ...]] | Grants
sources = st.builds(Source, st.sampled_from(NAMES), st.sampled_from("abc"))
some_labels = st.sampled_from([(), ((("team", "x"),),), ((("team", "y"),),), ((("team", "x"),), (("team", "y"),))])
grant = st.builds(
    NamespaceGrant,
    st.sampled_from([None, frozenset({"red"}), frozenset(NAMES)]),
    st.sampled_from([None, None, parse_selector("team=x")]),
    st.sampled_from([ANYTHING, ("a.example",), ("b.example", "*.a.example", "a.example")]),
    st.sampled_from([("",), ("/a",), ("/a", "/aa"), ("/b",)]),
    st.sampled_from([ACTIONS, frozenset({"exchange"}), frozenset({"deny"})]),
    st.just(ANYTHING),
    st.just(ANYTHING),
    st.just(ANYTHING),
    st.just(ANYTHING),
)
limits = st.just(NamespaceLimits()) | st.builds(NamespaceLimits, st.integers(0, 8), st.integers(0, 3), st.integers(0, 3))
all_grants = st.builds(
    Grants, st.lists(grant, max_size=3).map(tuple), enforced=st.booleans(), limited=st.booleans(), limits=limits
) | st.just(NO_GRANTS)


@attrs.define
class History:
    """A version that is changed again and again, and what it should consist of."""

    snapshot: PolicySnapshot = PolicySnapshot.EMPTY
    documents: dict[Source, PolicyDocument] = attrs.field(factory=dict)
    labels: dict[str, tuple[Labels, ...]] = attrs.field(factory=dict)

    def take(self, step: "Step") -> None:
        if isinstance(step, Grants):
            self.snapshot = self.snapshot.with_grants(step)
        elif isinstance(step, tuple):
            self.describe(*step)
        else:
            self.edit(step)

    def edit(self, changes: Mapping[Source, PolicyDocument | None]) -> None:
        self.documents = {source: one for source, one in {**self.documents, **changes}.items() if one is not None}
        described = {source.namespace: self.labels.get(source.namespace, ()) for source in changes}
        self.snapshot = self.snapshot.changed(changes, described)

    def describe(self, namespace: str, labels: tuple[Labels, ...]) -> None:
        self.labels[namespace] = labels
        self.snapshot = self.snapshot.changed({}, {namespace: labels})

    def read_again(self) -> None:
        """Bring the documents back for which there is room again."""
        while wanted := [source for one in self.snapshot.namespaces.values() for source in one.to_read_again]:
            self.edit({source: self.documents[source] for source in wanted})

    def fresh(self) -> PolicySnapshot:
        return PolicySnapshot(grants=self.snapshot.grants).changed(self.documents, {**dict.fromkeys(NAMES, ()), **self.labels})


@st.composite
def changes(draw: st.DrawFn) -> dict[Source, PolicyDocument | None]:
    found = draw(st.lists(sources, max_size=3, unique=True))
    return {source: draw(st.none() | documents(of=st.just(source))) for source in found}


all_steps = changes() | st.tuples(st.sampled_from(NAMES), some_labels) | all_grants
histories: st.SearchStrategy[list[Step]] = st.lists(all_steps, min_size=1, max_size=8)


def lived(steps: Iterable[Step]) -> History:
    history = History()
    for step in steps:
        history.take(step)
    return history


@contextmanager
def small_bounds() -> Iterator[None]:
    """Allow few levels, and few routes of one claim, so that small documents exceed them."""
    with mock.patch.object(depth, "MAX_DEPTH", 6), mock.patch.object(expansion, "MAX_EXPANDED", 4):
        yield


@given(histories)
def test_any_history_of_documents_labels_and_grants_ends_as_a_fresh_start(steps: list[Step]) -> None:
    with small_bounds():
        history = lived(steps)
        history.read_again()
        fresh = history.fresh()
    own = history.snapshot.namespaces
    for namespace in own.values():
        event(f"over {bool(namespace.over_quota)}, {bool(namespace.over_depth)}, {bool(namespace.expansion.closed)}")
    assert content(history.snapshot) == content(fresh)
    assert all(one.is_like(fresh.document(one.source)) and not one.is_like(None) for one in history.snapshot.documents())
    for name, namespace in own.items():
        assert (namespace.over_quota, namespace.over_depth) == (fresh.namespaces[name].over_quota, fresh.namespaces[name].over_depth)
        assert (namespace.labels, namespace.allowances) == (fresh.namespaces[name].labels, fresh.namespaces[name].allowances)


@given(histories)
def test_counts_are_those_of_all_documents_and_hosts(steps: list[Step]) -> None:
    with small_bounds():
        snapshot = lived(steps).snapshot
        for namespace in snapshot.namespaces.values():
            depths = {host: (depth.depth_of(there.all()), there) for host, there in namespace.routes.items()}
            assert all(least <= there.depth and there.count == len(there.all()) for least, there in depths.values())
            assert namespace.over_depth == {host for host, (least, _) in depths.items() if least > depth.MAX_DEPTH}
    there = list(snapshot.documents())
    assert snapshot.document_count == len(there)
    assert snapshot.entry_count == sum(len(one.entries) for one in there)
    assert snapshot.invalid_documents == sum(bool(one.problems) for one in there)
    assert snapshot.refused_count == sum(len(one.refused) for one in there)
    for name, namespace in snapshot.namespaces.items():
        own = [one for one in there if one.source.namespace == name]
        assert sum(one.used_entries for one in own) == namespace.used_entries
        assert sum(one.used_scopes for one in own) == namespace.used_scopes
        assert {one.source for one in own if one.is_over_quota} >= namespace.to_read_again
    on = [*snapshot.hosts.by_name.values(), *([] if snapshot.hosts.every is None else [snapshot.hosts.every])]
    routes = {route for there in on for route in there.routes()}
    assert snapshot.hosts.wildcards == sum(name.startswith("*.") for name in snapshot.hosts.by_name)
    assert snapshot.hosts.yielding == sum(one.yields_to_others for one in routes) == sum(there.yielding for there in on)
    assert snapshot.hosts.with_headers == sum(bool(one.match.headers) for one in routes)
    assert snapshot.needs_headers == any(one.match.headers for one in routes)


@given(histories)
def test_findings_are_all_problems_and_refusals_in_the_order_of_entries(steps: list[Step]) -> None:
    with small_bounds():
        snapshot = lived(steps).snapshot
    for one in snapshot.documents():
        places = [-1 if problem.entry is None else problem.entry for problem in one.findings]
        assert places == sorted(places)
        refusals = [(refusal.code, refusal.index) for refusal in one.refused]
        wrong = {*one.document.findings, *(problem for closed_scope in one.problems for problem in closed_scope.problems)}
        assert wrong <= set(one.findings)
        assert sorted((found.code, found.entry) for found in one.findings if found not in wrong) == sorted(refusals)
        indices = [entry.index for entry in one.entries]
        closed = [closed_scope.index for closed_scope in one.problems]
        assert len({*indices, *closed}) == len(indices) + len(closed)
        assert one.is_over_quota is False or not one.entries


@given(histories, all_steps)
def test_every_document_that_differs_is_told(steps: list[Step], step: Step) -> None:
    with small_bounds():
        history = lived(steps)
        before = history.snapshot
        history.take(step)
    edited = step if isinstance(step, dict) else ()
    renewed = NAMES if isinstance(step, Grants) else step[:1] if isinstance(step, tuple) else ()
    found = changed_documents(before, history.snapshot, edited, renewed)
    known, now = ({one.source: one for one in snapshot.documents()} for snapshot in (before, history.snapshot))
    differ = {source for source in {**known, **now} if now.get(source) is not known.get(source)}
    event(f"{len(differ)} differ")
    assert found == {source: now.get(source) for source in differ}


@given(histories, all_steps, hosts, plain_paths | odd_paths, methods)
def test_versions_that_are_alike_on_a_host_decide_alike_there(steps: list[Step], step: Step, host: str, path: str, method: str) -> None:
    history = lived(steps)
    before = history.snapshot
    history.take(step)
    is_alike = history.snapshot.is_alike_on(host, before)
    event(f"alike {is_alike}")
    assert is_alike is before.is_alike_on(host, history.snapshot)
    assert before.is_alike_on(host, before)
    assert not is_alike or history.snapshot.match(host, path, method) == before.match(host, path, method)


@given(
    st.lists(documents(of=st.builds(Source, st.just("red"), st.sampled_from("abc"))), min_size=1, max_size=3),
    documents(of=st.just(Source("blue", "a"))),
    all_grants,
    hosts,
    plain_paths,
    methods,
)
def test_claims_on_too_many_hosts_close_what_is_granted_and_nothing_else(
    own: list[PolicyDocument], other: PolicyDocument, grants: Grants, host: str, path: str, method: str
) -> None:
    grants = attrs.evolve(grants, limits=NO_GRANTS.limits)
    there = {one.source: one for one in (*own, other)}
    free = PolicySnapshot(grants=grants).changed(there)
    with mock.patch.object(expansion, "MAX_EXPANDED", 1):
        bounded, alone = (PolicySnapshot(grants=grants).changed(some) for some in (there, {other.source: other}))
    before, found, others = (one.match(host, path, method) for one in (free, bounded, alone))
    namespace, is_closed = bounded.namespaces["red"], any(one.expansion.closed for one in bounded.namespaces.values())
    event(f"closes {is_closed}, {type(found).__name__}")
    closed = (DenyEntry, Unhealthy, Ambiguous)
    assert isinstance(found, closed) or not isinstance(before, closed)
    if not is_closed:
        assert found == before
    allowed = [one for one in namespace.allowances[0].granted if any(_covers(pattern, host) for pattern in one.hosts)]
    if grants.limited and grants.enforced and not any(path in one.paths for one in allowed):
        assert found == others or isinstance(found, NoMatch)


def _covers(pattern: str, host: str) -> bool:
    return pattern in {"*", host} or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def test_a_document_that_covers_too_many_granted_hosts_reports_it() -> None:
    hosts = tuple(f"h{number}.example" for number in range(3))
    grants = Grants((NamespaceGrant(None, None, hosts),))
    source = Source("red", "a")
    with mock.patch.object(expansion, "MAX_EXPANDED", 2):
        there = PolicySnapshot(grants=grants).changed(
            {source: PolicyDocument(source, (DenyEntry(source, 0, MatchScope("*.example", "/x")),))}
        )
    document = there.document(source)
    assert document is not None
    assert [problem.code for problem in document.findings] == [MANY_AREAS, PARTLY_OUTSIDE_GRANTS]
    assert document.entries == ()
    assert isinstance(there.match("h1.example", "/", "GET"), Unhealthy)
    with mock.patch.object(expansion, "MAX_EXPANDED", 0):
        alone = PolicySnapshot(grants=Grants((NamespaceGrant(None, None, hosts[:1]),))).changed({source: document.document})
    assert isinstance(alone.match("h0.example", "/", "GET"), NoMatch), "one granted host is not expanded"


def test_wholly_closed_hosts_yield_to_others_only_while_every_claim_does() -> None:
    hosts_of = {"red": ("h1.example", "h2.example"), "blue": ("*",)}
    grants = Grants(tuple(NamespaceGrant(frozenset({name}), None, own) for name, own in hosts_of.items()))
    source, other, blue = Source("red", "a"), Source("red", "b"), Source("blue", "a")
    denied = DenyEntry(blue, 0, MatchScope("h1.example"))
    unreadable = PolicyDocument(source, closed_scopes=(FailClosedScope(source, EVERYWHERE, "unreadable"),))
    wildcard = PolicyDocument(other, (DenyEntry(other, 0, MatchScope("*.example")),))
    with mock.patch.object(expansion, "MAX_EXPANDED", 1):
        yielding = PolicySnapshot(grants=grants).changed({blue: PolicyDocument(blue, (denied,)), source: unreadable})
        closed = yielding.changed({other: wildcard})
        again = closed.changed({other: None})
    assert [one.match("h1.example", "/", "GET") == denied for one in (yielding, closed, again)] == [True, False, True]
    assert all(len(one.namespaces["red"].expansion.closed) == 2 for one in (yielding, closed, again)), "two routes are over the limit"
