"""Looks up requests among the routes of hosts, the nearest first, and on each down the path trie; a trace of the look-up explains it.

What fails closed comes first, then doubt about a header, then the first entry in the order of entries. A ``Trace`` has each level whose
prefix begins the path, and its outcome. With a trace, a look-up goes on where it is decided, and says what else covers the path.

Handlers of GET answer HEAD (RFC 9110 section 9.3.2, https://www.rfc-editor.org/rfc/rfc9110#section-9.3.2). So HEAD gets the stricter
of what covers HEAD itself and what decides GET; no host counts that is farther than the one which decides GET.

Must not know: documents, or where routes come from.
"""

import enum
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, groupby
from operator import attrgetter, itemgetter
from typing import Final, TypeAlias, final

import attrs

from exchanger.policy.headers import RequestHeaders
from exchanger.policy.interpretation import (
    MAX_MARKER_WORK,
    MAX_MARKERS,
    MAX_POSSIBLE,
    Interpretation,
    fits,
    path_interpretations,
)
from exchanger.policy.path import MalformedPath, certain_part
from exchanger.policy.prefix import MAX_PREFIX, fold
from exchanger.policy.routing.scope import PathSet, all_readings
from exchanger.policy.routing.steps import Steps
from exchanger.policy.routing.table import CONFLICT, Level, Rules, VirtualHost, VirtualHosts
from exchanger.values.entry import UNKNOWN_NAMESPACE, AllowEntry, DenyEntry, Entry, ExchangeEntry, HeaderMatch, PathType
from exchanger.values.request import NO_FIELDS
from exchanger.values.verdict import (
    AMBIGUOUS_AUTHORITY,
    AMBIGUOUS_HEADER,
    AMBIGUOUS_PATH,
    NO_MATCH,
    Ambiguous,
    NoMatch,
    Unhealthy,
    Verdict,
)

Found: TypeAlias = NoMatch | AllowEntry | ExchangeEntry | DenyEntry | Ambiguous | Unhealthy
# Hosts that may decide one request, the nearest first.
Near: TypeAlias = tuple[tuple[str | None, VirtualHost], ...]

# Returns whether an entry may still decide about a path that it covers.
Permits: TypeAlias = Callable[[Entry, str], bool]

_REVOKED: Final = "its namespace is granted less than before, and its documents are being checked against the new grants"
# Later ones refuse more.
_STRICTNESS: Final = {kind: rank for rank, kind in enumerate((NoMatch, AllowEntry, ExchangeEntry, DenyEntry, Ambiguous, Unhealthy))}
# Entries of these kinds do the same, whatever their documents.
_ALIKE: Final = (DenyEntry, AllowEntry)
_order = attrgetter("order")


@enum.unique
class Outcome(enum.Enum):
    """The outcome of a level whose prefix begins the path, or of an entry or region in it. The nearer to a decision comes first."""

    WON = "decides"
    CLOSED = "fails closed"
    YIELDED = "yields to an entry of another namespace"
    IN_DOUBT = "names a header whose value is ambiguous"
    LATER = "comes later in the order of entries"
    AS_WRITTEN = "counts only if no entry has the path as written"
    FARTHER = "is for a farther host"
    OTHER_HEADERS = "has other headers"
    NOT_GRANTED = "is not granted this path"
    OTHER_METHOD = "has other methods"
    OTHER_PATH = "covers other paths only"


@final
@attrs.frozen
class Step:
    """A level that a look-up met on ``host``, and its outcome.

    ``namespace``: the step is about what fails closed of this namespace, unless an entry of another one decides.
    """

    host: str | None
    level: Level
    outcome: Outcome
    namespace: str | None = None


@final
@attrs.define(eq=False)
class Look:
    """The look-up of one reading of the path for one method, which ``found`` this. HEAD has two: as GET, and for itself."""

    reading: Interpretation
    method: str
    steps: list[Step] = attrs.field(factory=list, init=False)
    found: Found = attrs.field(default=NO_MATCH, init=False)

    def first(self, headers: RequestHeaders) -> Iterator[Entry]:
        """Yield the entries that come first in the order of entries: one, or all of those that conflict."""
        levels = [step.level for step in self.steps if step.outcome is Outcome.WON]
        reached = {one for level in levels for one in _reached(level.rules(self.method), headers)}
        most = max(map(len, reached), default=0)
        for route in chain.from_iterable(level.routes for level in levels):
            entry, scope = route.effect, route.match
            is_asked = scope.methods is None or self.method in scope.methods
            if isinstance(entry, Entry) and is_asked and len(scope.headers) == most and scope.headers in reached:
                yield entry


