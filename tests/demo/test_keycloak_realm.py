"""The realm, its policy and its scenarios speak of the same things, and addresses of a Keycloak are read strictly."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from exchanger.demo import DemoError
from exchanger.demo.keycloak.realm import (
    APP,
    APP_BRIEF,
    POLICY_FILE,
    PROFILE,
    KeycloakAddress,
    demo_realm,
    issuer_profile,
    policy_text,
    read_address,
    realm_document,
)
from exchanger.demo.keycloak.tokens import read_password
from exchanger.policy.document import parse_document
from exchanger.scenarios.answer import Exchanged, Target
from exchanger.scenarios.builtin import packaged_scenarios
from exchanger.scenarios.scenario import PolicyEdit
from exchanger.scenarios.tokens import Subject
from exchanger.values.entry import Source
from tests.helm.chart import only, secret_texts
from tests.helm.rendered_demo import KEYCLOAK, demo

SCENARIOS: Final = packaged_scenarios("exchanger.demo.keycloak", "scenarios.yaml")
MORE_CLIENTS: Final = {APP_BRIEF, "reports-api"}
"""What the local realm has and the chart's has not: tokens that are expired soon, and a second audience."""
MORE_MAPPERS: Final = {"audience-reports-api"}


def clients() -> dict[str, Any]:
    return {client["clientId"]: client for client in json.loads(realm_document())["clients"]}


def audiences(client: str) -> list[str]:
    return [mapper["config"]["included.client.audience"] for mapper in clients()[client].get("protocolMappers", ())]


def entries() -> list[dict[str, Any]]:
    _, config_map = yaml.safe_load_all(policy_text())
    found: list[dict[str, Any]] = yaml.safe_load(config_map["data"]["config.yaml"])["entries"]
    return found


def entry_for(path: str) -> dict[str, Any]:
    (entry,) = (entry for entry in entries() if path.startswith(entry["match"]["pathPrefix"]))
    return entry


@pytest.mark.helm
def test_the_realm_is_that_of_the_demos_chart_and_a_little_more() -> None:
    realm = json.loads(realm_document())
    realm["clients"] = [client for client in realm["clients"] if client["clientId"] not in MORE_CLIENTS]
    for client in realm["clients"]:
        if "protocolMappers" in client:
            client["protocolMappers"] = [mapper for mapper in client["protocolMappers"] if mapper["name"] not in MORE_MAPPERS]
    assert realm == json.loads(secret_texts(only(demo(KEYCLOAK), "Secret", "keycloak-realm"))["exchanger-demo-realm.json"])


def test_users_get_tokens_for_the_service_and_the_service_for_its_upstreams() -> None:
    realm = demo_realm()
    assert audiences(APP) == audiences(APP_BRIEF) == [realm.client_id]
    assert clients()[APP_BRIEF]["attributes"]["access.token.lifespan"] == "1"
    assert clients()[realm.client_id]["secret"] == realm.client_secret
    assert set(audiences(realm.client_id)) <= set(clients())


def test_each_scenario_meets_an_entry_and_each_entry_a_scenario() -> None:
    met = [entry_for(scenario.call.path) for scenario in SCENARIOS]
    assert [entry for entry in entries() if entry not in met] == []
    assert {scenario.call.host for scenario in SCENARIOS} == {entry["match"]["host"] for entry in entries()}


def test_what_a_success_shows_is_what_the_policy_asks_for_and_the_realm_has() -> None:
    available = audiences(demo_realm().client_id)
    for scenario in SCENARIOS:
        exchange = entry_for(scenario.call.path)["exchange"]
        asked = Target(exchange.get("scope", ""), (), tuple(exchange.get("audiences", ())))
        if isinstance(scenario.expected.upstream, Exchanged):
            assert scenario.expected.upstream.target == asked, scenario.name
            assert set(asked.audiences) <= set(available), scenario.name
            assert list(asked.audiences) == sorted(asked.audiences), "Keycloak's audience has no order; it is shown sorted"


def test_what_is_refused_is_what_the_realm_has_not() -> None:
    refused = {name: entry_for(path)["exchange"].get("audiences") for name, path in (("denied", "/payroll"), ("unknown", "/nowhere"))}
    assert refused["denied"][0] in clients()
    assert refused["denied"][0] not in audiences(demo_realm().client_id)
    assert refused["unknown"][0] not in clients()


def test_each_kind_of_subject_is_shown() -> None:
    assert {scenario.call.subject for scenario in SCENARIOS} == set(Subject) - {Subject.NONE}


def test_the_edit_is_possible_and_of_one_place() -> None:
    (edit,) = (scenario for scenario in SCENARIOS if isinstance(scenario, PolicyEdit))
    assert edit.file == POLICY_FILE
    assert policy_text().count(edit.old) == 1


def test_the_service_finds_nothing_wrong_with_the_policy() -> None:
    _, config_map = yaml.safe_load_all(policy_text())
    read = parse_document(Source("team-green", "token-policy"), config_map["data"]["config.yaml"], frozenset({PROFILE}))
    assert len(read.entries) == len(entries())
    assert read.regions == ()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("https://idp.example.com", "https://idp.example.com"),
        ("https://IDP.example.com:443/auth/", "https://idp.example.com/auth"),
        ("http://[::1]:80", "http://[::1]"),
        ("http://localhost:443", "http://localhost:443"),
    ],
)
def test_an_address_is_shown_as_keycloak_says_it(text: str, shown: str) -> None:
    address = read_address(text)
    assert address is not None
    assert str(address) == shown
    assert issuer_profile(demo_realm(), address)["tokenEndpoint"] == f"{shown}/realms/exchanger-demo/protocol/openid-connect/token"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:8080",
        "ftp://127.0.0.1",
        "http://",
        "http://:80",
        "http://a:0",
        "http://a:70000",
        "http://a:b",
        "http://alice:secret@a",
        "http://a?b",
        "http://a#b",
        "http://a b",
        "http://é",
        "http://[::1",
        "http://a\n",
    ],
)
def test_what_is_no_address_is_none(text: str) -> None:
    assert read_address(text) is None


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("a.example", False)],
)
def test_what_stays_on_this_machine(host: str, here: bool) -> None:
    assert KeycloakAddress(False, host, 8080).on_this_machine is here


def test_a_password_is_a_line_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    for data, password in ((b"secret", "secret"), (b"secret\n", "secret"), (b" secret \r\n", " secret ")):
        file.write_bytes(data)
        assert read_password(file) == password


@pytest.mark.parametrize(("data", "reason"), [(b"", "is empty"), (b"\n", "is empty"), (b"\xff", "it is not text"), (None, "No such file")])
def test_a_file_without_a_password_is_said_to_be_one(data: bytes | None, reason: str, tmp_path: Path) -> None:
    if data is not None:
        (tmp_path / "password").write_bytes(data)
    with pytest.raises(DemoError, match=reason):
        read_password(tmp_path / "password")
