"""What the demo's chart shows is what the local demo shows, and what its users are told is so."""

import base64
import json
import re
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote_plus

import pytest
import trio
import yaml

from exchanger.commands.demo.service import own_issuers, sample_policy, wrong_policy
from exchanger.commands.demo.token_endpoint.fake import CLIENT_SECRET, TokenEndpoint
from exchanger.commands.demo.token_endpoint.routes import TokenRoutes, read_routes
from exchanger.commands.scenarios.tokens import CLIENT_ID
from exchanger.formats.jwt.unverified import claims_of
from exchanger.net.http.message import Request
from exchanger.policy.selection import DOCUMENT_KEY
from tests.helm.cases import SETTINGS, look
from tests.helm.chart import CHART, Manifest, notes, of_kind, only, render, secret_texts, validate
from tests.helm.rendered_cluster import DEMO, DEMO_CHART, SERVICE
from tests.helm.rendered_demo import ADMIN, KEYCLOAK, TEAMS, demo, pods

pytestmark = [pytest.mark.helm]

TYPES: Final = json.loads((DEMO_CHART / "values.schema.json").read_text())["$defs"]["tokenResponse"]["properties"]["type"]["enum"]


def test_the_policies_are_those_of_the_local_demo_to_the_letter() -> None:
    ours = {
        found["metadata"]["namespace"]: (found["metadata"]["name"], found["data"][DOCUMENT_KEY].strip())
        for found in of_kind(demo(), "ConfigMap")
    }
    theirs = {}
    for file in sample_policy():
        namespace, config_map = yaml.safe_load_all(file.read_text("utf-8"))
        theirs[namespace["metadata"]["name"]] = (config_map["metadata"]["name"], config_map["data"][DOCUMENT_KEY].strip())
        # Labels by which the service finds them, too.
        assert (
            only(demo(), "Namespace", namespace["metadata"]["name"])["metadata"]["labels"].items()
            >= namespace["metadata"]["labels"].items()
        )
        assert all(
            found["metadata"]["labels"].items() >= config_map["metadata"]["labels"].items() for found in of_kind(demo(), "ConfigMap")
        )
    assert ours == theirs


def test_teams_with_mistakes_are_only_in_the_local_demo() -> None:
    """Without grants, these mistakes would be everybody's."""
    namespaces = {next(yaml.safe_load_all(file.read_text("utf-8")))["metadata"]["name"] for file in wrong_policy()}
    assert namespaces == {"team-brown", "team-orange"}
    assert not namespaces & {found["metadata"]["namespace"] for found in of_kind(demo(), "ConfigMap")}


def secret(manifests: list[Manifest], reference: Mapping[str, str]) -> str:
    """Return what a profile's reference leads to among the demo's Secrets."""
    assert reference["namespace"] == DEMO
    return secret_texts(only(manifests, "Secret", reference["name"]))[reference["key"]]


def test_the_profiles_are_those_of_the_local_demo() -> None:
    manifests = demo(namespace=DEMO)
    service = only(manifests, "Service", "fake-token-endpoint")
    base = f"http://fake-token-endpoint.{DEMO}.svc.cluster.local:{service['spec']['ports'][0]['port']}"
    values = yaml.safe_load((DEMO_CHART / "values-demo.yaml").read_text())
    ours = [
        {
            "name": profile["name"],
            "tokenEndpoint": profile["tokenEndpoint"].removeprefix(base),
            "bearerRealm": profile["bearerRealm"],
            "tokenEndpointAuthMethod": profile["tokenEndpointAuthMethod"],
            "clientID": secret(manifests, profile["clientIDSecretRef"]),
            "clientSecret": secret(manifests, profile["clientSecretSecretRef"]),
        }
        for profile in values["issuerProfiles"]["profiles"]
    ]
    theirs = own_issuers(1)
    assert isinstance(theirs, list)
    assert ours == [{**profile, "tokenEndpoint": profile["tokenEndpoint"].removeprefix("http://127.0.0.1:1")} for profile in theirs]


def test_keycloaks_values_are_the_demos_and_one_profile_more() -> None:
    plain, more = (yaml.safe_load((DEMO_CHART / f"values-{name}.yaml").read_text()) for name in ("demo", "keycloak"))
    *profiles, keycloak = more["issuerProfiles"]["profiles"]
    assert {**more, "issuerProfiles": {"profiles": profiles}} == plain
    manifests = demo(KEYCLOAK, namespace=DEMO)
    realm = json.loads(secret_texts(only(manifests, "Secret", "keycloak-realm"))["exchanger-demo-realm.json"])
    (container,) = pods(manifests)["keycloak"]["containers"]
    assert keycloak["tokenEndpoint"] == f"{look(container, 'env/KC_HOSTNAME/value')}/realms/{realm['realm']}/protocol/openid-connect/token"
    client = next(client for client in realm["clients"] if client["clientId"] == secret(manifests, keycloak["clientIDSecretRef"]))
    assert client["secret"] == secret(manifests, keycloak["clientSecretSecretRef"])
    policy = yaml.safe_load(only(manifests, "ConfigMap", "keycloak-policy")["data"][DOCUMENT_KEY])
    assert {entry["exchange"]["issuerRef"] for entry in policy["entries"]} == {keycloak["name"]}


