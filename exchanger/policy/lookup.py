"""Looks up one interpretation of a path: any region decides, otherwise the first entry in the order of entries, or a conflict.

The order: exact host, longer wildcard, shorter wildcard; on each of these hosts the exact path, then the longer prefix, whole segments
before a plain prefix of equal length, more headers before fewer.

Handlers of GET answer HEAD (RFC 9110 section 9.3.2, https://www.rfc-editor.org/rfc/rfc9110#section-9.3.2). So HEAD is looked up twice: by
the claims that cover HEAD itself, and as GET. The stricter verdict counts, so neither opens what the other refuses. Claims that cover HEAD
count only up to the host that decides GET, and of the regions of unknown host only those that count for GET: the owner of a wildcard has no
say in requests that an exact host decides.

Must not know: documents, or how the interpretations of one request are weighed against each other.
"""

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Final, TypeAlias, final

import attrs

from exchanger.policy.authority import MAX_WILDCARD, wildcards_above
from exchanger.policy.headers import RequestHeaders
from exchanger.policy.interpretation import MAX_MARKERS, NODES_OF_POSSIBLE, Interpretation, fits, is_within
from exchanger.policy.methods import CONTESTED, Contested, MethodTable
from exchanger.policy.policy_trie import Cell, Hosts, PathClaims, Paths, PathTrie, PolicyTrie, Sifting
from exchanger.policy.prefix import MAX_PREFIX
from exchanger.policy.trie import Steps, after
from exchanger.values.entry import UNKNOWN_NAMESPACE, AllowEntry, DenyEntry, Entry, ExchangeEntry, FailClosedRegion, PathType
from exchanger.values.verdict import AMBIGUOUS_HEADER, AMBIGUOUS_PATH, NO_MATCH, Ambiguous, NoMatch, Unhealthy

CONFLICT: Final = Unhealthy("more than one entry has this host, method and longest matching pathPrefix")
SEVERAL_REGIONS: Final = Unhealthy("more than one invalid entry or unreadable document covers this request")

Found = NoMatch | DenyEntry | ExchangeEntry | AllowEntry | Unhealthy | Ambiguous
# Returns what is found for a path, or that it is closed.
AfterCut: TypeAlias = Callable[[Found, str], Found]
# Returns a cell without the claims that are leaving.
_Sift: TypeAlias = Callable[[Cell], Cell | None]
# Claims with their places in the order of entries, of which the first is the highest.
_Ranked: TypeAlias = list[tuple[int, PathClaims]]

# Cells with a prefix of a text, and that text.
_Cells = list[tuple[Cell, str]]

# Characters of the shortest prefix of an entry, ``/``. Whole segments below it are stored without their slash, as all of them are.
ROOT: Final = 1
# Added to the rank of an exact path: more than any other has, since no prefix has as many characters.
_EXACT: Final = 1 << 20
# The characters that may follow a prefix of whole segments, in a path without its query.
_ENDS_OF_SEGMENT: Final = ("/", "", "?")


@enum.unique
class UnreadableReach(enum.Enum):
    """How far a region of unknown host reaches inside its scope: what no entry of another namespace decides, or everything."""

    UNMATCHED = "unmatched"
    GLOBAL = "global"


