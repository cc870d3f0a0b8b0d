"""HTTP/2 to a token endpoint behind a real Envoy, over TLS and by prior knowledge: what most issuers in a cluster look like."""

import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio

from exchanger.decision.token_exchange import (
    ACCESS_TOKEN_TYPE,
    EncodedRequest,
    TokenResponseRules,
    decode_response,
    encode_request,
)
from exchanger.demo.envoy import HTTP_OPTIONS, HTTP_V3, ROUTER_V3, envoy_command, find_envoy
from exchanger.demo.processes import Child
from exchanger.demo.servers import serve_http
from exchanger.demo.token_endpoint import CLIENT_SECRET, GRANT_TYPE, TokenEndpoint
from exchanger.oauth.transport.http2_head import request_head
from exchanger.oauth.transport.http2_response import Answered, Lost
from exchanger.scenarios.tokens import CLIENT_ID, claims_of, encode
from exchanger.values.entry import TokenTarget
from exchanger.values.issuer import AuthMethod, Credentials, Issuer
from exchanger.values.secret import Secret
from exchanger.values.token import ExchangedToken, TokenRequest
from exchanger.values.trace import TraceContext
from tests.oauth.certificates import write_certificate
from tests.oauth.http2_session import LIMIT_S, Session, session
from tests.ports import free_port

pytestmark = pytest.mark.envoy

STREAMS: Final = 10
REQUESTS_PER_CONNECTION: Final = 40


def address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def listener(port: int, *tls: dict[str, Any]) -> dict[str, Any]:
    manager = {
        "@type": HTTP_V3,
        "stat_prefix": "issuer",
        "codec_type": "HTTP2",
        "http2_protocol_options": {"max_concurrent_streams": STREAMS},
        "common_http_protocol_options": {"max_requests_per_connection": REQUESTS_PER_CONNECTION},
        "drain_timeout": "0.1s",
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER_V3}}],
        "route_config": {
            "virtual_hosts": [{"name": "issuer", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "issuer"}}]}]
        },
    }
    chain: dict[str, Any] = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {
        "address": address(port),
        "enable_reuse_port": False,
        "filter_chains": [{**chain, "transport_socket": one} for one in tls] or [chain],
    }


def transport_socket(folder: Path) -> dict[str, Any]:
    certificate = {"certificate_chain": {"filename": f"{folder}/cert.pem"}, "private_key": {"filename": f"{folder}/key.pem"}}
    context = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"alpn_protocols": ["h2"], "tls_certificates": [certificate]},
    }
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


@attrs.frozen
class Gateway:
    """Envoy's two ports, the authority of its certificate, and its process."""

    secure: int
    plain: int
    ca_file: str
    process: Child


@asynccontextmanager
async def gateway(folder: Path) -> AsyncGenerator[Gateway]:
    write_certificate(folder, "localhost")
    secure, plain = free_port(), free_port()
    async with trio.open_nursery() as nursery:
        upstream: int = await nursery.start(serve_http, TokenEndpoint().answer, "127.0.0.1", 0)
        cluster = {
            "name": "issuer",
            "type": "STATIC",
            "connect_timeout": "5s",
            "load_assignment": {"cluster_name": "issuer", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(upstream)}}]}]},
            "typed_extension_protocol_options": {
                HTTP_OPTIONS: {"@type": f"type.googleapis.com/{HTTP_OPTIONS}", "explicit_http_config": {"http_protocol_options": {}}}
            },
        }
        config = {"static_resources": {"listeners": [listener(secure, transport_socket(folder)), listener(plain)], "clusters": [cluster]}}
        (folder / "envoy.json").write_text(json.dumps(config))
        process = Child("Envoy", envoy_command(find_envoy(), folder / "envoy.json"), (), folder / "envoy.log")
        await nursery.start(process.run)
        with trio.fail_after(LIMIT_S):
            while True:
                try:
                    await trio.aclose_forcefully(await trio.open_tcp_stream("127.0.0.1", plain))
                except OSError:
                    await trio.sleep(0.05)
                else:
                    break
        yield Gateway(secure, plain, str(folder / "ca.pem"), process)
        await process.stop()
        nursery.cancel_scope.cancel()


def exchange_of(subject: str) -> EncodedRequest:
    request = TokenRequest(
        issuer=Issuer("demo", "", "", AuthMethod.CLIENT_SECRET_BASIC, Credentials(CLIENT_ID, Secret(CLIENT_SECRET))),
        subject_token=Secret(encode({"sub": subject, "exp": int(time.time()) + 600})),
        target=TokenTarget("demo", "read:orders"),
        grant_type=GRANT_TYPE,
        subject_token_type=ACCESS_TOKEN_TYPE,
        trace=TraceContext("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "", ""),
    )
    encoded = encode_request(request)
    assert isinstance(encoded, EncodedRequest)
    return encoded


async def ask(used: Session, subject: str) -> int:
    encoded = exchange_of(subject)
    head = request_head(secure=used.secure, authority=used.authority, target="/token", headers=encoded.headers)
    assert head is not None
    stream = used.client.request(head, encoded.body, trio.current_time())
    await used.flush()
    return stream


def subject_of(end: object) -> object:
    assert isinstance(end, Answered)
    assert isinstance(end.answer.body, bytes)
    outcome = decode_response(end.answer.status, end.answer.challenges, end.answer.body, TokenResponseRules())
    assert isinstance(outcome, ExchangedToken)
    claims = claims_of(outcome.access_token.reveal())
    assert claims is not None
    return claims["sub"]


async def ask_all(used: Session, wanted: list[str]) -> dict[int, str]:
    """Ask for as many as the connection takes, and wait for what becomes of them."""
    asked: dict[int, str] = {}
    while wanted:
        await used.until(lambda: used.client.draining or used.client.room)
        if used.client.draining:
            break
        subject = wanted.pop(0)
        asked[await ask(used, subject)] = subject
    await used.until(lambda: len(used.ends) == len(asked))
    return asked


@pytest.mark.parametrize("secure", [True, False])
async def test_exchanges_through_a_gateway_that_ends_its_connections(*, secure: bool, tmp_path: Path) -> None:
    """Each user gets the own token; what a connection's end leaves unanswered goes once more, on the next one."""
    async with gateway(tmp_path) as envoy:
        wanted = [f"user-{number}" for number in range(120)]
        got: dict[str, object] = {}
        connections = 0
        while wanted:
            connections += 1
            assert connections < 20
            port, ca_file = (envoy.secure, envoy.ca_file) if secure else (envoy.plain, None)
            async with session("127.0.0.1", port, ca_file) as used:
                asked = await ask_all(used, wanted)
            for stream, subject in asked.items():
                end = used.ends[stream]
                if isinstance(end, Lost):
                    assert end.safe
                    wanted.append(subject)
                else:
                    got[subject] = subject_of(end)
        assert got == {f"user-{number}": f"user-{number}" for number in range(120)}
        assert connections >= 120 / REQUESTS_PER_CONNECTION


async def test_an_endpoint_that_is_gone_behind_the_gateway(tmp_path: Path) -> None:
    async with gateway(tmp_path) as envoy, session("127.0.0.1", envoy.secure, envoy.ca_file) as used:
        answer = (await used.answer("/unknown")).answer
        assert (answer.status, answer.body) == (404, b'{"error": "not_found"}')
        assert used.client.room == STREAMS
        await envoy.process.stop()
        await used.until(lambda: used.client.closed)
