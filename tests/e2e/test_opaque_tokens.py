"""Opaque tokens, as issuers such as Salesforce make them, on their whole way: caller, a real Envoy, the service, the issuer and back."""

from pathlib import Path
from urllib.parse import parse_qs

import pytest
import trio

from exchanger.demo.envoy import Mode, bootstrap
from exchanger.demo.servers import run_echo
from exchanger.http.message import Request, Response
from exchanger.scenarios.client import LOOPBACK, NoAnswerError, fetch
from tests.e2e.collector import token_endpoint
from tests.e2e.gateway import PATIENCE, READY_S, patient_gateways, start_gateway
from tests.e2e.service import free_port, serving

pytestmark = pytest.mark.envoy

DOCUMENT = """
version: v1
entries:
  - match: {host: api.example.com, pathPrefix: /orders}
    action: exchange
    exchange: {issuerRef: primary, scope: read:orders}
"""
SUBJECT = "00D5g000!AQEAQ|x:y$z~%2F=&+;'()*<>[]{}^`#@?"
EXCHANGED = "5Aep861!KIwZ|a:b$c~%25=&+;'()*<>[]{}^`#@?"


@pytest.mark.parametrize("mode", list(Mode))
async def test_every_character_arrives_as_it_was_sent(mode: Mode, tmp_path: Path) -> None:
    with token_endpoint(EXCHANGED) as tokens:
        profile = f'{{name: primary, tokenEndpoint: "{tokens.url}/token", clientID: client, clientSecret: secret}}'
        (tmp_path / "issuers.yaml").write_text(f"issuers: [{profile}]")
        with serving(tmp_path, DOCUMENT, TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT="true", **PATIENCE) as service:
            async with trio.open_nursery() as nursery:
                upstream = await nursery.start(run_echo, LOOPBACK, 0)
                with patient_gateways():
                    config = bootstrap(listen=free_port(), service=service.port, upstream=upstream, mode=mode)
                envoy = await start_gateway(nursery, tmp_path, config)
                response = await answered(envoy)
                nursery.cancel_scope.cancel()
    assert response.status == 200
    assert f'"Bearer {EXCHANGED}"'.encode() in response.body
    assert SUBJECT.encode() not in response.body
    assert {parse_qs(got.body.decode())["subject_token"][0] for got in tokens.requests} == {SUBJECT}


def headers() -> tuple[tuple[str, str], ...]:
    return (("Host", "api.example.com"), ("Authorization", f"Bearer {SUBJECT}"))


async def answered(envoy: int) -> Response:
    """Ask until Envoy listens, and has found the service and the upstream."""
    with trio.fail_after(READY_S):
        while True:
            try:
                response = await fetch(envoy, Request("GET", "/orders/1", headers()), timeout=10)
            except NoAnswerError:
                pass
            else:
                if response.status < 500:
                    return response
            await trio.sleep(0.1)