def find_at_once(trie: PolicyTrie, host: str | None, path: str, method: str) -> Found | None:
    """Return the verdict on ``path`` as received in the usual case: an entry or a region decides by host, path and method alone.

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
    covering = _simply_covering(paths, paths.exact.prefixes_of(path), path)
    itself, as_get = _first_of(covering, "HEAD"), _first_of(covering, "GET")
    return None if itself is None or as_get is None else stricter_for_head(itself, as_get)


def find(
    trie: PolicyTrie,
    places: tuple[Paths, ...],
    beyond: "Beyond | None",
    interpretation: Interpretation,
    method: str,
    headers: RequestHeaders,
    *,
    after_cut: AfterCut | None = None,
    sifting: Sifting | None = None,
) -> Found:
    """Return the verdict on ``interpretation``, which has no markers; ``AMBIGUOUS_PATH`` if its search takes too long.

    ``places`` are the claims that may apply on the request's host, the nearest first, ``beyond`` regions of unknown host. ``after_cut``
    returns the verdict closed if its entry may no longer decide; for HEAD, it judges both. ``sifting`` is that of the request.
    """
    if method == "HEAD":
        both = _find_for_head(trie, places, beyond, interpretation, headers, None)
        if trie.leaving and not all(_stays(trie, found) for found in both):
            both = _find_for_head(trie, places, beyond, interpretation, headers, partial((sifting or Sifting()).sift, trie))
        return stricter_for_head(*(both if after_cut is None else [after_cut(found, interpretation.path) for found in both]))
    found = _find(trie, places, beyond, interpretation, method, headers, None)
    if trie.leaving and not _stays(trie, found):
        found = _find(trie, places, beyond, interpretation, method, headers, partial((sifting or Sifting()).sift, trie))
    return found if after_cut is None else after_cut(found, interpretation.path)


def _stays(trie: PolicyTrie, found: Found) -> bool:
    """Return whether ``found`` is the same without the documents that are leaving, so that they need not be told from the others."""
    if isinstance(found, NoMatch):
        return True
    # A region of unknown host spares entries of other namespaces, and may close only what a leaving document decides.
    return not isinstance(found, Ambiguous | Unhealthy) and found.source not in trie.leaving


def _find(
    trie: PolicyTrie,
    places: tuple[Paths, ...],
    beyond: "Beyond | None",
    interpretation: Interpretation,
    method: str,
    headers: RequestHeaders,
    sift: _Sift | None,
) -> Found:
    steps = _steps_for(interpretation)
    found, decoded = _on_hosts(places, interpretation, method, headers, steps, sift)
    regions = () if beyond is None else beyond.of(found)
    return _Closing(trie, interpretation, steps, sift).unless_closed(regions, found, method, decoded=decoded) if regions else found


def _find_for_head(
    trie: PolicyTrie,
    places: tuple[Paths, ...],
    beyond: "Beyond | None",
    interpretation: Interpretation,
    headers: RequestHeaders,
    sift: _Sift | None,
) -> tuple[Found, Found]:
    """Return what applies by claims on HEAD itself, and to GET."""
    steps = _steps_for(interpretation)
    (itself, decoded), (as_get, decoded_for_get) = _both_on_hosts(places, interpretation, headers, steps, sift)
    if beyond is not None and not isinstance(as_get, Unhealthy):
        closing, both = _Closing(trie, interpretation, steps, sift), decoded and decoded_for_get
        itself = closing.unless_closed(beyond.of_both(itself, as_get), itself, "HEAD", decoded=both)
        as_get = closing.unless_closed(beyond.of(as_get), as_get, "GET", decoded=decoded_for_get)
    return itself, as_get


def stricter_for_head(itself: Found, as_get: Found) -> Found:
    """Return which of two verdicts HEAD gets: by what covers HEAD ``itself``, or ``as_get``. Anything is stricter than no match."""
    return as_get if _STRICTNESS[type(as_get)] > _STRICTNESS[type(itself)] else itself


# Later ones refuse more.
_STRICTNESS: Final = {kind: rank for rank, kind in enumerate((NoMatch, AllowEntry, ExchangeEntry, DenyEntry, Ambiguous, Unhealthy))}


def found_for_head_itself(trie: PolicyTrie, host: str, interpretation: Interpretation, headers: RequestHeaders) -> Found:
    """Return what applies by claims on HEAD itself, before regions of unknown host and what GET gets."""
    sift = partial(Sifting().sift, trie) if trie.leaving else None
    return _both_on_hosts(trie.hosts.places(host), interpretation, headers, _steps_for(interpretation), sift)[0][0]


def _steps_for(interpretation: Interpretation) -> Steps:
    """Return how far the search for ``interpretation`` may go."""
    return Steps(interpretation.work) if interpretation.work else _NONE


_NONE: Final = Steps(0)


@final
@attrs.define(eq=False)
class _Closing:
    """The regions of unknown host that cover an interpretation, each place looked up once: HEAD asks twice."""

    _trie: PolicyTrie
    _interpretation: Interpretation
    _steps: Steps
    _sift: _Sift | None
    # By the identity of claims in the trie, and whether decoded spellings of prefixes count.
    _known: dict[tuple[int, bool], _Ranked | None] = attrs.field(factory=dict, init=False)

    def unless_closed(self, regions: tuple[Paths, ...], found: Found, method: str, *, decoded: bool) -> Found:
        """Return ``found`` unless one of ``regions`` closes the request."""
        for paths in regions:
            key = (id(paths), decoded)
            covering = self._known[key] if key in self._known else self._known.setdefault(key, self._covering(paths, decoded))
            if covering is None:
                return AMBIGUOUS_PATH
            if (closed := _first_closing(covering, method)) is not None:
                return _meant(self._trie, closed)
        return found

    def _covering(self, paths: Paths, decoded: bool) -> _Ranked | None:  # noqa: FBT001 - its caller is here
        cells = _found_in(paths, self._interpretation, self._steps, self._sift)
        return None if cells is None else _ranked(cells, self._interpretation, decoded=decoded)


def _first_closing(covering: _Ranked, method: str) -> Unhealthy | None:
    """Return the first region among claims that closes ``method``; ``None`` if none does."""
    for _, claims in covering:
        if claims.regions is not None and (closed := _closed(claims.regions, method)) is not None:
            return closed
    return None


def _meant(trie: PolicyTrie, closed: Unhealthy) -> Unhealthy:
    """Return ``closed`` with the document that it is about, if it is a stand-in for documents that close a granted area."""
    if closed.source is None or closed.source.name:
        return closed
    areas = trie.closed[closed.source.namespace].values()
    every = chain.from_iterable(area.regions.values() for area in areas)
    regions = tuple(islice((region for region in every if region.source not in trie.leaving), 2))
    if not regions:  # they are leaving, and sifted next
        return closed
    return SEVERAL_REGIONS if len(regions) > 1 else Unhealthy(regions[0].reason, regions[0].source, regions[0].index)


def _on_hosts(
    places: tuple[Paths, ...], interpretation: Interpretation, method: str, headers: RequestHeaders, steps: Steps, sift: _Sift | None
) -> tuple[Found, bool]:
    """Return what applies without the regions of unknown host, and whether decoded spellings of prefixes counted for it.

    The nearest of ``places`` with a claim decides alone: nothing farther counts, not even doubt about a header that is named there.
    """
    for paths in places:
        written = _prefixes_of(paths.exact, interpretation.path, interpretation, steps)
        if written is None:
            return AMBIGUOUS_PATH, True
        if sift is None and paths.folded is None:
            found = _first_of(_simply_covering(paths, written, interpretation.path), method)
            if found is NO_MATCH:
                continue
            if found is not None:
                return found, interpretation.rewritten
        cells = _found_in(paths, interpretation, steps, sift, written)
        if cells is None:
            return AMBIGUOUS_PATH, True
        for way in _ways(interpretation, cells):
            found = nearest(_ranked(cells, interpretation, decoded=way), method, headers)
            if found is not NO_MATCH:
                return found, way or isinstance(found, Ambiguous)
    return NO_MATCH, True


def _both_on_hosts(
    places: tuple[Paths, ...], interpretation: Interpretation, headers: RequestHeaders, steps: Steps, sift: _Sift | None
) -> tuple[tuple[Found, bool], tuple[Found, bool]]:
    """Return the same for HEAD by claims on itself, which count no farther than where GET is decided, and for GET; looks once for both."""
    itself = as_get = _UNDECIDED
    for paths in places:
        written = _prefixes_of(paths.exact, interpretation.path, interpretation, steps)
        if written is not None and sift is None and paths.folded is None:
            covering = _simply_covering(paths, written, interpretation.path)
            here, here_for_get = _first_of(covering, "HEAD"), _first_of(covering, "GET")
            if here is not None and here_for_get is not None:
                if itself is _UNDECIDED and here is not NO_MATCH:
                    itself = (here, interpretation.rewritten)
                if here_for_get is not NO_MATCH:
                    return itself, (here_for_get, interpretation.rewritten)
                continue
        cells = _found_in(paths, interpretation, steps, sift, written)
        if cells is None:
            unclear = (AMBIGUOUS_PATH, True)
            return unclear if itself is _UNDECIDED else itself, unclear
        for way in _ways(interpretation, cells):
            ranked = _ranked(cells, interpretation, decoded=way)
            if itself is _UNDECIDED and (found := nearest(ranked, "HEAD", headers)) is not NO_MATCH:
                itself = (found, way or isinstance(found, Ambiguous))
            if as_get is _UNDECIDED and (found := nearest(ranked, "GET", headers)) is not NO_MATCH:
                as_get = (found, way or isinstance(found, Ambiguous))
        if as_get is not _UNDECIDED:
            break
    return itself, as_get


_UNDECIDED: Final[tuple[Found, bool]] = (NO_MATCH, True)


def _ways(interpretation: Interpretation, cells: Sequence[tuple[Cell, str]]) -> tuple[bool, ...]:
    """Return whether decoded spellings of prefixes count; for the path as received they do if no literal prefix applies."""
    if not cells:
        return ()
    if interpretation.rewritten:
        return (True,)
    return (False, True) if any(cell.rewritten is not None for cell, _ in cells) else (False,)


def simply_nearest(paths: Paths, path: str, method: str) -> Found | None:
    """Return what applies to ``path`` by the claims of one host; ``None`` if that is not a matter of path and method alone."""
    return _first_of(_simply_covering(paths, paths.exact.prefixes_of(path), path), method)


# Claims that cover a path in the order of entries, and whether these are all of them.
_Covering: TypeAlias = tuple[Sequence[PathClaims], bool]
_NOTHING: Final[_Covering] = ((), True)
_NOT_SIMPLE: Final[_Covering] = ((), False)


def _simply_covering(paths: Paths, cells: list[Cell], path: str) -> _Covering:
    """Return the claims of one host that cover ``path``, whose prefixes are ``cells``, where these depend only on the path."""
    if paths.folded is not None:
        return _NOT_SIMPLE
    if not cells:
        return _NOTHING
    if len(cells) == 1 and (only := cells[0].plain) is not None:  # the usual case
        return (only,), True
    covering: list[PathClaims] = []
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


@final
@attrs.define(eq=False)
class Beyond:
    """The regions of unknown host that may close one request, given its verdict on its own host; each host is looked up once for all.

    ``host`` is ``None`` if it is unknown.
    """

    _trie: PolicyTrie
    _host: str | None
    _reach: UnreadableReach
    # By the identity of hosts in the trie.
    _places: dict[int, tuple[Paths, ...]] = attrs.field(factory=dict, init=False)

    def of(self, found: Found) -> tuple[Paths, ...]:
        """Return the regions that may close what gets ``found``."""
        return self._on(self._closing(found))

    def of_both(self, itself: Found, as_get: Found) -> tuple[Paths, ...]:
        """Return the regions that may close ``itself`` as well as ``as_get``."""
        if isinstance(itself, NoMatch | Ambiguous):
            return self.of(as_get)
        if isinstance(as_get, NoMatch | Ambiguous):
            return self.of(itself)
        others = self._closing(as_get)
        return self._on(tuple([hosts for hosts in self._closing(itself) if any(hosts is other for other in others)]))

    def _on(self, closing: tuple[Hosts, ...]) -> tuple[Paths, ...]:
        found: tuple[Paths, ...] = ()
        for hosts in closing:
            if id(hosts) not in self._places:
                self._places[id(hosts)] = hosts.places(self._host)
            found += self._places[id(hosts)]
        return found

    def _closing(self, found: Found) -> tuple[Hosts, ...]:
        """Return the regions that may close what gets ``found``, on every host.

        A region of unknown namespace may belong to the namespace of any entry.
        """
        trie = self._trie
        if trie.any_host is None or isinstance(found, Unhealthy):
            return ()
        if isinstance(found, NoMatch | Ambiguous) or self._reach is UnreadableReach.GLOBAL:
            return (trie.any_host,)
        either = (trie.of_namespaces.get(found.source.namespace), trie.of_namespaces.get(UNKNOWN_NAMESPACE))
        return tuple([hosts for hosts in either if hosts is not None])


def _kinds_at(cell: Cell, text: str, end: int) -> list[tuple[PathType, PathClaims]]:
    """Return the claims of ``cell`` that cover ``text``, in the order of path types; narrowed ones have the place of plain prefixes.

    The text begins with the cell's prefix; ``end`` is that of the path without its query.
    """
    found: list[tuple[PathType, PathClaims]] = []
    at = cell.length
    exact, segment, narrowed = cell.exact, cell.segment, cell.narrowed
    if exact is not None and at == end:
        found.append((PathType.EXACT, exact))
    if (segment is not None or narrowed is not None) and fits(PathType.SEGMENT, text, at, end):
        if segment is not None:
            found.append((PathType.SEGMENT, segment))
        if narrowed is not None:
            found.append((PathType.PREFIX, narrowed))
    if cell.prefix is not None:
        found.append((PathType.PREFIX, cell.prefix))
    return found


def _prefixes_of(trie: PathTrie, text: str, interpretation: Interpretation, steps: Steps) -> list[Cell] | None:
    """Return the cells of ``trie`` whose prefixes begin ``text`` of ``interpretation``; ``None`` if that takes more than ``steps``."""
    return trie.prefixes_within(text, steps) if interpretation.work else trie.prefixes_of(text)


def _found_in(paths: Paths, path: Interpretation, steps: Steps, sift: _Sift | None, written: list[Cell] | None = None) -> _Cells | None:
    """Return the cells whose prefixes begin ``path``; ``None`` if that takes more than ``steps``.

    ``written`` are the case-sensitive ones, if they have been looked up.
    """
    cells = _prefixes_of(paths.exact, path.path, path, steps) if written is None else written
    folded = [] if paths.folded is None else _prefixes_of(paths.folded, path.folded, path, steps)
    if cells is None or folded is None:
        return None
    found = [(cell, path.path) for cell in cells] + [(cell, path.folded) for cell in folded]
    if sift is not None:
        return [(rest, text) for cell, text in found if (rest := sift(cell)) is not None]
    return found


def possible_paths(places: Iterable[Paths], marked: Interpretation, room: Steps) -> tuple[Interpretation, ...] | None:
    """Return the paths that the ``!`` of ``marked`` may stand for, as far as prefixes at ``places`` tell them apart.

    Whatever the path is, one of these begins with all prefixes there that it has and that may decide, and with no others. So each is looked
    up like any other path. ``None`` if the search takes too many steps, or if there are more than ``room``.
    """
    markers, steps = marked.markers, _steps_for(marked)
    if markers is None:
        return (marked,)
    path = marked.path[: max(marked.end + 1, MAX_PREFIX) + MAX_MARKERS]  # a query of 60 KB is not copied for each
    found = dict.fromkeys(markers.written("", path, path))
    for paths in places:
        for trie, text in paths.tries_for(marked):
            alike = trie.alike(text, markers, steps)
            if alike is None:
                return None
            prefixes = {prefix: text for prefix, _ in alike}
            for prefix in {prefix for _, cell in alike if not cell.is_simple for prefix in cell.within()}:
                if after(prefix, path, 0, markers)[0] >= 0:
                    prefixes.setdefault(prefix, path)
            for prefix, compared in prefixes.items():
                if not compared.startswith(prefix) or "!" in compared[: len(prefix) + 1]:
                    found.update(dict.fromkeys(markers.written(prefix, path, compared)))
    if not room.take(len(found)):
        return None
    return tuple([Interpretation(one, marked.rewritten, work=NODES_OF_POSSIBLE, supposed=True) for one in found])


def _ranked(cells: Sequence[tuple[Cell, str]], interpretation: Interpretation, *, decoded: bool) -> _Ranked:
    """Return the claims of ``cells`` that cover ``interpretation`` in the order of entries.

    ``decoded``: also those of decoded spellings, after written ones.
    """
    found: _Ranked = []
    inside: dict[str, bool] = {}
    for cell, text in cells:
        rewritten = cell.rewritten if decoded else None
        if rewritten is None and cell.segment is None and cell.exact is None and cell.narrowed is None:
            claims = cell.prefix
            if claims is not None:
                rank = 4 * (cell.length or ROOT) + 1
                found.append((rank, claims))
                if claims.within is not None:
                    found += _within(claims.within, rank, interpretation, inside)
            continue
        for spelled in (cell,) if rewritten is None else (cell, rewritten):
            for path_type, claims in _kinds_at(spelled, text, interpretation.end):
                rank = 4 * (cell.length or ROOT) + 2 * (path_type is PathType.SEGMENT) + (spelled is cell)
                rank += _EXACT if path_type is PathType.EXACT else 0
                found.append((rank, claims))
                if claims.within is not None:
                    found += _within(claims.within, rank, interpretation, inside)
    if len(found) > 1:
        found.sort(key=itemgetter(0), reverse=True)
    return found


def _within(within: tuple[tuple[str, PathClaims], ...], rank: int, interpretation: Interpretation, inside: dict[str, bool]) -> _Ranked:
    """Return the claims for which the path of ``interpretation`` is also within a prefix; ``inside`` caches the results for prefixes."""
    found: _Ranked = []
    for prefix, claims in within:
        if prefix not in inside:
            inside[prefix] = is_within(interpretation, prefix)
        if inside[prefix]:
            found.append((rank, claims))
    return found


def nearest(ranked: _Ranked, method: str, headers: RequestHeaders) -> Found:
    """Return what decides among claims that cover an interpretation: any region, else the first entry, unless several come first."""
    those: _Ranked = []
    for place in ranked:
        claims = place[1]
        if claims.regions is not None and (closed := _closed(claims.regions, method)) is not None:
            return closed
        entries = claims.entries
        if (entries is not None and (entries.every is not None or method in entries.named)) or claims.by_headers is not None:
            those.append(place)
    for _, claims in those:  # an entry that names a header whose value is in doubt
        if claims.by_headers is not None and headers.answer(claims.by_headers, method)[1]:
            return AMBIGUOUS_HEADER
    for level in _levels(those):
        winner = _of_level(level, method, headers)
        if winner is not None:
            return CONFLICT if winner is CONTESTED else winner
    return NO_MATCH


def _levels(ranked: _Ranked) -> Iterator[list[PathClaims]]:
    """Yield the claims that are equal in the order of entries together."""
    for _, level in groupby(ranked, itemgetter(0)):
        yield [claims for _, claims in level]


def _closed(regions: MethodTable[FailClosedRegion], method: str) -> Unhealthy | None:
    region = regions.of(method)
    if region is None:
        return None
    return SEVERAL_REGIONS if region is CONTESTED else Unhealthy(region.reason, region.source, region.index)


def _of_level(level: list[PathClaims], method: str, headers: RequestHeaders) -> Entry | Contested | Ambiguous | None:
    """Return the entry that comes first among claims of one place: that with the most headers."""
    tables = _first_of_level(level, method, headers)
    if tables is None:
        return AMBIGUOUS_HEADER
    found = {claim for table in tables if (claim := table.of(method)) is not None}
    return None if not found else found.pop() if len(found) == 1 else CONTESTED


def _first_of_level(level: list[PathClaims], method: str, headers: RequestHeaders) -> list[MethodTable[Entry]] | None:
    """Return the tables of the entries that come first among claims of one place; ``None`` if the headers do not decide."""
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


def contenders(
    trie: PolicyTrie, host: str, path: Interpretation, method: str, headers: RequestHeaders, sifting: Sifting
) -> tuple[Entry, ...]:
    """Return at most two of the entries that come first for ``path``, more than one only where they conflict."""
    places, sift = trie.hosts.places(host), partial(sifting.sift, trie) if trie.leaving else None
    if method == "HEAD":
        (itself, _), _ = _both_on_hosts(places, path, headers, _steps_for(path), sift)
        method = "HEAD" if itself is CONFLICT else "GET"
    steps = _steps_for(path)
    for paths in places:
        cells = _found_in(paths, path, steps, sift) or []
        for decoded in dict.fromkeys((path.rewritten, True)):
            for level in _levels(_ranked(cells, path, decoded=decoded)):
                tables = _first_of_level(level, method, headers) or ()
                found = dict.fromkeys(chain.from_iterable(table.all_of(method) for table in tables))
                if found:
                    return tuple(islice(found, 2))
    return ()
