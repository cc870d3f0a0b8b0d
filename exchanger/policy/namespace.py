"""The policy of one namespace: its documents, what it is granted, and its limits, and the routes that follow, by host.

A document counts whole, or it is over quota: then it fails closed on the hosts that it names, as far as they are granted. Everything
depends on the namespace's own documents alone, in whatever order they came.

Must not know: other namespaces, or requests.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from operator import attrgetter
from typing import Final, TypeAlias, TypeVar, final

import attrs
from rpds import HashTrieMap

from exchanger.codes.code import Code
from exchanger.codes.grants import NOT_GRANTED, PARTLY_OUTSIDE_GRANTS
from exchanger.codes.manifests import DEEP_ENTRIES, MANY_AREAS, MANY_DOCUMENTS, MANY_ENTRIES
from exchanger.codes.problem import Problem
from exchanger.policy.authority import WILDCARD
from exchanger.policy.documents.document import Labels, PolicyDocument, PolicyRefusal
from exchanger.policy.grants.allowance import UNLIMITED, Allowance, Granted, HostGrants, NearGrants, missing, paths_of
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.prefix import fold, prefix_spellings, spellings_of
from exchanger.policy.scope import PathSet, Route, covers_path
from exchanger.values.entry import AllowEntry, Claim, DenyEntry, Entry, ExchangeEntry, FailClosedRegion, MatchScope, PathType, Source

# Levels that the routes of one namespace may add to a path on one host, each about a microsecond. Where entries name headers, their level
# counts four more, and one for each combination of names.
MAX_DEPTH: Final = 24
_HEADERS: Final = 4
# Routes of claims that cover several granted hosts, half a kilobyte each. An unreadable document in a namespace with a thousand granted
# hosts makes a thousand.
MAX_SPREAD: Final = 10_000
# Hosts of which the granted ones are kept: a document may name one wildcard in every entry.
_KEPT_HOSTS: Final = 64
# Missing grants that a reason names.
_NAMED: Final = 4
_OUTSIDE: Final = "is outside the hosts and paths that its namespace is granted"
_PARTLY: Final = "covers more than its namespace is granted"
_OVER_SPREAD: Final = f"wildcards and mistakes of its namespace fail closed in more than {MAX_SPREAD} scopes on granted hosts"
_OVER_DEPTH: Final = f"the prefixes of its namespace make more than {MAX_DEPTH} levels on one path of its host"
# The codes of what fails closed because of a namespace's limits.
QUOTA_CODES: Final = frozenset({MANY_ENTRIES, MANY_AREAS, MANY_DOCUMENTS, DEEP_ENTRIES})

T = TypeVar("T")

Routes: TypeAlias = tuple[Route, ...]
# The document of each source from now on, ``None`` for none.
Changes: TypeAlias = Mapping[Source, PolicyDocument | None]
# For hosts that cover several granted ones: the most routes that claims on them make, and whether all of these yield to others.
Spans: TypeAlias = "HashTrieMap[str | None, tuple[int, bool]]"
# The routes that are removed from each host, and those that are added there.
Differences: TypeAlias = dict[str | None, tuple[list[Route], list[Route]]]


@final
@attrs.frozen(eq=False)
class EffectiveDocument:
    """A document, and what grants and limits leave of it in its namespace.

    ``document`` is as its author wrote it. ``entries`` are those that decide requests, ``problems`` the first region of the document or of
    each invalid entry, and ``refused`` what is outside the grants. ``used_entries`` and ``used_regions`` count towards the quota. Of a
    document that ``is_over_quota``, only the text and the hosts that it names are kept: it must be read again when there is room. ``spans``
    are the hosts of its claims that cover several granted ones.
    """

    document: PolicyDocument
    routes: "HashTrieMap[str | None, Routes]" = attrs.field(repr=False)
    entries: tuple[Entry, ...]
    problems: tuple[FailClosedRegion, ...]
    refused: tuple[PolicyRefusal, ...]
    used_entries: int
    used_regions: int
    is_over_quota: bool = False
    spans: "HashTrieMap[str | None, tuple[int, bool]]" = attrs.field(factory=HashTrieMap, repr=False)

    @property
    def source(self) -> Source:
        """The object that the document is from."""
        return self.document.source

    @property
    def text(self) -> str | None:
        """The document as its author wrote it, ``None`` if it is missing or unknown."""
        return self.document.text

    @property
    def entry_count(self) -> int:
        """The number of entries that decide requests."""
        return len(self.entries)

    def is_like(self, other: "EffectiveDocument | None") -> bool:
        """Return whether ``other`` has the same text, and says and does the same."""
        return other is not None and (self.document, self.text, self.entries, self.problems, self.refused, self.is_over_quota) == (
            other.document,
            other.text,
            other.entries,
            other.problems,
            other.refused,
            other.is_over_quota,
        )

    @property
    def findings(self) -> tuple[Problem, ...]:
        """Everything that is wrong: its author's mistakes, and what exceeds grants and limits, in the order of entries."""
        invalid = {region.index for region in self.document.problems}
        found = [*self.document.findings, *[one for region in self.problems if region.index not in invalid for one in region.problems]]
        found += [Problem(refusal.code, refusal.reason, refusal.index, line=refusal.line) for refusal in self.refused]
        return tuple(sorted(found, key=lambda problem: -1 if problem.entry is None else problem.entry))


