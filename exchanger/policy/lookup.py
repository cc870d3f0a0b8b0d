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
from itertools import chain
from operator import attrgetter
from typing import Final, TypeAlias, final

import attrs

from exchanger.model.entry import UNKNOWN_NAMESPACE, AllowEntry, DenyEntry, Entry, ExchangeEntry, HeaderMatch, PathType
from exchanger.model.policy_decision import (
    AMBIGUOUS_AUTHORITY,
    AMBIGUOUS_HEADER,
    AMBIGUOUS_PATH,
    NO_MATCH,
    Ambiguous,
    NoMatch,
    PolicyDecision,
    Unhealthy,
)
from exchanger.model.request import NO_FIELDS, HeaderFields
from exchanger.policy.headers import RequestHeaders
from exchanger.policy.interpretation import (
    MAX_MARKER_WORK,
    MAX_MARKERS,
    MAX_POSSIBLE,
    Interpretation,
    fits,
    path_interpretations,
)
from exchanger.policy.path import MalformedPath, certain_part, is_plain_with_query
from exchanger.policy.prefix import MAX_PREFIX, fold
from exchanger.policy.scope import PathSet, all_readings
from exchanger.policy.steps import Steps
from exchanger.policy.table import CONFLICT, Level, Rules, VirtualHost, VirtualHosts

Found: TypeAlias = NoMatch | AllowEntry | ExchangeEntry | DenyEntry | Ambiguous | Unhealthy
_NearHost: TypeAlias = tuple[str | None, VirtualHost]
# Hosts that may decide one request, the nearest first.
Near: TypeAlias = tuple[_NearHost, ...]
# Levels that cover a request, but for its headers, in the order of entries.
Contenders: TypeAlias = Sequence[tuple[Level, Rules]]

# Returns whether an entry may still decide about a path that it covers.
Permits: TypeAlias = Callable[[Entry, str], bool]

_REVOKED: Final = "its namespace is granted less than before, and its documents are being checked against the new grants"
# Later ones refuse more.
_STRICTNESS: Final = {kind: rank for rank, kind in enumerate((NoMatch, AllowEntry, ExchangeEntry, DenyEntry, Ambiguous, Unhealthy))}
# Entries of these kinds do the same, whatever their documents.
_ALIKE: Final = (DenyEntry, AllowEntry)
_order = attrgetter("order")


@final
@attrs.define(eq=False)
class Request:
    """A request to look up. Its path and headers are interpreted when a look-up first needs them, and once for all versions of the policy.

    ``host`` is canonical, ``None`` if it cannot be known. ``raw``: the path is the raw bytes; otherwise a ``!`` in it may replace a byte
    that the gateway could not put into text.
    """

    host: str | None
    path: str
    method: str
    raw: bool = False
    fields: HeaderFields = NO_FIELDS
    _read: tuple[Interpretation, ...] | MalformedPath | None = attrs.field(default=None, init=False)
    _headers: RequestHeaders | None = attrs.field(default=None, init=False)

    @property
    def read(self) -> tuple[Interpretation, ...] | MalformedPath:
        """All interpretations of the path, the path as received first, or why it cannot be read."""
        if self._read is None:
            self._read = path_interpretations(self.host, self.path, self.method, raw=self.raw)
        return self._read

    @property
    def headers(self) -> RequestHeaders:
        """The header fields, as entries name them."""
        if self._headers is None:
            self._headers = RequestHeaders(self.fields)
        return self._headers


