"""Spans, targets and a collector in memory, for the tests of the export."""

import gzip
from typing import final

import attrs
import h11
import trio
import trio.testing

from exchanger.model.secret import Secret
from exchanger.model.trace import SpanContext
from exchanger.operations.telemetry.otlp.settings import Target
from exchanger.operations.telemetry.spans import FinishedSpan, SpanKind

TRACE_ID, SPAN_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7", "b7ad6b7169203331"
CONTEXT = SpanContext(TRACE_ID, SPAN_ID, PARENT_ID, 1, "vendor=state")
SPAN = FinishedSpan(SpanKind.SERVER, "package.Service/Method", CONTEXT, 10**18, 10**18 + 5, (("text", "é"), ("number", 7), ("truth", True)))
TARGET = Target(secure=False, host="collector.example.com", port=4318, path="/v1/traces", headers=(("api-key", Secret("canary-key")),))


@final
@attrs.frozen
class Posted:
    """What a collector got."""

    target: str
    fields: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.fields)


def answer(status: int = 200, body: bytes = b"", *headers: tuple[str, str]) -> bytes:
    connection = h11.Connection(h11.SERVER)
    events = (
        h11.Response(status_code=status, headers=[("Content-Length", str(len(body))), *headers], reason=b"Whatever"),
        h11.Data(data=body),
        h11.EndOfMessage(),
    )
    return b"".join(connection.send(event) or b"" for event in events)


@final
@attrs.define(eq=False)
class MemoryCollector:
    """Gives the n-th connection the n-th of ``answers`` and the last one to all that follow; ``None`` is silence."""

    nursery: trio.Nursery
    answers: list[bytes | None]
    posted: list[Posted] = attrs.field(factory=list)
    dialled: list[tuple[str, int]] = attrs.field(factory=list)
    open_streams: int = 0

    async def dial(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.dialled.append((host, port))
        client, server = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self._serve, server, self.answers[min(len(self.dialled), len(self.answers)) - 1])
        return client

    async def _serve(self, stream: trio.abc.Stream, data: bytes | None) -> None:
        self.open_streams += 1
        try:
            self.posted.append(await _request(stream))
            if data is None:
                await stream.receive_some()  # until the client goes
            else:
                await stream.send_all(data)
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            pass
        finally:
            self.open_streams -= 1
            await trio.aclose_forcefully(stream)


async def _request(stream: trio.abc.Stream) -> Posted:
    connection, head, body = h11.Connection(h11.SERVER), None, bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(65_536)))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.ConnectionClosed):
            raise trio.BrokenResourceError
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            fields = tuple((name.decode(), value.decode()) for name, value in head.headers)
            zipped = ("content-encoding", "gzip") in fields
            return Posted(head.target.decode(), fields, gzip.decompress(body) if zipped else bytes(body))
