"""What grants leave of a document: each entry and region is held against the allowance of its namespace. Pure, and takes bounded work.

An entry wholly inside the allowance stays, one wholly outside is refused and takes no part in anything. In between, and where an entry
asks for what is not granted, it is invalid and closes its part of what is granted. So nothing closes outside, and nothing opens inside.

Must not know: grants files, or requests.
"""

from collections.abc import Iterator
from itertools import chain
from typing import ClassVar, Final, final

import attrs

from exchanger.codes import grants as codes
from exchanger.codes.code import Code
from exchanger.codes.problem import Problem
from exchanger.policy.authority import WILDCARD
from exchanger.policy.documents.document import Labels, PolicyDocument, Refusal
from exchanger.policy.grants.allowance import (
    ANYTHING,
    UNLIMITED,
    Allowance,
    Granted,
    Grants,
    hosts_above,
    is_granted,
    is_resource_granted,
    is_scope_granted,
)
from exchanger.policy.prefix import fold, prefix_spellings
from exchanger.util.text import bounded
from exchanger.values.entry import (
    EVERYWHERE,
    UNKNOWN_NAMESPACE,
    AllowEntry,
    DenyEntry,
    Entry,
    ExchangeEntry,
    FailClosedRegion,
    GrantedArea,
    MatchScope,
    PathType,
)

# Regions that grants may make of one document beyond those that its text makes, in a millisecond. With more parts it closes all that its
# namespace is granted, which is one value for all documents of the namespace.
MAX_REGIONS: Final = 64
# Missing grants that a reason names.
_NAMED: Final = 4
_NOT_GRANTED: Final = "is outside the hosts and paths that its namespace is granted"
_PARTLY: Final = "is only partly inside the hosts and paths that its namespace is granted"


def restrict(written: PolicyDocument, grants: Grants, descriptions: tuple[Labels, ...]) -> PolicyDocument:
    """Return what is left of ``written``, a document as its author wrote it, in a namespace with these ``descriptions``.

    The result keeps ``written`` and the descriptions, so that it can be made again when the grants change.
    """
    left = written
    for allowance in grants.allowances(written.source.namespace, descriptions):
        left = _restricted(left, allowance, grants)
    if not grants.limited and left is written:
        return written  # other grants never follow none
    return attrs.evolve(left, written=None if left is written else written, namespace_labels=descriptions)


def again(document: PolicyDocument, grants: Grants) -> PolicyDocument:
    """Return ``document`` under other ``grants``."""
    return restrict(document.written or document, grants, document.namespace_labels)


def _restricted(document: PolicyDocument, allowance: Allowance, grants: Grants) -> PolicyDocument:
    enforced = grants.enforced
    free = allowance is UNLIMITED or document.source.namespace == UNKNOWN_NAMESPACE
    if free and not any(isinstance(entry, AllowEntry) for entry in document.entries):
        return document
    entries: list[Entry] = []
    refusals = {refusal.index: refusal for refusal in document.refused}
    regions = _Regions(document, allowance, grants)
    for entry in document.entries:
        allows = isinstance(entry, AllowEntry)
        judged = entry if free and not allows else _judge(entry, allowance)
        if not isinstance(judged, _Invalid | _Outside):
            entries.append(judged if enforced or allows else entry)
        elif not enforced and not allows:
            entries.append(entry)
            reason = f"would be {judged.word}: entries[{entry.index}] {judged.reason}"
            refusals[entry.index] = Refusal(entry.source, entry.index, reason, judged.code, entry.line)
        elif isinstance(judged, _Invalid):
            reason = f"entries[{entry.index}] {judged.reason}"
            problems = (Problem(judged.code, reason, entry.index, line=entry.line),)
            regions.add(
                FailClosedRegion(entry.source, scope, reason, entry.index, entry.line, problems=problems) for scope in judged.closes
            )
        else:
            reason = f"entries[{entry.index}] {judged.reason}"
            refusals[entry.index] = Refusal(entry.source, entry.index, reason, judged.code, entry.line)
    for region in document.regions:
        left = regions.add(iter((region,)) if free or not enforced else _parts(region, allowance, grants))
        if not left and region.index not in refusals:
            what = "the document" if region.index is None else f"entries[{region.index}]"
            reason = f"{what} {_NOT_GRANTED}; it is invalid too: {region.reason}"
            refusals[region.index] = Refusal(region.source, region.index, reason, codes.OUTSIDE_GRANTS, region.line)
    closing = regions.all()
    if enforced:
        for region in closing:
            refusals.pop(region.index, None)
    same = (tuple(entries), closing, tuple(refusals.values()))
    if same == (document.entries, document.regions, document.refused):
        return document
    return PolicyDocument(document.source, *same[:2], document.text, refused=same[2])


