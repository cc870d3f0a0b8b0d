"""What the allowances of a namespace leave of its entries and fail-closed scopes, as routes, and what they refuse.

Must not know: quotas, or other namespaces.
"""

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

import attrs

from exchanger.formats.yaml.fields import Hints
from exchanger.model.codes.code import Code
from exchanger.model.codes.grants import NOT_GRANTED, PARTLY_OUTSIDE_GRANTS
from exchanger.model.codes.policy import UNKNOWN_ISSUER
from exchanger.model.codes.problem import Problem
from exchanger.model.entry import AllowEntry, Claim, DenyEntry, Entry, ExchangeEntry, FailClosedScope, MatchScope, PathType
from exchanger.policy.documents.document import PolicyDocument, PolicyRefusal
from exchanger.policy.grants.allowance import UNLIMITED, Allowance, Granted, HostGrants, NearGrants, is_granted, missing, paths_of
from exchanger.policy.prefix import prefix_spellings
from exchanger.policy.scope import PathSet, Route
from exchanger.util.text import bounded

Routes: TypeAlias = tuple[Route, ...]

# Missing grants that a reason names.
_NAMED: Final = 4
_NO_PATHS: Final = PathSet(())
_OUTSIDE: Final = "is outside the hosts and paths that its namespace is granted"
PARTLY: Final = "covers more than its namespace is granted"


def closing_paths(host: str | None, allowances: Iterable[Allowance]) -> PathSet | None:
    """Return the paths on all of ``host`` that all ``allowances`` grant for what fails closed; ``None`` for every path."""
    granted: PathSet | None = None
    for allowance in allowances:
        if allowance is not UNLIMITED:
            paths = allowance.near(host).there.closing_paths
            granted = paths if granted is None else granted.common(paths) or _NO_PATHS
    return granted


def routes_of(claim: Claim, allowances: Iterable[Allowance], *, enforced: bool = True) -> Routes:
    """Return what all ``allowances`` leave of an entry or fail-closed scope: one route for each host."""
    routes: Routes = (Route(claim),)
    for allowance in allowances:
        left = [left for route in routes for left in _restricted(route, allowance, enforced=enforced)]
        routes = tuple(left if len(routes) == 1 else _together(left))
    return routes


def _together(routes: Iterable[Route]) -> Iterator[Route]:
    """Yield one route for each effect: two of the same entry would conflict."""
    together: dict[Claim, PathSet | None] = {}
    for route in routes:
        paths, known = route.granted_paths, together.get(route.effect, route.granted_paths)
        together[route.effect] = None if known is None or paths is None else known.union(paths)
    yield from (Route(effect, paths) for effect, paths in together.items())


def _each_left(claim: Claim, allowances: Iterable[Allowance]) -> Iterator[Route]:
    """Yield what ``routes_of`` returns, some of it in parts, without looking at all granted hosts for the first."""
    routes: Iterator[Route] = iter((Route(claim),))
    for allowance in allowances:
        routes = _all_restricted(routes, allowance)
    return routes


def _all_restricted(routes: Iterable[Route], allowance: Allowance) -> Iterator[Route]:
    for route in routes:
        yield from _restricted(route, allowance, enforced=True)


def _restricted(route: Route, allowance: Allowance, *, enforced: bool) -> Iterator[Route]:
    before = route.granted_paths
    for left in _left_of(route.effect, allowance, enforced=enforced):
        if before is None or left.granted_paths is None:
            yield left if before is None else Route(left.effect, before)
        elif (paths := before.common(left.granted_paths)) is not None:
            yield Route(left.effect, paths)


def _left_of(claim: Claim, allowance: Allowance, *, enforced: bool) -> Iterator[Route]:
    """Yield what ``allowance`` leaves of an entry or fail-closed scope: itself, what it closes of what is granted, or nothing.

    The paths that are granted on a host are a set, in which each look-up asks for the path. So nothing is cut into parts.
    """
    if (allowance is UNLIMITED or not enforced) and not isinstance(claim, AllowEntry):
        yield Route(claim)
        return
    near = allowance.near(claim.match.host)
    parts: Iterable[tuple[str | None, PathSet]]
    parts = ((host, grants.closing_paths) for host, grants in near.by_host(claim.match.host))
    reason, code = PARTLY, PARTLY_OUTSIDE_GRANTS
    if not isinstance(claim, FailClosedScope) and (covering := near.there.covering(claim.match)):
        lacking = list(missing(claim, covering))
        if not lacking:
            yield from _kept(claim, near, covering)
            return
        more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
        reason, code = f"requests what its namespace is not granted: {', '.join(lacking[:_NAMED])}{more}", NOT_GRANTED
        if any(one.paths.covers(claim.match) for one in covering):
            # Otherwise a plain prefix also closes the other granted paths that it begins.
            parts = [(claim.match.host, paths_of(*covering, in_any_reading=True))]
    for host, paths in parts:
        match = attrs.evolve(claim.match.closed, host=host)
        if isinstance(claim, FailClosedScope):
            closed = attrs.evolve(claim, match=match, guessed=claim.reaches_any_host and host is not None)
        else:
            closed = closed_entry(claim, reason, code, match)
        if paths.intersects(match):
            yield Route(closed, None if paths.covers(match) else paths)


