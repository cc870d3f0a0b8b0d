"""Callable methods: a closed union of four kinds of route, the routes of a purerpc service, and how its methods are run.

At run time, neither purerpc nor its HTTP/2 code is imported here.
"""

import enum
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, Protocol, final

import attrs
from google.protobuf.message import DecodeError

from exchanger.net.deferred import Deferred
from exchanger.net.grpc.status import GrpcError, StatusCode
from exchanger.util.frozen import fast_init

if TYPE_CHECKING:
    from purerpc.server import Service

Headers = tuple[tuple[bytes, bytes], ...]

# Seconds before its deadline at which a silent stream ends with OK: more than the way back to a gateway takes, which would otherwise
# report an error for a request that has long been answered.
MARGIN_S: Final = 0.025


@final
@fast_init
@attrs.frozen(weakref_slot=False)
class CallInfo:
    """What a method may know of its call besides the messages. ``deadline`` is in seconds of the server's clock, infinite when unset.

    ``timeout`` is the caller's own, in seconds; ``headers`` are all that were received.
    """

    path: bytes
    deadline: float
    headers: Headers = attrs.field(repr=False)
    timeout: float = math.inf

    def begun_at(self, now: float) -> "CallInfo":
        """Return the context of a call with the same headers that arrived at ``now``."""
        return CallInfo(self.path, now + self.timeout, self.headers, self.timeout)

    @property
    def metadata(self) -> Headers:
        """The caller's own headers, unchanged and in order: all except those that HTTP/2 and gRPC reserve."""
        return tuple(
            (name, value) for name, value in self.headers if not name.startswith((b":", b"grpc-")) and name not in (b"content-type", b"te")
        )

    @property
    def encoding(self) -> bytes:
        """The ``grpc-encoding`` of compressed messages; empty when the caller named none."""
        return next((value for name, value in self.headers if name == b"grpc-encoding"), b"")


# Answers one message of a stream.
StreamHandler = Callable[[bytes, CallInfo], "bytes | Deferred | StreamContinuation | None"]


@final
@attrs.frozen
class StreamContinuation:
    """An answer on a stream whose later messages go to ``handler`` instead of the route's.

    Until the next message the stream may be silent for any time, without a task, and nothing is lost if it ends first: it ends with OK when
    the server drains, and ``MARGIN_S`` before its deadline.
    """

    response: bytes = attrs.field(repr=False)
    handler: StreamHandler


@final
@attrs.frozen
class Immediate:
    """A synchronous unary method: serialised request in, serialised response out, or ``Deferred``.

    The handler runs in the reader's turn, so it must not block. It refuses with ``GrpcError``. Any other exception is a fault, which is
    answered with ``instead``, or with INTERNAL if that is ``None``.
    """

    handler: Callable[[bytes, CallInfo], bytes | Deferred]
    instead: bytes | None = attrs.field(default=None, repr=False)


@final
@attrs.frozen
class ImmediateStream:
    """A synchronous bidirectional method, called for each message: as ``Immediate``, with ``None`` for a message that needs no answer.

    Answers are sent in the order of their messages. A deferred answer delays the later ones of its call, and nothing else. The call ends
    with OK when the peer has sent its last message and all are answered.
    """

    handler: StreamHandler
    instead: bytes | None = attrs.field(default=None, repr=False)


class Message(Protocol):
    """The part of a protobuf message that is used here."""

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """Return the message in wire format."""


class MessageType(Protocol):
    """The class of a protobuf message."""

    def FromString(self, data: bytes, /) -> Message:  # noqa: N802 - protobuf's name
        """Parse ``data``; protobuf raises ``DecodeError`` when that fails."""


@enum.unique
class Streaming(enum.Enum):
    """Which sides of a streaming method send any number of messages; named as in purerpc and gRPC. No service streams only requests."""

    UNARY_STREAM = enum.auto()
    STREAM_STREAM = enum.auto()


@final
@attrs.frozen
class UnaryMethod:
    """A coroutine method: one message in, one message out."""

    handler: Callable[[Any, CallInfo], Awaitable[Message]]
    request_type: MessageType


@final
@attrs.frozen
class StreamMethod:
    """A method that returns a stream: ``handler(message_or_iterator, info)`` returns an async generator of messages."""

    handler: Callable[[Any, CallInfo], Any]
    request_type: MessageType
    streaming: Streaming


Route = Immediate | ImmediateStream | UnaryMethod | StreamMethod
Routes = Mapping[bytes, Route]


def routes_of(service: "Service") -> dict[bytes, Route]:
    """Return the routes of ``service`` by path, ``/package.Service/Method``."""
    return {f"/{service.name}/{name}".encode("ascii"): _route_of(method) for name, method in service.methods.items()}


def _route_of(method: Any) -> Route:
    function, signature = method.method_fn, method.signature

    def handler(argument: object, info: CallInfo) -> Any:
        return function(argument, request=info)

    if signature.cardinality.name == "UNARY_UNARY":
        return UnaryMethod(handler, signature.request_type)
    return StreamMethod(handler, signature.request_type, Streaming[signature.cardinality.name])


# How the methods of a service are run.


# The next request message of a streaming call, or ``None`` after the last one.
Receive = Callable[[], Awaitable[bytes | None]]
# Sends a response message, and waits while too many earlier ones are unsent.
Send = Callable[[bytes], Awaitable[None]]


@final
@attrs.define(eq=False)
class RequestMessages:
    """The request messages of a client-streaming call, as the method iterates over them."""

    _receive: Receive
    _type: MessageType

    def __aiter__(self) -> "RequestMessages":
        return self

    async def __anext__(self) -> Message:
        data = await self._receive()
        if data is None:
            raise StopAsyncIteration
        return _parse(self._type, data)


async def run_unary(method: UnaryMethod, message: bytes, info: CallInfo) -> bytes:
    """Return the serialised response of a unary ``method``.

    Raises:
        GrpcError: from the method, or because the request is not a message of its type.
    """
    response = await method.handler(_parse(method.request_type, message), info)
    return response.SerializeToString()


async def run_stream(method: StreamMethod, message: bytes, info: CallInfo, receive: Receive, send: Send) -> None:
    """Run a streaming ``method`` until it has sent all its messages. ``message`` is the request of one that takes a single message.

    Raises:
        GrpcError: from the method, or because a request is not a message of its type
    """
    kind = method.request_type
    argument = RequestMessages(receive, kind) if method.streaming is Streaming.STREAM_STREAM else _parse(kind, message)
    async with aclosing(method.handler(argument, info)) as responses:
        async for response in responses:
            await send(response.SerializeToString())


def _parse(kind: MessageType, data: bytes) -> Message:
    try:
        return kind.FromString(data)
    except DecodeError:
        # The status that https://grpc.github.io/grpc/core/md_doc_statuscodes.html has for this.
        raise GrpcError(StatusCode.INTERNAL, "request is not a message of the method's type") from None
