"""The demo's chart: every value changes what it should, what is rendered is valid and hardened, and Kubernetes takes it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from tests.helm.cases import Case
from tests.helm.chart import of_kind, only, refusal, render, run_helm
from tests.helm.cluster import Cluster
from tests.helm.rendered_cluster import DEMO, DEMO_CHART, create_pod
from tests.helm.rendered_demo import ADMIN, CASES, KEYCLOAK, ROUTE, SETTINGS, demo, found, leaves, placed, pods
from tests.kube.control_plane import ControlPlane
from tests.tools import find_tool

pytestmark = [pytest.mark.helm]

VERSIONS: Final = ("1.29", "1.33", "1.37")


def test_no_value_is_without_a_case_and_no_case_without_its_value() -> None:
    assert {case.path for case in CASES} == set(leaves(yaml.safe_load((DEMO_CHART / "values.yaml").read_text())))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.path)
def test_a_value_changes_what_it_should(case: Case) -> None:
    assert found(case.given, case) != case.expected
    assert found(placed(case.given, case.path, case.value), case) == case.expected


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", SETTINGS)
def test_every_manifest_is_valid_and_has_no_field_that_kubernetes_does_not_know(name: str, version: str) -> None:
    for manifest in demo(SETTINGS[name], kubernetes=f"{version}.0"):
        if not manifest["apiVersion"].startswith("gateway.networking.k8s.io/"):
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("name", SETTINGS)
def test_lint_has_no_objection(name: str, tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(SETTINGS[name]))
    done = run_helm("lint", "--strict", DEMO_CHART, "--values", path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


def test_without_anything_nothing_is_rendered() -> None:
    assert demo(SETTINGS["nothing"]) == []


def test_names_of_digits_stay_names() -> None:
    teams = {team: {"namespace": str(number)} for number, team in enumerate(("yellow", "red", "blue"), 4711)}
    values = {**ADMIN, "route": {"enabled": True, "namespace": "007"}, "teams": teams}
    manifests = render(values, chart=DEMO_CHART, release="123", namespace="0815")
    for manifest in manifests:
        if not manifest["apiVersion"].startswith("gateway.networking.k8s.io/"):
            kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
        assert isinstance(manifest["metadata"]["name"], str)
        assert isinstance(manifest["metadata"].get("namespace", ""), str)
    route, grant = (only(manifests, kind) for kind in ("HTTPRoute", "ReferenceGrant"))
    assert route["metadata"]["name"] == "123"
    assert route["spec"]["rules"][0]["backendRefs"][0]["namespace"] == "0815"
    assert grant["spec"]["from"][0]["namespace"] == "007"
    assert {found["metadata"]["name"] for found in of_kind(manifests, "Namespace")} == {"4711", "4712", "4713"}


SENTENCES: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "two teams with a host": ({"teams": {"red": {"host": "blue.example.com"}}}, "two teams have the same host"),
    "two teams in a namespace": ({"teams": {"red": {"namespace": "team-blue"}}}, "team-blue is another team's"),
    "a team where the demo is": ({"teams": {"red": {"namespace": "demo"}}}, "or the release's own"),
    "a route to nowhere": ({**ROUTE, "echo": {"enabled": False}}, "needs echo.enabled"),
    "a route for every host": ({**ROUTE, "teams": SETTINGS["nothing"]["teams"]}, "name hosts in route.hostnames"),
    "a policy without its team": ({**KEYCLOAK, "teams": {"yellow": {"enabled": False}}}, "needs teams.yellow.enabled"),
    "two Services with a name": ({"echo": {"name": "fake-token-endpoint"}}, "the name of two Services"),
    "a value that is not there": ({"colour": "green"}, "colour"),
    "a team that is not there": ({"teams": {"green": {"enabled": True}}}, "green"),
    "a pod as root": ({"podSecurityContext": {"runAsUser": 0}}, "runAsUser"),
    "a container that keeps capabilities": ({"securityContext": {"capabilities": {"drop": ["KILL"]}}}, "drop"),
    "a host with a port": ({"teams": {"red": {"host": "red.example.com:80"}}}, "host"),
    "a route without a gateway": ({"route": {"enabled": True, "parentRefs": []}}, "parentRefs"),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_what_cannot_be_meant_is_refused_with_a_sentence(name: str) -> None:
    values, sentence = SENTENCES[name]
    assert sentence in refusal(values, chart=DEMO_CHART, release="demo", namespace="demo")


def test_the_schema_has_no_free_form_holes_and_knows_every_value() -> None:
    schema = json.loads((DEMO_CHART / "values.schema.json").read_text())

    def holes(node: Any, path: str) -> Iterator[str]:
        if isinstance(node, dict):
            closed = node.get("additionalProperties") is False or isinstance(node.get("additionalProperties"), dict)
            if node.get("type") == "object" and not closed:
                yield path
            for name, value in node.items():
                yield from holes(value, f"{path}/{name}")

    assert list(holes(schema, "")) == ["/properties/global"]
    assert set(schema["properties"]) == {*yaml.safe_load((DEMO_CHART / "values.yaml").read_text()), "global", "enabled"}


# -- hardened


def test_every_pod_is_restricted_and_has_no_token_and_only_keycloak_writes() -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    all_pods = pods(demo(SETTINGS["everything"]))
    assert set(all_pods) == {"fake-token-endpoint", "echo", "keycloak"}
    for name, pod in all_pods.items():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["readOnlyRootFilesystem"] is (name != "keycloak")
        assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("name", ["everything", "closed"])
def test_the_pods_reach_nothing_and_are_reached_as_the_values_say(name: str) -> None:
    policies = of_kind(demo(SETTINGS[name]), "NetworkPolicy")
    assert len(policies) == 3
    for policy in policies:
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        assert policy["spec"]["egress"] == []
        assert bool(policy["spec"]["ingress"]) is (name == "everything")


@pytest.mark.kubernetes
def test_the_api_server_takes_everything_and_admits_the_pods_where_pod_security_is_enforced(control_plane: ControlPlane) -> None:
    cluster = Cluster(control_plane, control_plane.kubeconfig_of_admin_certificate("admin.yaml"))
    control_plane.admin.put_namespace(DEMO, {"pod-security.kubernetes.io/enforce": "restricted"})
    cluster.helm("install", "demo", DEMO_CHART, "--namespace", DEMO, values=ADMIN)
    for name in ("fake-token-endpoint", "echo", "keycloak"):
        deployment = control_plane.admin.request("GET", f"/apis/apps/v1/namespaces/{DEMO}/deployments/{name}")
        created = create_pod(control_plane, deployment)
        assert created["status"]["phase"] == "Pending"
    cluster.helm("upgrade", "demo", DEMO_CHART, "--namespace", DEMO, "--reset-values")
    assert not control_plane.admin.exists(f"/apis/apps/v1/namespaces/{DEMO}/deployments/keycloak")
    cluster.helm("uninstall", "demo", "--namespace", DEMO)
    left = cluster.kubectl(
        "get", "deployments,services,configmaps,secrets,networkpolicies", "-A", "-l", "app.kubernetes.io/instance=demo", "-o", "name"
    )
    assert not left.stdout


@pytest.mark.kubernetes
@pytest.mark.parametrize("namespace", ["", "gateways"])
def test_the_gateway_api_takes_the_route(control_plane: ControlPlane, namespace: str) -> None:
    """By the Gateway API's own definitions."""
    folder = find_tool("gateway-crds")
    cluster = Cluster(control_plane, control_plane.kubeconfig_of_admin_certificate("admin.yaml"))
    cluster.define(folder)
    for name in ("demo", "gateways"):
        control_plane.admin.put_namespace(name)
    parents = [{"name": "gateway", "namespace": "istio-ingress", "sectionName": "http"}]
    manifests = demo({"route": {"enabled": True, "namespace": namespace, "parentRefs": parents}})
    gateway_kinds = [found for kind in ("HTTPRoute", "ReferenceGrant") for found in of_kind(manifests, kind)]
    assert len(gateway_kinds) == (2 if namespace else 1)
    done = cluster.apply(gateway_kinds, "--dry-run=server", "--validate=strict")
    assert done.returncode == 0, done.stderr
    assert not done.stderr
