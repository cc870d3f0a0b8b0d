"""Two chained issuers that others wrote: a mock-oauth2-server issues assertions, and a Keycloak takes them; both through a real Envoy."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Final

import attrs
import httpx
import pytest
import trio

from exchanger.commands.demo.envoy import FilterMode
from exchanger.commands.scenarios.client import fetch
from exchanger.net.http.message import Request
from tests.e2e.client_world import PATIENCE, Answer, read
from tests.e2e.collector import wait_until
from tests.e2e.gateway import READY_S, gateway_before
from tests.e2e.keycloak import running_keycloak
from tests.e2e.mock_oauth2 import log_in, mapping, running_mock_oauth2
from tests.e2e.realm import USER, Administrator, Realm, make_realm
from tests.e2e.service import Service, serving

pytestmark = [pytest.mark.full, pytest.mark.keycloak, pytest.mark.mock_oauth2, pytest.mark.slow]

CLIENT: Final = "f53f191f9311af35"
# What the first issuer is asked for. It issues JWTs as access tokens, and says so.
KIND: Final = "urn:ietf:params:oauth:token-type:access_token"
POLICY: Final = """
version: v1
entries:
  - {match: {host: api.example.com, pathPrefix: /chat}, action: exchange, exchange: {issuerRef: chat, scope: phone}}
  - {match: {host: api.example.com, pathPrefix: /once}, action: exchange, exchange: {issuerRef: once, scope: phone}}
  - {match: {host: api.example.com, pathPrefix: /elsewhere}, action: exchange, exchange: {issuerRef: elsewhere, scope: phone}}
  - {match: {host: api.example.com, pathPrefix: /wrong}, action: exchange, exchange: {issuerRef: wrong, scope: phone, audiences: [a]}}
