"""The admission webhook in the chart: registered for what the service selects, with fewer rights than the service, and apart from it."""

from collections.abc import Mapping
from itertools import product
from typing import Any, Final

import pytest
import yaml

from exchanger.app.admission.settings import SHARED
from exchanger.app.admission.webhook import PATH, UNSELECTED_PATH
from exchanger.model.selector import parse_selector
from exchanger.policy.selection import DOCUMENT_KEY
from tests.helm.cases import CONTAINER, POD, PROFILE, look
from tests.helm.chart import Manifest, of_kind, only, render
from tests.helm.many import render_many

pytestmark = [pytest.mark.helm]

ON: Final[dict[str, Any]] = {"admission": {"enabled": True, "tls": {"source": "certManager"}}}
WEBHOOK: Final = f"{POD}/containers/admission"
SELECTORS: Final = (
    *("a", "!a", " ! a , b", "a=b", "a==b", "a!=b", "a=", "a!=", "a = b", "a in (b,c)", "a notin ( b , c )", "a in (,b)", "a notin (,)"),
    *("a>1", "a < 5,b", "a,b=c", "a in (b),b notin (c,d),!c", "example.com/a=b", "in in (in)", "notin", "a in (in,notin)", "a ,  b!=c"),
)
VALUES: Final = (None, "", "b", "c", "in", "3")


