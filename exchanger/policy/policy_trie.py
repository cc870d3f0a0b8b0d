"""Where policies apply: host, then path, then method and headers. Persistent, as all of its parts are.

Adding or removing a claim costs the length of its own prefix and the number of its own methods, whatever the size of the policy.

Must not know: documents, or how a request is looked up.
"""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import Final, TypeAlias, final

import attrs
from rpds import HashTrieMap

from exchanger.policy.authority import MAX_WILDCARD, WILDCARD, wildcards_above
from exchanger.policy.headers import HeaderTable
from exchanger.policy.interpretation import Interpretation
from exchanger.policy.methods import ClaimKey, MethodTable, key_of
from exchanger.policy.prefix import spellings_of
from exchanger.policy.trie import PrefixTrie, Steps
from exchanger.values.entry import EVERYWHERE, Claim, Entry, FailClosedRegion, GrantedArea, MatchScope, PathType, Source

# Claims that are looked at for one request while documents are leaving, and of these the ones that are held back: in half a millisecond
# each, wherever they are.
MAX_LOOKED_AT: Final = 2048
MAX_SIFTED: Final = 128
_SIFTING: Final = "one of many entries here is being withdrawn"


@final
@attrs.frozen
class PathClaims:
    """The claims at one path prefix that have one path type; ``None`` instead of an empty table.

    ``by_headers`` has the entries that name headers, ``within`` the claims for which the path must also be within a prefix, by that prefix,
    sorted: a tuple is the quickest to go through, and grants leave few such prefixes.
    """

    entries: MethodTable[Entry] | None = None
    regions: MethodTable[FailClosedRegion] | None = None
    by_headers: HeaderTable | None = None
    within: "tuple[tuple[str, PathClaims], ...] | None" = None

    @property
    def is_plain(self) -> bool:
        """Whether nothing but method and path decides whether a claim applies."""
        return self.by_headers is None and self.within is None

    def with_claim(self, claim: Claim) -> "PathClaims":
        """Return the claims with ``claim``."""
        if not claim.match.within:
            return _changed(self, claim, adds=True)
        inner = _changed(self._inner(claim.match.within) or PathClaims(), claim, adds=True)
        return self._with_inner(claim.match.within, inner)

    def without_claim(self, claim: Claim) -> "PathClaims | None":
        """Return the claims without ``claim``, ``None`` if nothing is left."""
        if not claim.match.within:
            rest = _changed(self, claim, adds=False)
        elif (inner := self._inner(claim.match.within)) is None:
            return self
        else:
            rest = self._with_inner(claim.match.within, _changed(inner, claim, adds=False) or None)
        return rest or None

    def _inner(self, prefix: str) -> "PathClaims | None":
        return next((claims for other, claims in self.within or () if other == prefix), None)

    def _with_inner(self, prefix: str, inner: "PathClaims | None") -> "PathClaims":
        within = [pair for pair in self.within or () if pair[0] != prefix]
        if inner is not None:
            within.append((prefix, inner))
        return PathClaims(self.entries, self.regions, self.by_headers, tuple(sorted(within, key=itemgetter(0))) or None)

    def __bool__(self) -> bool:
        return any(table is not None for table in (self.entries, self.regions, self.by_headers, self.within))

    def members(self) -> Iterator[Claim]:
        """Yield every claim, some of them more than once."""
        for table in (self.entries, self.by_headers, self.regions, *(claims for _, claims in self.within or ())):
            if table is not None:
                yield from table.members()

    def entries_like(self, entry: Entry) -> MethodTable[Entry] | None:
        """Return the entries with exactly the headers of ``entry``."""
        if not entry.match.headers:
            return self.entries
        return None if self.by_headers is None else self.by_headers.at(entry.match.headers)


