"""A process that floods the gRPC port, in one way after another, on connections that it opens again whenever they are closed."""

import contextlib
import itertools
import multiprocessing
from collections.abc import Callable, Generator, Iterator
from multiprocessing.connection import Connection as Pipe
from typing import Final, final

import attrs
import trio

from tests.attack.process import spawned
from tests.net.grpc.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PRIORITY,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    raw,
    request,
    reset,
    word,
)
from tests.net.grpc.peer import framed, head

FLOOD_S: Final = 0.6
CONNECTIONS: Final = 4
PER_CHUNK: Final = 50
AGAIN_AFTER_S: Final = 0.01
DRIP_S: Final = 0.01

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_CHECK: Final = b"/envoy.service.auth.v3.Authorization/Check"
_OPEN: Final = head(_CHECK)
_WATCH: Final = head(b"/grpc.health.v1.Health/Watch")


def _streams() -> Iterator[int]:
    return iter(range(1, 2**31, 2))


def _repeated(frames: bytes) -> Iterator[bytes]:
    return itertools.repeat(frames * PER_CHUNK)


def _each(unit: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield what ``unit`` makes of each stream's number, some at a time."""
    streams = _streams()
    while True:
        yield b"".join(unit(stream) for stream in itertools.islice(streams, PER_CHUNK))


def _continuations() -> Iterator[bytes]:
    yield raw(HEADERS, 0, 1, block(_OPEN))
    yield from _repeated(raw(CONTINUATION, 0, 1, block([(b"x", b"y")])))


def _empty_continuations() -> Iterator[bytes]:
    yield raw(HEADERS, 0, 1, block(_OPEN))
    yield from _repeated(raw(CONTINUATION, 0, 1))


def _giant_headers(stream: int) -> bytes:
    fields = block([*_OPEN, *((b"x-%d" % number, bytes(b"v" * 15_000)) for number in range(16))])
    pieces = [fields[start : start + 16_000] for start in range(0, len(fields), 16_000)]
    last = len(pieces) - 1
    return b"".join(
        raw(CONTINUATION if number else HEADERS, END_HEADERS if number == last else 0, stream, piece) for number, piece in enumerate(pieces)
    )


def _slow_bodies() -> Iterator[bytes]:
    streams = range(1, 201, 2)
    body = framed(bytes(100_000))
    yield b"".join(request(stream, _OPEN, end=False) for stream in streams)
    for byte in body:
        yield b"".join(raw(DATA, 0, stream, bytes((byte,))) for stream in streams)


def _empty_data() -> Iterator[bytes]:
    yield request(1, _OPEN, end=False)
    yield from _repeated(raw(DATA, 0, 1))


def _references() -> Iterator[bytes]:
    """Put one field of 4 KB into the header table, and refer to it again and again (RFC 7541 section 6.2.1)."""
    yield raw(HEADERS, END_HEADERS | END_STREAM, 1, block(_OPEN) + b"\x40\x01x\x7f\xbd\x1d" + b"y" * 3900)
    yield from _each(lambda stream: raw(HEADERS, END_HEADERS | END_STREAM, stream + 2, block(_OPEN) + b"\xbe" * 60))


def _stalled_windows() -> Iterator[bytes]:
    """Call, and take no answer: the window of each stream is empty from the start."""
    yield raw(SETTINGS, 0, 0, b"\0\4" + word(0))
    yield from _each(lambda stream: request(stream, _OPEN, framed(b"")))


@final
@attrs.frozen
class Flood:
    """What is sent after the preface, as fast as it is taken or, if ``slow``, in drips; without ``reads`` nothing is received."""

    data: Callable[[], Iterator[bytes]]
    slow: bool = False
    reads: bool = True


FLOODS: Final = {
    "rapid reset": Flood(lambda: _each(lambda stream: request(stream, _OPEN, end=False) + reset(stream))),
    "reset of whole calls": Flood(lambda: _each(lambda stream: request(stream, _OPEN, framed(b"")) + reset(stream))),
    "half-open streams": Flood(lambda: _each(lambda stream: request(stream, _OPEN, framed(bytes(60_000))[:5_000], end=False))),
    "watches": Flood(lambda: _each(lambda stream: request(stream, _WATCH, framed(b"")))),
    "settings": Flood(lambda: _repeated(raw(SETTINGS, 0, 0, b"\0\4" + word(65_535)))),
    "pings": Flood(lambda: _repeated(raw(PING, 0, 0, bytes(8)))),
    "pings, answers not read": Flood(lambda: _repeated(raw(PING, 0, 0, bytes(8))), reads=False),
    "priority": Flood(lambda: _each(lambda stream: raw(PRIORITY, 0, stream + 2, word(stream) + b"\xff"))),
    "window updates": Flood(lambda: _repeated(raw(WINDOW_UPDATE, 0, 0, word(1)))),
    "continuations": Flood(_continuations),
    "empty continuations": Flood(_empty_continuations),
    "giant headers": Flood(lambda: _each(_giant_headers)),
    "references to a large field": Flood(_references),
    "slow bodies": Flood(_slow_bodies, slow=True),
    "empty data": Flood(_empty_data),
    "stalled windows": Flood(_stalled_windows),
    "answers not read": Flood(lambda: _each(lambda stream: request(stream, _OPEN, framed(b""))), reads=False),
}


async def _connection(port: int, flood: Flood, sent: list[int]) -> None:
    while True:
        with contextlib.suppress(OSError, trio.BrokenResourceError):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream, trio.open_nursery() as nursery:
                if flood.reads:
                    nursery.start_soon(_drain, stream, nursery.cancel_scope)
                await stream.send_all(_PREFACE + raw(SETTINGS, 0, 0))
                with contextlib.suppress(OSError, trio.BrokenResourceError):
                    for data in flood.data():
                        sent[0] += len(data)
                        await stream.send_all(data)
                        await trio.sleep(DRIP_S if flood.slow else 0)
                nursery.cancel_scope.cancel()
        await trio.sleep(AGAIN_AFTER_S)


async def _drain(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    with contextlib.suppress(OSError, trio.BrokenResourceError):
        while await stream.receive_some(65536):
            pass
    scope.cancel()


def attack(port: int, pipe: Pipe) -> None:
    """Make each flood that ``pipe`` names, and report how many bytes were handed over for sending."""

    async def main(flood: Flood, sent: list[int]) -> None:
        with trio.move_on_after(FLOOD_S):
            async with trio.open_nursery() as nursery:
                for _ in range(CONNECTIONS):
                    nursery.start_soon(_connection, port, flood, sent)

    while (name := pipe.recv()) is not None:
        sent = [0]
        trio.run(main, FLOODS[name], sent)
        pipe.send(sent[0])


@contextlib.contextmanager
def attacker(port: int) -> Generator[Pipe]:
    """Run the process while the block does."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    with contextlib.closing(ours), spawned(attack, port, theirs) as process:
        theirs.close()
        yield ours
        ours.send(None)
        process.join(10)