@final
@attrs.define(eq=False)
class Trace:
    """The look-ups of one request: in the policy, and in the denials that come before it."""

    looks: list[Look] = attrs.field(factory=list, init=False)
    denials: list[Look] = attrs.field(factory=list, init=False)
    host: str | None = attrs.field(default=None, init=False)

    def begin(self, reading: Interpretation, method: str) -> None:
        """Record that a look-up begins."""
        self.looks.append(Look(reading, method))

    def saw(self, level: Level, outcome: Outcome, namespace: str | None = None) -> None:
        """Record the outcome of ``level`` on the current host."""
        self.looks[-1].steps.append(Step(self.host, level, outcome, namespace))

    def saw_closed(self, levels: Iterable[Level], method: str) -> None:
        """Record the outcome of ``levels``, of which one fails closed."""
        for level in levels:
            if (rules := level.rules(method)) is not None:
                self.saw(level, Outcome.LATER if rules.closed is None else Outcome.CLOSED)

    def denial(self, method: str) -> DenyEntry | Ambiguous:
        """Return one of the denials that decide, ``Ambiguous`` if none does."""
        levels = (step.level for look in self.looks for step in look.steps if step.outcome is Outcome.WON)
        denials = (route.effect for level in levels for route in level.routes if isinstance(route.effect, DenyEntry))
        asked = {method, "GET"} if method == "HEAD" else {method}
        return next((one for one in denials if one.match.methods is None or asked & one.match.methods), AMBIGUOUS_PATH)


def _reached(rules: Rules | None, headers: RequestHeaders) -> Iterator[tuple[HeaderMatch, ...]]:
    """Yield the headers of entries that the request has."""
    if rules is not None and rules.entry is not None:
        yield ()
    for names, by_values, _ in () if rules is None else rules.by_headers:
        values = headers.values_of(names)
        if values is not None and values.texts in by_values:
            yield tuple(zip(names, values.texts, strict=True))


def stricter_for_head(itself: Found, as_get: Found) -> Found:
    """Return which of two verdicts HEAD gets: by what covers HEAD ``itself``, or ``as_get``."""
    return as_get if _STRICTNESS[type(as_get)] > _STRICTNESS[type(itself)] else itself


def decide_at_once(there: VirtualHost, path: str, method: str) -> Found | None:
    """Return the verdict of one host in the usual case, where path and method decide; ``None`` in any other case."""
    if not there.is_plain:
        return None
    winner: Found = NO_MATCH
    best = -1
    for levels in there.exact.covering(path):
        for level in levels:
            if level.decoded or level.granted_paths is not None:
                return None
            rules = level.rules(method)
            if rules is None or (level.path_type is not PathType.PREFIX and not _fits(level, path)):
                continue
            if rules.closed is not None:
                return rules.closed
            if level.order > best and rules.entry is not None:
                winner, best = rules.entry, level.order
    return winner


def possible_paths(near: Near, marked: Interpretation, room: Steps) -> tuple[Interpretation, ...] | None:
    """Return the paths that the ``!`` of ``marked`` may stand for, as far as prefixes ``near`` tell them apart.

    Whatever the path is, one of these begins with all prefixes there that it has and that may decide, and with no others. So each is looked
    up like any other path. ``None`` if too many characters have to be compared, or if there are more paths than ``room``.
    """
    markers, work = marked.markers, Steps(MAX_MARKER_WORK)
    if markers is None:
        return (marked,)
    path = marked.path[: max(marked.end + 1, MAX_PREFIX) + MAX_MARKERS]  # a query of 60 KB is not copied for each
    folded = marked.folded
    certain = certain_part(path)
    found = dict.fromkeys(markers.written("", path, path))
    for _, there in near:
        plain = ((prefix, False) for prefix in there.exact.prefixes_of(certain))
        without_case = ((prefix, True) for prefix in there.folded.prefixes_of(fold(certain)))
        for prefix, is_folded in chain(plain, without_case, *there.hidden.covering(fold(certain))):
            text = folded if is_folded else path
            end, compared = markers.after_prefix(prefix, text)
            if not work.take(compared):
                return None
            if end >= 0 and (not text.startswith(prefix) or "!" in text[: len(prefix) + 1]):
                found.update(dict.fromkeys(markers.written(prefix, path, text)))
    if not room.take(len(found)):
        return None
    return tuple([Interpretation(one, marked.rewritten, supposed=True) for one in found])


