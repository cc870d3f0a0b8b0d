"""New connections over streams in memory: TLS, its trust, the tunnel of a proxy, and the time of each phase."""

import math
import ssl
from pathlib import Path

import attrs
import pytest
import trio
import trustme
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair

from exchanger.model.issuer import EndpointProtocol
from exchanger.model.proxy import Proxy
from exchanger.model.secret import Secret
from exchanger.net.dial import DialAttempt, Dialled, DialLimits, Origin, Unreachable, open_tunnel
from exchanger.net.network import SYSTEM, Connect
from exchanger.net.tls.client import ClientTlsTransport, client_tls_context
from exchanger.net.tls.client_contexts import TlsContexts
from tests.exchange.oauth.fakes import NO_TLS, Connected, connected

SECURE = Origin(secure=True, host="issuer.example.com", port=443)
PROXIED = Origin(False, "issuer.example.com", 80, Proxy(False, "proxy.example.com", 3128, Secret("canary:canary")))
NOBODY = Secret("")


async def connect(origin: Origin, *, tls: ssl.SSLContext, dial: Connect) -> Dialled | Unreachable:
    return await DialAttempt(
        origin, DialLimits(dial=3.0, tls_handshake=1.5), TlsContexts(lambda: tls), attrs.evolve(SYSTEM, connect=dial)
    ).run()


