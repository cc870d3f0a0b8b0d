"""The chart on a real API server: taken without a warning, installed, upgraded, rolled back, removed; admitted where Pod Security is
enforced; with the rights that it needs and no others. No node runs anything here.
"""

from collections.abc import Generator
from typing import Any

import httpx
import pytest

from tests.helm.cases import PROFILE, TLS
from tests.helm.chart import CHART, Manifest, only, render
from tests.helm.cluster import Cluster
from tests.kube.control_plane import ControlPlane

pytestmark = [pytest.mark.helm, pytest.mark.kubernetes]

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"}
PROFILES = {
    "issuerProfiles": {
        "profiles": [
            {**PROFILE, "clientIDSecretRef": {"name": "issuer", "key": "id"}, "clientSecretSecretRef": {"name": "issuer", "key": "secret"}},
            {**PROFILE, "name": "vault", "clientID": "a", "clientSecretSecretRef": {"name": "deep", "namespace": "vault", "key": "k"}},
        ]
    }
}


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane) -> Cluster:
    for name in ("edge", "vault", "team-a", "team-b"):
        control_plane.admin.put_namespace(name, RESTRICTED)
    return Cluster(control_plane, control_plane.kubeconfig_of_admin_certificate("admin.yaml"))


@pytest.fixture
def installed(cluster: Cluster, request: pytest.FixtureRequest) -> Generator[Cluster]:
    """Install the release ``exchanger`` in ``edge`` with the values that the test is parametrised with."""
    cluster.install("exchanger", "edge", request.param)
    try:
        cluster.settle()
        yield cluster
    finally:
        cluster.helm("uninstall", "exchanger", "--namespace", "edge")


def found(cluster: Cluster, path: str) -> Any:
    return cluster.plane.admin.request("GET", path)


DEPLOYMENT = "/apis/apps/v1/namespaces/edge/deployments/exchanger"


