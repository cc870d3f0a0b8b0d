"""Why a request gets its verdict: how its path is read, which entry won or what blocks it, and why the others did not.

For people who look at one request, so it may cost as much as the entries of its host; the verdict itself is the snapshot's.

Must not know: YAML, or what follows from a verdict.
"""

import enum
from collections.abc import Iterator, Sequence
from itertools import chain, islice, takewhile
from operator import eq
from typing import Final, final

import attrs

from exchanger.policy.authority import read_authority
from exchanger.policy.lookup import CONFLICT, Masks, Reading, UnreadableReach, readings_to_ask
from exchanger.policy.path import MalformedPath
from exchanger.policy.policy_trie import Paths
from exchanger.policy.prefix import fold, spellings_of
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.policy.trie import after
from exchanger.values.entry import UNKNOWN_NAMESPACE, Claim, Entry, FailClosedRegion, MatchScope, Source
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


def explain(snapshot: PolicySnapshot, host: str, path: str, method: str, *, raw: bool = False) -> Explanation:
    """Return the verdict of ``snapshot`` on a request, and how it came about; the arguments are those of ``PolicySnapshot.match``."""
    found = readings_to_ask(path, method, raw=raw)
    readings = (Reading(path),) if isinstance(found, MalformedPath) else found
    authority = read_authority(host)
    places = (None if authority is None else snapshot.trie.hosts.get(authority), snapshot.trie.all_hosts)
    claims = tuple(islice(_claims([paths for paths in places if paths is not None], readings), MAX_LOOKED_AT))
    verdict = snapshot.match(host, path, method, raw=raw)
    question = _Question.of(verdict, method, readings, claims, snapshot.reach)
    ranked = sorted(claims, key=question.rank)
    shown = tuple(question.candidate(claim) for claim in ranked[:MAX_CANDIDATES])
    texts = dict.fromkeys(reading.path for reading in readings)
    return Explanation(question.verdict, tuple(texts), shown, len(ranked) - len(shown))


def _claims(places: Sequence[Paths], readings: tuple[Reading, ...]) -> Iterator[Claim]:
    """Yield every entry and region once, although it has several spellings and methods; first those above ``readings``."""
    seen: set[tuple[Source, int | None, MatchScope]] = set()
    above = (
        cell for paths in places for reading in readings for trie, text in paths.tries_for(reading.path) for cell in trie.prefixes_of(text)
    )
    others = (cell for paths in places for trie, _ in paths.tries_for("") for _, cell in trie.items())
    for cell in chain(above, others):
        also = cell.rewritten
        for claims in (cell.regions, cell.entries, *(() if also is None else (also.regions, also.entries))):
            for claim in () if claims is None else claims.members():
                key = (claim.source, claim.index, claim.match)
                if key not in seen:
                    seen.add(key)
                    yield claim


def _itself(claim: Claim, method: str) -> bool:
    return claim.match.methods is None or method in claim.match.methods


def _concerns(claim: Claim, method: str) -> bool:
    return _itself(claim, method) or (method == "HEAD" and _itself(claim, "GET"))


def _begins(path: str, prefix: str, masks: Masks | None) -> bool:
    """Tell whether ``path`` begins with ``prefix``, or may if ``masks`` hide part of it."""
    return path.startswith(prefix) if masks is None else after(prefix, path, 0, masks)[0] >= 0


def _length(claim: Claim, reading: Reading, *, decoded: bool) -> int:
    """Return the length of the longest spelling of the claim's prefix that ``reading`` begins with, -1 for none."""
    spellings = spellings_of(claim.match)
    those = spellings.literal + spellings.rewritten if decoded else spellings.literal
    path = fold(reading.path) if claim.match.case_insensitive else reading.path
    return max((len(spelling) for spelling in those if _begins(path, spelling, reading.masks)), default=-1)


@final
@attrs.frozen
class _Best:
    """What wins for one reading: the length of its prefix, whether it covers the method itself, and the entries with both."""

    length: int = -1
    itself: bool = False
    entries: tuple[Entry, ...] = ()


def _place(entry: Entry) -> tuple[Source, int]:
    return entry.source, entry.index


def _conflicts(verdict: Verdict, best: _Best, reading: Reading) -> bool:
    """Tell whether the conflict of ``verdict`` is one of ``reading``; masks only hint at one, as in ``PolicySnapshot``."""
    return verdict == CONFLICT and reading.masks is None and len(best.entries) > 1