@pytest.fixture
def trusting(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """The context of a service whose environment names the trust store."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return client_tls_context()


class TlsPeer:
    """Dials to a TLS server in memory that has a certificate for ``name``."""

    def __init__(self, nursery: trio.Nursery, authority: trustme.CA, name: str, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        self.nursery = nursery
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = min(newest, ssl.TLSVersion.TLSv1_2)
        self.context.maximum_version = newest
        self.context.set_ciphers("DEFAULT:@SECLEVEL=0")
        authority.issue_cert(name).configure_cert(self.context)
        self.streams: list[Connected] = []
        self.dialled: list[str] = []
        self.names: list[str] = []
        self.context.sni_callback = lambda _socket, name, _context: self.names.append(name)

    async def dial(self, host: str, port: int) -> trio.SocketStream:
        client, server = connected()
        self.dialled.append(host)
        self.streams.append(server)
        self.nursery.start_soon(self._serve, server.stream)
        return client

    async def _serve(self, stream: trio.abc.Stream) -> None:
        secured = trio.SSLStream(stream, self.context, server_side=True, https_compatible=True)
        try:
            await secured.do_handshake()
            await secured.receive_some()
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(secured)


@pytest.mark.parametrize("host", ["issuer.example.com", "issuer.example.com."])
async def test_the_environment_s_trust_store_and_absolute_names_are_used(
    nursery: trio.Nursery, authority: trustme.CA, trusting: ssl.SSLContext, host: str
) -> None:
    peer = TlsPeer(nursery, authority, "issuer.example.com")
    found = await connect(attrs.evolve(SECURE, host=host), tls=trusting, dial=peer.dial)
    assert isinstance(found, Dialled)
    assert (peer.dialled, peer.names) == ([host], ["issuer.example.com"])
    assert not peer.streams[0].closed
    found.transport.close()
    assert peer.streams[0].closed


@pytest.mark.parametrize("fault", ["another name", "an unknown authority", "TLS 1.1"])
async def test_an_endpoint_that_does_not_prove_who_it_is_gets_no_connection(
    nursery: trio.Nursery, authority: trustme.CA, trusting: ssl.SSLContext, fault: str
) -> None:
    match fault:
        case "another name":
            peer = TlsPeer(nursery, authority, "other.example.com")
        case "an unknown authority":
            peer = TlsPeer(nursery, trustme.CA(), "issuer.example.com")
        case _:
            with pytest.warns(DeprecationWarning, match="TLSv1_1"):
                peer = TlsPeer(nursery, authority, "issuer.example.com", newest=ssl.TLSVersion.TLSv1_1)
    found = await connect(SECURE, tls=trusting, dial=peer.dial)
    assert isinstance(found, Unreachable)
    assert peer.streams[0].closed
    assert not found.timed_out
    assert found.why.startswith(("the certificate of the token endpoint is refused: ", "no TLS with the token endpoint: "))
    assert ("certificate" in found.why) == (fault != "TLS 1.1")


@pytest.mark.parametrize(
    ("protocol", "server", "http2"),
    [
        (EndpointProtocol.AUTO, ["h2", "http/1.1"], True),
        (EndpointProtocol.AUTO, ["http/1.1"], False),
        (EndpointProtocol.AUTO, [], False),
        (EndpointProtocol.HTTP1, ["h2", "http/1.1"], False),
        (EndpointProtocol.HTTP2, ["h2", "http/1.1"], True),
        (EndpointProtocol.HTTP2, ["http/1.1"], None),
        (EndpointProtocol.HTTP2, [], None),
    ],
)
async def test_the_handshake_agrees_on_a_protocol(
    nursery: trio.Nursery,
    authority: trustme.CA,
    trusting: ssl.SSLContext,
    protocol: EndpointProtocol,
    server: list[str],
    http2: bool | None,
) -> None:
    peer = TlsPeer(nursery, authority, "issuer.example.com")
    if server:
        peer.context.set_alpn_protocols(server)
    found = await connect(attrs.evolve(SECURE, protocol=protocol), tls=trusting, dial=peer.dial)
    if isinstance(found, Unreachable):
        assert (http2, found.why) == (None, "the token endpoint does not speak HTTP/2")
    else:
        assert found.http2 is http2
        assert isinstance(found.transport, ClientTlsTransport)
        found.transport.close()


@pytest.mark.parametrize("protocol", EndpointProtocol)
async def test_without_tls_http2_needs_to_be_known_beforehand(nursery: trio.Nursery, protocol: EndpointProtocol) -> None:
    client, server = connected()

    async def dial(host: str, port: int) -> trio.SocketStream:
        return client

    found = await connect(Origin(secure=False, host="issuer.example.com", port=80, protocol=protocol), tls=NO_TLS, dial=dial)
    assert isinstance(found, Dialled)
    assert found.http2 is (protocol is EndpointProtocol.HTTP2)
    found.transport.close()
    server.stream.socket.close()


def test_the_context_verifies_and_discloses_no_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    default = ssl.create_default_context()
    default.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    monkeypatch.setattr(ssl, "create_default_context", lambda **_: default)
    context = client_tls_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.keylog_filename is None


async def test_a_peer_that_cannot_be_reached_has_a_reason() -> None:
    def failing(error: Exception) -> Connect:
        async def dial(host: str, port: int) -> trio.SocketStream:
            raise error

        return dial

    refused = await connect(SECURE, tls=NO_TLS, dial=failing(ConnectionRefusedError(111, "canary")))
    assert refused == Unreachable("connecting failed: Connection refused")
    with pytest.raises(ZeroDivisionError):
        await connect(SECURE, tls=NO_TLS, dial=failing(ZeroDivisionError()))


@pytest.mark.parametrize(
    ("origin", "dials", "said", "seconds"),
    [
        pytest.param(SECURE, math.inf, (), 3.0, id="dialling"),
        pytest.param(SECURE, 1.0, (), 1.0 + 1.5, id="a handshake after a second of dialling"),
        *(
            pytest.param(PROXIED, 0.0, said, 3.0, id=name)
            for name, said in {
                "a silent proxy": (),
                "half of its answer": (b"HTTP/1.1 200",),
                "an interim response": (b"HTTP/1.1 103 Early Hints\r\n\r\n",),
                "no HTTP": (b"SSH-2.0-OpenSSH_9.9\r\n",),
            }.items()
        ),
    ],
)
async def test_each_phase_has_its_time(
    autojump_clock: MockClock, origin: Origin, dials: float, said: tuple[bytes, ...], seconds: float
) -> None:
    streams: list[Connected] = []

    async def dial(host: str, port: int) -> trio.SocketStream:
        await trio.sleep(dials)
        client, server = connected()
        for piece in said:
            await server.stream.send_all(piece)
        streams.append(server)
        return client

    started = trio.current_time()
    found = await connect(origin, tls=NO_TLS, dial=dial)
    assert isinstance(found, Unreachable)
    assert found.timed_out
    assert found.why.startswith("timed out while ")
    assert trio.current_time() - started == pytest.approx(seconds)
    assert all(stream.closed for stream in streams)
    for stream in streams:
        await stream.stream.aclose()


@attrs.define(eq=False)
class Wire:
    """One end of a stream in memory, as ``open_tunnel`` takes it."""

    stream: trio.abc.Stream
    reads: int = 0

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def receive(self, limit: int) -> bytes:
        self.reads += 1
        return bytes(await self.stream.receive_some(limit))


async def opened(*pieces: bytes, host: str = "issuer.example.com", credentials: Secret = NOBODY) -> tuple[bool, bytes]:
    """Return whether the tunnel is open after ``pieces``, and what the proxy received."""
    client, server = memory_stream_pair()
    for piece in pieces:
        await server.send_all(piece)
    await server.send_eof()
    found = await open_tunnel(Wire(client), host, 443, credentials)
    return found, bytes(await server.receive_some(65_536))


class TestTunnel:
    @pytest.mark.parametrize(("host", "authority"), [("a.example", "a.example:443"), ("10.0.0.1", "10.0.0.1:443"), ("::1", "[::1]:443")])
    async def test_the_proxy_gets_the_authority_and_its_credentials_in_utf_8(self, host: str, authority: str) -> None:
        request = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: exchanger\r\n".encode()
        assert await opened(b"HTTP/1.1 200 OK\r\n\r\n", host=host) == (True, request + b"\r\n")
        _, received = await opened(b"HTTP/1.1 200 OK\r\n\r\n", host=host, credentials=Secret("us\u00e9r:p"))
        assert received == request + b"Proxy-Authorization: Basic dXPDqXI6cA==\r\n\r\n"

    @pytest.mark.parametrize(
        "head",
        [
            b"HTTP/1.0 200 Connection established\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 299 Fine\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ],
    )
    async def test_a_whole_head_of_2xx_and_not_a_byte_more_opens_it(self, head: bytes) -> None:
        assert (await opened(head))[0]
        assert (await opened(*(head[at : at + 7] for at in range(0, len(head), 7))))[0]
        assert not (await opened(head + b"\x00"))[0]
        assert not (await opened(head[:-1]))[0]

    async def test_an_answer_in_single_bytes_is_not_read_for_long(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100
        pieces = [head[at : at + 1] for at in range(len(head))]
        client, server = memory_stream_pair()
        wire = Wire(client)

        async def drip() -> None:
            await server.send_all(pieces[wire.reads])

        client.receive_stream.receive_some_hook = drip
        assert not await open_tunnel(wire, "issuer.example.com", 443, NOBODY)
        assert 20 < wire.reads <= 64

    @given(st.lists(st.binary(max_size=30) | st.sampled_from([b"HTTP/1.1 ", b"200 OK", b"407 ", b"\r\n", b"\n", b"Content-Length: 5"])))
    def test_no_answer_is_too_much(self, pieces: list[bytes]) -> None:
        found, _ = trio.run(opened, *pieces)
        said = b"".join(pieces)
        assert not found or said.endswith((b"\n\r\n", b"\n\n"))
