import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
import trustme

from exchanger.model.secret import Secret
from exchanger.operations.telemetry.otlp.export import ExportAccepted, ExportRefused, ExportResult
from exchanger.operations.telemetry.otlp.post import MAX_ANSWER_BYTES, Poster, tls_context
from exchanger.operations.telemetry.otlp.settings import Target
from tests.net.certificates import encrypted
from tests.operations.telemetry.otlp.examples import TARGET, MemoryCollector, answer


async def posted(data: bytes | None, target: Target = TARGET, body: bytes = b"body") -> tuple[ExportResult, MemoryCollector]:
    async with trio.open_nursery() as nursery:
        collector = MemoryCollector(nursery, [data])
        found = await Poster(target, collector.dial).post(body)
        await trio.testing.wait_all_tasks_blocked()
        assert collector.open_streams == 0
    return found, collector


async def test_a_post_has_the_body_and_its_headers() -> None:
    found, collector = await posted(answer(200, b"answer"))
    assert found == ExportAccepted(b"answer")
    (got,) = collector.posted
    assert (got.target, got.body) == ("/v1/traces", b"body")
    assert got.headers["host"] == "collector.example.com:4318"
    assert got.headers["content-type"] == "application/x-protobuf"
    assert got.headers["api-key"] == "canary-key"
    assert got.headers["user-agent"].startswith("exchanger/")
    assert "content-encoding" not in got.headers
    assert collector.dialled == [("collector.example.com", 4318)]


@pytest.mark.parametrize("name", ["User-Agent", "user-agent"])
async def test_a_user_agent_that_is_set_is_the_only_one(name: str) -> None:
    _, collector = await posted(answer(), attrs.evolve(TARGET, headers=((name, Secret("gateway/1")),)))
    (got,) = collector.posted
    assert [value for found, value in got.fields if found == "user-agent"] == ["gateway/1"]


async def test_gzip_and_an_address_of_ipv6() -> None:
    _, collector = await posted(answer(), attrs.evolve(TARGET, gzip=True, host="::1"), b"x" * 10_000)
    (got,) = collector.posted
    assert got.body == b"x" * 10_000
    assert int(got.headers["content-length"]) < 200
    assert got.headers["host"] == "[::1]:4318"
    assert collector.dialled == [("::1", 4318)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (answer(202), ExportAccepted(b"")),
        (answer(400, b"canary-key"), ExportRefused("HTTP status 400", retryable=False)),
        (answer(307, b"", ("Location", "http://elsewhere.example.com/")), ExportRefused("HTTP status 307", retryable=False)),
        (answer(503), ExportRefused("HTTP status 503", retryable=True)),
        (answer(429, b"", ("Retry-After", "7")), ExportRefused("HTTP status 429", retryable=True, retry_after=7.0)),
        (answer(429, b"", ("Retry-After", "Wed, 21 Oct 2026 07:28:00 GMT")), ExportRefused("HTTP status 429", retryable=True)),
        (b"SSH-2.0-whatever\r\n\r\n", ExportRefused("the answer is not HTTP", retryable=False)),
        (b"", ExportRefused("the connection ended", retryable=True)),
        (answer(200, b"12345")[:-2], ExportRefused("the connection ended", retryable=True)),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", ExportAccepted(b"until the end")),
    ],
)
async def test_what_an_answer_means(data: bytes, expected: ExportResult) -> None:
    found, collector = await posted(data)
    assert found == expected
    assert len(collector.dialled) == 1


async def test_a_post_to_a_closed_port_reports_the_systems_reason() -> None:
    with socket.socket() as taken:  # bound, so that nobody else comes to listen there
        taken.bind(("127.0.0.1", 0))
        found = await Poster(attrs.evolve(TARGET, host="localhost", port=taken.getsockname()[1])).post(b"")
    assert found == ExportRefused("cannot be reached: Connection refused", retryable=True)


async def test_only_the_beginning_of_an_endless_answer_is_read() -> None:
    found, _ = await posted(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_ANSWER_BYTES + 100_000))
    assert isinstance(found, ExportAccepted)
    assert len(found.body) < MAX_ANSWER_BYTES + 70_000


async def test_a_silent_collector_is_left_when_the_caller_has_waited_enough(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        collector = MemoryCollector(nursery, [None])
        with trio.move_on_after(5) as scope:
            await Poster(TARGET, collector.dial).post(b"")
        await trio.testing.wait_all_tasks_blocked()
        assert scope.cancelled_caught
        assert collector.open_streams == 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "cannot be reached: Connection refused"),
        (OSError("all attempts to connect failed"), "cannot be reached: no address answers"),
        (UnicodeError("label too long"), "the address is not usable"),
    ],
)
async def test_what_cannot_be_reached(error: Exception, reason: str) -> None:
    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise error

    found = await Poster(TARGET, dial).post(b"")
    assert found == ExportRefused(reason, retryable=isinstance(error, OSError))


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (attrs.evolve(TARGET, headers=(("bad name", Secret("x")),)), "the configured headers cannot be sent"),
        (attrs.evolve(TARGET, headers=(("api-key", Secret("canary\r\nx: y")),)), "the configured headers cannot be sent"),
        (attrs.evolve(TARGET, path="/ /"), "the configured headers cannot be sent"),
        (attrs.evolve(TARGET, path="/é"), "the address is not usable"),
    ],
)
async def test_what_http_cannot_express_is_refused_and_not_shown(target: Target, reason: str) -> None:
    found, _ = await posted(answer(), target)
    assert found == ExportRefused(reason, retryable=False)