"""
ELSEWHERE: Final = "https://elsewhere.example.com"


@attrs.frozen
class Lab:
    """Both issuers, and a service with a chain."""

    idp: str
    realm: Realm
    user: str
    service: Service

    def ask(self, path: str, user: str = "alice") -> Answer:
        return read(self.service.check(path, authorization=f"Bearer {log_in(self.idp, user)}"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Generator[Lab]:
    folder = tmp_path_factory.mktemp("chain")
    with (
        running_keycloak(folder) as keycloak,
        httpx.Client(base_url=str(keycloak.address), trust_env=False, timeout=60) as client,
    ):
        realm = f"{keycloak.address}/realms/apps"
        logins = mapping({"sub": "${username}", "aud": ["gateway"]}, "password")
        with running_mock_oauth2(folder, (logins, mapping({"aud": [realm]}, realm, "audience"), mapping({"aud": [realm]}, "*"))) as idp:
            made, user = make_chat_realm(Administrator(client), idp)
            assert made.issuer == realm
            write_profiles(folder, idp, realm)
            with serving(folder, POLICY, TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT="true", LOG_DECISIONS="all", **PATIENCE) as service:
                wait_until(lambda: service.lines().count("issuers.metadata_known") == 5, service.lines)
                yield Lab(idp, made, user, service)
                assert service.stop() == 0
                for never in ("eyJ", "of-chat", "of-idp", "grpc.handler_failed"):
                    assert never not in service.lines()


def make_chat_realm(administrator: Administrator, idp: str) -> tuple[Realm, str]:
    """Make a realm that takes assertions of ``idp`` about its user, each once."""
    grants = {"oauth2.jwt.authorization.grant.enabled": "true", "oauth2.jwt.authorization.grant.idp": "idp"}
    chat = {"clientId": CLIENT, "publicClient": False, "secret": "of-chat", "attributes": grants}
    unused = {"clientId": "unused", "clientSecret": "unused", "authorizationUrl": idp, "tokenUrl": idp}
    keys = {"useJwksUrl": "true", "validateSignature": "true", "jwksUrl": f"{idp}/jwks"}
    grant = {"jwtAuthorizationGrantEnabled": "true", "jwtAuthorizationGrantMaxAllowedAssertionExpiration": "600"}
    provider = {"alias": "idp", "providerId": "oidc", "enabled": True, "config": {"issuer": idp, **unused, **keys, **grant}}
    realm = make_realm(administrator, "apps", [chat], identityProviders=[provider])
    (user,) = realm.ask("GET", f"/users?username={USER}&exact=true")
    link = {"identityProvider": "idp", "userId": "alice", "userName": "alice"}
    realm.ask("POST", f"/users/{user['id']}/federated-identity/idp", link)
    return realm, user["id"]


def write_profiles(folder: Path, idp: str, realm: str) -> None:
    first = {"name": "idp", "discovery": idp, "clientID": "gateway", "clientSecret": "of-idp", "cache": {"maxTTL": "1m", "maxEntries": 9}}
    second = {"discovery": realm, "clientID": CLIENT, "clientSecret": "of-chat", "grantType": "jwt-bearer"}
    source = {"from": "idp", "requestedTokenType": KIND}
    profiles = [
        first,
        {"name": "chat", **second, "assertion": source},
        {"name": "once", **second, "assertion": {**source, "reuse": True}},
        {"name": "elsewhere", **second, "assertion": {**source, "audience": ELSEWHERE}},
        {"name": "wrong", **second, "assertion": source},
    ]
    (folder / "issuers.yaml").write_text(json.dumps({"issuers": profiles}))


def test_the_upstream_gets_the_second_issuers_token_for_the_first_ones_user(lab: Lab) -> None:
    claims = lab.ask("/chat").claims
    assert (claims["iss"], claims["sub"], claims["azp"]) == (lab.realm.issuer, lab.user, CLIENT)


def test_each_assertion_is_used_once_and_a_repeated_one_is_replaced(lab: Lab) -> None:
    """This Keycloak accepts each assertion once, whatever the profile thinks of it."""
    for _ in range(3):
        assert lab.ask("/chat").status == 200
        assert lab.ask("/once").status == 200


def test_an_assertion_for_somebody_else_is_not_sent(lab: Lab) -> None:
    answer = lab.ask("/elsewhere")
    assert (answer.status, "TXE-3006" in answer.body) == (500, True)
    line = lab.service.line_about("/elsewhere")
    assert (line["issuer"], line["leg"], line["claim"]) == ("elsewhere", "idp", "aud")
    assert (line["requested_aud"], line["issued_aud"]) == (json.dumps([ELSEWHERE]), json.dumps([lab.realm.issuer]))


def test_each_refusal_says_whose_it_is(lab: Lab) -> None:
    """The second issuer does not know this user, and the first one takes no made-up token."""
    answer = lab.ask("/chat/mallory", "mallory")
    assert (answer.status, "TXE-2001" in answer.body) == (400, True)
    line = lab.service.line_about("/chat/mallory")
    assert ("leg" in line, line["oauth_error"]) == (False, "invalid_grant")
    assert read(lab.service.check("/chat/made-up", authorization="Bearer made-up")).status >= 400
    assert lab.service.line_about("/chat/made-up")["leg"] == "idp"


def test_audiences_are_refused_before_anybody_is_asked(lab: Lab) -> None:
    answer = lab.ask("/wrong")
    assert (answer.status, "TXE-1002" in answer.body) == (500, True)


@pytest.mark.envoy
@pytest.mark.parametrize("mode", list(FilterMode))
async def test_through_a_real_envoy(mode: FilterMode, lab: Lab, tmp_path: Path) -> None:
    token = await trio.to_thread.run_sync(log_in, lab.idp, "alice")
    headers = (("Host", "api.example.com"), ("Authorization", f"Bearer {token}"))
    async with gateway_before(lab.service.port, tmp_path, mode) as envoy:
        with trio.fail_after(READY_S):  # the machine may stall for longer than the gateway waits
            while (response := await fetch(envoy, Request("GET", "/chat", headers), timeout=30)).status >= 500:
                pass
    assert response.status == 200, response.body
    seen = json.loads(response.body)
    assert (seen["token_claims"]["iss"], seen["token_claims"]["azp"]) == (lab.realm.issuer, CLIENT)
    assert token.encode() not in response.body