def test_realm_lets_the_service_exchange_tokens_for_the_upstream_audience() -> None:
    """What Keycloak asks for: https://www.keycloak.org/securing-apps/token-exchange"""
    realm = json.loads(secret_texts(only(demo(KEYCLOAK), "Secret", "keycloak-realm"))["exchanger-demo-realm.json"])
    clients = {client["clientId"]: client for client in realm["clients"]}

    def audiences(client: str) -> list[str]:
        return [mapper["config"]["included.client.audience"] for mapper in clients[client].get("protocolMappers", ())]

    assert audiences("app") == ["exchanger"]
    assert audiences("exchanger") == ["orders-api"]
    assert clients["exchanger"]["attributes"] == {"standard.token.exchange.enabled": "true"}
    assert "clientScopes" not in realm, "naming any would drop those that Keycloak brings along"
    assert set(clients) == {"app", "exchanger", "orders-api", "payroll-api"}


def test_a_changed_realm_restarts_keycloak_and_nothing_else_does() -> None:
    def annotation(values: Mapping[str, Any]) -> str:
        text: str = look(only(demo(values), "Deployment", "keycloak"), "spec/template/metadata/annotations/exchanger-demo~1realm")
        return text

    assert annotation(KEYCLOAK) == annotation({"keycloak": {"enabled": True, "port": 80, "url": "http://keycloak.example"}})
    assert annotation(KEYCLOAK) != annotation({"keycloak": {"enabled": True, "user": {"username": "bob"}}})


def test_names_of_digits_stay_names() -> None:
    teams = {team: {"namespace": str(number)} for number, team in enumerate(("yellow", "red", "blue"), 4711)}
    values = {**ADMIN, "route": {"enabled": True, "namespace": "007"}, "teams": teams}
    manifests = render(values, chart=DEMO_CHART, release="123", namespace="0815")
    for manifest in manifests:
        validate(manifest)
        assert isinstance(manifest["metadata"]["name"], str)
        assert isinstance(manifest["metadata"].get("namespace", ""), str)
    route, grant = (only(manifests, kind) for kind in ("HTTPRoute", "ReferenceGrant"))
    assert route["metadata"]["name"] == "123"
    assert route["spec"]["rules"][0]["backendRefs"][0]["namespace"] == "0815"
    assert grant["spec"]["from"][0]["namespace"] == "007"
    assert {found["metadata"]["name"] for found in of_kind(manifests, "Namespace")} == {"4711", "4712", "4713"}


def test_the_program_reads_what_the_chart_renders() -> None:
    values = SETTINGS["demo"]["routes and spans"]
    read = read_routes(only(demo(values), "ConfigMap", "fake-token-endpoint-routes")["data"]["routes.yaml"])
    assert isinstance(read, TokenRoutes)
    assert [route.name for route in read.routes] == [route["name"] for route in values["fakeTokenEndpoint"]["routes"]]


@pytest.mark.parametrize("kind", TYPES)
def test_the_program_knows_each_type_of_response_that_the_schema_admits(kind: str) -> None:
    response = {"type": kind, **({"error": "invalid_grant"} if kind.endswith("_error") else {})}
    routes = {"routes": [{"name": "a", "match": {"scope": "b"}, "response": response}]}
    assert isinstance(read_routes(yaml.safe_dump(routes)), TokenRoutes)
    assert not isinstance(read_routes(yaml.safe_dump(routes).replace(kind, f"{kind}x")), TokenRoutes)


# -- what users are told


def test_the_notes_have_a_token_that_the_token_endpoint_takes() -> None:
    text = notes(DEMO_CHART, "demo", DEMO, {})
    (token,) = re.findall(r"TOKEN=(\S+)", text)
    claims = claims_of(token)
    assert claims is not None
    assert claims["exp"] == pytest.approx(time.time() + 86_400, abs=120)
    credentials = base64.b64encode(f"{quote_plus(CLIENT_ID)}:{quote_plus(CLIENT_SECRET)}".encode()).decode()
    body = f"grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={token}&scope=read:orders"
    request = Request("POST", "/token", (("Authorization", f"Basic {credentials}"),), body.encode())
    assert trio.run(TokenEndpoint().answer, request).status == 200


def test_the_notes_ask_what_there_is_to_ask() -> None:
    everything = notes(DEMO_CHART, "demo", DEMO, {**KEYCLOAK, "route": {"enabled": True}})
    assert everything.count("curl -i") == 13
    assert "port-forward service/keycloak" in everything
    with_route = {"keycloak": {"enabled": True, "url": "https://id.example", "route": {"enabled": True}}}
    assert "KEYCLOAK=https://id.example\n" in notes(DEMO_CHART, "demo", DEMO, with_route)
    for team_name in TEAMS:
        assert f"Host: {team_name}.example.com" in everything
    assert "values-keycloak.yaml" in everything
    assert "NOTE" not in everything
    bare = notes(DEMO_CHART, "demo", "elsewhere", {"teams": {name: {"enabled": False} for name in TEAMS}})
    assert "curl -i" not in bare
    assert "Change it to elsewhere" in bare
    assert "no route is created" in bare


def test_the_services_chart_says_loudly_what_the_demos_values_allow() -> None:
    values = (DEMO_CHART / "values-demo.yaml").read_text()
    assert "!!! FOR THE DEMO ONLY !!!" in values
    text = notes(CHART, SERVICE, SERVICE, yaml.safe_load(values))
    assert "WARNING: token endpoints without TLS are allowed" in text


def test_demo_values_open_network_and_rights_only_to_the_demo() -> None:
    manifests = render(yaml.safe_load((DEMO_CHART / "values-keycloak.yaml").read_text()), namespace=SERVICE)
    role = only(manifests, "Role")
    assert role["metadata"]["namespace"] == DEMO
    assert role["rules"][0]["resourceNames"] == ["exchanger-demo-keycloak", "exchanger-demo-oauth"]
    rules = only(manifests, "NetworkPolicy", SERVICE)["spec"]["egress"]
    assert {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": DEMO}}}]} in rules