@final
@attrs.frozen(eq=False)
class NamespacePolicy:
    """The documents of a namespace, and their ``routes`` by host and document. ``used_entries`` and ``used_regions`` count for the quota.

    ``labels`` describe the namespace, several times if files disagree. It is granted what all ``allowances`` grant, of which there is one
    for each description. ``over_quota`` has the documents over quota, with the limit that the first of them exceeds, and ``over_depth``
    the hosts on which all routes fail closed. ``enforced``: if false, grants restrict nothing but what lets requests pass.

    ``spread`` counts the routes of claims that cover several granted hosts; beyond ``MAX_SPREAD``, these hosts fail closed as a whole, by
    ``wide`` routes.
    """

    labels: tuple[Labels, ...] = ()
    allowances: tuple[Allowance, ...] = (UNLIMITED,)
    limits: NamespaceLimits = attrs.field(factory=NamespaceLimits)
    enforced: bool = True
    documents: "HashTrieMap[Source, EffectiveDocument]" = attrs.field(factory=HashTrieMap, repr=False)
    routes: "HashTrieMap[str | None, HashTrieMap[Source, Routes]]" = attrs.field(factory=HashTrieMap, repr=False)
    used_entries: int = 0
    used_regions: int = 0
    over_quota: "HashTrieMap[Source, Code]" = attrs.field(factory=HashTrieMap)
    over_depth: frozenset[str | None] = frozenset()
    spread: int = 0
    wide: "HashTrieMap[str | None, Routes]" = attrs.field(factory=HashTrieMap, repr=False)
    # The documents that ``wide`` follows from.
    wide_by: "HashTrieMap[tuple[str | None, bool], Source]" = attrs.field(factory=HashTrieMap, repr=False)
    entry_count: int = 0
    invalid_documents: int = 0
    refused_count: int = 0
    # Documents that were over quota, and for which there is room now: of these only the text is known.
    to_read_again: frozenset[Source] = frozenset()

    def changed(self, documents: Changes) -> "tuple[NamespacePolicy, Differences]":
        """Return the namespace with other documents, and how its routes differ."""
        return self._with({source: None if one is None else _Content.of(one) for source, one in documents.items()})

    def granted(
        self, labels: tuple[Labels, ...], allowances: tuple[Allowance, ...], limits: NamespaceLimits, *, enforced: bool = True
    ) -> "NamespacePolicy":
        """Return the namespace under other allowances and limits."""
        contents = {source: _Content.known(one) for source, one in self.documents.items()}
        return NamespacePolicy(labels, allowances, limits, enforced)._with(contents)[0]  # noqa: SLF001 - of the same class

    def on(self, host: str | None) -> Routes:
        """Return the routes on ``host``; if they make too many levels, what closes them all."""
        routes = _all(self.routes, host)
        return closing(routes, self._granted_on(host, enforced=self.enforced)) if host in self.over_depth else routes

    def _with(self, contents: "Mapping[Source, _Content | None]") -> "tuple[NamespacePolicy, Differences]":
        used_entries, used_regions, count = self.used_entries, self.used_regions, len(self.documents)
        for source, content in contents.items():
            known = self.documents.get(source)
            used_entries += (0 if content is None else content.used_entries) - (0 if known is None else known.used_entries)
            used_regions += (0 if content is None else content.used_regions) - (0 if known is None else known.used_regions)
            count += (content is not None) - (known is not None)
        exceeds = used_entries > self.limits.entries or used_regions > self.limits.areas or count > self.limits.documents
        over_quota = self._over_quota(contents) if exceeds else {}
        ever_over = keys_of(over_quota, self.over_quota)
        otherwise = [source for source in ever_over if over_quota.get(source) is not self.over_quota.get(source)]
        touched, affected = dict.fromkeys([*contents, *sorted(otherwise)]), dict[Source, _Content | None]()
        for source in touched:
            before = self.documents.get(source)
            content = contents[source] if source in contents else before and _Content.known(before)
            content = content and content.within(over_quota.get(source), self.limits)
            if content is None or before is None or content.document is not before.document:
                affected[source] = content
        spans = {source: _NO_SPANS if content is None else self._spans(content.document) for source, content in affected.items()}
        spread = self.spread
        for source in affected:
            spread += _spread(spans[source]) - _spread(_NO_SPANS if (known := self.documents.get(source)) is None else known.spans)
        is_wide = spread > MAX_SPREAD
        if is_wide is not (self.spread > MAX_SPREAD):
            others = {source: one for source, one in self.documents.items() if one.spans and source not in affected}
            affected |= {source: _Content.known(one) for source, one in others.items()}
            spans |= {source: one.spans for source, one in others.items()}
        documents, changes = self.documents, list[tuple[Source, Mapping[str | None, Routes], Mapping[str | None, Routes]]]()
        for source, content in affected.items():
            before, after = documents.get(source), None if content is None else self._effective(content, spans[source], is_wide=is_wide)
            documents = documents.discard(source) if after is None else documents.insert(source, after)
            changes.append((source, {} if before is None else before.routes, {} if after is None else after.routes))
        first = _first_of(documents.values()) if is_wide else _NOTHING_FIRST
        wide = self.wide if first == self.wide_by else self._wide(first)
        renewed = [] if wide is self.wide else [host for host in keys_of(self.wide, wide) if self.wide.get(host) != wide.get(host)]
        old, new = ({host: one[host] for host in renewed if host in one} for one in (self.wide, wide))
        changes.append((_WIDE, old, new))
        routes, differences = _changed_routes(self.routes, changes)
        over_depth = self.over_depth.difference(differences).union(host for host in differences if depth_of(_all(routes, host)) > MAX_DEPTH)
        if over_depth or self.over_depth:
            there = {source for host in over_depth ^ self.over_depth for source in routes.get(host, _NO_ROUTES)}
            there.update(source for source in affected if source in documents and not over_depth.isdisjoint(documents[source].routes))
            for source, shallow in [(source, documents[source]) for source in there if source in documents]:
                affected[source] = content = _Content.known(shallow)
                documents = documents.insert(source, self._effective(content, shallow.spans, over_depth, is_wide=is_wide))
        entries, invalid, refused = self.entry_count, self.invalid_documents, self.refused_count
        for source in affected:
            for one, sign in ((self.documents.get(source), -1), (documents.get(source), 1)):
                entries += 0 if one is None else sign * one.entry_count
                invalid += 0 if one is None else sign * bool(one.problems)
                refused += 0 if one is None else sign * len(one.refused)
        read_again = (source for source in {*self.to_read_again, *touched} - over_quota.keys() if source in documents)
        changed = attrs.evolve(
            self,
            documents=documents,
            routes=routes,
            used_entries=used_entries,
            used_regions=used_regions,
            over_quota=HashTrieMap(over_quota),
            over_depth=over_depth,
            spread=spread,
            wide=wide,
            wide_by=first,
            entry_count=entries,
            invalid_documents=invalid,
            refused_count=refused,
            to_read_again=frozenset(source for source in read_again if documents[source].is_over_quota),
        )
        for host in differences.keys() & (self.over_depth | over_depth):
            differences[host] = (list(self.on(host)), list(changed.on(host)))
        return changed, differences

    def _over_quota(self, contents: "Mapping[Source, _Content | None]") -> dict[Source, Code]:
        """Return the documents over quota, in the order of their names: the first that exceeds a limit, and all that follow."""
        limits, found = self.limits, dict[Source, Code]()
        entries = regions = count = 0
        exceeded: Code | None = None
        for source in sorted(keys_of(self.documents, contents), key=_name):
            content = contents[source] if source in contents else self.documents[source]
            if content is None:
                continue
            count, entries, regions = count + 1, entries + content.used_entries, regions + content.used_regions
            if exceeded is None and count > limits.documents:
                exceeded = MANY_DOCUMENTS
            elif exceeded is None and entries > limits.entries:
                exceeded = MANY_ENTRIES
            elif exceeded is None and regions > limits.areas:
                exceeded = MANY_AREAS
            if exceeded is not None:
                found[source] = exceeded
        return found

    def _spans(self, document: PolicyDocument) -> Spans:
        """Return the hosts of claims that cover several granted ones."""
        spans: dict[str | None, tuple[int, bool]] = {}
        for claim in (*document.entries, *document.regions):
            if count := self._span(claim):
                known, yields = spans.get(claim.match.host, (0, True))
                spans[claim.match.host] = known + count, yields and Route(claim).yields_to_others
        return HashTrieMap(spans)

    def _span(self, claim: Claim) -> int:
        """Return the most routes that ``claim`` makes, 0 if it makes one at most."""
        host = claim.match.host
        if (host is not None and not host.startswith(WILDCARD)) or not (self.enforced or isinstance(claim, AllowEntry)):
            return 0
        count = len(_granted_hosts(host, self.allowances))
        is_granted = not isinstance(claim, FailClosedRegion) and all(_grants_all(one, claim.match) for one in self.allowances)
        return 0 if count <= 1 or is_granted else count

    def _wide(self, first: "HashTrieMap[tuple[str | None, bool], Source]") -> "HashTrieMap[str | None, Routes]":
        """Return what closes all granted hosts that are covered by the hosts of claims that cover several."""
        closed: dict[str | None, tuple[bool, Source]] = {}
        for (host, yields), source in first.items():
            for granted in _granted_hosts(host, self.allowances):
                closed[granted] = min((yields, source), closed.get(granted, (yields, source)))
        wide: dict[str | None, Routes] = {}
        for host, (yields, source) in closed.items():
            paths = self._granted_on(host, enforced=True)
            if paths is None or paths.prefixes:
                wide[host] = (Route(_wide_region(source, host, guessed=yields and host is not None), paths),)
        return HashTrieMap(wide)

    def _effective(
        self, content: "_Content", spans: Spans, over_depth: frozenset[str | None] = frozenset(), *, is_wide: bool
    ) -> EffectiveDocument:
        """Return what grants and limits leave of a document."""
        document = content.document
        found = list[tuple[Claim, Routes]]()
        # Regions of one entry may be equal once they are on the same granted host; hosts count their routes, and each must be there once.
        by_host: dict[str | None, dict[Route, None]] = {}
        for claim in (*document.entries, *document.regions):
            if is_wide and claim.match.host in spans and self._span(claim):
                effect = (
                    claim if isinstance(claim, FailClosedRegion) else _closed(claim, claim.match.closed, _PARTLY, PARTLY_OUTSIDE_GRANTS)
                )
                found.append((claim, (Route(effect),)))  # wide routes close its hosts
                continue
            routes = routes_of(claim, self.allowances, enforced=self.enforced)
            found.append((claim, routes))
            for route in routes:
                by_host.setdefault(route.match.host, {})[route] = None
        entries, problems, refused = document.entries, document.problems, tuple[PolicyRefusal, ...]()
        if self.allowances != (UNLIMITED,) or any(isinstance(entry, AllowEntry) for entry in entries):
            granted = {claim.index for claim, routes in found if routes}
            effects = [route.effect for _, routes in found for route in reversed(routes)]
            closed = {effect.index: effect for effect in effects if isinstance(effect, FailClosedRegion)}
            if not self.enforced or not all(routes for _, routes in found):
                refused = refusals_of(document, self.allowances, enforced=self.enforced)
            problems = tuple([region for region in problems if region.index in granted])
            problems += tuple([closed[entry.index] for entry in entries if entry.index in closed])
            entries = tuple([entry for entry in entries if entry.index in granted and entry.index not in closed])
        deep = {
            route.effect.index: _too_deep(route.effect)
            for host in over_depth & by_host.keys()
            for route in by_host[host]
            if not isinstance(route.effect, FailClosedRegion)
        }
        if deep:
            problems = (*problems, *[deep[entry.index] for entry in entries if entry.index in deep])
            entries = tuple([entry for entry in entries if entry.index not in deep])
        if is_wide and spans and all(region.index is not None for region in problems):  # an unreadable document has its own reason
            problems = (_wide_region(document.source, min(spans, key=str), guessed=False), *problems)
        return EffectiveDocument(
            document,
            HashTrieMap({host: tuple(routes) for host, routes in by_host.items()}),
            entries,
            problems,
            refused,
            content.used_entries,
            content.used_regions,
            content.is_over_quota,
            spans,
        )

    def _granted_on(self, host: str | None, *, enforced: bool) -> PathSet | None:
        """Return the paths that the namespace is granted on all of ``host`` if grants are ``enforced``; ``None`` for all paths."""
        granted: PathSet | None = None
        for allowance in self.allowances:
            if allowance is not UNLIMITED and enforced:
                paths = allowance.near(host).there.closing_paths
                granted = paths if granted is None else granted.common(paths) or _NO_PATHS
        return granted


