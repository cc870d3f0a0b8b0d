"""The packaged scenarios, their policies and profiles, and what their issuers do agree, with and without Keycloak."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

import attrs
import pytest
import yaml

from exchanger.commands.demo.keycloak.client import KeycloakClient
from exchanger.commands.demo.keycloak.realm import APP, APP_BRIEF, KeycloakAddress, demo_realm, realm_document
from exchanger.commands.demo.keycloak.tokens import RealmTokens, keycloak_setup
from exchanger.commands.demo.service import sample_policy, violet_policy
from exchanger.commands.demo.setup import DemoSetup, own_setup
from exchanger.commands.demo.token_endpoint.rules import RULES, TOKEN_PATH, TOKEN_PATHS
from exchanger.commands.scenarios.answer import Exchanged, RequestedTarget, ScenarioAnswer
from exchanger.commands.scenarios.builtin import SCENARIOS, packaged_scenarios
from exchanger.commands.scenarios.runner import summary
from exchanger.commands.scenarios.scenario import EqualRequests, PolicyEdit
from exchanger.commands.scenarios.tokens import Subject
from exchanger.model.entry import Source
from exchanger.policy.documents.document import parse_document
from tests.helm.chart import only, secret_texts
from tests.helm.rendered_demo import KEYCLOAK as WITH_KEYCLOAK
from tests.helm.rendered_demo import demo

ADDRESS: Final = KeycloakAddress(False, "127.0.0.1", 1)
LABELS: Final = {
    "Namespace": {"ext-authz-token-exchange.magneticflux.net/policy": "enabled"},
    "ConfigMap": {"ext-authz-token-exchange.magneticflux.net/enabled": "true"},
}
Entry = dict[str, Any]


def target_of(entry: Entry) -> RequestedTarget:
    exchange = entry["exchange"]
    return RequestedTarget(exchange.get("scope", ""), tuple(exchange.get("resources", ())), tuple(exchange.get("audiences", ())))


def granted_by_keycloak(entry: Entry) -> RequestedTarget:
    """What a Keycloak makes of it, which ignores resources (``tests/e2e/test_keycloak.py``)."""
    (client,) = (client for client in json.loads(realm_document())["clients"] if client["clientId"] == demo_realm().client_id)
    every = tuple(mapper["config"]["included.client.audience"] for mapper in client["protocolMappers"])
    target = target_of(entry)
    return attrs.evolve(target, resources=(), audiences=target.audiences or every)


@attrs.frozen
class Packaged:
    """A demo's setup, the scenarios in it that meet no entry, and what its issuer grants to an entry."""

    setup: DemoSetup
    unmet: frozenset[str] = frozenset()
    granted: Callable[[Entry], RequestedTarget] = target_of

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [document for text in self.setup.policies.values() for document in yaml.safe_load_all(text)]

    @property
    def entries(self) -> list[Entry]:
        texts = [document["data"]["config.yaml"] for document in self.documents if "data" in document]
        return [entry for text in texts for entry in yaml.safe_load(text)["entries"]]

    def entry_for(self, host: str, path: str) -> Entry | None:
        """The longest prefix wins; methods play no part in these scenarios."""
        found = [entry for entry in self.entries if entry["match"]["host"] == host and path.startswith(entry["match"]["pathPrefix"])]
        return max(found, key=lambda entry: len(entry["match"]["pathPrefix"]), default=None)


def granted_by_demo(entry: Entry) -> RequestedTarget:
    """What the demo's issuers make of it: of a chain, the resource becomes the audience."""
    target = target_of(entry)
    chained = entry["exchange"]["issuerRef"] == "demo-chat"
    return attrs.evolve(target, resources=(), audiences=target.resources) if chained else target


SAMPLE: Final = {file.name: file.read_text("utf-8") for file in (*sample_policy(), violet_policy())}
VIOLET: Final = "violet.example.com"
# Without the teams that make mistakes, and without the scenarios about them, which ``tests/commands/demo/test_tenancy.py`` is about.
OWN: Final = Packaged(
    attrs.evolve(
        own_setup(1, 2),
        policies=SAMPLE,
        scenarios=tuple(one for one in SCENARIOS if not one.call.grants or one.call.host == VIOLET),
    ),
    frozenset({"unmatched"}),
    granted_by_demo,
)
KEYCLOAK: Final = Packaged(
    keycloak_setup(RealmTokens(KeycloakClient(ADDRESS, demo_realm()), "issuer"), ADDRESS), granted=granted_by_keycloak
)
each_setup = pytest.mark.parametrize("packaged", [OWN, KEYCLOAK], ids=["own", "keycloak"])


def test_builtin_scenarios_show_every_kind_of_response_in_short_lines() -> None:
    said = [summary(scenario) for scenario in SCENARIOS]
    assert {text.split()[0] for text in said} == {"10", "200", "400", "401", "403", "500", "502"}
    errors = {f"TXE-{code}" for code in (1003, 2001, 2004, 2005, 2007, 3001, 3002, 3003, 3004, 4003)}
    assert set(re.findall(r"TXE-\d+", " ".join(said))) == errors
    assert [type(scenario) for scenario in SCENARIOS[-2:]] == [EqualRequests, PolicyEdit]
    assert max(map(len, said)) <= 80


