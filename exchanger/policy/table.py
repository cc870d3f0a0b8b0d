"""The routes of one host, and of all hosts: built whole from entries and fail-closed scopes, and never changed.

Must not know: documents, grants, or how a request is read.
"""

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias, final

import attrs
from rpds import HashTrieMap

from exchanger.model.authority import MAX_WILDCARD, WILDCARD, wildcards_above
from exchanger.model.entry import Entry, FailClosedScope, PathType
from exchanger.model.policy_decision import Unhealthy
from exchanger.policy.headers import canonical
from exchanger.policy.path import certain_part, is_uncertain
from exchanger.policy.prefix import fold, spellings_of
from exchanger.policy.scope import PathSet, Route, order_of
from exchanger.policy.trie import PathTrie

CONFLICT: Final = Unhealthy("more than one entry has this host, method and longest matching pathPrefix")
SEVERAL_CLOSED_SCOPES: Final = Unhealthy("more than one invalid entry or unreadable document covers this request")

# The names of some headers, sorted; entries by the values of these; and what is certain of the values.
HeaderRoutes: TypeAlias = "tuple[tuple[str, ...], HashTrieMap[tuple[str, ...], Entry | Unhealthy], frozenset[tuple[str, ...]]]"


@final
@attrs.frozen
class Rules:
    """What routes do that are equal but for their headers, decided when they are built: ``Unhealthy`` where several decide.

    ``by_headers``: entries that name headers. ``names``: all header names, canonical and as written. ``yielding``: what fails closed unless
    an entry of another namespace decides, by namespace.
    """

    closed: Unhealthy | None = None
    entry: Entry | Unhealthy | None = None
    by_headers: tuple[HeaderRoutes, ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    yielding: tuple[tuple[str, Unhealthy], ...] = ()

    @classmethod
    def of(cls, routes: Iterable[Route]) -> "Rules":
        """Return the rules of ``routes``."""
        closed: Unhealthy | None = None
        entries: dict[tuple[str, ...], dict[tuple[str, ...], Entry | Unhealthy]] = {}
        yielding: dict[str, Unhealthy] = {}
        for route in routes:
            effect = route.effect
            if not isinstance(effect, FailClosedScope):
                names, values = zip(*effect.match.headers, strict=True) if effect.match.headers else ((), ())
                own = entries.setdefault(names, {})
                own[values] = CONFLICT if values in own else effect
                continue
            why = Unhealthy(effect.reason, effect.source, effect.index)
            if effect.reaches_any_host:
                yielding[effect.source.namespace] = SEVERAL_CLOSED_SCOPES if effect.source.namespace in yielding else why
            else:
                closed = why if closed is None else SEVERAL_CLOSED_SCOPES
        entry = entries.pop((), {}).get(())
        if not entries and not yielding:
            return cls(closed, entry)
        names_of = dict.fromkeys((canonical(name), name) for names in entries for name in names)
        by_headers = tuple(
            (names, HashTrieMap(own), frozenset(tuple(map(certain_part, values)) for values in own)) for names, own in entries.items()
        )
        return cls(closed, entry, by_headers, tuple(names_of), tuple(yielding.items()))

    def beside(self, other: "Rules") -> "Rules":
        """Return the rules of both. A look-up compares entries of equal headers, so none is copied."""
        closed = SEVERAL_CLOSED_SCOPES if self.closed and other.closed else self.closed or other.closed
        entry = CONFLICT if self.entry and other.entry else self.entry or other.entry
        return Rules(closed, entry, self.by_headers + other.by_headers, self.names + other.names, self.yielding + other.yielding)


# What the routes of a level have in common: path type, whether the prefix is a decoded spelling, and the granted paths.
_Place: TypeAlias = tuple[PathType, bool, PathSet | None]


@final
@attrs.frozen
class Level:
    """The routes at one prefix of ``length`` characters that are equal in the order of entries but for their headers.

    ``every``: the rules for all methods that ``named`` does not have, or for ``methods`` alone if ``named`` is ``None``. ``decoded``: the
    prefix is a decoded spelling of the written one. ``granted_paths``: the routes cover paths in this set alone.
    ``is_simple``: they apply by path and method alone.
    """

    order: int
    length: int
    path_type: PathType
    decoded: bool
    granted_paths: PathSet | None
    routes: tuple[Route, ...] = attrs.field(repr=False)
    methods: frozenset[str] | None
    every: Rules | None
    named: "HashTrieMap[str, Rules] | None"
    is_simple: bool = attrs.field(init=False, repr=False)

    @is_simple.default
    def _depends_on_no_more(self) -> bool:
        return not (self.decoded or self.granted_paths is not None or any(route.match.headers for route in self.routes))

    @classmethod
    def of(cls, length: int, place: _Place, routes: tuple[Route, ...]) -> "Level":
        """Return the level of ``routes``."""
        path_type, decoded, granted_paths = place
        order, methods = order_of(length, path_type, decoded=decoded), routes[0].match.methods
        if all(route.match.methods == methods for route in routes):  # nearly always
            return cls(order, length, path_type, decoded, granted_paths, routes, methods, Rules.of(routes), None)
        rest = [route for route in routes if route.match.methods is None]
        by_method: dict[str, list[Route]] = {}
        for route in routes:
            for method in route.match.methods or ():
                by_method.setdefault(method, []).append(route)
        # Rules for every method are shared: with as many methods as entries, copies would be their square.
        named = HashTrieMap({method: Rules.of(own) for method, own in by_method.items()})
        return cls(order, length, path_type, decoded, granted_paths, routes, None, Rules.of(rest) if rest else None, named)

    @property
    def place(self) -> _Place:
        """What its routes have in common."""
        return self.path_type, self.decoded, self.granted_paths

    def rules(self, method: str) -> Rules | None:
        """Return the rules for ``method``."""
        if self.named is not None:
            own = self.named.get(method)
            return self.every if own is None else own if self.every is None else own.beside(self.every)
        return self.every if self.methods is None or method in self.methods else None


# All levels at one prefix, in the order of entries.
Levels: TypeAlias = tuple[Level, ...]
# A prefix that a ``!`` in a path may hide, and whether it ignores case.
Hidden: TypeAlias = tuple[str, bool]


@final
@attrs.frozen
class VirtualHost:
    """The routes of one host, of one wildcard, or of every host: a path trie, and one for routes that ignore case.

    ``hidden`` counts the routes of prefixes, and of granted paths, with characters that a gateway may have replaced by ``!``, by what is
    certain of them. ``with_methods``,
    ``with_headers`` and ``yielding`` count routes.
    """

    exact: PathTrie[Levels] = attrs.field(factory=PathTrie)
    folded: PathTrie[Levels] = attrs.field(factory=PathTrie)
    hidden: "PathTrie[tuple[tuple[Hidden, int], ...]]" = attrs.field(factory=PathTrie, repr=False)
    with_methods: int = 0
    with_headers: int = 0
    yielding: int = 0

    def replaced(self, removed: Iterable[Route], added: Iterable[Route]) -> "VirtualHost | None":
        """Return the host with ``added`` instead of ``removed`` routes, ``None`` without any; it shares all other levels."""
        removed, added = tuple(removed), tuple(added)
        exact, folded = (_replaced(self.exact, removed, added, folded=False), _replaced(self.folded, removed, added, folded=True))
        if not exact and not folded:
            return None
        with_methods, with_headers, yielding = self.with_methods, self.with_headers, self.yielding
        for routes, sign in ((removed, -1), (added, 1)):
            for route in routes:
                with_methods += 0 if route.match.methods is None else sign
                with_headers += sign if route.match.headers else 0
                yielding += sign if route.yields_to_others else 0
        hidden = _hidden_after(self.hidden, removed, added)
        return VirtualHost(exact, folded, hidden, with_methods, with_headers, yielding)

    def routes(self) -> Iterator[Route]:
        """Yield every route, some of them more than once."""
        for trie in (self.exact, self.folded):
            yield from (route for levels in trie.nodes for level in levels for route in level.routes)


@final
@attrs.frozen
class VirtualHosts:
    """Routes by host, and by wildcard; ``every`` has those of every host.

    ``wildcards`` counts the wildcards, ``yielding`` the routes that fail closed only where no entry of another namespace decides, and
    ``with_headers`` those that name headers.
    """

    by_name: "HashTrieMap[str, VirtualHost]" = attrs.field(factory=HashTrieMap, repr=False)
    every: VirtualHost | None = None
    wildcards: int = 0
    yielding: int = 0
    with_headers: int = 0
    # Whether there are routes on wildcards, or on every host.
    has_farther: bool = attrs.field(init=False, repr=False)

    @has_farther.default
    def _has_more_than_names(self) -> bool:
        return bool(self.wildcards) or self.every is not None

    @classmethod
    def of(cls, effects: Iterable[Entry | FailClosedScope]) -> "VirtualHosts":
        """Return the hosts with a route for each of ``effects``."""
        by_host: dict[str | None, list[Route]] = {}
        for effect in effects:
            by_host.setdefault(effect.match.host, []).append(Route(effect))
        hosts = cls()
        for host, routes in by_host.items():
            hosts = hosts.replaced(host, (), routes)
        return hosts

    def replaced(self, host: str | None, removed: Iterable[Route], added: Iterable[Route]) -> "VirtualHosts":
        """Return the hosts with other routes on ``host``."""
        known = self.every if host is None else self.by_name.get(host)
        left = (known or VirtualHost()).replaced(removed, added)
        yielding = self.yielding + (0 if left is None else left.yielding) - (0 if known is None else known.yielding)
        with_headers = self.with_headers + (0 if left is None else left.with_headers) - (0 if known is None else known.with_headers)
        if host is None:
            return VirtualHosts(self.by_name, left, self.wildcards, yielding, with_headers)
        by_name = self.by_name.discard(host) if left is None else self.by_name.insert(host, left)
        wildcards = self.wildcards + host.startswith(WILDCARD) * ((left is not None) - (known is not None))
        return VirtualHosts(by_name, self.every, wildcards, yielding, with_headers)

    def near(self, host: str | None) -> "tuple[tuple[str | None, VirtualHost], ...]":
        """Return the routes that may decide requests for ``host``, the nearest first; ``None`` is a host that cannot be known."""
        there = None if host is None else self.by_name.get(host)
        own = () if there is None else ((host, there),)
        return (*own, *self.farther(host)) if self.has_farther else own

    def farther(self, host: str | None) -> "Iterator[tuple[str | None, VirtualHost]]":
        """Yield those of wildcards above ``host``, and of every host."""
        if host is not None and self.wildcards:
            for name in wildcards_above(host[-MAX_WILDCARD:]):
                if (there := self.by_name.get(name)) is not None:
                    yield name, there
        if self.every is not None:
            yield None, self.every

    def routes(self) -> Iterator[Route]:
        """Yield every route, some of them more than once."""
        for there in (*self.by_name.values(), *(() if self.every is None else (self.every,))):
            yield from there.routes()

    def __bool__(self) -> bool:
        return bool(self.by_name) or self.every is not None


def _replaced(trie: PathTrie[Levels], removed: tuple[Route, ...], added: tuple[Route, ...], *, folded: bool) -> PathTrie[Levels]:
    fewer, more = _by_prefix(removed, folded=folded), _by_prefix(added, folded=folded)
    changes: dict[str, Levels | None] = {}
    for prefix in {**fewer, **more}:
        known = trie.get(prefix) or ()
        members = [(route, level.place) for level in known for route in level.routes]
        gone = set(fewer.get(prefix, ()))
        left = [member for member in members if member not in gone] if gone else members
        changes[prefix] = _levels(len(prefix), [*left, *more.get(prefix, ())]) or None
    return trie.replaced(changes) if changes else trie


def _by_prefix(routes: Iterable[Route], *, folded: bool) -> dict[str, list[tuple[Route, _Place]]]:
    """Return the routes at each spelling of their prefixes."""
    found: dict[str, list[tuple[Route, _Place]]] = {}
    for route in routes:
        match = route.match
        if match.case_insensitive is folded:
            spellings = spellings_of(match)
            for decoded, texts in ((False, spellings.literal), (True, spellings.rewritten)):
                for text in texts:
                    found.setdefault(text, []).append((route, (match.path_type, decoded, route.granted_paths)))
    return found


def _levels(length: int, routes: list[tuple[Route, _Place]]) -> Levels:
    places: dict[_Place, list[Route]] = {}
    for route, place in routes:
        places.setdefault(place, []).append(route)
    return tuple(sorted((Level.of(length, place, tuple(own)) for place, own in places.items()), key=lambda level: -level.order))


def _hidden_after(
    hidden: "PathTrie[tuple[tuple[Hidden, int], ...]]", removed: Iterable[Route], added: Iterable[Route]
) -> "PathTrie[tuple[tuple[Hidden, int], ...]]":
    """Return ``hidden`` after a change, which costs no more than the changed routes and what differs in uncertain characters alone."""
    differences: dict[Hidden, int] = {}
    for routes, sign in ((removed, -1), (added, 1)):
        sets: dict[PathSet, int] = {}
        for route in routes:
            match, paths = route.match, route.granted_paths
            if "%" in match.path_prefix or is_uncertain(match.path_prefix):
                for text in filter(is_uncertain, spellings_of(match).all):
                    differences[text, match.case_insensitive] = differences.get((text, match.case_insensitive), 0) + sign
            if paths is not None:
                sets[paths] = sets.get(paths, 0) + sign
        for paths, count in sets.items():
            for prefix in paths.uncertain:
                differences[prefix, False] = differences.get((prefix, False), 0) + count
    nodes: dict[str, dict[Hidden, int]] = {}
    for one, count in differences.items():
        certain = fold(certain_part(one[0]))
        if certain not in nodes:
            nodes[certain] = dict(hidden.get(certain) or ())
        own = nodes[certain]
        own[one] = own.get(one, 0) + count
        if not own[one]:
            del own[one]
    return hidden.replaced({certain: tuple(sorted(own.items())) or None for certain, own in nodes.items()}) if nodes else hidden