def holds(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Tell what an API server says: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/label-selector/."""

    def one(expression: Mapping[str, Any]) -> bool:
        value, values = labels.get(expression["key"]), expression.get("values", [])
        match expression["operator"]:
            case "In":
                return value is not None and value in values
            case "NotIn":
                return value is None or value not in values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case other:
                raise AssertionError(other)

    return all(map(one, selector.get("matchExpressions", ())))


def webhooks(manifests: list[Manifest]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the registration for policies, and the one for ConfigMaps that only look like policies."""
    policies, unselected = only(manifests, "ValidatingWebhookConfiguration")["webhooks"]
    return policies, unselected


def webhook(manifests: list[Manifest]) -> dict[str, Any]:
    return webhooks(manifests)[0]


@pytest.fixture(scope="module")
def registrations() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    many = [{**ON, "policy": {"configMapSelector": text, "namespaceSelector": text}} for text in SELECTORS]
    texts = render_many(many).texts
    return [webhooks([found for found in yaml.safe_load_all(texts[number]) if found]) for number in range(len(many))]


@pytest.mark.parametrize("number", range(len(SELECTORS)), ids=lambda number: SELECTORS[number])
def test_the_api_server_asks_about_what_the_selectors_select(
    number: int, registrations: list[tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    (found, unselected), text = registrations[number], SELECTORS[number]
    selector, exact = parse_selector(text), not set("<>") & set(text)
    assert found["objectSelector"] == unselected["namespaceSelector"]
    for first, second in product(VALUES, VALUES):
        for one, other in (("a", "b"), ("a", "c"), ("example.com/a", "a"), ("in", "notin")):
            labels = {key: value for key, value in ((one, first), (other, second)) if value is not None}
            asked = holds(found["objectSelector"], labels)
            assert asked == selector.matches(labels) if exact else asked >= selector.matches(labels), labels


def test_selector_from_a_config_map_registers_the_webhook_for_all_labels() -> None:
    hidden = {"CONFIGMAP_LABEL_SELECTOR": {"valueFrom": {"configMapKeyRef": {"name": "a", "key": "b"}}}}
    manifests = render({**ON, "env": hidden})
    given = look(only(manifests, "Deployment", "exchanger-admission"), f"{WEBHOOK}/env/CONFIGMAP_LABEL_SELECTOR/valueFrom")
    assert given == hidden["CONFIGMAP_LABEL_SELECTOR"]["valueFrom"]
    assert webhook(manifests)["objectSelector"] == {}


@pytest.mark.parametrize("namespaces", [[], ["a", "b"]])
def test_the_api_server_asks_about_policies_in_every_namespace(namespaces: list[str]) -> None:
    """Otherwise nobody would warn the author of a policy in a Namespace whose label is wrong."""
    policies, unselected = webhooks(render({**ON, "policyNamespaces": namespaces}))
    assert "namespaceSelector" not in policies
    (one,) = unselected["namespaceSelector"]["matchExpressions"]
    if namespaces:
        assert one == {"key": "kubernetes.io/metadata.name", "operator": "In", "values": namespaces}
    else:
        assert one == {"key": "ext-authz-token-exchange.magneticflux.net/policy", "operator": "In", "values": ["enabled"]}


def test_no_change_depends_on_the_answer_about_what_is_not_selected() -> None:
    values = {**ON, "admission": {**ON["admission"], "failurePolicy": "Fail"}}
    policies, unselected = webhooks(render(values))
    assert (policies["failurePolicy"], unselected["failurePolicy"], unselected["timeoutSeconds"]) == ("Fail", "Ignore", 1)
    assert (policies["clientConfig"]["service"]["path"], unselected["clientConfig"]["service"]["path"]) == (PATH, UNSELECTED_PATH)
    assert "objectSelector" not in unselected
    assert unselected["matchConditions"] == [
        {"name": "has-a-document", "expression": f"has(object.data) && '{DOCUMENT_KEY}' in object.data"}
    ]


def test_kubernetes_without_match_conditions_gets_one_webhook() -> None:
    (found,) = only(render(ON, kubernetes="1.29.0"), "ValidatingWebhookConfiguration")["webhooks"]
    assert found["clientConfig"]["service"]["path"] == PATH


def test_it_may_read_policies_and_namespaces_and_nothing_else() -> None:
    for values, kind, resources in (
        (ON, "ClusterRole", ["configmaps", "namespaces"]),
        ({**ON, "policyNamespaces": ["a"]}, "Role", ["configmaps"]),
    ):
        manifests = render({**values, "issuerProfiles": {"profiles": [PROFILE]}})
        account = only(manifests, "ServiceAccount", "exchanger-admission")["metadata"]
        bindings = [
            found
            for found in (*of_kind(manifests, "ClusterRoleBinding"), *of_kind(manifests, "RoleBinding"))
            if found["subjects"] == [{"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}]
        ]
        (binding,) = bindings
        assert binding["roleRef"]["kind"] == kind
        (role,) = [found for found in of_kind(manifests, kind) if found["metadata"]["name"] == binding["roleRef"]["name"]]
        assert role["rules"] == [{"apiGroups": [""], "resources": resources, "verbs": ["list", "watch"]}]
        assert role["metadata"].get("namespace") == binding["metadata"].get("namespace")


def test_it_has_no_secret_but_its_own_certificate() -> None:
    inline = {"issuerProfiles": {"profiles": [{**PROFILE, "clientID": "id", "clientSecret": "hush"}]}}
    for values in (inline, {"console": {"enabled": True, "token": {"secretName": "console"}}, "tls": {"secretName": "edge"}}):
        deployment = only(render({**ON, **values}), "Deployment", "exchanger-admission")
        secrets = [volume["secret"]["secretName"] for volume in look(deployment, f"{POD}/volumes") if "secret" in volume]
        assert secrets == ["exchanger-admission-tls"]
        assert not look(deployment, f"{WEBHOOK}/envFrom")
        profiles = look(deployment, f"{WEBHOOK}/env/TOKEN_EXCHANGE_ISSUER_PROFILES_FILE")
        assert (profiles is None) is (values is inline)


def test_it_has_the_services_variables_as_far_as_it_reads_them() -> None:
    grants = {"version": "v1", "grants": []}
    values = {**ON, "policyNamespaces": ["a"], "policy": {"grants": grants}, "env": {"LOG_LEVEL": "debug", "OTHER": "1"}}
    manifests = render(values)

    def variables(name: str, at: str) -> dict[str, Any]:
        return {one["name"]: one for one in look(only(manifests, "Deployment", name), f"{at}/env")}

    service, own = variables("exchanger", CONTAINER), variables("exchanger-admission", WEBHOOK)
    shared = {name: one for name, one in own.items() if not name.startswith("ADMISSION_")}
    assert shared == {name: service[name] for name in SHARED if name in service}
    assert "POLICY_GRANTS_FILE" in shared
    mounts = {mount["name"]: mount["mountPath"] for mount in look(only(manifests, "Deployment", "exchanger"), f"{CONTAINER}/volumeMounts")}
    for mount in look(only(manifests, "Deployment", "exchanger-admission"), f"{WEBHOOK}/volumeMounts"):
        assert mount["name"] == "admission-tls" or mount["mountPath"] == mounts[mount["name"]]


def test_neither_takes_the_others_pods_for_its_own() -> None:
    manifests = render(ON)
    selectors = {found["metadata"]["name"]: found["spec"]["selector"] for found in of_kind(manifests, "Service")}
    pods = {found["metadata"]["name"]: look(found, "spec/template/metadata/labels") for found in of_kind(manifests, "Deployment")}
    assert set(selectors) == set(pods) == {"exchanger", "exchanger-admission"}
    for name, selector in selectors.items():
        assert [pod for pod, labels in pods.items() if selector.items() <= labels.items()] == [name]
    for kind in ("NetworkPolicy", "PodDisruptionBudget"):
        for found in of_kind(manifests, kind):
            selector = found["spec"].get("podSelector", found["spec"].get("selector"))["matchLabels"]
            assert [pod for pod, labels in pods.items() if selector.items() <= labels.items()] == [found["metadata"]["name"]]
