"""How a request is decided, in the simplest form: a look at every entry and fail-closed scope, for every text that the path may have been.

Nothing here is shared with the service but its values, and the texts that a host, a path or a prefix may be read as, which have laws of
their own.
"""

from collections.abc import Collection, Iterable, Iterator
from itertools import groupby, product
from operator import itemgetter

import attrs

from exchanger.model.authority import read_authority
from exchanger.model.entry import AllowEntry, Claim, DenyEntry, Entry, ExchangeEntry, FailClosedScope, MatchScope, PathType
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.interpretation import MAX_LOOKUPS
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.path import MAX_INTERPRETATIONS, MalformedPath, read_path
from exchanger.policy.prefix import prefix_spellings
from exchanger.policy.snapshot import UnreadableReach

# The answer is 500: a fail-closed scope covers the request, or entries tie.
CLOSED = "closed"
# The answer is 400, or 500: what the path was makes a difference.
DISPUTED = "disputed"
UNMATCHED = "unmatched"
Answer = Entry | str

# The small alphabet from which policies and requests are drawn, so that they meet, nest and tie.
METHODS = ("GET", "HEAD", "PUT", "POST")
QUERIES = ("", "?", "?a", "?/../b//%61")
HEADER_NAMES = ("x-a", "x_a", "x-b")
HEADER_VALUES = ("1", "2")
DOUBTFUL = ("1,2", " 1", "1\t", "1\udc85")
# What may come before a plain path, so that servers rewrite it, or cannot read it; ``!`` is a character beyond ASCII.
ODDITIES = ("", "/a/..", "/", "/%61", "/b;x", "/a!", "/!", "//x", "/%zz")

_LETTERS = {chr(code): chr(code + 32) for code in range(ord("A"), ord("Z") + 1)}


def without_case(text: str) -> str:
    return "".join(_LETTERS.get(char, char) for char in text)


def begins(path: str, area: MatchScope) -> bool:
    prefix = area.path_prefix
    if area.case_insensitive:
        path, prefix = without_case(path), without_case(prefix)
    if area.path_type is PathType.PREFIX:
        return path.startswith(prefix)
    path = path.partition("?")[0]
    return path == prefix or (area.path_type is PathType.SEGMENT and path.startswith(prefix + "/"))


def names(area: MatchScope, method: str) -> bool:
    return area.methods is None or method in area.methods


def covers(area: MatchScope, path: str, method: str) -> bool:
    return begins(path, area) and names(area, method)


Fields = list[tuple[str, str]]


def has(area: MatchScope, fields: Fields) -> bool:
    return all((name, value) in [(known.lower(), value) for known, value in fields] for name, value in area.headers)


def in_doubt(area: MatchScope, fields: Fields) -> bool:
    """Tell whether a header that ``area`` names comes twice, with a doubtful value, or under a name that differs in ``_`` and ``-``."""
    for name, _ in area.headers:
        alike = [(known.lower(), value) for known, value in fields if known.lower().replace("_", "-") == name.replace("_", "-")]
        if len(alike) > 1 or any(known != name or value in DOUBTFUL for known, value in alike):
            return True
    return False


def may_have(area: MatchScope, fields: Fields) -> bool:
    """Tell whether the headers that ``area`` names may be there if each ``!`` stands for a character beyond ASCII, or for nothing."""
    given = {known.lower(): value for known, value in fields}
    named = dict(area.headers)
    return any("!" in given.get(name, "") for name in named) and all(
        name in given and certain(given[name]) == certain(value) for name, value in named.items()
    )


def certain(text: str) -> str:
    return "".join(char for char in text if char.isascii() and char != "!")


@attrs.frozen
class Part:
    """What counts of an entry or fail-closed scope: ``paths`` alone, ``None`` for all that it covers."""

    claim: Claim
    paths: Collection[str] | None = None

    @property
    def match(self) -> MatchScope:
        return self.claim.match

    @property
    def is_apart(self) -> bool:
        return isinstance(self.claim, FailClosedScope) and self.claim.reaches_any_host

    def places(self, path: str, *, decoded: bool) -> Iterator[tuple[bool, int, bool, bool]]:
        """Yield the places among those of one host, for each spelling of the prefix that covers the path; the greatest comes first."""
        kind, spelled = self.match.path_type, prefix_spellings(self.match.path_prefix)
        if self.paths is not None and path not in self.paths:
            return
        for texts, is_written in ((spelled.literal, True), (spelled.rewritten if decoded else (), False)):
            for text in texts:
                if begins(path, attrs.evolve(self.match, path_prefix=text)):
                    yield kind is PathType.EXACT, len(text) or 1, kind is PathType.SEGMENT, is_written