@enum.unique
class Outcome(enum.Enum):
    """The outcome of a level whose prefix begins the path, or of an entry or scope in it. The nearer to a decision comes first."""

    WON = "decides"
    CLOSED = "fails closed"
    YIELDED = "yields to an entry of another namespace"
    AMBIGUOUS = "names a header whose value is ambiguous"
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
            rules = level.rules(method)
            self.saw(level, Outcome.OTHER_METHOD if rules is None else Outcome.LATER if rules.closed is None else Outcome.CLOSED)

    def saw_order(self, levels: Iterable[Level], those: Contenders, decides: range, outcome: Outcome, before: Outcome) -> None:
        """Record the outcome of ``levels``; ``those`` have the method, and ``decides`` are the places of those with ``outcome``."""
        known = {id(level) for level, _ in those}
        for level in levels:
            if id(level) not in known:
                self.saw(level, Outcome.OTHER_METHOD)
        for place, (level, _) in enumerate(those):
            self.saw(level, before if place < decides.start else outcome if place < decides.stop else Outcome.LATER)

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
    """Return which decision HEAD gets, ``itself`` or ``as_get``; if both fail closed, ``as_get``."""
    return as_get if isinstance(as_get, Unhealthy) or _STRICTNESS[type(as_get)] > _STRICTNESS[type(itself)] else itself


def decide_at_once(hosts: VirtualHosts, host: str | None, path: str, method: str, *, raw: bool, is_global: bool = False) -> Found | None:
    """Return the decision in the usual case, where host, method and the path as received decide; ``None`` in any other case."""
    if host is None:
        return None
    there, has_farther = hosts.by_name.get(host), hosts.has_farther
    if there is None and not has_farther:
        return NO_MATCH
    if not is_plain_with_query(path, raw=raw):
        return None
    near: Iterable[_NearHost]
    if method == "HEAD" or hosts.yielding:
        near = hosts.near(host)
    else:
        found = NO_MATCH if there is None else _simply(there, path, method)
        if found is not NO_MATCH or not has_farther:
            return found
        near = hosts.farther(host)
    both = _both_simply(near, path, method)
    if both is None or (hosts.yielding and (is_global or _may_close(near, path, method, both[1]))):
        return None
    return stricter_for_head(*both)


def _both_simply(near: Iterable[_NearHost], path: str, method: str) -> tuple[Found, Found] | None:
    """Return what decides HEAD itself, if the method is HEAD, and what decides GET, or the other method.

    What covers HEAD counts no farther than on the host that decides GET. ``None`` if more than path and method decide.
    """
    itself: Found = NO_MATCH
    for _, there in near:
        found = _simply(there, path, "GET" if method == "HEAD" else method)
        if method == "HEAD" and itself is NO_MATCH:
            own = _simply(there, path, "HEAD") if there.with_methods else found
            if own is None:
                return None
            itself = own
        if found is not NO_MATCH:
            return None if found is None else (itself, found)
    return itself, NO_MATCH


def _simply(there: VirtualHost, path: str, method: str) -> Found | None:
    """Return what decides on one host; ``None`` if that takes more than path and method."""
    if there.folded.prefixes:
        return None
    winner: Found = NO_MATCH
    best = -1
    for levels in there.exact.covering(path):
        for level in levels:
            if not level.is_simple:
                return None
            rules = level.rules(method)
            if rules is None or (level.path_type is not PathType.PREFIX and not _fits(level, path)):
                continue
            if rules.closed is not None:
                return rules.closed
            if level.order > best and rules.entry is not None:
                winner, best = rules.entry, level.order
    return winner


def _may_close(near: Iterable[_NearHost], path: str, method: str, found: Found) -> bool:
    """Return whether something that yields to entries of other namespaces may close a request that otherwise gets ``found``."""
    for _, there in near:
        if there.yielding and there.folded:
            return True
        for level in chain.from_iterable(there.exact.covering(path) if there.yielding else ()):
            for one in ("GET", "HEAD") if method == "HEAD" else (method,):
                rules = level.rules(one)
                if rules is not None and any(_concerns(namespace, found) for namespace, _ in rules.yielding):
                    return True
    return False


