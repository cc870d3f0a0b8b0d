import socket
from collections.abc import Iterator

import pytest

from exchanger.grpc.tcp import SocketTransport

Ends = tuple[SocketTransport, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    transport = SocketTransport(near)
    with far, near:
        yield transport, far


def test_bytes_both_ways(ends: Ends) -> None:
    transport, far = ends
    with pytest.raises(BlockingIOError):
        transport.receive()
    far.sendall(b"hello")
    assert transport.receive() == b"hello"
    assert transport.send(b"world")
    assert far.recv(10) == b"world"
    far.shutdown(socket.SHUT_WR)
    assert transport.receive() == b""
    transport.finish()
    assert far.recv(10) == b""


def test_what_does_not_fit_waits_in_order(ends: Ends) -> None:
    transport, far = ends
    data = b"".join(b"%07d\n" % number for number in range(4_000_000 // 8 * 4))
    assert not transport.send(data)
    received = bytearray()
    far.settimeout(10)
    done = False
    while not done:
        received += far.recv(1 << 20)
        done = transport.flush()
    transport.finish()
    while part := far.recv(1 << 20):
        received += part
    assert received == data


def test_small_packets_are_not_held_back_and_dead_peers_are_found(ends: Ends) -> None:
    with socket.socket(fileno=socket.dup(ends[0].fileno())) as view:
        assert view.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert view.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_broken_stream_is_an_error(ends: Ends) -> None:
    transport, far = ends
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    far.close()
    with pytest.raises(OSError, match="reset"):
        transport.receive()
    transport.close()
    assert transport.fileno() == -1
