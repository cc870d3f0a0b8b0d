"""One version of the whole policy: documents go in and out, requests are matched. A change makes a new version, which replaces the last.

Must not know: where documents come from, who publishes or reads, or what follows from a verdict.
"""

from collections.abc import Callable
from typing import ClassVar, final

import attrs
from rpds import HashTrieMap

from exchanger.policy.authority import read_authority
from exchanger.policy.document import PolicyDocument
from exchanger.policy.lookup import CONFLICT, Reading, UnreadableReach, find, find_plain, readings_to_ask
from exchanger.policy.path import MalformedPath, is_plain_with_query
from exchanger.policy.policy_trie import Paths, PolicyTrie
from exchanger.values.entry import DenyEntry, Source
from exchanger.values.notice import NO_NOTICES, Notices
from exchanger.values.verdict import AMBIGUOUS_AUTHORITY, AMBIGUOUS_PATH, NO_MATCH, Unhealthy, Verdict


@final
@attrs.frozen
class PolicySnapshot:
    """All documents and what they say together, which is ``trie``. ``invalid_documents`` counts the documents with at least one region.

    ``reach`` is that of regions whose host is not known.
    """

    EMPTY: ClassVar["PolicySnapshot"]

    documents: "HashTrieMap[Source, PolicyDocument]" = attrs.field(factory=HashTrieMap, repr=False)
    entry_count: int = 0
    region_count: int = 0
    invalid_documents: int = 0
    trie: PolicyTrie = attrs.field(factory=PolicyTrie, repr=False)
    reach: UnreadableReach = attrs.field(default=UnreadableReach.UNMATCHED, repr=False)

    def apply(self, document: PolicyDocument) -> "PolicySnapshot":
        """Return a snapshot with ``document`` in the place of any older one of its source; costs the size of these two documents.

        One that says the same in another text only takes its place: nothing else changes.
        """
        known = self.documents.get(document.source)
        if known == document:
            return self if known.text == document.text else attrs.evolve(self, documents=self.documents.insert(document.source, document))
        base = self.withdraw(document.source)
        trie = base.trie
        for claim in (*document.entries, *document.regions):
            trie = trie.with_claim(claim)
        return base._changed(base.documents.insert(document.source, document), trie, document, 1)  # noqa: SLF001 - of the same class

    def withdraw(self, source: Source) -> "PolicySnapshot":
        """Return a snapshot without the document of ``source``; itself when there is none."""
        document = self.documents.get(source)
        if document is None:
            return self
        trie = self.trie
        for claim in (*document.entries, *document.regions):
            trie = trie.without_claim(claim)
        return self._changed(self.documents.discard(source), trie, document, -1)

    def reaching(self, reach: UnreadableReach) -> "PolicySnapshot":
        """Return the snapshot with ``reach`` for its regions of unknown host; itself when that is what it has."""
        return self if reach is self.reach else attrs.evolve(self, reach=reach)

    def _changed(
        self, documents: "HashTrieMap[Source, PolicyDocument]", trie: PolicyTrie, document: PolicyDocument, sign: int
    ) -> "PolicySnapshot":
        return PolicySnapshot(
            documents,
            self.entry_count + sign * len(document.entries),
            self.region_count + sign * len(document.regions),
            self.invalid_documents + sign * bool(document.regions),
            trie,
            self.reach,
        )

    def match(self, host: str, path: str, method: str, *, raw: bool = False) -> Verdict:
        """Return the verdict on a request.

        Args:
            host: the authority as it came, with or without port
            path: the path as it came, with its query
            method: in upper case
            raw: the path came byte for byte; otherwise a ``!`` in it may stand for a byte that the gateway could not put into text
        """
        authority, trie = read_authority(host), self.trie
        paths = None if authority is None else trie.hosts.get(authority)
        if paths is None and trie.all_hosts is None:
            return NO_MATCH if authority is not None else AMBIGUOUS_AUTHORITY
        verdict = find_plain(trie, paths, self.reach, path, method)
        if isinstance(verdict, Unhealthy):
            return verdict
        if authority is None:
            return AMBIGUOUS_AUTHORITY
        if is_plain_with_query(path) and (raw or "!" not in path):
            return verdict
        readings = readings_to_ask(path, method, raw=raw)
        if isinstance(readings, MalformedPath):
            return AMBIGUOUS_PATH
        return self._agreed(verdict, paths, readings[1:], method)

    def _agreed(self, verdict: Verdict, paths: Paths | None, readings: tuple[Reading, ...], method: str) -> Verdict:
        """Return ``verdict`` if every other reading has the same; two denials are the same, whoever wrote them."""
        agreed = True
        for reading in readings:
            other = find(self.trie, paths, self.reach, reading, method)
            if isinstance(other, Unhealthy) and (other is not CONFLICT or reading.masks is None):  # masks only hint at one
                return other
            agreed = agreed and (other is verdict or (isinstance(other, DenyEntry) and isinstance(verdict, DenyEntry)))
        return verdict if agreed else AMBIGUOUS_PATH


PolicySnapshot.EMPTY = PolicySnapshot()


@final
@attrs.define(eq=False)
class CurrentPolicy:
    """The policy in force: the one place where a version replaces the one before it. A request reads ``snapshot`` once and keeps it.

    ``snapshot`` is ``None`` while all requests are refused: until there is a complete version, and with ``required`` while ``newest`` has
    no entry. ``notices`` are probable mistakes. ``reach`` is the operator's setting, applied to every version.
    """

    snapshot: PolicySnapshot | None = None
    _on_change: tuple[Callable[[PolicySnapshot], None], ...] = ()
    required: bool = attrs.field(default=False, kw_only=True)
    reach: UnreadableReach = attrs.field(default=UnreadableReach.UNMATCHED, kw_only=True)
    newest: PolicySnapshot | None = attrs.field(default=None, init=False)
    notices: Notices = attrs.field(default=NO_NOTICES, init=False)

    @property
    def is_missing(self) -> bool:
        """Tell whether there is a version that does not count because a policy is required."""
        return self.newest is not None and self.snapshot is None

    def publish(self, snapshot: PolicySnapshot, /) -> None:
        """Put ``snapshot`` in force for every request that begins from now on."""
        self.newest = snapshot = snapshot.reaching(self.reach)
        self.snapshot = None if self.required and not snapshot.entry_count else snapshot
        for callback in self._on_change:
            callback(snapshot)

    def withdraw(self) -> None:
        """Refuse all requests until the next version: the last one may no longer be used."""
        self.newest = self.snapshot = None

    def on_change(self, callback: Callable[[PolicySnapshot], None]) -> None:
        """Call ``callback`` with each snapshot published from now on; it must neither block nor raise."""
        self._on_change = (*self._on_change, callback)