def test_a_broken_packaged_file_is_a_fault() -> None:
    with pytest.raises(ValueError, match=r"^policy/yellow\.yaml: the file must have one document$"):
        packaged_scenarios("exchanger.commands.demo", "policy/yellow.yaml")


@each_setup
def test_every_entry_has_a_scenario_that_shows_its_target(packaged: Packaged) -> None:
    met = {scenario.name: packaged.entry_for(scenario.call.host, scenario.call.path) for scenario in packaged.setup.scenarios}
    assert {name for name, entry in met.items() if entry is None} == packaged.unmet
    assert [entry for entry in packaged.entries if entry not in met.values()] == []
    for scenario in packaged.setup.scenarios:
        assert isinstance(scenario.expected, ScenarioAnswer)
        if isinstance(scenario.expected.upstream, Exchanged):
            entry = met[scenario.name]
            assert entry is not None
            assert scenario.expected.upstream.target == packaged.granted(entry), scenario.name


@each_setup
def test_every_profile_is_used_and_the_policy_is_valid(packaged: Packaged) -> None:
    named = {entry["exchange"]["issuerRef"] for entry in packaged.entries if "exchange" in entry}
    first = {"demo-login"} if packaged is OWN else set()  # which another profile names
    assert named | first == packaged.setup.issuer_names
    for document in packaged.documents:
        if "data" in document:
            source = Source(document["metadata"]["namespace"], "token-policy")
            read = parse_document(source, document["data"]["config.yaml"], packaged.setup.issuer_names)
            assert read.entries
            assert read.closed_scopes == ()


@each_setup
def test_every_team_has_a_labelled_namespace_and_edits_one_place(packaged: Packaged) -> None:
    assert [document["kind"] for document in packaged.documents] == list(LABELS) * len(packaged.setup.policies)
    assert all(document["metadata"]["labels"] == LABELS[document["kind"]] for document in packaged.documents)
    teams = {document["metadata"].get("namespace", document["metadata"]["name"]) for document in packaged.documents}
    assert teams == {f"team-{name.removesuffix('.yaml')}" for name in packaged.setup.policies}
    (edit,) = (scenario for scenario in packaged.setup.scenarios if isinstance(scenario, PolicyEdit))
    assert packaged.setup.policies[edit.file].count(edit.old) == 1
    assert edit.new not in packaged.setup.policies[edit.file]


def test_fake_endpoint_serves_every_profile_and_uses_every_rule() -> None:
    first = {f"http://127.0.0.1:1{path}" for path in TOKEN_PATHS}
    assert {profile["tokenEndpoint"] for profile in OWN.setup.profiles} == {*first, f"http://127.0.0.1:2{TOKEN_PATH}"}
    targets = [target_of(entry) for entry in OWN.entries if "exchange" in entry]
    assert [rule for rule in RULES if rule.path is None and not any(rule.matches("/token", target) for target in targets)] == []


def test_keycloak_scenarios_use_every_subject_and_audiences_of_the_realm() -> None:
    assert {scenario.call.subject for scenario in KEYCLOAK.setup.scenarios} == set(Subject) - {
        Subject.NONE,
        Subject.OPAQUE,
        Subject.REVOKED,
    }
    realm = demo_realm()
    clients = {client["clientId"]: client for client in json.loads(realm_document())["clients"]}
    audiences = {
        name: [mapper["config"]["included.client.audience"] for mapper in client.get("protocolMappers", ())]
        for name, client in clients.items()
    }
    assert audiences[APP] == audiences[APP_BRIEF] == [realm.client_id]
    assert clients[APP_BRIEF]["attributes"]["access.token.lifespan"] == "1"
    assert clients[realm.client_id]["secret"] == realm.client_secret
    available = set(audiences[realm.client_id])
    assert available <= set(clients)
    for scenario in KEYCLOAK.setup.scenarios:
        assert isinstance(scenario.expected, ScenarioAnswer)
        if isinstance(scenario.expected.upstream, Exchanged):
            shown = scenario.expected.upstream.target.audiences
            assert set(shown) <= available
            assert list(shown) == sorted(shown), "Keycloak's audience has no order; it is shown sorted"
    denied, unknown = (KEYCLOAK.entry_for("green.example.com", path) for path in ("/payroll", "/nowhere"))
    assert denied is not None
    assert set(denied["exchange"]["audiences"]) <= set(clients) - available
    assert unknown is not None
    assert not set(unknown["exchange"]["audiences"]) & set(clients)


@pytest.mark.helm
def test_demo_realm_is_the_charts_with_one_client_and_audience_more() -> None:
    realm = json.loads(realm_document())
    realm["clients"] = [client for client in realm["clients"] if client["clientId"] not in {APP_BRIEF, "reports-api"}]
    for client in realm["clients"]:
        if "protocolMappers" in client:
            client["protocolMappers"] = [mapper for mapper in client["protocolMappers"] if mapper["name"] != "audience-reports-api"]
    assert realm == json.loads(secret_texts(only(demo(WITH_KEYCLOAK), "Secret", "keycloak-realm"))["exchanger-demo-realm.json"])
