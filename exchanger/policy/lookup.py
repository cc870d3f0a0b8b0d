"""What the policy says of one reading of a path: any region, else the entry that comes first in the order of entries, unless several do.

The order: exact host, longer wildcard, shorter wildcard; on each of these hosts the exact path, then the longer prefix, whole segments
before a plain prefix of equal length, more headers before fewer.

Handlers of GET answer HEAD (RFC 9110 section 9.3.2, https://www.rfc-editor.org/rfc/rfc9110#section-9.3.2). So HEAD is looked up twice: by
what covers HEAD itself, and as GET. The stricter verdict counts, so neither opens what the other refuses. What covers HEAD counts no
farther than on the host that decides GET, and of the regions of unknown host only those that count for GET: the owner of a wildcard has no
say in requests that an exact host decides.

Must not know: documents, or how the readings of one request are weighed against each other.
"""

import enum
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import Final, TypeAlias

from exchanger.policy.authority import MAX_WILDCARD, wildcards_above
from exchanger.policy.headers import RequestHeaders
from exchanger.policy.methods import CONTESTED, Contested, MethodTable
from exchanger.policy.policy_trie import Cell, Claims, Hosts, Paths, PolicyTrie, Sifting
from exchanger.policy.readings import Masks, Reading, end_of, fits, is_within
from exchanger.policy.trie import Steps
from exchanger.values.entry import UNKNOWN_NAMESPACE, AllowEntry, DenyEntry, Entry, ExchangeEntry, FailClosedRegion, PathType
from exchanger.values.verdict import AMBIGUOUS_HEADER, AMBIGUOUS_PATH, NO_MATCH, Ambiguous, NoMatch, Unhealthy

CONFLICT: Final = Unhealthy("more than one entry has this host, method and longest matching pathPrefix")
SEVERAL_REGIONS: Final = Unhealthy("more than one invalid entry or unreadable document covers this request")

Found = NoMatch | DenyEntry | ExchangeEntry | AllowEntry | Unhealthy | Ambiguous
# Returns what is found for a path, or that it is closed.
Held: TypeAlias = Callable[[Found, str], Found]
# Returns a cell without the claims that are leaving.
_Sift: TypeAlias = Callable[[Cell], Cell | None]
# Claims in the order of entries, those that are equal in it together.
_Levels = list[list[Claims]]

# Cells whose prefixes a text begins with, that text, and where each prefix ends in it.
_Cells = list[tuple[Cell, str, int]]

# Characters of the shortest prefix of an entry, ``/``. Whole segments below it are stored without their slash, as all of them are.
ROOT: Final = 1
# Added to the rank of an exact path: more than any other has, since no prefix has as many characters.
_EXACT: Final = 1 << 20
# What may follow a prefix that is whole segments of a path without its query.
_ENDS_OF_SEGMENT: Final = ("/", "", "?")


@enum.unique
class UnreadableReach(enum.Enum):
    """How far a region of unknown host reaches inside its scope: what no entry of another namespace decides, or everything."""

    UNMATCHED = "unmatched"
    GLOBAL = "global"


def find_at_once(trie: PolicyTrie, host: str | None, path: str, method: str) -> Found | None:
    """Return what applies to ``path`` as it came in the usual case: an entry or a region decides by host, path and method alone.

    ``None`` in any other case.
    """
    hosts = trie.hosts
    if host is None or trie.any_host is not None or trie.leaving:
        return None
    paths = hosts.paths.get(host)
    if method == "HEAD":
        return None if paths is None or hosts.wildcards else _head_at_once(paths, path)
    found = None if paths is None else simply_nearest(paths, path, method)
    if not hosts.wildcards or (found is not NO_MATCH and paths is not None):
        return found
    for wildcard in wildcards_above(host[-MAX_WILDCARD:]):
        paths = hosts.paths.get(wildcard)
        if paths is not None and (found := simply_nearest(paths, path, method)) is not NO_MATCH:
            return found
    return found


def _head_at_once(paths: Paths, path: str) -> Found | None:
    covering = _simply_covering(paths, path)
    itself, as_get = _first_of(covering, "HEAD"), _first_of(covering, "GET")
    return None if itself is None or as_get is None else stricter_for_head(itself, as_get)