@final
@attrs.frozen(eq=False)
class _Content:
    """A document, and what it counts towards the quota, also if only its text and hosts are kept."""

    document: PolicyDocument
    used_entries: int
    used_regions: int
    is_over_quota: bool = False

    @classmethod
    def of(cls, document: PolicyDocument) -> "_Content":
        return cls(document, len(document.entries) + len(document.problems), len(document.regions))

    @classmethod
    def known(cls, effective: EffectiveDocument) -> "_Content":
        return cls(effective.document, effective.used_entries, effective.used_regions, effective.is_over_quota)

    def within(self, exceeded: Code | None, limits: NamespaceLimits) -> "_Content":
        """Return the content, reduced if its document is over quota for the limit ``exceeded``."""
        is_small = not self.document.entries and len(self.document.regions) <= 1  # what is unreadable keeps its own reason
        if exceeded is None or (is_small and not self.is_over_quota):
            return self
        regions = tuple(_closed_hosts(self.document, exceeded, limits))
        if self.is_over_quota and regions == self.document.regions:
            return self
        return attrs.evolve(self, document=attrs.evolve(self.document, entries=(), regions=regions), is_over_quota=True)


# Stands for a document among the routes of a namespace: those that fail closed for all documents together.
_WIDE: Final = Source("", "")
_NO_ROUTES: "Final[HashTrieMap[Source, Routes]]" = HashTrieMap()
_NO_SPANS: "Final[HashTrieMap[str | None, tuple[int, bool]]]" = HashTrieMap()
_NOTHING_FIRST: "Final[HashTrieMap[tuple[str | None, bool], Source]]" = HashTrieMap()
_NO_PATHS: Final = PathSet((), in_any_reading=True)
_name = attrgetter("kind", "name")  # the order of sources of one namespace, ten times as fast as their comparison


