"""Restricts a document by grants: each entry and region is checked against its namespace's allowance. Pure, and takes bounded work.

An entry wholly inside the allowance stays, one wholly outside is refused and has no effect. One that lies partly inside, or requests
something that is not granted, is invalid and closes its granted part. So nothing closes outside, and nothing opens inside.

Must not know: grants files, or requests.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from typing import ClassVar, Final, final

import attrs
from rpds import HashTrieMap

from exchanger.codes import grants as codes
from exchanger.codes.code import Code
from exchanger.codes.problem import Problem
from exchanger.policy.documents.document import Labels, PolicyDocument, PolicyRefusal
from exchanger.policy.grants.allowance import (
    ANYTHING,
    UNLIMITED,
    Allowance,
    Granted,
    Grants,
    common_hosts,
    hosts_above,
    missing,
)
from exchanger.policy.prefix import Spellings, decoded_again, fold, prefix_spellings
from exchanger.policy.routing.table import VirtualHosts
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

# Regions that grants may add to those of a document's text, which takes a millisecond. With more parts the document closes all that its
# namespace is granted, which is one value for all documents of the namespace.
MAX_REGIONS: Final = 64
# The character after a prefix of whole segments.
_ENDS_OF_SEGMENT: Final = ("", "/", "?")
# Missing grants that a reason names.
_NAMED: Final = 4
_NOT_GRANTED: Final = "is outside the hosts and paths that its namespace is granted"
_PARTLY: Final = "covers more than its namespace is granted"
# The characters that may follow a whole segment.
_ENDS: Final = re.compile("[/?]")


def restrict(written: PolicyDocument, grants: Grants, descriptions: tuple[Labels, ...]) -> PolicyDocument:
    """Return the rest of ``written``, a document as its author wrote it, in a namespace with these ``descriptions``.

    The result keeps ``written`` and the descriptions, so that it can be computed again when the grants change.
    """
    left = written
    for allowance in grants.allowances(written.source.namespace, descriptions):
        left = _restricted(left, allowance, grants)
    if not grants.limited and left is written:
        return written  # other grants never follow none
    return attrs.evolve(left, written=None if left is written else written, namespace_labels=descriptions)


def restrict_again(document: PolicyDocument, grants: Grants) -> PolicyDocument:
    """Return ``document`` under other ``grants``."""
    alone = document.alone or document
    if alone.aside is not None:
        return alone  # it must be read again, and closes everything granted until then
    return restrict(alone.written or alone, grants, alone.namespace_labels)


def closed_whole(grants: Grants, document: PolicyDocument, problem: Problem) -> FailClosedRegion:
    """Return the region that closes everything granted to the namespace of ``document`` for ``problem``: one value, whatever its size."""
    namespace = document.source.namespace
    region = FailClosedRegion(document.source, EVERYWHERE, problem.text, line=problem.line, problems=(problem,))
    for allowance in grants.allowances(namespace, document.namespace_labels) if grants.enforced else ():
        if not _is_free(namespace, allowance):
            region = attrs.evolve(region, area=_area(region, allowance, grants))
    return region


@final
@attrs.frozen
class Cut:
    """What documents in force are checked against at each look-up, until they are restricted themselves.

    ``allowances`` has the new allowances of namespaces that may no longer do all that they could. ``denials`` are the new baseline.
    ``enforced`` as in ``Grants``.
    """

    allowances: "HashTrieMap[str, tuple[Allowance, ...]]" = attrs.field(factory=HashTrieMap)
    denials: VirtualHosts | None = None
    enforced: bool = True

    def spares(self, entry: Entry, path: str) -> bool:
        """Return whether ``entry`` may still decide about ``path``, which it covers. Costs a judgement for each allowance."""
        allows = isinstance(entry, AllowEntry)
        for allowance in self.allowances.get(entry.source.namespace, ()):
            if not allows and (not self.enforced or _is_free(entry.source.namespace, allowance)):
                continue
            judged = _judge(entry, allowance, parts_count=False)
            if isinstance(judged, _Invalid | _Outside):
                return False
            at = len(entry.match.path_prefix)
            if judged[0].match != entry.match and not (path.startswith(entry.match.path_prefix) and path[at : at + 1] in _ENDS_OF_SEGMENT):
                return False
        return True


def _is_free(namespace: str, allowance: Allowance) -> bool:
    """Return whether nothing but ``action: allow`` needs a grant."""
    return allowance is UNLIMITED or namespace == UNKNOWN_NAMESPACE


def _restricted(document: PolicyDocument, allowance: Allowance, grants: Grants) -> PolicyDocument:
    enforced = grants.enforced
    free = _is_free(document.source.namespace, allowance)
    if free and not any(isinstance(entry, AllowEntry) for entry in document.entries):
        return document
    entries: list[Entry] = []
    refusals = {refusal.index: refusal for refusal in document.refused}
    regions = _Regions(document, allowance, grants)
    for entry in document.entries:
        allows = isinstance(entry, AllowEntry)
        judged = (entry,) if free and not allows else _judge(entry, allowance)
        if not isinstance(judged, _Invalid | _Outside):
            entries += judged if enforced or allows else (entry,)
        elif not enforced and not allows:
            entries.append(entry)
            reason = f"would be {judged.word}: entries[{entry.index}] {judged.reason}"
            refusals[entry.index] = PolicyRefusal(entry.source, entry.index, reason, judged.code, entry.line)
        elif isinstance(judged, _Invalid):
            reason = f"entries[{entry.index}] {judged.reason}"
            problems = (Problem(judged.code, reason, entry.index, line=entry.line),)
            regions.add(
                FailClosedRegion(entry.source, scope, reason, entry.index, entry.line, problems=problems) for scope in judged.closes
            )
        else:
            reason = f"entries[{entry.index}] {judged.reason}"
            refusals[entry.index] = PolicyRefusal(entry.source, entry.index, reason, judged.code, entry.line)
    entries = regions.without_invalid(entries)
    for region in document.regions:
        left = regions.add(iter((region,)) if free or not enforced else _parts(region, allowance, grants, at_once=document.text is None))
        if not left and region.index not in refusals:
            what = "the document" if region.index is None else f"entries[{region.index}]"
            reason = f"{what} {_NOT_GRANTED}; it is invalid too: {region.reason}"
            refusals[region.index] = PolicyRefusal(region.source, region.index, reason, codes.OUTSIDE_GRANTS, region.line)
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
        """Add regions; return whether there was one."""
        some = False
        for region in regions:
            some = True
            if self._is_crowded:
                break
            self._found[region] = None
        return some

    def without_invalid(self, entries: list[Entry]) -> list[Entry]:
        """Return those of ``entries`` of which every part is valid; the others close together with the invalid part.

        Parts come from an earlier description of the namespace, and may be valid or not under another one.
        """
        invalid = {region.index: region for region in self._found}
        for entry in entries:
            if (region := invalid.get(entry.index)) is not None:
                self.add(iter((attrs.evolve(region, match=entry.match.closed),)))
        return [entry for entry in entries if entry.index not in invalid]

    def all(self) -> tuple[FailClosedRegion, ...]:
        """Return all regions."""
        if not self._is_crowded:
            return tuple(self._found)
        reason = f"the document closes too many parts; the first: {next(iter(self._found)).reason}"
        region = FailClosedRegion(self._document.source, EVERYWHERE, reason, problems=(Problem(codes.MANY_PARTS, reason),))
        return tuple(_parts(region, self._allowance, self._grants))


@final
@attrs.define(eq=False)
class _Invalid:
    """The entry closes ``closes``, which are computed lazily, one after the other."""

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


def _judge(entry: Entry, allowance: Allowance, *, parts_count: bool = True) -> tuple[Entry, ...] | _Invalid | _Outside:
    """Return the rest of ``entry``. Parts cost all granted prefixes: without ``parts_count``, an uncovered entry is outside."""
    scope = entry.match
    near = allowance.near(scope.host)
    covering = [granted for granted in near if _covers(granted, scope)]
    beside: tuple[DenyEntry | ExchangeEntry, ...] | None = ()
    if not covering and scope.path_type is PathType.PREFIX and not scope.within:
        # A plain prefix that is granted as whole segments most likely means these. It keeps its author's place among other entries.
        scope = attrs.evolve(scope, path_type=PathType.SEGMENT, narrowed=True)
        covering = [granted for granted in near if scope.path_prefix in granted.prefixes and _covers(granted, scope)]
        beside = _beside(entry, near) if covering and not isinstance(entry, AllowEntry) else ()
    if covering and beside is not None:
        lacking = list(missing(entry, covering))
        if not lacking:
            return (entry,) if scope is entry.match else (attrs.evolve(entry, match=scope), *beside)
        more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
        reason = f"requests what its namespace is not granted: {', '.join(lacking[:_NAMED])}{more}"
        closes = (part.closed for part in (scope, *(other.match for other in beside)))
        return _Invalid(reason, codes.NOT_GRANTED, closes)
    if not parts_count:
        return _Outside()
    parts = (part for granted in near for part in _intersections(entry.match.closed, granted))
    first = next(parts, None)
    return _Outside() if first is None else _Invalid(_PARTLY, codes.PARTLY_OUTSIDE_GRANTS, chain((first,), parts))


def _beside(entry: DenyEntry | ExchangeEntry, near: tuple[Granted, ...]) -> tuple[DenyEntry | ExchangeEntry, ...] | None:
    """Return the other granted paths that a plain prefix covers in addition to its whole segments, such as /api-v2 for /api.

    An exchange keeps such parts if a grant lists everything that it requests; otherwise its author most likely meant whole segments. A
    denial keeps them under any grant, so that nothing opens. They keep their place in the order of entries, behind entries with a longer
    prefix. ``None`` if there are more than ``MAX_REGIONS``.
    """
    if isinstance(entry, ExchangeEntry):
        near = tuple([granted for granted in near if not any(True for _ in missing(entry, [granted]))])
    texts, found = _Paths.of(entry.match).texts, set[tuple[str, str | None]]()
    for granted in near:
        above = (prefix for text in texts for prefix in _prefixes_above(text, PathType.PREFIX) if prefix in granted.spellings)
        everything = ("/",) if "" in granted.spellings else ()
        prefixes = everything or chain(above, *[_siblings(text, granted.ordered) for text in texts])
        hosts = tuple(common_hosts(entry.match.host, granted.hosts))
        for part in ((prefix, host) for prefix in prefixes for host in hosts):
            found.add(part)
            if len(found) > MAX_REGIONS:
                return None
    outer = [
        (prefix, host)
        for prefix, host in sorted(found, key=lambda part: (part[0], part[1] or ""))
        if prefix == "/" or not any((above, host) in found for above in ("/", *_prefixes_above(prefix, PathType.PREFIX)))
    ]
    return tuple([attrs.evolve(entry, match=attrs.evolve(entry.match, host=host, within=prefix)) for prefix, host in outer])


def _siblings(text: str, prefixes: tuple[str, ...]) -> Iterator[str]:
    """Yield those of the sorted ``prefixes`` that begin with ``text`` and are not below it."""
    at = bisect_left(prefixes, text)
    while at < len(prefixes) and prefixes[at].startswith(text):
        if prefixes[at].startswith(f"{text}/"):
            at = bisect_left(prefixes, f"{text}0")  # the character after the slash
            continue
        if not _is_below(prefixes[at], text):
            yield prefixes[at]
        at += 1


def _parts(region: FailClosedRegion, allowance: Allowance, grants: Grants, *, at_once: bool = False) -> Iterator[FailClosedRegion]:
    """Yield the parts of ``region`` that the allowance covers; one for all of them if that is everything granted, and large.

    ``at_once``: even if it is small. There may be many unread documents, and each must be small.
    """
    if region.match == EVERYWHERE and (region.area is not None or allowance.area_count > (1 if at_once else MAX_REGIONS)):
        area = _area(region, allowance, grants)
        if area.scopes:
            yield attrs.evolve(region, area=area)
        return
    for granted in allowance.near(region.match.host):
        for scope in _intersections(region.match, granted):
            guessed = region.reaches_any_host and scope.host is not None
            yield region if scope == region.match and guessed == region.guessed else attrs.evolve(region, match=scope, guessed=guessed)


def _area(region: FailClosedRegion, allowance: Allowance, grants: Grants) -> GrantedArea:
    """Return everything granted within a region over everything."""
    return grants.area(allowance) if region.area is None else _narrowed(region.area, allowance)


@lru_cache(maxsize=64)  # all documents of a namespace with several descriptions share one value
def _narrowed(area: GrantedArea, allowance: Allowance) -> GrantedArea:
    """Return the intersection with ``area`` and ``allowance``."""
    parts = (part for scope in area.scopes for granted in allowance.near(scope.host) for part in _intersections(scope, granted))
    return GrantedArea(tuple(dict.fromkeys(parts)))


def _covers(granted: Granted, scope: MatchScope) -> bool:
    """Return whether the hosts and paths of ``granted`` cover all of ``scope``."""
    hosts = (ANYTHING,) if scope.host is None else hosts_above(scope.host)
    return any(host in granted.hosts for host in hosts) and _covers_paths(granted, scope)


def _covers_paths(granted: Granted, scope: MatchScope) -> bool:
    if "" in granted.spellings:
        return True
    if scope.within and scope.within != "/":
        return any(above in granted.spellings for above in _prefixes_above(scope.within, PathType.SEGMENT))
    paths = _Paths.of(scope)
    return not paths.ignores_case and all(
        any(above in granted.spellings for above in _prefixes_above(text, scope.path_type)) for text in paths.texts
    )


def _prefixes_above(text: str, path_type: PathType) -> Iterator[str]:
    """Yield the whole-segment prefixes below which ``text`` covers everything."""
    for end in _ENDS.finditer(text, 1):
        yield text[: end.start()]
    if path_type is not PathType.PREFIX:
        yield text


def _intersections(scope: MatchScope, granted: Granted) -> Iterator[MatchScope]:
    """Yield the parts of ``scope`` that ``granted`` covers."""
    hosts = tuple(common_hosts(scope.host, granted.hosts))
    if not hosts:
        return
    paths = _Paths.of(scope)
    for prefix, spellings in granted.spelled:
        for part in _path_parts(scope, paths, prefix, spellings):
            for host in hosts:
                yield part if host == part.host else attrs.evolve(part, host=host)


@final
@attrs.frozen
class _Paths:
    """The paths that a scope covers: those that begin with one of ``texts``, the spellings of its prefix.

    ``meant`` also has what the prefix means after more decodings than look-ups consider, for servers that decode that often, each with the
    text that is compared.
    """

    path_type: PathType
    ignores_case: bool
    texts: tuple[str, ...]
    meant: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, scope: MatchScope) -> "_Paths":
        texts = prefix_spellings(scope.path_prefix).all
        if scope.path_type is not PathType.PREFIX:
            # These concern only the path, which ends before a decoded "?".
            texts = tuple(text for text in texts if "?" not in text)
        ignores_case = scope.case_insensitive and bool(scope.path_prefix)
        meant = (*texts, *decoded_again(scope.path_prefix))
        return cls(scope.path_type, ignores_case, texts, tuple((text, fold(text) if ignores_case else text) for text in meant))

    def inside(self, granted: str) -> Iterator[str]:
        """Yield the texts for which all paths that begin with them are below a granted prefix."""
        granted = fold(granted) if self.ignores_case else granted
        for text, compared in self.meant:
            if _is_below(compared, granted) and (self.path_type is not PathType.PREFIX or compared != granted):
                yield text

    def cover(self, granted: str) -> bool:
        """Return whether all paths below a granted prefix are among these."""
        granted = fold(granted) if self.ignores_case else granted
        is_prefix, is_exact = self.path_type is PathType.PREFIX, self.path_type is PathType.EXACT
        return not is_exact and any(
            granted.startswith(compared) and (is_prefix or _is_below(granted, compared)) for _, compared in self.meant
        )


def _path_parts(scope: MatchScope, paths: _Paths, granted: str, spellings: Spellings) -> Iterator[MatchScope]:
    """Yield the parts of ``scope`` below a granted prefix: ``scope`` itself if that is all of it.

    A path is below the prefix if it begins with any of its spellings. What is closed without grants must stay closed in each interpretation
    of a path, so there is a part for each spelling of either.
    """
    if not granted:
        yield scope
        return
    below = spellings.all
    if scope.within and scope.within != "/":
        if any(_is_below(scope.within, text) for text in below):
            yield scope
            return
        below = tuple(text for text in below if _is_below(text, scope.within))
    inside = {above: tuple(paths.inside(above)) for above in below}
    if not paths.ignores_case and set(paths.texts) <= set(chain.from_iterable(inside.values())):
        yield scope
        return
    whole = {above for above in below if paths.cover(above)}
    further = () if scope.within else decoded_again(granted)
    if any(paths.cover(above) or any(True for _ in paths.inside(above)) for above in further):
        whole.update(spellings.literal)
    for above, texts in inside.items():
        for text in texts if above not in whole else ():
            is_all = not paths.ignores_case and _is_plain(text)
            yield attrs.evolve(scope, path_prefix=text, within="" if is_all else above)
    if not whole:
        return
    all_granted = attrs.evolve(scope, path_prefix=granted, path_type=PathType.SEGMENT, case_insensitive=False, within="")
    if whole.issuperset(spellings.literal):
        yield all_granted
        whole.difference_update(spellings.literal)
    for above in sorted(whole):
        yield attrs.evolve(all_granted, path_prefix=above) if _is_plain(above) else attrs.evolve(all_granted, within=above)


def _is_plain(prefix: str) -> bool:
    """Return whether ``prefix`` has no spelling but itself."""
    return prefix_spellings(prefix).all == (prefix,)


def _is_below(prefix: str, other: str) -> bool:
    """Return whether a path that begins with ``prefix`` is ``other``, or continues with a slash after it."""
    return prefix.startswith(other) and (len(prefix) == len(other) or prefix[len(other)] in "/?")
