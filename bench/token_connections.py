"""How many connections a steady load of token exchanges needs, and how many of them are new.

Usage: python bench/token_connections.py [--rate 1000] [--answer 0.03] [--seconds 20] [--no-reuse] [--simulated]

The token endpoint is a process of its own on loopback and answers each request after a fixed time. Exchanges begin at random moments
(exponential gaps) and do not wait for one another. With --simulated the clock stands still while anything runs, and the endpoint is a task:
the connections are then those of a machine that is never busy.

For each second it prints how many exchanges were done, how many connections are open, how many of them rest or are idle, and how many were
dialled; at the end the figures of the second half, and the CPU time an exchange took here.
"""

import argparse
import asyncio
import functools
import math
import multiprocessing
import random
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from typing import Final, cast, final

import attrs
import trio
from trio.testing import MockClock

from exchanger.exchange.oauth.settings import TokenClientSettings
from exchanger.exchange.pipeline import ExchangePipeline
from exchanger.model.entry import TokenTarget
from exchanger.model.issuer import AuthMethod, Credentials, Issuer
from exchanger.model.secret import Secret
from exchanger.model.token import ACCESS_TOKEN_TYPE, CoalescedRecord, ExchangedToken, ExchangeRecord, TokenOutcome, TokenRequest
from exchanger.net.network import SYSTEM, Connect
from exchanger.net.reactor import Reactor

BODY: Final = b'{"access_token":"%b","token_type":"Bearer","issued_token_type":"%b"}' % (b"t" * 900, ACCESS_TOKEN_TYPE.encode())
ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


# The token endpoint.


def is_complete(data: bytes) -> bool:
    """Return whether ``data`` has a request with its whole body."""
    head, found, body = data.partition(b"\r\n\r\n")
    return bool(found) and len(body) >= int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])


@final
class Serving(asyncio.Protocol):
    """One connection: each request is answered after ``seconds``. A request has come when its body has, which is its last write."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer in time when the request is complete."""
        self._buffer += data
        if is_complete(self._buffer):
            self._buffer = b""
            asyncio.get_running_loop().call_later(self._seconds, self._transport.write, ANSWER)


def serve(pipe: Pipe, seconds: float) -> None:
    """Say the port, and serve until killed."""

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(lambda: Serving(seconds), "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    asyncio.run(main())


@final
@attrs.frozen
class Simulated:
    """An endpoint in this loop: each connection is a pair of sockets and a task."""

    nursery: trio.Nursery
    seconds: float

    async def dial(self, _host: str, _port: int) -> trio.SocketStream:
        """Open a connection."""
        ours, theirs = trio.socket.socketpair()
        self.nursery.start_soon(self._serve, trio.SocketStream(theirs))
        return trio.SocketStream(ours)

    async def _serve(self, stream: trio.SocketStream) -> None:
        buffer = b""
        async with stream:
            while data := await stream.receive_some():
                buffer += data
                if is_complete(buffer):
                    buffer = b""
                    await trio.sleep(self.seconds)
                    await stream.send_all(ANSWER)


# The load.


@final
@attrs.define(eq=False)
class Load:
    """Counts what is done and what is dialled by ``open``."""

    open: Connect
    done: int = 0
    failed: int = 0
    dialled: int = 0

    def exchanged(self, record: ExchangeRecord, /) -> None:
        """Count a failure."""
        self.failed += record.kind is not None

    def coalesced(self, record: CoalescedRecord, /) -> None:
        """Never called: every subject is another."""

    async def dial(self, host: str, port: int) -> trio.SocketStream:
        """Open a connection and count it."""
        self.dialled += 1
        return await self.open(host, port)

    def landed(self, outcome: TokenOutcome) -> None:
        """Count a token."""
        self.done += isinstance(outcome, ExchangedToken)


@final
@attrs.frozen
class Second:
    """What one second was like; ``connections`` are those open at its end."""

    done: int
    connections: int
    dialled: int


def request_maker(port: int) -> Callable[[int], TokenRequest]:
    """Return what makes the n-th request, with a subject token of a usual length."""
    issuer = Issuer(
        "bench", f"http://127.0.0.1:{port}/token", "127.0.0.1", AuthMethod.CLIENT_SECRET_POST, Credentials("client", Secret("secret"), 0)
    )
    target = TokenTarget("bench", "read")
    return lambda number: TokenRequest(
        issuer, Secret(f"{number:0900}"), target, "urn:ietf:params:oauth:grant-type:token-exchange", ACCESS_TOKEN_TYPE
    )


async def generate(client: ExchangePipeline, load: Load, rate: float, make: Callable[[int], TokenRequest]) -> None:
    """Begin exchanges until cancelled; where the machine is too slow they begin late, but none is left out."""
    due, number = trio.current_time(), 0
    while True:
        due += random.expovariate(rate)
        await trio.sleep_until(due)
        client.begin(make(number), math.inf, load.landed)
        number += 1


async def measure(port: int | None, arguments: argparse.Namespace) -> None:
    """Load the client for as long as told and print what it did; without ``port`` the endpoint is simulated."""
    settings = TokenClientSettings(allow_http=True, connection_reuse=not arguments.no_reuse)
    async with trio.open_nursery() as nursery:
        load = Load(Simulated(nursery, arguments.answer).dial if port is None else SYSTEM.connect)
        client, seconds = ExchangePipeline(settings, (load,), Reactor(attrs.evolve(SYSTEM, connect=load.dial))), list[Second]()
        nursery.start_soon(client.reactor.run)
        await nursery.start(functools.partial(client.run))
        nursery.start_soon(generate, client, load, arguments.rate, request_maker(port or 80))
        begin, cpu = trio.current_time(), time.process_time()
        for second in range(arguments.seconds):
            done, dialled = load.done, load.dialled
            await trio.sleep_until(begin + second + 1)
            it = client.connections
            seconds.append(Second(load.done - done, it.open, load.dialled - dialled))
            print(
                f"{second + 1:3} s: {seconds[-1].done:5} exchanges; {it.open:4} connections: {it.busy:4} busy, {it.quarantined:4} resting, "
                f"{it.idle:3} idle; {seconds[-1].dialled:4} new",
                flush=True,
            )
        cpu = time.process_time() - cpu
        nursery.cancel_scope.cancel()
    later = seconds[len(seconds) // 2 :]
    print(f"in the second half: {statistics.mean(it.done for it in later):.0f} exchanges a second", end="; ")
    print(f"{min(it.connections for it in later)} to {max(it.connections for it in later)} connections", end="; ")
    print(f"{statistics.mean(it.dialled for it in later):.2f} new ones a second")
    print(f"{cpu / max(load.done, 1) * 1e6:.0f} µs of CPU an exchange, load included; {load.failed} failed or were cut off at the end")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=1000.0, help="exchanges a second")
    parser.add_argument("--answer", type=float, default=0.03, help="seconds that the endpoint takes for an answer")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--no-reuse", action="store_true", help="each exchange has a connection of its own")
    parser.add_argument("--simulated", action="store_true", help="on a clock that waits for the machine")
    arguments = parser.parse_args()
    if arguments.simulated:
        trio.run(measure, None, arguments, clock=MockClock(autojump_threshold=0))
        return
    ours, theirs = multiprocessing.Pipe()
    endpoint = multiprocessing.Process(target=serve, args=(theirs, arguments.answer), daemon=True)
    endpoint.start()
    try:
        trio.run(measure, ours.recv(), arguments)
    finally:
        endpoint.kill()
        endpoint.join()


if __name__ == "__main__":
    main()
