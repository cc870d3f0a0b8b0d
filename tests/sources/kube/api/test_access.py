"""Which servers are trusted, how a new certificate authority takes effect, and how credentials are renewed while threads use them.

Real TLS: a server whose certificate changes, and clients that are configured as in a pod or by a kubeconfig file.
"""

import contextlib
import socket
import sys
from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import pytest
import trio
import trustme

from exchanger.net.network import SYSTEM
from exchanger.sources.kube.api import access as module
from exchanger.sources.kube.api.access import RENEWAL_PAUSE_S, Access, ClusterCredentials
from exchanger.sources.kube.api.client import ClusterConfigSource, connect, load_access
from exchanger.sources.kube.api.transport import ApiRequest
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind
from tests.sources.kube.kubeconfig import inline, origin_of, write_kubeconfig
from tests.sources.kube.scripted_server import (
    Received,
    Server,
    access_to,
    answer,
    connection_to,
    joined,
    listening,
    over_tls,
    repeats,
    says,
    serving,
)

FORMS: Final = ("data", "file", "pod")
FOUND: Final = {"kind": "Namespace"}


@attrs.define(eq=False)
class Cluster:
    """A server with a certificate of ``authority``, and the configuration of its clients in ``folder``, in one of the ``FORMS``.

    ``on_hello`` is called once when a client has begun a handshake, which is when it has settled whom it trusts.
    """

    folder: Path
    form: str
    authority: trustme.CA = attrs.field(factory=trustme.CA)
    user: dict[str, object] = attrs.field(factory=lambda: {"token": "token"})
    settings: dict[str, object] = attrs.field(factory=dict)
    on_hello: Callable[[], None] | None = None
    port: int = 0
    handshakes: int = 0
    server: Server = attrs.field(factory=lambda: Server(says(answer(FOUND, Connection="close"))))

    async def serve(self, stream: trio.SocketStream) -> None:
        if not await stream.socket.recv(1, socket.MSG_PEEK):
            return
        self.handshakes += 1
        if self.on_hello is not None:
            on_hello, self.on_hello = self.on_hello, None
            on_hello()
        await over_tls(self.server, lambda: self.authority.issue_cert("127.0.0.1"))(stream)

    def rotate(self) -> None:
        self.authority = trustme.CA()

    def configure(self) -> None:
        """Write the configuration; the present authority is trusted."""
        pem = self.authority.cert_pem.bytes()
        (self.folder / "token").write_text("token")
        (self.folder / "ca.crt").write_bytes(b"" if self.form == "data" else pem)
        trusted = {"certificate-authority-data": inline(pem)} if self.form == "data" else {"certificate-authority": "ca.crt"}
        settings = {**trusted, **self.settings}
        write_kubeconfig(self.folder / "kubeconfig", f"https://127.0.0.1:{self.port}", self.user, **settings)

    def rotate_everything(self) -> None:
        self.rotate()
        self.configure()

    @property
    def origin(self) -> ClusterConfigSource:
        token_file, ca_file = str(self.folder / "token"), str(self.folder / "ca.crt")
        if self.form == "pod":
            environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.port)}
            return ClusterConfigSource(environment=environment, token_file=token_file, ca_file=ca_file)
        return origin_of(self.folder / "kubeconfig")


