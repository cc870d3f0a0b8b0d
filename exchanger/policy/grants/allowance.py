"""Grants as values, and the allowance of a namespace: all of its grants together.

Must not know: the text of the grants file, or documents.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from itertools import chain
from typing import Final, final

import attrs
from rpds import HashTrieMap

from exchanger.model.authority import WILDCARD, wildcards_above
from exchanger.model.entry import DenyEntry, Entry, ExchangeEntry, MatchScope, PathType
from exchanger.model.selector import Selector
from exchanger.policy.documents.document import Labels
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.path import read_path
from exchanger.policy.prefix import prefix_spellings, read_prefix
from exchanger.policy.scope import PathSet
from exchanger.policy.table import VirtualHosts
from exchanger.policy.trie import PathTrie
from exchanger.util.text import bounded

ANYTHING: Final = "*"
DEFAULT_ACTIONS: Final = frozenset({"exchange", "deny"})
# Allowances that are kept, one for each namespace and its labels.
_KEPT: Final = 16_384
# Sets of granted paths that are kept: the entries of a document are compared with the same grants.
_KEPT_SETS: Final = 1_024

# The form of a label's value that may replace a placeholder: a single label of a host name, without any other meaning.
_is_plain: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?").fullmatch
PLACEHOLDER: Final = re.compile(r"\{(?:namespace|label:([^{}]*))\}")
# RFC 6749 section 3.3 (https://www.rfc-editor.org/rfc/rfc6749#section-3.3).
_is_scope: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+").fullmatch
_find_odd: Final = re.compile(r"[\s,\x00-\x1f\x7f-\x9f]").search
# Scheme and authority of a URL (RFC 3986 section 3, https://www.rfc-editor.org/rfc/rfc3986#section-3) without user information or escapes.
_match_origin: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*+://[^/?#@%\\]*+(?=[/?#]|\Z)").match


@final
@attrs.frozen
class NamespaceGrant:
    """One grant as written. Texts may have placeholders; ``namespaces`` and ``selector`` are ``None`` if they are missing."""

    namespaces: frozenset[str] | None
    selector: Selector | None
    hosts: tuple[str, ...] = ()
    path_prefixes: tuple[str, ...] = ("",)
    actions: frozenset[str] = DEFAULT_ACTIONS
    issuers: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()

    @property
    def needs_labels(self) -> bool:
        """Whether labels make a difference to the grant."""
        texts = (*self.hosts, *self.path_prefixes, *self.audiences, *self.resources, *self.scopes)
        return self.selector is not None or any(found[1] is not None for text in texts for found in PLACEHOLDER.finditer(text))


@final
@attrs.frozen(cache_hash=True)
class Granted:
    """A grant for one namespace, with its placeholders filled in.

    ``hosts`` are canonical hosts, wildcards and ``ANYTHING``; ``prefixes`` are whole-segment prefixes without a trailing slash, of which ""
    covers every path. ``spellings`` are those of all prefixes, and ``paths`` what is below them.
    """

    hosts: frozenset[str]
    prefixes: frozenset[str]
    actions: frozenset[str]
    issuers: frozenset[str] = frozenset()
    audiences: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    spellings: frozenset[str] = attrs.field(init=False, eq=False, repr=False)
    paths: PathSet = attrs.field(init=False, eq=False, repr=False)

    @spellings.default
    def _join_spellings(self) -> frozenset[str]:
        return frozenset(spelling for prefix in self.prefixes for spelling in prefix_spellings(prefix).all)

    @paths.default
    def _below_spellings(self) -> PathSet:
        return PathSet.of(self.spellings)


@final
@attrs.frozen(cache_hash=True)
class Allowance:
    """What one namespace may do: ``granted`` together. ``problems`` are the items that grant nothing, in words for operators."""

    granted: tuple[Granted, ...] = ()
    problems: tuple[str, ...] = ()
    # Places in ``granted`` by host, and by each wildcard above a host.
    _at: "HashTrieMap[str, tuple[int, ...]]" = attrs.field(init=False, eq=False, repr=False)
    _below: "HashTrieMap[str, tuple[int, ...]]" = attrs.field(init=False, eq=False, repr=False)

    @_at.default
    def _by_host(self) -> "HashTrieMap[str, tuple[int, ...]]":
        return _places((host, place) for place, granted in enumerate(self.granted) for host in granted.hosts)

    @_below.default
    def _by_wildcard(self) -> "HashTrieMap[str, tuple[int, ...]]":
        found = ((host.removeprefix(WILDCARD), place) for place, granted in enumerate(self.granted) for host in granted.hosts)
        return _places((wildcard, place) for host, place in found for wildcard in wildcards_above(host))

    @cached_property
    def _near(self) -> "dict[tuple[str | None, bool], NearGrants]":
        """By host with granted hosts below it; for all others, by the nearest granted host that covers them."""
        return {}

    @property
    def area_count(self) -> int:
        """The number of hosts with a prefix, some of them possibly counted twice."""
        return sum(len(granted.hosts) * len(granted.prefixes) for granted in self.granted)

    def near(self, host: str | None) -> "NearGrants":
        """Return the grants that have a host in common with ``host``, ``None`` for all hosts; computed once for each granted host."""
        if host is None or host in self._below:
            key = host, True
        else:  # then it has what covers the nearest granted host above it, and nothing below
            key = next((above for above in hosts_above(host) if above in self._at and above != ANYTHING), ANYTHING), False
        known = self._near.get(key)
        return self._near.setdefault(key, self._near_to(host)) if known is None else known

    def _near_to(self, host: str | None) -> "NearGrants":
        above = (ANYTHING,) if host is None else tuple(hosts_above(host))
        covering = sorted({place for one in above for place in self._at.get(one, ())})
        others = range(len(self.granted)) if host is None else self._below.get(host, ())
        below: dict[str | None, list[Granted]] = {}
        for place in sorted(set(others).difference(covering)):
            for other in common_hosts(host, self.granted[place].hosts):
                below.setdefault(other, []).append(self.granted[place])
        there = HostGrants(tuple([self.granted[place] for place in covering]))
        return NearGrants(there, tuple([(other, HostGrants(tuple(own))) for other, own in below.items()]))


@final
@attrs.frozen(eq=False)
class HostGrants:
    """The grants of a namespace on one host. Finds those of a path without looking at the others."""

    granted: tuple[Granted, ...]

    @cached_property
    def _by_spelling(self) -> "PathTrie[list[Granted]]":
        found: dict[str, list[Granted]] = {}
        for one in self.granted:
            for text in one.spellings:
                found.setdefault(text, []).append(one)
        return PathTrie.of(found)

    @cached_property
    def closing_paths(self) -> PathSet:
        """The paths that they grant together, in any reading, for what fails closed or denies."""
        return paths_of(*self.granted, in_any_reading=True)

    def covering(self, scope: MatchScope) -> list[Granted]:
        """Return the grants that cover the paths of ``scope``; if none does, those of what its author most likely means.

        That is whole segments below a plain prefix.
        """
        above = dict.fromkeys(chain.from_iterable(self._by_spelling.covering(scope.path_prefix)))
        found = [one for one in above if one.paths.covers(scope)]
        if found or scope.path_type is not PathType.PREFIX:
            return found
        segments = attrs.evolve(scope, path_type=PathType.SEGMENT)
        return [one for one in above if scope.path_prefix in one.prefixes and one.paths.covers(segments)]

    def beside(self, prefix: str) -> list[Granted]:
        """Return the grants of which a path may begin with ``prefix``."""
        spelled = self._by_spelling
        nodes = [own for text in prefix_spellings(prefix).all for own in (*spelled.covering(text), *spelled.below(text))]
        return list(dict.fromkeys(chain.from_iterable(nodes)))


@final
@attrs.frozen(eq=False)
class NearGrants:
    """The grants that cover a host, and those on each granted host below it that do not."""

    there: HostGrants
    below: tuple[tuple[str | None, HostGrants], ...]

    def by_host(self, host: str | None) -> "Iterator[tuple[str | None, HostGrants]]":
        """Yield ``host``, to which these are near, and the granted hosts below it, each with its grants."""
        yield host, self.there
        yield from self.below


@lru_cache(maxsize=_KEPT_SETS)
def paths_of(*grants: Granted, in_any_reading: bool) -> PathSet:
    """Return the paths of these grants together."""
    return PathSet.of((path for one in grants for path in one.spellings), in_any_reading=in_any_reading)


def hosts_above(host: str) -> Iterator[str]:
    """Yield the granted hosts that would cover ``host``."""
    yield host
    yield ANYTHING
    yield from wildcards_above(host.removeprefix(WILDCARD))


def _places(found: Iterable[tuple[str, int]]) -> "HashTrieMap[str, tuple[int, ...]]":
    places: dict[str, dict[int, None]] = {}
    for host, place in found:
        places.setdefault(host, {})[place] = None
    return HashTrieMap({host: tuple(own) for host, own in places.items()})


# Without a grants file, a namespace may do everything that needs no grant.
UNLIMITED: Final = Allowance(
    (
        Granted(
            frozenset({ANYTHING}),
            frozenset({""}),
            DEFAULT_ACTIONS,
            frozenset({ANYTHING}),
            (ANYTHING,),
            (ANYTHING,),
            (ANYTHING,),
        ),
    )
)


@final
@attrs.frozen(eq=False)
class Grants:
    """All grants.

    ``limited``: there is a file; otherwise every namespace is ``UNLIMITED``. ``baseline``: what is denied before policies.

    ``enforced``: if false, grants only report what they would do, except for the action allow. ``limits`` hold for every namespace, with
    or without a file.
    """

    grants: tuple[NamespaceGrant, ...] = ()
    baseline: tuple[DenyEntry, ...] = ()
    enforced: bool = True
    limited: bool = True
    limits: NamespaceLimits = attrs.field(default=NamespaceLimits())
    denials: VirtualHosts | None = attrs.field(init=False, repr=False)
    # The grants that name each namespace, and under ``None`` those without names.
    _naming: "HashTrieMap[str | None, tuple[NamespaceGrant, ...]]" = attrs.field(init=False, repr=False)
    # The areas of the grants that name each namespace, and of those without names.
    _counts: "HashTrieMap[str | None, int]" = attrs.field(init=False, repr=False)

    @denials.default
    def _baseline_by_host(self) -> VirtualHosts | None:
        return VirtualHosts.of(self.baseline) if self.baseline else None

    @_naming.default
    def _by_name(self) -> "HashTrieMap[str | None, tuple[NamespaceGrant, ...]]":
        naming: dict[str | None, list[NamespaceGrant]] = {}
        for grant in self.grants:
            for name in (None,) if grant.namespaces is None else grant.namespaces:
                naming.setdefault(name, []).append(grant)
        return HashTrieMap({name: tuple(own) for name, own in naming.items()})

    @_counts.default
    def _count_areas(self) -> "HashTrieMap[str | None, int]":
        counts = {name: sum(len(grant.hosts) * len(grant.path_prefixes) for grant in own) for name, own in self._naming.items()}
        return HashTrieMap({None: 0, **counts})

    @cached_property
    def _known(self) -> dict[tuple[str, Labels], Allowance]:
        """Allowances that were computed before."""
        return {}

    def area_count(self, namespace: str, descriptions: tuple[Labels, ...]) -> int:
        """Return the most areas that a namespace is granted: the exact number, once its allowances are computed. Costs nearly nothing."""
        if not self.limited:
            return 0
        known = [self._known.get((namespace, labels)) for labels in descriptions or ((),)]
        counts = [allowance.area_count for allowance in known if allowance is not None]
        return min(counts, default=self._counts.get(namespace, 0) + self._counts[None])

    def allowance(self, namespace: str, labels: Labels) -> Allowance:
        """Return the allowance of a namespace with ``labels``."""
        if not self.limited:
            return UNLIMITED
        key = (namespace, labels)
        known = self._known.get(key)
        if known is None:
            by_key = dict(labels)
            naming = (*self._naming.get(namespace, ()), *self._naming.get(None, ()))
            filled = [_filled(grant, namespace, by_key) for grant in naming if grant.selector is None or grant.selector.matches(by_key)]
            known = Allowance(tuple(granted for granted, _ in filled), tuple(problem for _, problems in filled for problem in problems))
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = known
        return known

    def allowances(self, namespace: str, descriptions: tuple[Labels, ...]) -> tuple[Allowance, ...]:
        """Return the allowance for each description of a namespace by its labels; the namespace has only what all of them are granted."""
        return tuple(dict.fromkeys([self.allowance(namespace, labels) for labels in descriptions or ((),)]))


NO_GRANTS: Final = Grants(limited=False)


def _filled(grant: NamespaceGrant, namespace: str, labels: dict[str, str]) -> tuple[Granted, list[str]]:
    """Return ``grant`` for a namespace, and why some of its items grant nothing."""
    problems: list[str] = []

    def fill(texts: tuple[str, ...], what: str) -> Iterator[str]:
        for text in texts:
            values = [namespace if found[1] is None else labels.get(found[1], "") for found in PLACEHOLDER.finditer(text)]
            if not all(map(_is_plain, values)):
                problems.append(f"{what} {bounded(text)}: the label is missing, or its value cannot be used here")
                continue
            given = iter(values)
            yield PLACEHOLDER.sub(lambda _: next(given), text)  # noqa: B023 - used at once

    prefixes: set[str] = set()
    for prefix in fill(grant.path_prefixes, "pathPrefix"):
        if not prefix or not read_prefix(prefix).problem:
            prefixes.add(prefix)
        else:
            problems.append(f"pathPrefix {bounded(prefix)}: is not a prefix")
    granted = Granted(
        frozenset(fill(grant.hosts, "host")),
        frozenset(prefixes),
        grant.actions,
        frozenset(grant.issuers),
        tuple(fill(grant.audiences, "audience")),
        tuple(fill(grant.resources, "resource")),
        tuple(fill(grant.scopes, "scope")),
    )
    return granted, problems


def common_hosts(host: str | None, granted: frozenset[str]) -> Iterator[str | None]:
    """Yield the hosts that ``host`` and ``granted`` have in common."""
    if ANYTHING in granted or (host is not None and any(above in granted for above in hosts_above(host))):
        yield host
    elif host is None or host.startswith(WILDCARD):
        yield from _below(host, granted)


@lru_cache(maxsize=64)  # a document may name one wildcard, or no host, in every entry
def _below(wildcard: str | None, granted: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted(other for other in granted if wildcard is None or other.endswith(wildcard[1:])))


def missing(entry: Entry, covering: list[Granted]) -> Iterator[str]:
    """Yield what ``entry`` requests and ``covering`` does not list."""
    action = "exchange" if isinstance(entry, ExchangeEntry) else "deny" if isinstance(entry, DenyEntry) else "allow"
    if not any(action in granted.actions for granted in covering):
        yield f"the action {action}"
    if not isinstance(entry, ExchangeEntry):
        return
    target = entry.target
    if not any(is_granted(target.issuer_ref, granted.issuers) for granted in covering):
        yield f"issuer {bounded(target.issuer_ref)}"
    for audience in target.audiences:
        if not any(is_audience_granted(audience, granted.audiences) for granted in covering):
            yield f"audience {bounded(audience)}"
    for resource in target.resources:
        if not any(is_resource_granted(resource, granted.resources) for granted in covering):
            yield f"resource {bounded(resource)}"
    for scope in target.scope.split():
        if not any(is_scope_granted(scope, granted.scopes) for granted in covering):
            yield f"scope {bounded(scope)}"


def is_granted(value: str, patterns: tuple[str, ...] | frozenset[str]) -> bool:
    """Return whether one of ``patterns`` is ``value``, or ends with a star and otherwise begins it.

    A value with white space, a comma or a control character matches no star.
    """
    return value in patterns or any(True for _ in _stems(value, patterns))


def is_scope_granted(scope: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a single ``scope`` is granted. One that RFC 6749 does not allow is not."""
    return _is_scope(scope) is not None and is_granted(scope, patterns)


