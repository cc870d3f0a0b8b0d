"""Scopes compared: which covers another, which paths they have in common, and which comes first in the order of entries.

The one place that compares scopes.

Must not know: documents, or requests.
"""

from collections.abc import Iterable
from functools import cached_property, lru_cache
from typing import Final, final

import attrs

from exchanger.model.authority import WILDCARD, wildcards_above
from exchanger.model.entry import Entry, FailClosedScope, MatchScope, PathType
from exchanger.policy.path import is_uncertain
from exchanger.policy.prefix import decoded_again, fold, prefix_spellings
from exchanger.policy.trie import PathTrie

_EXACT: Final = 1 << 20  # more than any prefix has characters
_ENDS_OF_SEGMENT: Final = ("", "/", "?")
# What follows a prefix of each type in the longer prefixes that it covers.
_ENDS_OF: Final = {PathType.PREFIX: ("",), PathType.SEGMENT: ("/", "?"), PathType.EXACT: ()}
# Prefixes whose readings are kept, and pairs of sets: those of one document's entries are compared with the same grants.
_KEPT: Final = 256


@final
@attrs.frozen(cache_hash=True)
class PathSet:
    """The paths below any of some whole-segment prefixes, which are sorted; "" is every path.

    ``in_any_reading``: a path is in the set if a server may read it so, as for everything that fails closed.
    """

    prefixes: tuple[str, ...]
    in_any_reading: bool = False
    _trie: PathTrie[str] = attrs.field(init=False, eq=False, repr=False)

    @_trie.default
    def _build(self) -> PathTrie[str]:
        return PathTrie.of({prefix: prefix for prefix in self.prefixes})

    @cached_property
    def _readings(self) -> tuple[PathTrie[str], PathTrie[str]]:
        """The prefixes as servers may read them, and the same without case."""
        texts = {text for prefix in self.prefixes for text in all_readings(prefix)}
        return PathTrie.of({text: text for text in texts}), PathTrie.of({fold(text): fold(text) for text in texts})

    @cached_property
    def uncertain(self) -> tuple[str, ...]:
        """The prefixes with characters that a gateway may replace by ``!``."""
        return tuple(filter(is_uncertain, self.prefixes))

    @classmethod
    def of(cls, prefixes: Iterable[str], *, in_any_reading: bool = False) -> "PathSet":
        """Return the set of all paths below one of ``prefixes``."""
        return cls(tuple(sorted({prefix.rstrip("/") for prefix in prefixes})), in_any_reading)

    def __contains__(self, path: str) -> bool:
        return any(is_below(path, prefix) for prefix in self._trie.covering(path))

    def union(self, other: "PathSet") -> "PathSet":
        """Return the paths that either set has."""
        return self if self is other else _union(self, other)

    def common(self, other: "PathSet") -> "PathSet | None":
        """Return the paths that both sets have; ``None`` if there is none."""
        return self if self is other and self.prefixes else _common(self, other)

    def covers(self, scope: MatchScope) -> bool:
        """Return whether every path of ``scope`` is in the set."""
        if self.prefixes[:1] == ("",):  # they are sorted
            return True
        is_plain = scope.path_type is PathType.PREFIX
        return not scope.case_insensitive and all(
            any(is_below(text, prefix) and (text != prefix or not is_plain) for prefix in self._trie.covering(text))
            for text in prefix_spellings(scope.path_prefix).all
            if is_plain or "?" not in text
        )

    def intersects(self, scope: MatchScope) -> bool:
        """Return whether a server may read some path of ``scope`` as one in the set, however often it decodes."""
        trie, texts = self._readings[scope.case_insensitive], all_readings(scope.path_prefix)
        ends = _ENDS_OF[scope.path_type]
        return any(
            any(is_below(text, prefix) for prefix in trie.covering(text)) or any(trie.has_below(text + end) for end in ends)
            for text in (map(fold, texts) if scope.case_insensitive else texts)
        )


@lru_cache(maxsize=_KEPT)  # the entries of a document have the same sets
def _union(one: PathSet, other: PathSet) -> PathSet:
    return PathSet.of(one.prefixes + other.prefixes, in_any_reading=one.in_any_reading)


@lru_cache(maxsize=_KEPT)
def _common(one: PathSet, other: PathSet) -> PathSet | None:
    in_any_reading = one.in_any_reading or other.in_any_reading
    found = {
        prefix
        for first, second in ((one, other), (other, one))
        for prefix in first.prefixes
        if any(text in second for text in (all_readings(prefix) if in_any_reading else (prefix,)))
    }
    return PathSet.of(found, in_any_reading=in_any_reading) if found else None


@lru_cache(maxsize=_KEPT)
def all_readings(prefix: str) -> tuple[str, ...]:
    """Return a prefix, or path, and what servers make of it that decode it, however often."""
    return (*prefix_spellings(prefix).all, *decoded_again(prefix))


def is_below(path: str, prefix: str) -> bool:
    """Return whether ``path`` is ``prefix``, or continues it with another segment."""
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in _ENDS_OF_SEGMENT


@final
@attrs.frozen(cache_hash=True)
class Route:
    """What an entry or a fail-closed scope does in its scope. With ``granted_paths``, it does so for these paths alone."""

    effect: Entry | FailClosedScope
    granted_paths: PathSet | None = None

    @property
    def match(self) -> MatchScope:
        """The scope of the entry or fail-closed scope."""
        return self.effect.match

    @property
    def yields_to_others(self) -> bool:
        """Whether it fails closed only where no entry of another namespace decides, since its author may have meant any host."""
        return isinstance(self.effect, FailClosedScope) and self.effect.reaches_any_host


def order_of(length: int, path_type: PathType, *, decoded: bool) -> int:
    """Return the place in the order of entries, greater for what comes first: exact, longer, whole segments, as written."""
    return _EXACT * (path_type is PathType.EXACT) + 4 * (length or 1) + 2 * (path_type is PathType.SEGMENT) + (not decoded)


def covers_host(host: str | None, other: str | None) -> bool:
    """Return whether every host of ``other`` is one of ``host``; ``None`` is every host."""
    if host is None or host == other:
        return True
    return other is not None and host in wildcards_above(other.removeprefix(WILDCARD))


def covers_path(scope: MatchScope, other: MatchScope) -> bool:
    """Return whether every path of ``other`` is one of ``scope``."""
    prefix, longer = scope.path_prefix, other.path_prefix
    if scope.case_insensitive:
        prefix, longer = fold(prefix), fold(longer)
    elif other.case_insensitive:
        return False
    if scope.path_type is PathType.PREFIX:
        return longer.startswith(prefix)
    if scope.path_type is PathType.SEGMENT:
        return is_below(longer, prefix) and (longer != prefix or other.path_type is not PathType.PREFIX)
    return longer == prefix and other.path_type is PathType.EXACT


def covers_methods(scope: MatchScope, other: MatchScope) -> bool:
    """Return whether every method of ``other`` is one of ``scope``."""
    return scope.methods is None or (other.methods is not None and other.methods <= scope.methods)


def covers(scope: MatchScope, other: MatchScope) -> bool:
    """Return whether every request of ``other`` is one of ``scope``."""
    has_headers = set(scope.headers) <= set(other.headers)
    return has_headers and covers_host(scope.host, other.host) and covers_path(scope, other) and covers_methods(scope, other)
