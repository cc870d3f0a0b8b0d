"""Two chained issuers that others wrote: a mock-oauth2-server issues ID-JAGs, and FastMCP takes each once, for its own MCP server.

Those of an issuer of the tests' own say what they are in the response, too.
"""

import json
import time
import urllib.parse
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import attrs
import jwt
import pytest
import trio

from exchanger.commands.demo.envoy import FilterMode
from exchanger.commands.scenarios.client import fetch
from exchanger.formats.jwt.unverified import claims_of
from exchanger.net.http.message import Request, Response
from tests.e2e.client_world import PATIENCE, Answer, read
from tests.e2e.collector import Got, recording, wait_until
from tests.e2e.fastmcp import McpServer, running_fastmcp
from tests.e2e.gateway import READY_S, gateway_before
from tests.e2e.mock_oauth2 import log_in, mapping, running_mock_oauth2
from tests.e2e.own_issuer import ALGORITHM, KEY_ID, OwnIssuer, own_issuer
from tests.e2e.service import Service, serving

pytestmark = [pytest.mark.full, pytest.mark.fastmcp, pytest.mark.mock_oauth2, pytest.mark.slow]

# What the first issuer issues is an ID-JAG by its header and claims, but not by the response, which always says this.
KIND: Final = "urn:ietf:params:oauth:token-type:access_token"
ID_JAG: Final = {"aud": "${audience}", "client_id": "${mcp_client}", "resource": "${resource}", "scope": "${scope}"}


