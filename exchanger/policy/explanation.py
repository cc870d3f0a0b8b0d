"""Why a request gets its verdict: how its path is read, which entry won or what blocks it, and why the others did not.

For people who look at one request, so it may cost as much as the entries of its host; the verdict itself is the snapshot's.

Must not know: YAML, or what follows from a verdict.
"""

import enum
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, islice, takewhile
from operator import eq
from typing import Final, final

import attrs

from exchanger.policy.authority import read_authority
from exchanger.policy.headers import RequestHeaders
from exchanger.policy.lookup import CONFLICT, ROOT, UnreadableReach
from exchanger.policy.path import MalformedPath
from exchanger.policy.policy_trie import Paths, PolicyTrie, is_wildcard
from exchanger.policy.prefix import fold, spellings_of
from exchanger.policy.readings import Reading, end_of, fits, is_within, matched, readings_to_ask
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import BASELINE, UNKNOWN_NAMESPACE, Claim, DenyEntry, Entry, FailClosedRegion, MatchScope, PathType, Source
from exchanger.values.headers import NO_FIELDS, HeaderFields
from exchanger.values.text import loggable_path
from exchanger.values.verdict import Ambiguous, Unhealthy, Verdict

# As many as a person reads; the nearest come first.
MAX_CANDIDATES: Final = 50
# Rivals that are named; the others are candidates, too.
MAX_RIVALS: Final = 3
# Entries and regions that are looked at, those that cover the request first.
MAX_LOOKED_AT: Final = 1_000


@enum.unique
class Standing(enum.Enum):
    """What an entry or region is to the request. Nothing broken ever wins: it blocks, and entries that conflict block each other."""

    WON = "won"
    BLOCKS = "blocked by"
    CONFLICTS = "conflict"
    OTHER = "no"


@final
@attrs.frozen
class Candidate:
    """An entry or region that could concern the request: what it is to it, and why, in words."""

    claim: Claim
    standing: Standing
    why: str

    @property
    def won(self) -> bool:
        """Tell whether it is the entry that decides."""
        return self.standing is Standing.WON


@final
@attrs.frozen
class Explanation:
    """``readings`` are the paths that servers may take the request's for, the raw one first; at least ``more`` candidates are left out."""

    verdict: Verdict
    readings: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    more: int = 0


def explain(
    snapshot: PolicySnapshot, host: str, path: str, method: str, *, raw: bool = False, headers: HeaderFields = NO_FIELDS
) -> Explanation:
    """Return the verdict of ``snapshot`` on a request, and how it came about; the arguments are those of ``PolicySnapshot.match``."""
    authority, trie = read_authority(host), snapshot.trie
    found = readings_to_ask(authority, path, method, raw=raw)
    readings = (Reading(path),) if isinstance(found, MalformedPath) else found
    kinds = (snapshot.baseline, trie.hosts, trie.any_host)
    places = [paths for hosts in kinds if hosts is not None for paths in hosts.places(authority)]
    claims = tuple(islice(_claims(trie, places, readings), MAX_LOOKED_AT))
    verdict = snapshot.match(host, path, method, raw=raw, headers=headers)
    question = _Question.of(verdict, method, readings, claims, snapshot.reach, RequestHeaders(headers))
    ranked = sorted(claims, key=question.rank)
    shown = tuple(question.candidate(claim) for claim in ranked[:MAX_CANDIDATES])
    texts = dict.fromkeys(reading.path for reading in readings)
    return Explanation(question.verdict, tuple(texts), shown, len(ranked) - len(shown))