def keys_of(*tables: Iterable[T]) -> dict[T, None]:
    """Return all keys of ``tables`` in a loop, in which other threads have their turns: a persistent map of 10,000 is copied in 15 ms."""
    return {key: None for table in tables for key in table}


def _all(routes: "HashTrieMap[str | None, HashTrieMap[Source, Routes]]", host: str | None) -> Routes:
    own = routes.get(host, _NO_ROUTES)
    return tuple([route for source in sorted(own, key=_name) for route in own[source]])


def _changed_routes(
    routes: "HashTrieMap[str | None, HashTrieMap[Source, Routes]]",
    changes: Iterable[tuple[Source, Mapping[str | None, Routes], Mapping[str | None, Routes]]],
) -> "tuple[HashTrieMap[str | None, HashTrieMap[Source, Routes]], Differences]":
    """Return the routes by host and document where those of some documents are others, and the differences."""
    differences = Differences()
    for source, old, new in changes:
        for host in keys_of(old, new):
            own = routes.get(host, _NO_ROUTES)
            own = own.insert(source, new[host]) if host in new else own.discard(source)
            routes = routes.insert(host, own) if own else routes.discard(host)
            removed, added = differences.setdefault(host, ([], []))
            removed += old.get(host, ())
            added += new.get(host, ())
    return routes, differences


