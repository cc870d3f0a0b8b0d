"""One version of the whole policy: documents go in and out, requests are matched. A change makes a new version.

Must not know: where documents come from, or what follows from a verdict.
"""

from typing import ClassVar, final

import attrs
from rpds import HashTrieMap

from exchanger.policy.authority import read_authority
from exchanger.policy.document import PolicyDocument
from exchanger.policy.path import MalformedPath, read_path, without_masks
from exchanger.policy.policy_trie import PathTrie, PolicyTrie, find
from exchanger.policy.verdict import AMBIGUOUS_AUTHORITY, AMBIGUOUS_PATH, NO_MATCH, Unhealthy, Verdict
from exchanger.values.entry import DenyEntry, Source


@final
@attrs.frozen
class PolicySnapshot:
    """All documents and what they say together, which is ``trie``. ``invalid_documents`` counts the documents with at least one region."""

    EMPTY: ClassVar["PolicySnapshot"]

    documents: "HashTrieMap[Source, PolicyDocument]" = attrs.field(factory=HashTrieMap, repr=False)
    entry_count: int = 0
    region_count: int = 0
    invalid_documents: int = 0
    trie: PolicyTrie = attrs.field(factory=PolicyTrie, repr=False)

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
            trie = trie.joined(claim)
        return base._changed(base.documents.insert(document.source, document), trie, document, 1)  # noqa: SLF001 - of the same class

    def withdraw(self, source: Source) -> "PolicySnapshot":
        """Return a snapshot without the document of ``source``; itself when there is none."""
        document = self.documents.get(source)
        if document is None:
            return self
        trie = self.trie
        for claim in (*document.entries, *document.regions):
            trie = trie.left(claim)
        return self._changed(self.documents.discard(source), trie, document, -1)

    def _changed(
        self, documents: "HashTrieMap[Source, PolicyDocument]", trie: PolicyTrie, document: PolicyDocument, sign: int
    ) -> "PolicySnapshot":
        return PolicySnapshot(
            documents,
            self.entry_count + sign * len(document.entries),
            self.region_count + sign * len(document.regions),
            self.invalid_documents + sign * bool(document.regions),
            trie,
        )

    def match(self, host: str, path: str, method: str, *, raw: bool = False) -> Verdict:
        """Return the verdict on a request.

        Args:
            host: the authority as it came, with or without port
            path: the path as it came, with its query
            method: in upper case
            raw: the path came byte for byte; otherwise a ``!`` in it may stand for a byte that the gateway could not put into text
        """
        authority = read_authority(host)
        reach = self.trie.reach(authority)
        if not reach:
            return NO_MATCH if authority is not None else AMBIGUOUS_AUTHORITY
        verdict = find(reach, path, method)
        if isinstance(verdict, Unhealthy):
            return verdict
        if authority is None:
            return AMBIGUOUS_AUTHORITY
        readings = read_path(path, method)
        if isinstance(readings, MalformedPath):
            return AMBIGUOUS_PATH
        if not raw and "!" in path:
            unmasked = read_path(without_masks(path), method)
            if isinstance(unmasked, MalformedPath):
                return AMBIGUOUS_PATH
            readings += unmasked
        return verdict if len(readings) == 1 else _agreed(verdict, reach, readings[1:], method)


def _agreed(verdict: Verdict, reach: tuple[PathTrie, ...], readings: tuple[str, ...], method: str) -> Verdict:
    """Return ``verdict`` if every other reading has the same; two denials are the same, whoever wrote them."""
    agreed = True
    for reading in readings:
        other = find(reach, reading, method, rewritten=True)
        if isinstance(other, Unhealthy):
            return other
        agreed = agreed and (other is verdict or (isinstance(other, DenyEntry) and isinstance(verdict, DenyEntry)))
    return verdict if agreed else AMBIGUOUS_PATH


PolicySnapshot.EMPTY = PolicySnapshot()
