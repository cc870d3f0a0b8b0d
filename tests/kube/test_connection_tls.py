"""Requests over TLS: whom a connection trusts, and what it says of those that it does not."""

import contextlib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme

from exchanger.kube.list_watch import ApiFailure, FailureKind
from tests.kube.scripted_server import Server, answer, connection_to, says


async def get(port: int, ca_file: Path) -> dict[str, object] | ApiFailure:
    connection = connection_to(f"https://127.0.0.1:{port}", ca_certs=str(ca_file), cert_reqs="CERT_REQUIRED")
    found = await connection.get("/")
    connection.credentials.close()
    return found


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.crt"
    authority.cert_pem.write_to_path(path)
    return path


@contextlib.asynccontextmanager
async def listening(handler: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncGenerator[int]:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def over_tls(certificate: trustme.LeafCert) -> Callable[[trio.SocketStream], Awaitable[None]]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    server = Server(says(answer({"kind": "Namespace"})))

    async def handler(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        with contextlib.suppress(trio.BrokenResourceError):
            await server.serve(tls)

    return handler


async def not_tls(stream: trio.SocketStream) -> None:
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def test_a_server_with_the_clusters_certificate(authority: trustme.CA, ca_file: Path) -> None:
    async with listening(over_tls(authority.issue_cert("127.0.0.1"))) as port:
        assert await get(port, ca_file) == {"kind": "Namespace"}


@pytest.mark.parametrize(
    ("serve", "message"),
    [
        (lambda _: over_tls(trustme.CA().issue_cert("127.0.0.1")), "the server's certificate cannot be verified: "),
        (lambda authority: over_tls(authority.issue_cert("elsewhere.example")), "the server's certificate cannot be verified: "),
        (lambda _: not_tls, "TLS failed"),
    ],
    ids=["another authority", "another name", "no TLS"],
)
async def test_a_server_that_is_not_trusted(
    authority: trustme.CA, ca_file: Path, serve: Callable[[trustme.CA], Callable[[trio.SocketStream], Awaitable[None]]], message: str
) -> None:
    async with listening(serve(authority)) as port:
        failure = await get(port, ca_file)
        assert isinstance(failure, ApiFailure)
        assert failure.kind is FailureKind.UNREACHABLE
        assert failure.message.startswith(message)


async def test_the_clusters_certificate_is_not_there(tmp_path: Path, authority: trustme.CA) -> None:
    async with listening(over_tls(authority.issue_cert("127.0.0.1"))) as port:
        failure = await get(port, tmp_path / "missing")
        assert isinstance(failure, ApiFailure)
        assert failure.kind is FailureKind.UNREACHABLE
