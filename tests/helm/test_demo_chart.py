"""The demo's chart on a real API server, and what its recorded renderings (``golden/``) do not say."""

from pathlib import Path

import pytest

from tests.helm.chart import of_kind, only, render, validate
from tests.helm.cluster import Cluster
from tests.helm.rendered_cluster import DEMO, DEMO_CHART, create_pod
from tests.helm.rendered_demo import ADMIN, demo
from tests.kube.control_plane import ControlPlane
from tests.tools import find_tool

pytestmark = [pytest.mark.helm]


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
def test_the_gateway_api_takes_the_routes(control_plane: ControlPlane, namespace: str) -> None:
    """By the Gateway API's own definitions; the health check of Google's load balancer by a stand-in for its own (``crds/``)."""
    folder = find_tool("gateway-crds")
    cluster = Cluster(control_plane, control_plane.kubeconfig_of_admin_certificate("admin.yaml"))
    cluster.define(folder)
    cluster.define(Path(__file__).with_name("crds"))
    for name in ("demo", "gateways"):
        control_plane.admin.put_namespace(name)
    parents = [{"name": "gateway", "namespace": "istio-ingress", "sectionName": "http"}]
    route = {"enabled": True, "namespace": namespace, "parentRefs": parents}
    keycloak_route = {**route, "redirectFrom": [{"name": "gateway", "port": 80}], "gkeHealthCheck": True}
    keycloak = {"enabled": True, "url": "https://id.example:8443", "route": keycloak_route}
    manifests = demo({"route": route, "keycloak": keycloak})
    gateway_kinds = [found for kind in ("HTTPRoute", "ReferenceGrant", "HealthCheckPolicy") for found in of_kind(manifests, kind)]
    assert len(gateway_kinds) == (6 if namespace else 4)
    done = cluster.apply(gateway_kinds, "--dry-run=server", "--validate=strict")
    assert done.returncode == 0, done.stderr
    assert not done.stderr
