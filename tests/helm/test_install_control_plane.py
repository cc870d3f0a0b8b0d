"""The charts on a real API server: taken without a warning, installed, upgraded, rolled back, removed; admitted where Pod Security is
enforced. No node runs anything here; ``test_rendered_service.py`` makes requests with a pod's token.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.helm.cases import PROFILE, TLS
from tests.helm.chart import CHART, of_kind, only, render
from tests.helm.cluster import Cluster
from tests.helm.rendered_cluster import DEMO, DEMO_CHART, create_pod
from tests.helm.rendered_demo import ADMIN, demo

pytestmark = [pytest.mark.full, pytest.mark.helm, pytest.mark.kubernetes]

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"}
PROFILES = {
    "issuerProfiles": {
        "profiles": [
            {**PROFILE, "clientIDSecretRef": {"name": "issuer", "key": "id"}, "clientSecretSecretRef": {"name": "issuer", "key": "secret"}},
            {**PROFILE, "name": "vault", "clientID": "a", "clientSecretSecretRef": {"name": "deep", "namespace": "vault", "key": "k"}},
        ]
    }
}


@pytest.fixture(scope="module", autouse=True)
def namespaces(cluster: Cluster) -> None:
    for name in ("edge", "vault", "team-a", DEMO):
        cluster.plane.admin.put_namespace(name, RESTRICTED)


@contextmanager
def installed(cluster: Cluster, values: dict[str, Any]) -> Generator[None]:
    """Have the release ``exchanger`` in ``edge`` until the block ends."""
    cluster.install("exchanger", "edge", values)
    try:
        yield
    finally:
        cluster.uninstall("exchanger", "edge")


def upgrade(cluster: Cluster, values: dict[str, Any]) -> None:
    cluster.helm("upgrade", "exchanger", CHART, "--namespace", "edge", values=values)


def found(cluster: Cluster, path: str) -> Any:
    return cluster.plane.admin.request("GET", path)


DEPLOYMENT = "/apis/apps/v1/namespaces/edge/deployments/exchanger"


@pytest.mark.full
def test_a_role_that_changes_under_a_fixed_binding_is_explained(cluster: Cluster) -> None:
    """``roleRef`` is immutable, so that Kubernetes would refuse the binding in the middle of the upgrade."""
    fixed = {"clusterRoleBindingName": "gateway-policies"}
    explained = r"the binding gateway-policies in the cluster is to the role edge\.exchanger-policies, and a binding"
    with installed(cluster, {"rbac": fixed}):
        with pytest.raises(AssertionError, match=explained):
            upgrade(cluster, {"rbac": {**fixed, "clusterRoleName": "authz"}})
        upgrade(cluster, {"rbac": fixed})
        upgrade(cluster, {"rbac": {"clusterRoleName": "authz"}})
        assert found(cluster, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/authz")["roleRef"]["name"] == "authz"


def test_a_release_is_installed_upgraded_rolled_back_and_removed_without_a_trace(cluster: Cluster) -> None:
    def variables() -> dict[str, str]:
        (container,) = found(cluster, DEPLOYMENT)["spec"]["template"]["spec"]["containers"]
        return {variable["name"]: variable.get("value") for variable in container["env"]}

    cluster.install("exchanger", "edge", PROFILES)
    assert variables()["LOG_LEVEL"] == "info"
    selector = found(cluster, DEPLOYMENT)["spec"]["selector"]
    values = {**PROFILES, "log": {"level": "debug"}, "autoscaling": {"enabled": True}, "policyNamespaces": ["team-a"]}
    upgrade(cluster, values)
    assert variables()["LOG_LEVEL"] == "debug"
    assert found(cluster, DEPLOYMENT)["spec"]["selector"] == selector
    assert cluster.plane.admin.exists("/apis/rbac.authorization.k8s.io/v1/namespaces/team-a/roles/edge.exchanger-policies")
    assert not cluster.plane.admin.exists("/apis/rbac.authorization.k8s.io/v1/clusterroles/edge.exchanger-policies")
    cluster.helm("rollback", "exchanger", "1", "--namespace", "edge")
    assert variables()["LOG_LEVEL"] == "info"
    assert not cluster.plane.admin.exists("/apis/rbac.authorization.k8s.io/v1/namespaces/team-a/roles/edge.exchanger-policies")
    cluster.uninstall("exchanger", "edge")
    kinds = "deployments,services,configmaps,secrets,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings"
    more = "networkpolicies,poddisruptionbudgets,horizontalpodautoscalers"
    left = cluster.kubectl("get", f"{kinds},{more}", "--all-namespaces", "-l", "app.kubernetes.io/instance=exchanger", "-o", "name")
    assert left.returncode == 0
    assert not left.stdout


@pytest.mark.full
@pytest.mark.parametrize("server_side", ["true", "false"])
def test_a_secret_that_gets_another_key_does_not_keep_the_old_one(cluster: Cluster, server_side: str) -> None:
    """Whoever may read the Secret would find the secret from before a rotation there."""

    def apply(command: str, word: str) -> None:
        values = {
            "oauth": {"createSecret": True, "clientID": "id", "clientSecret": word, "existingSecret": {"clientSecretKey": f"{word}_key"}},
            "issuerProfiles": {"fileName": f"{word}.yaml", "profiles": [{**PROFILE, "clientID": "id", "clientSecret": word}]},
        }
        cluster.helm(command, "exchanger", CHART, "--namespace", "edge", f"--server-side={server_side}", values=values)
        for name, keys in (
            ("ext-authz-token-exchange-oauth", {"client_id", f"{word}_key"}),
            ("exchanger-issuer-profiles", {f"{word}.yaml"}),
        ):
            assert set(found(cluster, f"/api/v1/namespaces/edge/secrets/{name}")["data"]) == keys

    apply("install", "first")
    apply("upgrade", "second")
    cluster.uninstall("exchanger", "edge")


@pytest.mark.full
def test_release_that_starts_to_scale_keeps_its_replicas(cluster: Cluster) -> None:
    scaled = {"autoscaling": {"enabled": True, "minReplicas": 6}}
    with installed(cluster, {"replicaCount": 6}):
        for values in (scaled, {**scaled, "log": {"level": "debug"}}):
            upgrade(cluster, values)
            assert found(cluster, DEPLOYMENT)["spec"]["replicas"] == 6
        # As the autoscaler does it.
        cluster.plane.admin.merge(f"{DEPLOYMENT}/scale", {"spec": {"replicas": 7}})
        upgrade(cluster, scaled)
        assert found(cluster, DEPLOYMENT)["spec"]["replicas"] == 7


@pytest.mark.full
def test_a_release_becomes_headless_and_back(cluster: Cluster) -> None:
    with installed(cluster, {}):
        for headless in (True, False):
            upgrade(cluster, {"service": {"headless": headless}})
            assert cluster.plane.admin.exists("/api/v1/namespaces/edge/services/exchanger-headless") is headless


def test_pods_are_admitted_where_pod_security_is_enforced(cluster: Cluster) -> None:
    manifests = render(TLS)
    template = only(manifests, "Deployment")["spec"]["template"]
    (hook,) = [manifest for manifest in manifests if manifest["kind"] == "Pod"]
    service = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "service", "namespace": "edge"}, "spec": template["spec"]}
    for pod in (service, hook):
        done = cluster.apply([pod])
        assert (done.returncode, done.stderr) == (0, "")
        cluster.plane.admin.delete(f"/api/v1/namespaces/edge/pods/{pod['metadata']['name']}?gracePeriodSeconds=0")
    service["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    assert "violates PodSecurity" in cluster.apply([service]).stderr


def test_demo_pods_are_admitted_under_restricted_pod_security(cluster: Cluster) -> None:
    cluster.helm("install", "demo", DEMO_CHART, "--namespace", DEMO, values=ADMIN)
    for name in ("fake-token-endpoint", "echo", "keycloak"):
        deployment = cluster.plane.admin.request("GET", f"/apis/apps/v1/namespaces/{DEMO}/deployments/{name}")
        created = create_pod(cluster.plane, deployment)
        assert created["status"]["phase"] == "Pending"
    cluster.helm("upgrade", "demo", DEMO_CHART, "--namespace", DEMO, "--reset-values")
    assert not cluster.plane.admin.exists(f"/apis/apps/v1/namespaces/{DEMO}/deployments/keycloak")
    cluster.plane.admin.delete(f"/api/v1/namespaces/{DEMO}/pods?gracePeriodSeconds=0")
    cluster.uninstall("demo", DEMO)
    left = cluster.kubectl(
        "get", "deployments,services,configmaps,secrets,networkpolicies", "-A", "-l", "app.kubernetes.io/instance=demo", "-o", "name"
    )
    assert not left.stdout


@pytest.mark.usefixtures("gateway_kinds")
@pytest.mark.parametrize("namespace", ["", "gateways"])
def test_the_gateway_api_takes_the_demos_routes(cluster: Cluster, namespace: str) -> None:
    """By the Gateway API's own definitions; the health check of Google's load balancer by a stand-in for its own (``crds/``)."""
    for name in ("demo", "gateways"):
        cluster.plane.admin.put_namespace(name)
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
