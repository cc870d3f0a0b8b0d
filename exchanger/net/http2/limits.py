"""Limits of one HTTP/2 connection to a token endpoint, each with its reason. Sizes are in bytes."""

from typing import Final

from exchanger.net.answer import MAX_RESPONSE_BYTES

# Requests in progress on one connection: what servers commonly allow, and as many as the codec assumes until the peer says how many.
MAX_STREAMS: Final = 100

# Bytes that the peer may send ahead on the connection. A stream keeps the protocol's 64 KiB: a usual answer has a few KiB, and bytes are
# read as they arrive, so the windows bound what is in transit and ``MAX_HELD_BYTES`` what is kept.
CONNECTION_WINDOW: Final = 1024 * 1024

# Bytes of unfinished bodies on one connection: eight of the longest. Above this, a body that has used up its stream's first window is too
# large, so that usual answers are never affected, and a hundred streams hold 14 MiB at most.
MAX_HELD_BYTES: Final = 8 * MAX_RESPONSE_BYTES
FREE_BODY_BYTES: Final = 64 * 1024

# Most DATA frames of one body, so that a megabyte of one-byte frames does not cost a second of CPU. A usual body comes in one or two.
MAX_BODY_PIECES: Final = 4096

# Most 1xx responses before the real one; none is expected, as no ``Expect`` is sent.
MAX_INTERIM_RESPONSES: Final = 8

# Longest response head: the first is announced, as common servers send 8 KiB at most. Twice as much ends the connection and not only the
# stream, because the codec decodes a head as a whole.
MAX_HEAD_BYTES: Final = 64 * 1024
MAX_HEAD_FIELDS: Final = 512

# CONTINUATION frames of one head, enough for the longest in frames of 16 KiB (CVE-2024-27316).
MAX_CONTINUATIONS: Final = 8

# Frames that do not advance an answer (SETTINGS, PING, WINDOW_UPDATE, ALTSVC, unsolicited data): so many initially, and so many more with
# each request. A usual server sends two or three with an answer. An endless flood of small frames would occupy a core.
SPARE_FRAMES: Final = 2000
SPARE_FRAMES_PER_REQUEST: Final = 16

# Seconds without a byte from a peer that owes an answer before it gets a PING. Until it acknowledges that, it gets no more requests, so
# that a vanished peer affects few exchanges. A slower peer gets a PING now and then; servers use their number to detect floods.
SILENCE: Final = 0.1
