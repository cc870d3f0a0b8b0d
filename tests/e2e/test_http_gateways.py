"""Real gateways that ask over HTTP, with the configurations of the guides: what reaches the upstream, and with which token."""

import contextlib
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Final

import attrs
import pytest

from exchanger.commands.demo.gateways.kinds import HTTP_GATEWAYS, GatewayKind, GatewayPlaces, find_program
from exchanger.model.secret import Secret
from tests.e2e.service import serving
from tests.net.grpc.authority import Site
from tests.ports import free_port
from tests.tiers import mostly_full
from tests.tools import find_tool

HOST: Final = b"api.example.com"
SECRET: Final = "a-secret-of-the-gateway"
READY_S: Final = 30.0
ANSWER_S: Final = 15.0
DOCUMENT: Final = """
version: v1
entries:
  - match: {host: api.example.com, pathPrefix: /orders}
    action: exchange
    exchange: {issuerRef: primary, scope: read:orders}
  - match: {host: api.example.com, pathPrefix: /admin}
    action: deny
  - match: {host: api.example.com, pathPrefix: /moved}
    action: exchange
    exchange: {issuerRef: moved, scope: read:orders}
  - match: {host: api.example.com, pathPrefix: /broken}
    action: exchange
    exchange: {issuerRef: down, scope: read:orders}
"""
BEARER: Final = b"Authorization: Bearer old"

# What some server takes for ``/admin``, or for what is below it.
SPELLINGS: Final = (
    b"/admin /admin/ /admin/users /admin?x /admin?x=/../public //admin ///admin /./admin /.//admin /x/../admin /x/y/../../admin "
    b"/public/../admin /%61dmin /%61%64%6d%69%6e /adm%69n /%2fadmin /%2Fadmin /x%2f..%2fadmin /x/%2e%2e/admin /x/%2E%2e/admin "
    b"/x/.%2e/admin /%2e/admin /admin%2f /admin%2Fusers /admin;x /admin;x=y/users /;/admin /;x/admin /x/..;/admin /x/..;y=z/admin "
    b"/public/..;/admin /admin%3bx /admin%3Fx /%2561dmin /x/%252e%252e/admin /%252fadmin /admin%00 /admin%00.txt /admin%20 "
    b"/admin%0a /admin%09 /admin. /admin/. /admin/..;/admin \\admin /\\admin /x\\..\\admin /%5cadmin /x/..%5cadmin /admin%5c "
    b"/admin\\ /%c0%afadmin /%c1%a1dmin /adm%ffin /%e0%80%afadmin /admin#x /public#/../admin"
).split()
MASKED: Final = (b"/adm\xffin", b"/admin\xff", b"/\xff\xfea\x80dm\xffin", b"/adm\xc3in", b"/\xc0\xaf\x61dmin", b"/adm!\xffin")


@attrs.frozen
class Arrived:
    """A request as the upstream got it."""

    line: bytes
    host: str | None
    credentials: tuple[str, ...]
    user_tokens: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    body: bytes = b""


class Quiet(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        pass

    def send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextlib.contextmanager
def listening(handler: type[Quiet]) -> Generator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def upstream(arrived: list[Arrived]) -> Generator[int]:
    class Upstream(Quiet):
        def do_GET(self) -> None:
            arrived.append(
                Arrived(
                    bytes(self.raw_requestline),  # type: ignore[attr-defined]  # missing in typeshed
                    self.headers["Host"],
                    tuple(self.headers.get_all("Authorization", [])),
                    tuple(value for name, value in self.headers.items() if name.lower().replace("_", "-") == "x-user-token"),
                    tuple(self.headers.get_all("X-Exchanger-Secret", [])),
                    self.body(),
                )
            )
            self.send(200, b"reached")

        def body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            received = b""
            while size := int(self.rfile.readline(), 16):
                received += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return received

        do_HEAD = do_POST = do_PUT = do_OPTIONS = do_CONNECT = do_GET  # noqa: N815

    with listening(Upstream) as port:
        yield port


@contextlib.contextmanager
def token_endpoint() -> Generator[int]:
    class Endpoint(Quiet):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            kind = "urn:ietf:params:oauth:token-type:access_token"
            self.send(
                200, json.dumps({"access_token": "new", "token_type": "Bearer", "issued_token_type": kind, "expires_in": 60}).encode()
            )

    with listening(Endpoint) as port:
        yield port


@attrs.frozen
class Answer:
    status: int
    head: str
    body: bytes


@attrs.define(eq=False)
class Gateway:
    """A gateway before an upstream, whose requests are in ``arrived``."""

    kind: GatewayKind
    port: int
    arrived: list[Arrived]

    def send(self, data: bytes) -> bytes:
        """Return all that comes back for ``data`` until the gateway closes."""
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), ANSWER_S) as connection:
            connection.settimeout(ANSWER_S)
            connection.sendall(data)
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(65536):
                    received += piece
        return received

    def ask(self, target: bytes, *lines: bytes, method: bytes = b"GET", host: bytes = HOST) -> Answer:
        head = b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), b"Host: " + host, b"Connection: close", *lines, b"", b""])
        received = self.send(head)
        first, _, body = received.partition(b"\r\n\r\n")
        return Answer(int(first.split()[1]) if first else 0, first.decode("latin-1"), body)


