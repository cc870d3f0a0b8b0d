"""One version of the policy: namespaces, and the routes of each host that follow from them. A change makes a new version.

Must not know: where documents come from, who publishes or reads, or what follows from a decision.
"""

import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, assert_never, final

import attrs
from rpds import HashTrieMap

from exchanger.model.authority import read_authority
from exchanger.model.entry import UNKNOWN_NAMESPACE, AllowEntry, DenyEntry, ExchangeEntry, Source
from exchanger.model.policy_decision import Ambiguous, NoMatch, PolicyDecision, Unhealthy
from exchanger.model.request import NO_FIELDS, HeaderFields
from exchanger.policy.documents.document import Labels, PolicyDocument
from exchanger.policy.grants.allowance import NO_GRANTS, UNLIMITED, Allowance, Grants
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.lookup import Request, Trace, decide, decide_at_once, denied_by
from exchanger.policy.namespace import Changes, Differences, EffectiveDocument, NamespacePolicy, keys_of
from exchanger.policy.revocation import Revocation
from exchanger.policy.scope import Route
from exchanger.policy.table import VirtualHosts


@enum.unique
class UnreadableReach(enum.Enum):
    """How far a fail-closed scope of unknown host reaches inside its scope: what no entry of another namespace decides, or everything."""

    UNMATCHED = "unmatched"
    GLOBAL = "global"


