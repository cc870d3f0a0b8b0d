"""All that applies at one path prefix, and which of it decides a request that comes by several prefixes.

Must not know: hosts, paths, or how cells are found.
"""

from collections.abc import Iterable, Sequence
from typing import Final, final

import attrs

from exchanger.policy.claims import SEVERAL, Claims, Several
from exchanger.policy.verdict import NO_MATCH, NoMatch, Unhealthy
from exchanger.values.entry import DenyEntry, Entry, ExchangeEntry, Region

Found = NoMatch | DenyEntry | ExchangeEntry | Unhealthy

TIE: Final = Unhealthy("more than one entry has this host, method and longest matching pathPrefix")
SEVERAL_REGIONS: Final = Unhealthy("more than one invalid entry or unreadable document covers this request")


@final
@attrs.frozen
class Cell:
    """All that applies at one path prefix, which has ``length`` characters; ``None`` instead of no claims.

    ``rewritten`` has the claims of which this prefix is a decoded spelling.
    """

    length: int = 0
    entries: Claims[Entry] | None = None
    regions: Claims[Region] | None = None
    rewritten: "Cell | None" = None

    def joined(self, claim: Entry | Region) -> "Cell":
        """Return the cell with ``claim`` in it."""
        if isinstance(claim, Region):
            return Cell(self.length, self.entries, (self.regions or Claims()).joined(claim), self.rewritten)
        return Cell(self.length, (self.entries or Claims()).joined(claim), self.regions, self.rewritten)

    def left(self, claim: Entry | Region) -> "Cell | None":
        """Return the cell without ``claim``, ``None`` when that leaves it empty."""
        entries, regions = self.entries, self.regions
        if isinstance(claim, Region):
            regions = regions and regions.left(claim)
        else:
            entries = entries and entries.left(claim)
        return self._with(entries, regions, self.rewritten)

    def joined_rewritten(self, claim: Entry | Region) -> "Cell":
        """Return the cell with ``claim`` in it for rewritten paths."""
        return Cell(self.length, self.entries, self.regions, (self.rewritten or Cell(self.length)).joined(claim))

    def left_rewritten(self, claim: Entry | Region) -> "Cell | None":
        """Return the cell without ``claim`` for rewritten paths, ``None`` when that leaves it empty."""
        return self._with(self.entries, self.regions, self.rewritten and self.rewritten.left(claim))

    def _with(self, entries: Claims[Entry] | None, regions: Claims[Region] | None, rewritten: "Cell | None") -> "Cell | None":
        if entries is None and regions is None and rewritten is None:
            return None
        return Cell(self.length, entries, regions, rewritten)


def nearest(cells: Iterable[Cell], method: str) -> Found:
    """Return what decides among ``cells``, the longest prefix first: any region, else the first entry, unless several tie."""
    winner: Entry | Several | None = None
    for cell in cells:
        if cell.regions is not None and (closed := _closed(cell.regions, method)) is not None:
            return closed
        if winner is None and cell.entries is not None:
            winner = cell.entries.of(method)
    if winner is None:
        return NO_MATCH
    return TIE if winner is SEVERAL else winner


def nearest_of_levels(levels: Iterable[Sequence[Cell]], method: str) -> Found:
    """Return what ``nearest`` does where each level has several cells, all with a prefix of the same length."""
    winner: Entry | Several | None = None
    for cells in levels:
        for cell in cells:
            if cell.regions is not None and (closed := _closed(cell.regions, method)) is not None:
                return closed
        if winner is None:
            winner = _of_level([cell.entries for cell in cells if cell.entries is not None], method)
    if winner is None:
        return NO_MATCH
    return TIE if winner is SEVERAL else winner


def _closed(regions: Claims[Region], method: str) -> Unhealthy | None:
    region = regions.of(method)
    if region is None:
        return None
    return SEVERAL_REGIONS if region is SEVERAL else Unhealthy(region.reason, region.source, region.index)


def _of_level(beside: Sequence[Claims[Entry]], method: str) -> Entry | Several | None:
    itself = [claims for claims in beside if claims.covers(method)]
    found = {claim for claims in itself or beside if (claim := claims.of(method)) is not None}
    return None if not found else found.pop() if len(found) == 1 else SEVERAL
