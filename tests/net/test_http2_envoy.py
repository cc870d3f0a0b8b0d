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

from exchanger.commands.demo.envoy import HTTP_OPTIONS, HTTP_V3, ROUTER_V3, envoy_command, find_envoy
from exchanger.commands.demo.processes import Child
from exchanger.commands.demo.servers import serve_http
from exchanger.commands.demo.token_endpoint.fake import CLIENT_SECRET, TokenEndpoint
from exchanger.commands.scenarios.tokens import CLIENT_ID, encode
from exchanger.formats.jwt.unverified import claims_of
from exchanger.model.issuer import AuthMethod, Credentials, EndpointProtocol
from exchanger.model.secret import Secret
from exchanger.model.token import ExchangedToken, TokenRequest
from exchanger.model.trace import TraceContext
from tests.e2e.gateway import until_listening
from tests.exchange.oauth.fakes import HTTP, Observer, client_of, exchange, running, token_request
from tests.net.certificates import write_certificate
from tests.net.http2_session import ended, session
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
    ca_pem: str
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
        await until_listening(plain)
        yield Gateway(secure, plain, (folder / "ca.pem").read_text(), process)
        await process.stop()
        nursery.cancel_scope.cancel()


def request(envoy: Gateway, subject: str, *, secure: bool) -> TokenRequest:
    origin = f"https://localhost:{envoy.secure}" if secure else f"http://localhost:{envoy.plain}"
    plain = token_request(encode({"sub": subject, "exp": int(time.time()) + 600}), f"{origin}/token")
    issuer = attrs.evolve(
        plain.issuer,
        auth_method=AuthMethod.CLIENT_SECRET_BASIC,
        credentials=Credentials(CLIENT_ID, Secret(CLIENT_SECRET)),
        protocol=EndpointProtocol.HTTP2,
        ca_pem=envoy.ca_pem if secure else None,
    )
    return attrs.evolve(plain, issuer=issuer, trace=TraceContext("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "", ""))


@pytest.mark.parametrize("secure", [True, False])
async def test_exchanges_through_a_gateway_that_ends_its_connections(*, secure: bool, tmp_path: Path) -> None:
    """Each user gets the own token; what a connection's end leaves unanswered goes once more, on the next one."""
    async with gateway(tmp_path) as envoy, running(client_of(HTTP, Observer())) as client:
        issued: list[tuple[str, object]] = []

        async def one(subject: str) -> None:
            outcome = await exchange(client, request(envoy, subject, secure=secure))
            assert isinstance(outcome, ExchangedToken), outcome
            issued.append((subject, (claims_of(outcome.access_token.reveal()) or {})["sub"]))

        for batch in range(3 * REQUESTS_PER_CONNECTION // STREAMS):
            async with trio.open_nursery() as callers:
                for number in range(STREAMS):
                    callers.start_soon(one, f"user-{batch}-{number}")
        assert len(issued) == 3 * REQUESTS_PER_CONNECTION
        assert all(subject == own for subject, own in issued)


async def test_an_endpoint_that_is_gone_behind_the_gateway(tmp_path: Path) -> None:
    async with gateway(tmp_path) as envoy, session("localhost", envoy.secure, envoy.ca_pem) as used:
        answer = await used.answer("/unknown")
        assert (answer.status, answer.body) == (404, b'{"error": "not_found"}')
        await envoy.process.stop()
        await ended(used)
