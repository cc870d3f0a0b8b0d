"""What worker threads do for the machine: read texts, build versions, and find the rights that new grants revoke.

Must not know: tasks, threads, or when anything is to be done.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeAlias, final

import attrs
from rpds import HashTrieMap

from exchanger.policy.documents.document import Labels, PolicyDocument
from exchanger.policy.grants.allowance import Allowance, Grants
from exchanger.policy.namespace import Changes, EffectiveDocument
from exchanger.policy.revocation import Revocation
from exchanger.policy.selection import DocumentText, UnknownText, read
from exchanger.policy.snapshot import PolicySnapshot, changed_documents
from exchanger.publish.pending import Lane
from exchanger.values.entry import AllowEntry, Source

# Seconds of CPU for one namespace that the first version waits for: ten of the most expensive documents. The rest fails closed until it is
# read, so that nobody keeps the service from starting.
FIRST_BUDGET_S: Final = 10.0
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
    """The new ``version``, the ``settled`` version under the same grants, and how the new one differs: the document of each source.

    ``to_read`` are the sources of documents that were over quota, and for which there is room again.
    """

    version: PolicySnapshot = attrs.field(repr=False)
    settled: PolicySnapshot = attrs.field(repr=False)
    differs: Mapping[Source, EffectiveDocument | None] = attrs.field(factory=dict, repr=False)
    to_read: tuple[Source, ...] = attrs.field(default=(), repr=False)


@final
@attrs.frozen
class Build:
    """Apply ``documents`` to ``base``, and hold it and the ``settled`` version against ``grants``, ``None`` for the same as before.

    ``labels`` are those of all namespaces, and ``relabelled`` the namespaces that have others than in ``base``. What ``blocked`` documents
    allow is removed: they are to be removed themselves once they need not wait for others. ``unread`` are the sources that fail closed
    until their texts are read. ``completes``: the version has everything that must be in it before any is published.
    """

    base: PolicySnapshot = attrs.field(repr=False)
    settled: PolicySnapshot = attrs.field(repr=False)
    documents: Changes = attrs.field(repr=False)
    labels: NamespaceLabels = attrs.field(repr=False)
    relabelled: Iterable[str] = ()
    blocked: Iterable[Source] = attrs.field(default=(), repr=False)
    unread: Iterable[Source] = attrs.field(default=(), repr=False)
    grants: Grants | None = attrs.field(default=None, repr=False)
    completes: bool = False

    def run(self) -> Built:
        """Build the version. Blocking code for a thread."""
        base, settled = self.base, self.settled
        if self.grants is not None:
            base = base.with_grants(self.grants)
            settled = base if self.settled is self.base else settled.with_grants(self.grants)
        documents = self._documents()
        names = dict.fromkeys([*self.relabelled, *(source.namespace for source, document in documents.items() if document is not None)])
        labels = {name: self.labels[name] for name in names if name in self.labels}
        version = base.changed(documents, labels)
        if allowing := dict(_without_allows(version, self.blocked)):
            version, documents = version.changed(allowing), {**documents, **allowing}
        granted = dict.fromkeys(self.relabelled)
        if self.grants is not None:
            granted.update((name, None) for name, own in version.namespaces.items() if own is not self.base.namespaces.get(name))
        differs = changed_documents(self.base, version, documents, granted)
        touched = granted | dict.fromkeys(source.namespace for source in documents)
        to_read = [source for name in touched if (own := version.namespace(name)) is not None for source in sorted(own.to_read_again)]
        return Built(version, self._without_rights_of(settled, labels), differs, tuple(to_read))

    def _documents(self) -> dict[Source, PolicyDocument | None]:
        documents = dict(self.documents)
        for source in self.unread:
            documents.setdefault(source, read(source, UnknownText(_NOT_READ), frozenset()))
        return documents

    def _without_rights_of(self, settled: PolicySnapshot, labels: Mapping[str, tuple[Labels, ...]]) -> PolicySnapshot:
        """Return ``settled`` without the rights that namespaces have lost with their labels. What they deny there stays: it may move."""
        grants = settled.grants
        names = dict.fromkeys([*labels, *(() if settled.revocation is None else settled.revocation.allowances)])
        if not grants.limited or not names:
            return settled
        lost: dict[str, tuple[Allowance, ...]] = {}
        for name in names:
            namespace = settled.namespace(name)
            if namespace is not None:
                now = grants.allowances(name, self.labels.get(name, namespace.labels))
                if now != namespace.allowances:
                    lost[name] = now
        revocation = Revocation(HashTrieMap(lost), enforced=grants.enforced, keeps_denials=True) if lost else None
        return settled.revoked_by(revocation)


def _without_allows(version: PolicySnapshot, sources: Iterable[Source]) -> Iterator[tuple[Source, PolicyDocument]]:
    """Yield the documents of ``sources`` that allow something, without that; they count as not read.

    An entry that is not granted stays: it fails closed.
    """
    for source in sources:
        effective = version.document(source)
        allows = set() if effective is None else {entry.index for entry in effective.entries if isinstance(entry, AllowEntry)}
        if effective is not None and allows:
            left = tuple([entry for entry in effective.document.entries if entry.index not in allows])
            yield source, attrs.evolve(effective.document, entries=left, issuers=None)


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
        grants, lost = self.grants, dict[str, tuple[Allowance, ...]]()
        for version in self.versions:
            all_differ = (version.grants.enforced, version.grants.limited) != (grants.enforced, grants.limited)
            for name, namespace in version.namespaces.items():
                now = grants.allowances(name, self.labels.get(name, namespace.labels))
                if all_differ or now != namespace.allowances:
                    lost[name] = now
        if self.building is not None:
            before = self.building.grants or self.building.base.grants
            names = {*self.building.relabelled, *(source.namespace for source in self.building.documents)}
            names.update(self.building.base.namespaces if self.building.grants is not None else ())
            for name in names:
                labels = self.labels.get(name, ())
                now = grants.allowances(name, labels)
                if now != before.allowances(name, labels):
                    lost[name] = now
        return Revocation(HashTrieMap(lost), grants.denials, grants.enforced)
