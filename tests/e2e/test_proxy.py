"""``exchanger serve`` behind a real CONNECT proxy, which a profile or the environment names."""

import json
import ssl
from pathlib import Path

import pytest
import trio
import trustme

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from tests.e2e.service import DOCUMENT, SLOW, serving
from tests.exchange.oauth.fakes import response, success
from tests.net.connect_proxy import ConnectProxy, proxying, remembering, token_endpoint
from tests.tiers import mostly_full

CREDENTIALS = "canary-user:canary-word"


def ask(root: Path, profile: str, **variables: str) -> tuple[CheckResponse, list[dict[str, object]]]:
    """Return the answer to one check, and what the service logged."""
    (root / "issuers.yaml").write_text(f"issuers:\n  - {{name: primary, clientID: client, clientSecret: canary-secret, {profile}}}\n")
    with serving(root, DOCUMENT, LOG_DECISIONS="all", SSL_CERT_FILE=str(root / "ca.pem"), **SLOW, **variables) as it:
        answer = it.check("/orders", authorization="Bearer canary-subject")
        assert it.stop() == 0
        assert "canary" not in it.lines()
        return answer, [json.loads(line) for line in it.lines().splitlines()]


@pytest.mark.parametrize("named", mostly_full(["profile", "environment", "not used"], ["profile"]))
async def test_an_exchange_by_way_of_a_proxy(tmp_path: Path, named: str) -> None:
    authority, context, seen = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), list[bytes]()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("issuer.invalid").configure_cert(context)
    async with (
        token_endpoint(remembering(seen, response(success())), context) as port,
        proxying(ConnectProxy(credentials=CREDENTIALS)) as proxy,
    ):
        proxy.ways["issuer.invalid"] = port
        url = f"http://{CREDENTIALS}@127.0.0.1:{proxy.port}"
        profile = 'tokenEndpoint: "https://issuer.invalid/token"' + (f', proxy: "{url}"' if named == "profile" else "")
        variables = {} if named == "profile" else {"HTTPS_PROXY": url, "NO_PROXY": ".other.invalid"}
        if named == "environment":
            variables["TOKEN_ENDPOINT_PROXY_FROM_ENVIRONMENT"] = "true"
        answer, lines = await trio.to_thread.run_sync(lambda: ask(tmp_path, profile, **variables))
    told = [line["variable"] for line in lines if line["event"] == "config.without_effect"]
    if named == "not used":  # the endpoint's name leads nowhere
        assert "TXE-1003" in answer.denied_response.body
        assert proxy.asked == []
        assert told == ["HTTPS_PROXY", "NO_PROXY"]
        return
    (set_header,) = answer.ok_response.headers
    assert set_header.header.value == "Bearer issued-token" or set_header.header.raw_value == b"Bearer issued-token"
    assert proxy.asked == ["issuer.invalid:443"]
    assert b"canary" not in proxy.carried
    assert b"canary-subject" in seen[0]
    assert told == []