@attrs.frozen
class Program:
    """A gateway's program: ``tool`` provides it, or for "" the demo's extra. ``marks`` are those of the tests that need it."""

    kind: GatewayKind
    tool: str
    marks: tuple[pytest.MarkDecorator, ...]

    @property
    def path(self) -> str:
        return str(find_tool(self.tool)) if self.tool else find_program(self.kind)


# Caddy's copy of the answer's header changed with 2.11 (GHSA-7r4p-vjf4-gxv4), and distributions have older ones.
PROGRAMS = {
    "nginx": Program(GatewayKind.NGINX, "nginx", (pytest.mark.nginx,)),
    "caddy": Program(GatewayKind.CADDY, "caddy", (pytest.mark.caddy, pytest.mark.full)),
    "caddy-current": Program(GatewayKind.CADDY, "caddy-current", (pytest.mark.caddy,)),
    "envoy": Program(GatewayKind.ENVOY_HTTP, "", (pytest.mark.envoy,)),
}
# Traefik has no package and takes minutes to build, so it is run where it is installed.
if shutil.which("traefik"):
    PROGRAMS["traefik"] = Program(GatewayKind.TRAEFIK, "", (pytest.mark.traefik, pytest.mark.full))
EACH: Final = [pytest.param(name, marks=program.marks) for name, program in PROGRAMS.items()]


def by_http1(gateway: Gateway) -> bool:
    return gateway.ask(b"/public").status == 200


@contextlib.contextmanager
def running(
    name: str,
    folder: Path,
    change: Callable[[str], str] = lambda config: config,
    *,
    answers: Callable[[Gateway], bool] = by_http1,
    files: Mapping[str, Path] | None = None,
) -> Generator[Gateway]:
    """Run the service, the gateway with the guide's configuration, ``change``d, and what is around them.

    ``answers``: whether the gateway does so yet. ``files`` are the variables of what gateways show, by default those of the secret.
    """
    program = PROGRAMS[name]
    configured, path = HTTP_GATEWAYS[program.kind], program.path
    listen, authz, arrived = free_port(), free_port(), list[Arrived]()
    folder.mkdir(exist_ok=True)
    (folder / "gateway").mkdir()
    (folder / "secret").write_text(SECRET)
    with contextlib.ExitStack() as stack:
        issuer, served = stack.enter_context(token_endpoint()), stack.enter_context(upstream(arrived))
        profiles = {"primary": issuer, "moved": issuer, "down": free_port()}
        elsewhere = {"moved": {"subjectToken": {"from": [{"header": "X-User-Token"}]}}}
        (folder / "issuers.yaml").write_text(
            json.dumps(
                {
                    "issuers": [
                        {"name": name, "tokenEndpoint": f"http://127.0.0.1:{port}/token", "clientID": "c", "clientSecret": "s"}
                        | elsewhere.get(name, {})
                        for name, port in profiles.items()
                    ]
                }
            )
        )
        shown = {"HTTP_AUTHZ_SECRET_FILE": folder / "secret"} if files is None else files
        variables = {"HTTP_AUTHZ_PORT": str(authz), **{name: str(file) for name, file in shown.items()}}
        patience = {"TOKEN_ENDPOINT_REQUEST_TIMEOUT": "900ms", "TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT": "true"}
        stack.enter_context(serving(folder, DOCUMENT, **variables, **patience))
        places = GatewayPlaces(listen, authz, served, Secret(SECRET))
        started = configured.process(path, folder / "gateway", places, change(configured.configuration()))
        with (folder / "gateway" / "log").open("wb") as log:
            process = subprocess.Popen(started.command, stdout=log, stderr=log, env={"PATH": os.environ["PATH"], **dict(started.variables)})
        stack.callback(_stop, process)
        gateway = Gateway(program.kind, listen, arrived)
        deadline = time.monotonic() + READY_S
        while not _ready(gateway, answers):
            assert process.poll() is None, (folder / "gateway" / "log").read_text()
            assert time.monotonic() < deadline, (folder / "gateway" / "log").read_text()
            time.sleep(0.05)
        arrived.clear()
        yield gateway


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _ready(gateway: Gateway, answers: Callable[[Gateway], bool]) -> bool:
    try:
        return answers(gateway)
    except OSError:
        return False