def _fits(level: Level, path: str) -> bool:
    """Return whether ``path``, which begins with the prefix of a level, is one that the level covers."""
    query = path.find("?")
    return fits(level.path_type, path, level.length, len(path) if query < 0 else query)


def nearest(levels: Sequence[Level], method: str, headers: RequestHeaders, trace: Trace | None = None) -> Found:
    """Return what decides among ``levels`` that cover a path, in the order of entries."""
    saw = _saw_nothing if trace is None else trace.saw
    those: list[tuple[Level, Rules]] = []
    for level in levels:
        rules = level.rules(method)
        if rules is None:
            saw(level, Outcome.OTHER_METHOD)
        elif rules.closed is not None:
            if trace is not None:
                trace.saw_closed(levels, method)
            return rules.closed
        else:
            those.append((level, rules))
    for level, rules in those:
        if any(headers.is_doubtful(*name) for name in rules.names):
            saw(level, Outcome.IN_DOUBT)
            for other, _ in those:
                saw(other, Outcome.LATER)
            return AMBIGUOUS_HEADER
    winner: Found = NO_MATCH
    for _, equal in groupby(those, lambda pair: pair[0].order):
        group, outcome = list(equal), Outcome.LATER
        if winner is NO_MATCH:
            winner = _first_of(map(itemgetter(1), group), headers)
            outcome = Outcome.OTHER_HEADERS if winner is NO_MATCH else Outcome.WON
        for level, _ in group:
            saw(level, outcome)
        if trace is None and winner is not NO_MATCH:
            break
    return winner


def _saw_nothing(_level: Level, _outcome: Outcome) -> None:
    """Record nothing: nobody asks for a trace."""


def _first_of(rules: Iterable[Rules], headers: RequestHeaders) -> Found:
    """Return the entry with the most headers among those of equal places."""
    most, found = 0, list[Found]()
    for one in rules:
        if one.entry is not None and not most:
            found.append(one.entry)
        for names, by_values, certain in one.by_headers:
            values = headers.values_of(names)
            if values is None:
                continue
            if values.masked and tuple(map(certain_part, values.texts)) in certain:
                return AMBIGUOUS_HEADER
            entry = by_values.get(values.texts) if len(names) >= most else None
            if entry is not None:
                found = [*found, entry] if len(names) == most else [entry]
                most = len(names)
    return NO_MATCH if not found else found[0] if len(found) == 1 else CONFLICT


