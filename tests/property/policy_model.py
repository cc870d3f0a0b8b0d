"""How a request is matched, in the simplest form: a look at every entry and region for every text that the path may have been.

Nothing here is shared with the service but its values. Paths of the model have no escapes and nothing else that servers rewrite.
"""

from collections.abc import Iterable, Iterator
from itertools import product

from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.snapshot import UnreadableReach
from exchanger.values.entry import AllowEntry, Claim, DenyEntry, Entry, ExchangeEntry, FailClosedRegion, MatchScope, PathType

# The answer is 500: a region covers the request, or entries tie.
CLOSED = "closed"
# The answer is 400, or 500: what the path was makes a difference.
DISPUTED = "disputed"
UNMATCHED = "unmatched"
Answer = Entry | str

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
    """Tell whether a header that ``area`` names comes twice, with a comma, or under a name that differs in ``_`` and ``-``."""
    for name, _ in area.headers:
        alike = [(known.lower(), value) for known, value in fields if known.lower().replace("_", "-") == name.replace("_", "-")]
        if len(alike) > 1 or any(known != name or "," in value for known, value in alike):
            return True
    return False


def order(area: MatchScope) -> tuple[bool, int, bool, int]:
    """Return what is greater for entries of one host that come first."""
    kind = area.path_type
    return (kind is PathType.EXACT, len(area.path_prefix or "/"), kind is PathType.SEGMENT, len(area.headers))


def hosts_above(host: str) -> Iterator[str]:
    """Yield what an entry for ``host`` may have as its host, the nearest first."""
    yield host
    labels = host.split(".")
    for count in range(1, len(labels)):
        yield "*." + ".".join(labels[count:])


def decided_on(claims: list[Claim], path: str, method: str, fields: Fields) -> list[Entry] | str:
    """Return the entries of one host that come first, or the answer where there can be none."""
    covering = [claim for claim in claims if covers(claim.match, path, method)]
    if any(isinstance(claim, FailClosedRegion) for claim in covering):
        return CLOSED
    if any(in_doubt(claim.match, fields) for claim in covering):
        return DISPUTED
    entries = [claim for claim in covering if not isinstance(claim, FailClosedRegion) and has(claim.match, fields)]
    first = max((order(entry.match) for entry in entries), default=None)
    return [entry for entry in entries if order(entry.match) == first]


def is_apart(claim: Claim) -> bool:
    return isinstance(claim, FailClosedRegion) and claim.reaches_any_host


def on_hosts(claims: list[Claim], hosts: list[str], path: str, method: str, fields: Fields) -> tuple[list[Entry] | str, list[str]]:
    """Return what the nearest host with anything to say says, and the hosts up to that one."""
    for count, name in enumerate(hosts, 1):
        here = [claim for claim in claims if claim.match.host == name and not is_apart(claim)]
        if found := decided_on(here, path, method, fields):
            return found, hosts[:count]
    return [], hosts


def answer(policy: list[PolicyDocument], reach: UnreadableReach, host: str, path: str, method: str, fields: Fields | None = None) -> Answer:
    """Return the answer to a request whose path is exactly ``path``."""
    fields = fields or []
    claims = [claim for document in {one.source: one for one in policy}.values() for claim in (*document.entries, *document.regions)]
    apart = [claim for claim in claims if isinstance(claim, FailClosedRegion) and is_apart(claim)]
    apart = [region for region in apart if region.match.host in {None, *hosts_above(host)}]

    def said(asked: str, found: list[Entry] | str, *spared_by: list[Entry] | str) -> Answer:
        """Return what the claims on ``asked`` say; a region of unknown host counts unless something in ``spared_by`` spares it."""
        if any(covers(region.match, path, asked) and all(reaches(region, one, reach) for one in spared_by) for region in apart):
            return CLOSED
        if isinstance(found, str):
            return found
        return UNMATCHED if not found else found[0] if len(found) == 1 else CLOSED

    if method != "HEAD":
        found, _ = on_hosts(claims, list(hosts_above(host)), path, method, fields)
        return said(method, found, found)
    # Handlers of GET answer HEAD: the stricter of what covers HEAD itself and what decides GET, and nothing is heard beyond the latter.
    as_get, hosts = on_hosts(claims, list(hosts_above(host)), path, "GET", fields)
    itself, _ = on_hosts(claims, hosts, path, "HEAD", fields)
    return max(said("HEAD", itself, itself, as_get), said("GET", as_get, as_get), key=strictness)


def strictness(one: Answer) -> int:
    if isinstance(one, str):
        return {CLOSED: 5, DISPUTED: 4, UNMATCHED: 0}[one]
    return {DenyEntry: 3, ExchangeEntry: 2, AllowEntry: 1}[type(one)]


def reaches(region: FailClosedRegion, found: list[Entry] | str, reach: UnreadableReach) -> bool:
    """Tell whether a region of unknown host closes what is ``found`` on its own host."""
    decided_elsewhere = len(found) == 1 and isinstance(found, list) and found[0].source.namespace != region.source.namespace
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
