"""A process that keeps connections to a port open and asks for nothing, or never to the end; who is cut off comes back a moment later."""

import contextlib
import itertools
from collections.abc import Generator, Sequence
from typing import Final

import trio

from tests.attack.process import spawned

CONNECTIONS: Final = 1_000
# So that a thousand connections a second come, on whatever machine.
BACK_AFTER_S: Final = 1.0
DRIP_S: Final = 0.5
GET: Final = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


async def silent(stream: trio.SocketStream) -> None:
    await stream.receive_some(1)


async def half_a_head(stream: trio.SocketStream) -> None:
    await stream.send_all(GET)
    await stream.receive_some(1)


async def drip(stream: trio.SocketStream) -> None:
    for byte in itertools.cycle(GET):
        await stream.send_all(bytes((byte,)))
        await trio.sleep(DRIP_S)


async def half_a_body(stream: trio.SocketStream) -> None:
    await stream.send_all(GET.replace(b"GET", b"POST") + b"Content-Length: 1000\r\n\r\n{")
    while await stream.receive_some():
        pass


async def no_reader(stream: trio.SocketStream) -> None:
    while True:
        await stream.send_all(GET.replace(b" / ", b" /metrics ") + b"\r\n")


KINDS: Final = (silent, half_a_head, drip, half_a_body, no_reader)


def hold(ports: Sequence[int]) -> None:
    """Attack until ended from outside."""

    async def one(port: int, number: int) -> None:
        kind = KINDS[number % len(KINDS)]
        await trio.sleep(BACK_AFTER_S * number / CONNECTIONS)
        while True:
            with contextlib.suppress(OSError, trio.BrokenResourceError):
                async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                    await kind(stream)
            await trio.sleep(BACK_AFTER_S)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for port in ports:
                for number in range(CONNECTIONS):
                    nursery.start_soon(one, port, number)

    trio.run(main)


@contextlib.contextmanager
def attacking(*ports: int) -> Generator[None]:
    """Attack ``ports`` while the block runs."""
    with spawned(hold, ports) as process:
        yield
        assert process.is_alive()
