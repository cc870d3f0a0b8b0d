"""A purerpc service with one method of each kind, over protobuf's own StringValue."""

from collections.abc import AsyncIterator

import attrs
import trio
from google.protobuf.wrappers_pb2 import StringValue
from purerpc.rpc import Cardinality, RPCSignature
from purerpc.server import Service

from exchanger.net.grpc.routes import CallInfo
from exchanger.net.grpc.status import GrpcError, StatusCode

NAME = "test.Texts"


def text(value: str) -> bytes:
    return StringValue(value=value).SerializeToString()


@attrs.define(eq=False)
class Texts:
    """``running`` counts what was yielded without an end, ``infos`` has what a method saw of its calls."""

    running: int = 0
    infos: list[CallInfo] = attrs.field(factory=list)

    async def upper(self, message: StringValue, request: CallInfo) -> StringValue:
        self.infos.append(request)
        await trio.lowlevel.checkpoint()
        if message.value == "refuse":
            raise GrpcError(StatusCode.FAILED_PRECONDITION, "not this one")
        if message.value == "fail":
            raise ValueError("s3cret")
        return StringValue(value=message.value.upper())

    async def split(self, message: StringValue) -> AsyncIterator[StringValue]:
        for word in message.value.split():
            if word == "fail":
                raise ValueError("s3cret")
            await trio.lowlevel.checkpoint()
            yield StringValue(value=word)

    async def join(self, messages: AsyncIterator[StringValue]) -> AsyncIterator[StringValue]:
        words = []
        async for message in messages:
            if message.value == "stop":
                break
            words.append(message.value)
        yield StringValue(value=" ".join(words))

    async def echo(self, messages: AsyncIterator[StringValue]) -> AsyncIterator[StringValue]:
        async for message in messages:
            yield message

    async def flood(self, message: StringValue) -> AsyncIterator[StringValue]:
        while True:
            self.running += 1
            yield message

    def service(self) -> Service:
        service = Service(NAME)
        for name, method, cardinality in (
            ("Upper", self.upper, Cardinality.UNARY_UNARY),
            ("Split", self.split, Cardinality.UNARY_STREAM),
            ("Join", self.join, Cardinality.STREAM_STREAM),
            ("Echo", self.echo, Cardinality.STREAM_STREAM),
            ("Flood", self.flood, Cardinality.UNARY_STREAM),
        ):
            service.add_method(name, method, RPCSignature(cardinality, StringValue, StringValue))
        return service
