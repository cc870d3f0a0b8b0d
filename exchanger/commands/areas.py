"""Example requests for each area in which two policies may decide differently: a finite set, made from the content of both.

A decision depends on the routes that cover the request: those of entries, of what fails closed, and of the baseline. So only the scopes of
routes that exist in one of the policies alone can differ, and requests covered by equal routes are decided alike. For each host, wildcard
and prefix there is one example of every kind of request: the prefix itself, below it, and continuing it; each group of methods; each set
of headers, and a header whose value is ambiguous. For paths with several interpretations, examples with escapes represent the rest.

Must not know: how differences are shown.
"""

import enum
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, combinations, count, islice
from typing import Final, final

import attrs

from exchanger.authz.decision.answer import STAND_INS, asked_request
from exchanger.commands.policies import AssembledPolicy
from exchanger.model.authority import WILDCARD, wildcards_above
from exchanger.model.entry import BASELINE, EVERYWHERE, ExchangeEntry, FailClosedScope, HeaderMatch
from exchanger.model.request import HttpRequest
from exchanger.policy.headers import canonical
from exchanger.policy.prefix import fold, spellings_of
from exchanger.policy.scope import Route
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.policy.table import VirtualHosts
from exchanger.policy.trie import PathTrie

# Sets of headers of the entries at one place that are combined in every way; beyond, each of an entry that may differ is paired with each
# other one.
MAX_COMBINED: Final = 6
# Pairs of them that are looked at for one place, in a tenth of a second.
MAX_PAIRS: Final = 50_000
# Methods of one group that are named.
MAX_METHODS: Final = 16

OTHER_HOSTS: Final = "any other host"
NO_HOST: Final = "a host that cannot be read"
NO_PATH: Final = "a path that cannot be read"
OTHER_METHODS: Final = "any other method"
AMBIGUOUS: Final = "ambiguous"
OTHER_VALUE: Final = "another value"

# A host that no server can read, and a path, since its escape is broken.
_BAD_HOST: Final = "a,b"
_BAD_PATH: Final = "/%zz"
_COMMON_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
# The place of hosts that no policy names.
_ROOTS: Final = ("example", "test", "invalid", "example.net", "example.org")
# What may follow a prefix in an example, the likeliest first.
_NEXT: Final = "xyzabcdefghijklmnopqrstuvw0123456789-_~"
_find_last_letter: Final = re.compile(r"[A-Za-z0-9](?=[^A-Za-z0-9]*\Z)").search


@final
@enum.unique
class PathKind(enum.Enum):
    """How a path continues after a prefix. ``UNREADABLE`` paths have no interpretation, ``ODD`` ones several."""

    END = "end"
    BELOW = "below"
    LONGER = "longer"
    ODD = "odd"
    UNREADABLE = "unreadable"


@final
@attrs.frozen
class AreaExample:
    """A request, and the area that it represents: hosts, the prefix, how the path continues, methods and headers, in words."""

    request: HttpRequest = attrs.field(repr=False)
    hosts: str
    prefix: str
    kind: PathKind
    methods: tuple[str, ...]
    headers: tuple[HeaderMatch, ...]


def examples(old: AssembledPolicy, new: AssembledPolicy) -> Iterator[AreaExample | None]:
    """Yield an example for each area that ``old`` and ``new`` may decide differently, and ``None`` if there are too many."""
    tables = tuple(chain.from_iterable(map(_tables, (old.newest, new.newest))))
    changed = _changed(old, new)
    for host, label in _hosts(tables):
        above = frozenset((host, *wildcards_above(host))) if host else frozenset()
        here = [route for route in changed if route.match.host is None or route.match.host in above]
        if here:
            yield from _on_host(host, label, here, tables)
        elif label == OTHER_HOSTS:  # where no route applies, nothing may differ, not even what cannot be read
            yield from _Asking(host, label, PathTrie()).about(_BAD_PATH, NO_PATH, PathKind.UNREADABLE)