def is_resource_granted(resource: str, patterns: tuple[str, ...]) -> bool:
    """Return whether ``resource`` is granted. A star stands only for text that all servers read alike."""
    return resource in patterns or any(_is_read_alike(resource, stem) for stem in _stems(resource, patterns))


def is_audience_granted(audience: str, patterns: tuple[str, ...]) -> bool:
    """Return whether ``audience`` is granted. Some servers parse URLs among audiences, so for these a star is that of a resource."""
    return is_resource_granted(audience, patterns) if "://" in audience else is_granted(audience, patterns)


def _stems(value: str, patterns: tuple[str, ...] | frozenset[str]) -> Iterator[str]:
    """Yield the text before the star of each pattern with which ``value`` begins."""
    for pattern in () if _find_odd(value) else patterns:
        if pattern.endswith(ANYTHING) and value.startswith(pattern[:-1]):
            yield pattern[:-1]


def _is_read_alike(url: str, stem: str) -> bool:
    """Return whether the rest of ``url`` after ``stem`` is a path with one interpretation, and so stays below the stem.

    The stem is the operator's own text, and may have escapes.
    """
    origin = _match_origin(url)
    start = len(stem) if origin is None else max(len(stem), origin.end())
    rest = url[start:]
    if not rest.startswith("/") or (stem.endswith("/") and start == len(stem)):
        rest = f"/{rest}"
    return read_path(rest, "GET") == (rest,)
