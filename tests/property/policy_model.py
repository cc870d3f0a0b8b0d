"""How a request is matched, in the simplest form: a look at every entry and region for every text that the path may have been.

Nothing here is shared with the service but its values. Paths of the model have no escapes and nothing else that servers rewrite.
"""

from collections.abc import Iterable, Iterator
from itertools import product

from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.lookup import UnreadableReach
from exchanger.values.entry import AllowEntry, Claim, DenyEntry, Entry, FailClosedRegion, MatchScope, PathType

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
    return begins(path, area) and (names(area, method) or (method == "HEAD" and names(area, "GET")))


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


def order(area: MatchScope, method: str) -> tuple[bool, int, bool, int, bool]:
    """Return what is greater for entries of one host that come first."""
    kind = area.path_type
    length = len(area.path_prefix or "/")
    return (kind is PathType.EXACT, length, kind is PathType.SEGMENT, len(area.headers), names(area, method))


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
    first = max((order(entry.match, method) for entry in entries), default=None)
    return [entry for entry in entries if order(entry.match, method) == first]


def is_apart(claim: Claim) -> bool:
    return isinstance(claim, FailClosedRegion) and claim.reaches_any_host


def answer(policy: list[PolicyDocument], reach: UnreadableReach, host: str, path: str, method: str, fields: Fields | None = None) -> Answer:
    """Return the answer to a request whose path is exactly ``path``."""
    fields = fields or []
    claims = [claim for document in {one.source: one for one in policy}.values() for claim in (*document.entries, *document.regions)]
    found: list[Entry] | str = []
    for name in hosts_above(host):
        here = [claim for claim in claims if claim.match.host == name and not is_apart(claim)]
        if not found:
            found = decided_on(here, path, method, fields)
    if found == CLOSED:
        return CLOSED
    winners = [] if isinstance(found, str) else found
    apart = [claim for claim in claims if isinstance(claim, FailClosedRegion) and claim.reaches_any_host]
    apart = [region for region in apart if region.match.host in {None, *hosts_above(host)}]
    if any(covers(region.match, path, method) and reaches(region, winners, reach) for region in apart):
        return CLOSED
    if isinstance(found, str):
        return found
    if not winners:
        return UNMATCHED
    return winners[0] if len(winners) == 1 else CLOSED


def reaches(region: FailClosedRegion, winners: list[Entry], reach: UnreadableReach) -> bool:
    """Tell whether a region of unknown host closes what ``winners`` would decide."""
    decided_elsewhere = len(winners) == 1 and winners[0].source.namespace != region.source.namespace
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
