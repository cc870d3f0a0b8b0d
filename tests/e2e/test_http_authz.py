"""The authorization port of a whole service: who may ask, what changes while it runs, and how it ends."""

import concurrent.futures
import functools
import http.client
import signal
import socket
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.collector import token_endpoint, wait_until, write_issuers
from tests.e2e.service import DOCUMENT, SLOW, STOP_S, Service, environment, serving
from tests.e2e.test_serve import run_command
from tests.net.grpc.authority import Site
from tests.ports import free_port
from tests.tiers import mostly_full

SECRET: Final = "a-secret-of-the-gateway"
ASKED: Final = {"X-Forwarded-Method": "GET", "X-Forwarded-Host": "api.example.com", "X-Forwarded-Uri": "/admin"}


def asked(port: int, path: str = "/forward-auth", headers: Mapping[str, str] = ASKED, tls: ssl.SSLContext | None = None) -> int:
    """Return the status for a question."""
    of = http.client.HTTPConnection if tls is None else functools.partial(http.client.HTTPSConnection, context=tls)
    connection = of("127.0.0.1", port, timeout=STOP_S)
    try:
        connection.request("GET", path, headers=dict(headers))
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.full
def test_gateways_are_answered_beside_grpc_and_counted(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, DOCUMENT, HTTP_AUTHZ_PORT=str(port), METRICS_ENABLED="true", LOG_DECISIONS="all") as service:
        assert [asked(port), asked(port, "/envoy/free"), asked(port, "/healthz")] == [403, 200, 200]
        assert service.line_about("/admin")["decision"] == "deny_explicit_policy"
        with socket.create_connection(("127.0.0.1", port), 10):
            wait_until(lambda: service.metric("ext_authz_http_connections") == 1)
        assert service.metric("ext_authz_http_unauthorized_total") == 0
        assert service.stop() == 0


def test_a_busy_authorization_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (tmp_path / "policy").mkdir()
        (tmp_path / "issuers.yaml").write_text("issuers: []")
        port = str(taken.getsockname()[1])
        ended = run_command("serve", variables=environment(tmp_path, GRPC_PORT=str(free_port()), HTTP_AUTHZ_PORT=port))
    assert ended.returncode == 1
    assert "HTTP_AUTHZ_PORT cannot be bound" in ended.stdout


@pytest.mark.full
def test_a_secret_is_followed(tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "secret"
    file.write_text(SECRET)
    with serving(tmp_path, DOCUMENT, HTTP_AUTHZ_PORT=str(port), HTTP_AUTHZ_HOST="*", HTTP_AUTHZ_SECRET_FILE=str(file)) as service:
        free = {"X-Exchanger-Secret": SECRET}
        assert [asked(port, "/envoy/free"), asked(port, "/envoy/free", free)] == [403, 200]
        file.write_text("another-secret-of-it")
        wait_until(lambda: asked(port, "/envoy/free", {"X-Exchanger-Secret": "another-secret-of-it"}) == 200)
        assert asked(port, "/envoy/free", free) == 403
        file.write_text("")
        wait_until(lambda: "http_authz.secret_file_unusable" in service.lines())
        assert asked(port, "/envoy/free", {"X-Exchanger-Secret": "another-secret-of-it"}) == 200
        assert SECRET not in service.lines()


@pytest.mark.parametrize("version", mostly_full([ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], [ssl.TLSVersion.TLSv1_3]), ids=str)
def test_with_mtls_only_clients_with_a_certificate_get_an_answer(tmp_path: Path, version: ssl.TLSVersion) -> None:
    site, port = Site.at(tmp_path), free_port()
    files = {"CERT": site.files.cert, "KEY": site.files.key, "CLIENT_CA": site.files.client_ca}
    variables = {f"HTTP_AUTHZ_TLS_{name}_FILE": str(path) for name, path in files.items()}
    with serving(tmp_path, DOCUMENT, HTTP_AUTHZ_PORT=str(port), HTTP_AUTHZ_HOST="0.0.0.0", METRICS_ENABLED="true", **variables) as service:
        stranger, known = (site.client(protocols=("http/1.1",), version=version) for _ in range(2))
        site.authority.issue_cert("gateway").configure_cert(known)
        assert asked(port, tls=known) == 403
        assert asked(port, "/healthz", tls=known) == 200
        with pytest.raises((ssl.SSLError, OSError)):
            asked(port, "/healthz", tls=stranger)
        with pytest.raises((http.client.HTTPException, OSError)):
            asked(port, "/healthz")
        assert service.metric("ext_authz_tls_certificate_expiry_timestamp_seconds") is not None
        assert service.stop() == 0


@pytest.mark.parametrize("door", mostly_full(["gRPC", "HTTP"], ["HTTP"]))
def test_a_request_in_progress_at_sigterm_gets_its_answer(door: str, tmp_path: Path) -> None:
    port = free_port()
    variables = {"HTTP_AUTHZ_PORT": str(port), "SHUTDOWN_GRACE_PERIOD": "60s", "TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT": "true", **SLOW}
    with token_endpoint("exchanged") as issuer, concurrent.futures.ThreadPoolExecutor() as pool:
        issuer.answering.clear()
        write_issuers(tmp_path, issuer.url)
        with serving(tmp_path, DOCUMENT, **variables) as service:
            told = pool.submit(_exchange, service, port, door)
            wait_until(lambda: len(issuer.requests) == 1, service.lines)
            service.process.send_signal(signal.SIGTERM)
            wait_until(lambda: _is_refused(port), service.lines)  # the drain has begun
            issuer.answering.set()
            assert told.result(STOP_S)
            assert service.process.wait(STOP_S) == 0
            assert "service.drain_cut_short" not in service.lines()


def _exchange(service: Service, port: int, door: str) -> bool:
    if door == "gRPC":
        return service.check("/orders", authorization="Bearer subject").WhichOneof("http_response") == "ok_response"
    return asked(port, headers={**ASKED, "X-Forwarded-Uri": "/orders", "Authorization": "Bearer subject"}) == 200


def _is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 10).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_drain_says_so_and_loses_no_question(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, DOCUMENT, HTTP_AUTHZ_PORT=str(port)) as service, concurrent.futures.ThreadPoolExecutor(1) as pool:
        statuses = pool.submit(_until_it_closes, port, service)
        time.sleep(0.2)
        assert service.stop() == 0
        found = statuses.result(30)
    assert set(found) <= {(200, 403), (503, 403)}
    assert (503, 403) in found


def _until_it_closes(port: int, service: Service) -> list[tuple[int, int]]:
    """Ask for health and for a decision, one connection each, until connections are refused."""
    found: list[tuple[int, int]] = []
    while service.process.poll() is None:
        if _is_refused(port):
            break
        try:
            found.append((asked(port, "/healthz"), asked(port)))
        except (ConnectionRefusedError, ConnectionResetError):  # the latter if it was not accepted when the listener closed
            break
        time.sleep(0.02)
    return found