def possible_paths(near: Near, marked: Interpretation, room: Steps) -> tuple[Interpretation, ...] | None:
    """Return the paths that the ``!`` of ``marked`` may stand for, as far as prefixes ``near`` tell them apart.

    Whatever the path is, one of these begins with all prefixes there that it has and that may decide, and with no others. So each is looked
    up like any other path. ``None`` if too many characters have to be compared, or if there are more paths than ``room``.
    """
    markers, work = marked.markers, Steps(MAX_MARKER_WORK)
    if markers is None:
        return (marked,)
    path = marked.path[: max(marked.end + 1, MAX_PREFIX) + MAX_MARKERS]  # a query of 60 KB is not copied for each
    certain = certain_part(path)
    folded = fold(certain)
    found = dict.fromkeys(markers.written("", path, path))
    for _, there in near:
        as_written = ((prefix, False) for prefix in there.exact.prefixes_of(certain))
        without_case = ((prefix, True) for prefix in there.folded.prefixes_of(folded))
        for prefix, is_folded in chain(as_written, without_case, *[[one for one, _ in own] for own in there.hidden.covering(folded)]):
            text = marked.folded if is_folded else path
            end, compared = markers.after_prefix(prefix, text)
            if not work.take(compared):
                return None
            if end >= 0 and (not text.startswith(prefix) or "!" in text[: len(prefix) + 1]):
                found.update(dict.fromkeys(markers.written(prefix, path, text)))
                if len(found) > room.left:
                    return None
    if not room.take(len(found)):
        return None
    return tuple([Interpretation(one, marked.rewritten, supposed=True) for one in found])


def _fits(level: Level, path: str) -> bool:
    """Return whether ``path``, which begins with the prefix of a level, is one that the level covers."""
    query = path.find("?")
    return fits(level.path_type, path, level.length, len(path) if query < 0 else query)


def nearest(levels: Sequence[Level], method: str, request: Request, trace: Trace | None = None) -> Found:
    """Return what decides among ``levels`` that cover a path, in the order of entries."""
    those: list[tuple[Level, Rules]] = []
    for level in levels:
        rules = level.rules(method)
        if rules is not None:
            if rules.closed is not None:
                if trace is not None:
                    trace.saw_closed(levels, method)
                return rules.closed
            those.append((level, rules))
    for place, (_, rules) in enumerate(those):
        for key, name in rules.names:
            if request.headers.is_doubtful(key, name):
                if trace is not None:
                    trace.saw_order(levels, those, range(place, place + 1), Outcome.AMBIGUOUS, Outcome.LATER)
                return AMBIGUOUS_HEADER
    winner: Found = NO_MATCH
    begin = end = 0
    while end < len(those) and winner is NO_MATCH:
        begin, order = end, those[end][0].order
        while end < len(those) and those[end][0].order == order:
            end += 1
        winner = _first_of([rules for _, rules in those[begin:end]], request)
    if trace is not None:
        trace.saw_order(levels, those, range(begin if winner is not NO_MATCH else end, end), Outcome.WON, Outcome.OTHER_HEADERS)
    return winner


