"""How a purerpc method is called: from request bytes to a coroutine or async generator, and from its messages to response bytes.

Must not know: HTTP/2, sockets, or how a call is reported and ended.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol, final

import attrs
from google.protobuf.message import DecodeError

from exchanger.grpc.call import Call
from exchanger.grpc.routes import Message, MessageType, Streaming, StreamMethod, UnaryMethod
from exchanger.grpc.status import GrpcError, StatusCode


class Line(Protocol):
    """The way to and from the peer of a streaming call."""

    async def receive_message(self, call: Call) -> bytes | None:
        """Return the next request message, or ``None`` after the last one."""

    async def send_message(self, call: Call, message: bytes) -> None:
        """Send a response message, and wait while too much of what was sent before is still here."""


@final
@attrs.define(eq=False)
class RequestMessages:
    """The request messages of a client-streaming call, as the method reads them."""

    _line: Line
    _call: Call
    _type: MessageType

    def __aiter__(self) -> "RequestMessages":
        return self

    async def __anext__(self) -> Message:
        data = await self._line.receive_message(self._call)
        if data is None:
            raise StopAsyncIteration
        return _parse(self._type, data)


async def run_unary(method: UnaryMethod, call: Call) -> bytes:
    """Return the serialised response of a unary ``method``.

    Raises:
        GrpcError: from the method, or because the request is no message of its type.
    """
    response = await method.handler(_parse(method.request_type, call.message or b""), call.info)
    return response.SerializeToString()


async def run_stream(method: StreamMethod, call: Call, line: Line) -> bytes | None:
    """Run a streaming ``method``; return its one response, or ``None`` when it has sent what it had to send.

    Raises:
        GrpcError: from the method, or because a request is no message of its type.
    """
    requests = RequestMessages(line, call, method.request_type)
    if method.streaming is Streaming.STREAM_UNARY:
        response: Message = await method.handler(requests, call.info)
        return response.SerializeToString()
    argument = requests if method.streaming is Streaming.STREAM_STREAM else _parse(method.request_type, call.message or b"")
    responses: AsyncGenerator[Message, None] = method.handler(argument, call.info)
    async with aclosing(responses) as messages:
        async for message in messages:
            await line.send_message(call, message.SerializeToString())
    return None


def _parse(kind: MessageType, data: bytes) -> Message:
    try:
        return kind.FromString(data)
    except DecodeError:
        # The status that the table of https://grpc.github.io/grpc/core/md_doc_statuscodes.html has for this.
        raise GrpcError(StatusCode.INTERNAL, "request is not a message of the method's type") from None
