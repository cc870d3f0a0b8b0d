"""A real Keycloak that issues other tokens than were asked for, as its mappers, scopes and lifetimes make it: each is refused."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import attrs
import httpx
import pytest

from tests.e2e.client_world import PATIENCE, Answer, read
from tests.e2e.collector import wait_until
from tests.e2e.keycloak import running_keycloak
from tests.e2e.realm import Administrator, Realm, app, claims_of, exchanging, for_audience, make_realm, target
from tests.e2e.service import Service, serving

pytestmark = [pytest.mark.full, pytest.mark.keycloak, pytest.mark.slow]

RULES: Final[dict[str, Any]] = {"subject": "same", "scope": "requested", "scopeAlso": ["openid", "profile", "email"], "maxLifetime": "10m"}
AUDIENCE: Final = "audiences: [orders-api]"


def hardcoded(claim: str, value: str) -> list[dict[str, Any]]:
    """Return a mapper that gives a claim of access tokens another value, beside that of the audience."""
    config = {"claim.name": claim, "claim.value": value, "jsonType.label": "String", "access.token.claim": "true"}
    mapper = {"protocol": "openid-connect", "protocolMapper": "oidc-hardcoded-claim-mapper", "name": f"hardcoded-{claim}", "config": config}
    return [*for_audience("orders-api"), mapper]


@attrs.frozen
class Case:
    """A client, the rules of its profile, what is asked for, and the code and claim of the refusal."""

    client: dict[str, Any]
    rules: dict[str, Any]
    asks: str = AUDIENCE
    code: str = ""
    claim: str = ""


def of(name: str, *targets: str, **more: Any) -> dict[str, Any]:
    return exchanging(name, *(targets or ("orders-api",)), secret="of-the-client", **more)


CASES: Final = {
    "honest": Case(of("honest"), {**RULES, "signature": True}),
    "listed": Case(of("listed"), {**RULES, "audience": ["orders-api"]}, "scope: phone"),
    # Without an audience in the request, a token is for all that the client may have.
    "for-all": Case(of("for-all", "orders-api", "payments-api"), {**RULES, "audience": ["orders-api"]}, "scope: phone", "TXE-3006", "aud"),
    "of-another": Case(of("of-another", protocolMappers=hardcoded("sub", "mallory")), RULES, AUDIENCE, "TXE-3006", "sub"),
    "from-another": Case(of("from-another"), {**RULES, "issuer": "http://other.example.com"}, AUDIENCE, "TXE-3006", "iss"),
    # Default client scopes come with every token.
    "with-more": Case(of("with-more"), {**RULES, "scopeAlso": ["openid"]}, AUDIENCE, "TXE-3007", "scope"),
    "for-longer": Case(of("for-longer", attributes={"access.token.lifespan": "3600"}), RULES, AUDIENCE, "TXE-3007", "exp"),
}


def policy() -> str:
    entries = (
        f"  - {{match: {{host: api.example.com, pathPrefix: /{name}}}, action: exchange, exchange: {{issuerRef: {name}, {case.asks}}}}}"
        for name, case in CASES.items()
    )
    return "\n".join(("version: v1", "entries:", *entries))


@attrs.frozen
class Lab:
    realm: Realm
    service: Service

    def ask(self, path: str) -> Answer:
        return read(self.service.check(f"/{path}", authorization=f"Bearer {self.realm.log_in()}"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Generator[Lab]:
    folder = tmp_path_factory.mktemp("issued")
    with (
        running_keycloak(folder) as keycloak,
        httpx.Client(base_url=str(keycloak.address), trust_env=False, timeout=60) as client,
    ):
        clients = [*(case.client for case in CASES.values()), app("app", *CASES), target("orders-api"), target("payments-api")]
        realm = make_realm(Administrator(client), "issued", clients)
        write_profiles(folder, realm)
        with serving(folder, policy(), TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT="true", **PATIENCE) as service:
            wait_until(lambda: service.lines().count("issuers.metadata_known") == len(CASES), service.lines)
            yield Lab(realm, service)
            assert service.stop() == 0
            said = service.lines()
            for never in ("mallory", "of-the-client", "eyJ", claims_of(realm.log_in())["sub"]):
                assert never not in said


def write_profiles(folder: Path, realm: Realm) -> None:
    common = {"discovery": realm.issuer, "clientSecret": "of-the-client", "cache": {"maxTTL": "1m", "maxEntries": 100}}
    profiles = [{"name": name, **common, "clientID": name, "issuedToken": case.rules} for name, case in CASES.items()]
    (folder / "issuers.yaml").write_text(json.dumps({"issuers": profiles}))


@pytest.mark.parametrize("name", CASES)
def test_only_what_was_asked_for_passes_and_is_kept(name: str, lab: Lab) -> None:
    case = CASES[name]
    for _ in range(2):
        answer = lab.ask(name)
        if not case.code:
            assert answer.claims["aud"] == "orders-api"
        else:
            assert (answer.status, case.code in answer.body) == (500, True), answer.body
    if case.code:
        line = lab.service.line_about(f"/{name}")
        assert (line["code"], line["claim"]) == (case.code, case.claim)
        assert line["issued_iss"] == lab.realm.issuer
