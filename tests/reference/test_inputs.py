"""What users of the Go service bring along is read as it was there: policies, issuer profiles, and queries of dashboards and alerts.

The inputs are the YAML files beside this one. They have the names, fields and forms of ``ext-authz-token-exchange`` 0.6.
"""

from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import yaml

from exchanger.exchange.issuers.profile_model import Plan
from exchanger.exchange.issuers.rules import ProfileRules
from exchanger.exchange.issuers.secrets import SecretName
from exchanger.exchange.issuers.value_sources import Reference
from exchanger.model.entry import DenyEntry, ExchangeEntry, Source
from exchanger.model.issuer import AuthMethod, Issuer
from exchanger.model.policy_decision import NoMatch, PolicyDecision, Unhealthy
from exchanger.model.secret import Secret
from exchanger.policy.documents.document import parse_document
from exchanger.policy.snapshot import PolicySnapshot, UnreadableReach
from tests.exchange.issuers.fakes import plan_of
from tests.monitoring.exported import OPEN, exported
from tests.monitoring.promql import read
from tests.monitoring.test_queries import ENVOY, FOREIGN, ISTIO, TARGET


def inputs(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(Path(__file__).with_name(f"{name}.yaml").read_text())
    return found


POLICIES: Final = inputs("policies")
ISSUERS: Final = inputs("issuers")
QUERIES: Final = inputs("queries")


def said(decision: PolicyDecision) -> object:
    """Return a decision as the file has it."""
    match decision:
        case NoMatch():
            return "passes"
        case DenyEntry():
            return "deny"
        case ExchangeEntry(target=target):
            given = attrs.asdict(target)
            assert given.pop("issuer_ref") == "primary"
            return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items() if value}
        case Unhealthy():
            return "closed"
        case other:
            return other


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_decides_as_it_did(name: str) -> None:
    case = POLICIES[name]
    documents = [
        parse_document(Source(f"team-{number}", "policy"), text, frozenset({"primary"})) for number, text in enumerate(case["documents"])
    ]
    alone = [[document] for document in documents]
    for together in alone if case.get("unreadable") else [documents]:
        snapshot = PolicySnapshot(reach=UnreadableReach.GLOBAL).changed({document.source: document for document in together})
        for request, expected in case["requests"].items():
            method, host, path = request.split()
            assert said(snapshot.match(host, path, method)) == expected, request


def planned(case: dict[str, Any]) -> Plan | None:
    method = AuthMethod(case.get("method", "client_secret_basic"))
    plan = plan_of(case["text"], ProfileRules(method, namespace="edge", with_secrets=True, allow_http=case.get("http", False)))
    return plan if isinstance(plan, Plan) else None


def credential(found: object) -> str:
    match found:
        case Reference(place=SecretName() as secret, key=key):
            return f"{secret.namespace}/{secret.name}/{key}"
        case Secret():
            return found.reveal()
        case str():
            return found
        case _:
            pytest.fail("the Go service knows no such client")


def shown(profile: Issuer[Reference]) -> list[str]:
    credentials = [credential(profile.credentials.client_id), credential(profile.credentials.proof)]
    return [profile.endpoint_host, profile.auth_method.value, profile.bearer_realm, *credentials]


@pytest.mark.parametrize("name", ISSUERS)
def test_a_file_of_issuers_means_what_it_did(name: str) -> None:
    plan = planned(ISSUERS[name])
    found = None if plan is None else {profile.name: shown(profile) for profile in plan.profiles}
    assert found == ISSUERS[name].get("profiles")


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_is_answered(name: str) -> None:
    """By series and labels that the service exports, or by the gateway's own."""
    reading = read(QUERIES[name])
    (selected,) = reading.metrics
    if FOREIGN.get(selected) in {ENVOY, ISTIO}:
        return
    labels = exported()[selected].values
    for selector in reading.selectors:
        for label, operator, value in selector.matchers:
            assert operator == "="
            assert label in TARGET or value in labels[label], (label, value)
    assert reading.labels <= labels.keys()
    assert reading.labels - OPEN <= {label for label, values in labels.items() if len(values) > 1}