def find(
    trie: PolicyTrie,
    host: str | None,
    places: tuple[Paths, ...],
    reach: UnreadableReach,
    reading: Reading,
    method: str,
    headers: RequestHeaders,
    *,
    held: Held | None = None,
    sifting: Sifting | None = None,
) -> Found:
    """Return what applies to ``reading``; ``AMBIGUOUS_PATH`` if masks let the path be too many things to tell.

    ``places`` are the claims that may apply on ``host``, the nearest first. ``host`` is ``None`` if it cannot be known. ``held`` returns
    what is found closed if it may decide no longer; for HEAD, it judges both of what is found. ``sifting`` is that of the request.
    """
    if method == "HEAD":
        both = _find_for_head(trie, host, places, reach, reading, headers, None)
        if trie.leaving and not all(_stays(trie, found) for found in both):
            both = _find_for_head(trie, host, places, reach, reading, headers, partial((sifting or Sifting()).sift, trie))
        return stricter_for_head(*(both if held is None else [held(found, reading.path) for found in both]))
    found = _find(trie, host, places, reach, reading, method, headers, None)
    if trie.leaving and not _stays(trie, found):
        found = _find(trie, host, places, reach, reading, method, headers, partial((sifting or Sifting()).sift, trie))
    return found if held is None else held(found, reading.path)


def _stays(trie: PolicyTrie, found: Found) -> bool:
    """Tell whether ``found`` is the same without the documents that are leaving: then they need not be told from the others."""
    if isinstance(found, NoMatch):
        return True
    # A region of unknown host spares entries of other namespaces, and may close only what one that is leaving decides.
    return not isinstance(found, Ambiguous | Unhealthy) and found.source not in trie.leaving


def _find(
    trie: PolicyTrie,
    host: str | None,
    places: tuple[Paths, ...],
    reach: UnreadableReach,
    reading: Reading,
    method: str,
    headers: RequestHeaders,
    sift: _Sift | None,
) -> Found:
    steps = _steps_for(reading)
    found, decoded = _on_hosts(places, reading, method, headers, steps, sift)
    beyond = _beyond(trie, host, reach, found)
    return _unless_closed(trie, beyond, found, reading, method, headers, steps, sift, decoded=decoded) if beyond else found


def _find_for_head(
    trie: PolicyTrie,
    host: str | None,
    places: tuple[Paths, ...],
    reach: UnreadableReach,
    reading: Reading,
    headers: RequestHeaders,
    sift: _Sift | None,
) -> tuple[Found, Found]:
    """Return what applies by claims on HEAD itself, and to GET."""
    steps = _steps_for(reading)
    (itself, decoded), (as_get, decoded_for_get) = _both_on_hosts(places, reading, headers, steps, sift)
    if trie.any_host is not None and not isinstance(as_get, Unhealthy):
        beyond, both = _beyond_both(trie, host, reach, itself, as_get), decoded and decoded_for_get
        itself = _unless_closed(trie, beyond, itself, reading, "HEAD", headers, steps, sift, decoded=both)
        beyond = _beyond(trie, host, reach, as_get)
        as_get = _unless_closed(trie, beyond, as_get, reading, "GET", headers, steps, sift, decoded=decoded_for_get)
    return itself, as_get


def stricter_for_head(itself: Found, as_get: Found) -> Found:
    """Return which of two verdicts HEAD gets: by what covers HEAD ``itself``, or ``as_get``. Anything is stricter than no match."""
    return as_get if _STRICTNESS[type(as_get)] > _STRICTNESS[type(itself)] else itself


# Later ones refuse more.
_STRICTNESS: Final = {kind: rank for rank, kind in enumerate((NoMatch, AllowEntry, ExchangeEntry, DenyEntry, Ambiguous, Unhealthy))}


def found_for_head_itself(trie: PolicyTrie, host: str, reading: Reading, headers: RequestHeaders) -> Found:
    """Return what applies by claims on HEAD itself, before regions of unknown host and what GET gets."""
    sift = partial(Sifting().sift, trie) if trie.leaving else None
    return _both_on_hosts(trie.hosts.places(host), reading, headers, _steps_for(reading), sift)[0][0]