def _tables(snapshot: PolicySnapshot) -> Iterator[VirtualHosts]:
    """Yield the routes of all documents, and those of the baseline."""
    yield snapshot.hosts
    if snapshot.baseline is not None:
        yield snapshot.baseline


def _changed(old: AssembledPolicy, new: AssembledPolicy) -> list[Route]:
    """Return the routes that only one of the policies has, and those of issuers that differ."""
    if (old.snapshot is None) != (new.snapshot is None):
        return [Route(FailClosedScope(BASELINE, EVERYWHERE, ""))]
    # A route is at each spelling of its prefix, and counts once.
    sides = [dict.fromkeys(route for table in _tables(policy.newest) for route in table.routes()) for policy in (old, new)]
    before, after = (Counter(map(_semantic_key, routes)) for routes in sides)
    first, second = old.profiles, new.profiles
    others = {name for names in (first, second) for name in names or () if (first or {}).get(name) != (second or {}).get(name)}
    found: dict[object, Route] = {}
    for route in chain(*sides):
        key, effect = _semantic_key(route), route.effect
        if before[key] != after[key] or (isinstance(effect, ExchangeEntry) and effect.target.issuer_ref in others):
            found[key] = route
    return list(found.values())


def _semantic_key(route: Route) -> tuple[object, ...]:
    """Return the content of a route, wherever its document is; what yields to others does so by namespace."""
    effect = route.effect
    return (
        type(effect),
        effect.match,
        route.granted_paths,
        effect.source == BASELINE,
        effect.source.namespace,
        (effect.target, effect.resource_metadata) if isinstance(effect, ExchangeEntry) else None,
        route.yields_to_others,
    )


def _at_prefixes(table: VirtualHosts, host: str | None) -> Iterator[tuple[str, bool, Iterator[Route]]]:
    """Yield each prefix of routes that may apply on ``host``, whether it ignores case, and the routes there."""
    for _, there in table.near(host):
        for trie, is_folded in ((there.exact, False), (there.folded, True)):
            for prefix, levels in zip(trie.prefixes, trie.nodes, strict=True):
                yield prefix, is_folded, (route for level in levels for route in level.routes)


def _hosts(tables: Iterable[VirtualHosts]) -> Iterator[tuple[str, str]]:
    """Yield a host for each set of routes that hosts can have, and what it represents. "" is a host that cannot be read."""
    names = {name for table in tables for name in table.by_name}
    for name in sorted(names):
        if not name.startswith(WILDCARD):
            yield name, name
        else:
            yield _fresh_host(name.removeprefix(WILDCARD), names), f"any other host below {name.removeprefix(WILDCARD)}"
    roots = chain(_ROOTS, (f"example{number}" for number in count()))
    root = next(root for root in roots if not any(above in names for above in wildcards_above(f"x.{root}")))
    yield _fresh_host(root, names), OTHER_HOSTS
    yield "", NO_HOST


def _fresh_host(parent: str, names: set[str]) -> str:
    """Return a host below ``parent`` that is in no name. No longer wildcard covers it, since it has one label more."""
    return next(host for number in range(len(names) + 1) if (host := f"other{number or ''}.{parent}") not in names)


def _on_host(host: str, label: str, changed: list[Route], tables: Iterable[VirtualHosts]) -> Iterator[AreaExample | None]:
    exact: set[str] = {"/"}
    folded: set[str] = set()
    at: dict[str, dict[int, Route]] = {}
    numbers: dict[object, int] = {}
    for table in tables:
        for prefix, is_folded, here in _at_prefixes(table, host or None):
            (folded if is_folded else exact).add(prefix)
            routes = at.setdefault(fold(prefix), {})
            for route in here:
                routes[numbers.setdefault(_semantic_key(route), len(numbers))] = route
                exact.update(filter(None, () if route.granted_paths is None else route.granted_paths.prefixes))
    spelled = (spelling for route in changed for spelling in spellings_of(route.match).all)
    touched = PathTrie.of(dict.fromkeys(map(fold, spelled), True))
    asking = _Asking(host or _BAD_HOST, label, PathTrie.of(at), frozenset(route.match.headers for route in changed))
    yield from asking.about(_BAD_PATH, NO_PATH, PathKind.UNREADABLE)
    if touched.covering(""):
        yield asking.asterisk()
    ordered = sorted({*exact, *map(fold, exact), *folded})
    for key in _keys(exact, folded):
        if key and touched.covering(fold(key)):
            for kind, path in _paths(key, ordered):
                yield from asking.about(path, key, kind)


