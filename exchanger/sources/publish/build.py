"""What worker threads do for the machine: read texts, build versions, and find the rights that new grants revoke.

Must not know: tasks, threads, or when anything is to be done.
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final, TypeAlias, final

import attrs
from rpds import HashTrieMap

from exchanger.model.entry import AllowEntry, Source
from exchanger.policy.documents.document import Labels, PolicyDocument
from exchanger.policy.grants.allowance import Allowance, Grants
from exchanger.policy.namespace import Changes, EffectiveDocument
from exchanger.policy.revocation import Revocation
from exchanger.policy.selection import DocumentText, UnknownText, read
from exchanger.policy.snapshot import PolicySnapshot, changed_documents
from exchanger.sources.publish.pending import Lane

# Seconds of CPU for one namespace that the first version waits for: ten of the most expensive documents. The rest fails closed until it is
# read, so that nobody keeps the service from starting.
FIRST_BUDGET_S: Final = 10.0
# Names that are sorted in one call.
SORTED_AT_ONCE: Final = 10_000
_NOT_READ: Final = f"the document has not been read yet: others of its namespace took more than {FIRST_BUDGET_S:.0f} s"

# The labels of each namespace, several descriptions of one if files disagree.
NamespaceLabels: TypeAlias = "HashTrieMap[str, tuple[Labels, ...]]"


@final
@attrs.frozen
class Read:
    """Read ``texts``, of which the documents in ``known`` may have been read before."""

    lane: Lane
    texts: Mapping[Source, DocumentText] = attrs.field(repr=False)
    issuers: frozenset[str]
    known: Mapping[Source, PolicyDocument] = attrs.field(factory=dict, repr=False)

    def run(self, cpu: Callable[[], float]) -> tuple[dict[Source, PolicyDocument], dict[str, float]]:
        """Return the documents, and the seconds of CPU that each namespace cost. Blocking code for a thread."""
        documents: dict[Source, PolicyDocument] = {}
        costs: dict[str, float] = {}
        for source, text in self.texts.items():
            began = cpu()
            documents[source] = read(source, text, self.issuers, self.known.get(source))
            costs[source.namespace] = costs.get(source.namespace, 0.0) + cpu() - began
        return documents, costs


@final
@attrs.frozen
class Built:
    """The new ``version``, the ``settled`` version beside it, and how the new one differs: the document of each source.

    ``documents`` are those that were applied. ``to_read`` are the sources of documents that were over quota, and for which there is room
    again. ``lost``: the allowances of those namespaces that have documents or labels in this build and lose rights under the next grants.
    """

    version: PolicySnapshot = attrs.field(repr=False)
    settled: PolicySnapshot = attrs.field(repr=False)
    differs: Mapping[Source, EffectiveDocument | None] = attrs.field(factory=dict, repr=False)
    documents: Changes = attrs.field(factory=dict, repr=False)
    to_read: tuple[Source, ...] = attrs.field(default=(), repr=False)
    lost: Mapping[str, tuple[Allowance, ...]] = attrs.field(factory=dict, repr=False)


@final
@attrs.frozen
class Build:
    """Apply ``documents`` to ``base``, which is the version ``before`` itself, or the same under new grants.

    ``settled`` is the last settled version. ``labels`` are those of all namespaces, and ``relabelled`` the namespaces that have others than
    in ``base``. What ``blocked`` documents allow is removed: they are to be removed themselves once they need not wait for others.
    ``unread`` are the sources that fail closed until their texts are read. ``next_grants`` are those that will replace the present ones.
    ``completes``: the version has everything that must be in it before any is published.

    If namespaces are ``losing`` rights with their labels, only these are taken away: to build a namespace again may take seconds.
    """

    before: PolicySnapshot = attrs.field(repr=False)
    base: PolicySnapshot = attrs.field(repr=False)
    settled: PolicySnapshot = attrs.field(repr=False)
    documents: Changes = attrs.field(repr=False)
    labels: NamespaceLabels = attrs.field(repr=False)
    relabelled: Collection[str] = ()
    blocked: Iterable[Source] = attrs.field(default=(), repr=False)
    unread: Iterable[Source] = attrs.field(default=(), repr=False)
    next_grants: Grants | None = attrs.field(default=None, repr=False)
    completes: bool = False
    losing: Collection[str] = ()

    def run(self) -> Built:
        """Build the version. Blocking code for a thread."""
        if self.losing:
            version, settled = (self._without_rights_of(one, self.losing) for one in (self.base, self.settled))
            return Built(version, settled, lost=self._lost_next((version, settled), self.losing))
        base, documents = self.base.revoked_by(None), self._documents()
        names = dict.fromkeys([*self.relabelled, *(source.namespace for source, document in documents.items() if document is not None)])
        labels = {name: self.labels[name] for name in names if name in self.labels}
        version = base.changed(documents, labels)
        if allowing := dict(_without_allows(version, self.blocked)):
            version, documents = version.changed(allowing), {**documents, **allowing}
        compared = dict.fromkeys(self.relabelled)
        if base is not self.before:
            others = [name for name, own in version.namespaces.items() if own is not self.before.namespaces.get(name)]
            compared.update(dict.fromkeys(_in_order(others)))
        changed = changed_documents(self.before, version, documents, compared)
        differs = {source: one for source, one in changed.items() if one is None or not one.is_like(self.before.document(source))}
        touched = compared | dict.fromkeys(source.namespace for source in documents)
        to_read = [source for name in touched if (own := version.namespace(name)) is not None for source in sorted(own.to_read_again)]
        # Other grants may give rights to labels that a namespace had when the version was settled, and has no longer.
        settled = self._without_rights_of(self.settled, labels if self.base is self.before else self.settled.namespaces)
        return Built(version, settled, differs, documents, tuple(to_read), self._lost_next((version, settled), touched))

    def _documents(self) -> dict[Source, PolicyDocument | None]:
        documents = dict(self.documents)
        for source in self.unread:
            documents.setdefault(source, read(source, UnknownText(_NOT_READ), frozenset()))
        return documents

    def _lost_next(self, versions: Iterable[PolicySnapshot], names: Collection[str]) -> dict[str, tuple[Allowance, ...]]:
        """Return the rights that namespaces lose under the next grants, also if the settled version alone has their documents."""
        lost: dict[str, tuple[Allowance, ...]] = {}
        if self.next_grants is not None:
            for version in versions:
                lost |= lost_rights(version, self.next_grants, self.labels, names)
        return lost

    def _without_rights_of(self, version: PolicySnapshot, relabelled: Iterable[str]) -> PolicySnapshot:
        """Return ``version`` without the rights that namespaces have lost with their labels. What they deny there stays: it may move."""
        names = {*relabelled, *(() if version.revocation is None else version.revocation.allowances)}
        if not version.grants.limited:
            return version
        lost = lost_rights(version, version.grants, self.labels, sorted(names))
        revocation = Revocation(HashTrieMap(lost), enforced=version.grants.enforced, keeps_denials=True) if lost else None
        return version.revoked_by(revocation)


def _without_allows(version: PolicySnapshot, sources: Iterable[Source]) -> Iterator[tuple[Source, PolicyDocument]]:
    """Yield the documents of ``sources`` that allow something, without that; they count as not read.

    An entry that is not granted stays: it fails closed.
    """
    for effective in filter(None, map(version.document, sources)):
        allows = {entry.index for entry in effective.entries if isinstance(entry, AllowEntry)}
        if allows:
            left = tuple([entry for entry in effective.document.entries if entry.index not in allows])
            yield effective.source, attrs.evolve(effective.document, entries=left, issuers=None)


def lost_rights(version: PolicySnapshot, grants: Grants, labels: NamespaceLabels, names: Iterable[str]) -> dict[str, tuple[Allowance, ...]]:
    """Return the allowances under ``grants`` and ``labels`` of those namespaces ``names`` that have others in ``version``."""
    found: dict[str, tuple[Allowance, ...]] = {}
    for name in names:
        namespace = version.namespace(name)
        if namespace is not None:
            now = grants.allowances(name, labels.get(name, namespace.labels))
            if namespace.enforced is not grants.enforced or now != namespace.allowances:
                found[name] = now
    return found


@final
@attrs.frozen
class Revoke:
    """Find the rights that namespaces lose under ``grants``: in these ``versions``, and in the one that is ``building``."""

    grants: Grants = attrs.field(repr=False)
    versions: tuple[PolicySnapshot, ...] = attrs.field(repr=False)
    labels: NamespaceLabels = attrs.field(repr=False)
    building: Build | None = None

    def run(self) -> Revocation:
        """Return the revoked rights. Blocking code for a thread."""
        lost: dict[str, tuple[Allowance, ...]] = {}
        building = () if self.building is None else (self.building.base, self.building.settled)
        for version in (*self.versions, *building):
            lost |= lost_rights(version, self.grants, self.labels, version.namespaces)
        if self.building is not None:
            before = self.building.base.grants
            for name in {source.namespace for source in self.building.documents} | set(self.building.relabelled):
                now = self.grants.allowances(name, self.labels.get(name, ()))
                built = before.allowances(name, self.building.labels.get(name, ()))
                if now != built or before.enforced is not self.grants.enforced:
                    lost[name] = now
        return Revocation(HashTrieMap(lost), self.grants.denials, self.grants.enforced)


@final
@attrs.frozen
class Regrant:
    """Hold the documents of two versions against ``grants``, which takes seconds."""

    grants: Grants = attrs.field(repr=False)
    newest: PolicySnapshot = attrs.field(repr=False)
    settled: PolicySnapshot = attrs.field(repr=False)

    def run(self) -> tuple[PolicySnapshot, PolicySnapshot]:
        """Return the two versions. Blocking code for a thread."""
        newest = self.newest.with_grants(self.grants)
        return newest, newest if self.settled is self.newest else self.settled.with_grants(self.grants)


def _in_order(names: list[str]) -> Iterable[str]:
    """Return ``names`` sorted. In one call 100,000 would hold the interpreter for 70 ms, and ``SORTED_AT_ONCE`` take 4."""
    return heapq.merge(*(sorted(names[start : start + SORTED_AT_ONCE]) for start in range(0, len(names), SORTED_AT_ONCE)))
