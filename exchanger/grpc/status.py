"""gRPC status: the closed set of codes, the refusal that carries one, and how its message is written on the wire.

Must not know: HTTP/2, tasks, or any method.
"""

import enum
from typing import Final, final

_MESSAGE_CHARACTERS: Final = 500
"""Characters of a message that are sent: 6 kB when each of them is four bytes long and escaped, and gRPC clients take 8 KiB of headers."""


@enum.unique
class StatusCode(enum.IntEnum):
    """Status of a call (https://grpc.github.io/grpc/core/md_doc_statuscodes.html); the value is the ``grpc-status`` on the wire."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@final
class GrpcError(Exception):
    """A call ends with ``status``, which is not OK. ``message`` goes to the peer as it is: a sentence of ours, never a foreign text."""

    def __init__(self, status: StatusCode, message: str = "") -> None:
        if status is StatusCode.OK:
            raise ValueError("an error cannot have the status OK")
        super().__init__(f"{status.name}: {message}")
        self.status = status
        self.message = message


def encode_message(message: str) -> bytes:
    """Return the beginning of ``message`` as the value of ``grpc-message``: UTF-8, with all but printable ASCII percent-encoded, and ``%``.

    https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses
    """
    text = message[:_MESSAGE_CHARACTERS].encode("utf-8", "replace")
    return b"".join(bytes((byte,)) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte for byte in text)  # noqa: PLR2004 - the specification's ranges
