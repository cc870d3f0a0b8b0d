"""The share of one namespace: how many entries and closed areas it may have, and how much work they may add to one request.

A request is looked up at each prefix that covers it, on its host and on each wildcard above, and by headers if entries name some. So
these are counted for each namespace when a version is built: an entry that exceeds the share is invalid and closes its own area, whatever
other namespaces do. The result depends only on the namespace's documents, not on their order of arrival.

Must not know: requests, grants, or other namespaces.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeAlias, final

import attrs
from rpds import HashTrieMap

from exchanger.codes.manifests import DEEP_ENTRIES, MANY_AREAS, MANY_ENTRIES
from exchanger.codes.problem import Problem
from exchanger.policy.authority import WILDCARD, wildcards_above
from exchanger.policy.documents.document import Aside, PolicyDocument
from exchanger.policy.prefix import fold, spellings_of
from exchanger.util.text import bounded
from exchanger.values.entry import Claim, Entry, FailClosedRegion, MatchScope, PathType, Source

# Look-ups that the claims of one namespace may make of one interpretation of a path, each about a microsecond, for HEAD too: half a
# millisecond for the 16 that a path may have. Five nested prefixes on a host and on each of three wildcards above it leave room.
MAX_LOOKUPS: Final = 24
# What header names at a prefix count: once for all of them, and for each combination that a request may have.
_HEADERS: Final = 4
_COMBINATION: Final = 1
# What else counts as a look-up: each tree of prefixes besides the plain one of a host, and each additional part of a claim under grants.
_TREE: Final = 1
_PART: Final = 1
# Nested regions of one host that close what exceeds a share. Each closes for a method that none above it closes for.
MAX_CLOSING: Final = 8
# The same on a wildcard; a request may have seven of them above its host.
MAX_CLOSING_ABOVE: Final = 2
# The reason for entries that a share closes.
SHARE_CODES: Final = frozenset({MANY_ENTRIES, DEEP_ENTRIES, MANY_AREAS})


@final
@attrs.frozen
class NamespaceLimits:
    """What the operator lets each namespace have in all its documents together.

    ``entries`` counts invalid and refused ones, too. ``areas`` are host and prefix pairs that mistakes close. ``documents`` are the
    ConfigMaps that are read, and ``kib`` is the size of their texts and unusual labels, in KiB.
    """

    # Twice what fits a ConfigMap with entries of usual length.
    entries: int = 10_000
    # As many as entries, so that one wrong name in all of them, such as that of an issuer, closes each in its own place.
    areas: int = 10_000
    # One for each entry.
    documents: int = 10_000
    # 400 bytes for each of 10,000 entries, or four full ConfigMaps.
    kib: int = 4_096


@final
@attrs.frozen
class Division:
    """How a namespace's share is divided: the documents that it changes, as it leaves them.

    ``most`` is how many look-ups of one interpretation of a path the claims make that it leaves.
    """

    changed: "HashTrieMap[Source, PolicyDocument]"
    most: int


_Key: TypeAlias = tuple[Source, int | None, MatchScope]
# What is looked up at one prefix: the tree, the path type, whether it is narrowed, whether the spelling is a decoded one, and ``within``.
_Place: TypeAlias = tuple["_Tree", PathType, bool, bool, str]
# Prefixes of a host that are searched together: whether they are of regions of unknown host, and whether they ignore case.
_Tree: TypeAlias = tuple[bool, bool]


# Returns the region that closes all that the namespace of a document is granted, for a problem.
Whole: TypeAlias = Callable[[PolicyDocument, Problem], FailClosedRegion]


def shared(documents: Iterable[PolicyDocument], limits: NamespaceLimits, whole: Whole) -> Division:
    """Divide the share among ``documents``, which are all documents of one namespace."""
    before = sorted(documents, key=lambda document: document.source)
    crowded = sum(weight(document).entries for document in before) > limits.entries
    closes_much = sum(weight(document).areas for document in before) > limits.areas or any(document.aside for document in before)
    ordered = list(_set_aside(before, limits, whole)) if crowded or closes_much else before
    problems = dict(_too_many(ordered, limits)) if crowded else {}
    hosts: dict[str | None, list[Claim]] = defaultdict(list)
    for document in ordered:
        for claim in document.claims:
            if not problems or _key(claim) not in problems:
                hosts[claim.match.host].append(claim)
    exceeding, most = _exceeding(hosts)
    problems.update((_key(claim), _too_deep(claim)) for claim in exceeding if not isinstance(claim, FailClosedRegion))
    closed_on = {claim.match.host for claim in exceeding} | {scope.host for _, _, scope in problems}
    left = [_closed(document, problems) for document in ordered]
    closing = _closing(region for document in left for region in document.regions if region.match.host in closed_on)
    changed: dict[Source, PolicyDocument] = {}
    for document, alone in zip(left, before, strict=True):
        closes = any(region.match.host in closed_on for region in document.regions)
        if document is alone and not closes:
            continue
        regions = tuple(
            region if region.match.host not in closed_on else closing[_key(region)]
            for region in document.regions
            if region.match.host not in closed_on or _key(region) in closing
        )
        changed[document.source] = attrs.evolve(document, alone=document.alone or alone, closing=regions if closes else None)
    return Division(HashTrieMap(changed), most)


@final
@attrs.frozen
class Lookups:
    """A bound on the look-ups that claims make of one interpretation of a path, which grows with each set of claims that is added.

    Those on wildcards and unknown hosts count for every host, those on a host for this one alone. So documents on hosts of their own add
    nothing to one another.
    """

    covering: int = 0
    by_host: "HashTrieMap[str, int]" = attrs.field(factory=HashTrieMap, repr=False)
    on_one_host: int = 0

    @property
    def most(self) -> int:
        """The bound; more than the share if a claim exceeds it."""
        return self.covering + self.on_one_host

    def added(self, claims: Iterable[Claim]) -> "Lookups":
        """Return the bound for ``claims``, too: those of two sets of claims together make at most the sum."""
        hosts: dict[str | None, list[Claim]] = defaultdict(list)
        for claim in claims:
            hosts[claim.match.host].append(claim)
        covering, by_host, on_one_host = self.covering, self.by_host, self.on_one_host
        for host, own in hosts.items():
            exceeding, deepest = _exceeding({host: own})
            more = MAX_LOOKUPS + 1 if exceeding else deepest
            if host is None or host.startswith(WILDCARD):
                covering += more
            else:
                more += by_host.get(host, 0)
                by_host, on_one_host = by_host.insert(host, more), max(on_one_host, more)
        return Lookups(covering, by_host, on_one_host)


def may_exceed(entries: int, areas: int, lookups: Lookups, limits: NamespaceLimits) -> bool:
    """Return whether a namespace with so much, whose claims make so many look-ups of one path, may exceed its share."""
    return entries > limits.entries or areas > limits.areas or lookups.most > MAX_LOOKUPS


def lacking(documents: Iterable[PolicyDocument], limits: NamespaceLimits) -> tuple[PolicyDocument, ...]:
    """Return those of ``documents``, all documents of one namespace, that are set aside although there is room: they must be read."""
    before = sorted((document.alone or document for document in documents), key=lambda document: document.source)
    beyond = _beyond(before, limits) if any(document.aside is not None for document in before) else set()
    return tuple(document for document in before if document.aside is not None and document.source not in beyond)


def weight(document: PolicyDocument) -> Aside:
    """Return the counts of ``document``. Additional parts that grants make of an entry are separate areas."""
    if document.aside is not None:
        return document.aside
    parts = sum(bool(entry.match.within) for entry in document.entries)
    entries = len(document.entries) - parts + len(document.problems) + len(_refused(document))
    return Aside(entries, len(document.regions) + parts)


def _refused(document: PolicyDocument) -> set[int]:
    """Return the entries of ``document`` that have no effect, since they are outside the grants."""
    if not document.refused:
        return set()
    kept = {claim.index for claim in (*document.entries, *document.regions)}
    return {refusal.index for refusal in document.refused if refusal.index is not None and refusal.index not in kept}


def _beyond(ordered: Iterable[PolicyDocument], limits: NamespaceLimits) -> set[Source]:
    """Return the documents that close areas beyond the limit, in the order of their names, and all later ones that close several.

    Entries beyond their limit close one area each. A document without a text has only its own.
    """
    found: set[Source] = set()
    entries = areas = 0
    for document in ordered:
        has = weight(document)
        entries += has.entries
        own = has.areas + min(has.entries, max(0, entries - limits.entries))
        areas += own
        if own > 1 and areas > limits.areas and document.text is not None:
            found.add(document.source)
    return found


def _set_aside(ordered: list[PolicyDocument], limits: NamespaceLimits, whole: Whole) -> Iterator[PolicyDocument]:
    """Yield the documents; those with areas beyond the limit without their content, and closing all that their namespace is granted.

    Nothing else of these is kept, so they must be read again when there is room.
    """
    beyond = _beyond(ordered, limits)
    for document in ordered:
        if document.source not in beyond and document.aside is None:
            yield document
            continue
        alone = document
        if document.aside is None:
            first = document.regions[:1]
            alone = attrs.evolve(document, entries=(), regions=first, refused=(), written=None, aside=weight(document))
        text = f"the document exceeds the {limits.areas} areas that a namespace may close in all its documents, so it closes all "
        text += "that its namespace is granted, and is otherwise ignored"
        text += "".join(f"; the first: {region.reason}" for region in alone.regions)
        region = whole(document, Problem(MANY_AREAS, text, line=alone.regions[0].line if alone.regions else None))
        yield attrs.evolve(alone, regions=(region,), alone=alone)


def _key(claim: Claim) -> _Key:
    return claim.source, claim.index, claim.match


def _at_most(claim: Claim) -> int:
    """Return a bound, which costs nearly nothing, on the look-ups that ``claim`` makes of a path."""
    prefix, headers = claim.match.path_prefix, claim.match.headers
    spellings = 1 if prefix.isascii() and "%" not in prefix else 4
    return spellings * (1 + _PART * bool(claim.match.within) + (_HEADERS + _COMBINATION * len(headers) if headers else 0))


def _too_many(documents: Iterable[PolicyDocument], limits: NamespaceLimits) -> Iterator[tuple[_Key, Problem]]:
    """Yield the entries beyond the limit, in the order of the names of their documents."""
    count = 0
    for document in documents:
        if document.aside is not None:
            count += document.aside.entries
            continue
        entries: dict[int, list[Entry]] = {}
        for entry in document.entries:
            entries.setdefault(entry.index, []).append(entry)
        invalid = {region.index for region in document.problems if region.index is not None}
        for index in sorted({*entries, *invalid, *_refused(document)}):
            count += 1
            for entry in entries.get(index, ()) if count > limits.entries else ():
                text = f"entries[{index}] is beyond the {limits.entries} entries that a namespace may have in all its documents"
                yield _key(entry), Problem(MANY_ENTRIES, text, index, line=entry.line)


def _too_deep(entry: Entry) -> Problem:
    host = bounded(entry.match.host or "")
    limit = f"the prefixes that cover one path may need {MAX_LOOKUPS} look-ups, counting wildcards and header names"
    text = f"entries[{entry.index}] exceeds its namespace's share on {host}: {limit}"
    return Problem(DEEP_ENTRIES, text, entry.index, line=entry.line)


def _breadth(host: str | None) -> tuple[int, int, str]:
    """Return the sort key of hosts: those first that cover others."""
    if host is None:
        return 0, 0, ""
    return 1 if host.startswith(WILDCARD) else 2, host.count("."), host


def _exceeding(hosts: Mapping[str | None, list[Claim]]) -> tuple[list[Claim], int]:
    """Return the claims that take more than the share, and the most look-ups that the others make of one path.

    Broad hosts and short prefixes come first.
    """
    used: dict[str | None, int] = {}
    found: list[Claim] = []
    most = 0
    for host in sorted(hosts, key=_breadth):
        covers_hosts = host is None or host.startswith(WILDCARD)
        above = () if host is None else (None, *wildcards_above(host.removeprefix(WILDCARD)))
        own = _TREE * len({_tree(claim) for claim in hosts[host]} - {_PLAIN})
        taken = own + sum(used.get(other, 0) for other in above)
        if not covers_hosts and taken + sum(map(_at_most, hosts[host])) <= most:
            continue
        too_deep, deepest = _sweep(_lookups(hosts[host]), MAX_LOOKUPS - taken)
        used[host] = own + deepest
        most = max(most, taken + deepest)
        if too_deep:
            found += [claim for claim in hosts[host] if any(prefix in too_deep for prefix, _ in _prefixes(claim))]
    return found, most


def _tree(claim: Claim) -> _Tree:
    return isinstance(claim, FailClosedRegion) and claim.reaches_any_host, claim.match.case_insensitive


_PLAIN: Final[_Tree] = (False, False)


def _prefixes(claim: Claim) -> Iterator[tuple[str, bool]]:
    """Yield each spelling under which ``claim`` is found, folded, so that prefixes with and without case are one chain."""
    spellings = spellings_of(claim.match)
    for spelling in spellings.literal:
        yield fold(spelling), False
    for spelling in spellings.rewritten:
        yield fold(spelling), True


def _lookups(claims: Iterable[Claim]) -> dict[str, int]:
    """Return how many look-ups ``claims`` make at each prefix that covers a path."""
    found: dict[str, dict[_Place, set[tuple[str, ...]]]] = {}
    for claim in claims:
        names = tuple(name for name, _ in claim.match.headers)
        for prefix, rewritten in _prefixes(claim):
            place = (_tree(claim), claim.match.path_type, claim.match.narrowed, rewritten, claim.match.within)
            combinations = found.setdefault(prefix, {}).setdefault(place, set())
            combinations.update(names[:count] for count in range(1, len(names) + 1))
    return {
        prefix: sum(
            1 + _PART * bool(within) + (_HEADERS + _COMBINATION * len(combinations) if combinations else 0)
            for (_, _, _, _, within), combinations in places.items()
        )
        for prefix, places in found.items()
    }


def _sweep(lookups: Mapping[str, int], room: int) -> tuple[set[str], int]:
    """Return the prefixes for which there is no room below those above them, and the most look-ups that the others make of one path."""
    too_deep: set[str] = set()
    most = 0
    above = [("", 0)]
    for prefix in sorted(lookups):
        while not prefix.startswith(above[-1][0]):
            above.pop()
        total = above[-1][1] + lookups[prefix]
        if total > room:
            too_deep.add(prefix)
        else:
            most = max(most, total)
            above.append((prefix, total))
    return too_deep, most


def _closed(document: PolicyDocument, problems: Mapping[_Key, Problem]) -> PolicyDocument:
    """Return ``document`` with its entries among ``problems`` as regions."""
    beyond = [entry for entry in document.entries if _key(entry) in problems]
    if not beyond:
        return document
    regions = list(document.regions)
    for entry in beyond:
        problem = problems[_key(entry)]
        regions.append(FailClosedRegion(entry.source, entry.match.closed, problem.text, entry.index, entry.line, problems=(problem,)))
    entries = tuple(entry for entry in document.entries if _key(entry) not in problems)
    return attrs.evolve(document, entries=entries, regions=tuple(regions))


def _closing(regions: Iterable[FailClosedRegion]) -> dict[_Key, FailClosedRegion]:
    """Return the regions that close what all ``regions`` do, few of them nested: those that another one covers are left out.

    If more than ``MAX_CLOSING`` are nested, or ``MAX_CLOSING_ABOVE`` on a wildcard, the last of these closes everything below it.
    """
    kept: dict[_Key, FailClosedRegion] = {}
    host: str | None = None
    above: list[tuple[str, _Key]] = []
    for region in sorted(regions, key=_order):
        prefix = fold(region.match.path_prefix)
        if not above or region.match.host != host:
            host, above = region.match.host, []
        while above and not prefix.startswith(above[-1][0]):
            above.pop()
        if any(_covers(kept[key], region) for _, key in above):
            continue
        if len(above) >= (MAX_CLOSING if host is not None and not host.startswith(WILDCARD) else min(MAX_CLOSING, MAX_CLOSING_ABOVE)):
            key = above[-1][1]
            widened = _widened(kept[key], region)
            if widened is not None:
                kept[key] = widened
                continue
        kept[_key(region)] = region
        above.append((prefix, _key(region)))
    return kept


def _order(region: FailClosedRegion) -> tuple[object, ...]:
    """Return the sort key that puts regions after those that may cover them."""
    match = region.match
    methods = (0, ()) if match.methods is None else (1, tuple(sorted(match.methods)))
    kind = list(PathType).index(match.path_type)
    host = match.host or ""
    return host, fold(match.path_prefix), kind, not match.case_insensitive, methods, match.within, region.source, region.index or 0


def _is_alike(region: FailClosedRegion, other: FailClosedRegion) -> bool:
    return (region.guessed, region.area, region.match.within) == (other.guessed, other.area, other.match.within)


def _covers(region: FailClosedRegion, other: FailClosedRegion) -> bool:
    """Return whether ``region``, on the same host, closes all that ``other`` does, in all its spellings."""
    return _is_alike(region, other) and _covers_methods(region.match, other.match) and _covers_paths(region.match, other.match)


def _covers_methods(scope: MatchScope, other: MatchScope) -> bool:
    return scope.methods is None or (other.methods is not None and other.methods <= scope.methods)


def _covers_paths(scope: MatchScope, other: MatchScope) -> bool:
    prefix, longer = scope.path_prefix, other.path_prefix
    if scope.case_insensitive:
        prefix, longer = fold(prefix), fold(longer)
    elif other.case_insensitive:
        return False
    if not longer.startswith(prefix):
        return False
    if scope.path_type is PathType.EXACT:
        return prefix == longer and other.path_type is PathType.EXACT
    if scope.path_type is PathType.PREFIX:
        return True
    return longer[len(prefix) :].startswith("/") or (prefix == longer and other.path_type is not PathType.PREFIX)


def _widened(region: FailClosedRegion, other: FailClosedRegion) -> FailClosedRegion | None:
    """Return ``region`` for all methods, and for all paths below it if it must be, so that it covers ``other``; ``None`` if it cannot."""
    if not _is_alike(region, other):
        return None
    match = attrs.evolve(region.match, methods=None)
    if not _covers_paths(match, other.match):
        match = attrs.evolve(match, path_type=PathType.PREFIX, case_insensitive=match.case_insensitive or other.match.case_insensitive)
    return attrs.evolve(region, match=match)
