"""What the policy says of one reading of a path: any region, else the entry with the longest prefix, unless several have it.

Must not know: documents, or how the readings of one request are weighed against each other.
"""

import enum
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, final

import attrs

from exchanger.policy.path import MalformedPath, read_path, without_masks
from exchanger.policy.policy_trie import CONTESTED, Cell, Contested, MethodTable, Paths, PolicyTrie
from exchanger.values.entry import UNKNOWN_NAMESPACE, DenyEntry, Entry, ExchangeEntry, FailClosedRegion
from exchanger.values.verdict import NO_MATCH, NoMatch, Unhealthy

# The ``!`` of a path that can be read; honest paths have two or three.
MAX_MASKS: Final = 64
# Characters of prefixes that are looked at one by one for one request, in some milliseconds. An honest policy needs dozens.
MAX_MASK_WORK: Final = 1_024

CONFLICT: Final = Unhealthy("more than one entry has this host, method and longest matching pathPrefix")
SEVERAL_REGIONS: Final = Unhealthy("more than one invalid entry or unreadable document covers this request")

Found = NoMatch | DenyEntry | ExchangeEntry | Unhealthy
_Levels = list[list[Cell]]

_match_marks: Final = re.compile("!++").match


@enum.unique
class UnreadableReach(enum.Enum):
    """How far a region of unknown host reaches inside its scope: what no entry of another namespace decides, or everything."""

    UNMATCHED = "unmatched"
    GLOBAL = "global"


@final
@enum.unique
class Masks(enum.Enum):
    """How to understand the ``!`` of a path that did not come byte for byte. Each kind also takes every ``!`` literally.

    Envoy's ext_authz puts a ``!`` in the place of each byte that is not UTF-8. The server behind it gets the byte: some drop it, others
    read it as a character of an older encoding.

    ``STAND``: each may stand for one non-ASCII character of a prefix. ``SOME``: any of those before the query may be dropped. ``DROPPED``:
    all of them were, before the path was rewritten, so that a prefix may have more.
    """

    STAND = "stand"
    SOME = "some"
    DROPPED = "dropped"

    def children(self, chars: str, text: str, at: int) -> Iterable[int]:
        """Return the positions in ``chars``, which are sorted, of those that may match at ``at``, which may be the end of the text."""
        char = text[at : at + 1]
        wanted = {char}
        if self is Masks.DROPPED:
            wanted.add("!")
        elif char == "!" and self is Masks.SOME:
            end = _dropped(text, at)
            wanted.add(text[end : end + 1])
        places = [place for one in wanted if one and (place := chars.find(one)) >= 0]
        if char == "!" and self is Masks.STAND:
            places += range(bisect_right(chars, "\x7f"), len(chars))
        return places

    def after(self, key: str, text: str, at: int) -> int:
        """Return where the text goes on after the character ``key`` of a prefix was matched at ``at``, -1 if it does not match."""
        char = text[at : at + 1]
        if key == char or (char == "!" and key > "\x7f" and self is Masks.STAND):
            return at + 1
        if key == "!" and self is Masks.DROPPED:
            return at
        if char == "!" and self is Masks.SOME and text.startswith(key, end := _dropped(text, at)):
            return end + 1
        return -1


def _dropped(text: str, at: int) -> int:
    """Return where ``text`` goes on if the ``!`` at ``at`` are dropped; those in the query are not."""
    run = _match_marks(text, at) if text.find("?", 0, at) < 0 else None
    return at if run is None else run.end()


@final
@attrs.frozen
class Reading:
    """A path that a server may take a request's for.

    ``rewritten``: it is not the path as it came. Decoded spellings of prefixes then count as much as written ones; for the path as it came
    they count only where nothing written applies. ``work`` bounds the search where there are ``masks``.
    """

    path: str
    rewritten: bool = False
    masks: Masks | None = None
    work: int = 0


def readings_to_ask(path: str, method: str, *, raw: bool) -> tuple[Reading, ...] | MalformedPath:
    """Return every reading to look up in the policy, the path as it came first, or why it cannot be read."""
    found = read_path(path, method)
    if isinstance(found, MalformedPath):
        return found
    readings = [Reading(text, place > 0) for place, text in enumerate(found)]
    if raw or "!" not in path:
        return tuple(readings)
    if path.partition("?")[0].count("!") > MAX_MASKS:
        return MalformedPath.TOO_MANY_READINGS
    without = without_masks(path)
    unmasked = read_path(without, method) if without != path else ()
    if isinstance(unmasked, MalformedPath):
        return unmasked
    work = MAX_MASK_WORK // (len(found) + len(unmasked))
    readings += [Reading(text, place > 0, Masks.STAND, work) for place, text in enumerate(found)]
    for place, text in enumerate(unmasked):
        masked = Reading(text, rewritten=True, masks=Masks.DROPPED, work=work) if place else Reading(path, masks=Masks.SOME, work=work)
        readings += [Reading(text, place > 0), masked]
    return tuple(readings)


