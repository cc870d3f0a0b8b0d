"""What can be called: a closed union of four kinds of route, and the table of a purerpc service.

A service is taken by its shape alone, so that neither purerpc nor the HTTP/2 code it brings along is imported here.

Must not know: HTTP/2, sockets, or any particular method.
"""

import enum
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, final

import attrs

Headers = tuple[tuple[bytes, bytes], ...]


@final
@attrs.frozen
class CallInfo:
    """What a method may know of its call besides the messages. ``deadline`` is in seconds of the server's clock, infinite when unset."""

    path: bytes
    deadline: float
    _headers: Headers = attrs.field(repr=False)

    @property
    def metadata(self) -> Headers:
        """The caller's own headers as they came, in order: all but those that HTTP/2 and gRPC reserve for themselves."""
        return tuple(
            (name, value) for name, value in self._headers if not name.startswith((b":", b"grpc-")) and name not in (b"content-type", b"te")
        )

    @property
    def encoding(self) -> bytes:
        """The ``grpc-encoding`` by which messages are compressed that are; empty when the caller named none."""
        return next((value for name, value in self._headers if name == b"grpc-encoding"), b"")


@final
@attrs.frozen
class Pending:
    """The answer has to be waited for: ``run`` returns the serialised response message, in a task that ends with the call."""

    run: Callable[[], Awaitable[bytes]]


@final
@attrs.frozen
class Immediate:
    """The synchronous door for unary calls: serialised request message in, serialised response message out, or what to wait for.

    The handler runs in the reader's turn, so it must not block. It refuses with ``GrpcError``; any other exception is a fault, upon which
    ``instead`` is answered, or INTERNAL where that is ``None``.
    """

    handler: Callable[[bytes, CallInfo], bytes | Pending]
    instead: bytes | None = attrs.field(default=None, repr=False)


@final
@attrs.frozen
class ImmediateStream:
    """The synchronous door for bidirectional calls, message by message: as ``Immediate``, with ``None`` for a message without an answer.

    Answers leave in the order of their messages. A message that has to wait holds up the later ones of its call, and nothing else. The call
    ends with OK when the peer has sent its last message and all are answered.
    """

    handler: Callable[[bytes, CallInfo], bytes | Pending | None]
    instead: bytes | None = attrs.field(default=None, repr=False)


class Message(Protocol):
    """A protobuf message, as far as this package uses one."""

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """Return the message in wire format."""


class MessageType(Protocol):
    """The class of a protobuf message."""

    def FromString(self, data: bytes, /) -> Message:  # noqa: N802 - protobuf's name
        """Parse ``data``; protobuf raises ``DecodeError`` when it is not such a message."""


@enum.unique
class Streaming(enum.Enum):
    """Which sides of a streaming method send any number of messages; the names are purerpc's and gRPC's."""

    UNARY_STREAM = enum.auto()
    STREAM_UNARY = enum.auto()
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
    """A method that takes or returns a stream.

    ``handler(message_or_iterator, info)`` returns an awaitable message for STREAM_UNARY, else an async generator of messages.
    """

    handler: Callable[[Any, CallInfo], Any]
    request_type: MessageType
    streaming: Streaming


Route = Immediate | ImmediateStream | UnaryMethod | StreamMethod
Routes = Mapping[bytes, Route]


class _Cardinality(Protocol):
    @property
    def name(self) -> str: ...


class _Signature(Protocol):
    @property
    def cardinality(self) -> _Cardinality: ...
    @property
    def request_type(self) -> Any: ...


class _BoundMethod(Protocol):
    @property
    def method_fn(self) -> Callable[..., Any]: ...
    @property
    def signature(self) -> _Signature: ...


class ServiceLike(Protocol):
    """The shape of ``purerpc.Service``."""

    @property
    def name(self) -> str:
        """Package and service, as in ``grpc.health.v1.Health``."""

    @property
    def methods(self) -> Mapping[str, Any]:
        """Methods by name, each with ``method_fn`` and ``signature``."""


def routes_of(service: ServiceLike) -> dict[bytes, Route]:
    """Return the routes of ``service`` by path, ``/package.Service/Method``; tables of several services merge like mappings."""
    return {f"/{service.name}/{name}".encode("ascii"): _route_of(method) for name, method in service.methods.items()}


def _route_of(method: _BoundMethod) -> Route:
    function, signature = method.method_fn, method.signature

    def handler(argument: object, info: CallInfo) -> Any:
        return function(argument, request=info)

    if signature.cardinality.name == "UNARY_UNARY":
        return UnaryMethod(handler, signature.request_type)
    return StreamMethod(handler, signature.request_type, Streaming[signature.cardinality.name])