def _keys(exact: set[str], folded: set[str]) -> list[str]:
    """Return every prefix, and those that ignore case in spellings that begin with a case-sensitive one, and continue in another case."""
    found = {*exact, *folded, *(key.upper() for key in folded)}
    for key in folded:
        found.update(
            start + rest
            for start in exact
            if len(start) < len(key) and key.startswith(fold(start))
            for rest in (key[len(start) :], key[len(start) :].upper())
        )
    return sorted(found)


def _paths(key: str, keys: list[str]) -> Iterator[tuple[PathKind, str]]:
    """Yield a path of each kind after ``key``, which begins with a slash. Only what is below continues after a slash."""
    below = key if key.endswith("/") else f"{key}/"
    paths = [key, below + _next(below, keys)]
    yield from zip((PathKind.END, PathKind.BELOW), paths, strict=True)
    if below != key:
        yield PathKind.LONGER, key + _next(key, keys)
    else:
        yield PathKind.ODD, f"{key}/{_next(key, keys)}"
    for path in paths:
        last = _find_last_letter(path)
        if last is not None:
            yield PathKind.ODD, f"{path[: last.start()]}%{ord(last[0]):02X}{path[last.end() :]}"
        start, _, rest = path.rpartition("/")
        if start and rest:
            yield PathKind.ODD, f"{start}%2F{rest}"
        if not path.isascii():
            yield PathKind.ODD, "".join(char if char.isascii() else "!" for char in path)


def _next(text: str, keys: list[str]) -> str:
    """Return a character with which no key continues after ``text``."""
    for char in _NEXT:
        wanted = text + char
        others = (wanted, fold(wanted), wanted.upper())
        if not any(found < len(keys) and keys[found].startswith(one) for one in others for found in (bisect_left(keys, one),)):
            return char
    return _NEXT


# A method, the names of those that it represents, and headers.
_Way = tuple[str, tuple[str, ...], tuple[HeaderMatch, ...]]


@final
@attrs.define(eq=False)
class _Asking:
    """Makes examples for the paths of one host. ``covering`` has routes by each folded spelling of their prefixes.

    Equal routes have the same number. ``changed`` are the headers of those that exist in only one of the policies.
    """

    host: str
    label: str
    covering: PathTrie[dict[int, Route]]
    changed: frozenset[tuple[HeaderMatch, ...]] = frozenset()
    _ways: dict[frozenset[int], tuple[list[_Way], bool]] = attrs.field(factory=dict, init=False)

    def about(self, path: str, prefix: str, kind: PathKind) -> Iterator[AreaExample | None]:
        """Yield the examples with ``path``, one for each group of methods and set of headers that makes a difference.

        ``None`` follows if there are more sets of headers.
        """
        texts = (path, prefix) if kind is PathKind.ODD else (path,)  # other interpretations begin with the prefix
        routes = {number: route for text in texts for found in self.covering.covering(fold(text)) for number, route in found.items()}
        key = frozenset(routes)
        ways = self._ways.get(key)
        if ways is None:
            sets, complete = _header_sets(routes.values(), self.changed)
            made = [(method, label, headers) for method, label in _methods(routes.values()) for headers in sets]
            ways = self._ways[key] = made, complete
        for method, label, headers in ways[0]:
            yield self._example(method, path, prefix, kind, label, headers)
        if not ways[1]:
            yield None

    def asterisk(self) -> AreaExample:
        """Return the example of a request to the server as a whole (RFC 9112 section 3.2.4), which no prefix but the empty one covers."""
        return self._example("OPTIONS", "*", "/", PathKind.ODD, ("OPTIONS",), ())

    def _example(
        self, method: str, path: str, prefix: str, kind: PathKind, label: tuple[str, ...], headers: tuple[HeaderMatch, ...]
    ) -> AreaExample:
        raw = any("!" in text for text in (path, *(value for _, value in headers)))
        fields = (*headers, ("authorization", STAND_INS[None]))
        return AreaExample(
            asked_request(method, self.host, path, fields, raw=raw and kind is not PathKind.ODD), self.label, prefix, kind, label, headers
        )