def _spread(spans: Spans) -> int:
    return sum(count for count, _ in spans.values())


def _closed_hosts(document: PolicyDocument, exceeded: Code, limits: NamespaceLimits) -> Iterator[FailClosedRegion]:
    """Yield what fails closed on all hosts that ``document`` names, for everybody; it yields to others only where all of it there does."""
    hosts: dict[str | None, bool] = {}
    for claim in (*document.entries, *document.regions):
        hosts[claim.match.host] = Route(claim).yields_to_others and hosts.get(claim.match.host, True)
    limit = {
        MANY_ENTRIES: f"{limits.entries} entries",
        MANY_AREAS: f"{limits.areas} scopes that fail closed",
        MANY_DOCUMENTS: f"{limits.documents} documents",
    }[exceeded]
    text = f"the document fails closed on the hosts that it names: its namespace has more than {limit}"
    for host, yields in hosts.items():
        guessed = yields and host is not None
        yield FailClosedRegion(document.source, MatchScope(host), text, guessed=guessed, problems=(Problem(exceeded, text),))


def _first_of(documents: Iterable[EffectiveDocument]) -> "HashTrieMap[tuple[str | None, bool], Source]":
    """Return the first document with each host that covers several granted ones, by whether all of its claims there yield to others."""
    first: dict[tuple[str | None, bool], Source] = {}
    for document in sorted((one for one in documents if one.spans), key=attrgetter("source")):
        for host, (_, yields) in document.spans.items():
            first.setdefault((host, yields), document.source)
    return HashTrieMap(first)


