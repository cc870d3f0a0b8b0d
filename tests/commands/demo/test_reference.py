"""The setup with the Go project's names: scenarios, policies, profiles and routes agree, with and without a Keycloak."""

import importlib.resources
from typing import Any

import pytest
import yaml

from exchanger.commands.demo.keycloak.client import KeycloakClient
from exchanger.commands.demo.keycloak.realm import KeycloakAddress, demo_realm, realm_document
from exchanger.commands.demo.keycloak.tokens import RealmTokens, keycloak_setup
from exchanger.commands.demo.reference.setup import reference_routes, reference_setup, with_keycloak
from exchanger.commands.demo.setup import DemoSetup
from exchanger.commands.demo.token_endpoint.rules import Issue
from exchanger.commands.scenarios.answer import RequestedTarget

ADDRESS = KeycloakAddress(False, "127.0.0.1", 1)
WRITTEN = yaml.safe_load((importlib.resources.files("exchanger.commands.demo.reference") / "scenarios.yaml").read_text("utf-8"))[
    "scenarios"
]


def both() -> DemoSetup:
    realm = demo_realm()
    keycloak = keycloak_setup(RealmTokens(KeycloakClient(ADDRESS, realm, None), realm.issuer(ADDRESS)), ADDRESS)
    return with_keycloak(reference_setup(1), keycloak, realm, ADDRESS)


def entries(setup: DemoSetup) -> dict[str, dict[str, Any]]:
    """Return the only entry of each policy, by ``namespace/name``."""
    objects = [one for text in setup.policies.values() for one in yaml.safe_load_all(text) if one["kind"] == "ConfigMap"]
    return {
        f"{one['metadata']['namespace']}/{one['metadata']['name']}": yaml.safe_load(one["data"]["config.yaml"])["entries"][0]
        for one in objects
    }


def test_each_scenario_names_the_policy_that_its_request_meets() -> None:
    found = entries(both())
    for scenario in WRITTEN:
        path = scenario["request"]["path"]
        met = [name for name, entry in found.items() if path.startswith(entry["match"]["pathPrefix"])]
        named = scenario.get("policy", "").replace("{{ .NamespacePrefix }}", "service")
        assert met == ([named] if named else []), scenario["name"]
    assert {entry["match"]["host"] for entry in found.values()} == {"httpbin.int.kube"}


@pytest.mark.parametrize("setup", [reference_setup(1), both()], ids=["alone", "keycloak"])
def test_policies_refer_to_profiles_that_are_there(setup: DemoSetup) -> None:
    assert {entry["exchange"]["issuerRef"] for entry in entries(setup).values() if "exchange" in entry} == setup.issuer_names


def test_the_token_endpoint_has_a_route_for_each_exchange_of_its_own() -> None:
    routes = reference_routes()
    for name, entry in entries(reference_setup(1)).items():
        if entry["action"] == "exchange":
            exchange = entry["exchange"]
            route = routes.route_for(
                "/token/exchange", RequestedTarget(exchange["scope"], tuple(exchange["resources"]), tuple(exchange["audiences"]))
            )
            team, policy = name.removesuffix("-policy").split("/")
            assert route.name == policy.removeprefix("error-"), name
            assert isinstance(route.behaviour, Issue) == (policy == team.removeprefix("service-"))


def test_only_the_wrong_audience_is_none_of_the_realm() -> None:
    clients = realm_document()
    unknown = {
        name
        for name, entry in entries(both()).items()
        if "keycloak" in name and not all(f'"{audience}"' in clients for audience in entry["exchange"]["audiences"])
    }
    assert unknown == {"service-yellow/keycloak-invalid-audience-policy"}
