"""Clients of the TLS listener: those that are served, those that are not, and what is said of them."""

import json
import socket
import ssl
import sys
from pathlib import Path

import attrs
import pytest
import trio
import trustme
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.grpc.certificates import CertificatesError
from exchanger.grpc.routes import Immediate, Pending, Route, routes_of
from exchanger.grpc.server import GrpcServer, ServerSettings
from exchanger.grpc.tls import LINES_PER_WINDOW, HandshakeLog
from tests.grpc.authority import Observed, Site, days, server_only
from tests.grpc.peer import ECHO, framed, head, routes
from tests.grpc.services import Texts
from tests.grpc.serving import Served, is_open, read_slowly, serving
from tests.grpc.test_grpcio import EXPECTED, forever, say

CLIENT = Path(__file__).with_name("grpcio_client.py")
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
LATER = b"/test.Echo/Later"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.at(tmp_path)


class TestServed:
    @pytest.mark.parametrize("version", VERSIONS)
    async def test_calls(self, site: Site, version: ssl.TLSVersion) -> None:
        async with serving(routes(), tls=site.files.settings()) as served:
            client = await served.connect_tls(site.client(version=version))
            assert (await client.ask(b"1")).messages == [b"echo 1"]
            assert (await client.ask(b"2")).messages == [b"echo 2"]
            assert client.tls.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
            assert client.tls.selected_alpn_protocol() == "h2"
            assert client.tls.compression() is None
            assert (served.server.connections, served.server.handshakes) == (1, (1, 0))
            assert len(served.observed.loaded) == 1
            assert served.observed.failed == []

    async def test_only_with_tls(self, site: Site) -> None:
        server = GrpcServer(ServerSettings("127.0.0.1", None, tls=site.files.settings()), routes(), lambda _fault: None)
        async with trio.open_nursery() as nursery:
            addresses = await nursery.start(server.run)
            assert addresses.plaintext == ()
            assert str(addresses) == f"TLS 127.0.0.1:{addresses.tls[0][1]}"
            nursery.cancel_scope.cancel()

    @pytest.mark.parametrize("version", VERSIONS)
    async def test_byte_by_byte(self, site: Site, version: ssl.TLSVersion) -> None:
        async with serving(routes(), tls=site.files.settings()) as served:
            client = await served.connect_tls(site.client(version=version))
            slow = TlsByByte(served, site.client(version=version))
            await slow.handshake()
            assert served.server.handshakes[0] == 2
            assert (await client.ask(b"meanwhile")).messages == [b"echo meanwhile"]

    async def test_a_slow_reader_gets_everything_in_order(self, site: Site, mock_clock: MockClock) -> None:
        async with serving(routes(lambda message, _call: message * 1000), tls=site.files.settings()) as served:
            await read_slowly(served, await served.connect_tls(site.client(), receive_buffer=65_536), mock_clock)

    async def test_a_peer_that_does_not_read_is_dropped(self, site: Site, mock_clock: MockClock) -> None:
        big = bytes(100_000)
        async with serving(routes(lambda _message, _call: big), tls=site.files.settings()) as served:
            reader, stuck = await served.connect_tls(site.client()), await served.connect_tls(site.client(), receive_buffer=65_536)
            stuck.peer.http.update_settings({4: 2**31 - 1})
            stuck.peer.http.set_local_window_size(2**31 - 1)
            await stuck.settle()
            for _ in range(300):
                stuck.peer.call(b"more")
                stuck.waiting = stuck.peer.send()
                stuck.tls.write(stuck.waiting)
                stuck.socket.send(stuck.flight())
                await wait_all_tasks_blocked()
            assert served.server.ended_calls[0] < 300
            assert (await reader.ask(b"x")).messages == [big]
            mock_clock.jump(21)
            await reader.settle()
            assert served.server.connections == 1


