"""The setup with the Go project's names: its scenarios, policies and issuer profiles, and routes for the token endpoint.

Scenarios that need Keycloak's tokens are skipped without one; with one, they use the demo's realm.
"""

import importlib.resources
from typing import Final

import attrs

from exchanger.commands.demo.keycloak.realm import KeycloakAddress, Realm, issuer_profile
from exchanger.commands.demo.setup import DemoPorts, DemoSetup
from exchanger.commands.demo.token_endpoint.routed import DEFAULT_CREDENTIALS
from exchanger.commands.demo.token_endpoint.routes import TokenRoutes, read_routes
from exchanger.commands.scenarios.answer import differs
from exchanger.commands.scenarios.builtin import packaged_scenarios
from exchanger.commands.scenarios.client import LOOPBACK
from exchanger.commands.scenarios.go_format.scenario_file import DEFAULT_SYSTEM_NAMESPACE
from exchanger.commands.scenarios.target import Gateway, ScenarioTarget
from exchanger.commands.scenarios.tokens import Subject

# The issuer profiles' names, as in the policies.
FAKE_PROFILE: Final = "fake-issuer"
KEYCLOAK_PROFILE: Final = "local-keycloak"
# Active with a Keycloak alone: without its profile, the policies would be wrong.
KEYCLOAK_POLICY: Final = "service-yellow-keycloak.yaml"

SCENARIOS_FILE: Final = importlib.resources.files("exchanger.commands.demo.reference") / "scenarios.yaml"

_TOKEN_PATH: Final = "/token/exchange"
_TOKEN: Final = "incoming-yellow"  # the token endpoint takes any
_HERE: Final = importlib.resources.files("exchanger.commands.demo.reference")


def reference_routes() -> TokenRoutes:
    """Return the token endpoint's routes.

    Raises:
        ValueError: the packaged file is wrong.
    """
    read = read_routes((_HERE / "routes.yaml").read_text("utf-8"))
    if isinstance(read, TokenRoutes):
        return read
    raise ValueError("; ".join(str(problem) for problem in read))


def reference_setup(token_port: int) -> DemoSetup:
    """Return the setup with the token endpoint on ``token_port``."""

    def target(ports: DemoPorts) -> ScenarioTarget:
        made = frozenset({Subject.NONE, Subject.VALID})
        return ScenarioTarget(Gateway(LOOPBACK, ports.envoy_port), _token, made, policy=ports.policy, recognise=differs)

    profile = {
        "name": FAKE_PROFILE,
        "tokenEndpoint": f"http://{LOOPBACK}:{token_port}{_TOKEN_PATH}",
        "bearerRealm": DEFAULT_SYSTEM_NAMESPACE,
        "tokenEndpointAuthMethod": "client_secret_basic",
        "clientID": DEFAULT_CREDENTIALS.client_id,
        "clientSecret": DEFAULT_CREDENTIALS.client_secret,
    }
    return DemoSetup(
        scenarios=packaged_scenarios("exchanger.commands.demo.reference", "scenarios.yaml"),
        policies={name: text for name, text in _policies().items() if name != KEYCLOAK_POLICY},
        profiles=(profile,),
        token=_token,
        target=target,
        token_port=token_port,
        remark="the token endpoint takes any token",
    )


def with_keycloak(setup: DemoSetup, keycloak: DemoSetup, realm: Realm, address: KeycloakAddress) -> DemoSetup:
    """Return the reference ``setup`` with the realm's tokens of the ``keycloak`` setup."""

    def target(ports: DemoPorts) -> ScenarioTarget:
        return attrs.evolve(keycloak.target(ports), recognise=differs)

    profile = {**issuer_profile(realm, address), "name": KEYCLOAK_PROFILE, "bearerRealm": DEFAULT_SYSTEM_NAMESPACE}
    return attrs.evolve(
        setup,
        policies=_policies(),
        profiles=(*setup.profiles, profile),
        token=keycloak.token,
        target=target,
        verify=keycloak.verify,
        remark=keycloak.remark,
        renewal=keycloak.renewal,
    )


def _policies() -> dict[str, str]:
    files = sorted((file for file in (_HERE / "policy").iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return {file.name: file.read_text("utf-8") for file in files}


def _token(subject: Subject) -> str:
    return "" if subject is Subject.NONE else _TOKEN
