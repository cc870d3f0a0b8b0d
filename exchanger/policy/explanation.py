"""Why a request gets its verdict: the interpretations of its path, which entry won or what blocks it, and why the others did not.

For people who inspect one request, so it may cost as much as the entries of its host; the verdict itself is the snapshot's.

Must not know: YAML, or what follows from a verdict.
"""

import enum
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, islice, takewhile
from operator import eq
from typing import Final, TypeAlias, final

import attrs

from exchanger.policy.authority import read_authority
from exchanger.policy.conflicts import named
from exchanger.policy.headers import HeaderTable, RequestHeaders
from exchanger.policy.interpretation import MAX_POSSIBLE, Interpretation, fits, is_within, path_interpretations
from exchanger.policy.lookup import CONFLICT, ROOT, Found, UnreadableReach, possible_paths, stricter_for_head
from exchanger.policy.path import MalformedPath
from exchanger.policy.policy_trie import Paths, PolicyTrie, is_wildcard
from exchanger.policy.prefix import fold, spellings_of
from exchanger.policy.routing.lookup import possible_paths as possible_denied_paths
from exchanger.policy.routing.steps import Steps
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import (
    BASELINE,
    UNKNOWN_NAMESPACE,
    AllowEntry,
    Claim,
    DenyEntry,
    Entry,
    ExchangeEntry,
    FailClosedRegion,
    MatchScope,
    PathType,
    Source,
)
from exchanger.values.request import NO_FIELDS, HeaderFields
from exchanger.values.text import loggable_path
from exchanger.values.verdict import AMBIGUOUS_HEADER, NO_MATCH, Ambiguous, Unhealthy, Verdict

# As many as a person reads; the nearest come first.
MAX_CANDIDATES: Final = 50
# Rivals that are named; the others are candidates, too.
MAX_RIVALS: Final = 3
# Kinds of prefixes that a ``!`` in a path may hide: of entries, of regions of unknown host, and of the baseline.
_KINDS: Final = 3
# Entries and regions that are considered, those that cover the request first.
MAX_LOOKED_AT: Final = 1_000


@enum.unique
class Standing(enum.Enum):
    """The outcome of an entry or region for the request. Invalid ones never win: they block, and entries that conflict block each other."""

    WON = "won"
    BLOCKS = "blocked by"
    CONFLICTS = "conflict"
    OTHER = "no"


@final
@attrs.frozen
class Candidate:
    """An entry or region that could concern the request, with its outcome and the reason in words."""

    claim: Claim
    standing: Standing
    why: str

    @property
    def won(self) -> bool:
        """Return whether it is the entry that decides."""
        return self.standing is Standing.WON


@final
@attrs.frozen
class Explanation:
    """``interpretations``: of the path, the raw one first; at least ``more`` candidates are left out."""

    verdict: Verdict
    interpretations: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    more: int = 0


def explain(
    snapshot: PolicySnapshot, host: str, path: str, method: str, *, raw: bool = False, headers: HeaderFields = NO_FIELDS
) -> Explanation:
    """Return the verdict of ``snapshot`` on a request, and how it came about; the arguments are those of ``PolicySnapshot.match``."""
    authority, trie = read_authority(host), snapshot.trie
    found = path_interpretations(authority, path, method, raw=raw)
    places = [paths for hosts in (trie.hosts, trie.any_host) if hosts is not None for paths in hosts.places(authority)]
    denials = () if snapshot.baseline is None else snapshot.baseline.near(authority)
    readings = (Interpretation(path),) if isinstance(found, MalformedPath) else found
    room = Steps(_KINDS * MAX_POSSIBLE)
    possible = chain.from_iterable(
        chain(possible_paths(places, one, room) or (), possible_denied_paths(denials, one, room) or ()) for one in readings
    )
    interpretations = tuple(dict.fromkeys(possible))
    denying = dict.fromkeys(route.effect for _, there in denials for route in there.routes())
    claims = tuple(islice(chain(denying, _claims(trie, places, interpretations)), MAX_LOOKED_AT))
    verdict = snapshot.match(host, path, method, raw=raw, headers=headers)
    question = _Question.of(verdict, method, interpretations, claims, snapshot.reach, RequestHeaders(headers))
    ranked = sorted(claims, key=question.rank)
    shown = tuple(question.candidate(claim) for claim in ranked[:MAX_CANDIDATES])
    texts = dict.fromkeys(one.path for one in readings)
    return Explanation(question.verdict, tuple(texts), shown, len(ranked) - len(shown))


