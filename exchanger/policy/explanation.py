"""Why a request gets its decision: the look-up as its trace shows it, with what won or fails closed, and why everything else did not win.

An explanation has the entries and fail-closed scopes whose prefix begins the path, and not the rest of the host. For people who inspect one
request.

Must not know: YAML, or what follows from a decision.
"""

import enum
import sys
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Final, TypeAlias, final

import attrs

from exchanger.model.authority import WILDCARD, read_authority
from exchanger.model.entry import BASELINE, Claim, DenyEntry, Entry, FailClosedScope, PathType, Source
from exchanger.model.policy_decision import AMBIGUOUS_HEADER, Ambiguous, PolicyDecision, Unhealthy
from exchanger.model.request import NO_FIELDS, HeaderFields
from exchanger.model.text import loggable_path
from exchanger.policy.conflicts import named
from exchanger.policy.headers import RequestHeaders, canonical
from exchanger.policy.interpretation import path_interpretations
from exchanger.policy.lookup import Look, Outcome, Step, Trace, stricter_for_head
from exchanger.policy.path import MalformedPath
from exchanger.policy.scope import Route
from exchanger.policy.snapshot import PolicySnapshot, UnreadableReach
from exchanger.policy.table import CONFLICT, SEVERAL_CLOSED_SCOPES, Level

# As many as a person reads; the nearest come first.
MAX_CANDIDATES: Final = 50
# Rivals that are named; the others are candidates, too.
MAX_RIVALS: Final = 3
# Entries and fail-closed scopes that are considered, besides those that come first or fail closed.
MAX_LOOKED_AT: Final = 1_000


@enum.unique
class Standing(enum.Enum):
    """The outcome of an entry or fail-closed scope for the request. A fail-closed scope blocks, as conflicting entries do."""

    WON = "won"
    BLOCKS = "blocked by"
    CONFLICTS = "conflict"
    OTHER = "no"


@final
@attrs.frozen
class Candidate:
    """An entry, as its author wrote it, or a fail-closed scope that could concern the request, with its outcome and the reason in words."""

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

    decision: PolicyDecision
    interpretations: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    more: int = 0


def explain(
    snapshot: PolicySnapshot, host: str, path: str, method: str, *, raw: bool = False, headers: HeaderFields = NO_FIELDS
) -> Explanation:
    """Return the decision of ``snapshot`` on a request, and how it came about; the arguments are those of ``PolicySnapshot.match``."""
    found = _explained(snapshot, host, path, method, raw=raw, headers=headers)
    decision = snapshot.match(host, path, method, raw=raw, headers=headers)
    if decision == found.decision:
        return found
    earlier = () if snapshot.settled is None else _explained(snapshot.settled, host, path, method, raw=raw, headers=headers).candidates
    first = [attrs.evolve(one, why=f"{_EARLIER}: {one.why}") for one in earlier if one.standing is not Standing.OTHER]
    later = [one if one.standing is Standing.OTHER else Candidate(one.claim, Standing.OTHER, _STRICTER) for one in found.candidates]
    return attrs.evolve(found, decision=decision, candidates=(*first, *later))


def _explained(snapshot: PolicySnapshot, host: str, path: str, method: str, *, raw: bool, headers: HeaderFields) -> Explanation:
    """Return the explanation of this version alone."""
    trace, authority = Trace(), read_authority(host)
    decision = attrs.evolve(snapshot, settled=None).match(host, path, method, raw=raw, headers=headers, trace=trace)
    read = path_interpretations(authority, path, method, raw=raw)
    texts = (path,) if isinstance(read, MalformedPath) else tuple(dict.fromkeys(one.path for one in read))
    given = RequestHeaders(headers)
    looks = (*trace.denials, *trace.looks)
    first = {id(look): dict.fromkeys(look.first(given)) for look in looks}
    cases = _cases(looks, first, given)
    explainer = _Explainer(decision, method, snapshot.reach, first, _deciding(trace.looks))
    ranked = sorted(cases, key=explainer.rank)
    shown = tuple(explainer.candidate(case, snapshot) for case in ranked[:MAX_CANDIDATES])
    return Explanation(decision, texts, shown, len(ranked) - len(shown))


# The place of an entry or fail-closed scope, and whether it is a fail-closed scope.
_Key: TypeAlias = tuple[Source, int | None, bool]
# Entries that come first in a look-up, by its identity.
_First: TypeAlias = Mapping[int, dict[Entry, None]]


