"""FastMCP on loopback: an MCP server whose own authorization server takes ID-JAGs, each once. Blocking code.

Source: https://gofastmcp.com/servers/auth/oauth-proxy
"""

import contextlib
import json
import os
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import httpx

from tests.e2e.java import running_server
from tests.ports import free_port
from tests.tools import find_tool

# FastMCP is not installed where the tests run, so this is not a module. Its tool tells whose token it got.
SERVER: Final = """
import json
import os

from fastmcp import FastMCP
from fastmcp.server.auth import IdentityAssertion, OAuthProxy
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier
from fastmcp.server.dependencies import get_access_token
from key_value.aio.stores.memory import MemoryStore
from starlette.responses import Response

issuers = json.loads(os.environ["TRUSTED_ISSUERS"])
keys = {name: keys for name, (keys, _) in issuers.items()}
algorithms = {name: algorithm for name, (_, algorithm) in issuers.items()}
auth = OAuthProxy(
    upstream_authorization_endpoint="http://127.0.0.1/unused",
    upstream_token_endpoint="http://127.0.0.1/unused",
    upstream_client_id="unused",
    upstream_client_secret="unused",
    token_verifier=StaticTokenVerifier({}),
    base_url=os.environ["BASE_URL"],
    client_storage=MemoryStore(),
    identity_assertion=IdentityAssertion(trusted_issuers=list(issuers), jwks_uris=keys, algorithms=algorithms),
)
mcp = FastMCP("tools", auth=auth)


@mcp.custom_route("/", methods=["GET"])
async def ready(_request):
    return Response("ready")


@mcp.tool
def whoami() -> str:
    token = get_access_token()
    return "nobody" if token is None else str(token.claims["sub"])
"""


@attrs.frozen
class McpServer:
    """A running server, where the client ``client_id`` is known, which needs no secret."""

    port: int
    client_id: str

    @property
    def url(self) -> str:
        """Its address, which is its issuer but for a slash."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def running_fastmcp(folder: Path, issuers: Mapping[str, tuple[str, str]]) -> Generator[McpServer]:
    """Run a server that trusts ``issuers``, each with the address of its keys and its algorithm, and register a client."""
    program, port, file = find_tool("fastmcp"), free_port(), folder / "server.py"
    file.write_text(SERVER)
    url = f"http://127.0.0.1:{port}"
    listening = ("--transport", "http", "--host", "127.0.0.1", "--port", str(port), "--no-banner")
    own = {"TRUSTED_ISSUERS": json.dumps(issuers), "BASE_URL": url, "HOME": str(folder)}  # where it would keep things
    own |= {"FASTMCP_CHECK_FOR_UPDATES": "off", "FASTMCP_STATELESS_HTTP": "true", "FASTMCP_JSON_RESPONSE": "true"}
    command = (str(program), "run", f"{file}:mcp", *listening)
    ready = f"{url}/.well-known/oauth-authorization-server"
    with running_server("FastMCP", command, {**os.environ, **own}, folder / "fastmcp.log", ready):
        wanted = {"redirect_uris": [f"{url}/unused"], "token_endpoint_auth_method": "none", "client_name": "gateway"}
        client: Any = httpx.post(f"{url}/register", json=wanted, trust_env=False).raise_for_status().json()
        yield McpServer(port, client["client_id"])
