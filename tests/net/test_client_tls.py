"""TLS to token endpoints: what a peer may say between two exchanges, which only TLS itself may, and one layer inside another."""

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import final

import attrs
import pytest
import trio
import trustme

from exchanger.net.dial import DialAttempt, Dialled, DialLimits, Origin
from exchanger.net.links import Http1Link
from exchanger.net.network import SYSTEM
from exchanger.net.reactor import Reactor
from exchanger.net.tcp import StreamEndedError
from exchanger.net.tls.client import ClientTlsTransport, decrypted, encrypted
from exchanger.net.tls.client_contexts import TlsContexts
from exchanger.net.tls.layer import TlsLayer
from tests.exchange.oauth.fakes import response
from tests.net.certificates import serving, trusting

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
    transport: ClientTlsTransport = attrs.field(init=False)

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

    async def exchange(self, answers: int = 1) -> bytes:
        """Send a request, and return what there is of the answer."""
        assert self.transport.send(b"request")
        await self.until(lambda: self.tls.read(65_536))
        await self.plain.send_all(b"".join(self.records(ANSWER) for _ in range(answers)))
        return self.transport.receive(65_536)

    def is_quiet(self) -> bool:
        """Whether the connection could carry another exchange."""
        link = Http1Link(self.transport, _Nobody(), Reactor())
        return link.is_quiet()


class _Nobody:
    """A host that hears nothing but the end of its link."""

    header_timeout = 0.5

    def closed(self, link: object) -> None:
        pass

    def answered(self, link: object, call: object, answer: object, *, seen: bool, clean: bool) -> None:
        raise AssertionError

    def ended(self, call: object, outcome: object) -> None:
        raise AssertionError

    def unprocessed(self, call: object) -> None:
        raise AssertionError


async def connected(authority: trustme.CA, version: ssl.TLSVersion) -> Site:
    """Connect over a socket pair. Client and server speak ``version``, and the client may be asked for a certificate later."""
    ours, theirs = trio.socket.socketpair()
    server_context, client_context = serving(authority, "issuer.example.com"), trusting(authority)
    authority.configure_trust(server_context)
    server_context.verify_mode = ssl.CERT_OPTIONAL
    for context in (server_context, client_context):
        context.minimum_version = context.maximum_version = version
        context.post_handshake_auth = version is ssl.TLSVersion.TLSv1_3
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    it = Site(trio.SocketStream(theirs), server_context.wrap_bio(incoming, outgoing, server_side=True), incoming, outgoing)

    async def dial(host: str, port: int) -> trio.SocketStream:
        return trio.SocketStream(ours)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.until, it.tls.do_handshake)
        found = await DialAttempt(
            SECURE, DialLimits(3.0, 3.0), TlsContexts(lambda: client_context), attrs.evolve(SYSTEM, connect=dial)
        ).run()
    assert isinstance(found, Dialled)
    assert isinstance(found.transport, ClientTlsTransport)
    it.transport = found.transport
    assert await it.exchange() == ANSWER
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
        it.transport.close()
        await it.plain.aclose()


@pytest.mark.parametrize("version", [OLD, NEW])
async def test_a_silent_connection_is_quiet(site: Connecting, version: ssl.TLSVersion) -> None:
    it = await site(version)
    for _ in range(3):
        assert it.is_quiet()
        assert await it.exchange() == ANSWER


async def test_tickets_and_questions_of_tls_are_consumed(site: Connecting) -> None:
    """The server asks for a certificate, which needs a reply, and gives session tickets when that has come."""
    it = await site(NEW)
    it.tls.verify_client_post_handshake()
    await it.until(it.tls.do_handshake)
    assert it.is_quiet()
    it.incoming.write(await it.plain.receive_some())  # the reply
    with pytest.raises(ssl.SSLWantReadError):
        it.tls.read(1)
    assert it.outgoing.pending  # the tickets
    await it.flush()
    assert it.is_quiet()
    assert await it.exchange() == ANSWER


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
    assert not it.is_quiet()


async def test_a_second_answer_comes_with_the_first(site: Connecting) -> None:
    it = await site(NEW)
    assert await it.exchange(answers=2) == 2 * ANSWER


async def test_a_broken_session_ends_the_stream(site: Connecting) -> None:
    it = await site(NEW)
    await it.plain.send_all(b"no TLS at all")
    with pytest.raises(StreamEndedError):
        it.transport.receive(65_536)


def test_layers_inside_each_other(authority: trustme.CA) -> None:
    """The inner session sees nothing but the outer one's clear text, in any pieces."""
    server_context, client_context = serving(authority, "issuer.example.com"), trusting(authority)
    clients: list[TlsLayer] = []
    servers: list[TlsLayer] = []
    for _ in range(2):
        client, server = TlsLayer.client(client_context, "issuer.example.com"), TlsLayer.server(server_context)
        heard, done = b"", [False, False]
        while not all(done):
            done[0] = client.handshake(heard)
            heard, _, _ = decrypted(servers, encrypted(clients, client.to_send()))
            done[1] = server.handshake(heard)
            heard, _, _ = decrypted(clients, encrypted(servers, server.to_send()))
        client.decrypt(heard)  # tickets
        clients.insert(0, client)
        servers.insert(0, server)
    data = encrypted(servers, ANSWER)
    clear = b"".join(decrypted(clients, data[at : at + 7])[0] for at in range(0, len(data), 7))
    assert clear == ANSWER
    assert all(layer.is_whole for layer in clients)