@pytest.mark.parametrize(
    "values",
    [
        {},
        {**PROFILES, **TLS, "autoscaling": {"enabled": True}, "service": {"type": "NodePort", "trafficDistribution": "PreferSameZone"}},
        {"policyNamespaces": ["team-a", "team-b"], "oauth": {"createSecret": True, "clientID": "a", "clientSecret": "b"}},
    ],
    ids=["defaults", "full", "namespaced"],
)
def test_the_api_server_takes_every_manifest_without_a_warning(cluster: Cluster, values: dict[str, Any]) -> None:
    done = cluster.apply(render(values), "--dry-run=server", "--validate=strict")
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_the_api_server_does_not_take_a_wrong_field(cluster: Cluster) -> None:
    deployment = only(render(), "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["volumMounts"] = []
    assert "volumMounts" in cluster.apply([deployment], "--dry-run=server", "--validate=strict").stderr


FIXED = {"rbac": {"clusterRoleBindingName": "gateway-policies"}}


@pytest.mark.parametrize("installed", [FIXED], indirect=True, ids=["fixed binding"])
def test_a_role_that_changes_under_a_fixed_binding_is_explained(installed: Cluster) -> None:
    """``roleRef`` is immutable, so that Kubernetes would refuse the binding in the middle of the upgrade."""
    rbac = {**FIXED["rbac"], "clusterRoleName": "authz"}
    with pytest.raises(
        AssertionError, match=r"the binding gateway-policies in the cluster is to the role edge\.exchanger-policies, and a binding"
    ):
        installed.helm("upgrade", "exchanger", CHART, "--namespace", "edge", values={"rbac": rbac})
    installed.helm("upgrade", "exchanger", CHART, "--namespace", "edge", values=FIXED)
    values = {"rbac": {**rbac, "clusterRoleBindingName": ""}}
    installed.helm("upgrade", "exchanger", CHART, "--namespace", "edge", values=values)
    binding = found(installed, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/authz")
    assert binding["roleRef"]["name"] == "authz"


def test_a_release_is_installed_upgraded_rolled_back_and_removed_without_a_trace(cluster: Cluster) -> None:
    def variables() -> dict[str, str]:
        (container,) = found(cluster, DEPLOYMENT)["spec"]["template"]["spec"]["containers"]
        return {variable["name"]: variable.get("value") for variable in container["env"]}

    cluster.install("exchanger", "edge", PROFILES)
    assert variables()["LOG_LEVEL"] == "info"
    selector = found(cluster, DEPLOYMENT)["spec"]["selector"]
    values = {**PROFILES, "log": {"level": "debug"}, "autoscaling": {"enabled": True}, "policyNamespaces": ["team-a"]}
    cluster.helm("upgrade", "exchanger", CHART, "--namespace", "edge", values=values)
    assert variables()["LOG_LEVEL"] == "debug"
    assert found(cluster, DEPLOYMENT)["spec"]["selector"] == selector
    assert cluster.plane.admin.exists("/apis/rbac.authorization.k8s.io/v1/namespaces/team-a/roles/edge.exchanger-policies")
    assert not cluster.plane.admin.exists("/apis/rbac.authorization.k8s.io/v1/clusterroles/edge.exchanger-policies")
    cluster.helm("rollback", "exchanger", "1", "--namespace", "edge")
    assert variables()["LOG_LEVEL"] == "info"
    assert not cluster.plane.admin.exists("/apis/rbac.authorization.k8s.io/v1/namespaces/team-a/roles/edge.exchanger-policies")
    cluster.helm("uninstall", "exchanger", "--namespace", "edge")
    kinds = "deployments,services,configmaps,secrets,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings"
    more = "networkpolicies,poddisruptionbudgets,horizontalpodautoscalers"
    left = cluster.kubectl("get", f"{kinds},{more}", "--all-namespaces", "-l", "app.kubernetes.io/instance=exchanger", "-o", "name")
    assert left.returncode == 0
    assert not left.stdout


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
    cluster.helm("uninstall", "exchanger", "--namespace", "edge")


def test_a_release_that_begins_to_scale_keeps_its_pods_and_then_leaves_them_to_the_autoscaler(cluster: Cluster) -> None:
    def replicas() -> int:
        count: int = found(cluster, DEPLOYMENT)["spec"]["replicas"]
        return count

    def upgrade(values: dict[str, Any]) -> None:
        cluster.helm("upgrade", "exchanger", CHART, "--namespace", "edge", values=values)

    scaled = {"autoscaling": {"enabled": True, "minReplicas": 6}}
    cluster.install("exchanger", "edge", {"replicaCount": 6})
    upgrade(scaled)
    assert replicas() == 6
    upgrade({**scaled, "log": {"level": "debug"}})
    assert replicas() == 6
    # As the autoscaler does it.
    cluster.plane.admin.merge(f"{DEPLOYMENT}/scale", {"spec": {"replicas": 7}})
    upgrade(scaled)
    assert replicas() == 7
    cluster.helm("uninstall", "exchanger", "--namespace", "edge")


def test_a_release_becomes_headless_and_back(cluster: Cluster) -> None:
    cluster.install("exchanger", "edge", {})
    for headless in (True, False):
        cluster.helm("upgrade", "exchanger", CHART, "--namespace", "edge", values={"service": {"headless": headless}})
        assert cluster.plane.admin.exists("/api/v1/namespaces/edge/services/exchanger-headless") is headless
    cluster.helm("uninstall", "exchanger", "--namespace", "edge")


def pods() -> dict[str, Manifest]:
    manifests = render(TLS)
    template = only(manifests, "Deployment")["spec"]["template"]
    (hook,) = [manifest for manifest in manifests if manifest["kind"] == "Pod"]
    service = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "service", "namespace": "edge"}, "spec": template["spec"]}
    return {"service": service, "test": hook}


@pytest.mark.parametrize("name", ["service", "test"])
def test_pods_are_admitted_where_pod_security_is_enforced(cluster: Cluster, name: str) -> None:
    pod = pods()[name]
    done = cluster.apply([pod])
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    cluster.plane.admin.delete(f"/api/v1/namespaces/edge/pods/{pod['metadata']['name']}?gracePeriodSeconds=0")


def test_pod_security_is_really_enforced(cluster: Cluster) -> None:
    pod = pods()["service"]
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    assert "violates PodSecurity" in cluster.apply([pod]).stderr


READ = ("list", "watch")


@pytest.mark.parametrize("installed", [PROFILES], indirect=True)
def test_for_the_whole_cluster_it_may_read_policy_and_namespaces_and_nothing_else(installed: Cluster) -> None:
    account = "edge:exchanger"
    for verb in READ:
        assert installed.may(account, verb, "configmaps", "--all-namespaces")
        assert installed.may(account, verb, "namespaces")
    for verb in ("create", "patch"):
        assert installed.may(account, verb, "events", "-n", "team-a")
    for verb, resource in (
        ("get", "configmaps"),
        ("create", "configmaps"),
        ("patch", "configmaps"),
        ("list", "events"),
        ("delete", "events"),
        ("list", "secrets"),
        ("list", "pods"),
        ("create", "pods"),
        ("impersonate", "users"),
    ):
        assert not installed.may(account, verb, resource, "-n", "team-a"), (verb, resource)
        assert not installed.may(account, verb, resource, "-n", "edge"), (verb, resource)