def _wide_region(source: Source, host: str | None, *, guessed: bool) -> FailClosedRegion:
    problems = (Problem(MANY_AREAS, _OVER_SPREAD),)
    return FailClosedRegion(source, MatchScope(host), _OVER_SPREAD, guessed=guessed, problems=problems)


def _too_deep(entry: Entry) -> FailClosedRegion:
    return _closed(entry, entry.match.closed, f"fails closed: {_OVER_DEPTH}", DEEP_ENTRIES)


def routes_of(claim: Claim, allowances: Iterable[Allowance], *, enforced: bool = True) -> Routes:
    """Return what all ``allowances`` leave of an entry or region: one route for each host."""
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
    """Yield what ``allowance`` leaves of an entry or region: itself, or what it closes of what is granted; nothing if that is nothing.

    The paths that are granted on a host are a set, in which each look-up asks for the path. So nothing is cut into parts.
    """
    if (allowance is UNLIMITED or not enforced) and not isinstance(claim, AllowEntry):
        yield Route(claim)
        return
    near = allowance.near(claim.match.host)
    parts: Iterable[tuple[str | None, PathSet]]
    parts = ((host, grants.closing_paths) for host, grants in near.by_host(claim.match.host))
    reason, code = _PARTLY, PARTLY_OUTSIDE_GRANTS
    if not isinstance(claim, FailClosedRegion) and (covering := near.there.covering(claim.match)):
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
        if isinstance(claim, FailClosedRegion):
            closed = attrs.evolve(claim, match=match, guessed=claim.reaches_any_host and host is not None)
        else:
            closed = _closed(claim, match, reason, code)
        if paths.intersects(match):
            yield Route(closed, None if paths.covers(match) else paths)


def _closed(entry: Entry, match: MatchScope, reason: str, code: Code) -> FailClosedRegion:
    text = f"entries[{entry.index}] {reason}"
    problems = (Problem(code, text, entry.index, line=entry.line),)
    return FailClosedRegion(entry.source, match, text, entry.index, entry.line, problems=problems)


