"""How a request is matched, in the simplest form: a look at every entry and region for every text that the path may have been.

Nothing here is shared with the service but its values. Paths of the model have no escapes and nothing else that servers rewrite.
"""

from collections.abc import Iterable, Iterator
from itertools import product

from exchanger.policy.document import PolicyDocument
from exchanger.policy.lookup import UnreadableReach
from exchanger.values.entry import DenyEntry, Entry, FailClosedRegion, MatchScope

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
    if area.case_insensitive:
        return without_case(path)[: len(area.path_prefix)] == without_case(area.path_prefix)
    return path[: len(area.path_prefix)] == area.path_prefix


def names(area: MatchScope, method: str) -> bool:
    return area.methods is None or method in area.methods


def covers(area: MatchScope, path: str, method: str) -> bool:
    return begins(path, area) and (names(area, method) or (method == "HEAD" and names(area, "GET")))


def decided_by(entries: Iterable[Entry], path: str, method: str) -> list[Entry]:
    """Return the entry that wins, none, or all that tie."""
    found = [entry for entry in entries if covers(entry.match, path, method)]
    rank = max(((len(entry.match.path_prefix), names(entry.match, method)) for entry in found), default=None)
    return [entry for entry in found if (len(entry.match.path_prefix), names(entry.match, method)) == rank]


def answer(policy: list[PolicyDocument], reach: UnreadableReach, host: str, path: str, method: str) -> Answer:
    """Return the answer to a request whose path is exactly ``path``."""
    in_force = list({document.source: document for document in policy}.values())
    winners = decided_by((entry for document in in_force for entry in document.entries if entry.match.host == host), path, method)
    for region in (region for document in in_force for region in document.regions if covers(region.match, path, method)):
        if region.match.host == host or (region.match.host is None and reaches(region, winners, reach)):
            return CLOSED
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
    alike = all(one == found[0] or (isinstance(one, DenyEntry) and isinstance(found[0], DenyEntry)) for one in found)
    return found[0] if alike else DISPUTED