@final
@attrs.define(eq=False)
class Walk:
    """The look-ups of one request ``near`` hosts. ``readings`` are all interpretations of its path.

    ``is_global``: what fails closed although its author may have meant any host yields to nobody. ``permits`` returns whether an entry may
    still decide about a path.
    """

    near: Near
    method: str
    headers: RequestHeaders
    readings: tuple[Interpretation, ...] = ()
    is_global: bool = False
    permits: Permits | None = None
    trace: Trace | None = None
    _granted: dict[tuple[PathSet, str], bool] = attrs.field(factory=dict, init=False, repr=False)

    def verdict(self, reading: Interpretation) -> Found:
        """Return what decides ``reading``."""
        method = "GET" if self.method == "HEAD" else self.method
        as_asked, decoded, heard = self._decided(reading, method, self.near)
        found = self._permitted(reading, self._unless_closed(reading, method, as_asked, (as_asked,), decoded=decoded))
        if self.method != "HEAD" or (isinstance(as_asked, Unhealthy) and self.trace is None):
            return found
        itself, decoded_too, _ = self._decided(reading, "HEAD", heard)
        itself = self._unless_closed(reading, "HEAD", itself, (itself, as_asked), decoded=decoded and decoded_too)
        itself = self._permitted(reading, itself)
        return found if isinstance(as_asked, Unhealthy) else stricter_for_head(itself, found)

    def _permitted(self, reading: Interpretation, found: Found) -> Found:
        """Return ``found``, closed if it is an entry that may no longer decide."""
        if self.permits is not None and isinstance(found, Entry) and not self.permits(found, reading.path):
            found = Unhealthy(_REVOKED, found.source, found.index)
        if self.trace is not None:
            self.trace.looks[-1].found = found
        return found

    def verdicts(self, room: Steps) -> Iterator[tuple[Interpretation, Found]]:
        """Yield each reading, or each path that its ``!`` may stand for, with its verdict; ``AMBIGUOUS_PATH`` beyond ``room``."""
        seen = set[tuple[str, bool]]()
        for reading in self.readings:
            if reading.markers is None:
                yield reading, self.verdict(reading)
                continue
            seen = seen or {(one.path, one.rewritten) for one in self.readings if one.markers is None}
            possible = possible_paths(self.near, reading, room)
            if possible is None:
                yield reading, AMBIGUOUS_PATH
                return
            for one in possible:
                if (one.path, one.rewritten) not in seen:
                    seen.add((one.path, one.rewritten))
                    yield one, self.verdict(one)

    def _is_granted(self, paths: PathSet, path: str) -> bool:
        """Return whether ``path`` is in a set, or the set asks for any reading and decoding connects another one in the set with it."""
        if path in paths or not paths.in_any_reading or len(self.readings) <= 1:
            return path in paths
        known = self._granted.get((paths, path))
        if known is None:
            others = [one.path for one in self.readings if one.markers is None and one.path != path and one.path in paths]
            known = any(path in all_readings(one) or one in all_readings(path) for one in others)
            self._granted[paths, path] = known
        return known

    def _covering(self, there: VirtualHost, reading: Interpretation, *, decoded: bool) -> list[Level]:
        """Return the levels of one host that cover ``reading``, in the order of entries. ``decoded``: decoded spellings count as well."""
        found: list[Level] = []
        for trie, path in ((there.exact, reading.path), (there.folded, reading.folded if there.folded else "")):
            for levels in trie.covering(path):
                for level in levels:
                    if level.decoded and not decoded:
                        continue
                    if level.path_type is not PathType.PREFIX and not _fits(level, path):
                        outcome = Outcome.OTHER_PATH
                    elif level.granted_paths is None or self._is_granted(level.granted_paths, reading.path):
                        found.append(level)
                        continue
                    else:
                        outcome = Outcome.NOT_GRANTED
                    if self.trace is not None:
                        self.trace.saw(level, outcome)
        if len(found) > 1:
            found.sort(key=_order, reverse=True)
        return found

    def _decided(self, reading: Interpretation, method: str, near: Near) -> tuple[Found, bool, Near]:
        """Return what the nearest host with a route decides, whether decoded spellings counted, and the hosts up to this one."""
        if self.trace is not None:
            self.trace.begin(reading, method)
        for count, (host, there) in enumerate(near, 1):
            if self.trace is not None:
                self.trace.host = host
            elif (found := decide_at_once(there, reading.path, method)) is not None:
                if found is not NO_MATCH:
                    return found, reading.rewritten, near[:count]
                continue
            # In the path as received, what was written so comes first.
            for decoded in (True,) if reading.rewritten else (False, True):
                levels = self._covering(there, reading, decoded=decoded)
                found = nearest(levels, method, self.headers, self.trace) if levels else NO_MATCH
                if found is not NO_MATCH:
                    if self.trace is not None:
                        self._pass_over(self.trace, reading, self.near[count - 1 :], decoded=decoded, is_decided=True)
                    return found, decoded or isinstance(found, Ambiguous), near[:count]
        if self.trace is not None:
            self._pass_over(self.trace, reading, self.near[len(near) :], decoded=True)
        return NO_MATCH, True, near

    def _pass_over(self, trace: Trace, reading: Interpretation, near: Near, *, decoded: bool, is_decided: bool = False) -> None:
        """Record what else covers ``reading``. ``is_decided``: on the first host, where ``decoded`` spellings counted."""
        for number, (host, there) in enumerate(near):
            is_here = is_decided and not number
            trace.host = host
            for level in () if is_here and decoded else self._covering(there, reading, decoded=True):
                if level.decoded or not is_here:
                    trace.saw(level, Outcome.AS_WRITTEN if is_here else Outcome.FARTHER)

    def _unless_closed(self, reading: Interpretation, method: str, found: Found, deciding: tuple[Found, ...], *, decoded: bool) -> Found:
        """Return ``found`` unless something fails closed whose author may have meant any host, and that yields to none of ``deciding``."""
        closed: Unhealthy | None = found if isinstance(found, Unhealthy) else None
        if closed is not None and self.trace is None:
            return closed
        for host, there in self.near:
            if not there.yielding:
                continue
            if self.trace is not None:
                self.trace.host = host
            for level in self._covering(there, reading, decoded=decoded):
                rules = level.rules(method)
                for namespace, why in () if rules is None else rules.yielding:
                    closes = self.is_global or all(_concerns(namespace, one) for one in deciding)
                    if self.trace is not None:
                        self.trace.saw(level, Outcome.CLOSED if closes else Outcome.YIELDED, namespace)
                    if closes:
                        closed = closed or why
                        if self.trace is None:
                            return closed
        return closed or found


