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
class Site:
    """A TLS server on one end of a pair of sockets, with its records at hand before they leave, and the connection to it."""

    plain: trio.SocketStream
    tls: ssl.SSLObject
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO
    connection: Http1Connection = attrs.field(init=False)

    async def until(self, step: Callable[[], object]) -> None:
        """Do ``step``, taking in what it needs, and send what it leads to."""
        while True:
            try:
                step()
            except ssl.SSLWantReadError:
                await self.flush()
                data = await self.plain.receive_some()
                assert data
                self.incoming.write(data)
            else:
                await self.flush()
                return

    async def flush(self) -> None:
        if self.outgoing.pending:
            await self.plain.send_all(self.outgoing.read())

    def records(self, data: bytes) -> bytes:
        """Return ``data`` as it would leave."""
        self.tls.write(data)
        return self.outgoing.read()

    async def exchange(self, answers: int = 1) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.answer, answers)
            assert isinstance(await self.connection.send(HEAD, b"", bounds()), h11.Response)
            assert await self.connection.next_piece() == b""
        assert self.connection.settle()  # TLS hands on one record at a time

    async def answer(self, answers: int) -> None:
        await self.until(lambda: self.tls.read(65_536))
        await self.plain.send_all(b"".join(self.records(ANSWER) for _ in range(answers)))

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
    it = Site(trio.SocketStream(theirs), server_context.wrap_bio(incoming, outgoing, server_side=True), incoming, outgoing)

    async def dial(host: str, port: int) -> trio.abc.Stream:
        return trio.SocketStream(ours)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.until, it.tls.do_handshake)
        connection = await connect(SECURE, bounds(), tls=client_context, dial=dial)
    assert connection is not None
    it.connection = connection
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
        await it.plain.aclose()


@pytest.mark.parametrize("version", [OLD, NEW])
async def test_a_silent_connection_is_quiet_and_reusable(site: Connecting, version: ssl.TLSVersion) -> None:
    it = await site(version)
    for _ in range(3):
        assert it.connection.is_quiet()
        assert await it.connection.is_reusable()
        await it.exchange()


async def test_tickets_and_questions_of_tls_are_consumed(site: Connecting) -> None:
    """The server asks for a certificate, which needs a reply, and gives session tickets when that has come."""
    it = await site(NEW)
    it.tls.verify_client_post_handshake()
    await it.until(it.tls.do_handshake)
    await it.arrived()
    assert not it.connection.is_quiet()
    assert await it.connection.is_reusable()
    it.incoming.write(await it.plain.receive_some())  # the reply
    with pytest.raises(ssl.SSLWantReadError):
        it.tls.read(1)
    assert it.outgoing.pending  # the tickets
    await it.flush()
    await it.arrived()
    assert not it.connection.is_quiet()
    assert await it.connection.is_reusable()
    assert it.connection.is_quiet()
    await it.exchange()


async def ask_for_a_certificate(it: Site) -> None:
    """Put TLS's own question before what is sent next."""
    it.tls.verify_client_post_handshake()


async def end(it: Site) -> None:
    await it.plain.aclose()


async def say_farewell(it: Site) -> None:
    with pytest.raises(ssl.SSLWantReadError):
        it.tls.unwrap()
    await it.flush()


async def say_plainly(it: Site) -> None:
    await it.plain.send_all(ANSWER)


def say(size: int, cut: int | None = None) -> Callable[[Site], Awaitable[None]]:
    """Say ``size`` bytes of an answer, in a record that is cut short."""

    async def saying(it: Site) -> None:
        await it.plain.send_all(it.records(ANSWER[:size])[:cut])

    return saying


WHOLE = len(ANSWER)
DATA = {"a byte": say(1), "an answer": say(WHOLE), **{f"a record cut at {cut}": say(WHOLE, cut) for cut in (1, 4, 5, 6, -1)}}


@pytest.mark.parametrize(
    ("version", "steps"),
    [
        *(pytest.param(version, [step], id=f"{version.name}-{name}") for version in (OLD, NEW) for name, step in DATA.items()),
        pytest.param(NEW, [ask_for_a_certificate, say(WHOLE)], id="data behind a message of TLS"),
        pytest.param(NEW, [end], id="an end"),
        pytest.param(NEW, [say_farewell], id="a farewell"),
        pytest.param(NEW, [say_plainly], id="no TLS"),
    ],
)
async def test_anything_else_ends_the_connection(
    site: Connecting, version: ssl.TLSVersion, steps: list[Callable[[Site], Awaitable[None]]]
) -> None:
    it = await site(version)
    for step in steps:
        await step(it)
    await it.arrived()
    assert not await it.connection.is_reusable()


async def test_a_second_answer_that_came_with_the_first_ends_the_connection(site: Connecting) -> None:
    it = await site(NEW)
    await it.exchange(answers=2)
    assert not it.connection.is_quiet()
    assert not await it.connection.is_reusable()


async def test_a_look_that_has_to_reply_may_be_left(site: Connecting) -> None:
    """Where the look has to reply it can be left, and the connection is then of no more use; a lease closes it."""
    it = await site(NEW)
    it.tls.verify_client_post_handshake()
    await it.until(it.tls.do_handshake)
    await it.arrived()
    with trio.CancelScope() as scope:
        scope.cancel()
        await it.connection.is_reusable()
    assert scope.cancelled_caught
    assert not it.connection.settle()
