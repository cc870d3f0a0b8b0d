"""What HTTP/2 can say and HTTP/1.1 cannot, to the gateways that ask over HTTP: nothing protected passes to the upstream."""

import contextlib
import socket
from collections.abc import Callable, Generator
from typing import Final

import hpack  # type: ignore[import-untyped]  # purerpc's, which has no types
import pytest

from exchanger.commands.demo.gateways.kinds import GatewayKind
from tests.e2e.test_http_gateways import ANSWER_S, EACH, FORGED, HOST, MASKED, PROGRAMS, SPELLINGS, Gateway, running

# How each guide's gateway accepts HTTP/2 without TLS; Traefik and Envoy do so anyway.
ACCEPTING: Final[dict[GatewayKind, Callable[[str], str]]] = {
    GatewayKind.NGINX: lambda config: config.replace("listen 8080", "listen 8080 http2"),
    GatewayKind.CADDY: lambda config: config.replace("admin off\n", "admin off\n\tservers {\n\t\tprotocols h1 h2c\n\t}\n", 1),
}
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, RESET, SETTINGS, PING, GOAWAY = 1, 3, 4, 6, 7
ENDS_STREAM, ENDS_HEADERS, ACK = 1, 4, 1

Field = tuple[bytes, bytes]
METHOD: Final = (b":method", b"GET")
SCHEME: Final = (b":scheme", b"http")
AUTHORITY: Final = (b":authority", HOST)
OTHER: Final = (b":authority", b"other.example.com")
ADMIN: Final = (b":path", b"/admin")
PUBLIC: Final = (b":path", b"/public")
BEARER: Final = (b"authorization", b"Bearer old")
USUAL: Final = (METHOD, SCHEME, AUTHORITY, ADMIN, BEARER)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def ask(gateway: Gateway, *fields: Field) -> int:
    """Return the status of the answer to a request with these fields, 0 if it is reset or the connection ends."""
    block = hpack.Encoder().encode(fields)
    decoder, received = hpack.Decoder(), b""
    with socket.create_connection(("127.0.0.1", gateway.port), ANSWER_S) as connection:
        connection.settimeout(ANSWER_S)
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, ENDS_STREAM | ENDS_HEADERS, 1, block))
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65536):
                received += piece
                while len(received) >= 9 and len(received) >= 9 + int.from_bytes(received[:3], "big"):
                    end = 9 + int.from_bytes(received[:3], "big")
                    kind, flags, payload, received = received[3], received[4], received[9:end], received[end:]
                    if kind == HEADERS:
                        return int(dict(decoder.decode(payload, raw=True))[b":status"])
                    if kind in {RESET, GOAWAY}:
                        return 0
                    if kind in {SETTINGS, PING} and not flags & ACK:
                        connection.sendall(frame(kind, ACK, 0, b"" if kind == SETTINGS else payload))
    return 0


def by_http2(gateway: Gateway) -> bool:
    return ask(gateway, METHOD, SCHEME, AUTHORITY, PUBLIC) == 200


@pytest.fixture(scope="module", params=EACH)
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Gateway]:
    change = ACCEPTING.get(PROGRAMS[request.param].kind, lambda config: config)
    with running(request.param, tmp_path_factory.mktemp(request.param), change, answers=by_http2) as found:
        assert ask(found, METHOD, SCHEME, AUTHORITY, (b":path", b"/orders"), BEARER) == 200
        (arrived,) = found.arrived
        assert (arrived.credentials, arrived.host) == (("Bearer new",), HOST.decode())
        yield found


@pytest.fixture(autouse=True)
def _nothing_arrived(gateway: Gateway) -> None:
    gateway.arrived.clear()


@pytest.mark.parametrize("target", [*SPELLINGS, *MASKED, b"/admin /x", b"/adm\tin", b"admin", b"http://api.example.com/admin"], ids=repr)
def test_no_spelling_of_a_protected_path_passes(gateway: Gateway, target: bytes) -> None:
    assert ask(gateway, METHOD, SCHEME, AUTHORITY, (b":path", target), BEARER) != 200
    assert gateway.arrived == []


