"""Which entries conflict: they share a host, a method and a path prefix, so no such request can be decided.

Costs nothing while policies come and go: the levels that decide requests have conflicting entries side by side.

Must not know: requests, or who learns of a conflict.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import ClassVar, Final, final

import attrs

from exchanger.model.codes.code import Code
from exchanger.model.codes.manifests import CONFLICT
from exchanger.model.entry import BASELINE, Entry, Source
from exchanger.model.policy_decision import Unhealthy
from exchanger.model.request import NO_FIELDS, HeaderFields
from exchanger.policy import table
from exchanger.policy.headers import RequestHeaders
from exchanger.policy.lookup import Trace
from exchanger.policy.namespace import EffectiveDocument
from exchanger.policy.prefix import fold, spellings_of
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.policy.steps import Steps
from exchanger.policy.table import Level, VirtualHost
from exchanger.util.text import printable

# Rivals of one entry that are searched for: more do not help its author, and thousands of entries may have the same place.
MAX_RIVALS: Final = 3
# Methods of one entry that are considered, in a tenth of a millisecond: it may name 100,000.
MAX_CLAIMS: Final = 256
# Characters of a prefix whose other spellings are considered, in a quarter of a millisecond in the worst case: escapes have long ones.
MAX_PREFIX: Final = 1024
# Characters of a source in the name of an entry: so that two names fit into a line.
MAX_SOURCE: Final = 200
# Characters that are compared for entries whose prefix differs only in case, in 4 ms. The entries of one document share the same amount
# again, plus twice the length of their prefixes: other authors may write 8,000 prefixes that differ only in case.
MAX_VARIANT_WORK: Final = 2_048
# Entries of one place that are searched for rivals and count as one such character.
ROUTES_PER_STEP: Final = 32
# The same in one step.
VARIANT_STEP: Final = 512
# Conflicts of one document that are reported: more do not fit into a message.
MAX_CONFLICTS: Final = 8
# Entries that are considered in one step; each takes some microseconds.
STEP: Final = 32


@final
@attrs.frozen
class Conflict:
    """An entry and its rivals, of which there is at least one."""

    entry: Entry
    rivals: tuple[Entry, ...]

    code: ClassVar[Code] = CONFLICT

    def __str__(self) -> str:
        source = self.entry.source
        rivals = ", ".join(("" if rival.source == source else f"{rival.source} ") + f"entries[{rival.index}]" for rival in self.rivals)
        return f"entries[{self.entry.index}] shares a host, method and pathPrefix with {rivals}: such requests are refused"

    @property
    def coded(self) -> str:
        """The sentence after its code."""
        return f"{self.code}: {self}"


def named(entry: Entry) -> str:
    """Return where ``entry`` is, for people; a document that is in no ConfigMap has only the name of its file."""
    source = entry.source
    where = str(source) if source.namespace or source == BASELINE else source.name
    return f"{printable(where, MAX_SOURCE)} entries[{entry.index}]"


def contenders(
    snapshot: PolicySnapshot, host: str, path: str, method: str, *, raw: bool, headers: HeaderFields = NO_FIELDS
) -> tuple[Entry, ...]:
    """Return two of the entries for which ``snapshot.match``, with the same arguments, found a conflict, in the order of their sources.

    Costs some times as much as the match, and the entries of one place. Returns nothing where an earlier version found it.
    """
    trace, given = Trace(), RequestHeaders(headers)
    decision = snapshot.match(host, path, method, raw=raw, headers=headers, trace=trace)
    for look in trace.looks if decision is table.CONFLICT else ():
        if look.found is table.CONFLICT and not look.reading.supposed:  # a ``!`` only hints at a conflict
            found = dict.fromkeys(islice(look.first(given), 2))
            return tuple(sorted(found, key=_place))
    return ()


def conflicts_of(document: EffectiveDocument | None, snapshot: PolicySnapshot) -> Iterator[Conflict | None]:
    """Yield the first ``MAX_CONFLICTS`` conflicts of ``document``, and ``None`` between steps of bounded work."""
    found = 0
    entries = () if document is None else document.entries
    reserve = Steps(MAX_VARIANT_WORK + 2 * sum(len(entry.match.path_prefix) for entry in entries if entry.match.case_insensitive))
    paused = reserve.left
    for number, entry in enumerate(entries, 1):
        rivals = conflicts_with(entry, snapshot, reserve)
        if rivals:
            found += 1
            yield Conflict(entry, rivals)
            if found == MAX_CONFLICTS:
                return
        if number % STEP == 0 or reserve.left <= paused - VARIANT_STEP:
            paused = reserve.left
            yield None
    yield None


def documents_in_conflict(snapshot: PolicySnapshot) -> Iterator[Source | None]:
    """Yield the source of each document with a conflict, possibly repeatedly, and ``None`` between steps of bounded work.

    One side finds a rival that the other misses within its bounds, so both are yielded.
    """
    for document in snapshot.documents():
        for conflict in conflicts_of(document, snapshot):
            if conflict is not None:
                yield document.source
                yield from {rival.source for rival in conflict.rivals} - {document.source}
                break
            yield None


def conflicts_with(entry: Entry, snapshot: PolicySnapshot, reserve: Steps | None = None) -> tuple[Entry, ...]:
    """Return at most ``MAX_RIVALS`` other entries that conflict with ``entry``, in the order of their sources; none if it is not there.

    ``reserve`` is what is left of the budget for rivals whose prefix differs only in case, and for finding them among many entries of one
    place.

    Costs the length of its prefix and the number of its methods; for an entry for all methods, the number of methods that others name
    there. All are bounded: beyond the bounds, rivals may be missing.
    """
    found: dict[tuple[Source, int], Entry] = {}
    prefix, folded, budget = entry.match.path_prefix, entry.match.case_insensitive, reserve or Steps(MAX_VARIANT_WORK)
    literal = (fold(prefix) if folded else prefix,) if len(prefix) > MAX_PREFIX else spellings_of(entry.match).literal
    there = snapshot.hosts.by_name.get(entry.match.host or "", VirtualHost())
    for spelling in literal:
        levels = _equal((there.folded if folded else there.exact).get(spelling), entry)
        is_there = any(_has(level, entry) for level in levels)
        for level in chain(levels, _twins(there, spelling, entry, budget)) if is_there else ():
            for rival in _rivals(level, entry, budget):
                found[_place(rival)] = rival
                if len(found) == MAX_RIVALS:
                    return tuple(sorted(found.values(), key=_place))
    return tuple(sorted(found.values(), key=_place))


def _place(entry: Entry) -> tuple[Source, int]:
    return entry.source, entry.index


def _equal(levels: Iterable[Level] | None, entry: Entry) -> list[Level]:
    """Return those of ``levels``, at a prefix of ``entry``, that are equal in the order of entries."""
    return [level for level in levels or () if not level.decoded and level.path_type is entry.match.path_type]


def _decided_at(level: Level, entry: Entry) -> Iterator[Entry | Unhealthy]:
    """Yield what ``level`` decides for the headers of ``entry`` and each of its methods, at most ``MAX_CLAIMS``."""
    methods, own = entry.match.methods, level.named
    names, values = tuple(zip(*entry.match.headers, strict=True)) or ((), ())
    rules = [] if level.every is None or (methods and level.methods and methods.isdisjoint(level.methods)) else [level.every]
    named = () if own is None else (own[method] for method in (own if methods is None else methods) if method in own)
    for one in chain(rules, islice(named, MAX_CLAIMS)):
        decides = (
            one.entry if not names else next((by_values.get(values) for known, by_values, _ in one.by_headers if known == names), None)
        )
        if decides is not None:
            yield decides


def _has(level: Level, entry: Entry) -> bool:
    return any(isinstance(one, Unhealthy) or _place(one) == _place(entry) for one in _decided_at(level, entry))


def _rivals(level: Level, entry: Entry, budget: Steps) -> Iterator[Entry]:
    """Yield entries at ``level`` that conflict with ``entry``, some of them more than once."""
    decided = list(_decided_at(level, entry))
    others: Iterable[Entry] = (one for one in decided if isinstance(one, Entry))
    if any(isinstance(one, Unhealthy) for one in decided):
        others = chain(others, _members(level, entry, budget))
    yield from (other for other in others if _place(other) != _place(entry))


def _members(level: Level, entry: Entry, budget: Steps) -> Iterator[Entry]:
    """Yield the entries at ``level`` with the headers of ``entry``, and one of its methods."""
    methods = entry.match.methods
    for number, route in enumerate(level.routes):
        if number % ROUTES_PER_STEP == 0 and not budget.take(1):
            return
        other, scope = route.effect, route.match
        meets = methods is None or scope.methods is None or not methods.isdisjoint(scope.methods)
        if meets and isinstance(other, Entry) and scope.headers == entry.match.headers:
            yield other


def _twins(there: VirtualHost, spelling: str, entry: Entry, reserve: Steps) -> Iterator[Level]:
    """Yield the levels equal to that of ``entry`` under ``spelling`` that treat case in the other way."""
    if not entry.match.case_insensitive:
        yield from _equal(there.folded.get(fold(spelling)), entry)
        return
    most = max(0, min(MAX_VARIANT_WORK, reserve.left))
    steps = Steps(most)
    for prefix in alike_but_for_case(there.exact.prefixes, spelling, steps):
        yield from _equal(there.exact.get(prefix), entry)
    reserve.left -= most - steps.left


def alike_but_for_case(prefixes: Sequence[str], folded: str, steps: Steps) -> Iterator[str]:
    """Yield those of the sorted ``prefixes`` that differ from a ``folded`` text in the case of ASCII letters alone.

    Each character compared takes a step; stops when there are none left.
    """
    begun = [("", 0)]
    while begun and steps.take(1):
        text, place = begun.pop()
        if len(text) == len(folded):
            yield from (text,) if text in prefixes[place : place + 1] else ()
            continue
        char = folded[len(text)]
        for other in {char, char.upper()} if char.isascii() else (char,):
            longer = text + other
            found = bisect_left(prefixes, longer, place)
            if found < len(prefixes) and prefixes[found].startswith(longer):
                begun.append((longer, found))
