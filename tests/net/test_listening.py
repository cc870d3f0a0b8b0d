"""Sockets: what is set on them, how they are bound, and what stands in the way of accepting one."""

import errno
import socket
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from exchanger.net import listening
from exchanger.net.listening import accepted
from exchanger.net.network import SYSTEM
from exchanger.net.tcp import SocketTransport, Transport


def test_small_packets_are_not_held_back_and_dead_peers_are_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        near, _ = server.accept()
    with near:
        SocketTransport(near)
        assert near.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert near.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


class Listener:
    """A listener that has these things to report, one after the other."""

    def __init__(self, *news: OSError | trio.SocketStream) -> None:
        self.news = list(news)

    async def accept(self) -> trio.SocketStream:
        await trio.lowlevel.checkpoint()
        item = self.news.pop(0)
        if isinstance(item, OSError):
            raise item
        return item


def transports_of(
    listener: Listener,
    on_exhausted: Callable[[], None],
    admit: Callable[[], bool] = lambda: True,
    secure: Callable[[socket.socket], Transport] = SocketTransport,
) -> AbstractAsyncContextManager[AsyncGenerator[Transport]]:
    return aclosing(accepted(cast("trio.SocketListener", listener), SYSTEM.detach, admit, secure, on_exhausted))


@pytest.fixture
def pair() -> Iterator[tuple[trio.SocketStream, socket.socket]]:
    near, far = socket.socketpair(socket.AF_UNIX)
    with far:
        yield trio.SocketStream(trio.socket.from_stdlib_socket(near)), far


Pair = tuple[trio.SocketStream, socket.socket]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
async def test_a_lack_of_descriptors_is_waited_out(number: int, pair: Pair, autojump_clock: MockClock) -> None:
    listener = Listener(OSError(number, "no"), OSError(number, "no"), pair[0])
    before, exhausted = trio.current_time(), list[float]()
    async with transports_of(listener, lambda: exhausted.append(trio.current_time() - before)) as transports:
        transport = await anext(transports)
    assert transport.send(b"hello")
    assert pair[1].recv(10) == b"hello"
    transport.close()
    assert trio.current_time() - before == pytest.approx(0.2)
    assert exhausted == pytest.approx([0.0, 0.1])


async def test_a_connection_without_room_or_that_broke_already_is_closed() -> None:
    def broken(_connected: socket.socket) -> Transport:
        raise OSError(errno.ENOTCONN, "gone")

    for admit, secure in ((lambda: False, SocketTransport), (lambda: True, broken)):
        near, far = socket.socketpair(socket.AF_UNIX)
        listener = Listener(trio.SocketStream(trio.socket.from_stdlib_socket(near)), OSError(errno.EINVAL, "the end"))
        async with transports_of(listener, pytest.fail, admit, secure) as transports:
            with pytest.raises(OSError, match="the end"):
                await anext(transports)
        with far:
            assert far.recv(1) == b""


async def test_a_machine_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    real = listening.listen_at

    def listen(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "no such address")
        return real(family, kind, protocol, address)

    monkeypatch.setattr(listening, "listen_at", listen)
    bound = await listening.listen(None, 0)
    assert [listener.socket.family for listener in bound] == [socket.AF_INET]
    bound[0].socket.close()
    with pytest.raises(OSError, match="no such address"):  # no address is left
        await listening.listen("::1", 0)


async def test_sockets_are_given_back_when_one_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []

    def listen(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
        if made:
            raise OSError(errno.EADDRINUSE, "busy")
        made.append(socket.socket(family, kind, protocol))
        made[0].bind(address)
        return made[0]

    monkeypatch.setattr(listening, "listen_at", listen)
    with pytest.raises(OSError, match="busy"):
        await listening.listen(None, 0)
    assert made[0].fileno() == -1
