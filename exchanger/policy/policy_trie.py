"""Where policies apply, ready to be asked: host, then path, then method. Persistent, as all of it is made of persistent parts.

Adding or removing an entry or region costs the length of its own prefix and the number of its own methods, not the size of the policy.

Must not know: documents, or that a path can be read in more than one way.
"""

from typing import Final, final

import attrs
from rpds import HashTrieMap

from exchanger.policy.claims import SEVERAL, Claims, Several
from exchanger.policy.prefix import prefix_spellings
from exchanger.policy.trie import PrefixTrie
from exchanger.policy.verdict import NO_MATCH, NoMatch, Unhealthy
from exchanger.values.entry import DenyEntry, Entry, ExchangeEntry, Region

Found = NoMatch | DenyEntry | ExchangeEntry | Unhealthy

TIE: Final = Unhealthy("more than one entry has this host, method and longest matching pathPrefix")
SEVERAL_REGIONS: Final = Unhealthy("more than one invalid entry or unreadable document covers this request")


@final
@attrs.frozen
class Cell:
    """All that applies at one path prefix; ``None`` instead of no claims.

    ``rewritten`` has the claims of which this prefix is a decoded spelling.
    """

    entries: Claims[Entry] | None = None
    regions: Claims[Region] | None = None
    rewritten: "Cell | None" = None

    def joined(self, claim: Entry | Region) -> "Cell":
        """Return the cell with ``claim`` in it."""
        if isinstance(claim, Region):
            return Cell(self.entries, (self.regions or Claims()).joined(claim), self.rewritten)
        return Cell((self.entries or Claims()).joined(claim), self.regions, self.rewritten)

    def left(self, claim: Entry | Region) -> "Cell | None":
        """Return the cell without ``claim``, ``None`` when that leaves it empty."""
        entries, regions = self.entries, self.regions
        if isinstance(claim, Region):
            regions = regions and regions.left(claim)
        else:
            entries = entries and entries.left(claim)
        return Cell._of(entries, regions, self.rewritten)

    def joined_rewritten(self, claim: Entry | Region) -> "Cell":
        """Return the cell with ``claim`` in it for rewritten paths."""
        return Cell(self.entries, self.regions, (self.rewritten or Cell()).joined(claim))

    def left_rewritten(self, claim: Entry | Region) -> "Cell | None":
        """Return the cell without ``claim`` for rewritten paths, ``None`` when that leaves it empty."""
        return Cell._of(self.entries, self.regions, self.rewritten and self.rewritten.left(claim))

    @staticmethod
    def _of(entries: Claims[Entry] | None, regions: Claims[Region] | None, rewritten: "Cell | None") -> "Cell | None":
        return None if entries is None and regions is None and rewritten is None else Cell(entries, regions, rewritten)


PathTrie = PrefixTrie[Cell]


@final
@attrs.frozen
class PolicyTrie:
    """Entries and regions by host and path prefix; those for all hosts are kept apart, ``None`` instead of an empty trie.

    No host without a claim is in ``hosts``.
    """

    hosts: "HashTrieMap[str, PathTrie]" = attrs.field(factory=HashTrieMap)
    all_hosts: PathTrie | None = None

    def joined(self, claim: Entry | Region) -> "PolicyTrie":
        """Return a trie with ``claim`` in it, under every spelling of its prefix."""
        paths, spellings = self._paths(claim.area.host), prefix_spellings(claim.area.path_prefix)
        for prefix in spellings.literal:
            paths = paths.updated(prefix, lambda cell: (cell or Cell()).joined(claim))
        for prefix in spellings.rewritten:
            paths = paths.updated(prefix, lambda cell: (cell or Cell()).joined_rewritten(claim))
        return self._with_paths(claim.area.host, paths)

    def left(self, claim: Entry | Region) -> "PolicyTrie":
        """Return a trie without ``claim``."""
        paths, spellings = self._paths(claim.area.host), prefix_spellings(claim.area.path_prefix)
        for prefix in spellings.literal:
            paths = paths.updated(prefix, lambda cell: cell and cell.left(claim))
        for prefix in spellings.rewritten:
            paths = paths.updated(prefix, lambda cell: cell and cell.left_rewritten(claim))
        return self._with_paths(claim.area.host, paths)

    def reach(self, host: str | None) -> tuple[PathTrie, ...]:
        """Return what applies to requests for ``host``, the more particular first; ``None`` is a host that cannot be known."""
        paths = None if host is None else self.hosts.get(host)
        if self.all_hosts is None:
            return () if paths is None else (paths,)
        return (self.all_hosts,) if paths is None else (paths, self.all_hosts)

    def _paths(self, host: str | None) -> PathTrie:
        paths = self.all_hosts if host is None else self.hosts.get(host)
        return PrefixTrie() if paths is None else paths

    def _with_paths(self, host: str | None, paths: PathTrie) -> "PolicyTrie":
        if host is None:
            return PolicyTrie(self.hosts, paths or None)
        return PolicyTrie(self.hosts.insert(host, paths) if paths else self.hosts.discard(host), self.all_hosts)


def find(reach: tuple[PathTrie, ...], path: str, method: str, *, rewritten: bool = False) -> Found:
    """Return what applies to ``path``: any region, else the entry with the longest prefix, unless several have it.

    ``rewritten``: the path is not as it came, but what a server may make of it. Then decoded spellings of prefixes count beside written
    ones; for a path as it came only where nothing that is written applies.
    """
    cells: list[Cell] = []
    for paths in reach:
        cells += reversed(paths.prefixes_of(path))
    for cell in cells:
        if cell.rewritten is not None:
            return _nearest_of_both(cells, method, rewritten=rewritten)
    return _nearest(cells, method)


def _nearest_of_both(cells: list[Cell], method: str, *, rewritten: bool) -> Found:
    if rewritten:
        return _nearest([part for cell in cells for part in (cell, cell.rewritten) if part is not None], method)
    written = _nearest(cells, method)
    return _nearest([cell.rewritten for cell in cells if cell.rewritten is not None], method) if written is NO_MATCH else written


def _nearest(cells: list[Cell], method: str) -> Found:
    winner: Entry | Several | None = None
    for cell in cells:
        if cell.regions is not None and (region := cell.regions.of(method)) is not None:
            return SEVERAL_REGIONS if region is SEVERAL else Unhealthy(region.reason, region.source, region.index)
        if winner is None and cell.entries is not None:
            winner = cell.entries.of(method)
    if winner is None:
        return NO_MATCH
    return TIE if winner is SEVERAL else winner