def hosts_above(host: str) -> Iterator[str]:
    """Yield what an entry for ``host`` may have as its host, the nearest first."""
    yield host
    labels = host.split(".")
    for count in range(1, len(labels)):
        yield "*." + ".".join(labels[count:])


def decided_on(parts: list[Part], path: str, method: str, fields: Fields, *, raw: bool, decoded: bool) -> list[Entry] | str:
    """Return the entries of one host that come first, or the answer where there can be none."""
    places = [(part.claim, max(part.places(path, decoded=decoded), default=None)) for part in parts if names(part.match, method)]
    found = [(claim, place) for claim, place in places if place is not None]
    if any(isinstance(claim, FailClosedScope) for claim, _ in found):
        return CLOSED
    if any(in_doubt(claim.match, fields) for claim, _ in found):
        return DISPUTED
    for _, equal in groupby(sorted(found, key=itemgetter(1), reverse=True), key=itemgetter(1)):
        entries = [claim for claim, _ in equal if not isinstance(claim, FailClosedScope)]
        if not raw and any(may_have(entry.match, fields) for entry in entries):
            return DISPUTED
        entries = [entry for entry in entries if has(entry.match, fields)]
        if entries:
            most = max(len(entry.match.headers) for entry in entries)
            return [entry for entry in entries if len(entry.match.headers) == most]
    return []


@attrs.frozen
class Model:
    """What counts of a policy, and the headers of a request for one of ``hosts``, the nearest first."""

    parts: list[Part]
    hosts: list[str | None]
    reach: UnreadableReach
    fields: Fields
    raw: bool = True

    def on_hosts(
        self, hosts: list[str | None], path: str, method: str, *, is_rewritten: bool = False
    ) -> tuple[list[Entry] | str, int, bool]:
        """Return what the nearest host with anything to say says, how many hosts that took, and whether decoded prefixes counted."""
        for count, name in enumerate(hosts, 1):
            here = [part for part in self.parts if part.match.host == name and not part.is_apart]
            for decoded in [True] if is_rewritten else [False, True]:  # in the path as it came, a prefix that is written so comes first
                if found := decided_on(here, path, method, self.fields, raw=self.raw, decoded=decoded):
                    return found, count, decoded or found == DISPUTED
        return [], len(hosts), True

    def answer(self, path: str, method: str, *, is_rewritten: bool = False) -> Answer:
        """Return the answer for exactly this path, as it came or as a server has rewritten it."""
        if method != "HEAD":
            found, _, decoded = self.on_hosts(self.hosts, path, method, is_rewritten=is_rewritten)
            return self.unless_closed(path, method, found, [found], decoded=decoded)
        # Handlers of GET answer HEAD: the stricter of what covers HEAD itself and what decides GET; no host beyond the latter counts.
        as_get, count, decoded = self.on_hosts(self.hosts, path, "GET", is_rewritten=is_rewritten)
        itself, _, also = self.on_hosts(self.hosts[:count], path, "HEAD", is_rewritten=is_rewritten)
        own = self.unless_closed(path, "HEAD", itself, [itself, as_get], decoded=decoded and also)
        return max(own, self.unless_closed(path, "GET", as_get, [as_get], decoded=decoded), key=strictness)

    def unless_closed(
        self, path: str, method: str, found: list[Entry] | str, spared_by: list[list[Entry] | str], *, decoded: bool
    ) -> Answer:
        """Return what is ``found``; a fail-closed scope of unknown host counts unless something in ``spared_by`` spares it."""
        for part in self.parts:
            closed_scope = part.claim
            if isinstance(closed_scope, FailClosedScope) and part.is_apart and part.match.host in self.hosts and names(part.match, method):
                covers_path = any(True for _ in part.places(path, decoded=decoded))
                if covers_path and all(reaches(closed_scope, one, self.reach) for one in spared_by):
                    return CLOSED
        if isinstance(found, str):
            return found
        return UNMATCHED if not found else found[0] if len(found) == 1 else CLOSED


def claims_of(policy: Iterable[PolicyDocument]) -> list[Claim]:
    """Return all that is in the newest document of each source."""
    return [claim for document in {one.source: one for one in policy}.values() for claim in (*document.entries, *document.closed_scopes)]


def parts_of(policy: Iterable[PolicyDocument]) -> list[Part]:
    """Return the same as parts, of which all counts."""
    return [Part(claim) for claim in claims_of(policy)]