class TlsByByte:
    """A handshake whose every byte is a read of its own."""

    def __init__(self, served: Served, context: ssl.SSLContext) -> None:
        self.client = served.open(served.tls_port)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    async def handshake(self) -> None:
        with self.client:
            while True:
                try:
                    self.tls.do_handshake()
                    done = True
                except ssl.SSLWantReadError:
                    done = False
                for byte in self.outgoing.read():
                    self.client.send(bytes((byte,)))
                    await wait_all_tasks_blocked()
                if done:
                    break
                self.incoming.write(self.client.recv(1 << 16))
            await wait_all_tasks_blocked()


class TestGrpcio:
    @pytest.fixture
    def table(self) -> dict[bytes, Route]:
        return {
            **routes_of(Texts().service()),
            ECHO: Immediate(say),
            b"/test.Echo/Wait": Immediate(lambda _message, _call: Pending(forever)),
        }

    @pytest.mark.parametrize("mutual", [False, True])
    async def test_every_kind_of_call(self, site: Site, table: dict[bytes, Route], tmp_path: Path, mutual: bool) -> None:
        arguments = [str(site.files.client_ca)]
        if mutual:
            own = site.authority.issue_cert("gateway.example")
            (tmp_path / "own.crt").write_bytes(own.cert_chain_pems[0].bytes())
            (tmp_path / "own.key").write_bytes(own.private_key_pem.bytes())
            arguments += [str(tmp_path / "own.crt"), str(tmp_path / "own.key")]
        async with serving(table, tls=site.files.settings(mutual=mutual)) as served:
            with trio.fail_after(60):
                done = await trio.run_process([sys.executable, str(CLIENT), str(served.tls_port), *arguments], capture_stdout=True)
            await wait_all_tasks_blocked()
            assert served.at_rest()
            assert [type(fault) for fault in served.faults] == [ValueError]
        assert json.loads(done.stdout) == EXPECTED


async def refused(served: Served, context: ssl.SSLContext, clock: MockClock) -> str:
    """Return the one reason that is given for refusing a client, after the connection is gone."""
    client = await served.connect_tls(context)
    client.peer.call(b"x")
    await client.settle()
    assert client.eof
    client.socket.close()
    await wait_all_tasks_blocked()
    assert (served.server.connections, served.server.ended_calls[0], served.server.handshakes[1]) == (0, 0, 1)
    assert served.faults == []
    ((peer, reason),) = served.observed.failed
    assert peer.startswith("127.0.0.1:")
    return reason


class TestRefused:
    async def test_no_alpn(self, site: Site, mock_clock: MockClock) -> None:
        async with serving(routes(), tls=site.files.settings()) as served:
            assert await refused(served, site.client(protocols=()), mock_clock) == "no h2 in ALPN"
            assert served.server.handshakes[0] == 0

    @pytest.mark.parametrize("version", VERSIONS)
    async def test_another_protocol(self, site: Site, version: ssl.TLSVersion, mock_clock: MockClock) -> None:
        async with serving(routes(), tls=site.files.settings()) as served:
            assert await refused(served, site.client(protocols=["http/1.1", "h2c"], version=version), mock_clock) == "no h2 in ALPN"

    async def test_tls_1_1(self, site: Site, mock_clock: MockClock) -> None:
        context = site.client(version=ssl.TLSVersion.TLSv1_1)
        context.set_ciphers("ALL:@SECLEVEL=0")
        async with serving(routes(), tls=site.files.settings()) as served:
            assert await refused(served, context, mock_clock) == "UNSUPPORTED_PROTOCOL"

    async def test_a_client_that_does_not_trust_us(self, site: Site, mock_clock: MockClock) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_alpn_protocols(["h2"])
        async with serving(routes(), tls=site.files.settings()) as served:
            client = await served.connect_tls(context)
            await client.settle()
            assert isinstance(client.error, ssl.SSLCertVerificationError)
            client.socket.close()
            await wait_all_tasks_blocked()
            assert served.observed.reasons == ["TLSV1_ALERT_UNKNOWN_CA"]

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
    async def test_what_is_no_tls(self, site: Site, sent: bytes, reason: str, mock_clock: MockClock) -> None:
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
            assert served.observed.reasons == [reason]
            assert served.faults == []


