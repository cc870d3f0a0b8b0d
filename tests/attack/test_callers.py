"""What callers send and do, against issuers that others need: requests that the endpoint drops for their size, and callers who hang up.

Both were cheap and denied nearly everybody: made-up tokens with long trace headers opened the breaker, and resets of streams made Envoy,
in front of the endpoint, end the connection that all share.
"""

import contextlib
import json
import threading
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import attrs
import pytest
import trio

from exchanger.demo.envoy import HTTP_OPTIONS, HTTP_V3, ROUTER_V3, envoy_command, find_envoy
from exchanger.demo.processes import Child
from exchanger.values.issuer import EndpointProtocol
from exchanger.values.token import ExchangedToken, TokenRequest
from tests.e2e.gateway import until_listening
from tests.e2e.service import DOCUMENT, serving
from tests.oauth.fakes import HTTP, Observer, Peer, client_of, exchange, response, running, serve, success, token_request
from tests.ports import free_port

MADE_UP: Final = 120
HONEST: Final = 30
# Bytes: what most servers take, and less than any does.
HEADS: Final = (8192, 2048)


@contextlib.contextmanager
def dropping(most: int) -> Generator[int]:
    """Serve a token endpoint that closes the connection of a request with a longer head, and return its port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            if len(self.requestline) + sum(len(name) + len(value) + 4 for name, value in self.headers.items()) > most:
                self.close_connection = True
                return
            self.rfile.read(int(self.headers["Content-Length"]))
            self.wfile.write(response(success()))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("most", HEADS)
def test_made_up_tokens_with_long_trace_headers_do_not_open_the_breaker(most: int, tmp_path: Path) -> None:
    trace = {
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "tracestate": ",".join(f"vendor{number}={'x' * 100}" for number in range(4)),
        "baggage": ",".join(f"key{number}={'x' * 1000}" for number in range(8)),
    }
    with dropping(most) as port:
        issuer = {
            "name": "primary",
            "tokenEndpoint": f"http://127.0.0.1:{port}/token",
            "clientID": "client",
            "clientSecret": "secret",
            "limits": {"breaker": True},
        }
        (tmp_path / "issuers.yaml").write_text(json.dumps({"issuers": [issuer]}))
        long = {"TOKEN_ENDPOINT_REQUEST_TIMEOUT": "20s", "TOKEN_ENDPOINT_RESPONSE_HEADER_TIMEOUT": "20s"}
        with (
            serving(tmp_path, DOCUMENT, TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT="true", LOG_DECISIONS="off", **long) as service,
            ThreadPoolExecutor(8) as callers,
        ):

            def allowed(token: str, headers: dict[str, str]) -> bool:
                return service.check("/orders", authorization=f"Bearer {token}", **headers).HasField("ok_response")

            honest = []
            for number in range(MADE_UP):
                callers.submit(allowed, f"made-up-{number}", trace)
                if number % (MADE_UP // HONEST) == 0:
                    honest.append(callers.submit(allowed, f"honest-{number}", {}))
            assert [each.result() for each in honest] == [True] * HONEST


ANSWER_S: Final = 0.1
LEAVE_AFTER_S: Final = 0.01
LEAVERS: Final = 900
PATIENCE_S: Final = 30.0


async def slowly(peer: Peer) -> None:
    while True:
        await peer.request()
        await trio.sleep(ANSWER_S)
        await peer.send(response(success()))


@asynccontextmanager
async def gateway(folder: Path) -> AsyncGenerator[int]:
    """Run Envoy with its defaults before an endpoint that takes its time, and return its port, where HTTP/2 is spoken."""
    port = free_port()
    async with trio.open_nursery() as nursery:
        (upstream,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, lambda stream: serve(slowly, stream), [upstream])

        def address(number: int) -> dict[str, object]:
            return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

        manager = {
            "@type": HTTP_V3,
            "stat_prefix": "issuer",
            "codec_type": "HTTP2",
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER_V3}}],
            "route_config": {
                "virtual_hosts": [
                    {"name": "issuer", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "issuer"}}]}
                ]
            },
        }
        listener = {
            "address": address(port),
            "enable_reuse_port": False,
            "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
        }
        endpoint = {"endpoint": {"address": address(upstream.socket.getsockname()[1])}}
        cluster = {
            "name": "issuer",
            "type": "STATIC",
            "load_assignment": {"cluster_name": "issuer", "endpoints": [{"lb_endpoints": [endpoint]}]},
            "typed_extension_protocol_options": {
                HTTP_OPTIONS: {"@type": f"type.googleapis.com/{HTTP_OPTIONS}", "explicit_http_config": {"http_protocol_options": {}}}
            },
        }
        (folder / "envoy.json").write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
        process = Child("Envoy", envoy_command(find_envoy(), folder / "envoy.json"), (), folder / "envoy.log")
        await nursery.start(process.run)
        await until_listening(port)
        yield port
        await process.stop()
        nursery.cancel_scope.cancel()


@pytest.mark.envoy
async def test_callers_who_hang_up_end_nobody_s_exchange(tmp_path: Path) -> None:
    failed: list[object] = []

    def request(port: int, subject: str) -> TokenRequest:
        plain = token_request(subject, f"http://127.0.0.1:{port}/token")
        return attrs.evolve(plain, issuer=attrs.evolve(plain.issuer, protocol=EndpointProtocol.HTTP2))

    async with gateway(tmp_path) as port, running(client_of(HTTP, Observer())) as client:

        async def stay(subject: str) -> None:
            outcome = await exchange(client, request(port, subject))
            if not isinstance(outcome, ExchangedToken):
                failed.append(outcome)

        async def leave(subject: str) -> None:
            with trio.move_on_after(LEAVE_AFTER_S):
                await exchange(client, request(port, subject))

        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as callers:
                for number in range(LEAVERS):
                    callers.start_soon(leave, f"leaver-{number}")
                    if number % 6 == 0:
                        callers.start_soon(stay, f"honest-{number}")
                    if number % 3 == 0:
                        await trio.sleep(0.01)
    assert failed == []