@pytest.fixture(scope="module", params=EACH)
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Gateway]:
    with running(request.param, tmp_path_factory.mktemp(request.param)) as found:
        yield found


@pytest.fixture(autouse=True)
def _nothing_arrived(request: pytest.FixtureRequest) -> None:
    if "gateway" in request.fixturenames:
        request.getfixturevalue("gateway").arrived.clear()


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT", b"OPTIONS"])
def test_the_upstream_gets_the_exchanged_token(gateway: Gateway, method: bytes) -> None:
    assert gateway.ask(b"/orders/1?x=%2f", BEARER, method=method).status == 200
    (arrived,) = gateway.arrived
    assert (arrived.line, arrived.credentials) == (method + b" /orders/1?x=%2f HTTP/1.1\r\n", ("Bearer new",))
    assert (arrived.host, arrived.secrets) == ("api.example.com", ())


@pytest.mark.parametrize("size", [1, 65_537, 200_000])
@pytest.mark.parametrize("framing", ["length", "chunked", "expected"])
def test_a_body_of_any_size_reaches_the_upstream(gateway: Gateway, framing: str, size: int) -> None:
    body = b"x" * size
    fields = {
        "length": b"Content-Length: %d" % size,
        "chunked": b"Transfer-Encoding: chunked",
        "expected": b"Expect: 100-continue\r\nContent-Length: %d" % size,
    }
    sent = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body) if framing == "chunked" else body
    head = b"POST /orders HTTP/1.1\r\nHost: %b\r\n%b\r\n%b\r\nConnection: close\r\n\r\n" % (HOST, BEARER, fields[framing])
    assert re.match(rb"(HTTP/1\.1 100 .*?\r\n\r\n)?HTTP/1\.1 200 ", gateway.send(head + sent), re.DOTALL)
    (arrived,) = gateway.arrived
    assert (arrived.credentials, arrived.body) == (("Bearer new",), body)


@pytest.mark.parametrize("own", ["Bearer old", "Basic YTpi", "{env.EXCHANGER_SECRET}", "$request_uri", "%REQ(:path)%", None])
def test_without_an_exchange_the_upstream_gets_what_the_client_sent(gateway: Gateway, own: str | None) -> None:
    assert gateway.ask(b"/public", *([f"Authorization: {own}".encode()] if own else [])).status == 200
    (arrived,) = gateway.arrived
    is_dropped = own is None or (gateway.kind is GatewayKind.CADDY and own.startswith("{"))
    assert arrived.credentials == (() if is_dropped else (own,))