def find_plain(trie: PolicyTrie, paths: Paths | None, reach: UnreadableReach, path: str, method: str) -> Found:
    """Return what applies to ``path`` as it came, on the host with ``paths``."""
    return _simple(trie, paths, reach, path, method) or find(trie, paths, reach, Reading(path), method) or NO_MATCH


def find(trie: PolicyTrie, paths: Paths | None, reach: UnreadableReach, reading: Reading, method: str) -> Found | None:
    """Return what applies to ``reading`` on the host with ``paths``; ``None`` if masks let the path be too many things to tell."""
    if reading.masks is None and (simple := _simple(trie, paths, reach, reading.path, method)) is not None:
        return simple
    levels = _levels(paths, reading)
    if levels is None:
        return None
    parts = _both if reading.rewritten else _written
    found = nearest_of_levels(parts(levels), method)
    if found is NO_MATCH:  # nothing written applies, so decoded spellings count for the path as it came, too
        parts = _both
        found = nearest_of_levels(parts(levels), method)
    for beyond in _beyond(trie, reach, found):
        levels = _levels(beyond, reading)
        if levels is None:
            return None
        if isinstance(closed := nearest_of_levels(parts(levels), method), Unhealthy):
            return closed
    return found


def _simple(trie: PolicyTrie, paths: Paths | None, reach: UnreadableReach, path: str, method: str) -> Found | None:
    """Return what applies to ``path`` in the usual case: no folded case, no decoded spelling, no region elsewhere."""
    if paths is None or paths.folded is not None:
        return None
    cells = paths.exact.prefixes_of(path)
    cells.reverse()
    for cell in cells:
        if cell.rewritten is not None:
            return None
    found = nearest(cells, method)
    return found if trie.all_hosts is None or not _beyond(trie, reach, found) else None


def _beyond(trie: PolicyTrie, reach: UnreadableReach, found: Found) -> tuple[Paths, ...]:
    """Return the regions of unknown host that may close what gets ``found`` on its own host.

    A region of unknown namespace may belong to the namespace of any entry.
    """
    if trie.all_hosts is None or isinstance(found, Unhealthy):
        return ()
    if isinstance(found, NoMatch) or reach is UnreadableReach.GLOBAL:
        return (trie.all_hosts,)
    either = (trie.of_namespaces.get(found.source.namespace), trie.of_namespaces.get(UNKNOWN_NAMESPACE))
    return tuple([paths for paths in either if paths is not None])


def _levels(paths: Paths | None, reading: Reading) -> _Levels | None:
    """Return the cells of all prefixes of ``reading``, those of equal length together, the longest first."""
    by_length: dict[int, list[Cell]] = {}
    for trie, text in () if paths is None else paths.tries_for(reading.path):
        cells = trie.prefixes_of(text) if reading.masks is None else trie.alike(text, reading.masks, reading.work)
        if cells is None:
            return None
        for cell in cells:
            by_length.setdefault(cell.length, []).append(cell)
    return [by_length[length] for length in sorted(by_length, reverse=True)]


def _written(levels: _Levels) -> _Levels:
    return levels


def _both(levels: _Levels) -> _Levels:
    """Return the levels, each followed by its decoded spellings."""
    return [part for cells in levels for part in (cells, [cell.rewritten for cell in cells if cell.rewritten is not None])]


def nearest(cells: Iterable[Cell], method: str) -> Found:
    """Return what decides among ``cells``, the longest prefix first: any region, else the first entry, unless several conflict."""
    winner: Entry | Contested | None = None
    for cell in cells:
        if cell.regions is not None and (closed := _closed(cell.regions, method)) is not None:
            return closed
        if winner is None and cell.entries is not None:
            winner = cell.entries.of(method)
    if winner is None:
        return NO_MATCH
    return CONFLICT if winner is CONTESTED else winner


def nearest_of_levels(levels: Iterable[Sequence[Cell]], method: str) -> Found:
    """Do the same as ``nearest`` for levels of several cells, each with prefixes of one length."""
    winner: Entry | Contested | None = None
    for cells in levels:
        for cell in cells:
            if cell.regions is not None and (closed := _closed(cell.regions, method)) is not None:
                return closed
        if winner is None:
            winner = _of_level([cell.entries for cell in cells if cell.entries is not None], method)
    if winner is None:
        return NO_MATCH
    return CONFLICT if winner is CONTESTED else winner


def _closed(regions: MethodTable[FailClosedRegion], method: str) -> Unhealthy | None:
    region = regions.of(method)
    if region is None:
        return None
    return SEVERAL_REGIONS if region is CONTESTED else Unhealthy(region.reason, region.source, region.index)


def _of_level(tables: Sequence[MethodTable[Entry]], method: str) -> Entry | Contested | None:
    itself = [table for table in tables if table.covers(method)]
    found = {claim for table in itself or tables if (claim := table.of(method)) is not None}
    return None if not found else found.pop() if len(found) == 1 else CONTESTED
