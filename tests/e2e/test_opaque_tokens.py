"""Opaque tokens, as issuers such as Salesforce make them, on their whole way: caller, a real Envoy, the service, the issuer and back."""

from pathlib import Path
from urllib.parse import parse_qs

import pytest
import trio

from exchanger.commands.demo.envoy import FilterMode
from exchanger.commands.scenarios.client import fetch
from exchanger.net.http.message import Request
from tests.e2e.collector import token_endpoint, write_issuers
from tests.e2e.gateway import PATIENCE, READY_S, gateway_before
from tests.e2e.service import DOCUMENT, serving
from tests.tiers import mostly_full

pytestmark = pytest.mark.envoy

SUBJECT = "00D5g000!AQEAQ|x:y$z~%2F=&+;'()*<>[]{}^`#@?"
EXCHANGED = "5Aep861!KIwZ|a:b$c~%25=&+;'()*<>[]{}^`#@?"


@pytest.mark.parametrize("mode", mostly_full(FilterMode, [FilterMode.EXT_PROC]))
async def test_every_character_arrives_as_it_was_sent(mode: FilterMode, tmp_path: Path) -> None:
    headers = (("Host", "api.example.com"), ("Authorization", f"Bearer {SUBJECT}"))
    with token_endpoint(EXCHANGED) as tokens:
        write_issuers(tmp_path, tokens.url)
        with serving(tmp_path, DOCUMENT, TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT="true", **PATIENCE) as service:
            async with gateway_before(service.port, tmp_path, mode) as envoy:
                with trio.fail_after(READY_S):  # the machine may stall for longer than an exchange may take
                    while (response := await fetch(envoy, Request("GET", "/orders/1", headers), timeout=10)).status >= 500:
                        pass
    assert response.status == 200
    assert f'"Bearer {EXCHANGED}"'.encode() in response.body
    assert SUBJECT.encode() not in response.body
    assert {parse_qs(got.body.decode())["subject_token"][0] for got in tokens.requests} == {SUBJECT}
