"""The routes of one namespace on one host, and the levels that they add to a path, each about a microsecond of a look-up.

Must not know: documents, or other namespaces.
"""

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Final, final

import attrs
from rpds import HashTrieMap

from exchanger.model.codes.manifests import DEEP_ENTRIES
from exchanger.model.codes.problem import Problem
from exchanger.model.entry import FailClosedScope, MatchScope, PathType, Source
from exchanger.policy.grants.restriction import Routes
from exchanger.policy.prefix import fold, spellings_of
from exchanger.policy.scope import PathSet, Route, covers_path

# Levels that the routes of one namespace may add to a path on one host. Where entries name headers, their level counts four more, and one
# for each combination of names.
MAX_DEPTH: Final = 24
_HEADERS: Final = 4
OVER_DEPTH: Final = f"the prefixes of its namespace make more than {MAX_DEPTH} levels on one path of its host"


by_name: Final = attrgetter("kind", "name")  # the order of sources of one namespace, ten times as fast as their comparison


@final
@attrs.frozen(eq=False)
class HostRoutes:
    """The ``count`` routes of one namespace on one host, by document. They add at most ``depth`` levels to a path.

    Levels cost 5 µs a route to count. So those of added routes alone are counted and summed up, and all only if the sum is over the limit.
    """

    by_source: "HashTrieMap[Source, Routes]" = attrs.field(default=HashTrieMap(), repr=False)
    count: int = 0
    depth: int = 0

    @property
    def is_over_depth(self) -> bool:
        """Whether the routes add more levels to a path than they may."""
        return self.depth > MAX_DEPTH

    def changed(self, routes: Mapping[Source, Routes]) -> "tuple[HostRoutes, list[Route], list[Route]]":
        """Return this with other routes of some documents, and which routes were removed and added."""
        by_source, removed, added = self.by_source, list[Route](), list[Route]()
        for source, own in routes.items():
            removed += by_source.get(source, ())
            added += own
            by_source = by_source.insert(source, own) if own else by_source.discard(source)
        there = HostRoutes(by_source, self.count + len(added) - len(removed), MAX_DEPTH)
        if there.count <= MAX_DEPTH // (2 + _HEADERS):  # nearly always
            return there, removed, added
        depth = self.depth + depth_of(added)
        return attrs.evolve(there, depth=depth_of(there.all()) if depth > MAX_DEPTH else depth), removed, added

    def all(self) -> Routes:
        """Return all routes, in the order of their documents."""
        return tuple([route for source in sorted(self.by_source, key=by_name) for route in self.by_source[source]])


def depth_of(routes: Iterable[Route]) -> int:
    """Return the most levels that ``routes``, all on one host, make of one path."""
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


def closing(routes: Iterable[Route], granted_paths: PathSet | None = None) -> Routes:
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
        problems = (Problem(DEEP_ENTRIES, OVER_DEPTH, effect.index, line=effect.line),)
        guessed = yields and match.host is not None
        closed_scope = FailClosedScope(effect.source, match, OVER_DEPTH, effect.index, effect.line, guessed=guessed, problems=problems)
        whole.setdefault(yields, Route(attrs.evolve(closed_scope, match=MatchScope(match.host)), granted_paths))
        prefix = fold(match.path_prefix)
        while above and not prefix.startswith(above[-1][0]):
            above.pop()
        if not any(covers_path(one.match, match) and one.yields_to_others <= yields for _, one in above):
            own = Route(closed_scope, None if granted_paths is None or granted_paths.covers(match) else granted_paths)
            above.append((prefix, own))
            outermost.append(own)
    return tuple(outermost) if depth_of(outermost) <= MAX_DEPTH else tuple(whole.values())
