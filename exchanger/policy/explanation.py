"""Why a request gets the verdict that it gets: how its path is read, which entry won, and why the others did not.

For people who look at one request, so it costs as much as the entries of its host; the verdict itself is the snapshot's own.

Must not know: YAML, or what follows from a verdict.
"""

from collections.abc import Iterator
from itertools import chain, islice, takewhile
from operator import eq
from typing import Final, final

import attrs

from exchanger.policy.authority import read_authority
from exchanger.policy.path import MalformedPath, read_path
from exchanger.policy.policy_trie import PathTrie
from exchanger.policy.prefix import prefix_spellings
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.policy.verdict import Ambiguous, Unhealthy, Verdict
from exchanger.values.entry import Entry, Region, Source
from exchanger.values.text import loggable_path

MAX_CANDIDATES: Final = 50
"""As many as a person looks through; the nearest come first."""
MAX_LOOKED_AT: Final = 1_000
"""Entries and regions that are looked at, those that cover the request first."""


@final
@attrs.frozen
class Candidate:
    """An entry or region that could concern the request: whether it decides, and in words why it does or does not."""

    claim: Entry | Region
    won: bool
    why: str


@final
@attrs.frozen
class Explanation:
    """``readings`` are the paths that servers may take the request's for, the raw one first; at least ``more`` candidates are left out."""

    verdict: Verdict
    readings: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    more: int = 0


def explain(snapshot: PolicySnapshot, host: str, path: str, method: str) -> Explanation:
    """Return the verdict of ``snapshot`` on a request, and how it came about; the arguments are those of ``PolicySnapshot.match``."""
    found = read_path(path, method)
    readings = (path,) if isinstance(found, MalformedPath) else found
    reach = snapshot.trie.reach(read_authority(host))
    claims = tuple(islice(_claims(reach, readings), MAX_LOOKED_AT))
    question = _Question.of(snapshot.match(host, path, method), method, readings, claims)
    ranked = sorted(claims, key=question.rank)
    shown = tuple(question.candidate(claim) for claim in ranked[:MAX_CANDIDATES])
    return Explanation(question.verdict, readings, shown, len(ranked) - len(shown))


def _claims(reach: tuple[PathTrie, ...], readings: tuple[str, ...]) -> Iterator[Entry | Region]:
    """Yield every entry and region once, although it may be found under several spellings and methods; first those above ``readings``."""
    seen: set[tuple[Source, int | None]] = set()
    above = (cell for paths in reach for reading in readings for cell in paths.prefixes_of(reading))
    others = (cell for paths in reach for _, cell in paths.items())
    for cell in chain(above, others):
        also = cell.rewritten
        for claims in (cell.regions, cell.entries, *(() if also is None else (also.regions, also.entries))):
            for claim in () if claims is None else claims.members():
                key = (claim.source, claim.index)
                if key not in seen:
                    seen.add(key)
                    yield claim


def _concerns(claim: Entry | Region, method: str) -> bool:
    return claim.area.methods is None or method in claim.area.methods


def _length(claim: Entry | Region, reading: str, *, decoded: bool) -> int:
    """Return how long a spelling of the claim's prefix ``reading`` begins with, -1 when it begins with none."""
    spellings = prefix_spellings(claim.area.path_prefix)
    those = spellings.literal + spellings.rewritten if decoded else spellings.literal
    return max((len(spelling) for spelling in those if reading.startswith(spelling)), default=-1)


@final
@attrs.frozen
class _Question:
    """A request as it is read.

    ``decoded`` tells for each reading whether decoded spellings of prefixes count for it, as ``find`` has it; ``longest`` has the length of
    the longest prefix of an entry that concerns it.
    """

    verdict: Verdict
    method: str
    readings: tuple[str, ...]
    decoded: tuple[bool, ...]
    longest: tuple[int, ...] = ()

    @classmethod
    def of(cls, verdict: Verdict, method: str, readings: tuple[str, ...], claims: tuple[Entry | Region, ...]) -> "_Question":
        """Return the question that has ``claims`` for candidates."""
        concerned = [claim for claim in claims if _concerns(claim, method)]
        written = any(_length(claim, readings[0], decoded=False) >= 0 for claim in concerned)
        asked = cls(verdict, method, readings, (not written, *[True] * (len(readings) - 1)))
        lengths = [asked.lengths(claim) for claim in concerned if not isinstance(claim, Region)]
        return attrs.evolve(asked, longest=tuple(map(max, zip(*lengths, strict=True))) if lengths else (-1,) * len(readings))

    def lengths(self, claim: Entry | Region) -> list[int]:
        """Return how long a spelling of the claim's prefix each reading begins with, -1 where it begins with none that counts."""
        return [_length(claim, reading, decoded=decoded) for reading, decoded in zip(self.readings, self.decoded, strict=True)]

    def rank(self, claim: Entry | Region) -> tuple[bool, bool, bool, int, Source, int]:
        """Return what sorts candidates: first what decides, then what comes nearest to it."""
        nearness = max(sum(takewhile(bool, map(eq, claim.area.path_prefix, reading))) for reading in self.readings)
        return (
            not self._won(claim),
            not _concerns(claim, self.method),
            max(self.lengths(claim)) < 0,
            -nearness,
            claim.source,
            -1 if claim.index is None else claim.index,
        )

    def candidate(self, claim: Entry | Region) -> Candidate:
        """Say what became of ``claim``."""
        return Candidate(claim, self._won(claim), self._why(claim))

    def _won(self, claim: Entry | Region) -> bool:
        if isinstance(claim, Region):
            return isinstance(self.verdict, Unhealthy) and self._covers(claim)
        return claim is self.verdict or claim == self.verdict

    def _covers(self, claim: Entry | Region) -> bool:
        return _concerns(claim, self.method) and max(self.lengths(claim)) >= 0

    def _why(self, claim: Entry | Region) -> str:
        if not _concerns(claim, self.method):
            return f"its methods ({', '.join(sorted(claim.area.methods or ()))}) do not include {self.method}"
        lengths = self.lengths(claim)
        if max(lengths) < 0:
            return f"its pathPrefix {claim.area.path_prefix} is no beginning of the path"
        if isinstance(claim, Region):
            return f"it cannot be understood, so it closes what it covers: {claim.reason}"
        if self._won(claim):
            return "the longest pathPrefix that matches host and method"
        longest = [length == best for length, best in zip(lengths, self.longest, strict=True)]
        if not any(longest):
            return "an entry with a longer pathPrefix matches"
        if not all(longest):
            return f"it would win only if the path were read as {loggable_path(self.readings[longest.index(True)])}"
        if isinstance(self.verdict, Ambiguous):
            return f"the request's {self.verdict.part.value} can be read in ways that lead to different decisions"
        if isinstance(self.verdict, Unhealthy) and self.verdict.source is not None:
            return "an invalid entry or unreadable document covers the request, and wins over all others"
        return "another entry has the same host, method and pathPrefix, or more than one invalid one covers the request"