@pytest.mark.parametrize("installed", [{"policyNamespaces": ["team-a"]}], indirect=True)
def test_for_named_namespaces_it_may_read_policy_there_and_nothing_elsewhere(installed: Cluster) -> None:
    account = "edge:exchanger"
    for verb in READ:
        assert installed.may(account, verb, "configmaps", "-n", "team-a")
        assert not installed.may(account, verb, "configmaps", "-n", "team-b")
        assert not installed.may(account, verb, "configmaps", "-n", "edge")
        assert not installed.may(account, verb, "configmaps", "--all-namespaces")
        assert not installed.may(account, verb, "namespaces")
    assert installed.may(account, "create", "events", "-n", "team-a")
    assert not installed.may(account, "create", "events", "-n", "team-b")
    for verb in ("get", *READ):
        for namespace in ("edge", "team-a", "team-b"):
            assert not installed.may(account, verb, "secrets", "-n", namespace)
    ask = installed.status_for
    assert ask("edge", "exchanger", "GET", "/api/v1/namespaces/team-a/configmaps") == httpx.codes.OK
    assert ask("edge", "exchanger", "GET", "/api/v1/namespaces/team-b/configmaps") == httpx.codes.FORBIDDEN
    assert ask("edge", "exchanger", "GET", "/api/v1/namespaces") == httpx.codes.FORBIDDEN


@pytest.mark.parametrize("installed", [PROFILES], indirect=True)
def test_of_secrets_it_reads_those_of_its_profiles_by_name_only(installed: Cluster) -> None:
    admin = installed.plane.admin
    for namespace, name in (("edge", "issuer"), ("edge", "other"), ("vault", "deep"), ("vault", "issuer"), ("team-a", "issuer")):
        admin.put_secret(namespace, name, {"k": "v"})

    def status(namespace: str, rest: str) -> int:
        return installed.status_for("edge", "exchanger", "GET", f"/api/v1/namespaces/{namespace}/secrets{rest}")

    for namespace, name in (("edge", "issuer"), ("vault", "deep")):
        assert status(namespace, f"/{name}") == httpx.codes.FORBIDDEN
        assert status(namespace, f"?fieldSelector=metadata.name%3D{name}") == httpx.codes.OK
        assert status(namespace, f"?fieldSelector=metadata.name%3D{name}&watch=1&timeoutSeconds=1") == httpx.codes.OK
    for namespace, rest in (
        ("edge", "/other"),
        ("edge", ""),
        ("edge", "?watch=1&timeoutSeconds=1"),
        ("edge", "?fieldSelector=metadata.name%3Dother"),
        ("vault", "/issuer"),
        ("vault", ""),
        ("team-a", "/issuer"),
        ("team-a", ""),
    ):
        assert status(namespace, rest) == httpx.codes.FORBIDDEN, (namespace, rest)
    assert installed.status_for("edge", "exchanger", "DELETE", "/api/v1/namespaces/edge/secrets/issuer") == httpx.codes.FORBIDDEN
    assert installed.status_for("edge", "exchanger", "PATCH", "/api/v1/namespaces/edge/secrets/issuer", {}) == httpx.codes.FORBIDDEN


@pytest.mark.parametrize("installed", [{"policy": {"events": False}}], indirect=True)
def test_without_events_it_may_write_nothing_at_all(installed: Cluster) -> None:
    assert not installed.may("edge:exchanger", "create", "events", "-n", "team-a")
    event = {"metadata": {"name": "e"}, "involvedObject": {"namespace": "team-a"}}
    path = "/api/v1/namespaces/team-a/events"
    assert installed.status_for("edge", "exchanger", "POST", path, event) == httpx.codes.FORBIDDEN


@pytest.mark.parametrize("installed", [{"rbac": {"create": False, "serviceAccountName": "theirs"}}], indirect=True)
def test_without_rbac_the_chart_gives_no_rights(installed: Cluster) -> None:
    assert found(installed, DEPLOYMENT)["spec"]["template"]["spec"]["serviceAccountName"] == "theirs"
    assert not installed.may("edge:theirs", "list", "configmaps", "--all-namespaces")
    assert not installed.plane.admin.exists("/api/v1/namespaces/edge/serviceaccounts/theirs")
