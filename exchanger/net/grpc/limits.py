"""Limits, each with its reason: of one connection, of all connections together, and of their number.

Limits that the codec enforces itself are named after its options.
"""

import math
from typing import Final, final

import attrs
import structlog
import trio

# Bytes of one decoded header list. Envoy's own limit is 60 KiB, and gRPC calls carry a few hundred bytes.
MAX_HEADER_LIST: Final = 64 * 1024

# Fields of one header list. Envoy's own limit is 100.
MAX_HEADER_COUNT: Final = 256

# A header list ends the connection only if it exceeds one of the two limits above this many times. Below that, only its own call is
# refused: the gateway copies headers into its calls, so one of its many users can cause such a list, and must not cut off the others.
TOLERANCE: Final = 4

# CONTINUATION frames after HEADERS. In frames of 16 KiB they hold ``TOLERANCE`` times ``MAX_HEADER_LIST`` (CVE-2024-27316).
MAX_CONTINUATIONS: Final = 16

# Entries of one SETTINGS frame: nine settings are in use.
MAX_SETTINGS: Final = 32

# Acknowledgements of PING and SETTINGS waiting to be sent (CVE-2019-9512, CVE-2019-9515). They are sent after each batch that was read.
MAX_OUTBOUND_ACKS: Final = 1000

# Resets in a burst, and per second: unlimited. One Envoy connection carries many users who may all cancel at once, and a limit would
# disconnect all others. A reset stream leaves nothing behind (CVE-2023-44487 is about work left behind), so the read rate is limit enough.
RESET_BURST: Final = 2**31

# Suspicious but legal frames in a burst, and per second: nghttp2's own defaults, which no gRPC client comes near.
GLITCH_BURST: Final = 10_000
GLITCH_RATE: Final = 330

# Bytes that one call may send ahead of its reader; this also bounds the unread messages of a streaming call.
STREAM_WINDOW: Final = 256 * 1024

# Bytes that all calls of a connection may send ahead: 64 streaming calls that are not read do not stall the others.
CONNECTION_WINDOW: Final = 16 * 1024 * 1024


@final
@attrs.frozen
class ConnectionLimits:
    """How much one connection may hold, and for how long."""

    # One request message: gRPC's usual 4 MiB.
    message_bytes: int = 4 * 1024 * 1024

    # One Envoy connection carries many users; Envoy itself opens at most 1024 streams by default.
    concurrent_streams: int = 1000

    # Request messages of all calls that arrive in parts or wait to be read. Messages in one frame (16 KiB at most) are bounded by the
    # number of streams alone.
    held_bytes: int = 16 * 1024 * 1024

    # Answers that the peer's flow control keeps back, of all calls.
    queued_bytes: int = 16 * 1024 * 1024

    # The same for one call; beyond this its sender waits.
    call_queued_bytes: int = 64 * 1024

    # Seconds until a message that has begun to arrive must be complete, and the whole request of a unary call. Gateways send it in one
    # piece, and 4 MiB take this long at 1 Mbit/s.
    arrival_seconds: float = 30.0


@final
@attrs.frozen
class ConnectionUsage:
    """Open streams, bytes of incomplete or unread messages, bytes not given back to flow control, and bytes of answers kept back by it."""

    streams: int
    held_bytes: int
    unread_bytes: int
    queued_bytes: int


def settings(limits: ConnectionLimits) -> dict[int, int]:
    """Return the SETTINGS to announce, by the identifiers of RFC 9113 section 6.5.2 and RFC 9218 section 2.1."""
    return {
        0x3: limits.concurrent_streams,
        0x4: STREAM_WINDOW,
        0x6: MAX_HEADER_LIST,
        0x9: 1,  # the priorities of RFC 7540 are deprecated: clients do not send them
    }


# All connections of a process may hold this many bytes: as many as 16 connections at their own limits. A gateway's checks arrive in one
# piece and hold nothing here.
_ALL_CONNECTIONS_BYTES: Final = 256 * 1024 * 1024

# A connection may hold this many bytes whatever the others do, so that none is refused through no fault of its own: enough for a check
# with large headers, or one call's answers. For 4096 connections this is another 256 MiB, so at most twice the limit is ever held.
_FREE_BYTES: Final = 64 * 1024


@final
@attrs.define(eq=False)
class Budget:
    """Bytes that the connections of one process hold together, request data and answers alike.

    Each connection has its own limits, but four thousand of them at their limits would exceed any machine's memory.
    """

    limit: int = _ALL_CONNECTIONS_BYTES
    used: int = attrs.field(default=0, init=False)

    def change(self, amount: int) -> None:
        """Count ``amount`` more bytes, or fewer if it is negative."""
        self.used += amount

    def refuses(self, own: int) -> bool:
        """Whether a connection that holds ``own`` bytes, already counted, holds too much."""
        return self.used > self.limit and own > _FREE_BYTES


# Seconds between two reports of refused connections, so that they cannot flood the log; alerts on logs usually count per minute.
REPORT_INTERVAL: Final = 60.0
NO_DESCRIPTORS: Final = "the process has no file descriptors left"


@final
@attrs.define(eq=False)
class ConnectionAdmission:
    """Admits up to ``limit`` connections, and counts. Logs why one was refused, once a minute."""

    _limit: int
    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger)
    accepted: int = attrs.field(default=0, init=False)
    refused: int = attrs.field(default=0, init=False)
    _reported_at: float = attrs.field(default=-math.inf, init=False)

    def admit(self, connections: int) -> bool:
        """Return whether there is room for one more connection than ``connections``."""
        if connections < self._limit:
            self.accepted += 1
            return True
        self._refuse(f"there are {self._limit} connections already")
        return False

    def exhausted(self) -> None:
        """A waiting connection cannot be accepted because no file descriptor is left. Counts each attempt."""
        self._refuse(NO_DESCRIPTORS)

    def _refuse(self, reason: str) -> None:
        self.refused += 1
        now = trio.current_time()
        if now >= self._reported_at + REPORT_INTERVAL:
            self._reported_at = now
            self._log.warning("grpc.connections_refused", reason=reason, refused=self.refused)
