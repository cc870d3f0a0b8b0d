"""The scenarios, the sample policy and the token endpoint's rules speak of the same things."""

from functools import cache
from typing import cast

import pytest
import yaml

from exchanger.demo.service import own_issuers, sample_policy
from exchanger.demo.token_rules import RULES, TOKEN_PATHS
from exchanger.policy.document import parse_document
from exchanger.scenarios.answer import Exchanged, Target
from exchanger.scenarios.builtin import SCENARIOS, packaged_scenarios
from exchanger.scenarios.runner import summary
from exchanger.scenarios.scenario import PolicyEdit
from exchanger.values.entry import Source

ALL = (
    ("yellow-success", "200 exchanged for scope read:orders"),
    ("red-success", "200 exchanged for resource https://inventory.red.example.com/"),
    ("blue-success", "200 exchanged for audience reports-api archive-api"),
    ("missing-bearer", '401 bearer_token_required [Bearer realm="exchanger-demo", scope="read:orders"]'),
    ("cors-preflight", "200 passed on without a token"),
    ("options-missing-bearer", '401 bearer_token_required [Bearer realm="exchanger-demo", scope="read:orders"]'),
    ("options-bearer", "200 exchanged for scope read:orders"),
    ("unmatched", "200 passed on with the original token"),
    ("explicit-deny", "403 policy_denied"),
    ("invalid-target", "400 invalid_target TXE-2001"),
    ("invalid-grant", "400 invalid_grant TXE-2001"),
    ("expired-subject-token", "400 invalid_request TXE-2001"),
    ("unauthorized", '401 invalid_client TXE-2001 [Basic realm="demo-issuer"]'),
    ("forbidden", "500 server_error TXE-2004"),
    ("unavailable", "500 server_error TXE-2005"),
    ("malformed", "500 invalid_request TXE-3001"),
    ("missing-access-token", "500 invalid_request TXE-3002"),
    ("wrong-token-type", "500 invalid_request TXE-3003"),
    ("wrong-issued-token-type", "500 invalid_request TXE-3004"),
    ("timeout", "500 server_error TXE-1003"),
    ("coalescing", "10 × 200 exchanged for scope read:digest, 1 token request"),
    ("policy-edit", "200 exchanged for scope read:orders:edited within 1 s, and back"),
)
WITHOUT_ENTRY = {"unmatched"}
Entry = dict[str, dict[str, object]]


@cache
def documents() -> list[dict[str, dict[str, object]]]:
    return [document for file in sample_policy() for document in yaml.safe_load_all(file.read_text("utf-8"))]


@cache
def entries() -> list[Entry]:
    texts = [cast("str", document["data"]["config.yaml"]) for document in documents() if "data" in document]
    return [entry for text in texts for entry in yaml.safe_load(text)["entries"]]


def entry_for(host: str, path: str) -> Entry | None:
    """The longest prefix wins; methods play no part in the demo's scenarios."""
    found = [entry for entry in entries() if entry["match"]["host"] == host and path.startswith(str(entry["match"]["pathPrefix"]))]
    return max(found, key=lambda entry: len(str(entry["match"]["pathPrefix"])), default=None)


def target_of(entry: Entry) -> Target:
    exchange = cast("dict[str, list[str]]", entry["exchange"])
    return Target(str(entry["exchange"].get("scope", "")), tuple(exchange.get("resources", ())), tuple(exchange.get("audiences", ())))


def test_the_list_is_complete_in_its_order_and_expects_what_it_always_has() -> None:
    assert tuple((scenario.name, summary(scenario)) for scenario in SCENARIOS) == ALL


def test_a_packaged_file_that_is_no_scenario_file_is_a_fault() -> None:
    with pytest.raises(ValueError, match=r"^policy/yellow\.yaml: the file must have one document$"):
        packaged_scenarios("exchanger.demo", "policy/yellow.yaml")


def test_scenarios_and_entries_meet_and_a_success_shows_the_entrys_target() -> None:
    met = {scenario.name: entry_for(scenario.call.host, scenario.call.path) for scenario in SCENARIOS}
    assert {name for name, entry in met.items() if entry is None} == WITHOUT_ENTRY
    assert [entry for entry in entries() if entry not in met.values()] == []
    for scenario in SCENARIOS:
        entry = met[scenario.name]
        if isinstance(scenario.expected.upstream, Exchanged):
            assert entry is not None
            assert scenario.expected.upstream.target == target_of(entry), scenario.name


def test_each_entry_names_an_issuer_profile_and_each_profile_is_named() -> None:
    profiles = own_issuers(1)
    named = {str(entry["exchange"]["issuerRef"]) for entry in entries() if "exchange" in entry}
    assert named == {profile["name"] for profile in profiles}
    assert {profile["tokenEndpoint"] for profile in profiles} == {f"http://127.0.0.1:1{path}" for path in TOKEN_PATHS}


def test_the_service_finds_nothing_wrong_with_the_sample_policy() -> None:
    profiles = own_issuers(1)
    names = frozenset(profile["name"] for profile in profiles)
    for document in documents():
        if "data" in document:
            read = parse_document(
                Source(str(document["metadata"]["namespace"]), "token-policy"), str(document["data"]["config.yaml"]), names
            )
            assert read.entries
            assert read.regions == ()


def test_each_rule_is_for_something_that_the_policy_asks_for() -> None:
    targets = [target_of(entry) for entry in entries() if "exchange" in entry]
    for rule in RULES:
        if rule.path is None:
            assert any(rule.matches("/token", target) for target in targets), rule


def test_teams_have_namespaces_of_their_own_with_the_labels_that_select_them() -> None:
    labels = {
        "Namespace": {"ext-authz-token-exchange.magneticflux.net/policy": "enabled"},
        "ConfigMap": {"ext-authz-token-exchange.magneticflux.net/enabled": "true"},
    }
    assert [file.name for file in sample_policy()] == ["blue.yaml", "red.yaml", "yellow.yaml"]
    found = [(str(document["kind"]), document["metadata"]) for document in documents()]
    assert [kind for kind, _ in found] == ["Namespace", "ConfigMap"] * 3
    assert all(metadata["labels"] == labels[kind] for kind, metadata in found)
    assert len({metadata.get("namespace", metadata["name"]) for _, metadata in found}) == 3


def test_the_edit_changes_one_place_of_its_file() -> None:
    files = {file.name: file.read_text("utf-8") for file in sample_policy()}
    for scenario in SCENARIOS:
        if isinstance(scenario, PolicyEdit):
            assert files[scenario.file].count(scenario.old) == 1
            assert scenario.new not in files[scenario.file]
