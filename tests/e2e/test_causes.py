"""One line of the log leads an operator to the cause of a failed exchange, with real sockets. The guide has the same table."""

import contextlib
import json
import re
import ssl
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import trio
import trustme

from tests.e2e.collector import recording, silent, wait_until, write_issuers
from tests.e2e.service import Service, serving
from tests.e2e.test_demo import ROOT
from tests.exchange.oauth.fakes import answering, response, success
from tests.net.connect_proxy import token_endpoint
from tests.ports import free_port

SECRETS: Final = ("canary-subject", "canary-client-secret", "canary-body")
# Long enough for any machine to answer, and what the silent endpoint takes.
PATIENCE: Final = {
    "TOKEN_ENDPOINT_REQUEST_TIMEOUT": "60s",
    "TOKEN_ENDPOINT_DIAL_TIMEOUT": "60s",
    "TOKEN_ENDPOINT_TLS_HANDSHAKE_TIMEOUT": "60s",
    "TOKEN_ENDPOINT_RESPONSE_HEADER_TIMEOUT": "4s",
}
CAUSES: Final = {
    "down": ("transport_error", None, "TXE-1003", "connecting failed: Connection refused"),
    "unknown-name": ("transport_error", None, "TXE-1003", "connecting failed: the name cannot be resolved"),
    "wrong-secret": ("http_status", "invalid_client", "TXE-2001", "the token endpoint returned status 401"),
    "expired-certificate": (
        "transport_error",
        None,
        "TXE-1003",
        "the certificate of the token endpoint is refused: certificate has expired",
    ),
    "silent": ("timeout", None, "TXE-1003", "timed out while waiting for the response"),
}


def document() -> str:
    entries = "".join(
        f"\n  - match: {{host: api.example.com, pathPrefix: /{name}}}\n    action: exchange\n"
        f"    exchange: {{issuerRef: {name}, scope: read}}"
        for name in CAUSES
    )
    return f"version: v1\nentries:{entries}\n"


def profile(name: str, endpoint: str) -> str:
    return f'{{name: {name}, tokenEndpoint: "{endpoint}/token", clientID: client, clientSecret: canary-client-secret}}'


@contextlib.contextmanager
def failing_endpoints() -> Generator[dict[str, str]]:
    """Run one that does not know the client and one that says nothing; return the addresses of all that need no TLS."""
    refusal = b'{"error": "invalid_client", "error_description": "canary-body"}'
    with recording(lambda _got: (401, "application/json", refusal)) as refusing, silent() as port:
        yield {
            "down": f"http://127.0.0.1:{free_port()}",
            "unknown-name": "http://nowhere.invalid",
            "wrong-secret": refusing.url,
            "silent": f"http://127.0.0.1:{port}",
        }


def lines_of(service: Service) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in service.lines().splitlines()]
    return {line["path"].strip("/"): line for line in lines if line["event"] == "check.decided"}


def ask_all(folder: Path, endpoints: dict[str, str], authority: Path) -> dict[str, dict[str, Any]]:
    write_issuers(folder, "https://unused.invalid", *(profile(name, endpoint) for name, endpoint in endpoints.items()))
    variables = {**PATIENCE, "TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT": "true", "SSL_CERT_FILE": str(authority)}
    with serving(folder, document(), **variables) as service:
        for name in CAUSES:
            service.check(f"/{name}", authorization="Bearer canary-subject", x_request_id=f"id-of.{name}")
        wait_until(lambda: len(lines_of(service)) == len(CAUSES), service.lines)
        return lines_of(service)


async def test_one_line_leads_to_the_cause(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    expired = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) - timedelta(days=1)).configure_cert(expired)
    async with token_endpoint(answering(response(success())), expired) as port:
        with failing_endpoints() as endpoints:
            endpoints["expired-certificate"] = f"https://127.0.0.1:{port}"
            lines = await trio.to_thread.run_sync(ask_all, tmp_path, endpoints, tmp_path / "ca.pem")
    assert lines.keys() == CAUSES.keys()
    for name, (kind, oauth_error, diagnostic, detail) in CAUSES.items():
        line = lines[name]
        assert (line["error_kind"], line.get("oauth_error"), line["code"]) == (kind, oauth_error, diagnostic)
        assert line["detail"].startswith(detail)
        assert (line["issuer"], line["policy"], line["request_id"]) == (name, "team/policy", f"id-of.{name}")
        assert line["endpoint"] == re.sub(r"https?://([^:/]+).*", r"\1", endpoints[name])
        assert not any(secret in str(line) for secret in SECRETS)


@pytest.mark.parametrize("name", CAUSES)
def test_the_guide_has_the_cause(name: str) -> None:
    kind, oauth_error, diagnostic, detail = CAUSES[name]
    row = f"| `{diagnostic}` | `{kind}` | {f'`{oauth_error}`' if oauth_error else '–'} | `{detail}"
    assert row in (ROOT / "docs/how-to/troubleshoot.md").read_text()