@contextlib.asynccontextmanager
async def running(folder: Path, form: str = "data") -> AsyncGenerator[Cluster]:
    """Run a server that its clients trust. It closes each connection after one answer, so that each request needs a handshake."""
    cluster = Cluster(folder, form)
    async with listening(cluster.serve) as cluster.port:
        cluster.configure()
        yield cluster


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the configuration as often as requests fail."""
    monkeypatch.setattr(module, "RENEWAL_PAUSE_S", 0.0)


def assert_not_trusted(found: object) -> None:
    assert isinstance(found, ApiFailure)
    assert found.kind is FailureKind.UNREACHABLE
    assert found.message.startswith("the server's certificate cannot be verified: ")


async def not_tls(stream: trio.SocketStream) -> None:
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize(
    ("name", "ca_file", "message"),
    [
        ("elsewhere.example", "ca.crt", "the server's certificate cannot be verified: "),
        ("", "ca.crt", "TLS failed"),
        ("127.0.0.1", "missing", ""),
    ],
    ids=["another name", "no TLS", "no authority"],
)
async def test_a_server_is_not_trusted(tmp_path: Path, name: str, ca_file: str, message: str) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    async with listening(over_tls(Server(says(answer(FOUND))), lambda: authority.issue_cert(name)) if name else not_tls) as port:
        connection = connection_to(f"https://127.0.0.1:{port}", ca_certs=str(tmp_path / ca_file), cert_reqs="CERT_REQUIRED")
        failure = await connection.get("/")
        connection.credentials.close()
    assert isinstance(failure, ApiFailure)
    assert failure.kind is FailureKind.UNREACHABLE
    assert failure.message.startswith(message)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.usefixtures("impatient")
async def test_the_server_is_distrusted_until_the_configuration_has_the_new_authority(tmp_path: Path, form: str) -> None:
    async with running(tmp_path, form) as cluster, connect(cluster.origin) as connection:
        assert await connection.get("/") == FOUND
        cluster.rotate()
        for _ in range(2):
            assert_not_trusted(await connection.get("/"))
        assert (cluster.handshakes, connection.credentials.renewals) == (3, 0)
        cluster.configure()
        assert await connection.get("/") == FOUND
        assert await connection.get("/") == FOUND
        # A file is read for each connection in any case, what is part of a kubeconfig is not.
        assert connection.credentials.renewals == (1 if form == "data" else 0)


@pytest.mark.parametrize("form", FORMS)
async def test_an_authority_that_is_replaced_during_a_handshake_costs_no_request(tmp_path: Path, form: str) -> None:
    async with running(tmp_path, form) as cluster, connect(cluster.origin) as connection:
        cluster.on_hello = cluster.rotate_everything
        assert await connection.get("/") == FOUND
        assert (cluster.handshakes, len(cluster.server.requests), connection.credentials.renewals) == (2, 1, 1)


@pytest.mark.parametrize("form", FORMS)
async def test_a_watch_trusts_the_new_authority_too(tmp_path: Path, form: str) -> None:
    async def no_more(_: list[bytes]) -> bool:
        await trio.lowlevel.checkpoint()
        return False

    async with running(tmp_path, form) as cluster, connect(cluster.origin) as connection:
        cluster.rotate_everything()
        assert await connection.follow(ApiRequest("GET", "/"), 30.0, list, no_more) is None


async def test_a_new_authority_is_trusted_through_a_proxy(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, listening(partial(_tunnel, cluster.port)) as port:
        cluster.settings = {"proxy-url": f"http://127.0.0.1:{port}"}
        cluster.configure()
        async with connect(cluster.origin) as connection:
            assert await connection.get("/") == FOUND
            cluster.rotate_everything()
            assert await connection.get("/") == FOUND
            assert connection.credentials.renewals == 1


async def _tunnel(port: int, stream: trio.SocketStream) -> None:
    """Be an HTTP proxy (RFC 9110 section 9.3.6) in front of ``port``."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += bytes(await stream.receive_some())
    assert head.startswith(f"CONNECT 127.0.0.1:{port} ".encode())
    await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
    async with await trio.open_tcp_stream("127.0.0.1", port) as behind:
        await joined(stream, behind)