def _changed(claims: PathClaims, claim: Claim, *, adds: bool) -> PathClaims:
    """Return ``claims`` with or without ``claim``, whose ``within`` has been seen to."""
    entries, regions, by_headers = claims.entries, claims.regions, claims.by_headers
    if isinstance(claim, FailClosedRegion):
        regions = (regions or MethodTable()).with_claim(claim) if adds else regions and regions.without_claim(claim)
    elif claim.match.headers:
        by_headers = (
            (by_headers or HeaderTable()).changed(claim, adds=True) if adds else by_headers and by_headers.changed(claim, adds=False)
        )
    else:
        entries = (entries or MethodTable()).with_claim(claim) if adds else entries and entries.without_claim(claim)
    return PathClaims(entries, regions, by_headers, claims.within)


@final
@attrs.frozen
class Cell:
    """All claims at one path prefix, which has ``length`` characters, by path type; ``None`` instead of none.

    ``narrowed`` has those of plain prefixes of which grants left whole segments. ``rewritten`` has the claims of which this prefix is a
    decoded spelling. ``is_simple``: path and method alone decide whether one applies, and no two path types have one place in the order;
    ``plain`` has all of them if they are on plain prefixes, too.
    """

    length: int = 0
    prefix: PathClaims | None = None
    segment: PathClaims | None = None
    exact: PathClaims | None = None
    rewritten: "Cell | None" = None
    narrowed: PathClaims | None = None
    is_simple: bool = attrs.field(init=False, eq=False, repr=False)
    plain: PathClaims | None = attrs.field(init=False, eq=False, repr=False)

    @is_simple.default
    def _is_simple(self) -> bool:
        if self.rewritten is not None or (self.narrowed is not None and self.prefix is not None):
            return False
        return all(claims is None or claims.is_plain for claims in self._tables)

    @plain.default
    def _plain(self) -> PathClaims | None:
        return self.prefix if self.is_simple and self.segment is None and self.exact is None and self.narrowed is None else None

    @property
    def _tables(self) -> tuple[PathClaims | None, ...]:
        return self.exact, self.segment, self.narrowed, self.prefix

    def of(self, scope: MatchScope) -> PathClaims | None:
        """Return the claims that are kept together with those of ``scope``."""
        if scope.narrowed:
            return self.narrowed
        return self.prefix if scope.path_type is PathType.PREFIX else self.segment if scope.path_type is PathType.SEGMENT else self.exact

    def level(self, rank: PathType) -> tuple[PathClaims, ...]:
        """Return the claims whose place in the order of entries is that of one path type."""
        found = {PathType.PREFIX: (self.prefix, self.narrowed), PathType.SEGMENT: (self.segment,), PathType.EXACT: (self.exact,)}[rank]
        return tuple([claims for claims in found if claims is not None])

    def with_claim(self, claim: Claim) -> "Cell":
        """Return the cell with ``claim``."""
        return self._with(claim.match, (self.of(claim.match) or PathClaims()).with_claim(claim))

    def without_claim(self, claim: Claim) -> "Cell | None":
        """Return the cell without ``claim``, ``None`` if that leaves it empty."""
        claims = self.of(claim.match)
        return _or_nothing(self._with(claim.match, claims and claims.without_claim(claim)))

    def with_rewritten_claim(self, claim: Claim) -> "Cell":
        """Return the cell with ``claim`` for rewritten paths."""
        return attrs.evolve(self, rewritten=(self.rewritten or Cell(self.length)).with_claim(claim))

    def without_rewritten_claim(self, claim: Claim) -> "Cell | None":
        """Return the cell without ``claim`` for rewritten paths, ``None`` if that leaves it empty."""
        return _or_nothing(attrs.evolve(self, rewritten=self.rewritten and self.rewritten.without_claim(claim)))

    def _with(self, scope: MatchScope, claims: PathClaims | None) -> "Cell":
        if scope.narrowed:
            return Cell(self.length, self.prefix, self.segment, self.exact, self.rewritten, claims)
        if scope.path_type is PathType.PREFIX:
            return Cell(self.length, claims, self.segment, self.exact, self.rewritten, self.narrowed)
        if scope.path_type is PathType.SEGMENT:
            return Cell(self.length, self.prefix, claims, self.exact, self.rewritten, self.narrowed)
        return Cell(self.length, self.prefix, self.segment, claims, self.rewritten, self.narrowed)

    def within(self) -> Iterator[str]:
        """Yield the prefixes that a path must also have for some claims."""
        for claims in self._tables:
            yield from (prefix for prefix, _ in claims.within or ()) if claims is not None else ()
        yield from self.rewritten.within() if self.rewritten is not None else ()

    def members(self) -> Iterator[Claim]:
        """Yield every claim, some of them more than once."""
        for claims in (*self._tables, self.rewritten):
            if claims is not None:
                yield from claims.members()