def _first_of(rules: Iterable[Rules], request: Request) -> Found:
    """Return the entry with the most headers among those of equal places."""
    most, found = 0, list[Found]()
    for one in rules:
        if one.entry is not None and not most:
            found.append(one.entry)
        for names, by_values, certain in one.by_headers:
            values = request.headers.values_of(names)
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
    """The look-ups of one request ``near`` hosts. ``readings`` are the interpretations of its path, only itself if it cannot be read.

    ``yielding``: some of these fail closed only where no entry of another namespace decides. ``is_global``: what fails closed although its
    author may have meant any host yields to nobody. ``permits`` returns whether an entry may still decide about a path.
    """

    near: Near
    request: Request
    yielding: bool = False
    is_global: bool = False
    permits: Permits | None = None
    trace: Trace | None = None
    readings: tuple[Interpretation, ...] = attrs.field(init=False)
    # What covers the current reading, by the identity of the host: HEAD is looked up twice.
    _known: dict[int, list[Level]] = attrs.field(factory=dict, init=False, repr=False)
    _granted: dict[tuple[PathSet, str], bool] = attrs.field(factory=dict, init=False, repr=False)

    @readings.default
    def _all_readings(self) -> tuple[Interpretation, ...]:
        read = self.request.read
        return (Interpretation(self.request.path),) if isinstance(read, MalformedPath) else read

    def decision(self, reading: Interpretation) -> Found:
        """Return what decides ``reading``."""
        is_head = self.request.method == "HEAD"
        if len(self.readings) > 1 and self.permits is None and self.trace is None:  # a single one has been tried at once
            both = _both_simply(self.near, reading.path, self.request.method)
            if both is not None and not (self.yielding and self._may_close(reading, both[1])):
                return stricter_for_head(*both)
        self._known.clear()
        method = "GET" if is_head else self.request.method
        as_asked, decoded, heard = self._decided(reading, method, self.near)
        found = as_asked
        if self.yielding:
            found = self._unless_closed(reading, method, as_asked, (as_asked,), decoded=decoded)
        found = self._permitted(reading, found)
        if not is_head:
            return found
        is_same = isinstance(as_asked, Unhealthy) or not any(there.with_methods for _, there in self.near)
        if is_same and self.trace is None:
            return found
        itself, decoded_too, _ = self._decided(reading, "HEAD", heard)
        if self.yielding:
            itself = self._unless_closed(reading, "HEAD", itself, (itself, as_asked), decoded=decoded and decoded_too)
        itself = self._permitted(reading, itself)
        return stricter_for_head(itself, found)

    def _may_close(self, reading: Interpretation, found: Found) -> bool:
        """Return whether something that yields to entries of other namespaces may close ``reading``, which otherwise gets ``found``."""
        return self.is_global or _may_close(self.near, reading.path, self.request.method, found)

    def _permitted(self, reading: Interpretation, found: Found) -> Found:
        """Return ``found``, closed if it is an entry that may no longer decide."""
        if self.permits is not None and isinstance(found, Entry) and not self.permits(found, reading.path):
            found = Unhealthy(_REVOKED, found.source, found.index)
        if self.trace is not None:
            self.trace.looks[-1].found = found
        return found

    def decisions(self, room: Steps) -> Iterator[tuple[Interpretation, Found]]:
        """Yield each reading, or each path that its ``!`` may stand for, with its decision; ``AMBIGUOUS_PATH`` beyond ``room``."""
        seen = set[tuple[str, bool]]()
        for reading in self.readings:
            if reading.markers is None:
                yield reading, self.decision(reading)
                continue
            seen = seen or {(one.path, one.rewritten) for one in self.readings if one.markers is None}
            possible = possible_paths(self.near, reading, room)
            if possible is None:
                yield reading, AMBIGUOUS_PATH
                return
            for one in possible:
                if (one.path, one.rewritten) not in seen:
                    seen.add((one.path, one.rewritten))
                    yield one, self.decision(one)

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

    def _covering(self, there: VirtualHost, reading: Interpretation) -> list[Level]:
        """Return the levels of one host that cover ``reading``, in the order of entries."""
        known = self._known.get(id(there)) if self.trace is None else None
        if known is not None:
            return known
        found: list[Level] = []
        tries = [(there.exact, reading.path), (there.folded, reading.folded)] if there.folded.prefixes else [(there.exact, reading.path)]
        for trie, path in tries:
            for level in chain.from_iterable(trie.covering(path)):
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
        self._known[id(there)] = found
        return found

    def _decided(self, reading: Interpretation, method: str, near: Near) -> tuple[Found, bool, Near]:
        """Return what the nearest host with a route decides, whether decoded spellings counted, and the hosts up to this one."""
        if self.trace is not None:
            self.trace.begin(reading, method)
        for count, (host, there) in enumerate(near, 1):
            if self.trace is not None:
                self.trace.host = host
            elif (found := _simply(there, reading.path, method)) is not None:
                if found is not NO_MATCH:
                    return found, reading.rewritten, near[:count]
                continue
            for decoded, levels in _by_spelling(reading, self._covering(there, reading)):
                found = nearest(levels, method, self.request, self.trace)
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
            for level in () if is_here and decoded else self._covering(there, reading):
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
            for level in self._covering(there, reading):
                rules = None if level.decoded and not decoded else level.rules(method)
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


