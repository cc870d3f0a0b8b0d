"""Two issuers in a row that others wrote: a mock-oauth2-server issues ID-JAGs, and FastMCP takes each once, for its own MCP server."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio

from exchanger.demo.envoy import FilterMode
from exchanger.http.message import Request, Response
from exchanger.scenarios.client import fetch
from tests.e2e.client_world import PATIENCE, Answer, read
from tests.e2e.collector import wait_until
from tests.e2e.fastmcp import McpServer, running_fastmcp
from tests.e2e.gateway import READY_S, gateway_before
from tests.e2e.mock_oauth2 import log_in, mapping, running_mock_oauth2
from tests.e2e.service import Service, serving

pytestmark = [pytest.mark.fastmcp, pytest.mark.mock_oauth2, pytest.mark.slow]

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
    with running_mock_oauth2(folder, (logins, exchanges)) as idp, running_fastmcp(folder, idp) as mcp:
        (folder / "issuers.yaml").write_text(json.dumps({"issuers": profiles(idp, mcp)}))
        settings = {"TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT": "true", "LOG_DECISIONS": "all", **PATIENCE}
        with serving(folder, policy(mcp), **settings) as service:
            wait_until(lambda: "issuers.metadata_known" in service.lines(), service.lines)
            yield Lab(idp, mcp, service)
            assert service.stop() == 0
            for never in ("eyJ", "of-idp", "grpc.handler_failed"):
                assert never not in service.lines()


def profiles(idp: str, mcp: McpServer) -> list[dict[str, object]]:
    first = {"discovery": idp, "clientID": "gateway", "clientSecret": "of-idp", "cache": {"maxTTL": "1m", "maxEntries": 9}}
    second = {"tokenEndpoint": f"{mcp.url}/token", "tokenEndpointAuthMethod": "none", "clientID": mcp.client_id, "grantType": "jwt-bearer"}

    def chained(name: str, source: str = "idp", **more: object) -> dict[str, object]:
        return {"name": name, **second, "assertion": {"from": source, "requestedTokenType": KIND, "audience": mcp.url, **more}}

    return [
        {"name": "idp", **first, "parameters": {"mcp_client": mcp.client_id}},
        {"name": "idp-of-others", **first, "parameters": {"mcp_client": "somebody-else"}},
        chained("tools"),
        chained("again", reuse=True),
        chained("client", "idp-of-others"),
    ]


def policy(mcp: McpServer) -> str:
    def entry(path: str, profile: str, resource: str) -> dict[str, object]:
        exchange = {"issuerRef": profile, "scope": "tools", "resources": [resource]}
        return {"match": {"host": "api.example.com", "pathPrefix": path}, "action": "exchange", "exchange": exchange}

    entries = [entry(path, path.strip("/"), f"{mcp.url}/mcp") for path in ("/tools", "/again", "/client")]
    entries += [entry("/mcp", "tools", f"{mcp.url}/mcp"), entry("/resource", "tools", "https://other.example.com/mcp")]
    return json.dumps({"version": "v1", "entries": entries})


def test_the_upstream_gets_a_token_of_the_mcp_server_for_the_caller(lab: Lab) -> None:
    for user in ("alice", "bob"):
        claims = lab.ask("/tools", user).claims
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
async def test_a_tool_is_called_through_a_real_envoy_with_the_first_issuers_token(mode: FilterMode, lab: Lab, tmp_path: Path) -> None:
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
