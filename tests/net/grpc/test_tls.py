"""Clients of the TLS listener: those that are served, those that are not, and what is reported about them."""

import socket
import ssl
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
import trustme
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.net.grpc.routes import Immediate, Route
from exchanger.net.grpc.server import GrpcServer, ServerSettings
from exchanger.net.network import SYSTEM
from exchanger.net.reactor import Reactor
from exchanger.net.tls.certificates import CertificatesError
from tests.net.grpc.authority import Site, days, server_only
from tests.net.grpc.later import Pending
from tests.net.grpc.peer import framed, head, routes
from tests.net.grpc.serving import Served, TlsClient, serving
from tests.net.grpc.test_grpcio import forever

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = [TLS_1_2, TLS_1_3]
LATER = b"/test.Echo/Later"
RESET_ON_CLOSE = b"\1\0\0\0\0\0\0\0"


class Manual(TlsClient):
    """Sends nothing by itself: ``outgoing`` has what TLS wants to send."""

    def flight(self) -> bytes:
        return b""


def begun(served: Served, context: ssl.SSLContext, kind: type[TlsClient] = TlsClient) -> TlsClient:
    """Return a client that has begun its handshake, and does not send an HTTP/2 preface after it."""
    client = kind(served.open(served.tls_port), context=context)
    served.clients.append(client)
    client.begin()
    return client


class TestServed:
    @pytest.mark.parametrize("mutual", [False, True])
    @pytest.mark.parametrize("version", VERSIONS)
    async def test_calls(self, site: Site, version: ssl.TLSVersion, mutual: bool) -> None:
        own = site.authority.issue_cert("gateway.example")
        async with serving(routes(), tls=site.files.settings(mutual=mutual)) as served:
            client = await served.connect_tls(site.client_with(own, version=version) if mutual else site.client(version=version))
            assert (await client.ask(b"1")).messages == [b"echo 1"]
            assert (await client.ask(b"2")).messages == [b"echo 2"]
            assert client.tls.version() == version.name.replace("_", ".")
            assert (client.tls.selected_alpn_protocol(), client.tls.compression()) == ("h2", None)
            assert (served.server.connections, served.server.handshakes) == (1, (1, 0))
            assert [line["log_level"] for line in served.lines.entries] == ["info"]

    async def test_an_intermediate_authority_that_stands_alone(self, site: Site) -> None:
        middle = site.authority.create_child_ca()
        site.files.client_ca.write_bytes(middle.cert_pem.bytes())
        async with serving(routes(), tls=site.files.settings(mutual=True)) as served:
            client = await served.connect_tls(site.client_with(middle.issue_cert("gateway.example")))
            assert (await client.ask(b"1")).messages == [b"echo 1"]
            assert (await served.connect_tls(site.client_with(site.authority.issue_cert("gateway.example")))).eof


def plain_client(**options: Any) -> Callable[[Site], ssl.SSLContext]:
    return lambda site: site.client(**options)


def with_certificate(issue: Callable[[trustme.CA], trustme.LeafCert], **options: Any) -> Callable[[Site], ssl.SSLContext]:
    return lambda site: site.client_with(issue(site.authority), **options)


def tls_1_1(site: Site) -> ssl.SSLContext:
    context = site.client(version=ssl.TLSVersion.TLSv1_1)
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def distrustful(_site: Site) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    return context


def of_another_authority(_own: trustme.CA) -> trustme.LeafCert:
    return trustme.CA().issue_cert("gateway.example")


def expired(own: trustme.CA) -> trustme.LeafCert:
    return own.issue_cert("gateway.example", not_before=days(-2), not_after=days(-1))


NO_H2 = ("no h2 in ALPN",)
NO_CERTIFICATE = ("PEER_DID_NOT_RETURN_A_CERTIFICATE",)
UNKNOWN = ("CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate",)
WRONG_PURPOSE = tuple(f"CERTIFICATE_VERIFY_FAILED: {word} certificate purpose" for word in ("unsupported", "unsuitable"))