@final
@attrs.frozen(eq=False)
class PolicySnapshot:
    """All namespaces with documents, and ``hosts``, which have their routes.

    ``grants`` are those that restrict documents; their baseline denies first. ``revocation`` has the rights that namespaces have lost
    since. ``reach`` is that of fail-closed scopes whose host is unknown. ``settled`` is the earlier version that this one may not loosen
    yet: the stricter decision counts. ``invalid_documents`` counts the documents of which something fails closed, and ``refused_count`` the
    entries outside the grants.
    """

    EMPTY: ClassVar["PolicySnapshot"]

    grants: Grants = attrs.field(default=NO_GRANTS, repr=False)
    reach: UnreadableReach = attrs.field(default=UnreadableReach.UNMATCHED, repr=False)
    namespaces: "HashTrieMap[str, NamespacePolicy]" = attrs.field(factory=HashTrieMap, repr=False)
    hosts: VirtualHosts = attrs.field(factory=VirtualHosts, repr=False)
    document_count: int = 0
    entry_count: int = 0
    invalid_documents: int = 0
    refused_count: int = 0
    revocation: Revocation | None = attrs.field(default=None, repr=False)
    settled: "PolicySnapshot | None" = attrs.field(default=None, repr=False)

    # Whether an entry names headers.
    needs_headers: bool = attrs.field(init=False, repr=False)

    # Whether fail-closed scopes of unknown host yield to nobody, and whether nothing but ``hosts`` decides.
    _is_global: bool = attrs.field(init=False, repr=False)
    _has_hosts_alone: bool = attrs.field(init=False, repr=False)

    @needs_headers.default
    def _needs_headers(self) -> bool:
        return self.hosts.with_headers > 0 or (self.settled is not None and self.settled.needs_headers)

    @_is_global.default
    def _reaches_everything(self) -> bool:
        return self.reach is UnreadableReach.GLOBAL

    @_has_hosts_alone.default
    def _has_nothing_else(self) -> bool:
        return self.baseline is None and self.revocation is None and self.settled is None

    @property
    def baseline(self) -> VirtualHosts | None:
        """The operator's denials, which come before all documents."""
        return self.grants.denials

    @property
    def limits(self) -> NamespaceLimits:
        """What each namespace may have in all its documents together."""
        return self.grants.limits

    def namespace(self, name: str) -> NamespacePolicy | None:
        """Return the policy of a namespace, ``None`` if it has no document."""
        return self.namespaces.get(name)

    def document(self, source: Source) -> EffectiveDocument | None:
        """Return the document of ``source``, ``None`` if there is none."""
        namespace = self.namespaces.get(source.namespace)
        return None if namespace is None else namespace.documents.get(source)

    def documents(self) -> Iterator[EffectiveDocument]:
        """Yield all documents."""
        for namespace in self.namespaces.values():
            yield from namespace.documents.values()

    def changed(self, documents: Changes, labels: Mapping[str, tuple[Labels, ...]] = {}) -> "PolicySnapshot":
        """Return a version with other documents, as their authors wrote them, and with other ``labels`` of some namespaces.

        Costs the size of these documents, and for each host with a new prefix the number of its prefixes; for a namespace with other
        labels all of its documents.
        """
        by_namespace: dict[str, dict[Source, PolicyDocument | None]] = {name: {} for name in labels}
        for source, document in documents.items():
            by_namespace.setdefault(source.namespace, {})[source] = document
        after: dict[str, NamespacePolicy] = {}
        differences: dict[str, Differences] = {}
        for name, own in by_namespace.items():
            before = self.namespaces.get(name)
            described = labels.get(name, () if before is None else before.labels)
            if before is None:
                before = NamespacePolicy(described, self._allowances(name, described), self.limits, self.grants.enforced)
            after[name], differences[name] = before.changed(own)
            if described != before.labels and (allowances := self._allowances(name, described)) != before.allowances:
                after[name], differences[name] = self._granted(after[name], described, allowances, since=before)
            elif described != before.labels:
                after[name] = attrs.evolve(after[name], labels=described)
        return self._with(after, differences)

    def with_grants(self, grants: Grants) -> "PolicySnapshot":
        """Return a version whose documents are restricted by other grants and limits. Costs the namespaces for which these differ."""
        snapshot = attrs.evolve(self, grants=grants)
        all_differ = (self.limits, self.grants.enforced) != (grants.limits, grants.enforced)
        after: dict[str, NamespacePolicy] = {}
        differences: dict[str, Differences] = {}
        for name, before in self.namespaces.items():
            allowances = snapshot._allowances(name, before.labels)  # noqa: SLF001 - of the same class
            if all_differ or allowances != before.allowances:
                after[name], differences[name] = snapshot._granted(before, before.labels, allowances, since=before)  # noqa: SLF001
        return snapshot._with(after, differences)  # noqa: SLF001

    def _allowances(self, namespace: str, labels: tuple[Labels, ...]) -> tuple[Allowance, ...]:
        return (UNLIMITED,) if namespace == UNKNOWN_NAMESPACE else self.grants.allowances(namespace, labels)

    def _granted(
        self, namespace: NamespacePolicy, labels: tuple[Labels, ...], allowances: tuple[Allowance, ...], *, since: NamespacePolicy
    ) -> tuple[NamespacePolicy, Differences]:
        """Return ``namespace`` under other allowances, and how its routes differ from those ``since``."""
        after = namespace.granted(labels, allowances, self.limits, enforced=self.grants.enforced)
        hosts = keys_of(since.routes, after.routes)
        return after, {host: (list(since.on(host)), list(after.on(host))) for host in hosts}

    def _with(self, after: Mapping[str, NamespacePolicy], differences: Mapping[str, Differences]) -> "PolicySnapshot":
        """Return the version with other namespaces, of which the routes have these ``differences``."""
        namespaces, hosts = self.namespaces, self.hosts
        documents, entries, invalid, refused = self.document_count, self.entry_count, self.invalid_documents, self.refused_count
        together = Differences()
        for name, namespace in after.items():
            for one, sign in ((namespaces.get(name), -1), (namespace, 1)):
                if one is not None:
                    documents += sign * len(one.documents)
                    entries += sign * one.entry_count
                    invalid += sign * one.invalid_documents
                    refused += sign * one.refused_count
            namespaces = namespaces.insert(name, namespace) if namespace.documents else namespaces.discard(name)
            for host, (removed, added) in differences[name].items():
                all_removed, all_added = together.setdefault(host, ([], []))
                all_removed += removed
                all_added += added
        for host, (removed, added) in together.items():
            kept = set(removed).intersection(added) if removed and added else set[Route]()
            left, new = ([one for one in own if one not in kept] for own in (removed, added))
            if left or new:
                hosts = hosts.replaced(host, left, new)
        counts = documents, entries, invalid, refused
        return PolicySnapshot(self.grants, self.reach, namespaces, hosts, *counts, self.revocation, self.settled)

    def revoked_by(self, revocation: Revocation | None) -> "PolicySnapshot":
        """Return the version with ``revocation`` checked at each look-up; ``None`` for nothing."""
        return self if revocation is self.revocation else attrs.evolve(self, revocation=revocation)

    def reaching(self, reach: UnreadableReach) -> "PolicySnapshot":
        """Return the version with ``reach`` for its fail-closed scopes of unknown host; itself if it has that already."""
        if reach is self.reach and self.settled is None:
            return self
        return attrs.evolve(self, reach=reach, settled=None if self.settled is None else self.settled.reaching(reach))

    def match(
        self,
        host: str,
        path: str,
        method: str,
        *,
        raw: bool = False,
        headers: HeaderFields = NO_FIELDS,
        refuses_unmatched: bool = False,
        trace: Trace | None = None,
    ) -> PolicyDecision:
        """Return the decision on a request.

        Args:
            host: the authority as received, with or without port
            path: the path as received, with its query
            method: in upper case
            raw: the path is the raw bytes; otherwise a ``!`` in it may replace a byte that the gateway could not put into text
            headers: all header fields of the request
            refuses_unmatched: requests that no entry covers are denied, which is then stricter than an exchange if versions differ
            trace: receives the look-up in this version, without that in the ``settled`` one
        """
        authority = read_authority(host)
        if method == "CONNECT":  # it has no path, whatever a gateway states in its place (RFC 9110 section 9.3.6)
            path = ""
        if self._has_hosts_alone and trace is None:  # nearly always
            found = decide_at_once(self.hosts, authority, path, method, raw=raw, is_global=self._is_global)
            if found is not None:
                return found
            return decide(self.hosts, Request(authority, path, method, raw, headers), is_global=self._is_global)
        request = Request(authority, path, method, raw, headers)
        decision = self._decision(request, trace)
        if self.settled is None or self.settled.is_alike_on(authority, self):
            return decision
        return stricter(decision, self.settled._decision(request), refuses_unmatched=refuses_unmatched)  # noqa: SLF001 - of the same class

    def is_alike_on(self, host: str | None, other: "PolicySnapshot") -> bool:
        """Return whether ``other`` certainly has the same decisions on ``host``: versions share what is equal."""
        if self.baseline is not other.baseline or self.revocation is not other.revocation:
            return False
        own, others = self.hosts.near(host), other.hosts.near(host)
        return len(own) == len(others) and all(one is two for (_, one), (_, two) in zip(own, others, strict=True))

    def _decision(self, request: Request, trace: Trace | None = None) -> PolicyDecision:
        """Return the decision of this version alone."""
        denied: PolicyDecision | None = None
        for denials in (self.baseline, None if self.revocation is None else self.revocation.denials):
            denied = denied or (None if denials is None else denied_by(denials, request, trace))
            if denied is not None and trace is None:
                return denied
        permits, is_global = None if self.revocation is None else self.revocation.permits, self._is_global
        if permits is None and trace is None:
            found = decide_at_once(self.hosts, request.host, request.path, request.method, raw=request.raw, is_global=is_global)
            if found is not None:
                return found
        decided = decide(self.hosts, request, is_global=is_global, permits=permits, trace=trace)
        return denied or decided