@final
@attrs.define(eq=False)
class _Case:
    """An entry or fail-closed scope, and in which look-ups it had which outcome. ``steps`` has those of its nearest ``outcome``."""

    claim: Claim
    outcome: Outcome
    steps: list[tuple[Look, Step]] = attrs.field(factory=list)

    def add(self, claim: Claim, look: Look, step: Step, outcome: Outcome) -> None:
        """Record the ``outcome`` at one step of ``claim``: grants may have left several of one entry, and it may close several scopes."""
        if _RANKS[outcome] < _RANKS[self.outcome]:
            self.claim, self.outcome = claim, outcome
            self.steps.clear()
        if outcome is self.outcome:
            self.steps.append((look, step))

    @property
    def looks(self) -> list[Look]:
        """The look-ups in which it had its nearest outcome."""
        return [look for look, _ in self.steps]


def _key(claim: Claim) -> _Key:
    return claim.source, claim.index, isinstance(claim, FailClosedScope)


def _cases(looks: Iterable[Look], first: _First, headers: RequestHeaders) -> Iterable[_Case]:
    """Return the cases of all that ``looks`` met: what comes first or fails closed, and at most ``MAX_LOOKED_AT`` others."""
    cases, left = dict[_Key, _Case](), MAX_LOOKED_AT
    steps = [(look, step) for look in looks for step in look.steps]
    nearest: dict[_Key, None] = dict.fromkeys(_key(entry) for entries in first.values() for entry in entries)
    closing = (route.effect for _, step in steps if step.outcome is Outcome.CLOSED for route in step.level.routes)
    nearest.update(dict.fromkeys(_key(effect) for effect in closing if isinstance(effect, FailClosedScope)))
    for look, step in steps:
        for route in step.level.routes:
            key = _key(route.effect)
            if key not in cases and key not in nearest and left <= 0:
                continue
            outcome = _outcome(look, step, route, first, headers)
            if outcome is not None:
                left -= key not in cases and key not in nearest
                cases.setdefault(key, _Case(route.effect, outcome)).add(route.effect, look, step, outcome)
    return cases.values()


def _outcome(look: Look, step: Step, route: Route, first: _First, headers: RequestHeaders) -> Outcome | None:
    """Return the outcome of ``route`` where its level had that of ``step``; ``None`` if the step is about other routes."""
    effect, outcome = route.effect, step.outcome
    if outcome in _OF_OTHERS:
        return outcome
    if effect.match.methods is not None and look.method not in effect.match.methods:
        return Outcome.OTHER_METHOD
    if outcome is not Outcome.AS_WRITTEN and step.namespace != (effect.source.namespace if route.yields_to_others else None):
        return None
    if isinstance(effect, FailClosedScope) or effect in first[id(look)]:
        return outcome
    names_doubt = any(headers.is_doubtful(canonical(name), name) for name, _ in effect.match.headers)
    if outcome is Outcome.AMBIGUOUS and names_doubt:
        return outcome
    if not headers.has(effect.match.headers):
        return Outcome.OTHER_HEADERS
    return outcome if outcome in {Outcome.AS_WRITTEN, Outcome.FARTHER} else Outcome.LATER


def _deciding(looks: Iterable[Look]) -> tuple[Look, ...]:
    """Return for each reading of the path the look-up that counts: for HEAD the stricter of two."""
    by_reading: dict[int, Look] = {}
    for look in looks:
        as_get = by_reading.get(id(look.reading), look)
        by_reading[id(look.reading)] = as_get if stricter_for_head(look.found, as_get.found) != look.found else look
    return tuple(by_reading.values())


