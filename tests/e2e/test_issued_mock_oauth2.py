"""A mock-oauth2-server that issues other tokens than were asked for: each is refused, and told with both sides; the honest one passes."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from tests.e2e.client_world import PATIENCE, Answer, read
from tests.e2e.collector import wait_until
from tests.e2e.mock_oauth2 import log_in, mapping, running_mock_oauth2
from tests.e2e.service import Service, serving

pytestmark = pytest.mark.mock_oauth2

# What is issued for each audience that is asked for, and the code and claim of the refusal.
LIES: Final[dict[str, tuple[dict[str, object], str, str]]] = {
    "for-another": ({"aud": ["payments"]}, "TXE-3006", "aud"),
    "for-more": ({"aud": ["for-more", "payments"]}, "TXE-3006", "aud"),
    "for-nobody": ({"aud": []}, "TXE-3006", "aud"),
    "of-another": ({"aud": ["of-another"], "sub": "mallory"}, "TXE-3006", "sub"),
    "from-another": ({"aud": ["from-another"], "iss": "http://other.example.com"}, "TXE-3006", "iss"),
    "with-more": ({"aud": ["with-more"], "scope": "read admin"}, "TXE-3007", "scope"),
    "with-a-list": ({"aud": ["with-a-list"], "scp": ["read", "admin"]}, "TXE-3007", "scp"),
}
MAPPINGS: Final = (
    mapping({"sub": "${username}", "aud": ["gateway"]}, "password"),
    *(mapping(claims, audience, "audience") for audience, (claims, _, _) in LIES.items()),
    mapping({"aud": ["orders-api"], "scope": "read openid"}, "orders-api", "audience"),
)
RULES: Final = {"subject": "same", "scope": "requested", "scopeAlso": ["openid"], "maxLifetime": "10m", "signature": True}
PROFILES: Final[dict[str, dict[str, Any]]] = {
    "primary": {"issuedToken": RULES},
    "short": {"issuedToken": {**RULES, "maxLifetime": "1m"}},  # the server's tokens are valid for five
    "strict": {"issuedToken": RULES, "errors": "strict"},
    "lax": {},
}


def policy() -> str:
    entries = (
        f"  - {{match: {{host: api.example.com, pathPrefix: /{profile}/{audience}}}, action: exchange, "
        f"exchange: {{issuerRef: {profile}, scope: read, audiences: [{audience}]}}}}"
        for profile in PROFILES
        for audience in (*LIES, "orders-api")
    )
    return "\n".join(("version: v1", "entries:", *entries))


@attrs.frozen
class Lab:
    issuer: str
    service: Service

    def ask(self, path: str) -> Answer:
        return read(self.service.check(path, authorization=f"Bearer {log_in(self.issuer, 'alice')}"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Generator[Lab]:
    folder = tmp_path_factory.mktemp("mock-oauth2")
    with running_mock_oauth2(folder, MAPPINGS) as issuer:
        write_profiles(folder, issuer)
        with serving(folder, policy(), TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT="true", **PATIENCE) as service:
            wait_until(lambda: service.lines().count("issuers.keys_known") == 3, service.lines)
            yield Lab(issuer, service)
            assert service.stop() == 0
            assert "mallory" not in service.lines()
            assert "alice" not in service.lines()


def write_profiles(folder: Path, issuer: str) -> None:
    common = {"discovery": issuer, "clientID": "gateway-client", "clientSecret": "any", "cache": {"maxTTL": "1m", "maxEntries": 100}}
    profiles = [{"name": name, **common, **more} for name, more in PROFILES.items()]
    (folder / "issuers.yaml").write_text(json.dumps({"issuers": profiles}))


def test_the_honest_token_passes_and_is_kept(lab: Lab) -> None:
    first, second = (lab.ask("/primary/orders-api") for _ in range(2))
    assert (first.claims["sub"], first.claims["aud"]) == ("alice", "orders-api")
    assert second.claims["iss"] == lab.issuer


@pytest.mark.parametrize("audience", LIES)
def test_each_other_token_is_refused_again_and_again(audience: str, lab: Lab) -> None:
    claims, code, claim = LIES[audience]
    for _ in range(2):  # it is not kept
        answer = lab.ask(f"/primary/{audience}")
        assert (answer.status, code in answer.body) == (500, True), answer.body
    line = lab.service.line_about(f"/primary/{audience}")
    assert (line["code"], line["claim"], line["requested_aud"]) == (code, claim, json.dumps([audience]))
    assert line["issued_aud"] == (json.dumps(claims["aud"]) if claims["aud"] else "")
    assert lab.ask(f"/strict/{audience}").status == 502
    assert lab.ask(f"/lax/{audience}").status == 200


def test_a_token_that_is_valid_for_too_long_is_refused(lab: Lab) -> None:
    answer = lab.ask("/short/orders-api")
    assert (answer.status, "TXE-3007" in answer.body) == (500, True)
    assert lab.service.line_about("/short/orders-api")["claim"] == "exp"


def test_an_opaque_caller_token_is_rejected_by_the_issuer_not_by_comparison(lab: Lab) -> None:
    """This server reads callers' tokens, so it is the one that refuses, and its refusal is told."""
    answer = read(lab.service.check("/primary/orders-api", authorization="Bearer opaque"))
    assert answer.status in {400, 401, 500}
    assert "TXE-3" not in answer.body
