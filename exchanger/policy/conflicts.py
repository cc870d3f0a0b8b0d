"""Which entries conflict: they share a host, a method and a path prefix, so no such request can be decided.

Costs nothing while policies come and go: the trie that answers requests has conflicting entries side by side.

Must not know: requests, or who learns of a conflict.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import ClassVar, Final, final

import attrs

from exchanger.codes.code import Code
from exchanger.codes.manifests import CONFLICT
from exchanger.policy import lookup
from exchanger.policy.authority import read_authority
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.headers import RequestHeaders
from exchanger.policy.interpretation import path_interpretations
from exchanger.policy.methods import MethodTable, each
from exchanger.policy.path import MalformedPath
from exchanger.policy.policy_trie import PathClaims, Paths, Sifting
from exchanger.policy.prefix import fold, spellings_of
from exchanger.policy.routing.steps import Steps
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.util.text import printable
from exchanger.values.entry import BASELINE, Entry, Source
from exchanger.values.request import NO_FIELDS, HeaderFields

# Rivals of one entry that are searched for: more do not help its author, and thousands of entries may have the same place.
MAX_RIVALS: Final = 3
# Claims on one place that are considered, in a tenth of a millisecond: one entry may name 100,000 methods.
MAX_CLAIMS: Final = 256
# Characters of a prefix whose other spellings are considered, in a quarter of a millisecond in the worst case: escapes have long ones.
MAX_PREFIX: Final = 1024
# Characters of a source in the name of an entry: so that two names fit into a line.
MAX_SOURCE: Final = 200
# Nodes and characters that are visited for entries whose prefix differs only in case, in 4 ms. The entries of one document share the same
# amount again, plus twice the length of their prefixes: other authors may write 8,000 prefixes that differ only in case.
MAX_VARIANT_WORK: Final = 2_048
# The same in one step.
VARIANT_STEP: Final = 512
# Conflicts of one document that are reported: more do not fit into a message.
MAX_CONFLICTS: Final = 8
# Entries that are considered in one step; each takes some microseconds.
STEP: Final = 32


@final
@attrs.frozen
class Conflict:
    """An entry and its rivals, of which there is at least one."""

    entry: Entry
    rivals: tuple[Entry, ...]

    code: ClassVar[Code] = CONFLICT

    def __str__(self) -> str:
        source = self.entry.source
        rivals = ", ".join(("" if rival.source == source else f"{rival.source} ") + f"entries[{rival.index}]" for rival in self.rivals)
        return f"entries[{self.entry.index}] shares a host, method and pathPrefix with {rivals}: such requests are refused"

    @property
    def coded(self) -> str:
        """The sentence after its code."""
        return f"{self.code}: {self}"


def named(entry: Entry) -> str:
    """Return where ``entry`` is, for people; a document that is in no ConfigMap has only the name of its file."""
    source = entry.source
    where = str(source) if source.namespace or source == BASELINE else source.name
    return f"{printable(where, MAX_SOURCE)} entries[{entry.index}]"


def contenders(
    snapshot: PolicySnapshot, host: str, path: str, method: str, *, raw: bool, headers: HeaderFields = NO_FIELDS
) -> tuple[Entry, ...]:
    """Return two of the entries for which ``snapshot.match``, with the same arguments, found a conflict, in the order of their sources.

    Costs about as much as the match. Returns nothing if they cannot be found within its bounds; the verdict stands anyway.
    """
    authority = read_authority(host)
    interpretations, seen, sifting = path_interpretations(authority, path, method, raw=raw), RequestHeaders(headers), Sifting()
    if authority is None or isinstance(interpretations, MalformedPath):
        return ()
    for interpretation in interpretations:
        if interpretation.markers is not None:  # they only hint at a conflict
            continue
        found = lookup.contenders(snapshot.trie, authority, interpretation, method, seen, sifting)
        if len(found) > 1:
            return tuple(sorted(found, key=lambda entry: (entry.source, entry.index)))
    return ()


def conflicts_of(document: PolicyDocument | None, snapshot: PolicySnapshot) -> Iterator[Conflict | None]:
    """Yield the first ``MAX_CONFLICTS`` conflicts of ``document``, and ``None`` between steps of bounded work."""
    found = 0
    entries = () if document is None else document.entries
    reserve = Steps(MAX_VARIANT_WORK + 2 * sum(len(entry.match.path_prefix) for entry in entries if entry.match.case_insensitive))
    paused = reserve.left
    for number, entry in enumerate(entries, 1):
        rivals = conflicts_with(entry, snapshot, reserve)
        if rivals:
            found += 1
            yield Conflict(entry, rivals)
            if found == MAX_CONFLICTS:
                return
        if number % STEP == 0 or reserve.left <= paused - VARIANT_STEP:
            paused = reserve.left
            yield None
    yield None


def documents_in_conflict(snapshot: PolicySnapshot) -> Iterator[Source | None]:
    """Yield the source of each document with a conflict, possibly repeatedly, and ``None`` between steps of bounded work.

    One side finds a rival that the other misses within its bounds, so both are yielded.
    """
    for source, document in snapshot.documents.items():
        for conflict in conflicts_of(document, snapshot):
            if conflict is not None:
                yield source
                yield from {rival.source for rival in conflict.rivals} - {source}
                break
            yield None


@final
@attrs.frozen
class _AnyCase:
    """Compares prefixes with a folded text, ignoring the case of ASCII letters."""

    def children(self, chars: str, text: str, at: int) -> Iterable[int]:
        char = text[at : at + 1]
        wanted = {char, char.upper()} if char.isascii() else {char}
        return [place for one in wanted if one and (place := chars.find(one)) >= 0]

    def after(self, key: str, text: str, at: int) -> int:
        return at + 1 if fold(key) == text[at : at + 1] else -1


def conflicts_with(entry: Entry, snapshot: PolicySnapshot, reserve: Steps | None = None) -> tuple[Entry, ...]:
    """Return at most ``MAX_RIVALS`` other entries that conflict with ``entry``, which is in ``snapshot``, in the order of their sources.

    ``reserve`` is what is left of the budget for rivals whose prefix differs only in case.

    Costs the length of its prefix and the number of its methods; for an entry for all methods, the number of methods that others name
    there. Both are bounded: beyond the bounds, rivals may be missing.

    Raises:
        KeyError: ``snapshot`` does not contain ``entry``
    """
    if entry.match.within:
        return ()  # part of another entry, which has the same rivals
    paths = None if entry.match.host is None else snapshot.trie.hosts.paths.get(entry.match.host)
    if paths is None:
        raise KeyError(entry.match.host)
    found: dict[tuple[object, int], Entry] = {}
    prefix = entry.match.path_prefix
    own = fold(prefix) if entry.match.case_insensitive else prefix
    for spelling in (own,) if len(prefix) > MAX_PREFIX else spellings_of(entry.match).literal:
        for claims in _at(paths, spelling, entry, reserve or Steps(MAX_VARIANT_WORK)):
            table = claims.entries_like(entry)
            for rival in () if table is None else islice(_members(table, entry.match.methods), MAX_CLAIMS):
                if (rival.source, rival.index) != (entry.source, entry.index) and rival.source not in snapshot.trie.leaving:
                    found[rival.source, rival.index] = rival
                if len(found) == MAX_RIVALS:
                    break
    return tuple(sorted(found.values(), key=lambda rival: (rival.source, rival.index))[:MAX_RIVALS])


def _at(paths: Paths, spelling: str, entry: Entry, reserve: Steps) -> Iterator[PathClaims]:
    """Yield the claims at the place of ``entry`` under ``spelling``: of its own trie, which must have it, and of the other."""
    own = paths.folded if entry.match.case_insensitive else paths.exact
    cells = [] if own is None else own.prefixes_of(spelling)
    claims = cells[-1].of(entry.match) if cells and cells[-1].length == len(spelling) else None
    if claims is None or claims.entries_like(entry) is None:
        raise KeyError(spelling)
    yield from cells[-1].level(entry.match.rank)
    if entry.match.case_insensitive:
        most = max(0, min(MAX_VARIANT_WORK, reserve.left))
        steps = Steps(most)
        twins = [cell for _, cell in paths.exact.alike(spelling, _AnyCase(), steps) or []]
        reserve.left -= most - steps.left
    else:
        twins = [] if paths.folded is None else paths.folded.prefixes_of(fold(spelling))
    yield from chain.from_iterable(cell.level(entry.match.rank) for cell in twins if cell.length == len(spelling))


def _members(table: MethodTable[Entry], methods: frozenset[str] | None) -> Iterator[Entry]:
    yield from each(table.every)
    for method in table.named if methods is None else methods:
        yield from each(table.named.get(method))