def changed_documents(
    before: PolicySnapshot, after: PolicySnapshot, sources: Iterable[Source], namespaces: Iterable[str] = ()
) -> dict[Source, EffectiveDocument | None]:
    """Return those documents among ``sources``, and in ``namespaces``, that differ between two versions; ``None`` for none.

    Where the limits or labels of a namespace make a difference, all of its documents are compared. Those that differ are sorted then, since
    maps have a different order in each process.
    """
    found: dict[Source, EffectiveDocument | None] = {}
    by_namespace: dict[str, list[Source]] = {name: [] for name in namespaces}
    for source in sources:
        by_namespace.setdefault(source.namespace, []).append(source)
    for name, own in by_namespace.items():
        old, new = before.namespaces.get(name), after.namespaces.get(name)
        compared: Iterable[Source] = own
        if old is not None and new is not None and (name in namespaces or _affects_all(old, new)):
            compared = keys_of(old.documents, new.documents)
        differing: dict[Source, EffectiveDocument | None] = {}
        for source in compared:
            document = None if new is None else new.documents.get(source)
            if document is not (None if old is None else old.documents.get(source)):
                differing[source] = document
        found |= differing if compared is own else {source: differing[source] for source in sorted(differing)}
    return found


def _affects_all(old: NamespacePolicy, new: NamespacePolicy) -> bool:
    own, others = ((one.allowances, one.over_quota, one.over_depth, one.expansion.is_over_limit) for one in (old, new))
    return own != others


def stricter(decision: PolicyDecision, earlier: PolicyDecision, *, refuses_unmatched: bool = False) -> PolicyDecision:
    """Return the stricter decision, the first of two that refuse alike; of two exchanges, that of the ``earlier`` version.

    A changed target removes one exchange and adds another: the removal waits.
    """
    own, others = _strictness(decision, refuses_unmatched), _strictness(earlier, refuses_unmatched)
    return earlier if others > own or (others == own and isinstance(earlier, ExchangeEntry)) else decision


def _strictness(decision: PolicyDecision, refuses_unmatched: bool) -> int:  # noqa: FBT001 - its only caller's
    match decision:
        case DenyEntry():  # before other refusals: what is denied throughout has the same answer, although mixed versions have conflicts
            return 5
        case Unhealthy():
            return 4
        case Ambiguous():
            return 3
        case NoMatch():
            return 2 if refuses_unmatched else 0
        case ExchangeEntry():
            return 1
        case AllowEntry():
            return 0
        case _:
            assert_never(decision)


PolicySnapshot.EMPTY = PolicySnapshot()