def answer(parts: list[Part], reach: UnreadableReach, host: str, path: str, method: str, fields: Fields | None = None) -> Answer:
    """Return the answer to a request whose path is exactly ``path``."""
    return Model(parts, [*hosts_above(host), None], reach, fields or []).answer(path, method)


def decision(
    parts: list[Part], reach: UnreadableReach, authority: str, path: str, method: str, fields: Fields, *, raw: bool = True
) -> Answer:
    """Return the answer on which all agree that a server may read; the path has no ``!`` unless the request is ``raw``.

    What is closed in one reading is closed.
    """
    host = read_authority(authority)
    hosts: list[str | None] = [None] if host is None else [*hosts_above(host), None]
    if not any(part.match.host in hosts for part in parts):
        return DISPUTED if host is None else UNMATCHED
    texts, model = read_path(path, method), Model(parts, hosts, reach, fields, raw)
    labels = max(1, len(hosts) - 1)
    found = [model.answer(path, method)]
    if isinstance(texts, MalformedPath) or len(texts) > max(1, min(MAX_INTERPRETATIONS, MAX_LOOKUPS // labels)) or host is None:
        return CLOSED if CLOSED in found else DISPUTED
    found += [model.answer(text, method, is_rewritten=True) for text in texts[1:]]
    return CLOSED if CLOSED in found else agreed(found)


def strictness(one: Answer) -> int:
    if isinstance(one, str):
        return {CLOSED: 5, DISPUTED: 4, UNMATCHED: 0}[one]
    return {DenyEntry: 3, ExchangeEntry: 2, AllowEntry: 1}[type(one)]


def reaches(closed_scope: FailClosedScope, found: list[Entry] | str, reach: UnreadableReach) -> bool:
    """Tell whether a fail-closed scope of unknown host closes what is ``found`` on its own host."""
    decided_elsewhere = len(found) == 1 and isinstance(found, list) and found[0].source.namespace != closed_scope.source.namespace
    return reach is UnreadableReach.GLOBAL or not decided_elsewhere


def read_otherwise(path: str, beyond_ascii: str) -> Iterator[str]:
    """Yield what a path may have been: each ``!`` itself or a character of ``beyond_ascii``, or all before the query gone."""
    part, mark, query = path.partition("?")
    yield part.replace("!", "") + mark + query
    yield from map("".join, product(*[char + beyond_ascii if char == "!" else char for char in path]))


def some_dropped(path: str) -> Iterator[str]:
    """Yield what a path may have been in which some of the ``!`` before the query stand for bytes that the server drops."""
    part, mark, query = path.partition("?")
    for chars in product(*[("!", "") if char == "!" else (char,) for char in part]):
        yield "".join(chars) + mark + query


def agreed(answers: Iterable[Answer]) -> Answer:
    """Return the answer on which all agree; denials are alike, whoever wrote them."""
    found = list(answers)
    alike = all(
        one == found[0] or any(isinstance(one, kind) and isinstance(found[0], kind) for kind in (DenyEntry, AllowEntry)) for one in found
    )
    return found[0] if alike else DISPUTED


# What a namespace has over its quota.


def over_quota(policy: Iterable[PolicyDocument], limits: NamespaceLimits) -> list[PolicyDocument]:
    """Return the policy in which each document over quota closes the hosts that it names: the first that exceeds a limit, and all later."""
    left: list[PolicyDocument] = []
    latest = {one.source: one for one in policy}
    for _, own in groupby(sorted(latest.values(), key=lambda one: one.source), key=lambda one: one.source.namespace):
        entries = closed_scopes = 0
        exceeded = False
        for count, document in enumerate(own, 1):
            entries += len({claim.index for claim in (*document.entries, *document.closed_scopes)})
            closed_scopes += len(document.closed_scopes)
            exceeded = exceeded or count > limits.documents or entries > limits.entries or closed_scopes > limits.fail_closed_scopes
            is_small = not document.entries and len(document.closed_scopes) <= 1
            left.append(document if not exceeded or is_small else closing_hosts(document))
    return left


def closing_hosts(document: PolicyDocument) -> PolicyDocument:
    """Return what closes each host that ``document`` names; it yields to others only where all that it has there does."""
    claims = (*document.entries, *document.closed_scopes)
    closed_scopes: list[FailClosedScope] = []
    for host in dict.fromkeys(claim.match.host for claim in claims):
        yields = host is not None and all(Part(claim).is_apart for claim in claims if claim.match.host == host)
        closed_scopes.append(FailClosedScope(document.source, MatchScope(host), "over quota", guessed=yields))
    return PolicyDocument(document.source, closed_scopes=tuple(closed_scopes))
