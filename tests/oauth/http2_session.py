"""Runs an HTTP/2 client over a stream of Trio's: what a pool does, for tests with servers that are not ours."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import trio

from exchanger.oauth.transport.http2.client import Http2Client
from exchanger.oauth.transport.http2.head import Field, RequestHead, request_head
from exchanger.oauth.transport.http2.response import Answered, HeadArrived, Lost

LIMIT_S = 20.0  # for what takes milliseconds, unless the machine stalls


def tls_context(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["h2"])
    return context


def head_for(authority: str, target: str, *, secure: bool = True) -> RequestHead:
    headers = (
        ("Accept", "application/json"),
        ("Authorization", "Basic Y2xpZW50OnNlY3JldA=="),
        ("Content-Type", "application/x-www-form-urlencoded"),
    )
    head = request_head(secure=secure, authority=authority, target=target, headers=headers)
    assert head is not None
    return head


@attrs.define(eq=False)
class Session:
    """One connection; ``ends`` has what became of each request."""

    stream: trio.abc.Stream
    authority: str
    client: Http2Client
    secure: bool = True
    ends: dict[int, Answered | Lost] = attrs.field(factory=dict)
    heads: set[int] = attrs.field(factory=set)
    _changed: trio.Condition = attrs.field(factory=trio.Condition)
    _sending: trio.Lock = attrs.field(factory=trio.Lock)

    async def flush(self) -> None:
        async with self._sending:
            if data := self.client.data_to_send():
                await self.stream.send_all(data)
        for event in self.client.events():
            if isinstance(event, HeadArrived):
                self.heads.add(event.stream_id)
            else:
                assert event.stream_id not in self.ends
                self.ends[event.stream_id] = event
        async with self._changed:
            self._changed.notify_all()

    async def run(self) -> None:
        try:
            while not self.client.closed:
                data = await self.stream.receive_some(65_536)
                if not data:
                    break
                self.client.receive(bytes(data), trio.current_time())
                await self.flush()
            self.client.lose()
            await self.flush()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.client.lose()
            await self.flush()
        finally:
            await trio.aclose_forcefully(self.stream)

    async def request(self, target: str, body: bytes, extra: tuple[Field, ...] = ()) -> int:
        assert self.client.room
        stream_id = self.client.request(head_for(self.authority, target, secure=self.secure), body, trio.current_time(), extra)
        await self.flush()
        return stream_id

    async def until(self, condition: object) -> None:
        assert callable(condition)
        with trio.fail_after(LIMIT_S):
            async with self._changed:
                while not condition():
                    await self._changed.wait()

    async def end_of(self, stream_id: int) -> Answered | Lost:
        await self.until(lambda: stream_id in self.ends)
        return self.ends[stream_id]

    async def answer(self, target: str, body: bytes = b"subject_token=x") -> Answered:
        end = await self.end_of(await self.request(target, body))
        assert isinstance(end, Answered)
        return end


@asynccontextmanager
async def session(host: str, port: int, ca_file: str | None, *, patience: float = 5.0) -> AsyncGenerator[Session]:
    """Connect, with TLS if there is a CA, by prior knowledge if there is none (RFC 9113 section 3.3)."""
    stream: trio.abc.Stream = await trio.open_tcp_stream(host, port)
    try:
        if ca_file is not None:
            secured = trio.SSLStream(stream, tls_context(ca_file), server_hostname="localhost", https_compatible=True)
            await secured.do_handshake()
            assert secured.selected_alpn_protocol() == "h2"
            stream = secured
        made = Session(stream, f"localhost:{port}", Http2Client(trio.current_time() + 600.0, patience), secure=ca_file is not None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.run)
            await made.flush()
            yield made
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)