@final
@attrs.define(eq=False)
class _Explainer:
    """Puts the outcomes of one request into words. ``deciding`` has for each reading of its path the look-up that counts."""

    decision: PolicyDecision
    method: str
    reach: UnreadableReach
    first: _First
    deciding: tuple[Look, ...]

    def rank(self, case: _Case) -> tuple[bool, int, bool, int, Source, int]:
        """Return the sort key of candidates: what decides or fails closed, then by nearness of the host and the order of entries."""
        return (
            self._standing(case) is Standing.OTHER,
            -max(_nearness(step.host) for _, step in case.steps),
            case.outcome in _OF_OTHERS,
            -max(step.level.order for _, step in case.steps),
            case.claim.source,
            -1 if case.claim.index is None else case.claim.index,
        )

    def candidate(self, case: _Case, snapshot: PolicySnapshot) -> Candidate:
        """Explain how ``case`` fared."""
        standing = self._standing(case)
        return Candidate(_as_written(case.claim, snapshot), standing, self._why(case, standing))

    def _standing(self, case: _Case) -> Standing:
        if isinstance(case.claim, FailClosedScope):
            closes = case.outcome is Outcome.CLOSED and isinstance(self.decision, Unhealthy)
            return Standing.BLOCKS if closes else Standing.OTHER
        if case.outcome is not Outcome.WON:
            return Standing.OTHER
        if isinstance(self.decision, Entry) and _key(self.decision) == _key(case.claim):
            return Standing.WON
        if isinstance(self.decision, Unhealthy) and self._revoked(case) is not None:
            return Standing.BLOCKS
        return Standing.CONFLICTS if self._conflict(case) is not None else Standing.OTHER

    def _conflict(self, case: _Case) -> Look | None:
        """Return the look-up in which ``case`` conflicts with others; a ``!`` in the path only hints at a conflict."""
        found = (look for look in case.looks if self.decision == look.found == CONFLICT and not look.reading.supposed)
        return next(found, None)

    def _revoked(self, case: _Case) -> Unhealthy | None:
        """Return why an entry that comes first may no longer decide."""
        place = (case.claim.source, case.claim.index)
        found = (look.found for look in case.looks if isinstance(look.found, Unhealthy))
        return next((one for one in found if (one.source, one.index) == place), None)

    def _why(self, case: _Case, standing: Standing) -> str:
        scope = case.claim.match
        if case.outcome is Outcome.OTHER_METHOD:
            return f"its methods ({', '.join(sorted(scope.methods or ()))}) do not include {self.method}"
        if case.outcome is Outcome.OTHER_PATH:
            return _ELSEWHERE[scope.path_type].format(scope.path_prefix)
        if case.outcome is Outcome.NOT_GRANTED:
            return _NOT_GRANTED
        if isinstance(case.claim, FailClosedScope):
            return self._why_closed_scope(case.claim, case.outcome)
        if standing is Standing.WON:
            return _BASELINE if case.claim.source == BASELINE else _BY_HEADERS if scope.headers else _LONGEST
        if (look := self._conflict(case)) is not None:
            return self._why_tied(case.claim, look)
        if case.outcome is Outcome.WON:
            revoked = self._revoked(case)
            return self._why_first(case) if revoked is None else revoked.reason
        if case.outcome is Outcome.OTHER_HEADERS:
            return f"the request does not have its headers ({', '.join(name for name, _ in scope.headers)}) with their values"
        return self._why_later(case) if case.outcome is Outcome.LATER else _WHY[case.outcome]

    def _why_closed_scope(self, closed_scope: FailClosedScope, outcome: Outcome) -> str:
        if outcome is not Outcome.CLOSED:
            return f"{_SPARED[outcome]}: {closed_scope.coded}"
        if isinstance(self.decision, DenyEntry) and self.decision.source == BASELINE:
            return _BASELINE
        if not closed_scope.reaches_any_host or self.reach is UnreadableReach.GLOBAL:
            return f"it cannot be understood, so it closes what it covers: {closed_scope.coded}"
        return f"its host is unknown, so it closes what no entry of another namespace decides: {closed_scope.coded}"

    def _why_tied(self, entry: Entry, look: Look) -> str:
        rivals = sorted((one for one in self.first[id(look)] if _key(one) != _key(entry)), key=lambda one: (one.source, one.index))
        names = ", ".join(map(named, rivals[:MAX_RIVALS]))
        more = ", …" if len(rivals) > MAX_RIVALS else ""
        return f"it shares a host, method and pathPrefix with {names}{more}, so neither can decide"

    def _why_first(self, case: _Case) -> str:
        """Explain why an entry that comes first in a look-up does not decide the request."""
        decision = self.decision
        wins = [look in case.looks for look in self.deciding]
        decides = isinstance(decision, Entry) and decision.source != BASELINE
        if (decides or decision == CONFLICT) and not any(wins):
            return _AS_GET if any(look.method == "HEAD" for look in case.looks) else _ITSELF
        if any(wins) and not all(wins):
            read = [look.reading.path for look in self.deciding if look in case.looks and not look.reading.supposed]
            otherwise = (
                f"the path were read as {loggable_path(read[0])}" if read else "a ! in the path stood for another character, or for none"
            )
            return f"it would win only if {otherwise}"
        if isinstance(decision, Ambiguous):
            return _IN_WAYS.format(decision.part.value)
        if isinstance(decision, DenyEntry):  # of the baseline: no other entry decides here
            return _BASELINE
        return _UNHEALTHY if isinstance(decision, Unhealthy) and decision.source is not None else _SEVERAL

    def _why_later(self, case: _Case) -> str:
        """Explain why an entry comes later, by the look-up in which it comes nearest to the first."""
        rivals = ((_first_level(look), step.level) for look, step in case.steps)
        first, own = max(rivals, key=lambda pair: pair[1].order)
        if first is None:
            is_closed = any(step.outcome is Outcome.CLOSED and step.namespace is None for look in case.looks for step in look.steps)
            return (
                (_SEVERAL if self.decision == SEVERAL_CLOSED_SCOPES else _UNHEALTHY)
                if is_closed
                else _IN_WAYS.format(AMBIGUOUS_HEADER.part.value)
            )
        if first.path_type is PathType.EXACT and own.path_type is not PathType.EXACT:
            return "an entry for exactly this path matches"
        if first.length > own.length:
            return "an entry with a longer pathPrefix matches"
        if first.order > own.order:
            return "an entry with this pathPrefix matches more closely: by whole segments, or as written"
        return "an entry with more headers matches"


