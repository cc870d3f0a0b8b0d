"""The lists that travel with a trace, cut to what everybody has to pass on: whole members only, and as many as the standards ask for.

A gateway copies these headers from its callers, so they may be of any length and hold anything. Must not know: what members mean.
"""

from typing import Final

MAX_TRACESTATE: Final = 512
"""Characters of ``tracestate`` (https://www.w3.org/TR/trace-context/#tracestate-limits)."""
MAX_TRACESTATE_MEMBERS: Final = 32
"""https://www.w3.org/TR/trace-context/#list"""
LARGE_MEMBER: Final = 128
"""Characters of a member of ``tracestate`` beyond which it goes first (https://www.w3.org/TR/trace-context/#tracestate-limits)."""
MAX_BAGGAGE: Final = 8192
"""Characters of ``baggage``, which are bytes: others than ASCII go nowhere (https://www.w3.org/TR/baggage/#limits)."""
MAX_BAGGAGE_MEMBERS: Final = 180
"""The first edition asks for 180, the present one for 64."""

_LOOKED_AT: Final = 2 * MAX_BAGGAGE
"""Characters of a list that are looked at: each costs time, and what is behind would go first in any case."""


def bounded_tracestate(text: str) -> str:
    """Return ``text``, or, where it is too long, what remains of it without large members and those at its end, in this order."""
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
    """Return ``text``, or, where it is too long, its first members, without those for which there is no room beside them."""
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