def closed_entry(entry: Entry, reason: str, code: Code, match: MatchScope | None = None) -> FailClosedScope:
    """Return the fail-closed scope that closes ``match``, or the scope of ``entry``, for ``reason``, which continues the entry's place."""
    text = f"entries[{entry.index}] {reason}"
    problems = (Problem(code, text, entry.index, line=entry.line),)
    return FailClosedScope(entry.source, match or entry.match.closed, text, entry.index, entry.line, problems=problems)


def refusals_of(document: PolicyDocument, allowances: tuple[Allowance, ...], *, enforced: bool) -> tuple[PolicyRefusal, ...]:
    """Return what has no effect in ``document`` because grants leave nothing of it, or would have none if they were ``enforced``."""
    found: dict[int | None, PolicyRefusal] = {}
    hints = Hints()
    for entry in document.entries:
        left = next(_each_left(entry, allowances), None)
        is_enforced = enforced or isinstance(entry, AllowEntry)
        if left is None:
            reason = f"{'' if is_enforced else 'would be refused: '}entries[{entry.index}] {_OUTSIDE}"
            hint = _granted_near(entry.match, allowances, hints)
            found[entry.index] = PolicyRefusal(entry.source, entry.index, reason, line=entry.line, hint=hint)
        elif isinstance(left.effect, FailClosedScope) and not is_enforced:
            problem = left.effect.problems[0]
            found[entry.index] = PolicyRefusal(entry.source, entry.index, f"would be invalid: {problem.text}", problem.code, entry.line)
    closing = {
        closed_scope.index
        for closed_scope in document.closed_scopes
        if enforced and any(True for _ in _each_left(closed_scope, allowances))
    }
    for closed_scope in document.closed_scopes if enforced else ():
        if closed_scope.index not in closing and closed_scope.index not in found:
            what = "the document" if closed_scope.index is None else f"entries[{closed_scope.index}]"
            reason = f"{what} {_OUTSIDE}; it is invalid too: {closed_scope.reason}"
            found[closed_scope.index] = PolicyRefusal(closed_scope.source, closed_scope.index, reason, line=closed_scope.line)
    return tuple(found.values())


def _granted_near(scope: MatchScope, allowances: tuple[Allowance, ...], hints: Hints) -> str:
    """Return the granted host, or on a granted host the granted prefix, that was probably meant, "" if none is near."""
    if scope.host is None or len(allowances) > 1 or hints.left < 0:
        return ""
    (allowance,) = allowances
    there = allowance.near(scope.host).there.granted
    if there:
        return bounded(hints.meant(scope.path_prefix, sorted({prefix for one in there for prefix in one.prefixes})))
    return bounded(hints.meant(scope.host, sorted({host for one in allowance.granted for host in one.hosts})))


def _kept(entry: Entry, near: NearGrants, covering: Iterable[Granted]) -> Iterator[Route]:
    """Yield an entry that counts: whole, or a plain prefix on its whole segments, and on all other granted paths where it may count."""
    match, closes = entry.match, isinstance(entry, DenyEntry)
    if any(one.paths.covers(match) for one in covering):
        yield Route(entry)
        return
    for host, grants in near.by_host(match.host):
        paths = grants.closing_paths if closes else paths_of(*_usable(entry, grants), in_any_reading=closes)
        if host == match.host and not paths.covers(attrs.evolve(match, path_type=PathType.SEGMENT)):
            paths = PathSet.of((*paths.prefixes, *prefix_spellings(match.path_prefix).all), in_any_reading=closes)
        if paths.intersects(match):
            yield Route(entry if host == match.host else attrs.evolve(entry, match=attrs.evolve(match, host=host)), paths)


def _usable(entry: Entry, grants: HostGrants) -> Iterator[Granted]:
    """Yield the grants on whose other paths a plain prefix that lets requests pass may count: those that grant all of it."""
    for one in grants.beside(entry.match.path_prefix) if isinstance(entry, ExchangeEntry) else ():
        if not any(True for _ in missing(entry, [one])):
            yield one


def grants_all(allowance: Allowance, scope: MatchScope) -> bool:
    """Return whether one grant covers every request of ``scope``, by host and path."""
    return any(one.paths.covers(scope) for one in allowance.near(scope.host).there.covering(scope))


def without_hidden_issuers(document: PolicyDocument, allowances: Iterable[Allowance]) -> PolicyDocument:
    """Return ``document`` without suggestions of issuer profiles that ``allowances`` do not grant: authors must not learn such names."""
    granted = tuple(allowances)

    def is_hidden(problem: Problem) -> bool:
        return (
            problem.code is UNKNOWN_ISSUER
            and problem.hint != ""
            and not all(any(is_granted(problem.hint, one.issuers) for one in allowance.granted) for allowance in granted)
        )

    def shown(scope: FailClosedScope) -> FailClosedScope:
        problems = (attrs.evolve(one, hint="", instead="") if is_hidden(one) else one for one in scope.problems)
        return attrs.evolve(scope, problems=tuple(problems))

    if not any(is_hidden(problem) for scope in document.closed_scopes for problem in scope.problems):
        return document
    return attrs.evolve(document, closed_scopes=tuple(map(shown, document.closed_scopes)))
