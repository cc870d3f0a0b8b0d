"""All that applies at one path prefix, and which of it decides a request that comes by several prefixes.

Must not know: hosts, paths, or how cells are found.
"""

from collections.abc import Iterable, Sequence
from typing import Final, final

import attrs

from exchanger.policy.claims import CONTESTED, Contested, MethodTable
from exchanger.policy.verdict import NO_MATCH, NoMatch, Unhealthy
from exchanger.values.entry import DenyEntry, Entry, ExchangeEntry, FailClosedRegion

Found = NoMatch | DenyEntry | ExchangeEntry | Unhealthy

CONFLICT: Final = Unhealthy("more than one entry has this host, method and longest matching pathPrefix")
SEVERAL_REGIONS: Final = Unhealthy("more than one invalid entry or unreadable document covers this request")


@final
@attrs.frozen
class Cell:
    """All that applies at one path prefix, which has ``length`` characters; ``None`` instead of no claims.

    ``rewritten`` has the claims of which this prefix is a decoded spelling.
    """

    length: int = 0
    entries: MethodTable[Entry] | None = None
    regions: MethodTable[FailClosedRegion] | None = None
    rewritten: "Cell | None" = None

    def with_claim(self, claim: Entry | FailClosedRegion) -> "Cell":
        """Return the cell with ``claim`` in it."""
        if isinstance(claim, FailClosedRegion):
            return Cell(self.length, self.entries, (self.regions or MethodTable()).with_claim(claim), self.rewritten)
        return Cell(self.length, (self.entries or MethodTable()).with_claim(claim), self.regions, self.rewritten)

    def without_claim(self, claim: Entry | FailClosedRegion) -> "Cell | None":
        """Return the cell without ``claim``, ``None`` when that leaves it empty."""
        entries, regions = self.entries, self.regions
        if isinstance(claim, FailClosedRegion):
            regions = regions and regions.without_claim(claim)
        else:
            entries = entries and entries.without_claim(claim)
        return self._with(entries, regions, self.rewritten)

    def with_rewritten_claim(self, claim: Entry | FailClosedRegion) -> "Cell":
        """Return the cell with ``claim`` in it for rewritten paths."""
        return Cell(self.length, self.entries, self.regions, (self.rewritten or Cell(self.length)).with_claim(claim))

    def without_rewritten_claim(self, claim: Entry | FailClosedRegion) -> "Cell | None":
        """Return the cell without ``claim`` for rewritten paths, ``None`` when that leaves it empty."""
        return self._with(self.entries, self.regions, self.rewritten and self.rewritten.without_claim(claim))

    def _with(
        self, entries: MethodTable[Entry] | None, regions: MethodTable[FailClosedRegion] | None, rewritten: "Cell | None"
    ) -> "Cell | None":
        if entries is None and regions is None and rewritten is None:
            return None
        return Cell(self.length, entries, regions, rewritten)


def nearest(cells: Iterable[Cell], method: str) -> Found:
    """Return what decides among ``cells``, the longest prefix first: any region, else the first entry, unless several tie."""
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
    """Return what ``nearest`` does where each level has several cells, all with a prefix of the same length."""
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


def _of_level(beside: Sequence[MethodTable[Entry]], method: str) -> Entry | Contested | None:
    itself = [claims for claims in beside if claims.covers(method)]
    found = {claim for claims in itself or beside if (claim := claims.of(method)) is not None}
    return None if not found else found.pop() if len(found) == 1 else CONTESTED
