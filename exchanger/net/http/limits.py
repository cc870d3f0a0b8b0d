"""What an HTTP server accepts, and how long it waits."""

import math
from typing import final

import attrs


@final
@attrs.frozen(kw_only=True)
class HttpLimits:
    """What a server accepts and how long it waits; times are in seconds.

    ``head_bytes`` and ``head_lines`` bound the request line with its headers: each line costs time in the event loop. ``idle_s`` is the
    time to the first byte of a request, ``arrival_s`` from there until the head is complete, and again until the body is. ``answer_s`` is
    the time for the peer to take a response. ``unsent_bytes`` bounds large responses that peers have yet to take, all of them together,
    ``bodies_bytes`` the received parts of bodies, until they are handled.
    """

    connections: int
    head_bytes: int
    head_lines: int
    idle_s: float
    arrival_s: float
    answer_s: float
    body_bytes: int = 0
    handler_s: float = math.inf
    unsent_bytes: float = math.inf
    bodies_bytes: float = math.inf