HIDDEN: Final[dict[str, tuple[Field, ...]]] = {
    "another Host": (*USUAL, (b"host", b"other.example.com")),
    "another Host first": (METHOD, SCHEME, ADMIN, OTHER, BEARER, (b"host", HOST)),
    "Host alone": (METHOD, SCHEME, ADMIN, BEARER, (b"host", HOST)),
    "two hosts": (METHOD, SCHEME, ADMIN, BEARER, (b"host", b"other.example.com"), (b"host", HOST)),
    "two authorities": (METHOD, SCHEME, AUTHORITY, OTHER, ADMIN, BEARER),
    "two authorities the other way": (METHOD, SCHEME, OTHER, AUTHORITY, ADMIN, BEARER),
    "a user in the authority": (METHOD, SCHEME, (b":authority", b"x@api.example.com"), ADMIN, BEARER),
    "an authority in capitals": (METHOD, SCHEME, (b":authority", b"API.example.com"), ADMIN, BEARER),
    "an authority with a dot": (METHOD, SCHEME, (b":authority", b"api.example.com."), ADMIN, BEARER),
    "an authority with a path": (METHOD, SCHEME, (b":authority", b"api.example.com/public?"), ADMIN, BEARER),
    "two paths": (METHOD, SCHEME, AUTHORITY, PUBLIC, ADMIN, BEARER),
    "two paths the other way": (METHOD, SCHEME, AUTHORITY, ADMIN, PUBLIC, BEARER),
    "two methods": (METHOD, (b":method", b"OPTIONS"), SCHEME, AUTHORITY, ADMIN, BEARER),
    "a path after a header": (METHOD, SCHEME, AUTHORITY, PUBLIC, BEARER, ADMIN),
    "a line end in the path": (METHOD, SCHEME, AUTHORITY, (b":path", b"/public HTTP/1.1\r\nHost: x\r\n\r\nGET /admin"), BEARER),
    "a bare line end in the path": (METHOD, SCHEME, AUTHORITY, (b":path", b"/admin\nX-Original-Uri: /public"), BEARER),
    "a line end in a value": (*USUAL, (b"x", b"a\r\nX-Original-Uri: /public\r\nX-Forwarded-Uri: /public")),
    "a bare line end in a value": (*USUAL, (b"x", b"a\nX-Original-Uri: /public\nX-Forwarded-Uri: /public")),
    "a line end in a name": (*USUAL, (b"x: a\r\nx-original-uri", b"/public")),
    "a line end in the method": (
        (b":method", b"GET /public HTTP/1.1\r\nHost: api.example.com\r\n\r\nGET"), SCHEME, AUTHORITY, ADMIN, BEARER,
    ),
    "a line end in the authority": (METHOD, SCHEME, (b":authority", b"api.example.com\r\nX-Original-Uri: /public"), ADMIN, BEARER),
    "capitals in a name": (*USUAL, (b"X-Original-Uri", b"/public"), (b"X-Forwarded-Uri", b"/public")),
    "a scheme that is a URL": (METHOD, (b":scheme", b"http://api.example.com/public?"), AUTHORITY, ADMIN, BEARER),
    "framing of HTTP/1.1": (*USUAL, (b"transfer-encoding", b"chunked"), (b"content-length", b"5")),
    "a connection": (*USUAL, (b"connection", b"x-original-uri, x-forwarded-uri, x-exchanger-secret, authorization")),
    "a tunnel": ((b":method", b"CONNECT"), AUTHORITY, BEARER),
    "a websocket": ((b":method", b"CONNECT"), (b":protocol", b"websocket"), SCHEME, AUTHORITY, ADMIN, BEARER),
    "no path": (METHOD, SCHEME, AUTHORITY, BEARER),
}  # fmt: skip


@pytest.mark.parametrize("fields", HIDDEN.values(), ids=HIDDEN)
def test_no_pseudo_header_hides_a_protected_request(gateway: Gateway, fields: tuple[Field, ...]) -> None:
    ask(gateway, *fields)
    assert [arrived.line for arrived in gateway.arrived if b"admin" in arrived.line] == []


@pytest.mark.parametrize("line", FORGED, ids=repr)
def test_forged_statements_count_for_nothing(gateway: Gateway, line: bytes) -> None:
    name, _, value = line.lower().partition(b": ")
    for fields in ((*USUAL, (name, value)), (*USUAL, (name, value), (name, value))):
        assert ask(gateway, *fields) != 200
    assert gateway.arrived == []
