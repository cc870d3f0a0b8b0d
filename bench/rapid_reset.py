"""Streams opened and reset by the hundred thousand on one connection (CVE-2023-44487), while a second connection makes calls.

Usage: python bench/rapid_reset.py [--streams 1000000] [--variant NAME]

Server, attacker and witness are processes of their own on loopback. For each variant it prints how many streams were reset a second, the
times of the witness's calls without and during the attack, the server's memory before and after, and what is left when it is over. What the
attacker sends is made once and repeated with other stream numbers, so that it is not the attacker who is slow.
"""

import argparse
import multiprocessing
import resource
import socket
import statistics
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Final

import ngh2
import trio

from exchanger.net.grpc.routes import CallInfo, Immediate, Route, Streaming, StreamMethod, UnaryMethod
from exchanger.net.grpc.server import GrpcServer, ServerSettings, ServerUsage
from exchanger.net.reactor import Reactor

NOW: Final = b"/bench.Echo/Now"
LATER: Final = b"/bench.Echo/Later"
STREAM: Final = b"/bench.Echo/Stream"
VARIANTS: Final = ("headers", "partial", "immediate", "pending", "stream")
# Here a batch is reset when its tasks run, and in the others each stream right after it was opened.
WITH_TASKS: Final = frozenset({"pending", "stream"})
# Streams that are opened and reset before the next batch: fewer than may be open at once.
PER_BATCH: Final = 200
RECEIVE_BYTES: Final = 1 << 16
# Seconds for one call or one batch: whatever takes as long has failed.
PATIENCE_S: Final = 60.0


def head(path: bytes) -> list[tuple[bytes, bytes]]:
    """Return the request headers of a call."""
    return [
        *((b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"bench"), (b":path", path)),
        *((b"te", b"trailers"), (b"content-type", b"application/grpc")),
    ]


def framed(message: bytes) -> bytes:
    """Return ``message`` with gRPC's prefix."""
    return struct.pack(">BI", 0, len(message)) + message


# The server.


class Text:
    """A message that is empty."""

    @staticmethod
    def FromString(_data: bytes) -> "Text":  # noqa: N802 - protobuf's name
        """Take anything."""
        return Text()

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """Say nothing."""
        return b""


async def _forever() -> None:
    await trio.sleep_forever()
    raise AssertionError


async def _wait(_message: Text, _call: CallInfo) -> Text:
    await _forever()
    return Text()


async def _stream(_argument: object, _call: CallInfo) -> AsyncIterator[Text]:
    await _forever()
    yield Text()


ROUTES: Final[dict[bytes, Route]] = {
    NOW: Immediate(lambda message, _call: message),
    LATER: UnaryMethod(_wait, Text),
    STREAM: StreamMethod(_stream, Text, Streaming.STREAM_STREAM),
}


def resident_kib() -> int:
    """Return this process's memory in KiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() // 1024


def report(fault: BaseException) -> None:
    """No handler here has faults."""
    sys.stderr.write(f"{fault!r}\n")


def serve(pipe: Pipe) -> None:
    """Serve on a port that ``pipe`` is told of; answer each question on it with memory and usage, until it is closed."""

    async def main() -> None:
        reactor = Reactor()
        server = GrpcServer(ServerSettings("127.0.0.1", 0), ROUTES, reactor, on_fault=report)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reactor.run)
            addresses = await nursery.start(server.run)
            pipe.send(addresses.plaintext[0][1])
            while True:
                await trio.lowlevel.wait_readable(pipe.fileno())
                try:
                    pipe.recv()
                except EOFError:
                    nursery.cancel_scope.cancel()
                    return
                pipe.send((resident_kib(), server.usage()))

    trio.run(main)


# The attacker.


def batches(variant: str, count: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield what opens and what resets ``count`` streams, a batch at a time."""
    path = {"pending": LATER, "stream": STREAM}.get(variant, NOW)
    body = framed(bytes(100))
    for start in range(0, count, PER_BATCH):
        streams = [2 * number + 3 for number in range(start, min(start + PER_BATCH, count))]
        opening = [_open(stream, path, variant, body) for stream in streams]
        ending = [b"\0\0\4\3\0" + stream.to_bytes(4, "big") + b"\0\0\0\x08" for stream in streams]
        if variant in WITH_TASKS:
            yield b"".join(opening), b"".join(ending)
        else:
            yield b"".join(first + then for first, then in zip(opening, ending, strict=True)), b""


def _open(stream: int, path: bytes, variant: str, body: bytes) -> bytes:
    number = stream.to_bytes(4, "big")
    block = _block(path)
    data = {"headers": b"", "partial": body[:50]}.get(variant, body)
    ended = 1 if variant in {"immediate", "pending"} else 0
    frames = len(block).to_bytes(3, "big") + b"\1\4" + number + block
    return frames + len(data).to_bytes(3, "big") + bytes((0, ended)) + number + data if data else frames


def _block(path: bytes) -> bytes:
    """Return a header block of literals that leave the peer's table alone (RFC 7541 section 6.2.2); all are shorter than 127 bytes."""
    return b"".join(b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value for name, value in head(path))