def _claims(trie: PolicyTrie, places: Sequence[Paths], readings: tuple[Reading, ...]) -> Iterator[Claim]:
    """Yield every entry and region once, although it has several spellings and methods; first those above ``readings``."""
    seen: set[tuple[Source, int | None, MatchScope]] = set()
    above = (cell for paths in places for reading in readings for part, text in paths.tries_for(reading) for cell in part.prefixes_of(text))
    others = (cell for paths in places for part, _ in paths.tries_for(Reading("")) for _, cell in part.items())
    for cell in chain(above, others):
        for member in cell.members():
            for claim in trie.meant(member) if isinstance(member, FailClosedRegion) else (member,):
                key = (claim.source, claim.index, claim.match)
                if key not in seen:
                    seen.add(key)
                    yield claim


def _itself(claim: Claim, method: str) -> bool:
    return claim.match.methods is None or method in claim.match.methods


def _concerns(claim: Claim, method: str) -> bool:
    return _itself(claim, method) or (method == "HEAD" and _itself(claim, "GET"))


def _nearness(claim: Claim) -> int:
    """Return how near a claim's host is to that of the request: its own, then the longest wildcard."""
    host = claim.match.host
    return 0 if host is None else len(host) if is_wildcard(host) else sys.maxsize


# How a prefix covers a path: exactly, its length, by whole segments, as written. The greater comes first.
_Cover = tuple[bool, int, bool, bool]


def _cover(claim: Claim, reading: Reading, *, decoded: bool) -> _Cover | None:
    """Return how the claim's prefix covers ``reading``, in the spelling that comes first; ``None`` if it does not."""
    scope = claim.match
    if scope.within and not is_within(reading, scope.within):
        return None
    spellings = spellings_of(scope)
    path = fold(reading.path) if scope.case_insensitive else reading.path
    end = end_of(path)
    found: list[_Cover] = []
    for spelling in spellings.literal + spellings.rewritten if decoded else spellings.literal:
        at = matched(path, spelling, reading.masks)
        if at >= 0 and fits(scope.path_type, path, at, end, reading.masks):
            kind = scope.path_type
            found.append((kind is PathType.EXACT, max(len(spelling), ROOT), kind is PathType.SEGMENT, spelling in spellings.literal))
    return max(found, default=None)


# The order of entries: nearness of the host, cover, number of headers, and whether it covers the method itself.
_Order = tuple[int, _Cover, int, bool]


@final
@attrs.frozen
class _Best:
    """What comes first for one reading unless a region does. ``decoded``: the hosts on which decoded spellings count."""

    order: _Order | None = None
    entries: tuple[Entry, ...] = ()
    decoded: frozenset[str | None] = frozenset()


def _place(entry: Entry) -> tuple[Source, int]:
    return entry.source, entry.index


def _conflicts(verdict: Verdict, best: _Best, reading: Reading) -> bool:
    """Tell whether the conflict of ``verdict`` is one of ``reading``; masks only hint at one, as in ``PolicySnapshot``."""
    return verdict == CONFLICT and reading.masks is None and len(best.entries) > 1


