"""Limits of one connection, each with its reason. What the codec enforces itself is named by the codec's own option.

Must not know: the codec's types, sockets or clocks.
"""

from typing import Final, final

import attrs

MAX_HEADER_LIST: Final = 64 * 1024
"""Bytes of one decoded header list; Envoy's own limit is 60 KiB, and gRPC calls carry a few hundred bytes."""

MAX_HEADER_COUNT: Final = 256
"""Fields of one header list; Envoy's own limit is 100."""

TOLERANCE: Final = 4
"""How many times these two a list may have before it ends the connection. Between the two only its call is refused: one of many users of a
gateway can bring such a list about, by the headers that the gateway copies into its calls, and the others must not be cut off for it."""

MAX_CONTINUATIONS: Final = 16
"""Frames after HEADERS: with the first one and frames of 16 KiB as much as ``TOLERANCE`` times ``MAX_HEADER_LIST`` (CVE-2024-27316)."""

MAX_SETTINGS: Final = 32
"""Entries of one SETTINGS frame: there are nine settings in use."""

MAX_OUTBOUND_ACKS: Final = 1000
"""Acknowledgements of PING and SETTINGS waiting to be sent (CVE-2019-9512, CVE-2019-9515). They are sent after each batch that was read."""

RESET_BURST: Final = 2**31
"""Resets in a burst, and a second. One Envoy connection carries many users who may all hang up at once, and a limit here would cut off all
the others; a reset stream leaves nothing behind (CVE-2023-44487 is about the work it leaves), so that the rate at which bytes are read is
limit enough."""

GLITCH_BURST: Final = 10_000
GLITCH_RATE: Final = 330
"""Suspicious but legal frames in a burst, and a second: nghttp2's own default, which no gRPC client comes near."""

STREAM_WINDOW: Final = 256 * 1024
"""Bytes that one call may send ahead of its reader; also the bound of unread messages of a streaming call."""

CONNECTION_WINDOW: Final = 16 * 1024 * 1024
"""Bytes that all calls of a connection may send ahead: 64 streaming calls that nobody reads do not stall the others."""


@final
@attrs.frozen
class ConnectionLimits:
    """Bounds of what one connection may hold, and for how long.

    ``message_bytes``: one request message, gRPC's usual 4 MiB. ``concurrent_streams``: one Envoy connection carries many users, and Envoy
    itself opens no more than 1024 by default. ``held_bytes``: messages that came in parts or wait to be read, of all its calls together;
    what comes in one frame of at most 16 KiB is bounded by the number of streams alone. ``queued_bytes``: answers that the peer's flow
    control keeps back, of all its calls together. ``call_queued_bytes``: the same for one call, from where on its sender waits.
    ``arrival_seconds``: until a message that has begun to arrive must be there, and the whole request of a unary call; gateways send it in
    one piece, and 4 MiB take that long at 1 Mbit/s.
    """

    message_bytes: int = 4 * 1024 * 1024
    concurrent_streams: int = 1000
    held_bytes: int = 16 * 1024 * 1024
    queued_bytes: int = 16 * 1024 * 1024
    call_queued_bytes: int = 64 * 1024
    arrival_seconds: float = 30.0


def settings(limits: ConnectionLimits) -> dict[int, int]:
    """Return the SETTINGS to announce, by the identifiers of RFC 9113 section 6.5.2 and RFC 9218 section 2.1."""
    return {
        0x3: limits.concurrent_streams,
        0x4: STREAM_WINDOW,
        0x6: MAX_HEADER_LIST,
        0x9: 1,  # the priorities of RFC 7540, which nobody uses, are not used here either
    }