def _steps_for(reading: Reading) -> Steps:
    """Return how far the search for ``reading`` may go; without masks nothing is searched for."""
    return _NONE if reading.masks is None else Steps(reading.work)


_NONE: Final = Steps(0)


def _unless_closed(
    trie: PolicyTrie,
    regions: tuple[Paths, ...],
    found: Found,
    reading: Reading,
    method: str,
    headers: RequestHeaders,
    steps: Steps,
    sift: _Sift | None,
    *,
    decoded: bool,
) -> Found:
    """Return ``found`` unless one of ``regions``, whose host is not known, closes the request."""
    for paths in regions:
        cells = _found_in(paths, reading, steps, sift)
        if cells is None:
            return AMBIGUOUS_PATH
        levels = _levels(cells, reading, method, decoded=decoded)
        if isinstance(closed := nearest(levels, method, headers), Unhealthy):
            return _meant(trie, closed)
    return found


def _meant(trie: PolicyTrie, closed: Unhealthy) -> Unhealthy:
    """Return ``closed`` with the document that it is about, where it is of a stand-in for those that close a granted area."""
    if closed.source is None or closed.source.name:
        return closed
    areas = trie.closed[closed.source.namespace].values()
    every = chain.from_iterable(area.regions.values() for area in areas)
    regions = tuple(islice((region for region in every if region.source not in trie.leaving), 2))
    if not regions:  # they are leaving, and told from the others next
        return closed
    return SEVERAL_REGIONS if len(regions) > 1 else Unhealthy(regions[0].reason, regions[0].source, regions[0].index)


def _on_hosts(
    places: tuple[Paths, ...], reading: Reading, method: str, headers: RequestHeaders, steps: Steps, sift: _Sift | None
) -> tuple[Found, bool]:
    """Return what applies without the regions of unknown host, and whether decoded spellings of prefixes counted for it.

    The nearest of ``places`` with a claim decides alone: nothing farther counts, not even doubt about a header that is named there.
    """
    for paths in places:
        found = simply_nearest(paths, reading.path, method) if reading.masks is None and sift is None else None
        if found is NO_MATCH:
            continue
        if found is not None:
            return found, reading.rewritten
        cells = _found_in(paths, reading, steps, sift)
        if cells is None:
            return AMBIGUOUS_PATH, True
        for way in _ways(reading, cells):
            found = nearest(_levels(cells, reading, method, decoded=way), method, headers)
            if found is not NO_MATCH:
                return found, way or isinstance(found, Ambiguous)
    return NO_MATCH, True


def _both_on_hosts(
    places: tuple[Paths, ...], reading: Reading, headers: RequestHeaders, steps: Steps, sift: _Sift | None
) -> tuple[tuple[Found, bool], tuple[Found, bool]]:
    """Return the same for HEAD by claims on itself, which count no farther than where GET is decided, and for GET; looks once for both."""
    itself = as_get = _UNDECIDED
    for paths in places:
        covering = _simply_covering(paths, reading.path) if reading.masks is None and sift is None else _NOT_SIMPLE
        here, here_for_get = _first_of(covering, "HEAD"), _first_of(covering, "GET")
        if here is not None and here_for_get is not None:
            if itself is _UNDECIDED and here is not NO_MATCH:
                itself = (here, reading.rewritten)
            if here_for_get is not NO_MATCH:
                return itself, (here_for_get, reading.rewritten)
            continue
        cells = _found_in(paths, reading, steps, sift)
        if cells is None:
            unclear = (AMBIGUOUS_PATH, True)
            return unclear if itself is _UNDECIDED else itself, unclear
        for way in _ways(reading, cells):
            levels = _levels(cells, reading, "HEAD", decoded=way)
            if itself is _UNDECIDED and (found := nearest(levels, "HEAD", headers)) is not NO_MATCH:
                itself = (found, way or isinstance(found, Ambiguous))
            if as_get is _UNDECIDED and (found := nearest(levels, "GET", headers)) is not NO_MATCH:
                as_get = (found, way or isinstance(found, Ambiguous))
        if as_get is not _UNDECIDED:
            break
    return itself, as_get