@final
@attrs.frozen
class _Question:
    """A request with its readings; ``best`` has what comes first for each.

    ``rivals`` are the entries that conflict over the request, for each reading, and ``tied`` are the places of them all.
    ``unmet`` are those of entries whose headers the request does not have.
    """

    verdict: Verdict
    method: str
    readings: tuple[Reading, ...]
    reach: UnreadableReach
    best: tuple[_Best, ...] = ()
    rivals: tuple[tuple[Entry, ...], ...] = ()
    tied: frozenset[tuple[Source, int]] = frozenset()
    unmet: frozenset[tuple[Source, int]] = frozenset()

    @classmethod
    def of(
        cls,
        verdict: Verdict,
        method: str,
        readings: tuple[Reading, ...],
        claims: tuple[Claim, ...],
        reach: UnreadableReach,
        headers: RequestHeaders,
    ) -> "_Question":
        """Return the question with ``claims`` as candidates."""
        unmet = frozenset(
            _place(claim) for claim in claims if not isinstance(claim, FailClosedRegion) and not headers.has(claim.match.headers)
        )
        asked = cls(verdict, method, readings, reach, unmet=unmet)
        concerned = [
            claim for claim in claims if _concerns(claim, method) and (isinstance(claim, FailClosedRegion) or _place(claim) not in unmet)
        ]
        best = tuple(asked._best(concerned, reading) for reading in readings)
        rivals = tuple(
            tuple(sorted(one.entries, key=_place)) for one, reading in zip(best, readings, strict=True) if _conflicts(verdict, one, reading)
        )
        return attrs.evolve(asked, best=best, rivals=rivals, tied=frozenset(_place(entry) for entries in rivals for entry in entries))

    def _best(self, concerned: list[Claim], reading: Reading) -> _Best:
        hosts = {claim.match.host for claim in concerned}
        written = {
            claim.match.host
            for claim in concerned
            if not (isinstance(claim, FailClosedRegion) and claim.reaches_any_host) and _cover(claim, reading, decoded=False) is not None
        }
        decoded = frozenset(hosts if reading.rewritten else hosts - written)
        orders = [
            ((_nearness(entry), cover, len(entry.match.headers), _itself(entry, self.method)), entry)
            for entry in concerned
            if not isinstance(entry, FailClosedRegion)
            and (cover := _cover(entry, reading, decoded=entry.match.host in decoded)) is not None
        ]
        first = max((order for order, _ in orders), default=None)
        return _Best(first, tuple(entry for order, entry in orders if order == first), decoded)

    def covers(self, claim: Claim) -> list[_Cover | None]:
        """Return for each reading how the claim's prefix covers it."""
        return [
            _cover(claim, reading, decoded=claim.match.host in best.decoded) for reading, best in zip(self.readings, self.best, strict=True)
        ]

    def rank(self, claim: Claim) -> tuple[bool, bool, bool, int, Source, int]:
        """Return the sort key of candidates: first what decides or blocks, then the nearest."""
        nearness = max(sum(takewhile(bool, map(eq, claim.match.path_prefix, reading.path))) for reading in self.readings)
        return (
            self._standing(claim) is Standing.OTHER,
            not _concerns(claim, self.method),
            not any(self.covers(claim)),
            -nearness,
            claim.source,
            -1 if claim.index is None else claim.index,
        )

    def candidate(self, claim: Claim) -> Candidate:
        """Say what became of ``claim``."""
        return Candidate(claim, self._standing(claim), self._why(claim))

    def _standing(self, claim: Claim) -> Standing:
        if isinstance(claim, FailClosedRegion):
            closes = isinstance(self.verdict, Unhealthy) and _concerns(claim, self.method) and any(self._closes(claim))
            return Standing.BLOCKS if closes else Standing.OTHER
        if claim is self.verdict or claim == self.verdict:
            return Standing.WON
        return Standing.CONFLICTS if _place(claim) in self.tied else Standing.OTHER

    def _closes(self, region: FailClosedRegion) -> list[bool]:
        """Tell of each reading whether ``region``, which concerns the method, closes it."""
        return [cover is not None and not self._spared(best, region) for cover, best in zip(self.covers(region), self.best, strict=True)]

    def _spared(self, best: _Best, region: FailClosedRegion) -> bool:
        """Tell whether an entry decides in spite of ``region``: that of a nearer host, or one of another namespace."""
        if len(best.entries) != 1 or best.order is None:
            return False
        if not region.reaches_any_host:
            return best.order[0] > _nearness(region)
        return self.reach is not UnreadableReach.GLOBAL and region.source.namespace not in {
            best.entries[0].source.namespace,
            UNKNOWN_NAMESPACE,
        }

    def _why(self, claim: Claim) -> str:
        if not _concerns(claim, self.method):
            return f"its methods ({', '.join(sorted(claim.match.methods or ()))}) do not include {self.method}"
        covers = self.covers(claim)
        if not any(covers):
            return _ELSEWHERE[claim.match.path_type].format(claim.match.path_prefix)
        if isinstance(claim, FailClosedRegion):
            return self._why_region(claim)
        if claim is self.verdict or claim == self.verdict:
            return _BASELINE if claim.source == BASELINE else "the longest pathPrefix that matches host and method"
        return self._why_tied(claim) if _place(claim) in self.tied else self._why_lost(claim, covers)

    def _why_tied(self, entry: Entry) -> str:
        rivals = next(entries for entries in self.rivals if entry in entries)
        others = (f"{rival.source} entries[{rival.index}]" for rival in rivals if rival != entry)
        names = ", ".join(islice(others, MAX_RIVALS))
        more = ", …" if len(rivals) > MAX_RIVALS + 1 else ""
        return f"it has a host, method and pathPrefix in common with {names}{more}, so nobody can tell which one is meant"

    def _why_region(self, region: FailClosedRegion) -> str:
        closes = any(self._closes(region))
        if not region.reaches_any_host and not closes:
            return f"it cannot be understood, but an entry for a nearer host decides the request: {region.coded}"
        if not region.reaches_any_host or self.reach is UnreadableReach.GLOBAL:
            return f"it cannot be understood, so it closes what it covers: {region.coded}"
        if closes:
            return f"its host cannot be known, so it closes what no entry of another namespace decides: {region.coded}"
        return f"its host cannot be known, but an entry of another namespace decides the request: {region.coded}"

    def _why_lost(self, entry: Entry, covers: list[_Cover | None]) -> str:
        if _place(entry) in self.unmet:
            names = ", ".join(name for name, _ in entry.match.headers)
            return f"the request does not have its headers ({names}) with their values"
        own = (len(entry.match.headers), _itself(entry, self.method))
        orders = [None if cover is None else (_nearness(entry), cover, *own) for cover in covers]
        first = [order is not None and order == best.order for order, best in zip(orders, self.best, strict=True)]
        if not any(first):
            return self._why_later(orders)
        if not all(first):
            read = [reading.path for reading, has in zip(self.readings, first, strict=True) if has and reading.masks is None]
            otherwise = (
                f"the path were read as {loggable_path(read[0])}" if read else "a ! in the path stood for another character, or for none"
            )
            return f"it would win only if {otherwise}"
        if isinstance(self.verdict, Ambiguous):
            return f"the request's {self.verdict.part.value} can be read in ways that lead to different decisions"
        if isinstance(self.verdict, Unhealthy) and self.verdict.source is not None:
            return "an invalid entry or unreadable document covers the request, and wins over all others"
        if isinstance(self.verdict, DenyEntry) and self.verdict.source == BASELINE:
            return _BASELINE
        return "more than one invalid entry or unreadable document covers the request, and these win over all others"

    def _why_later(self, orders: list[_Order | None]) -> str:
        """Say why an entry comes first for no reading, from the reading in which it comes nearest to that."""
        places = [
            (order, best.order) for order, best in zip(orders, self.best, strict=True) if order is not None and best.order is not None
        ]
        (nearness, cover, count, _), (first_nearness, first_cover, first_count, _) = max(places)
        if first_nearness > nearness:
            return "an entry for the host itself, or for a longer wildcard, matches"
        if first_cover[:2] > cover[:2]:
            return "an entry with a longer pathPrefix matches"
        if first_cover > cover:
            return "an entry with this pathPrefix matches more closely: by whole segments, or as it is written"
        if first_count > count:
            return "an entry with more headers matches"
        return f"another entry with this pathPrefix covers {self.method} itself, and this one only by GET"


_BASELINE: Final = "the platform's baseline denies the request before any policy counts"
_ELSEWHERE: Final = {
    PathType.PREFIX: "the path does not start with its pathPrefix {}",
    PathType.SEGMENT: "the path is not below its pathPrefix {}",
    PathType.EXACT: "the path is not its pathPrefix {}",
}