def _claims(trie: PolicyTrie, places: Sequence[Paths], interpretations: tuple[Interpretation, ...]) -> Iterator[Claim]:
    """Yield every entry and region once, although it has several spellings and methods; first those above ``interpretations``."""
    seen: set[tuple[Source, int | None, MatchScope]] = set()
    above = (cell for paths in places for one in interpretations for part, text in paths.tries_for(one) for cell in part.prefixes_of(text))
    others = (cell for paths in places for part, _ in paths.tries_for(Interpretation("")) for _, cell in part.items())
    for cell in chain(above, others):
        for member in cell.members():
            for claim in trie.meant(member) if isinstance(member, FailClosedRegion) else (member,):
                key = (claim.source, claim.index, claim.match)
                if key not in seen and claim.source not in trie.leaving:
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


# How a prefix covers a path: exactly, its length, by whole segments, literally. The greater comes first.
_Cover = tuple[bool, int, bool, bool]


def _cover(claim: Claim, interpretation: Interpretation, *, decoded: bool) -> _Cover | None:
    """Return how the claim's prefix covers ``interpretation``, in the spelling that comes first; ``None`` if it does not."""
    scope = claim.match
    if scope.within and not is_within(interpretation, scope.within):
        return None
    spellings = spellings_of(scope)
    path = fold(interpretation.path) if scope.case_insensitive else interpretation.path
    found: list[_Cover] = []
    for spelling in spellings.literal + spellings.rewritten if decoded else spellings.literal:
        if path.startswith(spelling) and fits(scope.path_type, path, len(spelling), interpretation.end):
            rank = scope.rank
            found.append((rank is PathType.EXACT, max(len(spelling), ROOT), rank is PathType.SEGMENT, spelling in spellings.literal))
    return max(found, default=None)


# The place of a claim.
Place: TypeAlias = tuple[Source, int | None]
# The order of entries: nearness of the host, cover, and number of headers.
_Order = tuple[int, _Cover, int]


@final
@attrs.frozen(eq=False)
class _Look:
    """One look-up of ``interpretation``, and its first claim unless a region decides. HEAD has two: for itself and as GET.

    ``decoded``: the hosts on which decoded spellings count. ``nearest``: the distance of the nearest host with a claim that covers.
    ``in_doubt``: an entry there names a header in doubt. ``beside``: for HEAD, the look-up as GET, which limits how far this one counts.
    """

    interpretation: Interpretation
    method: str
    order: _Order | None
    entries: tuple[Entry, ...]
    decoded: frozenset[str | None]
    nearest: int
    in_doubt: bool
    beside: "_Look | None" = None

    @classmethod
    def of(
        cls, path: Interpretation, method: str, claims: list[Claim], doubtful: frozenset[Place], beside: "_Look | None" = None
    ) -> "_Look":
        """Look ``path`` up among ``claims``; those at ``doubtful`` places name headers in doubt, and all others the request has."""
        concerned = [claim for claim in claims if _itself(claim, method) and _counts(claim, beside)]
        hosts = {claim.match.host for claim in concerned}
        written = {claim.match.host for claim in concerned if not _is_apart(claim) and _cover(claim, path, decoded=False) is not None}
        decoded = frozenset(hosts if path.rewritten else hosts - written)
        covering = [
            (claim, cover)
            for claim in concerned
            if not _is_apart(claim) and (cover := _cover(claim, path, decoded=claim.match.host in decoded)) is not None
        ]
        nearest = max((_nearness(claim) for claim, _ in covering), default=0)
        in_doubt = any(_place(claim) in doubtful and _nearness(claim) == nearest for claim, _ in covering)
        orders = [
            (_order(claim, cover), claim)
            for claim, cover in covering
            if not isinstance(claim, FailClosedRegion) and _place(claim) not in doubtful
        ]
        first = max((order for order, _ in orders), default=None)
        winners = tuple(entry for order, entry in orders if order == first)
        return cls(path, method, first, winners, decoded, nearest, in_doubt, beside)

    def cover(self, claim: Claim) -> _Cover | None:
        """Return how the prefix of ``claim`` covers the path, ``None`` if it does not, or not this method."""
        return _cover(claim, self.interpretation, decoded=claim.match.host in self.decoded) if _itself(claim, self.method) else None

    def order_of(self, entry: Entry) -> _Order | None:
        """Return the place of ``entry`` in the order of entries, ``None`` if it does not count."""
        cover = self.cover(entry) if _counts(entry, self.beside) else None
        return None if cover is None else _order(entry, cover)

    @property
    def found(self) -> Found:
        """What comes first, or what comes before that."""
        if self.in_doubt:
            return AMBIGUOUS_HEADER
        return NO_MATCH if not self.entries else self.entries[0] if len(self.entries) == 1 else CONFLICT