_UNDECIDED: Final[tuple[Found, bool]] = (NO_MATCH, True)


def _ways(reading: Reading, cells: Sequence[tuple[Cell, str, int]]) -> tuple[bool, ...]:
    """Return whether decoded spellings of prefixes count: where nothing written applies, they do for the path as it came, too."""
    if not cells or reading.rewritten:
        return (True,) if cells else ()
    return (False, True) if any(cell.rewritten is not None for cell, _, _ in cells) else (False,)


def denied_by(denials: Hosts, host: str | None, reading: Reading, method: str) -> DenyEntry | Ambiguous | None:
    """Return an entry of ``denials``, which are all denials, that covers ``reading``; ``Ambiguous`` if that takes too long to tell."""
    places = denials.places(host)
    for asked in ("HEAD", "GET") if method == "HEAD" else (method,):
        steps = _steps_for(reading)
        for paths in places:
            found = _denied_on_host(paths, reading, asked, steps)
            if found is not None:
                return found
    return None


def _denied_on_host(paths: Paths, reading: Reading, method: str, steps: Steps) -> DenyEntry | Ambiguous | None:
    simple = None if reading.masks is not None else simply_nearest(paths, reading.path, method)
    if isinstance(simple, DenyEntry | NoMatch):
        return simple if isinstance(simple, DenyEntry) else None
    cells = _found_in(paths, reading, steps, None)
    if cells is None:
        return AMBIGUOUS_PATH
    for claims in chain.from_iterable(_levels(cells, reading, method, decoded=True)):
        if claims.entries is not None and (found := next(claims.entries.all_of(method), None)) is not None:
            return found if isinstance(found, DenyEntry) else AMBIGUOUS_PATH
    return None


def simply_nearest(paths: Paths, path: str, method: str) -> Found | None:
    """Return what applies to ``path`` by the claims of one host; ``None`` if that is not a matter of path and method alone."""
    return _first_of(_simply_covering(paths, path), method)


# Claims that cover a path in the order of entries, and whether these are all of them.
_Covering: TypeAlias = tuple[Sequence[Claims], bool]
_NOTHING: Final[_Covering] = ((), True)
_NOT_SIMPLE: Final[_Covering] = ((), False)


def _simply_covering(paths: Paths, path: str) -> _Covering:
    """Return the claims of one host that cover ``path``, as far as these are a matter of the path alone."""
    if paths.folded is not None:
        return _NOT_SIMPLE
    cells = paths.exact.prefixes_of(path)
    if not cells:
        return _NOTHING
    if len(cells) == 1 and (only := cells[0].plain) is not None:  # the usual case
        return (only,), True
    covering: list[Claims] = []
    for cell in reversed(cells):
        if cell.plain is not None:
            covering.append(cell.plain)
            continue
        if not cell.is_simple:
            return covering, False
        at = cell.length
        after_prefix = path[at : at + 1]
        if after_prefix in _ENDS_OF_SEGMENT and path.find("?", 0, at) < 0:
            if cell.exact is not None and after_prefix != "/":
                covering.append(cell.exact)
            if cell.segment is not None:
                # Whole segments of the root go before a prefix of equal length, whose cell is the next longer one.
                is_after_root = not at and len(cells) > 1 and cells[1].length == ROOT and cells[1].prefix is not None
                covering.insert(len(covering) - is_after_root, cell.segment)
            if cell.narrowed is not None:
                covering.append(cell.narrowed)
        if cell.prefix is not None:
            covering.append(cell.prefix)
    return covering, True


def _first_of(covering: _Covering, method: str) -> Found | None:
    """Return what decides: any region, else the first entry; ``None`` if there is more that may."""
    winner: Entry | Contested | None = None
    found, are_all = covering
    for claims in found:
        if claims.regions is not None and (closed := _closed(claims.regions, method)) is not None:
            return closed
        if winner is None and claims.entries is not None:
            winner = claims.entries.of(method)
    if not are_all:
        return None
    if winner is None:
        return NO_MATCH
    return CONFLICT if winner is CONTESTED else winner