# What each guide says about headers that held the caller's token.
REMOVING: Final[dict[GatewayKind, Callable[[str], str]]] = {
    GatewayKind.NGINX: lambda config: config.replace(
        "      proxy_set_header Host $host;\n", '      proxy_set_header Host $host;\n      proxy_set_header X-User-Token "";\n', 1
    ),
    GatewayKind.CADDY: lambda config: config.replace("\trequest_header @none", "\trequest_header -X-User-Token\n\trequest_header @none", 1),
    GatewayKind.TRAEFIK: lambda config: config.replace("[Authorization, ", "[Authorization, X-User-Token, ", 1),
    GatewayKind.ENVOY_HTTP: lambda config: config.replace(
        "- {exact: origin}", "- {exact: origin}\n- {exact: x-user-token}\n- {exact: x_user_token}".replace("\n", "\n" + 26 * " "), 1
    ),
}


@pytest.mark.parametrize("name", EACH)
def test_a_header_that_held_the_callers_token_does_not_reach_the_upstream(name: str, tmp_path: Path) -> None:
    with running(name, tmp_path, REMOVING[PROGRAMS[name].kind]) as found:
        assert found.ask(b"/moved", b"X-User-Token: old").status == 200
        (arrived,) = found.arrived
        assert (arrived.credentials, arrived.user_tokens) == (("Bearer new",), ())
        found.arrived.clear()
        twice = found.ask(b"/moved", b"X-User-Token: old", b"X_User_Token: other")
        assert (twice.status, found.arrived) in ((400, []), (403, [])) or found.arrived[0].user_tokens == ()