class TestClientCertificates:
    @pytest.mark.parametrize("version", VERSIONS)
    async def test_of_the_authority(self, site: Site, version: ssl.TLSVersion) -> None:
        async with serving(routes(), tls=site.files.settings(mutual=True)) as served:
            client = await served.connect_tls(site.client_with(site.authority.issue_cert("gateway.example"), version=version))
            assert (await client.ask(b"1")).messages == [b"echo 1"]

    async def test_of_an_intermediate_that_stands_alone(self, site: Site) -> None:
        middle = site.authority.create_child_ca()
        site.files.client_ca.write_bytes(middle.cert_pem.bytes())
        async with serving(routes(), tls=site.files.settings(mutual=True)) as served:
            client = await served.connect_tls(site.client_with(middle.issue_cert("gateway.example")))
            assert (await client.ask(b"1")).messages == [b"echo 1"]
            stranger = await served.connect_tls(site.client_with(site.authority.issue_cert("gateway.example")))
            assert stranger.eof

    @pytest.mark.parametrize("version", VERSIONS)
    async def test_none(self, site: Site, version: ssl.TLSVersion, mock_clock: MockClock) -> None:
        async with serving(routes(), tls=site.files.settings(mutual=True)) as served:
            assert await refused(served, site.client(version=version), mock_clock) == "PEER_DID_NOT_RETURN_A_CERTIFICATE"

    async def test_the_client_learns_why(self, site: Site) -> None:
        async with serving(routes(), tls=site.files.settings(mutual=True)) as served:
            client = await served.connect_tls(site.client())
            await client.settle()
            assert client.error is not None
            assert client.error.reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED"

    @pytest.mark.parametrize("version", VERSIONS)
    async def test_of_another_authority(self, site: Site, tmp_path: Path, version: ssl.TLSVersion, mock_clock: MockClock) -> None:
        other = trustme.CA().issue_cert("gateway.example")
        async with serving(routes(), tls=site.files.settings(mutual=True)) as served:
            reason = await refused(served, site.client_with(other, version=version), mock_clock)
            assert reason == "CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate"

    async def test_expired(self, site: Site, mock_clock: MockClock) -> None:
        expired = site.authority.issue_cert("gateway.example", not_before=days(-2), not_after=days(-1))
        async with serving(routes(), tls=site.files.settings(mutual=True)) as served:
            assert await refused(served, site.client_with(expired), mock_clock) == "CERTIFICATE_VERIFY_FAILED: certificate has expired"

    async def test_for_servers_only(self, site: Site, mock_clock: MockClock) -> None:
        async with serving(routes(), tls=site.files.settings(mutual=True)) as served:
            reason = await refused(served, site.client_with(server_only(site.authority)), mock_clock)
            assert reason.startswith("CERTIFICATE_VERIFY_FAILED: uns")  # "unsupported" or "unsuitable certificate purpose"
            assert reason.endswith("certificate purpose")


