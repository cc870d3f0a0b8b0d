"""What a peer may say over TLS between two exchanges: only what TLS says to itself leaves the connection as it is."""

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import final

import attrs
import h11
import pytest
import trio
import trustme

from exchanger.oauth.dial import Origin, connect
from exchanger.oauth.http1 import Http1Connection
from tests.oauth.fakes import response
from tests.oauth.pools import HEAD, bounds

SECURE = Origin(secure=True, host="issuer.example.com", port=443)
ANSWER = response(b"")


@final
@attrs.define(eq=False)
class Server:
    """A TLS server on one end of a pair of sockets, with its records at hand before they leave."""

    plain: trio.SocketStream
    tls: ssl.SSLObject
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO

    async def until(self, step: Callable[[], object]) -> object:
        """Do ``step``, taking in what it needs, and send what it leads to."""
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                await self.flush()
                data = await self.plain.receive_some()
                assert data
                self.incoming.write(data)
            else:
                await self.flush()
                return done

    async def flush(self) -> None:
        if self.outgoing.pending:
            await self.plain.send_all(self.outgoing.read())

    def records(self, data: bytes) -> bytes:
        """Return ``data`` as it would leave."""
        self.tls.write(data)
        return self.outgoing.read()


@final
@attrs.define(eq=False)
class Site:
    """A server and the connection to it."""

    server: Server
    connection: Http1Connection

    async def exchange(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.answer)
            assert isinstance(await self.connection.send(HEAD, b"", bounds()), h11.Response)
            assert await self.connection.next_piece() == b""
        assert self.connection.settle()

    async def answer(self) -> None:
        await self.server.until(lambda: self.server.tls.read(65_536))
        await self.server.plain.send_all(self.server.records(ANSWER))

    async def arrived(self) -> None:
        """Wait until what the server sent is there; a socket pair delivers at once."""
        await trio.lowlevel.wait_readable(self.connection._stream.transport_stream.plain.socket)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


async def connected(authority: trustme.CA, version: ssl.TLSVersion) -> Site:
    """Connect over a socket pair. Client and server speak ``version``, and the client may be asked for a certificate later."""
    ours, theirs = trio.socket.socketpair()
    server_context, client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("issuer.example.com").configure_cert(server_context)
    authority.configure_trust(client_context)
    authority.configure_trust(server_context)
    server_context.verify_mode = ssl.CERT_OPTIONAL
    for context in (server_context, client_context):
        context.minimum_version = context.maximum_version = version
        context.post_handshake_auth = version is ssl.TLSVersion.TLSv1_3
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = Server(trio.SocketStream(theirs), server_context.wrap_bio(incoming, outgoing, server_side=True), incoming, outgoing)

    async def dial(host: str, port: int) -> trio.abc.Stream:
        return trio.SocketStream(ours)

    connections: list[Http1Connection | None] = []

    async def client() -> None:
        connections.append(await connect(SECURE, bounds(), tls=client_context, dial=dial))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(client)
        await server.until(server.tls.do_handshake)
    (connection,) = connections
    assert connection is not None
    it = Site(server, connection)
    await it.exchange()
    return it


Connecting = Callable[[ssl.TLSVersion], Awaitable[Site]]
NEW, OLD = ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2


@pytest.fixture
async def site(authority: trustme.CA) -> AsyncGenerator[Connecting]:
    """Connects to a server with TLS of a version, carries out an exchange, and closes what it connected afterwards."""
    sites: list[Site] = []

    async def connecting(version: ssl.TLSVersion) -> Site:
        sites.append(await connected(authority, version))
        return sites[-1]

    yield connecting
    for it in sites:
        await it.connection.close()
        await it.server.plain.aclose()


@pytest.mark.parametrize("version", [OLD, NEW])
async def test_silence_is_silence(site: Connecting, version: ssl.TLSVersion) -> None:
    it = await site(version)
    for _ in range(3):
        assert it.connection.is_quiet()
        assert await it.connection.is_reusable()
        await it.exchange()


async def test_tickets_and_questions_of_tls_are_taken_in(site: Connecting) -> None:
    """The server asks for a certificate, which needs a reply, and gives session tickets when that has come."""
    it = await site(NEW)
    it.server.tls.verify_client_post_handshake()
    await it.server.until(it.server.tls.do_handshake)
    await it.arrived()
    assert not it.connection.is_quiet()
    assert await it.connection.is_reusable()
    it.server.incoming.write(await it.server.plain.receive_some())  # the reply
    with pytest.raises(ssl.SSLWantReadError):
        it.server.tls.read(1)
    assert it.server.outgoing.pending  # the tickets
    await it.server.flush()
    await it.arrived()
    assert not it.connection.is_quiet()
    assert await it.connection.is_reusable()
    assert it.connection.is_quiet()
    await it.exchange()


@pytest.mark.parametrize("version", [OLD, NEW])
@pytest.mark.parametrize("size", [1, len(ANSWER)])
async def test_a_byte_of_data_is_not(site: Connecting, version: ssl.TLSVersion, size: int) -> None:
    it = await site(version)
    await it.server.plain.send_all(it.server.records(ANSWER[:size]))
    await it.arrived()
    assert not await it.connection.is_reusable()


async def test_nor_data_behind_a_ticket(site: Connecting) -> None:
    it = await site(NEW)
    it.server.tls.verify_client_post_handshake()
    await it.server.plain.send_all(it.server.records(ANSWER))
    await it.arrived()
    assert not await it.connection.is_reusable()


@pytest.mark.parametrize("version", [OLD, NEW])
@pytest.mark.parametrize("cut", [1, 4, 5, 6, -1])
async def test_nor_a_part_of_a_record(site: Connecting, version: ssl.TLSVersion, cut: int) -> None:
    it = await site(version)
    await it.server.plain.send_all(it.server.records(ANSWER)[:cut])
    await it.arrived()
    assert not await it.connection.is_reusable()


async def test_nor_what_came_with_the_answer(site: Connecting) -> None:
    it = await site(NEW)

    async def answer_twice() -> None:
        await it.server.until(lambda: it.server.tls.read(65_536))
        await it.server.plain.send_all(it.server.records(ANSWER) + it.server.records(ANSWER))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_twice)
        await it.connection.send(HEAD, b"", bounds())
        assert await it.connection.next_piece() == b""
    assert it.connection.settle()  # TLS hands on one record at a time
    assert not it.connection.is_quiet()
    assert not await it.connection.is_reusable()


async def test_nor_an_end(site: Connecting) -> None:
    it = await site(NEW)
    await it.server.plain.aclose()
    await it.arrived()
    assert not await it.connection.is_reusable()


async def test_nor_a_farewell(site: Connecting) -> None:
    it = await site(NEW)
    with pytest.raises(ssl.SSLWantReadError):
        it.server.tls.unwrap()
    await it.server.flush()
    await it.arrived()
    assert not await it.connection.is_reusable()


async def test_nor_what_is_no_tls(site: Connecting) -> None:
    it = await site(NEW)
    await it.server.plain.send_all(ANSWER)
    await it.arrived()
    assert not await it.connection.is_reusable()


async def test_who_leaves_while_tls_replies_takes_nothing_along(site: Connecting) -> None:
    """Where the look has to reply it can be left, and the connection is then of no more use; a lease closes it."""
    it = await site(NEW)
    it.server.tls.verify_client_post_handshake()
    await it.server.until(it.server.tls.do_handshake)
    await it.arrived()
    with trio.CancelScope() as scope:
        scope.cancel()
        await it.connection.is_reusable()
    assert scope.cancelled_caught
    assert not it.connection.settle()