def refusals_of(document: PolicyDocument, allowances: tuple[Allowance, ...], *, enforced: bool = True) -> tuple[PolicyRefusal, ...]:
    """Return what has no effect in ``document`` because grants leave nothing of it, or would have none if they were ``enforced``."""
    found: dict[int | None, PolicyRefusal] = {}
    for entry in document.entries:
        left = next(_each_left(entry, allowances), None)
        is_enforced = enforced or isinstance(entry, AllowEntry)
        if left is None:
            reason = f"{'' if is_enforced else 'would be refused: '}entries[{entry.index}] {_OUTSIDE}"
            found[entry.index] = PolicyRefusal(entry.source, entry.index, reason, line=entry.line)
        elif isinstance(left.effect, FailClosedRegion) and not is_enforced:
            problem = left.effect.problems[0]
            found[entry.index] = PolicyRefusal(entry.source, entry.index, f"would be invalid: {problem.text}", problem.code, entry.line)
    closing = {region.index for region in document.regions if enforced and any(True for _ in _each_left(region, allowances))}
    for region in document.regions if enforced else ():
        if region.index not in closing and region.index not in found:
            what = "the document" if region.index is None else f"entries[{region.index}]"
            reason = f"{what} {_OUTSIDE}; it is invalid too: {region.reason}"
            found[region.index] = PolicyRefusal(region.source, region.index, reason, line=region.line)
    return tuple(found.values())


def _kept(entry: Entry, near: NearGrants, covering: Iterable[Granted]) -> Iterator[Route]:
    """Yield an entry that counts: whole, or a plain prefix on its whole segments, and on all other granted paths where it may count."""
    match, closes = entry.match, isinstance(entry, DenyEntry)
    if any(one.paths.covers(match) for one in covering):
        yield Route(entry)
        return
    for host, grants in near.by_host(match.host):
        paths = grants.closing_paths if closes else paths_of(*_usable(entry, grants))
        if host == match.host and not paths.covers(attrs.evolve(match, path_type=PathType.SEGMENT)):
            paths = PathSet.of((*paths.prefixes, *prefix_spellings(match.path_prefix).all), in_any_reading=closes)
        if paths.intersects(match):
            yield Route(entry if host == match.host else attrs.evolve(entry, match=attrs.evolve(match, host=host)), paths)


def _usable(entry: Entry, grants: HostGrants) -> Iterator[Granted]:
    """Yield the grants on whose other paths a plain prefix that lets requests pass may count: those that grant all of it."""
    for one in grants.beside(entry.match.path_prefix) if isinstance(entry, ExchangeEntry) else ():
        if not any(True for _ in missing(entry, [one])):
            yield one


def _grants_all(allowance: Allowance, scope: MatchScope) -> bool:
    return any(one.paths.covers(scope) for one in allowance.near(scope.host).there.covering(scope))


@lru_cache(maxsize=_KEPT_HOSTS)
def _granted_hosts(host: str | None, allowances: tuple[Allowance, ...]) -> tuple[str | None, ...]:
    """Return the hosts that ``host`` and all ``allowances`` have in common."""
    hosts: dict[str | None, None] = {host: None}
    for allowance in allowances:
        hosts = {other: None for one in hosts for other, grants in allowance.near(one).by_host(one) if grants.granted}
    return tuple(hosts)


def depth_of(routes: Routes) -> int:
    """Return the most levels that ``routes``, all on one host, make of one path."""
    if len(routes) <= MAX_DEPTH // (2 + _HEADERS):
        return 0  # nearly always
    levels: dict[str, dict[tuple[object, ...], set[tuple[str, ...]]]] = {}
    for route in routes:
        match = route.match
        place, names = (match.path_type, match.case_insensitive, route.granted_paths), tuple([name for name, _ in match.headers])
        spellings = spellings_of(match)
        for decoded, texts in ((False, spellings.literal), (True, spellings.rewritten)):
            for text in texts:
                levels.setdefault(fold(text), {}).setdefault((*place, decoded), set()).add(names)
    most, above = 0, [("", 0)]
    for prefix in sorted(levels):
        while not prefix.startswith(above[-1][0]):
            above.pop()
        depth = above[-1][1] + sum(_weight(names - {()}) for names in levels[prefix].values())
        above.append((prefix, depth))
        most = max(most, depth)
    return most


def _weight(combinations: set[tuple[str, ...]]) -> int:
    return 1 + _HEADERS * bool(combinations) + len(combinations)


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