class Client:
    """One blocking connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.http = ngh2.Connection(ngh2.Role.CLIENT)
        self.http.initiate_connection()
        self.exchange(lambda event: isinstance(event, ngh2.SettingsReceived))

    def exchange(self, last: Callable[[ngh2.Event], bool]) -> None:
        """Pass bytes until an event for which ``last`` is true."""
        while True:
            if data := self.http.data_to_send():
                self.socket.sendall(data)
            if any([last(event) for event in self.http.events()]):  # noqa: C419 - all of them are to be looked at
                self.socket.sendall(self.http.data_to_send())
                return
            data = self.socket.recv(RECEIVE_BYTES)
            if not data:
                raise ConnectionError("closed")
            self.http.receive_data(data)

    def call(self, message: bytes) -> None:
        """Make one call, and see that the answer is right."""
        stream = self.http.send_request(head(NOW))
        self.http.send_data(stream, framed(message), end_stream=True)
        got = bytearray()

        def last(event: ngh2.Event) -> bool:
            if isinstance(event, ngh2.DataReceived) and event.stream_id == stream:
                got.extend(event.data)
            return isinstance(event, ngh2.StreamClosed) and event.stream_id == stream

        self.exchange(last)
        if bytes(got) != framed(message):
            raise ValueError("wrong answer")


def attack(port: int, variant: str, count: int, pipe: Pipe) -> None:
    """Open and reset ``count`` streams; tell how long it took, and whether the connection still serves."""
    attacker = Client(port)
    attacker.call(b"before")  # stream 1
    pipe.send(None)
    start = time.perf_counter()
    for opening, ending in batches(variant, count):
        attacker.socket.sendall(opening)
        if ending:
            _round_trip(attacker)
            attacker.socket.sendall(ending)
        _drain(attacker)
    _round_trip(attacker)
    pipe.send((time.perf_counter() - start, _still_serves(attacker, 2 * count + 5)))
    pipe.recv()  # the connection stays open until the server's rest was looked at


def _drain(attacker: Client) -> None:
    """Throw away what came, so that the server does not wait for it to be read."""
    attacker.socket.setblocking(False)
    try:
        while attacker.socket.recv(RECEIVE_BYTES):
            pass
    except BlockingIOError:
        pass
    finally:
        attacker.socket.settimeout(PATIENCE_S)


def _round_trip(attacker: Client) -> None:
    """Wait until the server has read everything."""
    attacker.socket.sendall(b"\0\0\x08\6\0\0\0\0\0the last")
    seen = b""
    while b"the last" not in seen:
        data = attacker.socket.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionError("closed")
        seen = seen[-16:] + data


def _still_serves(attacker: Client, stream: int) -> bool:
    body = framed(b"still here")
    number = stream.to_bytes(4, "big")
    block = _block(NOW)
    attacker.socket.sendall(
        len(block).to_bytes(3, "big") + b"\1\4" + number + block + len(body).to_bytes(3, "big") + b"\0\1" + number + body
    )
    seen = b""
    while b"still here" not in seen:
        data = attacker.socket.recv(RECEIVE_BYTES)
        if not data:
            return False
        seen = seen[-64:] + data
    return True


# The witness.


def measured(port: int, until: float | None, attack_pipe: Pipe | None) -> list[float]:
    """Return the times (seconds) of calls made one after another, until a time or until the attack is over."""
    witness = Client(port)
    times: list[float] = []
    while (time.perf_counter() < until) if until is not None else (attack_pipe is not None and not attack_pipe.poll()):
        start = time.perf_counter()
        witness.call(b"%d" % len(times))
        times.append(time.perf_counter() - start)
        time.sleep(0.001)  # so that the witness is no load of its own
    witness.socket.close()
    return times


def described(times: list[float]) -> str:
    """Return percentiles in milliseconds."""
    cuts = statistics.quantiles(times, n=100)
    return f"{len(times)} calls, p50 {cuts[49] * 1e3:.2f} ms, p99 {cuts[98] * 1e3:.2f} ms, max {max(times) * 1e3:.2f} ms"


def ask(server: Pipe) -> tuple[int, ServerUsage]:
    """Return the server's memory in KiB, and its usage."""
    server.send(None)
    answer: tuple[int, ServerUsage] = server.recv()
    return answer


def main() -> None:
    """Run the variants one after another, each with a server of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1_000_000)
    parser.add_argument("--variant", choices=VARIANTS, action="append")
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    for variant in options.variant or VARIANTS:
        ours, theirs = spawn.Pipe()
        server = spawn.Process(target=serve, args=(theirs,))
        server.start()
        theirs.close()
        port = ours.recv()
        idle = measured(port, time.perf_counter() + 2.0, None)
        before, _ = ask(ours)
        tell, told = spawn.Pipe()
        attacker = spawn.Process(target=attack, args=(port, variant, options.streams, told))
        attacker.start()
        tell.recv()
        during = measured(port, None, tell)
        seconds, serves = tell.recv()
        after, rest = ask(ours)
        tell.send(None)
        attacker.join()
        ours.close()
        server.join()
        print(f"{variant}: {options.streams} streams in {seconds:.1f} s, {seconds / options.streams * 1e6:.1f} µs each")
        print(f"  witness alone: {described(idle)}")
        print(f"  under attack:  {described(during)}")
        print(f"  memory {before / 1024:.1f} MiB before, {after / 1024:.1f} MiB after; attacked connection serves: {serves}")
        left = (rest.streams, rest.tasks, rest.held_bytes, rest.unread_bytes, rest.queued_bytes)
        print(f"  left (streams, tasks, held, unread and queued bytes): {left}")


if __name__ == "__main__":
    main()