def _beyond(trie: PolicyTrie, host: str | None, reach: UnreadableReach, found: Found) -> tuple[Paths, ...]:
    """Return the regions of unknown host that may close what gets ``found`` on its own host."""
    closing = _closing(trie, reach, found)
    return tuple([paths for hosts in closing for paths in hosts.places(host)]) if closing else ()


def _beyond_both(trie: PolicyTrie, host: str | None, reach: UnreadableReach, itself: Found, as_get: Found) -> tuple[Paths, ...]:
    """Return the regions of unknown host that may close ``itself`` as well as ``as_get``."""
    if isinstance(itself, NoMatch | Ambiguous):
        return _beyond(trie, host, reach, as_get)
    if isinstance(as_get, NoMatch | Ambiguous):
        return _beyond(trie, host, reach, itself)
    others = _closing(trie, reach, as_get)
    both = (hosts for hosts in _closing(trie, reach, itself) if any(hosts is other for other in others))
    return tuple([paths for hosts in both for paths in hosts.places(host)])


def _closing(trie: PolicyTrie, reach: UnreadableReach, found: Found) -> tuple[Hosts, ...]:
    """Return the regions of unknown host that may close what gets ``found``, on every host.

    A region of unknown namespace may belong to the namespace of any entry.
    """
    if trie.any_host is None or isinstance(found, Unhealthy):
        return ()
    if isinstance(found, NoMatch | Ambiguous) or reach is UnreadableReach.GLOBAL:
        return (trie.any_host,)
    either = (trie.of_namespaces.get(found.source.namespace), trie.of_namespaces.get(UNKNOWN_NAMESPACE))
    return tuple([hosts for hosts in either if hosts is not None])


def _kinds_at(cell: Cell, text: str, at: int, end: int, masks: Masks | None) -> Iterator[tuple[PathType, Claims]]:
    """Yield the claims of ``cell`` that cover ``text``, in order of path types; those that are narrowed have the place of plain prefixes.

    The cell's prefix was matched up to ``at``; ``end`` is that of the path without its query.
    """
    if cell.exact is not None and fits(PathType.EXACT, text, at, end, masks):
        yield PathType.EXACT, cell.exact
    if cell.segment is not None and fits(PathType.SEGMENT, text, at, end, masks):
        yield PathType.SEGMENT, cell.segment
    if cell.narrowed is not None and fits(PathType.SEGMENT, text, at, end, masks):
        yield PathType.PREFIX, cell.narrowed
    if cell.prefix is not None:
        yield PathType.PREFIX, cell.prefix


def _found_in(paths: Paths, reading: Reading, steps: Steps, sift: _Sift | None) -> _Cells | None:
    """Return the cells whose prefixes ``reading`` begins with; ``None`` if masks let these be too many to tell within ``steps``."""
    found: _Cells = []
    for trie, text in paths.tries_for(reading):
        if reading.masks is None:
            found += [(cell, text, cell.length) for cell in trie.prefixes_of(text)]
            continue
        alike = trie.alike(text, reading.masks, steps)
        if alike is None:
            return None
        found += [(cell, text, at) for cell, at in alike]
    if sift is not None:
        return [(rest, text, at) for cell, text, at in found if (rest := sift(cell)) is not None]
    return found


def _levels(cells: Sequence[tuple[Cell, str, int]], reading: Reading, method: str, *, decoded: bool) -> _Levels:
    """Return the claims of ``cells`` for ``method`` that cover ``reading`` in the order of entries.

    ``decoded``: also those of decoded spellings, after written ones.
    """
    ranked: dict[int, list[Claims]] = {}
    masks, end = reading.masks, end_of(reading.path) if cells else 0
    for cell, text, at in cells:
        rewritten = cell.rewritten if decoded else None
        if cell.prefix is not None and cell.prefix.concerns(method):
            ranked.setdefault(_rank(cell, PathType.PREFIX, written=True), []).extend(_applying(cell.prefix, reading))
        if rewritten is None and cell.segment is None and cell.exact is None and cell.narrowed is None:
            continue
        for spelled in (cell, rewritten):
            for path_type, claims in () if spelled is None else _kinds_at(spelled, text, at, end, masks):
                if claims is not cell.prefix and claims.concerns(method):
                    ranked.setdefault(_rank(cell, path_type, written=spelled is cell), []).extend(_applying(claims, reading))
    return [ranked[rank] for rank in sorted(ranked, reverse=True)]