def _first_level(look: Look) -> Level | None:
    return next((step.level for step in look.steps if step.outcome is Outcome.WON), None)


def _nearness(host: str | None) -> int:
    """Return how near a host is to that of the request: its own, then the longest wildcard."""
    return 0 if host is None else len(host) if host.startswith(WILDCARD) else sys.maxsize


def _as_written(claim: Claim, snapshot: PolicySnapshot) -> Claim:
    """Return an entry as its author wrote it, of which grants may have left another host."""
    document = snapshot.document(claim.source)
    if document is None or isinstance(claim, FailClosedScope):
        return claim
    entries = document.document.entries
    return entries[bisect_left(entries, claim.index, key=attrgetter("index"))]


_RANKS: Final = {outcome: rank for rank, outcome in enumerate(Outcome)}
# Outcomes of what does not cover the request: of all routes of a level.
_OF_OTHERS: Final = frozenset({Outcome.NOT_GRANTED, Outcome.OTHER_METHOD, Outcome.OTHER_PATH})

_BASELINE: Final = "the platform's baseline denies the request before any policy applies"
_LONGEST: Final = "the longest pathPrefix that matches host and method"
_BY_HEADERS: Final = f"{_LONGEST}, with the most headers that the request has"
_AS_GET: Final = "HEAD gets the stricter of two decisions, and the one for GET is stricter than this entry for HEAD"
_ITSELF: Final = "HEAD gets the stricter of two decisions, and an entry for HEAD itself is at least as strict as this one for GET"
_IN_WAYS: Final = "the request's {} can be read in ways that lead to different decisions"
_UNHEALTHY: Final = "an invalid entry or unreadable document covers the request, and wins over all others"
_SEVERAL: Final = "more than one invalid entry or unreadable document covers the request, and these win over all others"
_NOT_GRANTED: Final = "its namespace is not granted this path"
_EARLIER: Final = "in the previous version of the policy, which still counts"
_STRICTER: Final = "the previous version of the policy still counts, and decides more strictly"
_WHY: Final = {
    Outcome.AMBIGUOUS: "it names a header whose value is ambiguous: repeated, with a comma, or with a name that differs in _ and -",
    Outcome.AS_WRITTEN: "an entry whose pathPrefix is written like the path matches",
    Outcome.FARTHER: "an entry for the host itself, or for a longer wildcard, matches",
}
_SPARED: Final = {
    Outcome.YIELDED: "its host is unknown, but an entry of another namespace decides the request",
    Outcome.AS_WRITTEN: "it cannot be understood, but an entry whose pathPrefix is written like the path decides the request",
    Outcome.FARTHER: "it cannot be understood, but an entry for a nearer host decides the request",
}
_ELSEWHERE: Final = {
    PathType.SEGMENT: "the path is not below its pathPrefix {}",
    PathType.EXACT: "the path is not its pathPrefix {}",
}
