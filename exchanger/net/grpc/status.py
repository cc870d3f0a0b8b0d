"""gRPC status: the closed set of codes, and the exception that carries one."""

import enum
from typing import final


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
    """A call ends with ``status``, which is not OK. ``message`` goes to the peer: it must be our own text, never a foreign one."""

    def __init__(self, status: StatusCode, message: str = "") -> None:
        if status is StatusCode.OK:
            raise ValueError("an error cannot have the status OK")
        super().__init__(f"{status.name}: {message}")
        self.status = status
        self.message = message