def _methods(routes: Iterable[Route]) -> list[tuple[str, tuple[str, ...]]]:
    """Return one method for each set of routes that methods can have, and the names of all that have it."""
    named = [(number, methods) for number, route in enumerate(routes) if (methods := route.match.methods) is not None]
    every = {method for _, methods in named for method in methods}
    other = next(method for method in (*_COMMON_METHODS, *(f"X-{number}" for number in range(len(every) + 1))) if method not in every)
    groups: dict[tuple[object, ...], list[str]] = {}
    for method in sorted(every - {"HEAD"}):
        groups.setdefault(tuple(number for number, methods in named if method in methods), []).append(method)
    found = [(group[0], tuple(group[:MAX_METHODS])) for group in groups.values()]
    if every & {"GET", "HEAD"}:
        found.append(("HEAD", ("HEAD",)))
    return [*found, (other, (OTHER_METHODS,) if every else ())]


def _header_sets(routes: Iterable[Route], changed: frozenset[tuple[HeaderMatch, ...]]) -> tuple[list[tuple[HeaderMatch, ...]], bool]:
    """Return sets of headers: none, those of each entry, those of several together, and an ambiguous one; and whether these are all.

    Two policies differ only where a route decides, or ties, that only one of them has. So of many sets, pairs with those of ``changed``
    routes are enough.
    """
    sets = sorted({route.match.headers for route in routes if route.match.headers})
    few = len(sets) <= MAX_COMBINED
    differing = [one for one in sets if one in changed]
    groups = chain.from_iterable(combinations(sets, size) for size in range(2, len(sets) + 1)) if few else _pairs(differing, sets)
    found: dict[tuple[HeaderMatch, ...], None] = dict.fromkeys([(), *sets])
    for some in islice(groups, MAX_PAIRS):
        together: dict[str, str] = {}
        if all(together.setdefault(name, value) == value for name, value in chain.from_iterable(some)):
            found[tuple(sorted(together.items()))] = None
    names = sorted({name for one in sets for name, _ in one})
    bases = list(found) if few else [(), *differing]
    most = MAX_PAIRS // max(1, len(names))
    # Servers may take x_a for x-a, so either of them, with any value, causes doubt where only the other one is named.
    spelled = Counter(map(canonical, names))
    others = [
        {**dict(one), name: OTHER_VALUE} for one in bases[:most] for name in names if spelled[canonical(name)] > 1 and name not in dict(one)
    ]
    doubtful = [{**dict(one), name: f"{dict(one).get(name, OTHER_VALUE)},{AMBIGUOUS}"} for one in bases[:most] for name in names]
    found.update((tuple(sorted(one.items())), None) for one in (*others, *doubtful))
    return list(found), next(groups, None) is None and len(bases) <= most


def _pairs(some: Iterable[tuple[HeaderMatch, ...]], sets: list[tuple[HeaderMatch, ...]]) -> Iterator[tuple[tuple[HeaderMatch, ...], ...]]:
    """Yield each of ``some`` with each of ``sets`` that has other names: with the same ones, it has another value."""
    named: dict[tuple[str, ...], list[tuple[HeaderMatch, ...]]] = {}
    for one in sets:
        named.setdefault(tuple(name for name, _ in one), []).append(one)
    for one in some:
        names = tuple(name for name, _ in one)
        yield from ((one, other) for others, found in named.items() if others != names for other in found)