def _applying(claims: Claims, reading: Reading) -> Iterator[Claims]:
    """Yield ``claims``, and those among them for which the path of ``reading`` is also within their prefix."""
    yield claims
    for prefix, inner in () if claims.within is None else claims.within.items():
        if is_within(reading, prefix):
            yield inner


def _rank(cell: Cell, path_type: PathType, *, written: bool) -> int:
    """Return the place of the claims of one path type at ``cell`` in the order of entries, the first the highest."""
    rank = 4 * max(cell.length, ROOT) + 2 * (path_type is PathType.SEGMENT) + written
    return rank + _EXACT if path_type is PathType.EXACT else rank


def nearest(levels: _Levels, method: str, headers: RequestHeaders) -> Found:
    """Return what decides among claims that cover a reading: any region, else the first entry, unless several come first."""
    for claims in chain.from_iterable(levels):
        if claims.regions is not None and (closed := _closed(claims.regions, method)) is not None:
            return closed
    if _is_doubtful(levels, method, headers):
        return AMBIGUOUS_HEADER
    for level in levels:
        winner = _of_level(level, method, headers)
        if winner is not None:
            return CONFLICT if winner is CONTESTED else winner
    return NO_MATCH


def _is_doubtful(levels: _Levels, method: str, headers: RequestHeaders) -> bool:
    """Tell whether an entry names a header whose value is in doubt."""
    for level in levels:
        for claims in level:
            if claims.by_headers is not None and headers.answer(claims.by_headers, method)[1]:
                return True
    return False


def _closed(regions: MethodTable[FailClosedRegion], method: str) -> Unhealthy | None:
    region = regions.of(method)
    if region is None:
        return None
    return SEVERAL_REGIONS if region is CONTESTED else Unhealthy(region.reason, region.source, region.index)


def _of_level(level: list[Claims], method: str, headers: RequestHeaders) -> Entry | Contested | Ambiguous | None:
    """Return the entry that comes first among claims of one place: that with the most headers."""
    tables = _first_of_level(level, method, headers)
    if tables is None:
        return AMBIGUOUS_HEADER
    found = {claim for table in tables if (claim := table.of(method)) is not None}
    return None if not found else found.pop() if len(found) == 1 else CONTESTED


def _first_of_level(level: list[Claims], method: str, headers: RequestHeaders) -> list[MethodTable[Entry]] | None:
    """Return the tables of the entries that come first among claims of one place; ``None`` if the headers do not tell."""
    tables: list[tuple[int, MethodTable[Entry]]] = []
    for claims in level:
        if claims.entries is not None and claims.entries.of(method) is not None:
            tables.append((0, claims.entries))
        if claims.by_headers is not None:
            _, _, reached = headers.answer(claims.by_headers, method)
            if reached is None:
                return None
            tables += reached
    if not tables:
        return []
    most = max(count for count, _ in tables)
    return [table for count, table in tables if count == most]


def contenders(trie: PolicyTrie, host: str, reading: Reading, method: str, headers: RequestHeaders, sifting: Sifting) -> tuple[Entry, ...]:
    """Return at most two of the entries that come first for ``reading``, more than one only where they conflict."""
    places, sift = trie.hosts.places(host), partial(sifting.sift, trie) if trie.leaving else None
    if method == "HEAD":
        (itself, _), _ = _both_on_hosts(places, reading, headers, _steps_for(reading), sift)
        method = "HEAD" if itself is CONFLICT else "GET"
    steps = _steps_for(reading)
    for paths in places:
        cells = _found_in(paths, reading, steps, sift) or []
        for decoded in dict.fromkeys((reading.rewritten, True)):
            for level in _levels(cells, reading, method, decoded=decoded):
                tables = _first_of_level(level, method, headers) or ()
                found = dict.fromkeys(chain.from_iterable(table.all_of(method) for table in tables))
                if found:
                    return tuple(islice(found, 2))
    return ()
