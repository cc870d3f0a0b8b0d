"""What the policy says of one reading of a path: any region, else the entry with the longest prefix, unless several have it.

Must not know: documents, or how the readings of one request are weighed against each other.
"""

import enum
from typing import Final, final

import attrs

from exchanger.policy.cell import Cell, Found, nearest, nearest_of_levels
from exchanger.policy.masks import MAX_MASKS, Masks
from exchanger.policy.path import MalformedPath, read_path, without_masks
from exchanger.policy.policy_trie import Paths, PolicyTrie
from exchanger.policy.verdict import NO_MATCH, NoMatch, Unhealthy
from exchanger.values.entry import UNKNOWN_NAMESPACE

MAX_MASK_WORK: Final = 1_024
"""Characters of prefixes that are looked at one by one for one request, in some milliseconds. An honest policy needs dozens."""

_Levels = list[list[Cell]]


@enum.unique
class UnreadableReach(enum.Enum):
    """How far a region of unknown host reaches inside its scope: what no entry of another namespace decides, or everything."""

    UNMATCHED = "unmatched"
    GLOBAL = "global"


@final
@attrs.frozen
class Reading:
    """A path that a server may take a request's for.

    ``rewritten``: it is not as it came, but what a server may make of it. Then decoded spellings of prefixes count beside written ones; for
    a path as it came only where nothing that is written applies. ``work`` bounds the search where there are ``masks``.
    """

    path: str
    rewritten: bool = False
    masks: Masks | None = None
    work: int = 0


def readings_to_ask(path: str, method: str, *, raw: bool) -> tuple[Reading, ...] | MalformedPath:
    """Return every reading that the policy has to be asked about, the path as it came first, or why it cannot be read."""
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
    """Return what applies to ``path`` as it came, on the host that has ``paths``."""
    return _simple(trie, paths, reach, path, method) or find(trie, paths, reach, Reading(path), method) or NO_MATCH


def find(trie: PolicyTrie, paths: Paths | None, reach: UnreadableReach, reading: Reading, method: str) -> Found | None:
    """Return what applies to ``reading`` on the host that has ``paths``; ``None`` when a path with masks may be too many things to tell."""
    if reading.masks is None and (simple := _simple(trie, paths, reach, reading.path, method)) is not None:
        return simple
    levels = _levels(paths, reading)
    if levels is None:
        return None
    parts = _both if reading.rewritten else _written
    found = nearest_of_levels(parts(levels), method)
    if found is NO_MATCH:  # nothing is written, so that decoded spellings count for a path as it came, too
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
    """Return what applies to ``path`` where that is simple, as it nearly always is: no case, no decoded spelling, no region elsewhere."""
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

    Nobody's entry is known to be of another namespace than a region whose namespace is unknown as well.
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
    """Return the levels with the decoded spellings of each behind what is written there."""
    return [part for cells in levels for part in (cells, [cell.rewritten for cell in cells if cell.rewritten is not None])]
