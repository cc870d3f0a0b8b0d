"""The rights that the chart gives are exactly those that the service needs: no rule more, no verb more, in no other place."""

from typing import Any

import pytest

from tests.helm.cases import PROFILE
from tests.helm.chart import of_kind, render

pytestmark = [pytest.mark.helm]

Rules = list[dict[str, list[str]]]
EVENTS: dict[str, list[str]] = {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]}


def rights(values: dict[str, Any]) -> dict[str, Rules]:
    """Return the rules by where they hold; each role is bound once, in its own place, to the pods' ServiceAccount."""
    manifests = render(values)
    found: dict[str, Rules] = {}
    bound = []
    for kind in ("ClusterRole", "Role"):
        for role in of_kind(manifests, kind):
            where = role["metadata"].get("namespace", "everywhere")
            found[where] = found.get(where, []) + role["rules"]
            bound.append((kind, where, role["metadata"]["name"]))
        for binding in of_kind(manifests, f"{kind}Binding"):
            bound.remove((binding["roleRef"]["kind"], binding["metadata"].get("namespace", "everywhere"), binding["roleRef"]["name"]))
            assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "exchanger", "namespace": "edge"}]
    assert not bound
    return found


def policies(*resources: str) -> dict[str, list[str]]:
    return {"apiGroups": [""], "resources": list(resources), "verbs": ["list", "watch"]}


def secrets(*names: str) -> dict[str, list[str]]:
    return {"apiGroups": [""], "resources": ["secrets"], "resourceNames": list(names), "verbs": ["list", "watch"]}


def test_by_default_it_reads_policies_everywhere_and_tells_their_authors() -> None:
    assert rights({}) == {"everywhere": [policies("configmaps", "namespaces"), EVENTS]}


def test_without_events_nothing_is_written() -> None:
    assert rights({"policy": {"events": False}}) == {"everywhere": [policies("configmaps", "namespaces")]}
    assert rights({"policyNamespaces": ["a"], "env": {"POLICY_EVENTS": "off"}}) == {"a": [policies("configmaps")]}


def test_secrets_are_named_once_each_in_their_own_namespace() -> None:
    profiles = [
        {**PROFILE, "clientIDSecretRef": {"name": "b", "key": "i"}, "clientSecretSecretRef": {"name": "b", "key": "s"}},
        {**PROFILE, "name": "2", "clientID": "id", "clientSecretSecretRef": {"name": "a", "key": "s", "namespace": "edge"}},
        {**PROFILE, "name": "3", "clientIDSecretRef": {"name": "v", "key": "i", "namespace": "vault"}, "clientSecret": "inline"},
    ]
    found = rights({"policyNamespaces": ["vault"], "issuerProfiles": {"profiles": profiles}, "rbac": {"secrets": [{"name": "more"}]}})
    assert found == {"edge": [secrets("a", "b", "more")], "vault": [policies("configmaps"), EVENTS, secrets("v")]}


def test_a_profile_without_credentials_has_those_of_oauth() -> None:
    profiles = {"issuerProfiles": {"profiles": [PROFILE]}}
    assert rights(profiles)["edge"] == [secrets("ext-authz-token-exchange-oauth")]
    assert rights({**profiles, "oauth": {"existingSecret": {"name": "theirs"}}})["edge"] == [secrets("theirs")]
    own = {"createSecret": True, "secretName": "own", "clientID": "a", "clientSecret": "b"}
    assert rights({**profiles, "oauth": own})["edge"] == [secrets("own")]


def test_a_client_without_a_secret_needs_none_of_oauth() -> None:
    address = {"name": "primary", "discovery": "https://issuer.example.com"}
    for client in (
        {"clientAssertionFile": {"path": "/var/run/secrets/tokens/idp"}},
        {"clientID": "a", "clientCertificate": {"certFile": "/tls/tls.crt", "keyFile": "/tls/tls.key"}},
        {"clientID": "a", "tokenEndpointAuthMethod": "none"},
    ):
        found = rights({"issuerProfiles": {"profiles": [{**address, **client}]}, "oauth": {"existingSecret": {"name": ""}}})
        assert "edge" not in found
    key = {"clientID": "a", "clientAssertion": {"algorithm": "ES256", "keySecretRef": {"name": "key", "key": "private.pem"}}}
    assert rights({"issuerProfiles": {"profiles": [{**address, **key}]}})["edge"] == [secrets("key")]


def test_with_profiles_that_somebody_else_keeps_only_the_named_secrets_are_read() -> None:
    values = {"issuerProfiles": {"existingConfigMap": "kept"}, "rbac": {"secrets": [{"name": "a"}, {"name": "b", "namespace": "vault"}]}}
    found = rights(values)
    assert (found["edge"], found["vault"]) == ([secrets("a")], [secrets("b")])