def _or_nothing(cell: Cell) -> Cell | None:
    return cell if any(True for _ in cell.members()) else None


PathTrie = PrefixTrie[Cell]


@final
@attrs.frozen
class Paths:
    """The claims by path prefix; ``folded`` has those that ignore case, ``None`` instead of an empty trie.

    ``with_headers`` counts the entries that name headers.
    """

    exact: PathTrie = attrs.field(factory=PrefixTrie)
    folded: PathTrie | None = None
    with_headers: int = 0

    def with_claim(self, claim: Claim) -> "Paths":
        """Return the paths with ``claim`` under every spelling of its prefix."""
        trie, spellings = self._trie(claim), spellings_of(claim.match)
        for prefix in spellings.literal:
            trie = trie.updated(prefix, partial(_with_claim, claim, len(prefix)))
        for prefix in spellings.rewritten:
            trie = trie.updated(prefix, partial(_with_rewritten_claim, claim, len(prefix)))
        return self._with_trie(claim, trie, 1)

    def without_claim(self, claim: Claim) -> "Paths":
        """Return the paths without ``claim``."""
        trie, spellings = self._trie(claim), spellings_of(claim.match)
        for prefix in spellings.literal:
            trie = trie.updated(prefix, lambda cell: cell and cell.without_claim(claim))
        for prefix in spellings.rewritten:
            trie = trie.updated(prefix, lambda cell: cell and cell.without_rewritten_claim(claim))
        return self._with_trie(claim, trie, -1)

    def joined(self, other: "Paths") -> "Paths":
        """Return the paths with the claims of ``other``, which has none of these."""
        paths = self
        for claim in other.claims():
            paths = paths.with_claim(claim)
        return paths

    def parted(self, other: "Paths") -> "Paths":
        """Return the paths without the claims of ``other``."""
        paths = self
        for claim in other.claims():
            paths = paths.without_claim(claim)
        return paths

    def claims(self) -> Iterator[Claim]:
        """Yield every claim once."""
        found: dict[ClaimKey, Claim] = {}
        for trie, _ in self.tries_for(Interpretation("")):
            found.update((key_of(claim), claim) for _, cell in trie.items() for claim in cell.members())
        yield from found.values()

    def tries_for(self, path: Interpretation) -> tuple[tuple[PathTrie, str], ...]:
        """Return each trie with the text to look up in it for ``path``."""
        return ((self.exact, path.path),) if self.folded is None else ((self.exact, path.path), (self.folded, path.folded))

    def __bool__(self) -> bool:
        return bool(self.exact) or self.folded is not None

    def _trie(self, claim: Claim) -> PathTrie:
        if not claim.match.case_insensitive:
            return self.exact
        return PrefixTrie() if self.folded is None else self.folded

    def _with_trie(self, claim: Claim, trie: PathTrie, sign: int) -> "Paths":
        count = self.with_headers + sign * bool(claim.match.headers)
        return Paths(self.exact, trie or None, count) if claim.match.case_insensitive else Paths(trie, self.folded, count)