@attrs.define(eq=False)
class TlsCollector:
    """A real TLS server on loopback that answers each POST with 200."""

    context: ssl.SSLContext
    clients: list[object] = attrs.Factory(list)

    async def run(self, *, task_status: trio.TaskStatus[int]) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._serve, listeners)
            task_status.started(listeners[0].socket.getsockname()[1])

    async def _serve(self, plain: trio.SocketStream) -> None:
        stream = trio.SSLStream(plain, self.context, server_side=True, https_compatible=True)
        try:
            await stream.receive_some(65_536)
            self.clients.append(stream.getpeercert())
            await stream.send_all(answer())
        except trio.BrokenResourceError:
            pass


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def written(path: Path, *blobs: trustme.Blob) -> Path:
    path.write_bytes(b"".join(blob.bytes() for blob in blobs))
    return path


async def over_tls(context: ssl.SSLContext, target: Callable[[int], Target]) -> tuple[ExportResult, TlsCollector]:
    async with trio.open_nursery() as nursery:
        collector = TlsCollector(context)
        port = await nursery.start(collector.run)
        found = await Poster(target(port)).post(b"body")
        nursery.cancel_scope.cancel()
    return found, collector


def server_context(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.mark.parametrize(
    ("trusted", "name", "accepted"), [(True, "127.0.0.1", True), (True, "another.example.com", False), (False, "127.0.0.1", False)]
)
async def test_a_collector_that_does_not_prove_who_it_is_gets_nothing(
    authority: trustme.CA, tmp_path: Path, trusted: bool, name: str, accepted: bool
) -> None:
    ca_file = written(tmp_path / "ca.pem", authority.cert_pem if trusted else trustme.CA().cert_pem)
    target = attrs.evolve(TARGET, secure=True, host="127.0.0.1", ca_file=ca_file)
    found, collector = await over_tls(server_context(authority, name), lambda port: attrs.evolve(target, port=port))
    if accepted:
        assert found == ExportAccepted(b"")
    else:
        assert isinstance(found, ExportRefused)
        assert (found.reason.startswith("the certificate of the collector is refused: "), found.retryable, collector.clients) == (
            True,
            False,
            [],
        )


async def test_the_dot_of_an_absolute_name_is_for_the_resolver_alone(authority: trustme.CA, tmp_path: Path) -> None:
    names: list[str | None] = []
    context = server_context(authority, "collector.example.com")
    context.sni_callback = lambda _connection, name, _context: names.append(name)
    ca_file = written(tmp_path / "ca.pem", authority.cert_pem)
    target = attrs.evolve(TARGET, secure=True, host="collector.example.com.", ca_file=ca_file)
    dialled: list[str] = []
    async with trio.open_nursery() as nursery:
        port = await nursery.start(TlsCollector(context).run)

        async def dial(host: str, _port: int) -> trio.abc.Stream:
            dialled.append(host)
            return await trio.open_tcp_stream("127.0.0.1", port)

        assert await Poster(target, dial).post(b"body") == ExportAccepted(b"")
        nursery.cancel_scope.cancel()
    assert (dialled, names) == (["collector.example.com."], ["collector.example.com"])


async def test_an_encrypted_key_is_said(authority: trustme.CA, tmp_path: Path) -> None:
    leaf, path = authority.issue_cert("exchanger.example.com"), tmp_path / "tls.pem"
    path.write_text(encrypted(Secret(leaf.private_key_pem.bytes().decode())).reveal() + leaf.cert_chain_pems[0].bytes().decode())
    found = await Poster(attrs.evolve(TARGET, secure=True, client_cert_file=path)).post(b"")
    assert found == ExportRefused(f"TLS files: the key in {path} is encrypted; it must not have a password", retryable=True)


async def test_a_missing_ca_file_is_reported_and_each_new_version_is_read(authority: trustme.CA, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    target = attrs.evolve(TARGET, secure=True, host="127.0.0.1", ca_file=path)
    async with trio.open_nursery() as nursery:
        port = await nursery.start(TlsCollector(server_context(authority)).run)
        poster = Poster(attrs.evolve(target, port=port))
        assert await poster.post(b"") == ExportRefused("TLS files: No such file or directory", retryable=True)
        written(path, authority.cert_pem)
        assert await poster.post(b"") == ExportAccepted(b"")
        written(path, trustme.CA().cert_pem)
        assert isinstance(await poster.post(b""), ExportRefused)
        nursery.cancel_scope.cancel()


def test_keys_are_not_written_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    context = tls_context(attrs.evolve(TARGET, secure=True))
    assert not context.keylog_filename
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