def test_a_websocket_is_asked_about_like_any_request(gateway: Gateway) -> None:
    upgrade = (b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    head = b"\r\n".join([b"GET %b HTTP/1.1", b"Host: " + HOST, b"Connection: Upgrade", *upgrade, BEARER, b"", b""])
    assert gateway.send(head % b"/admin" + b"x\r\n\r\n").split()[1] in {b"403", b"400"}
    assert gateway.arrived == []


def test_denials_reach_the_client(gateway: Gateway) -> None:
    asked = ((b"/admin", (BEARER,)), (b"/orders", ()), (b"/broken", (BEARER,)), (b"/orders", (b"Authorization: Bearer a b",)))
    statuses = [gateway.ask(target, *lines).status for target, lines in asked]
    assert statuses == [403, 401, HTTP_GATEWAYS[gateway.kind].dialect.status(500), 401]
    challenged = gateway.ask(b"/orders")
    assert 'www-authenticate: bearer realm="' in challenged.head.lower()
    assert (gateway.ask(b"/admin").body == b'{"error":"policy_denied"}') == (gateway.kind is not GatewayKind.NGINX)
    assert gateway.arrived == []


@pytest.mark.parametrize("target", [*SPELLINGS, *MASKED], ids=repr)
def test_no_spelling_of_a_protected_path_passes(gateway: Gateway, target: bytes) -> None:
    assert gateway.ask(target, BEARER).status != 200
    assert gateway.arrived == []


FORGED: Final = (
    b"X-Original-Uri: /public",
    b"X-Original-Method: OPTIONS",
    b"X-Original-Host: other.example.com",
    b"X-Forwarded-Uri: /public",
    b"X-Forwarded-Method: OPTIONS",
    b"X-Forwarded-Host: other.example.com",
    b"X-Forwarded-For: 127.0.0.1",
    b"X_Original_Uri: /public",
    b"X_Forwarded_Uri: /public",
    b"X-Rewrite-Url: /public",
    b"X-Original-Url: /public",
    b"X-Exchanger-Secret: forged",
    b"Connection: X-Original-Uri, X-Forwarded-Uri, X-Exchanger-Secret, Authorization",
    b"Forwarded: host=other.example.com",
)


@pytest.mark.parametrize("line", FORGED, ids=repr)
def test_forged_statements_count_for_nothing(gateway: Gateway, line: bytes) -> None:
    for lines in ((line,), (line, line)):  # Caddy passes names with an underscore on, which the service refuses (500)
        assert gateway.ask(b"/admin", BEARER, *lines).status in {400, 403} | (
            {500} if gateway.kind is GatewayKind.CADDY and b"_" in line else set()
        )
    assert gateway.arrived == []
    if gateway.ask(b"/orders", BEARER, line).status == 200:
        (arrived,) = gateway.arrived
        assert arrived.credentials == ("Bearer new",)


# What is hidden behind another request; %b are its other lines.
ADMIN: Final = b"GET /admin HTTP/1.1\r\nHost: api.example.com\r\n%b\r\n"
POST: Final = b"POST /public HTTP/1.1\r\nHost: api.example.com\r\n"
GET: Final = b"GET /public HTTP/1.1\r\nHost: api.example.com\r\n"
MESSAGES: Final = (
    b"GET http://api.example.com/admin HTTP/1.1\r\nHost: api.example.com\r\n%b\r\n",
    b"GET http://other.example.com/admin HTTP/1.1\r\nHost: api.example.com\r\n%b\r\n",
    b"GET http://api.example.com/admin HTTP/1.1\r\nHost: other.example.com\r\n%b\r\n",
    b"GET /admin HTTP/1.1\r\nHost: api.example.com\r\nHost: other.example.com\r\n%b\r\n",
    b"GET /admin HTTP/1.1\r\nHost: API.example.com\r\n%b\r\n",
    b"GET /admin HTTP/1.1\r\nHost: api.example.com.\r\n%b\r\n",
    b"GET /admin HTTP/1.1\r\nHost: api.example.com:8080\r\n%b\r\n",
    b"GET /admin HTTP/1.1\r\nHost: x@api.example.com\r\n%b\r\n",
    b"GET /admin HTTP/1.0\r\nHost: api.example.com\r\n%b\r\n",
    b"GET /admin HTTP/1.0\r\n%b\r\n",
    b"GET /public\tHTTP/1.1\r\nHost: api.example.com\r\n\r\n" + ADMIN,
    POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + ADMIN,
    POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + ADMIN,
    POST + b"Content-Length: 3\r\n\r\nabc" + ADMIN,
    GET + b"\r\n" + ADMIN,
    GET + b"X: a\r\n X-Original-Uri: /public\r\n\r\n" + ADMIN,
    GET + b"X: a\nX-Original-Uri: /public\r\n\r\n" + ADMIN,
)


@pytest.mark.parametrize("message", MESSAGES, ids=repr)
def test_no_message_smuggles_a_protected_request(gateway: Gateway, message: bytes) -> None:
    gateway.send(message % b"Authorization: Bearer old\r\nConnection: close\r\n")
    assert [arrived.line for arrived in gateway.arrived if b"admin" in arrived.line] == []


TUNNELS: Final = (
    b"api.example.com:443",
    b"api.example.com",
    b"other.example.com:443",
    b"127.0.0.1:443",
    b"/orders",
    b"/admin",
    b"/public",
    b"*",
)


@pytest.mark.parametrize("target", mostly_full(TUNNELS, TUNNELS[:2]), ids=repr)
def test_a_tunnel_is_refused(gateway: Gateway, target: bytes) -> None:
    for host in (HOST, target):
        with contextlib.suppress(OSError):  # closed without a response
            gateway.ask(target, BEARER, method=b"CONNECT", host=host)
    assert gateway.arrived == []


def test_a_head_of_64_kib_passes_nothing(gateway: Gateway) -> None:
    with contextlib.suppress(OSError):  # reset while it is sent
        assert gateway.ask(b"/admin", BEARER, b"X-Large: " + b"x" * 65536).status != 200
    assert gateway.ask(b"/admin", BEARER, *(b"X-%d: %b" % (number, b"x" * 4000) for number in range(6))).status in {400, 403, 431}
    assert gateway.arrived == []


# What NGINX does beyond the guide's configuration.

OPEN: Final = """
    location /open {
      proxy_pass http://orders$request_uri;
      proxy_set_header Host $host;
      proxy_set_header Authorization $exchanged;
    }
"""
REWRITE: Final = "    rewrite ^/hidden(.*)$ /admin$1 last;\n"
REPEATED: Final = "    location /static { try_files $uri /admin; }\n"


@pytest.mark.nginx
def test_more_locations_rewrites_and_try_files_of_nginx_open_nothing(tmp_path: Path) -> None:
    before = "    location / {\n"
    with running("nginx", tmp_path, lambda config: config.replace(before, OPEN + REWRITE + REPEATED + before, 1)) as found:
        for target in (
            b"/open/..;/admin",
            b"/open/../admin",
            b"/open%2f..%2fadmin",
            b"/open/%2e%2e/admin",
            b"//open/../admin",
            b"/open\\..\\admin",
        ):
            assert found.ask(target, BEARER).status in {400, 403}, target
        assert found.arrived == []
        for target in (b"/open/x", b"/hidden/users", b"/static/x"):
            assert found.ask(target, BEARER).status == 200
        assert [arrived.line.split()[1] for arrived in found.arrived] == [b"/open/x", b"/hidden/users", b"/static/x"]
        assert found.ask(b"/exchanger-auth", BEARER).status in {403, 404}


@pytest.mark.nginx
def test_nginx_decides_in_http_1_0_as_well(tmp_path: Path) -> None:
    """Before 1.29.7 NGINX asks in HTTP/1.0 unless it is told otherwise."""
    with running("nginx", tmp_path, lambda config: config.replace("proxy_http_version 1.1;", "proxy_http_version 1.0;")) as found:
        assert found.ask(b"/orders", BEARER).status == 200
        (arrived,) = found.arrived
        assert arrived.credentials == ("Bearer new",)
        assert found.ask(b"/admin", BEARER).status == 403
        assert found.ask(b"/orders").status == 401
        assert len(found.arrived) == 1


@pytest.mark.parametrize("name", EACH)
def test_without_an_answer_of_the_service_nothing_passes(name: str, tmp_path: Path) -> None:
    with running(name, tmp_path) as found:
        (tmp_path / "secret").write_text("another-secret-of-it")
        deadline = time.monotonic() + READY_S
        while (status := found.ask(b"/public").status) == 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert status == 403
        found.arrived.clear()
        assert found.ask(b"/orders", BEARER).status == 403
        assert found.arrived == []


# What each guide says about TLS and a client certificate.
SHOWING: Final[dict[GatewayKind, Callable[[str, Path], str]]] = {
    GatewayKind.NGINX: lambda config, folder: config.replace(
        "proxy_pass http://exchanger/auth-request;",
        f"""proxy_pass https://exchanger/auth-request;
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate {folder}/ca.pem;
      proxy_ssl_name localhost;
      proxy_ssl_server_name on;
      proxy_ssl_certificate {folder}/cert.pem;
      proxy_ssl_certificate_key {folder}/key.pem;""",
    ),
    GatewayKind.CADDY: lambda config, folder: config.replace(
        "transport http {\n",
        f"""transport http {{
			tls
			tls_server_name localhost
			tls_trusted_ca_certs {folder}/ca.pem
			tls_client_auth {folder}/cert.pem {folder}/key.pem
""",
    ),
    GatewayKind.TRAEFIK: lambda config, folder: config.replace(
        "address: http://127.0.0.1:3004/forward-auth\n",
        f"""address: https://127.0.0.1:3004/forward-auth
        tls: {{ca: {folder}/ca.pem, cert: {folder}/cert.pem, key: {folder}/key.pem}}
""",
    ),
    GatewayKind.ENVOY_HTTP: lambda config, folder: config.replace(
        "    - name: exchanger\n",
        f"""    - name: exchanger
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
          sni: localhost
          auto_sni_san_validation: true
          common_tls_context:
            validation_context: {{trusted_ca: {{filename: {folder}/ca.pem}}}}
            tls_certificates:
              - {{certificate_chain: {{filename: {folder}/cert.pem}}, private_key: {{filename: {folder}/key.pem}}}}
""",
    ),
}


@pytest.mark.parametrize("name", EACH)
def test_a_client_certificate_stands_in_for_the_secret(name: str, tmp_path: Path) -> None:
    site = Site.at(tmp_path)
    issued = site.authority.issue_cert("gateway")
    site.authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    files = {"CERT": site.files.cert, "KEY": site.files.key, "CLIENT_CA": site.files.client_ca}
    variables = {f"HTTP_AUTHZ_TLS_{part}_FILE": path for part, path in files.items()}
    shows = SHOWING[PROGRAMS[name].kind]
    with running(name, tmp_path / "run", lambda config: shows(config, tmp_path), files=variables) as found:
        assert found.ask(b"/orders", BEARER).status == 200
        (arrived,) = found.arrived
        assert arrived.credentials == ("Bearer new",)
        assert found.ask(b"/admin", BEARER).status == 403