def _with_claim(claim: Claim, length: int, cell: Cell | None) -> Cell:
    return (cell or Cell(length)).with_claim(claim)


def _with_rewritten_claim(claim: Claim, length: int, cell: Cell | None) -> Cell:
    return (cell or Cell(length)).with_rewritten_claim(claim)


@final
@attrs.frozen
class Hosts:
    """Claims by host, or by wildcard (``*.`` and a host); ``every`` has those on every host, ``None`` instead of none.

    No host is in it without a claim. ``wildcards`` counts the hosts that are wildcards, ``with_headers`` the entries that name headers.
    """

    paths: "HashTrieMap[str, Paths]" = attrs.field(factory=HashTrieMap)
    every: Paths | None = None
    wildcards: int = 0
    with_headers: int = 0

    def with_claim(self, claim: Claim) -> "Hosts":
        """Return the hosts with ``claim``."""
        host, with_headers = claim.match.host, self.with_headers + bool(claim.match.headers)
        if host is None:
            return Hosts(self.paths, (self.every or Paths()).with_claim(claim), self.wildcards, with_headers)
        before = self.paths.get(host)
        paths = self.paths.insert(host, (before or Paths()).with_claim(claim))
        return Hosts(paths, self.every, self.wildcards + (before is None and is_wildcard(host)), with_headers)

    def without_claim(self, claim: Claim) -> "Hosts":
        """Return the hosts without ``claim``."""
        host, with_headers = claim.match.host, self.with_headers - bool(claim.match.headers)
        if host is None:
            every = None if self.every is None else self.every.without_claim(claim) or None
            return Hosts(self.paths, every, self.wildcards, with_headers)
        before = self.paths.get(host)
        if before is None:
            return self
        rest = before.without_claim(claim)
        if rest:
            return Hosts(self.paths.insert(host, rest), self.every, self.wildcards, with_headers)
        return Hosts(self.paths.discard(host), self.every, self.wildcards - is_wildcard(host), with_headers)

    def joined(self, other: "Hosts") -> "Hosts":
        """Return the hosts with the claims of ``other``, none of which is here. Adding a new host takes one step, whatever its claims."""
        paths, wildcards = self.paths, self.wildcards
        for host, theirs in other.paths.items():
            mine = paths.get(host)
            wildcards += mine is None and is_wildcard(host)
            paths = paths.insert(host, theirs if mine is None else mine.joined(theirs))
        every = self.every or other.every
        if self.every is not None and other.every is not None:
            every = self.every.joined(other.every)
        return Hosts(paths, every, wildcards, self.with_headers + other.with_headers)

    def parted(self, other: "Hosts") -> "Hosts | None":
        """Return the hosts without the claims of ``other``, all of which are here; ``None`` if nothing is left."""
        paths, wildcards = self.paths, self.wildcards
        for host, theirs in other.paths.items():
            mine = paths.get(host)
            rest = None if mine is None or mine is theirs else mine.parted(theirs) or None
            wildcards -= rest is None and mine is not None and is_wildcard(host)
            paths = paths.discard(host) if rest is None else paths.insert(host, rest)
        every = self.every
        if every is not None and other.every is not None:
            every = every.parted(other.every) or None
        return Hosts(paths, every, wildcards, self.with_headers - other.with_headers) or None

    def places(self, host: str | None) -> tuple[Paths, ...]:
        """Return the claims that may apply on ``host``: its own, then those of wildcards, the longest first, then those on every host.

        ``None`` is a host that cannot be known.
        """
        own = None if host is None else self.paths.get(host)
        if not self.wildcards and self.every is None:
            return () if own is None else (own,)
        found = [] if own is None else [own]
        if self.wildcards and host is not None:
            above = map(self.paths.get, wildcards_above(host[-MAX_WILDCARD:]))
            found += [paths for paths in above if paths is not None]
        if self.every is not None:
            found.append(self.every)
        return tuple(found)

    def __bool__(self) -> bool:
        return bool(self.paths) or self.every is not None


