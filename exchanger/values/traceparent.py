"""``traceparent`` read: the trace that a caller is in, and its place there.

There is one reading for all who ask, so that spans, the console and the choice between a caller's trace and a gateway's agree. Must not
know: who asks, or which traces are recorded.

Source: https://www.w3.org/TR/trace-context/#traceparent-header
"""

import re
from typing import Final, TypeAlias

# Section 3.2.2. Version 00 ends with the flags; a later one may go on after a dash, and ff is none. An id of zeros only is none either.
_TRACEPARENT: Final = re.compile(
    r"(?:00(?=.{53}\Z)|(?!00|ff)[0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)

Traceparent: TypeAlias = tuple[str, str, int]
"""The trace's id and the caller's span's, lower-case hex of 32 and 16 characters, and the flags. A tuple is the cheapest."""


def parse_traceparent(text: str) -> Traceparent | None:
    """Return what ``text`` says, ``None`` where it is no valid ``traceparent``: then it counts as if there were none."""
    found = _TRACEPARENT.fullmatch(text)
    return None if found is None else (found[1], found[2], int(found[3], 16))