class TestRefused:
    @pytest.mark.parametrize(
        ("mutual", "client", "reasons"),
        [
            pytest.param(False, plain_client(protocols=()), NO_H2, id="no ALPN"),
            pytest.param(False, plain_client(protocols=["http/1.1", "h2c"], version=TLS_1_2), NO_H2, id="another protocol, TLS 1.2"),
            pytest.param(False, plain_client(protocols=["http/1.1", "h2c"], version=TLS_1_3), NO_H2, id="another protocol, TLS 1.3"),
            pytest.param(False, tls_1_1, ("UNSUPPORTED_PROTOCOL",), id="TLS 1.1"),
            pytest.param(False, distrustful, ("TLSV1_ALERT_UNKNOWN_CA",), id="a client that does not trust us"),
            pytest.param(True, plain_client(version=TLS_1_2), NO_CERTIFICATE, id="no certificate, TLS 1.2"),
            pytest.param(True, plain_client(version=TLS_1_3), NO_CERTIFICATE, id="no certificate, TLS 1.3"),
            pytest.param(True, with_certificate(of_another_authority, version=TLS_1_2), UNKNOWN, id="another authority, TLS 1.2"),
            pytest.param(True, with_certificate(of_another_authority, version=TLS_1_3), UNKNOWN, id="another authority, TLS 1.3"),
            pytest.param(True, with_certificate(expired), ("CERTIFICATE_VERIFY_FAILED: certificate has expired",), id="expired"),
            pytest.param(True, with_certificate(server_only), WRONG_PURPOSE, id="a certificate for servers only"),
        ],
    )
    async def test_a_client_is_refused_for_one_reason(
        self, site: Site, mutual: bool, client: Callable[[Site], ssl.SSLContext], reasons: tuple[str, ...], mock_clock: MockClock
    ) -> None:
        async with serving(routes(), tls=site.files.settings(mutual=mutual)) as served:
            refused = await served.connect_tls(client(site))
            refused.peer.call(b"x")
            await refused.settle()
            assert refused.eof
            if reasons is NO_CERTIFICATE and refused.tls.version() == "TLSv1.3":  # the client learns why, too
                assert refused.error is not None
                assert refused.error.reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
            refused.socket.close()
            await wait_all_tasks_blocked()
            assert (served.server.connections, served.server.ended_calls[0], served.server.handshakes) == (0, 0, (0, 1))
            assert served.faults == []
            ((_, peer, reason),) = served.lines.taken()[1:]  # after the certificate
            assert peer.startswith("127.0.0.1:")
            assert reason in reasons

    @pytest.mark.parametrize(
        ("sent", "reason"),
        [
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "plain HTTP request"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "plain HTTP/2: the peer does not use TLS"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY protocol, which is not supported"),
            (b"SSH-2.0-OpenSSH_9.6\r\n", "WRONG_VERSION_NUMBER"),
            (bytes(100), "WRONG_VERSION_NUMBER"),
            (b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", "UNEXPECTED_MESSAGE"),
        ],
    )
    async def test_bytes_that_are_not_tls(self, site: Site, sent: bytes, reason: str, mock_clock: MockClock) -> None:
        async with serving(routes(), tls=site.files.settings()) as served:
            with served.open(served.tls_port) as peer:
                peer.send(sent)
                await wait_all_tasks_blocked()
                alert = peer.recv(100)  # OpenSSL has none for what does not even look like TLS
                assert alert[:1] in {b"", b"\x15"}
                assert peer.recv(100) == b""
                mock_clock.jump(1.1)  # it does not close, so it is closed
                await wait_all_tasks_blocked()
                assert served.server.connections == 0
            assert served.failures == [reason]
            assert served.faults == []


class TestResumption:
    @pytest.mark.parametrize("version", VERSIONS)
    async def test_no_tickets(self, site: Site, version: ssl.TLSVersion) -> None:
        async with serving(routes(), tls=site.files.settings()) as served:
            client = await served.connect_tls(site.client(version=version))
            await client.ask(b"x")
            session = client.tls.session
            assert version is TLS_1_3 if session is None else not session.has_ticket

    async def test_a_resumed_session_does_not_outlive_its_certificate(
        self, site: Site, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        context = site.client_with(site.authority.issue_cert("gateway.example", not_after=days(2)), version=TLS_1_2)
        async with serving(routes(), tls=site.files.settings(mutual=True)) as served:
            first = await served.connect_tls(context)
            again = await served.connect_tls(context, session=first.tls.session)
            assert again.tls.session_reused  # Python's ssl has no switch against it
            assert (await again.ask(b"x")).messages == [b"echo x"]
            later = days(3).timestamp()
            served.reactor.network = attrs.evolve(SYSTEM, wall=lambda: later)
            third = await served.connect_tls(context, session=first.tls.session)
            assert third.eof
            assert served.failures == []
            third.socket.close()
            await wait_all_tasks_blocked()
            assert served.failures == ["CERTIFICATE_VERIFY_FAILED: certificate has expired since this session began"]


class TestHandshakesThatDoNotEnd:
    @pytest.mark.parametrize("part", [0, 1, 100, 10_000])
    async def test_silence_after_a_part_or_all_of_the_first_flight(self, site: Site, part: int, mock_clock: MockClock) -> None:
        async with serving(routes(), tls=site.files.settings()) as served:
            peer = begun(served, site.client(), Manual)
            peer.socket.send(peer.outgoing.read()[:part])
            await wait_all_tasks_blocked()
            assert peer.receive() == (part == 10_000)
            mock_clock.jump(9)
            await wait_all_tasks_blocked()
            assert served.server.connections == 1
            mock_clock.jump(2)
            await wait_all_tasks_blocked()
            assert served.server.connections == 0
            peer.socket.close()
            assert served.failures == ["timeout"]

    async def test_a_probe_of_the_port_is_not_a_failed_handshake(self, site: Site) -> None:
        async with serving(routes(), tls=site.files.settings()) as served:
            served.open(served.tls_port).close()
            await wait_all_tasks_blocked()
            with served.open(served.tls_port) as peer:
                await wait_all_tasks_blocked()
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            await wait_all_tasks_blocked()
            assert (served.server.connections, served.server.accepted, served.server.handshakes[1]) == (0, 2, 0)

    @pytest.mark.parametrize(("resets", "reason"), [(False, "closed by the peer"), (True, "connection reset by the peer")])
    async def test_a_client_that_leaves(self, site: Site, resets: bool, reason: str) -> None:
        async with serving(routes(), tls=site.files.settings()) as served:
            with served.open(served.tls_port) as peer:
                peer.send(b"\x16\x03")
                await wait_all_tasks_blocked()
                if resets:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            await wait_all_tasks_blocked()
            assert served.failures == [reason]


class TestTheEnd:
    async def test_a_drain_during_a_handshake(self, site: Site, mock_clock: MockClock) -> None:
        async with serving(routes(), tls=site.files.settings()) as served, trio.open_nursery() as nursery:
            begun(served, site.client())
            await wait_all_tasks_blocked()
            nursery.start_soon(served.server.drain, 5.0)
            await wait_all_tasks_blocked()
            assert served.server.connections == 1
            mock_clock.jump(5.1)  # the grace period
            await wait_all_tasks_blocked()
            mock_clock.jump(1.1)  # it does not close
            await served.stopped.wait()
            assert served.failures == []  # the handshake did not fail: we left

    async def test_a_peer_that_says_goodbye_but_does_not_close(self, site: Site) -> None:
        async with serving(routes(), tls=site.files.settings()) as served:
            client = await served.connect_tls(site.client())
            stream = client.peer.call(b"last")
            client.tls.write(client.peer.send())
            with pytest.raises(ssl.SSLWantReadError):
                client.tls.unwrap()
            client.socket.send(client.flight())
            await wait_all_tasks_blocked()
            assert served.server.connections == 0
            assert served.server.ended_calls[0] == 1
            client.receive()
            assert client.peer.answers[stream].messages == [b"echo last"]

    async def test_a_broken_record_ends_running_calls_and_is_answered_with_an_alert(self, site: Site) -> None:
        table: dict[bytes, Route] = {LATER: Immediate(lambda _message, _call: Pending(forever))}
        async with serving(table, tls=site.files.settings()) as served:
            client = await served.connect_tls(site.client())
            client.peer.request(head(LATER), framed(b"x"))
            await client.settle()
            assert served.server.usage().tasks == 1
            client.socket.send(b"\x17\x03\x03\x00\x20" + bytes(32))
            await wait_all_tasks_blocked()
            assert served.at_rest()
            client.receive()
            assert client.error is not None
            assert "BAD_RECORD_MAC" in str(client.error)
            assert served.failures == []  # the handshake did not fail


class TestStarting:
    async def test_without_files(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("exchanger.net.tls.rotation._SETTLE_TIME", 0.02)
        site.files.key.unlink()
        server = GrpcServer(
            ServerSettings("127.0.0.1", None, tls=site.files.settings(poll_interval=0.01)), routes(), Reactor(), lambda _fault: None
        )
        with pytest.raises(CertificatesError, match=r"tls\.key cannot be read"):
            await server.run()

    async def test_a_busy_port_is_named(self, site: Site) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            settings = ServerSettings("127.0.0.1", 0, tls=attrs.evolve(site.files.settings(), port=port))
            with pytest.raises(OSError, match="in use") as raised:
                await GrpcServer(settings, routes(), Reactor(), lambda _fault: None).run()
            assert raised.value.filename == f"port {port}"