def _by_spelling(reading: Interpretation, levels: list[Level]) -> tuple[tuple[bool, list[Level]], ...]:
    """Return the levels that count together, and whether decoded spellings do; in the path as received, what was written so comes first."""
    if reading.rewritten:
        return ((True, levels),)
    written = [level for level in levels if not level.decoded]
    return ((False, written),) if len(written) == len(levels) else ((False, written), (True, levels))


def decide(
    hosts: VirtualHosts, request: Request, *, is_global: bool = False, permits: Permits | None = None, trace: Trace | None = None
) -> PolicyDecision:
    """Return the decision on which all readings of a request agree.

    Args:
        hosts: the routes
        request: what is looked up
        is_global: what fails closed although its author may have meant any host yields to nobody
        permits: returns whether an entry may still decide about a path
        trace: receives the look-up
    """
    near = hosts.near(request.host)
    if not near:
        return NO_MATCH if request.host is not None else AMBIGUOUS_AUTHORITY
    found = Walk(near, request, bool(hosts.yielding), is_global, permits, trace).decisions(Steps(MAX_POSSIBLE))
    decision = _agreed(found, request)
    if trace is not None:
        deque(found, maxlen=0)  # the trace has every reading
    return decision


def _agreed(decisions: Iterator[tuple[Interpretation, Found]], request: Request) -> PolicyDecision:
    """Return the decision of the path as received if that of every other reading agrees."""
    _, found = next(decisions)
    if isinstance(found, Unhealthy):
        return found
    if request.host is None:
        return AMBIGUOUS_AUTHORITY
    if isinstance(request.read, MalformedPath):
        return AMBIGUOUS_PATH
    is_agreed = True
    for reading, other in decisions:
        if isinstance(other, Unhealthy) and (other is not CONFLICT or not reading.supposed):  # a ``!`` only hints at a conflict
            return other
        is_agreed = is_agreed and (other is found or any(isinstance(other, kind) and isinstance(found, kind) for kind in _ALIKE))
    return found if is_agreed else AMBIGUOUS_PATH


def denied_by(hosts: VirtualHosts, request: Request, trace: Trace | None = None) -> DenyEntry | Ambiguous | None:
    """Return a denial that covers one of the readings of the request's path; all routes of ``hosts`` deny, and name no headers.

    ``Ambiguous`` if there are such routes and the path cannot be read; ``None`` if no denial concerns the request. ``trace`` receives the
    look-ups among its ``denials``.
    """
    if trace is None:
        at_once = decide_at_once(hosts, request.host, request.path, request.method, raw=request.raw)
        if at_once is NO_MATCH:
            return None
        if isinstance(at_once, DenyEntry):
            return at_once
    near = hosts.near(request.host)
    if not near:
        return None
    own = None if trace is None else Trace()
    found = Walk(near, request, trace=own).decisions(Steps(MAX_POSSIBLE))
    denied = _first_denial(found, near, request)
    if trace is not None and own is not None:
        deque(found, maxlen=0)  # the trace has every reading
        trace.denials += own.looks
    return denied if denied is not None or not isinstance(request.read, MalformedPath) else AMBIGUOUS_PATH


def _first_denial(decisions: Iterator[tuple[Interpretation, Found]], near: Near, request: Request) -> DenyEntry | Ambiguous | None:
    denied: Ambiguous | None = None
    for reading, found in decisions:
        if isinstance(found, DenyEntry):
            return found
        if isinstance(found, Unhealthy):  # several denials are equal in the order of entries
            trace = Trace()
            Walk(near, request, trace=trace).decision(reading)
            return trace.denial(request.method)
        if not isinstance(found, NoMatch):  # the ``!`` of the path may stand for too much
            denied = AMBIGUOUS_PATH
    return denied
