"""The policy of one namespace: its documents, what it is granted, and its limits, and the routes that follow, by host.

A document counts whole, or it is over quota: then it closes the hosts that it names, as far as they are granted. Everything depends on the
namespace's own documents alone, in whatever order they came.

Must not know: other namespaces, or requests.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final, TypeAlias, final

import attrs
from rpds import HashTrieMap

from exchanger.codes.grants import NOT_GRANTED, PARTLY_OUTSIDE_GRANTS
from exchanger.codes.manifests import DEEP_ENTRIES, MANY_ENTRIES
from exchanger.codes.problem import Problem
from exchanger.policy.documents.document import PolicyDocument, PolicyRefusal
from exchanger.policy.grants.allowance import ANYTHING, UNLIMITED, Allowance, Granted, common_hosts, missing
from exchanger.policy.prefix import fold, prefix_spellings, spellings_of
from exchanger.policy.routing.scope import PathSet, Route, covers_host, covers_path
from exchanger.policy.shares import NamespaceLimits
from exchanger.values.entry import AllowEntry, Claim, DenyEntry, Entry, ExchangeEntry, FailClosedRegion, MatchScope, PathType, Source

# Levels that the routes of one namespace may add to a path on one host, each about a microsecond; header names count as four.
MAX_DEPTH: Final = 24
_HEADERS: Final = 4
# Sets of granted paths that are kept: the entries of a document are compared with the same grants.
_KEPT_SETS: Final = 1_024
# Missing grants that a reason names.
_NAMED: Final = 4
_OUTSIDE: Final = "is outside the hosts and paths that its namespace is granted"
_PARTLY: Final = "covers more than its namespace is granted"
_OVER_QUOTA: Final = "the document is over its namespace's quota, so it closes the hosts that it names, and is otherwise ignored"
_OVER_DEPTH: Final = f"the prefixes of its namespace that cover one path of this host are more than {MAX_DEPTH}"

Routes: TypeAlias = tuple[Route, ...]
# The document of each source from now on, ``None`` for none.
Changes: TypeAlias = Mapping[Source, PolicyDocument | None]
# The routes that are removed from each host, and those that are added there.
Differences: TypeAlias = dict[str | None, tuple[list[Route], list[Route]]]


@final
@attrs.frozen(eq=False)
class NamespacePolicy:
    """The documents of a namespace, and their ``routes`` by host and document. ``entries`` and ``regions`` count towards the quota.

    It is granted what all ``allowances`` grant: there is one for each description of the namespace by its labels.
    ``over_quota`` are the documents that close the hosts that they name, and ``over_depth`` the hosts on which all routes close.
    ``enforced``: if false, grants restrict nothing but what lets requests pass.
    """

    allowances: tuple[Allowance, ...] = (UNLIMITED,)
    limits: NamespaceLimits = attrs.field(factory=NamespaceLimits)
    enforced: bool = True
    documents: "HashTrieMap[Source, PolicyDocument]" = attrs.field(factory=HashTrieMap, repr=False)
    routes: "HashTrieMap[str | None, HashTrieMap[Source, Routes]]" = attrs.field(factory=HashTrieMap, repr=False)
    entries: int = 0
    regions: int = 0
    over_quota: frozenset[Source] = frozenset()
    over_depth: frozenset[str | None] = frozenset()

    def changed(self, documents: Changes) -> "tuple[NamespacePolicy, Differences]":
        """Return the namespace with other documents, and how its routes differ."""
        after, entries, regions = self.documents, self.entries, self.regions
        for source, document in documents.items():
            for known, sign in ((after.get(source), -1), (document, 1)):
                entries += 0 if known is None else sign * (len(known.entries) + len(known.problems))
                regions += 0 if known is None else sign * len(known.regions)
            after = after.discard(source) if document is None else after.insert(source, document)
        exceeds = entries > self.limits.entries or regions > self.limits.areas or len(after) > self.limits.documents
        over_quota = frozenset(_over_quota(after, self.limits)) if exceeds else frozenset[Source]()
        routes, differences = self.routes, Differences()
        for source in dict.fromkeys([*documents, *sorted(self.over_quota ^ over_quota)]):
            now = self._by_host(after.get(source), is_over_quota=source in over_quota)
            before = self._by_host(self.documents.get(source), is_over_quota=source in self.over_quota)
            for host in {**before, **now}:
                own = routes.get(host, _NO_ROUTES)
                own = own.insert(source, now[host]) if host in now else own.discard(source)
                routes = routes.insert(host, own) if own else routes.discard(host)
                removed, added = differences.setdefault(host, ([], []))
                removed += before.get(host, ())
                added += now.get(host, ())
        over_depth = self.over_depth.difference(differences).union(host for host in differences if depth_of(_all(routes, host)) > MAX_DEPTH)
        changed = attrs.evolve(
            self, documents=after, routes=routes, entries=entries, regions=regions, over_quota=over_quota, over_depth=over_depth
        )
        for host in differences.keys() & (self.over_depth | over_depth):
            differences[host] = (list(self.on(host)), list(changed.on(host)))
        return changed, differences

    def granted(self, allowances: tuple[Allowance, ...], *, enforced: bool = True) -> "tuple[NamespacePolicy, Differences]":
        """Return the namespace with other allowances, and how its routes differ."""
        after, added = NamespacePolicy(allowances, self.limits, enforced).changed(dict(self.documents.items()))
        return after, {host: (list(self.on(host)), list(after.on(host))) for host in {**dict(self.routes.items()), **added}}

    def on(self, host: str | None) -> Routes:
        """Return the routes on ``host``; if they make too many levels, what closes them all."""
        routes = _all(self.routes, host)
        return closing(routes, self._granted_on(host)) if host in self.over_depth else routes

    def _granted_on(self, host: str | None) -> PathSet | None:
        """Return the paths that the namespace is granted on all of ``host``; ``None`` for all paths."""
        granted: PathSet | None = None
        for allowance in self.allowances:
            if allowance is not UNLIMITED and self.enforced:
                paths = paths_of(*[one for one in allowance.near(host) if _grants_host(one, host)], in_any_reading=True)
                granted = paths if granted is None else granted.common(paths) or _NO_PATHS
        return granted

    def _by_host(self, document: PolicyDocument | None, *, is_over_quota: bool) -> dict[str | None, Routes]:
        """Return the routes of ``document`` by host."""
        found: dict[str | None, list[Route]] = {}
        claims: Iterable[Claim] = () if document is None else (*document.entries, *document.regions)
        for claim in _closed_hosts(document) if is_over_quota and document is not None else claims:
            for route in routes_of(claim, self.allowances, enforced=self.enforced):
                found.setdefault(route.match.host, []).append(route)
        return {host: tuple(own) for host, own in found.items()}


_NO_ROUTES: "Final[HashTrieMap[Source, Routes]]" = HashTrieMap()
_NO_PATHS: Final = PathSet((), in_any_reading=True)


def _all(routes: "HashTrieMap[str | None, HashTrieMap[Source, Routes]]", host: str | None) -> Routes:
    own = routes.get(host, _NO_ROUTES)
    return tuple([route for source in sorted(own) for route in own[source]])


def _over_quota(documents: "HashTrieMap[Source, PolicyDocument]", limits: NamespaceLimits) -> Iterator[Source]:
    """Yield the documents over quota: in the order of their names, the first that exceeds it and all that follow."""
    entries = regions = 0
    for count, source in enumerate(sorted(documents), 1):
        document = documents[source]
        entries += len(document.entries) + len(document.problems)
        regions += len(document.regions)
        if count > limits.documents or entries > limits.entries or regions > limits.areas:
            yield source


def _closed_hosts(document: PolicyDocument) -> Iterator[FailClosedRegion]:
    """Yield what closes all hosts that ``document`` names, for everybody; it yields to others only where all that it has there does."""
    hosts: dict[str | None, bool] = {}
    for claim in (*document.entries, *document.regions):
        hosts[claim.match.host] = Route(claim).yields_to_others and hosts.get(claim.match.host, True)
    for host, yields in hosts.items():
        problem = Problem(MANY_ENTRIES, _OVER_QUOTA)
        guessed = yields and host is not None
        yield FailClosedRegion(document.source, MatchScope(host), _OVER_QUOTA, guessed=guessed, problems=(problem,))


def routes_of(claim: Claim, allowances: Iterable[Allowance], *, enforced: bool = True) -> Routes:
    """Return what all ``allowances`` leave of an entry or region."""
    routes: Routes = (Route(claim),)
    for allowance in allowances:
        routes = tuple([left for route in routes for left in _restricted(route, allowance, enforced=enforced)])
    return routes


def _restricted(route: Route, allowance: Allowance, *, enforced: bool) -> Iterator[Route]:
    before = route.granted_paths
    for left in _left_of(route.effect, allowance, enforced=enforced):
        if before is None or left.granted_paths is None:
            yield left if before is None else Route(left.effect, before)
        elif (paths := before.common(left.granted_paths)) is not None:
            yield Route(left.effect, paths)


def _left_of(claim: Claim, allowance: Allowance, *, enforced: bool) -> Iterator[Route]:
    """Yield what ``allowance`` leaves of an entry or region: itself, or what it closes of what is granted; nothing if that is nothing.

    The paths that are granted on a host are a set, in which each look-up asks for the path. So nothing is cut into parts.
    """
    if (allowance is UNLIMITED or not enforced) and not isinstance(claim, AllowEntry):
        yield Route(claim)
        return
    near = allowance.near(claim.match.host)
    reason, code = _PARTLY, PARTLY_OUTSIDE_GRANTS
    if not isinstance(claim, FailClosedRegion) and (covering := covering_grants(claim.match, near)):
        lacking = list(missing(claim, covering))
        if not lacking:
            yield from _kept(claim, near, covering)
            return
        more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
        reason, code = f"requests what its namespace is not granted: {', '.join(lacking[:_NAMED])}{more}", NOT_GRANTED
        if any(one.paths.covers(claim.match) for one in covering):
            near = tuple(covering)  # otherwise a plain prefix also closes the other granted paths that it begins
    on_host: dict[str | None, list[Granted]] = {}
    for one in near:
        for host in common_hosts(claim.match.host, one.hosts):
            on_host.setdefault(host, []).append(one)
    for host, grants in on_host.items():
        match = attrs.evolve(claim.match.closed, host=host)
        if isinstance(claim, FailClosedRegion):
            closed = attrs.evolve(claim, match=match, guessed=claim.reaches_any_host and host is not None)
        else:
            text = f"entries[{claim.index}] {reason}"
            problems = (Problem(code, text, claim.index, line=claim.line),)
            closed = FailClosedRegion(claim.source, match, text, claim.index, claim.line, problems=problems)
        paths = paths_of(*grants, in_any_reading=True)
        if paths.intersects(match):
            yield Route(closed, None if paths.covers(match) else paths)


def refusals_of(document: PolicyDocument, allowances: tuple[Allowance, ...], *, enforced: bool = True) -> tuple[PolicyRefusal, ...]:
    """Return what has no effect in ``document`` because grants leave nothing of it, or would have none if they were ``enforced``."""
    found: dict[int | None, PolicyRefusal] = {}
    for entry in document.entries:
        routes = routes_of(entry, allowances)
        is_enforced = enforced or isinstance(entry, AllowEntry)
        regions = [route.effect for route in routes if isinstance(route.effect, FailClosedRegion)]
        if not routes:
            reason = f"{'' if is_enforced else 'would be refused: '}entries[{entry.index}] {_OUTSIDE}"
            found[entry.index] = PolicyRefusal(entry.source, entry.index, reason, line=entry.line)
        elif regions and not is_enforced:
            problem = regions[0].problems[0]
            found[entry.index] = PolicyRefusal(entry.source, entry.index, f"would be invalid: {problem.text}", problem.code, entry.line)
    closing = {region.index for region in document.regions if enforced and routes_of(region, allowances)}
    for region in document.regions if enforced else ():
        if region.index not in closing and region.index not in found:
            what = "the document" if region.index is None else f"entries[{region.index}]"
            reason = f"{what} {_OUTSIDE}; it is invalid too: {region.reason}"
            found[region.index] = PolicyRefusal(region.source, region.index, reason, line=region.line)
    return tuple(found.values())


@lru_cache(maxsize=_KEPT_SETS)
def paths_of(*grants: Granted, in_any_reading: bool = False) -> PathSet:
    """Return the paths of these grants together."""
    return PathSet.of((path for one in grants for path in one.spellings), in_any_reading=in_any_reading)


def _kept(entry: Entry, near: Iterable[Granted], covering: Iterable[Granted]) -> Iterator[Route]:
    """Yield an entry that counts: whole, or a plain prefix on its whole segments, and on all other granted paths where it may count."""
    match, closes = entry.match, isinstance(entry, DenyEntry)
    if any(one.paths.covers(match) for one in covering):
        yield Route(entry)
        return
    on_host: dict[str | None, list[Granted]] = {match.host: []}
    for one in near:
        for host in common_hosts(match.host, one.hosts) if _may_use(entry, one) else ():
            on_host.setdefault(host, []).append(one)
    for host, grants in on_host.items():
        paths = paths_of(*grants, in_any_reading=closes)
        if host == match.host and not paths.covers(attrs.evolve(match, path_type=PathType.SEGMENT)):
            paths = PathSet.of((*paths.prefixes, *prefix_spellings(match.path_prefix).all), in_any_reading=closes)
        if paths.intersects(match):
            yield Route(entry if host == match.host else attrs.evolve(entry, match=attrs.evolve(match, host=host)), paths)


def _may_use(entry: Entry, one: Granted) -> bool:
    """Return whether a plain prefix may also count on other paths of a grant: a denial on all, and no more than is granted there."""
    return isinstance(entry, DenyEntry) or (isinstance(entry, ExchangeEntry) and not any(True for _ in missing(entry, [one])))


def covering_grants(scope: MatchScope, near: Iterable[Granted]) -> list[Granted]:
    """Return the grants that cover ``scope``; if none does, those of what its author most likely means: whole segments below a prefix."""
    there = [one for one in near if _grants_host(one, scope.host)]
    found = [one for one in there if one.paths.covers(scope)]
    if found or scope.path_type is not PathType.PREFIX:
        return found
    segments = attrs.evolve(scope, path_type=PathType.SEGMENT)
    return [one for one in there if scope.path_prefix in one.prefixes and one.paths.covers(segments)]


def _grants_host(one: Granted, host: str | None) -> bool:
    return any(covers_host(None if other == ANYTHING else other, host) for other in one.hosts)


def depth_of(routes: Routes) -> int:
    """Return the most levels that ``routes``, all on one host, make of one path."""
    if len(routes) <= MAX_DEPTH // (1 + _HEADERS):
        return 0  # nearly always
    levels: dict[str, set[tuple[object, ...]]] = {}
    for route in routes:
        match = route.match
        place = (match.path_type, match.case_insensitive, route.granted_paths, tuple([name for name, _ in match.headers]))
        spellings = spellings_of(match)
        for decoded, texts in ((False, spellings.literal), (True, spellings.rewritten)):
            for text in texts:
                levels.setdefault(fold(text), set()).add((*place, decoded))
    most, above = 0, [("", 0)]
    for prefix in sorted(levels):
        while not prefix.startswith(above[-1][0]):
            above.pop()
        depth = above[-1][1] + sum(1 + _HEADERS * bool(names) for *_, names, _ in levels[prefix])
        above.append((prefix, depth))
        most = max(most, depth)
    return most


def closing(routes: Routes, granted_paths: PathSet | None = None) -> Routes:
    """Return what closes all that ``routes``, on one host, cover within ``granted_paths``: few levels, for all methods.

    These are the outermost prefixes or, if even they make too many levels, the host. What yields to others covers nothing that does not.
    """
    outermost: list[Route] = []
    whole: dict[bool, Route] = {}
    above: list[tuple[str, Route]] = []
    for route in sorted(routes, key=lambda one: (fold(one.match.path_prefix), not one.match.case_insensitive)):
        effect, yields = route.effect, route.yields_to_others
        path_type = PathType.PREFIX if route.match.path_type is PathType.EXACT else route.match.path_type
        match = attrs.evolve(route.match.closed, methods=None, path_type=path_type)
        problems = (Problem(DEEP_ENTRIES, _OVER_DEPTH, effect.index, line=effect.line),)
        guessed = yields and match.host is not None
        region = FailClosedRegion(effect.source, match, _OVER_DEPTH, effect.index, effect.line, guessed=guessed, problems=problems)
        whole.setdefault(yields, Route(attrs.evolve(region, match=MatchScope(match.host)), granted_paths))
        prefix = fold(match.path_prefix)
        while above and not prefix.startswith(above[-1][0]):
            above.pop()
        if not any(covers_path(one.match, match) and one.yields_to_others <= yields for _, one in above):
            own = Route(region, None if granted_paths is None or granted_paths.covers(match) else granted_paths)
            above.append((prefix, own))
            outermost.append(own)
    return tuple(outermost) if depth_of(tuple(outermost)) <= MAX_DEPTH else tuple(whole.values())
