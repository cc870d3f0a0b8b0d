import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import MockClock, memory_stream_pair

from exchanger.oauth.dial import Origin, client_tls_context, connect
from exchanger.oauth.http1 import Bounds, PhaseLimits
from tests.oauth.fakes import NO_TLS, TrackedStream

SECURE = Origin(secure=True, host="issuer.example.com", port=443)


def bounds(total: float = 10.0) -> Bounds:
    return Bounds(trio.current_time() + total, PhaseLimits(dial=3.0, tls_handshake=1.5, response_header=0.5))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
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
        self.streams: list[TrackedStream] = []
        self.names: list[str] = []
        self.context.sni_callback = lambda _socket, name, _context: self.names.append(name)

    async def dial(self, host: str, port: int) -> trio.abc.Stream:
        client, server = memory_stream_pair()
        self.streams.append(TrackedStream(client))
        self.nursery.start_soon(self._serve, server)
        return self.streams[-1]

    async def _serve(self, stream: trio.abc.Stream) -> None:
        secured = trio.SSLStream(stream, self.context, server_side=True, https_compatible=True)
        try:
            await secured.do_handshake()
            await secured.send_all(await secured.receive_some())
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(secured)


async def test_the_trust_store_of_the_environment_is_used(nursery: trio.Nursery, authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    peer = TlsPeer(nursery, authority, "issuer.example.com")
    limit = bounds()
    connection = await connect(SECURE, limit, tls=trusting, dial=peer.dial)
    assert connection is not None
    assert peer.names == ["issuer.example.com"]
    assert limit.scope.deadline == limit.expires
    await connection.close()
    assert peer.streams[0].closed


async def test_the_dot_of_an_absolute_name_is_for_the_resolver_alone(
    nursery: trio.Nursery, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    peer, dialled = TlsPeer(nursery, authority, "issuer.example.com"), list[str]()

    async def dial(host: str, port: int) -> trio.abc.Stream:
        dialled.append(host)
        return await peer.dial(host, port)

    connection = await connect(Origin(secure=True, host="issuer.example.com.", port=443), bounds(), tls=trusting, dial=dial)
    assert connection is not None
    assert (dialled, peer.names) == (["issuer.example.com."], ["issuer.example.com"])
    await connection.close()


async def test_another_name_is_refused(nursery: trio.Nursery, authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    peer = TlsPeer(nursery, authority, "other.example.com")
    assert await connect(SECURE, bounds(), tls=trusting, dial=peer.dial) is None
    assert peer.streams[0].closed


async def test_an_unknown_authority_is_refused(nursery: trio.Nursery, trusting: ssl.SSLContext) -> None:
    peer = TlsPeer(nursery, trustme.CA(), "issuer.example.com")
    assert await connect(SECURE, bounds(), tls=trusting, dial=peer.dial) is None
    assert peer.streams[0].closed


async def test_tls_before_1_2_is_refused(nursery: trio.Nursery, authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        peer = TlsPeer(nursery, authority, "issuer.example.com", newest=ssl.TLSVersion.TLSv1_1)
    assert await connect(SECURE, bounds(), tls=trusting, dial=peer.dial) is None
    assert peer.streams[0].closed


def test_the_context_verifies_and_discloses_no_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    default = ssl.create_default_context()
    default.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    monkeypatch.setattr(ssl, "create_default_context", lambda: default)
    context = client_tls_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.keylog_filename is None


@pytest.mark.parametrize("error", [ConnectionRefusedError(), OSError("no route"), TimeoutError()])
async def test_what_cannot_be_reached_is_no_connection(error: OSError) -> None:
    async def dial(host: str, port: int) -> trio.abc.Stream:
        raise error

    assert await connect(SECURE, bounds(), tls=NO_TLS, dial=dial) is None


async def test_a_fault_of_the_dialler_is_a_fault() -> None:
    async def dial(host: str, port: int) -> trio.abc.Stream:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await connect(SECURE, bounds(), tls=NO_TLS, dial=dial)


async def forever(host: str, port: int) -> trio.abc.Stream:
    await trio.sleep_forever()
    raise AssertionError


def mute(streams: list[TrackedStream]) -> Callable[[str, int], Awaitable[trio.abc.Stream]]:
    """Connects to a peer that never says a word."""

    async def dial(host: str, port: int) -> trio.abc.Stream:
        await trio.sleep(1.0)
        streams.append(TrackedStream(memory_stream_pair()[0]))
        return streams[-1]

    return dial


async def test_dialling_has_its_time(autojump_clock: MockClock) -> None:
    limit, started = bounds(), trio.current_time()
    with limit.scope:
        await connect(SECURE, limit, tls=NO_TLS, dial=forever)
    assert limit.scope.cancelled_caught
    assert trio.current_time() - started == pytest.approx(3.0)


async def test_the_handshake_has_its_own_time(autojump_clock: MockClock) -> None:
    streams: list[TrackedStream] = []
    limit, started = bounds(), trio.current_time()
    with limit.scope:
        await connect(SECURE, limit, tls=NO_TLS, dial=mute(streams))
    assert limit.scope.cancelled_caught
    assert trio.current_time() - started == pytest.approx(2.5)  # one second to dial, and its own time for the handshake
    assert streams[0].closed


async def test_a_peer_that_does_not_speak_tls_is_refused(nursery: trio.Nursery) -> None:
    client, server = memory_stream_pair()
    await server.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def dial(host: str, port: int) -> trio.abc.Stream:
        return client

    assert await connect(SECURE, bounds(), tls=NO_TLS, dial=dial) is None
    assert await server.receive_some() != b""
    assert await server.receive_some() == b""


class TestIsQuiet:
    """A connection on which something waits to be read is not used again."""

    async def test_over_tcp(self) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            port = listener.socket.getsockname()[1]
            connection = await connect(Origin(secure=False, host="127.0.0.1", port=port), bounds(), tls=NO_TLS, dial=trio.open_tcp_stream)
            assert connection is not None
            server = await listener.accept()
            assert connection.is_quiet()
            await server.aclose()
            with trio.fail_after(30):  # generous: the loopback delivers the end of file in microseconds
                await trio.lowlevel.wait_readable(connection._stream.socket)  # type: ignore[attr-defined]
            assert not connection.is_quiet()
            await connection.close()

    async def test_over_tls_with_bytes_that_are_decrypted(
        self, nursery: trio.Nursery, authority: trustme.CA, trusting: ssl.SSLContext
    ) -> None:
        peer = TlsPeer(nursery, authority, "issuer.example.com")
        connection = await connect(SECURE, bounds(), tls=trusting, dial=peer.dial)
        assert connection is not None
        await connection._stream.send_all(b"echo")
        assert await connection._stream.receive_some(2) == b"ec"
        assert not connection.is_quiet()
        await connection.close()
