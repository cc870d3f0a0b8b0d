"""A console on a free port, and the means to talk to it byte by byte."""

import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Final

import attrs
import trio

from exchanger.authz.decision.check import DecisionRules
from exchanger.authz.decision.outcome import DecisionRecord
from exchanger.operations.console.access import ConsoleSettings
from exchanger.operations.console.api import ConsoleFacts
from exchanger.operations.console.broadcast import Totals
from exchanger.operations.console.console import Console, Sources
from exchanger.operations.console.page.assets import Asset, Page
from exchanger.policy.current import CurrentPolicy
from tests.lines import Lines
from tests.waiting import PATIENCE_S

KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT: Final = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
PAGE: Final[Page] = {
    "/": Asset(b"<!doctype html>", "text/html; charset=utf-8", '"1"'),
    "/assets/app.js": Asset(b"// page", "text/javascript; charset=utf-8", '"2"'),
}
TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


def line(record: DecisionRecord, timestamp: str) -> Mapping[str, object]:
    return {"timestamp": timestamp, "event": "check.decided", "decision": record.outcome.reason.value}


def totals() -> Totals:
    return Totals({"allow_unmatched": 2}, 3, 1, (0.1, 1.0), (1, 1, 0))


@attrs.frozen
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Peer:
    """One connection; ``received`` has every byte that came."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream, self.received, self._at = stream, bytearray(), 0

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def take(self, count: int) -> bytes:
        with trio.fail_after(PATIENCE_S):
            while len(self.received) - self._at < count:
                data = await self.stream.receive_some(65536)
                if not data:
                    raise EOFError
                self.received += data
        data = bytes(self.received[self._at : self._at + count])
        self._at += count
        return data

    async def head(self) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await self.take(1)
        return head

    async def answer(self, *, head_only: bool = False) -> Answer:
        lines = (await self.head()).decode("latin-1").split("\r\n")
        headers = tuple((name, value.strip()) for name, _, value in (text.partition(":") for text in lines[1:-2]))
        answer = Answer(int(lines[0].split()[1]), headers, b"")
        length = int(answer.header("content-length") or 0)
        return answer if head_only else attrs.evolve(answer, body=await self.take(length))

    async def frame(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame; a server's are not masked."""
        first, second = await self.take(2)
        assert first & 0xF0 == 0x80
        length = second
        if second == 126:
            length = int.from_bytes(await self.take(2), "big")
        elif second == 127:
            length = int.from_bytes(await self.take(8), "big")
        return first & 0x0F, await self.take(length)

    async def message(self, kind: str = "") -> Any:
        """Return the next message, of ``kind`` if given; pings are answered on the way."""
        while True:
            opcode, payload = await self.frame()
            if opcode == PING:
                await self.send(frame(PONG, payload))
                continue
            assert opcode == TEXT, (opcode, payload)
            message = json.loads(payload)
            if not kind or message["type"] == kind:
                return message

    async def closing(self) -> int:
        """Return the code that the connection is closed with, 1006 when it just ends; what comes before is skipped."""
        try:
            while True:
                opcode, payload = await self.frame()
                if opcode == CLOSE:
                    return int.from_bytes(payload[:2], "big")
        except (EOFError, trio.BrokenResourceError):
            return 1006

    async def rest(self) -> bytes:
        with trio.fail_after(PATIENCE_S), contextlib.suppress(trio.BrokenResourceError):
            while data := await self.stream.receive_some(65536):
                self.received += data
        return bytes(self.received)


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True, rsv: int = 0) -> bytes:
    """Return a frame as clients send it (RFC 6455 section 5.2), masked with zeros."""
    head = bytes([(0x80 if fin else 0) | rsv | opcode])
    mask = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([mask | len(payload)])
    elif len(payload) < 65536:
        head += bytes([mask | 126]) + len(payload).to_bytes(2, "big")
    else:
        head += bytes([mask | 127]) + len(payload).to_bytes(8, "big")
    return head + (bytes(4) if masked else b"") + payload


def request(method: str, target: str, *headers: str, body: bytes = b"", host: str = "localhost") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def opening(*headers: str, host: str = "localhost") -> bytes:
    upgrade = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13")
    return request("GET", "/stream", *upgrade, *headers, host=host)


@contextlib.contextmanager
def dead_port() -> Iterator[int]:
    """Yield a port on which nobody listens, and nobody else can meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


class Running:
    """``lines`` is what it logs."""

    def __init__(
        self, settings: ConsoleSettings, policy: CurrentPolicy, *, show_tokens: bool, counted: Callable[[], Totals], rules: DecisionRules
    ) -> None:
        self.lines = Lines()
        self.policy = policy
        self.port = 0
        self.console = Console(
            settings,
            Sources(
                lambda: policy.newest or policy.snapshot,
                counted,
                line,
                lambda: policy.is_missing,
                lambda: (policy.notices, policy.notices),
                rules=lambda: rules,
            ),
            ConsoleFacts("1.2.3", "directory"),
            page=PAGE,
            show_tokens=show_tokens,
            log=self.lines.logger,
        )
        policy.on_change(self.console.published)

    @contextlib.asynccontextmanager
    async def peer(self) -> AsyncIterator[Peer]:
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            yield Peer(stream)

    async def ask(self, data: bytes, *, head_only: bool = False) -> Answer:
        async with self.peer() as peer:
            await peer.send(data)
            return await peer.answer(head_only=head_only)

    async def get(self, target: str, *headers: str) -> Answer:
        return await self.ask(request("GET", target, *headers))

    @contextlib.asynccontextmanager
    async def watching(self, *headers: str) -> AsyncIterator[Peer]:
        async with self.peer() as peer:
            await peer.send(opening(*headers))
            head = await peer.head()
            assert head.startswith(b"HTTP/1.1 101 "), head
            assert ACCEPT in head
            yield peer


@contextlib.asynccontextmanager
async def running(
    settings: ConsoleSettings | None = None,
    policy: CurrentPolicy | None = None,
    *,
    show_tokens: bool = False,
    counted: Callable[[], Totals] = totals,
    rules: DecisionRules | None = None,
) -> AsyncIterator[Running]:
    """Run a console while open; at the end nothing may have been a fault."""
    at = ConsoleSettings(port=0) if settings is None else settings
    console = Running(at, policy or CurrentPolicy(), show_tokens=show_tokens, counted=counted, rules=rules or DecisionRules())
    async with trio.open_nursery() as nursery:
        console.port = await nursery.start(console.console.run)
        yield console
        nursery.cancel_scope.cancel()
    assert [line for line in console.lines.entries if line["event"] == "console.handler_failed"] == []
    assert console.console.server.http.slots.taken == 0
    assert console.console.broadcast.subscribers == 0