@final
@attrs.define(eq=False)
class _Regions:
    """The regions of one document, each once; too many of them become one over all that its namespace is granted."""

    _document: PolicyDocument
    _allowance: Allowance
    _grants: Grants
    _found: dict[FailClosedRegion, None] = attrs.field(factory=dict, init=False)

    @property
    def _is_crowded(self) -> bool:
        return len(self._found) > MAX_REGIONS + len(self._document.entries) + len(self._document.regions)

    def add(self, regions: Iterator[FailClosedRegion]) -> bool:
        """Add regions; tell whether there was one."""
        some = False
        for region in regions:
            some = True
            if self._is_crowded:
                break
            self._found[region] = None
        return some

    def all(self) -> tuple[FailClosedRegion, ...]:
        """Return all regions."""
        if not self._is_crowded:
            return tuple(self._found)
        reason = f"the document has too many parts that close; the first: {next(iter(self._found)).reason}"
        region = FailClosedRegion(self._document.source, EVERYWHERE, reason, problems=(Problem(codes.MANY_PARTS, reason),))
        return tuple(_parts(region, self._allowance, self._grants))


@final
@attrs.define(eq=False)
class _Invalid:
    """The entry closes ``closes``, which are found one after the other, as far as they are wanted."""

    reason: str
    code: Code
    closes: Iterator[MatchScope]
    word: ClassVar[str] = "invalid"


@final
@attrs.frozen
class _Outside:
    """The entry counts for nothing."""

    reason: str = _NOT_GRANTED
    code: ClassVar[Code] = codes.OUTSIDE_GRANTS
    word: ClassVar[str] = "refused"


def _judge(entry: Entry, allowance: Allowance) -> Entry | _Invalid | _Outside:
    scope = entry.match
    near = allowance.near(scope.host)
    covering = [granted for granted in near if _covers(granted, scope)]
    if not covering and scope.path_type is PathType.PREFIX:
        # A plain prefix that is granted as whole segments is most likely meant so.
        scope = attrs.evolve(scope, path_type=PathType.SEGMENT)
        covering = [granted for granted in near if scope.path_prefix in granted.prefixes and _covers(granted, scope)]
    if covering:
        missing = list(_missing(entry, covering))
        if not missing:
            return entry if scope is entry.match else attrs.evolve(entry, match=scope)
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        reason = f"asks for what its namespace is not granted: {', '.join(missing[:_NAMED])}{more}"
        return _Invalid(reason, codes.NOT_GRANTED, iter((attrs.evolve(scope, headers=()),)))
    whole = attrs.evolve(entry.match, headers=())
    parts = (part for granted in near for part in _intersections(whole, granted))
    first = next(parts, None)
    return _Outside() if first is None else _Invalid(_PARTLY, codes.PARTLY_OUTSIDE_GRANTS, chain((first,), parts))


def _missing(entry: Entry, covering: list[Granted]) -> Iterator[str]:
    """Yield what ``entry`` asks for and ``covering`` does not list."""
    action = "exchange" if isinstance(entry, ExchangeEntry) else "deny" if isinstance(entry, DenyEntry) else "allow"
    if not any(action in granted.actions for granted in covering):
        yield f"the action {action}"
    if not isinstance(entry, ExchangeEntry):
        return
    target = entry.target
    if not any(is_granted(target.issuer_ref, granted.issuers) for granted in covering):
        yield f"issuer {bounded(target.issuer_ref)}"
    for audience in target.audiences:
        if not any(is_granted(audience, granted.audiences) for granted in covering):
            yield f"audience {bounded(audience)}"
    for resource in target.resources:
        if not any(is_resource_granted(resource, granted.resources) for granted in covering):
            yield f"resource {bounded(resource)}"
    for scope in target.scope.split():
        if not any(is_scope_granted(scope, granted.scopes) for granted in covering):
            yield f"scope {bounded(scope)}"


def _parts(region: FailClosedRegion, allowance: Allowance, grants: Grants) -> Iterator[FailClosedRegion]:
    """Yield the parts of ``region`` that the allowance covers; one for all of them if that is all that is granted, and much."""
    if region.match == EVERYWHERE and (region.area is not None or allowance.area_count > MAX_REGIONS):
        area = grants.area(allowance) if region.area is None else _narrowed(region.area, allowance)
        if area.scopes:
            yield attrs.evolve(region, area=area)
        return
    for granted in allowance.near(region.match.host):
        for scope in _intersections(region.match, granted):
            guessed = region.reaches_any_host and scope.host is not None
            yield region if scope == region.match and guessed == region.guessed else attrs.evolve(region, match=scope, guessed=guessed)