def _is_apart(claim: Claim) -> bool:
    return isinstance(claim, FailClosedRegion) and claim.reaches_any_host


def _counts(claim: Claim, beside: _Look | None) -> bool:
    return beside is None or _is_apart(claim) or _nearness(claim) >= beside.nearest


def _order(entry: Entry, cover: _Cover) -> _Order:
    return _nearness(entry), cover, len(entry.match.headers)


def _place(claim: Claim) -> Place:
    return claim.source, claim.index


def _names_in_doubt(claim: Claim, headers: RequestHeaders) -> bool:
    """Return whether ``claim`` is an entry that names a header in doubt."""
    if isinstance(claim, FailClosedRegion) or not claim.match.headers:
        return False
    table = HeaderTable().changed(claim, adds=True)
    return table is not None and any(table.is_doubtful(method, headers) for method in claim.match.methods or ("GET",))


@final
@attrs.frozen
class _Question:
    """A request with its interpretations. ``looks`` has every look-up, ``deciding`` for each interpretation the one that counts.

    ``rivals`` are the entries that conflict over the request, for each look-up, and ``tied`` their places.
    ``unmet`` are the places of entries whose headers the request does not have.
    """

    verdict: Verdict
    method: str
    interpretations: tuple[Interpretation, ...]
    reach: UnreadableReach
    looks: tuple[_Look, ...]
    deciding: tuple[_Look, ...]
    rivals: tuple[tuple[Entry, ...], ...]
    tied: frozenset[Place]
    unmet: frozenset[Place]

    @classmethod
    def of(
        cls,
        verdict: Verdict,
        method: str,
        interpretations: tuple[Interpretation, ...],
        claims: tuple[Claim, ...],
        reach: UnreadableReach,
        headers: RequestHeaders,
    ) -> "_Question":
        """Return the question with ``claims`` as candidates."""
        unmet = frozenset(
            _place(claim) for claim in claims if not isinstance(claim, FailClosedRegion) and not headers.has(claim.match.headers)
        )
        doubtful = frozenset(_place(claim) for claim in claims if _names_in_doubt(claim, headers))
        met = [claim for claim in claims if isinstance(claim, FailClosedRegion) or _place(claim) in doubtful or _place(claim) not in unmet]
        looks: list[_Look] = []
        deciding: list[_Look] = []
        for interpretation in interpretations:
            if method == "HEAD":
                as_get = _Look.of(interpretation, "GET", met, doubtful)
                itself = _Look.of(interpretation, method, met, doubtful, as_get)
                looks += (itself, as_get)
                deciding.append(itself if stricter_for_head(itself.found, as_get.found) == itself.found else as_get)
            else:
                looks.append(_Look.of(interpretation, method, met, doubtful))
                deciding.append(looks[-1])
        rivals = tuple(
            tuple(sorted(look.entries, key=_place))
            for look in looks
            if verdict == look.found == CONFLICT and not look.interpretation.supposed  # markers only hint at one, as in the snapshot
        )
        tied = frozenset(_place(entry) for entries in rivals for entry in entries)
        return cls(verdict, method, interpretations, reach, tuple(looks), tuple(deciding), rivals, tied, unmet)

    def covers(self, claim: Claim) -> list[_Cover | None]:
        """Return for each look-up how the claim's prefix covers the path."""
        return [look.cover(claim) for look in self.looks]

    def rank(self, claim: Claim) -> tuple[bool, bool, bool, int, Source, int]:
        """Return the sort key of candidates: first what decides or blocks, then the nearest."""
        nearness = max(sum(takewhile(bool, map(eq, claim.match.path_prefix, one.path))) for one in self.interpretations)
        return (
            self._standing(claim) is Standing.OTHER,
            not _concerns(claim, self.method),
            not any(self.covers(claim)),
            -nearness,
            claim.source,
            -1 if claim.index is None else claim.index,
        )

    def candidate(self, claim: Claim) -> Candidate:
        """Explain how ``claim`` fared."""
        return Candidate(claim, self._standing(claim), self._why(claim))

    def _standing(self, claim: Claim) -> Standing:
        if isinstance(claim, FailClosedRegion):
            closes = isinstance(self.verdict, Unhealthy) and _concerns(claim, self.method) and any(self._closes(claim))
            return Standing.BLOCKS if closes else Standing.OTHER
        if claim is self.verdict or claim == self.verdict:
            return Standing.WON
        return Standing.CONFLICTS if _place(claim) in self.tied else Standing.OTHER

    def _closes(self, region: FailClosedRegion) -> list[bool]:
        """Return for each look-up whether ``region`` closes the request in it."""
        return [look.cover(region) is not None and not self._spared(look, region) for look in self.looks]

    def _spared(self, look: _Look, region: FailClosedRegion) -> bool:
        """Return whether an entry decides in spite of ``region``: that of a nearer host, or one of another namespace."""
        if look.beside is not None and (not _counts(region, look.beside) or self._spared(look.beside, region)):
            return True
        if not region.reaches_any_host:
            return look.nearest > _nearness(region)
        if self.reach is UnreadableReach.GLOBAL or not isinstance(found := look.found, DenyEntry | ExchangeEntry | AllowEntry):
            return False
        return region.source.namespace not in {found.source.namespace, UNKNOWN_NAMESPACE}

    def _why(self, claim: Claim) -> str:
        if not _concerns(claim, self.method):
            return f"its methods ({', '.join(sorted(claim.match.methods or ()))}) do not include {self.method}"
        if not any(self.covers(claim)):
            return _ELSEWHERE[claim.match.path_type].format(claim.match.path_prefix)
        if isinstance(claim, FailClosedRegion):
            return self._why_region(claim)
        if claim is self.verdict or claim == self.verdict:
            return _BASELINE if claim.source == BASELINE else _BY_HEADERS if claim.match.headers else _LONGEST
        return self._why_tied(claim) if _place(claim) in self.tied else self._why_lost(claim)

    def _why_tied(self, entry: Entry) -> str:
        rivals = next(entries for entries in self.rivals if entry in entries)
        others = (named(rival) for rival in rivals if rival != entry)
        names = ", ".join(islice(others, MAX_RIVALS))
        more = ", …" if len(rivals) > MAX_RIVALS + 1 else ""
        return f"it shares a host, method and pathPrefix with {names}{more}, so neither can decide"

    def _why_region(self, region: FailClosedRegion) -> str:
        closes = any(self._closes(region))
        if not region.reaches_any_host and not closes:
            return f"it cannot be understood, but an entry for a nearer host decides the request: {region.coded}"
        if not region.reaches_any_host or self.reach is UnreadableReach.GLOBAL:
            return f"it cannot be understood, so it closes what it covers: {region.coded}"
        if closes:
            return f"its host is unknown, so it closes what no entry of another namespace decides: {region.coded}"
        return f"its host is unknown, but an entry of another namespace decides the request: {region.coded}"

    def _why_lost(self, entry: Entry) -> str:
        if _place(entry) in self.unmet:
            names = ", ".join(name for name, _ in entry.match.headers)
            return f"the request does not have its headers ({names}) with their values"
        wins = [look for look in self.looks if (order := look.order_of(entry)) is not None and order == look.order]
        if not wins:
            return self._why_later(entry)
        first = [look in wins for look in self.deciding]
        decides = isinstance(self.verdict, DenyEntry | ExchangeEntry | AllowEntry) and self.verdict.source != BASELINE
        if decides and not any(first):
            return _AS_GET if any(look.beside is not None for look in wins) else _ITSELF
        if any(first) and not all(first):
            read = [look.interpretation.path for look in self.deciding if look in wins and not look.interpretation.supposed]
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

    def _why_later(self, entry: Entry) -> str:
        """Explain why an entry comes first in no look-up, by the one in which it comes nearest to that."""
        places = [(order, look.order) for look in self.looks if look.order is not None and (order := look.order_of(entry)) is not None]
        if not places:  # it covers HEAD, on a host where GET is not decided
            return _NEARER
        (nearness, cover, _), (first_nearness, first_cover, _) = max(places)
        if first_nearness > nearness:
            return _NEARER
        if first_cover[:2] > cover[:2]:
            return "an entry with a longer pathPrefix matches"
        if first_cover > cover:
            return "an entry with this pathPrefix matches more closely: by whole segments, or as written"
        return "an entry with more headers matches"


_BASELINE: Final = "the platform's baseline denies the request before any policy applies"
_LONGEST: Final = "the longest pathPrefix that matches host and method"
_BY_HEADERS: Final = f"{_LONGEST}, with the most headers that the request has"
_NEARER: Final = "an entry for the host itself, or for a longer wildcard, matches"
_AS_GET: Final = "HEAD gets the stricter of two decisions, and the one for GET is stricter than this entry for HEAD"
_ITSELF: Final = "HEAD gets the stricter of two decisions, and an entry for HEAD itself is at least as strict as this one for GET"
_ELSEWHERE: Final = {
    PathType.PREFIX: "the path does not start with its pathPrefix {}",
    PathType.SEGMENT: "the path is not below its pathPrefix {}",
    PathType.EXACT: "the path is not its pathPrefix {}",
}
