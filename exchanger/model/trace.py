"""The trace of a request: its headers, read and bounded.

Sources: https://www.w3.org/TR/trace-context/ and https://www.w3.org/TR/baggage/.

There is one reading of ``traceparent`` for all users, so that spans, the console and the choice between a caller's trace and a gateway's
agree. Lists are cut to what every participant must pass on: whole members only, and as many as the standards require. A gateway copies
these headers from its callers, so they may have any length and content.

Must not know: the meaning of members, how ids are made, which traces are recorded, or where spans go.
"""

import re
from typing import Final, TypeAlias, final

import attrs

from exchanger.util.frozen import fast_init

# Characters, and members, of ``tracestate`` (https://www.w3.org/TR/trace-context/#tracestate-limits, #list).
MAX_TRACESTATE: Final = 512
MAX_TRACESTATE_MEMBERS: Final = 32
# Characters of a member of ``tracestate`` above which it is dropped first.
LARGE_MEMBER: Final = 128
# Characters of ``baggage``, which are bytes (non-ASCII ones are dropped), and its members (https://www.w3.org/TR/baggage/#limits).
MAX_BAGGAGE: Final = 8192
MAX_BAGGAGE_MEMBERS: Final = 64
# Characters of a list that are considered: each costs time, and later members would be dropped first anyway.
_LOOKED_AT: Final = 2 * MAX_BAGGAGE
# The trace flag of a caller that may have recorded the trace (section 3.2.2.5.1).
SAMPLED: Final = 0x01

# Section 3.2.2. Version 00 ends with the flags; a later one may continue after a dash, and ff is invalid, as are ids of zeros only.
_TRACEPARENT: Final = re.compile(
    r"(?:00(?=.{53}\Z)|(?!00|ff)[0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)

# The ids of the trace and of the caller's span, lower-case hex of 32 and 16 characters, and the flags. A tuple is the cheapest.
Traceparent: TypeAlias = tuple[str, str, int]


def parse_traceparent(text: str) -> Traceparent | None:
    """Return the content of ``text``, ``None`` if it is not a valid ``traceparent``: it is then treated as absent."""
    found = _TRACEPARENT.fullmatch(text)
    return None if found is None else (found[1], found[2], int(found[3], 16))


def trace_id_of(text: str) -> str | None:
    """Return the id of the trace alone."""
    found = _TRACEPARENT.fullmatch(text)
    return None if found is None else found[1]


def bounded_tracestate(text: str) -> str:
    """Return ``text``; if it is too long, without large members and then without those at its end."""
    if len(text) <= MAX_TRACESTATE and text.count(",") < MAX_TRACESTATE_MEMBERS:
        return text
    members = _members(text)[:MAX_TRACESTATE_MEMBERS]
    excess = sum(map(len, members)) + len(members) - 1 - MAX_TRACESTATE
    for large in (True, False):
        for at in reversed(range(len(members))):
            if excess > 0 and large == (len(members[at]) > LARGE_MEMBER):
                excess -= len(members.pop(at)) + 1
    return ",".join(members)


def bounded_baggage(text: str) -> str:
    """Return ``text``; if it is too long, its first members, without those that do not fit."""
    if len(text) <= MAX_BAGGAGE and text.count(",") < MAX_BAGGAGE_MEMBERS:
        return text
    kept: list[str] = []
    room = MAX_BAGGAGE + 1
    for member in _members(text):
        if len(member) < room and len(kept) < MAX_BAGGAGE_MEMBERS:
            room -= len(member) + 1
            kept.append(member)
    return ",".join(kept)


def _members(text: str) -> list[str]:
    """Return the whole members among the first characters of a list, without the blanks around them and without empty ones."""
    if len(text) > _LOOKED_AT:
        text = text[:_LOOKED_AT].rpartition(",")[0]
    return [member for part in text.split(",") if (member := part.strip(" \t"))]


@final
@fast_init
@attrs.frozen(weakref_slot=False)
class TraceContext:
    """W3C trace context and baggage, bounded but otherwise unchanged; "" is absent."""

    traceparent: str = ""
    tracestate: str = attrs.field(default="", converter=bounded_tracestate, repr=False)
    baggage: str = attrs.field(default="", converter=bounded_baggage, repr=False)


NO_TRACE: Final = TraceContext()


@final
@attrs.frozen
class SpanContext:
    """The place of a span in its trace. Ids are lower-case hex of 32 and 16 characters; ``parent_id`` is "" if the trace starts here.

    ``flags`` are W3C's trace flags; ``tracestate`` and ``baggage`` are those received.
    """

    trace_id: str
    span_id: str
    parent_id: str
    flags: int
    tracestate: str = ""
    baggage: str = ""

    @property
    def sampled(self) -> bool:
        """Whether the span is recorded."""
        return bool(self.flags & SAMPLED)

    @property
    def trace(self) -> TraceContext:
        """The context to pass on, so that spans elsewhere become children of this one."""
        return TraceContext(f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}", self.tracestate, self.baggage)