def _narrowed(area: GrantedArea, allowance: Allowance) -> GrantedArea:
    """Return what is in ``area`` and ``allowance``."""
    parts = (part for scope in area.scopes for granted in allowance.near(scope.host) for part in _intersections(scope, granted))
    return GrantedArea(tuple(dict.fromkeys(parts)))


def _covers(granted: Granted, scope: MatchScope) -> bool:
    """Tell whether the hosts and paths of ``granted`` cover all of ``scope``."""
    hosts = (ANYTHING,) if scope.host is None else hosts_above(scope.host)
    return any(host in granted.hosts for host in hosts) and any(_covers_paths(prefix, scope) for prefix in _prefixes_above(scope, granted))


def _prefixes_above(scope: MatchScope, granted: Granted) -> Iterator[str]:
    """Yield the granted prefixes that may cover those of ``scope``."""
    if len(granted.prefixes) <= scope.path_prefix.count("/") + 1 or "%" in scope.path_prefix or not scope.path_prefix.isascii():
        yield from granted.prefixes
        return
    at = 0
    while at >= 0:
        if scope.path_prefix[:at] in granted.prefixes:
            yield scope.path_prefix[:at]
        at = scope.path_prefix.find("/", at + 1)
    if scope.path_prefix in granted.prefixes:
        yield scope.path_prefix


def _covers_paths(granted: str, scope: MatchScope) -> bool:
    return set(_path_parts(scope, granted)) == {scope}


def _intersections(scope: MatchScope, granted: Granted) -> Iterator[MatchScope]:
    """Yield the parts of ``scope`` that ``granted`` covers."""
    hosts = tuple(_common_hosts(scope.host, granted.hosts))
    for prefix in granted.prefixes if hosts else ():
        for part in _path_parts(scope, prefix):
            for host in hosts:
                yield part if host == part.host else attrs.evolve(part, host=host)


def _common_hosts(host: str | None, granted: frozenset[str]) -> Iterator[str | None]:
    """Yield the hosts that ``host`` and ``granted`` have in common."""
    if ANYTHING in granted or (host is not None and any(above in granted for above in hosts_above(host))):
        yield host
    elif host is None:
        yield from sorted(granted)
    elif host.startswith(WILDCARD):
        yield from sorted(other for other in granted if other.endswith(host[1:]))


def _path_parts(scope: MatchScope, granted: str) -> Iterator[MatchScope]:
    """Yield the parts of ``scope`` below the granted prefix: ``scope`` itself if that is all of it."""
    if not granted or (scope.within and _is_below(scope.within, granted)):
        yield scope
        return
    if scope.within:
        if not _is_below(granted, scope.within):
            return
        scope = attrs.evolve(scope, within="")
    all_granted = attrs.evolve(scope, path_prefix=granted, path_type=PathType.SEGMENT, case_insensitive=False)
    if scope.case_insensitive and scope.path_prefix:
        prefix, folded = fold(scope.path_prefix), fold(granted)
        if _is_below(prefix, folded):
            yield attrs.evolve(scope, within=granted)
        elif _is_above(prefix, folded, scope.path_type):
            yield all_granted
        return
    spellings, others = prefix_spellings(scope.path_prefix), prefix_spellings(granted)
    prefixes = others.literal + others.rewritten
    inside, parts = True, dict[MatchScope, None]()
    for spelling in spellings.literal + spellings.rewritten:
        strict = scope.path_type is PathType.PREFIX
        if any(_is_below(spelling, prefix) and not (strict and spelling == prefix) for prefix in prefixes):
            parts[attrs.evolve(scope, path_prefix=spelling)] = None
            continue
        inside = False
        if any(_is_above(spelling, prefix, scope.path_type) for prefix in prefixes):
            parts[all_granted] = None
    yield from (scope,) if inside else parts


def _is_below(prefix: str, other: str) -> bool:
    """Tell whether ``prefix`` is ``other``, or goes on with a slash after it."""
    return prefix.startswith(other) and (len(prefix) == len(other) or prefix[len(other)] == "/")


def _is_above(prefix: str, other: str, path_type: PathType) -> bool:
    """Tell whether all paths below ``other`` are covered by ``prefix``."""
    if path_type is PathType.PREFIX:
        return other.startswith(prefix)
    return path_type is PathType.SEGMENT and _is_below(other, prefix)