class TestResumption:
    async def test_nothing_to_resume_in_tls_1_3(self, site: Site) -> None:
        async with serving(routes(), tls=site.files.settings()) as served:
            client = await served.connect_tls(site.client(version=ssl.TLSVersion.TLSv1_3))
            await client.ask(b"x")
            session = client.tls.session
            assert session is None or not session.has_ticket

    async def test_no_tickets_in_tls_1_2(self, site: Site) -> None:
        async with serving(routes(), tls=site.files.settings()) as served:
            client = await served.connect_tls(site.client(version=ssl.TLSVersion.TLSv1_2))
            assert client.tls.session is not None
            assert not client.tls.session.has_ticket

    async def test_a_resumed_session_does_not_outlive_its_certificate(
        self, site: Site, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        context = site.client_with(site.authority.issue_cert("gateway.example", not_after=days(2)), version=ssl.TLSVersion.TLSv1_2)
        async with serving(routes(), tls=site.files.settings(mutual=True)) as served:
            first = await served.connect_tls(context)
            again = await served.connect_tls(context, session=first.tls.session)
            assert again.tls.session_reused  # Python's ssl has no switch against it
            assert (await again.ask(b"x")).messages == [b"echo x"]
            later = days(3).timestamp()
            monkeypatch.setattr("exchanger.grpc.tls_transport.time.time", lambda: later)
            third = await served.connect_tls(context, session=first.tls.session)
            assert third.eof
            assert served.observed.reasons == []
            third.socket.close()
            await wait_all_tasks_blocked()
            assert served.observed.reasons == ["CERTIFICATE_VERIFY_FAILED: certificate has expired since this session began"]


class TestHandshakesThatDoNotEnd:
    @pytest.mark.parametrize("part", [0, 1, 100])
    async def test_silence(self, site: Site, part: int, mock_clock: MockClock) -> None:
        async with serving(routes(), tls=site.files.settings()) as served:
            with served.open(served.tls_port) as peer:
                outgoing = ssl.MemoryBIO()
                with pytest.raises(ssl.SSLWantReadError):
                    site.client().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
                peer.send(outgoing.read()[:part])
                await wait_all_tasks_blocked()
                mock_clock.jump(9)
                await wait_all_tasks_blocked()
                assert served.server.connections == 1
                mock_clock.jump(2)
                await wait_all_tasks_blocked()
                assert served.server.connections == 0
            assert served.observed.reasons == ["timeout"]

    async def test_silence_after_the_first_flight(self, site: Site, mock_clock: MockClock) -> None:
        async with serving(routes(), tls=site.files.settings()) as served:
            with served.open(served.tls_port) as peer:
                outgoing = ssl.MemoryBIO()
                with pytest.raises(ssl.SSLWantReadError):
                    site.client().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
                peer.send(outgoing.read())
                await wait_all_tasks_blocked()
                assert peer.recv(10)
                mock_clock.jump(11)
                await wait_all_tasks_blocked()
                assert served.server.connections == 0
            assert served.observed.reasons == ["timeout"]

    async def test_silence_after_the_handshake_is_no_failed_handshake(self, site: Site, mock_clock: MockClock) -> None:
        async with serving(routes(), tls=site.files.settings()) as served:
            slow = TlsByByte(served, site.client())
            await slow.handshake()
            mock_clock.jump(11)
            await wait_all_tasks_blocked()
            assert served.server.connections == 0
            assert served.observed.reasons == []

    async def test_a_probe_of_the_port_is_no_failed_handshake(self, site: Site) -> None:
        async with serving(routes(), tls=site.files.settings()) as served:
            served.open(served.tls_port).close()
            await wait_all_tasks_blocked()
            with served.open(served.tls_port) as peer:
                await wait_all_tasks_blocked()
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
            await wait_all_tasks_blocked()
            assert (served.server.connections, served.server.accepted, served.server.handshakes[1]) == (0, 2, 0)

    @pytest.mark.parametrize(("linger", "reason"), [(False, "closed by the peer"), (True, "connection reset by the peer")])
    async def test_a_client_that_leaves(self, site: Site, linger: bool, reason: str) -> None:
        async with serving(routes(), tls=site.files.settings()) as served:
            with served.open(served.tls_port) as peer:
                peer.send(b"\x16\x03")
                await wait_all_tasks_blocked()
                if linger:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await wait_all_tasks_blocked()
            assert served.observed.reasons == [reason]

    async def test_many_at_once_all_come_through(self, site: Site) -> None:
        async with serving(routes(), tls=site.files.settings()) as served:
            clients = [await served.connect_tls(site.client()) for _ in range(3)]
            crowd = [TlsCrowd(served, site.client()) for _ in range(40)]
            for one in crowd:
                one.step()
            for client in clients:
                assert (await client.ask(b"x")).messages == [b"echo x"]
            for one in crowd:
                one.step()
            await wait_all_tasks_blocked()
            assert served.server.handshakes[0] == 43
            for one in crowd:
                one.client.close()


class TlsCrowd(TlsByByte):
    """A handshake that its test drives, flight by flight."""

    def step(self) -> None:
        if self.client.getblocking():
            self.incoming.write(self.client.recv(1 << 16))
            self.tls.do_handshake()
        else:
            self.client.setblocking(True)
            with pytest.raises(ssl.SSLWantReadError):
                self.tls.do_handshake()
        self.client.sendall(self.outgoing.read())


class TestTheEnd:
    async def test_a_drain(self, site: Site) -> None:
        async with serving(routes(), tls=site.files.settings()) as served, trio.open_nursery() as nursery:
            client = await served.connect_tls(site.client())
            await client.ask(b"x")
            nursery.start_soon(served.server.drain, 60.0)
            await client.settle()
            assert client.peer.goaways
            assert (client.eof, client.closed, client.error) == (True, True, None)
            assert not is_open(served.tls_port)
            client.socket.close()
            await served.stopped.wait()

    async def test_a_drain_during_a_handshake(self, site: Site, mock_clock: MockClock) -> None:
        async with serving(routes(), tls=site.files.settings()) as served, trio.open_nursery() as nursery:
            late = TlsCrowd(served, site.client())
            late.step()
            await wait_all_tasks_blocked()
            nursery.start_soon(served.server.drain, 5.0)
            await wait_all_tasks_blocked()
            assert served.server.connections == 1
            mock_clock.jump(5.1)  # the grace period
            await wait_all_tasks_blocked()
            mock_clock.jump(1.1)  # it does not close
            await served.stopped.wait()
            late.client.close()
            assert served.observed.reasons == []  # the handshake did not fail: we left

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

    async def test_a_peer_that_closes_without_goodbye(self, site: Site) -> None:
        async with serving(routes(), tls=site.files.settings()) as served:
            client = await served.connect_tls(site.client())
            client.socket.shutdown(socket.SHUT_WR)
            await wait_all_tasks_blocked()
            assert served.server.connections == 0
            assert served.faults == []

    async def test_a_broken_record_ends_running_calls(self, site: Site) -> None:
        table: dict[bytes, Route] = {LATER: Immediate(lambda _message, _call: Pending(forever))}
        async with serving(table, tls=site.files.settings()) as served:
            client = await served.connect_tls(site.client())
            client.peer.request(head(LATER), framed(b"x"))
            await client.settle()
            assert served.server.usage().tasks == 1
            client.socket.send(b"\x17\x03\x03\x00\x20" + bytes(32))
            await wait_all_tasks_blocked()
            assert served.at_rest()


class TestStarting:
    async def test_without_files(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("exchanger.grpc.rotation._SETTLE_TIME", 0.02)
        site.files.key.unlink()
        server = GrpcServer(ServerSettings("127.0.0.1", None, tls=site.files.settings(poll_interval=0.01)), routes(), lambda _fault: None)
        with pytest.raises(CertificatesError, match=r"tls\.key cannot be read"):
            await server.run()

    async def test_a_busy_port_is_named(self, site: Site) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            settings = ServerSettings("127.0.0.1", 0, tls=attrs.evolve(site.files.settings(), port=port))
            with pytest.raises(OSError, match="in use") as raised:
                await GrpcServer(settings, routes(), lambda _fault: None).run()
            assert raised.value.filename == f"port {port}"


async def test_a_flood_of_failed_handshakes_makes_few_lines(mock_clock: MockClock) -> None:
    observed = Observed()
    log = HandshakeLog(observed)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        await wait_all_tasks_blocked()
        for number in range(1000):
            log.on_failed(f"192.0.2.1:{number}", "timeout")
        assert observed.failed == [(f"192.0.2.1:{number}", "timeout") for number in range(LINES_PER_WINDOW)]
        assert log.failed == 1000
        mock_clock.jump(60)
        await wait_all_tasks_blocked()
        assert observed.failed[LINES_PER_WINDOW:] == [("several peers", "990 more in the last minute, not reported one by one")]
        log.on_failed("192.0.2.2:1", "NO_SHARED_CIPHER")
        assert observed.failed[-1] == ("192.0.2.2:1", "NO_SHARED_CIPHER")
        mock_clock.jump(60)
        await wait_all_tasks_blocked()
        assert len(observed.failed) == LINES_PER_WINDOW + 2
        nursery.cancel_scope.cancel()