def _concerns(namespace: str, found: Found) -> bool:
    """Return whether a mistake of ``namespace`` closes what gets ``found``: not what an entry of another namespace decides."""
    return not isinstance(found, Entry) or namespace == UNKNOWN_NAMESPACE or found.source.namespace in {namespace, UNKNOWN_NAMESPACE}


def decide(
    hosts: VirtualHosts,
    host: str | None,
    path: str,
    method: str,
    headers: RequestHeaders,
    *,
    raw: bool,
    is_global: bool = False,
    permits: Permits | None = None,
    trace: Trace | None = None,
) -> Verdict:
    """Return the verdict on which all readings of a request agree.

    Args:
        hosts: the routes
        host: the canonical host of the request, ``None`` if it cannot be known
        path: the path as received, with its query
        method: in upper case
        headers: the request's header fields
        raw: the path is the raw bytes; otherwise a ``!`` in it may replace a byte that the gateway could not put into text
        is_global: what fails closed although its author may have meant any host yields to nobody
        permits: returns whether an entry may still decide about a path
        trace: receives the look-up
    """
    near = hosts.near(host)
    if not near:
        return NO_MATCH if host is not None else AMBIGUOUS_AUTHORITY
    read = path_interpretations(host, path, method, raw=raw)
    readings = (Interpretation(path),) if isinstance(read, MalformedPath) else read
    found = Walk(near, method, headers, readings, is_global, permits, trace).verdicts(Steps(MAX_POSSIBLE))
    verdict = _agreed(found, host, is_malformed=isinstance(read, MalformedPath))
    if trace is not None:
        deque(found, maxlen=0)  # the trace has every reading
    return verdict


def _agreed(verdicts: Iterator[tuple[Interpretation, Found]], host: str | None, *, is_malformed: bool) -> Verdict:
    """Return the verdict of the path as received if that of every other reading agrees."""
    _, found = next(verdicts)
    if isinstance(found, Unhealthy):
        return found
    if host is None:
        return AMBIGUOUS_AUTHORITY
    if is_malformed:
        return AMBIGUOUS_PATH
    is_agreed = True
    for reading, other in verdicts:
        if isinstance(other, Unhealthy) and (other is not CONFLICT or not reading.supposed):  # a ``!`` only hints at a conflict
            return other
        is_agreed = is_agreed and (other is found or any(isinstance(other, kind) and isinstance(found, kind) for kind in _ALIKE))
    return found if is_agreed else AMBIGUOUS_PATH


def denied_by(
    near: Near, read: tuple[Interpretation, ...] | MalformedPath, path: str, method: str, trace: Trace | None = None
) -> DenyEntry | Ambiguous | None:
    """Return a denial that covers one of the readings of ``path``; all routes ``near`` deny, and name no headers.

    ``Ambiguous`` if there are such routes and the path cannot be read; ``None`` if no denial concerns the request. ``trace`` receives the
    look-ups among ``denials``.
    """
    own = None if trace is None else Trace()
    readings = (Interpretation(path),) if isinstance(read, MalformedPath) else read
    found = Walk(near, method, _NO_HEADERS, readings, trace=own).verdicts(Steps(MAX_POSSIBLE))
    denied = _first_denial(found, near, method)
    if trace is not None and own is not None:
        deque(found, maxlen=0)  # the trace has every reading
        trace.denials += own.looks
    return denied if denied is not None or not (near and isinstance(read, MalformedPath)) else AMBIGUOUS_PATH


def _first_denial(verdicts: Iterator[tuple[Interpretation, Found]], near: Near, method: str) -> DenyEntry | Ambiguous | None:
    denied: Ambiguous | None = None
    for reading, found in verdicts:
        if isinstance(found, DenyEntry):
            return found
        if isinstance(found, Unhealthy):  # several denials are equal in the order of entries
            trace = Trace()
            Walk(near, method, _NO_HEADERS, (reading,), trace=trace).verdict(reading)
            return trace.denial(method)
        if not isinstance(found, NoMatch):  # the ``!`` of the path may stand for too much
            denied = AMBIGUOUS_PATH
    return denied


_NO_HEADERS: Final = RequestHeaders(NO_FIELDS)
