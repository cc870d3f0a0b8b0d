import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, suppress

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.net.grpc.connection import Connection
from exchanger.net.grpc.session import Session
from exchanger.net.reactor import Reactor
from exchanger.net.tls.certificates import ServerIdentity, load
from exchanger.net.tls.server import ServerTlsTransport, TlsPhase, peer_name
from tests.net.grpc.authority import Site
from tests.net.grpc.peer import Peer, routes
from tests.net.grpc.tls_streams import Ends, ends


def context(site: Site) -> ssl.SSLContext:
    found = load(site.files.settings())
    assert isinstance(found, ServerIdentity)
    return found.context


def joined(site: Site, **buffers: int) -> AbstractContextManager[Ends]:
    return ends(context(site), site.client(), **buffers)


@pytest.fixture
def pair(site: Site) -> Iterator[Ends]:
    with joined(site) as made:
        made.shake()
        yield made


def test_one_read_is_bounded(pair: Ends) -> None:
    data = pair.encrypted(bytes(500_000))
    pair.far.setblocking(True)
    pair.far.sendall(data)
    largest = 0
    got = 0
    while got < 500_000:
        try:
            part = len(pair.transport.receive())
        except BlockingIOError:
            continue
        largest, got = max(largest, part), got + part
    assert largest <= 65_536 + 16_384


def test_small_records_that_the_socket_does_not_take(site: Site) -> None:
    with joined(site, send_buffer=4096, receive_buffer=4096) as pair:
        pair.shake()
        sent = 0
        while pair.transport.send(b"%07d\n" % sent * 100):
            sent += 1
        waits = [pair.transport.unsent]
        heard = pair.hear()
        while not pair.transport.flush():
            heard += pair.hear()
        assert [*waits, pair.transport.unsent] == [True, False]
        while len(heard) < 800 * (sent + 1):
            heard += pair.hear()
        assert heard == b"".join(b"%07d\n" % number * 100 for number in range(sent + 1))


def test_output_of_openssl_while_reading_is_sent(pair: Ends) -> None:
    """Such as its warning to a client of TLS 1.2 that wants to negotiate again."""
    pair.transport.layer.outgoing.write(b"words of its own")
    pair.deliver(pair.encrypted(b"x"))
    assert pair.take() == b"words of its own"
    assert pair.received == b"x"


def test_a_handshake_step_waits_for_its_turn(site: Site) -> None:
    with joined(site) as pair:
        turns = [False, True]
        pair.transport.admit = turns.pop  # in place of the reactor that the transport was made with
        turns.reverse()
        pair.far.sendall(pair.flight())
        with pytest.raises(BlockingIOError):
            pair.transport.receive()
        assert pair.take() == b""
        assert pair.transport.extra_work == 0
        with pytest.raises(BlockingIOError):
            pair.transport.receive()
        assert pair.take() != b""
        assert pair.transport.extra_work > 0


def test_tiny_records_cost_what_they_come_in(pair: Ends) -> None:
    pair.far.sendall(b"".join(pair.encrypted(b"x") for _ in range(1000)))
    assert pair.transport.receive() == b"x" * 1000
    assert pair.transport.extra_work > 40


def test_finish_says_goodbye_and_hears_no_more(pair: Ends) -> None:
    pair.transport.finish()
    assert pair.hear() == b""
    assert pair.heard_goodbye
    assert pair.far.recv(10) == b""
    assert pair.transport.phase is TlsPhase.OVER
    raw = pair.encrypted(b"too late")
    pair.far.sendall(raw)
    assert pair.transport.receive() == raw  # something, that nobody looks at
    assert pair.transport.send(b"nor is this sent")


def test_a_socket_that_broke_already() -> None:
    with socket.socket() as never_connected, pytest.raises(OSError, match="not connected"):
        ServerTlsTransport(never_connected, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), lambda: True, lambda: None)


def test_addresses_of_ipv6_are_in_brackets() -> None:
    assert peer_name(("2001:db8::1", 50_000, 0, 0)) == "[2001:db8::1]:50000"
    assert peer_name(("192.0.2.1", 50_000)) == "192.0.2.1:50000"


# With a session and a reactor around it.


@attrs.define(eq=False)
class SlowHandshake:
    """A certificate larger than the socket's buffer, and a client that has sent its first flight and read nothing yet."""

    pair: Ends
    session: Session
    faults: list[BaseException]


@pytest.fixture
async def slow(site: Site, mock_clock: MockClock) -> AsyncIterator[SlowHandshake]:
    site.files.write(site.authority.issue_cert("localhost", *[f"{'x' * 50}{number}.example" for number in range(1200)]))
    reactor = Reactor()
    faults: list[BaseException] = []
    with joined(site, send_buffer=4096, receive_buffer=4096) as pair:
        session = Session(pair.transport, Connection(routes()), reactor, faults.append)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reactor.run)
            nursery.start_soon(session.run)
            await wait_all_tasks_blocked()
            pair.far.sendall(pair.flight())
            await wait_all_tasks_blocked()  # nothing turns while the client does not read
            yield SlowHandshake(pair, session, faults)
            nursery.cancel_scope.cancel()
    reactor.close()
    assert faults == []


async def test_a_handshake_that_the_socket_does_not_take_at_once(slow: SlowHandshake) -> None:
    pair = slow.pair
    assert (pair.secured, pair.transport.unsent, slow.session.blocked) == ([], True, True)
    pieces = 0
    peer = Peer()
    while not pair.secured:
        with suppress(BlockingIOError):
            pair.incoming.write(pair.far.recv(8192))
            pieces += 1
        if flight := pair.flight():
            pair.far.sendall(flight)
        await wait_all_tasks_blocked()
    assert pieces > 10
    stream = peer.call(b"x")
    pair.far.sendall(pair.encrypted(peer.send()))
    await wait_all_tasks_blocked()
    peer.receive(pair.hear())
    assert peer.answers[stream].messages == [b"echo x"]


async def test_progress_does_not_extend_the_time_for_the_handshake(slow: SlowHandshake, mock_clock: MockClock) -> None:
    for _ in range(3):
        assert slow.pair.transport.fileno() != -1
        slow.pair.far.recv(16_384)
        await wait_all_tasks_blocked()
        mock_clock.jump(4)
    await wait_all_tasks_blocked()
    assert slow.pair.transport.fileno() == -1
    assert slow.session.timed_out