@pytest.mark.usefixtures("impatient")
async def test_a_kubeconfig_that_is_half_written_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, connect(cluster.origin) as connection:
        cluster.rotate_everything()
        whole = (tmp_path / "kubeconfig").read_text()
        (tmp_path / "kubeconfig").write_text(whole[: len(whole) // 2])
        assert_not_trusted(await connection.get("/"))
        (tmp_path / "kubeconfig").write_text(whole)
        assert await connection.get("/") == FOUND


def with_plugin(cluster: Cluster) -> Callable[[], int]:
    """Let a plugin give the token, another one each time; return how to count its runs."""
    runs = cluster.folder / "runs"
    runs.write_text("")
    program = f"""
from pathlib import Path
runs = Path({str(runs)!r})
runs.write_text(runs.read_text() + "x")
print('{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {{"token": "' + runs.read_text() + '"}}}}')
"""
    (cluster.folder / "plugin.py").write_text(program)
    arguments = {"command": sys.executable, "args": [str(cluster.folder / "plugin.py")], "interactiveMode": "Never"}
    cluster.user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", **arguments}}
    cluster.configure()
    return lambda: len(runs.read_text())


@pytest.mark.usefixtures("impatient")
async def test_a_plugins_new_token_does_not_retry_an_untrusted_api_server(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        runs = with_plugin(cluster)
        async with connect(cluster.origin) as connection:
            cluster.rotate()
            for _ in range(3):
                assert_not_trusted(await connection.get("/"))
            assert (runs(), cluster.handshakes, connection.credentials.renewals) == (4, 3, 0)
            cluster.configure()
            assert await connection.get("/") == FOUND
            assert (runs(), cluster.handshakes, connection.credentials.renewals) == (5, 5, 1)


def test_trust_depends_on_everything_but_the_user(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, "data", port=1)
    cluster.configure()
    known = [load_access(cluster.origin).trust]
    cluster.user = {"token": "another"}
    cluster.configure()
    assert load_access(cluster.origin).trust == known[0]
    changes: tuple[Callable[[], object], ...] = (
        cluster.rotate,
        lambda: setattr(cluster, "port", 2),
        lambda: cluster.settings.update({"tls-server-name": "cluster.example"}),
        lambda: cluster.settings.update({"proxy-url": "http://127.0.0.1:3"}),
        lambda: cluster.settings.update({"insecure-skip-tls-verify": True}),
    )
    for change in changes:
        change()
        cluster.configure()
        known.append(load_access(cluster.origin).trust)
    assert len(set(known)) == len(changes) + 1


async def test_a_renewal_that_takes_too_long_is_a_timeout_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_S", 0.05)
    async with serving(repeats(answer({}))) as server:
        connection = server.connection()
        with connection.credentials.lock:  # as a thread that reads the configuration does
            assert await connection.get("/") == ApiFailure(FailureKind.TIMEOUT, message="no answer in time")
        assert server.requests == []
        assert await connection.get("/") == {}


def test_the_wait_to_renew_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_S", 0.05)
    first = access_to("http://127.0.0.1:1")
    credentials = ClusterCredentials(lambda: first, first)
    with credentials.lock:
        assert not credentials.renew(first, None)
        assert not credentials.renew_trust(first)


def test_a_new_client_certificate_counts_as_new() -> None:
    first, second = (Access("https://127.0.0.1:1", access_to("").pools, lambda: None, identity) for identity in (b"first", b"second"))
    credentials = ClusterCredentials(lambda: second, first)
    assert credentials.renew(first, None)
    assert credentials.present() == (second, None)
    assert credentials.renewals == 1
    assert credentials.renew(first, None)  # which somebody else has done by now
    assert credentials.renewals == 1


def test_the_configuration_is_read_at_most_once_a_second_for_any_reason() -> None:
    now, loads = [1000.0], list[float]()

    def load() -> Access:
        loads.append(now[0])
        return access_to("https://127.0.0.1:1")

    first = load()
    loads.clear()
    credentials = ClusterCredentials(load, first, lambda: now[0])
    for _ in range(3):
        assert not credentials.renew_trust(first)
        assert not credentials.renew(*credentials.present())
        now[0] += RENEWAL_PAUSE_S / 2
    assert loads == [1000.0, 1000.0 + RENEWAL_PAUSE_S]


def test_a_new_ca_is_not_taken_from_a_configuration_without_credentials() -> None:
    first = access_to("https://127.0.0.1:1")
    anonymous = Access(first.url, access_to("").pools, lambda: None, trust=b"second")
    credentials = ClusterCredentials(lambda: anonymous, first)
    assert not credentials.renew_trust(first)
    assert credentials.present()[0] is first


async def test_changed_files_of_the_configuration_are_told(tmp_path: Path) -> None:
    token, authority, told = tmp_path / "token", tmp_path / "ca.crt", list[None]()
    token.write_text("1")
    authority.write_text("1")
    access = Access("https://127.0.0.1:1", access_to("").pools, lambda: None, files=(token, authority, tmp_path / "missing"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ClusterCredentials(lambda: access, access).follow_files, lambda: told.append(None), SYSTEM.run_sync, 0.01)
        for file in (token, authority):
            before = len(told)
            with trio.fail_after(30):
                while len(told) == before:  # the first look may not be over
                    with file.open("a") as written:
                        written.write("1")
                    await trio.sleep(0.1)
        nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("impatient")
async def test_an_empty_token_file_during_a_401_sends_no_anonymous_request(tmp_path: Path) -> None:
    token = trio.Path(tmp_path / "token")

    async def script(request: Received, stream: trio.abc.Stream) -> None:
        known = request.headers.get("authorization")
        status = {"Bearer second": "200 OK", None: "403 Forbidden"}.get(known, "401 Unauthorized")
        await stream.send_all(answer({"kind": "Status", "message": "as asked"}, status))

    async with serving(script) as server:
        await token.write_text("first")
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", server.url, {"tokenFile": str(token)})
        async with connect(origin_of(kubeconfig)) as connection:
            await token.write_text("")
            for _ in range(3):
                found = await connection.get("/")
                assert isinstance(found, ApiFailure)
                assert found.kind is FailureKind.UNAUTHORIZED
            await token.write_text("second")
            assert isinstance(await connection.get("/"), dict)
        assert all(request.headers.get("authorization") for request in server.requests)