def is_wildcard(host: str) -> bool:
    """Return whether ``host`` is that of all hosts below another."""
    return host.startswith(WILDCARD)


# Regions that close the same granted area.
_Closing: TypeAlias = "HashTrieMap[ClaimKey, FailClosedRegion]"


@final
@attrs.frozen
class ClosedArea:
    """All that a namespace is granted, closed by ``regions``, of which there is at least one; ``hosts`` has a stand-in for them there."""

    regions: _Closing
    hosts: Hosts = attrs.field(eq=False, repr=False)

    @classmethod
    def of(cls, region: FailClosedRegion, area: GrantedArea) -> "ClosedArea":
        """Return the area that ``region`` closes; costs the size of the area."""
        stand_in = FailClosedRegion(Source(region.source.namespace, ""), EVERYWHERE, "", area=area)
        hosts = Hosts()
        for scope in area.scopes:
            hosts = hosts.with_claim(attrs.evolve(stand_in, match=scope, guessed=scope.host is not None))
        return cls(HashTrieMap({key_of(region): region}), hosts)


@final
@attrs.frozen
class PolicyTrie:
    """Claims by host and path prefix. Regions whose author may have meant any host are kept apart: together, and again by namespace.

    No namespace is in it without a claim; ``None`` instead of no such region. Regions that close all that their namespace is granted are in
    ``closed``, by namespace and area. The first one of an area puts it among the others, with a stand-in, and the last one takes it away.

    ``leaving`` has the claims of documents that count for nothing although they are still here: taking them out takes its time.
    """

    hosts: Hosts = attrs.field(factory=Hosts)
    any_host: Hosts | None = None
    of_namespaces: "HashTrieMap[str, Hosts]" = attrs.field(factory=HashTrieMap)
    closed: "HashTrieMap[str, HashTrieMap[GrantedArea, ClosedArea]]" = attrs.field(factory=HashTrieMap)
    leaving: "HashTrieMap[Source, tuple[Claim, ...]]" = attrs.field(factory=HashTrieMap, repr=False)
    # Of these, the documents whose regions stay until the sweep: if a share was exceeded, they also close for other documents.
    standing: "HashTrieMap[Source, None]" = attrs.field(factory=HashTrieMap, repr=False)

    def with_claim(self, claim: Claim) -> "PolicyTrie":
        """Return a trie with ``claim``."""
        if not isinstance(claim, FailClosedRegion) or not claim.reaches_any_host:
            return attrs.evolve(self, hosts=self.hosts.with_claim(claim))
        namespace, own = claim.source.namespace, self.of_namespaces.get(claim.source.namespace, Hosts())
        if claim.area is None:
            return self._apart(namespace, (self.any_host or Hosts()).with_claim(claim), own.with_claim(claim))
        closed = self.closed.get(namespace, HashTrieMap())
        known = closed.get(claim.area)
        if known is not None:
            more = attrs.evolve(known, regions=known.regions.insert(key_of(claim), claim))
            return self._closing(namespace, closed.insert(claim.area, more))
        new = ClosedArea.of(claim, claim.area)
        trie = self._closing(namespace, closed.insert(claim.area, new))
        return trie._apart(namespace, (self.any_host or Hosts()).joined(new.hosts), own.joined(new.hosts))  # noqa: SLF001 - of the same class

    def without_claim(self, claim: Claim) -> "PolicyTrie":
        """Return a trie without ``claim``."""
        if not isinstance(claim, FailClosedRegion) or not claim.reaches_any_host:
            return attrs.evolve(self, hosts=self.hosts.without_claim(claim))
        namespace, own = claim.source.namespace, self.of_namespaces.get(claim.source.namespace, Hosts())
        any_host = self.any_host or Hosts()
        if claim.area is None:
            return self._apart(namespace, any_host.without_claim(claim), own.without_claim(claim))
        closed = self.closed.get(namespace, HashTrieMap())
        known = closed.get(claim.area)
        if known is None or key_of(claim) not in known.regions:
            return self
        rest = known.regions.discard(key_of(claim))
        if rest:
            return self._closing(namespace, closed.insert(claim.area, attrs.evolve(known, regions=rest)))
        trie = self._closing(namespace, closed.discard(claim.area))
        return trie._apart(namespace, any_host.parted(known.hosts), own.parted(known.hosts))  # noqa: SLF001 - of the same class

    def meant(self, region: FailClosedRegion) -> Iterator[FailClosedRegion]:
        """Yield the regions that ``region`` stands in for at its place; itself if it is not a stand-in."""
        if region.area is None:
            yield region
            return
        for own in self.closed[region.source.namespace][region.area].regions.values():
            if own.source not in self.leaving:
                yield attrs.evolve(own, match=region.match, guessed=region.guessed, area=None)

    def is_leaving(self, claim: Claim) -> bool:
        """Return whether ``claim`` has no effect; a stand-in has none if all regions behind it are leaving."""
        if isinstance(claim, FailClosedRegion) and claim.area is not None:
            regions = self.closed[claim.source.namespace][claim.area].regions.values()
            return all(region.source in self.leaving for region in regions)
        return claim.source in self.leaving and not (isinstance(claim, FailClosedRegion) and claim.source in self.standing)

    def _apart(self, namespace: str, any_host: Hosts | None, own: Hosts | None) -> "PolicyTrie":
        of_namespaces = self.of_namespaces.insert(namespace, own) if own else self.of_namespaces.discard(namespace)
        return PolicyTrie(self.hosts, any_host or None, of_namespaces, self.closed, self.leaving, self.standing)

    def _closing(self, namespace: str, closed: "HashTrieMap[GrantedArea, ClosedArea]") -> "PolicyTrie":
        closed_by = self.closed.insert(namespace, closed) if closed else self.closed.discard(namespace)
        return PolicyTrie(self.hosts, self.any_host, self.of_namespaces, closed_by, self.leaving, self.standing)