@attrs.frozen
class Lab:
    """Both issuers, and a service with a chain."""

    idp: str
    mcp: McpServer
    service: Service

    def ask(self, path: str, user: str = "alice") -> Answer:
        return read(self.service.check(path, authorization=f"Bearer {log_in(self.idp, user)}"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Generator[Lab]:
    folder = tmp_path_factory.mktemp("fastmcp")
    logins = mapping({"sub": "${username}", "aud": ["gateway"]}, "password")
    exchanges = {**mapping(ID_JAG), "typeHeader": "oauth-id-jag+jwt"}
    with (
        own_issuer() as own,
        recording(lambda got: id_jag(own, got)) as tokens,
        running_mock_oauth2(folder, (logins, exchanges)) as idp,
        running_fastmcp(folder, {idp: (f"{idp}/jwks", "RS256"), own.url: (own.keys_url, ALGORITHM)}) as mcp,
    ):
        (folder / "issuers.yaml").write_text(json.dumps({"issuers": [*profiles(idp, mcp), *own_profiles(own, tokens.url, mcp)]}))
        settings = {"TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT": "true", "LOG_DECISIONS": "all", **PATIENCE}
        with serving(folder, policy(mcp), **settings) as service:
            wait_until(lambda: "issuers.metadata_known" in service.lines(), service.lines)
            yield Lab(idp, mcp, service)
            assert service.stop() == 0
            for never in ("eyJ", "of-idp", "grpc.handler_failed"):
                assert never not in service.lines()


def profiles(idp: str, mcp: McpServer) -> list[dict[str, object]]:
    first = {"discovery": idp, "clientID": "gateway", "clientSecret": "of-idp", "cache": {"maxTTL": "1m", "maxEntries": 9}}

    def chained(name: str, source: str = "idp", **more: object) -> dict[str, object]:
        return behind(name, mcp, {"from": source, "requestedTokenType": KIND, **more})

    return [
        {"name": "idp", **first, "parameters": {"mcp_client": mcp.client_id}},
        {"name": "idp-of-others", **first, "parameters": {"mcp_client": "somebody-else"}},
        chained("tools"),
        chained("again", reuse=True),
        chained("client", "idp-of-others"),
    ]


def own_profiles(own: OwnIssuer, address: str, mcp: McpServer) -> list[dict[str, object]]:
    proof = {"issuer": own.url, "subject": "same", "scope": "requested", "jwksURI": own.keys_url, "signature": True}
    first = {"name": "own", "tokenEndpoint": f"{address}/token", "clientID": "gateway", "clientSecret": "of-idp", "issuedToken": proof}
    return [{**first, "parameters": {"mcp_client": mcp.client_id}}, behind("proven", mcp, {"from": "own"})]


def behind(name: str, mcp: McpServer, assertion: dict[str, object]) -> dict[str, object]:
    """Return the profile of the second issuer."""
    client = {"tokenEndpoint": f"{mcp.url}/token", "tokenEndpointAuthMethod": "none", "clientID": mcp.client_id}
    return {"name": name, **client, "grantType": "jwt-bearer", "assertion": {"audience": mcp.url, **assertion}}


def id_jag(own: OwnIssuer, got: Got) -> tuple[int, str, bytes]:
    """Answer a request for an ID-JAG, as the draft says."""
    form = {name: values[0] for name, values in urllib.parse.parse_qs(got.body.decode()).items()}
    about = {"sub": (claims_of(form["subject_token"]) or {})["sub"], "aud": form["audience"], "client_id": form["mcp_client"]}
    now = int(time.time())
    claims = {"iss": own.url, **about, "resource": form["resource"], "scope": form["scope"], "iat": now, "exp": now + 250}
    header = {"kid": KEY_ID, "typ": "oauth-id-jag+jwt"}
    assertion = jwt.encode({**claims, "jti": uuid.uuid4().hex}, own.key, algorithm=ALGORITHM, headers=header)
    said = {"access_token": assertion, "issued_token_type": form["requested_token_type"], "token_type": "N_A", "expires_in": 250}
    return 200, "application/json", json.dumps(said).encode()


def policy(mcp: McpServer) -> str:
    def entry(path: str, profile: str, resource: str) -> dict[str, object]:
        exchange = {"issuerRef": profile, "scope": "tools", "resources": [resource]}
        return {"match": {"host": "api.example.com", "pathPrefix": path}, "action": "exchange", "exchange": exchange}

    entries = [entry(path, path.strip("/"), f"{mcp.url}/mcp") for path in ("/tools", "/again", "/client", "/proven")]
    entries += [entry("/mcp", "tools", f"{mcp.url}/mcp"), entry("/resource", "tools", "https://other.example.com/mcp")]
    return json.dumps({"version": "v1", "entries": entries})


@pytest.mark.parametrize("path", ["/tools", "/proven"])
def test_the_upstream_gets_a_token_of_the_mcp_server_for_the_caller(path: str, lab: Lab) -> None:
    for user in ("alice", "bob"):
        claims = lab.ask(path, user).claims
        assert (claims["iss"], claims["sub"], claims["client_id"]) == (f"{lab.mcp.url}/", user, lab.mcp.client_id)


def test_each_assertion_is_used_once_and_a_repeated_one_is_replaced(lab: Lab) -> None:
    for _ in range(3):
        assert lab.ask("/tools").status == 200
    token = log_in(lab.idp, "alice")  # the assertion is kept for one caller's token
    for _ in range(3):
        assert read(lab.service.check("/again", authorization=f"Bearer {token}")).status == 200


@pytest.mark.parametrize("path", ["/client", "/resource"])
def test_assertions_for_another_client_or_resource_get_nothing(path: str, lab: Lab) -> None:
    answer = lab.ask(path)
    assert (answer.status, "TXE-2001" in answer.body) == (401, True), answer
    assert lab.service.line_about(path)["oauth_error"] == "invalid_grant"


@pytest.mark.envoy
@pytest.mark.parametrize("mode", list(FilterMode))
async def test_an_mcp_tool_behind_envoy_accepts_the_first_issuers_token(mode: FilterMode, lab: Lab, tmp_path: Path) -> None:
    def before_mcp(config: dict[str, Any]) -> None:
        (cluster,) = (found for found in config["static_resources"]["clusters"] if found["name"] == "upstream")
        cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["port_value"] = lab.mcp.port

    async with gateway_before(lab.service.port, tmp_path, mode, before_mcp) as envoy:

        async def call(token: str) -> Response:
            asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}}
            headers = (
                *(("Host", "api.example.com"), ("Authorization", f"Bearer {token}"), ("Content-Type", "application/json")),
                ("Accept", "application/json, text/event-stream"),
            )
            return await fetch(envoy, Request("POST", "/mcp", headers, json.dumps(asked).encode()), timeout=30)

        token = await trio.to_thread.run_sync(log_in, lab.idp, "alice")
        with trio.fail_after(READY_S):  # the machine may stall for longer than the gateway waits
            while (response := await call(token)).status >= 500:
                pass
        refused = await call("made-up")
    assert (response.status, json.loads(response.body)["result"]["content"][0]["text"]) == (200, "alice"), response
    assert refused.status >= 400