@final
@attrs.frozen
class _Question:
    """A request with its readings.

    ``decoded`` tells for each reading whether decoded spellings of prefixes count, as in ``lookup.find``; ``best`` has the entry that wins
    there unless a region does. ``rivals`` are the entries that conflict over the request, for each reading, and ``tied`` are
    the places of them all.
    """

    verdict: Verdict
    method: str
    readings: tuple[Reading, ...]
    decoded: tuple[bool, ...]
    reach: UnreadableReach
    best: tuple[_Best, ...] = ()
    rivals: tuple[tuple[Entry, ...], ...] = ()
    tied: frozenset[tuple[Source, int]] = frozenset()

    @classmethod
    def of(
        cls,
        verdict: Verdict,
        method: str,
        readings: tuple[Reading, ...],
        claims: tuple[Claim, ...],
        reach: UnreadableReach,
    ) -> "_Question":
        """Return the question with ``claims`` as candidates."""
        concerned = [claim for claim in claims if _concerns(claim, method) and claim.match.host is not None]
        decoded = tuple(
            reading.rewritten or not any(_length(claim, reading, decoded=False) >= 0 for claim in concerned) for reading in readings
        )
        asked = cls(verdict, method, readings, decoded, reach)
        entries = [(claim, asked.lengths(claim)) for claim in concerned if not isinstance(claim, FailClosedRegion)]
        best = tuple(asked._best(entries, place) for place in range(len(readings)))
        rivals = tuple(
            tuple(sorted(one.entries, key=_place)) for one, reading in zip(best, readings, strict=True) if _conflicts(verdict, one, reading)
        )
        return attrs.evolve(asked, best=best, rivals=rivals, tied=frozenset(_place(entry) for entries in rivals for entry in entries))

    def _best(self, entries: list[tuple[Entry, list[int]]], place: int) -> _Best:
        ranks = [(lengths[place], _itself(entry, self.method), entry) for entry, lengths in entries if lengths[place] >= 0]
        if not ranks:
            return _Best()
        length, itself = max(rank[:2] for rank in ranks)
        return _Best(length, itself, tuple(entry for *rank, entry in ranks if rank == [length, itself]))

    def lengths(self, claim: Claim) -> list[int]:
        """Return for each reading the length of the claim's longest spelling that counts there, -1 for none."""
        return [_length(claim, reading, decoded=decoded) for reading, decoded in zip(self.readings, self.decoded, strict=True)]

    def rank(self, claim: Claim) -> tuple[bool, bool, bool, int, Source, int]:
        """Return the sort key of candidates: first what decides or blocks, then the nearest."""
        nearness = max(sum(takewhile(bool, map(eq, claim.match.path_prefix, reading.path))) for reading in self.readings)
        return (
            self._standing(claim) is Standing.OTHER,
            not _concerns(claim, self.method),
            max(self.lengths(claim)) < 0,
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
        covered = [length >= 0 for length in self.lengths(region)]
        if region.match.host is not None or self.reach is UnreadableReach.GLOBAL:
            return covered
        return [covers and not self._spared(best, region) for covers, best in zip(covered, self.best, strict=True)]

    @staticmethod
    def _spared(best: _Best, region: FailClosedRegion) -> bool:
        return len(best.entries) == 1 and region.source.namespace not in {best.entries[0].source.namespace, UNKNOWN_NAMESPACE}

    def _why(self, claim: Claim) -> str:
        if not _concerns(claim, self.method):
            return f"its methods ({', '.join(sorted(claim.match.methods or ()))}) do not include {self.method}"
        lengths = self.lengths(claim)
        if max(lengths) < 0:
            return f"the path does not start with its pathPrefix {claim.match.path_prefix}"
        if isinstance(claim, FailClosedRegion):
            return self._why_region(claim)
        if claim is self.verdict or claim == self.verdict:
            return "the longest pathPrefix that matches host and method"
        return self._why_tied(claim) if _place(claim) in self.tied else self._why_lost(claim, lengths)

    def _why_tied(self, entry: Entry) -> str:
        rivals = next(entries for entries in self.rivals if entry in entries)
        others = (f"{rival.source} entries[{rival.index}]" for rival in rivals if rival != entry)
        names = ", ".join(islice(others, MAX_RIVALS))
        more = ", …" if len(rivals) > MAX_RIVALS + 1 else ""
        return f"it has a host, method and pathPrefix in common with {names}{more}, so nobody can tell which one is meant"

    def _why_region(self, region: FailClosedRegion) -> str:
        if region.match.host is not None or self.reach is UnreadableReach.GLOBAL:
            return f"it cannot be understood, so it closes what it covers: {region.reason}"
        if any(self._closes(region)):
            return f"its host cannot be known, so it closes what no entry of another namespace decides: {region.reason}"
        return f"its host cannot be known, but an entry of another namespace decides the request: {region.reason}"

    def _why_lost(self, entry: Entry, lengths: list[int]) -> str:
        longest = [0 <= length == best.length for length, best in zip(lengths, self.best, strict=True)]
        if not any(longest):
            return "an entry with a longer pathPrefix matches"
        if not _itself(entry, self.method) and any(best.itself for best, has in zip(self.best, longest, strict=True) if has):
            return f"another entry with this pathPrefix covers {self.method} itself, and this one only by GET"
        if not all(longest):
            read = [reading.path for reading, has in zip(self.readings, longest, strict=True) if has and reading.masks is None]
            otherwise = (
                f"the path were read as {loggable_path(read[0])}" if read else "a ! in the path stood for another character, or for none"
            )
            return f"it would win only if {otherwise}"
        if isinstance(self.verdict, Ambiguous):
            return f"the request's {self.verdict.part.value} can be read in ways that lead to different decisions"
        if isinstance(self.verdict, Unhealthy) and self.verdict.source is not None:
            return "an invalid entry or unreadable document covers the request, and wins over all others"
        return "more than one invalid entry or unreadable document covers the request, and these win over all others"