@final
@attrs.define(eq=False)
class Sifting:
    """Tells the claims that are leaving from the others, for one request: each cell once, within one budget for all of them.

    Beyond the budget everything is closed, until the documents are swept.
    """

    _looked_at: Steps = attrs.field(factory=lambda: Steps(MAX_LOOKED_AT), init=False)
    _held_back: Steps = attrs.field(factory=lambda: Steps(MAX_SIFTED), init=False)
    # By the identities of a trie and a cell, which are kept so that no other objects get the same ids.
    _known: dict[tuple[int, int], tuple[PolicyTrie, Cell, Cell | None]] = attrs.field(factory=dict, init=False)
    _closed: Cell | None = attrs.field(default=None, init=False)

    def sift(self, trie: PolicyTrie, cell: Cell) -> Cell | None:
        """Return ``cell``, which is one of ``trie``, without the claims that are leaving; ``None`` if it is then empty."""
        if self._closed is not None:
            return self._closed
        key = (id(trie), id(cell))
        if key not in self._known:
            self._known[key] = (trie, cell, self._sifted(trie, cell))
        return self._known[key][2]

    def _sifted(self, trie: PolicyTrie, cell: Cell) -> Cell | None:
        members = tuple(islice(cell.members(), self._looked_at.left + 1))
        leaving = {key_of(claim): claim for claim in members if trie.is_leaving(claim)}
        if not self._looked_at.take(len(members)) or not self._held_back.take(len(leaving)):
            self._closed = Cell().with_claim(FailClosedRegion(members[0].source, EVERYWHERE, _SIFTING))
            return self._closed
        rest: Cell | None = cell
        for claim in leaving.values():
            rest = rest and rest.without_claim(claim)
            rest = rest and rest.without_rewritten_claim(claim)
        return rest
