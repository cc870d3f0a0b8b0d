"""The service at a mock-oauth2-server: grants that are not token exchange, actors, and what operators add to requests.

The server puts what it was sent into its tokens, where these tests read it.
"""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from tests.e2e.client_world import PATIENCE, Answer, read
from tests.e2e.collector import wait_until
from tests.e2e.mock_oauth2 import log_in, mapping, running_mock_oauth2
from tests.e2e.realm import claims_of, new_key, pem_of
from tests.e2e.service import Service, serving

pytestmark = pytest.mark.mock_oauth2

JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
SENT: Final = {"azp": "${clientId}", "scope": "${scope}", "assertion_type": "${client_assertion_type}"}
MAPPINGS: Final = (
    mapping({"sub": "${username}", "aud": ["gateway"]}, "password"),
    mapping({"sub": "${clientId}", "aud": ["actors"], "scope": "${scope}"}, "client_credentials"),
    mapping({**SENT, "aud": ["graph"], "use": "${requested_token_use}"}, "on_behalf_of", "requested_token_use"),
    mapping({**SENT, "aud": ["orders-api"], "tenant": "${tenant}", "use": "${requested_token_use}"}, JWT_BEARER),
    mapping({**SENT, "aud": ["${audience}"], "actor": "${actor_token}", "wanted": "${requested_token_type}"}, TOKEN_EXCHANGE),
)
POLICY: Final = """
version: v1
entries:
  - match: {host: api.example.com, pathPrefix: /jwt-bearer}
    action: exchange
    exchange: {issuerRef: jwt-bearer, scope: read:orders}
  - match: {host: api.example.com, pathPrefix: /entra-obo}
    action: exchange
    exchange: {issuerRef: entra-obo, scope: "api://orders/.default"}
  - match: {host: api.example.com, pathPrefix: /entra-audience}
    action: exchange
    exchange: {issuerRef: entra-obo, audiences: [orders-api]}
  - match: {host: api.example.com, pathPrefix: /acting}
    action: exchange
    exchange: {issuerRef: acting, audiences: [orders-api]}
"""


@attrs.frozen
class Lab:
    issuer: str
    service: Service

    def ask(self, path: str, user: str = "alice") -> Answer:
        return read(self.service.check(path, authorization=f"Bearer {log_in(self.issuer, user)}"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Generator[Lab]:
    folder = tmp_path_factory.mktemp("mock-oauth2")
    with running_mock_oauth2(folder, MAPPINGS) as issuer:
        write_profiles(folder, issuer)
        with serving(folder, POLICY, TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT="true", **PATIENCE) as service:
            wait_until(lambda: service.lines().count("issuers.metadata_known") == 3, service.lines)
            yield Lab(issuer, service)
            assert service.stop() == 0


def write_profiles(folder: Path, issuer: str) -> None:
    key = folder / "client.key"
    key.write_text(pem_of(new_key("RS256")))
    common = {"discovery": issuer, "subjectToken": {"issuers": [issuer], "audiences": ["gateway"]}}
    secret = {**common, "clientID": "gateway-client", "clientSecret": "any"}
    profiles: dict[str, dict[str, Any]] = {
        "jwt-bearer": {**secret, "grantType": "jwt-bearer", "parameters": {"tenant": "blue & green"}},
        "entra-obo": {
            **common,
            "clientID": "gateway-client",
            "clientAssertion": {"keyFile": str(key), "algorithm": "RS256", "audience": f"{issuer}/token"},
            "grantType": "entra-obo",
        },
        "acting": {
            **secret,
            "requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
            "actorToken": {"clientCredentials": {"scope": "act"}},
        },
    }
    (folder / "issuers.yaml").write_text(json.dumps({"issuers": [{"name": name, **profile} for name, profile in profiles.items()]}))


@pytest.mark.parametrize("user", ["alice", "bob"])
def test_the_callers_token_is_the_grant(user: str, lab: Lab) -> None:
    claims = lab.ask("/jwt-bearer", user).claims
    assert (claims["sub"], claims["azp"], claims["aud"]) == (user, "gateway-client", "orders-api")
    assert (claims["scope"], claims["tenant"]) == ("read:orders", "blue & green")
    assert claims["use"] != "on_behalf_of"


@pytest.mark.parametrize("user", ["alice", "bob"])
def test_on_behalf_of_a_user(user: str, lab: Lab) -> None:
    claims = lab.ask("/entra-obo", user).claims
    assert (claims["sub"], claims["azp"], claims["aud"], claims["use"]) == (user, "gateway-client", "graph", "on_behalf_of")
    assert (claims["scope"], claims["assertion_type"]) == (
        "api://orders/.default",
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    )


def test_on_behalf_of_has_no_audience(lab: Lab) -> None:
    assert lab.ask("/entra-audience").status == 500


def test_the_actor_is_the_client_by_a_token_of_its_own(lab: Lab) -> None:
    one, two = (lab.ask("/acting", user).claims for user in ("alice", "bob"))
    actor = claims_of(one["actor"])
    assert (actor["sub"], actor["aud"], actor["scope"]) == ("gateway-client", "actors", "act")
    assert (one["sub"], two["sub"], one["aud"]) == ("alice", "bob", "orders-api")
    assert one["actor"] == two["actor"]  # which is kept
    assert one["wanted"] == "urn:ietf:params:oauth:token-type:access_token"
