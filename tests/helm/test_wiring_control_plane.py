"""The wirings on a real API server that knows the gateways' kinds: by their own definitions, GKE's by stand-ins (``crds/README.md``).

So are the monitors and alerts, by the Prometheus operator's definitions.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.helm.chart import CHART, Manifest, render
from tests.helm.cluster import Cluster
from tests.helm.guides import Block, blocks
from tests.helm.wirings import ALIAS, BACKEND_TLS, EXTENSION_POLICY, FILTER, GKE, GKE_SELF_SIGNED, MODES, SERVICE_ENTRY
from tests.kube.control_plane import ControlPlane
from tests.tools import find_tool

pytestmark = [pytest.mark.helm, pytest.mark.kubernetes]

STAND_INS: Final = Path(__file__).resolve().parent / "crds" / "gke.yaml"
NAMESPACES: Final = ("cert-manager", "edge", "gateways", "istio-ingress")
STRICT: Final = ("--dry-run=server", "--validate=strict")
GUARD_S: Final = 30.0
"""Seconds until the API server has compiled a new admission policy; it takes one or two."""
SECRET: Final = "/api/v1/namespaces/edge/secrets/gateway-ext-authz-tls"

RELABELINGS: Final = [{"action": "replace", "sourceLabels": ["a"], "regex": "(.*)", "targetLabel": "b", "replacement": "$1"}]
MONITOR: Final = {
    "enabled": True,
    "labels": {"release": "prometheus"},
    "annotations": {"a": "b"},
    "relabelings": RELABELINGS,
    "metricRelabelings": [{"action": "labeldrop", "regex": "pod"}],
}
RULES: Final = {
    "prometheusRule": {
        "enabled": True,
        "labels": {"release": "prometheus"},
        "annotations": {"a": "b"},
        "interval": "1m",
        "matchLabels": {"job": "edge"},
        "alertLabels": {"team": "edge"},
        "alerts": {"ExchangerPolicyInvalid": {"severity": "info", "for": "1h"}},
    }
}
MONITORED: Final[dict[str, Mapping[str, Any]]] = {
    "by service": {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}},
    "by pod": {"podMonitor": {"enabled": True}},
    "by service, with everything": {"serviceMonitor": MONITOR, **RULES},
    "by pod, with everything": {"podMonitor": MONITOR, **RULES},
}
"""Values that render what the Prometheus operator reads."""
KINDS: Final[dict[str, Mapping[str, Any]]] = {
    "AuthorizationPolicy": SERVICE_ENTRY,
    "ServiceEntry": SERVICE_ENTRY,
    "EnvoyFilter": FILTER,
    "SecurityPolicy": BACKEND_TLS,
    "ReferenceGrant": BACKEND_TLS,
    "BackendTLSPolicy": BACKEND_TLS,
    "EnvoyExtensionPolicy": EXTENSION_POLICY,
    "GCPTrafficExtension": GKE,
    "HealthCheckPolicy": GKE,
    "GCPBackendPolicy": GKE,
    "Certificate": GKE,
    "Issuer": GKE,
    "ServiceMonitor": MONITORED["by service"],
    "PodMonitor": MONITORED["by pod"],
    "PrometheusRule": MONITORED["by service"],
}
"""The kinds that are not Kubernetes' own, and values that render them."""


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane) -> Cluster:
    """A cluster with everything that the wirings refer to."""
    folder = find_tool("gateway-crds")
    for name in NAMESPACES:
        control_plane.admin.put_namespace(name)
    made = Cluster(control_plane, control_plane.kubeconfig_of_admin_certificate("admin.yaml"))
    made.define(folder, STAND_INS)
    return made


def of(kind: str) -> Manifest:
    return next(found for found in render(KINDS[kind]) if found["kind"] == kind)


def certificate(cluster: Cluster) -> str:
    text: str = cluster.plane.admin.request("GET", SECRET)["data"]["tls.crt"]
    return text


@pytest.mark.parametrize("mode", MODES)
def test_the_api_server_takes_every_manifest_without_a_warning(cluster: Cluster, mode: str) -> None:
    done = cluster.apply(render(MODES[mode][0]), *STRICT)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


@pytest.mark.parametrize("name", MONITORED)
def test_the_api_server_takes_what_the_prometheus_operator_reads_without_a_warning(cluster: Cluster, name: str) -> None:
    manifests = render(MONITORED[name])
    assert any(found["apiVersion"] == "monitoring.coreos.com/v1" for found in manifests)
    done = cluster.apply(manifests, *STRICT)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_that_a_kind_does_not_have_is_refused(cluster: Cluster, kind: str) -> None:
    """That the test above can fail, for each kind."""
    manifest = of(kind)
    manifest["spec"]["failClosed"] = True
    assert "failClosed" in cluster.apply([manifest], *STRICT).stderr


@pytest.mark.parametrize("found", blocks("manifests"), ids=str)
def test_the_api_server_takes_the_manifests_of_the_guides(cluster: Cluster, found: Block) -> None:
    namespaces = [document for document in found.documents if document["kind"] == "Namespace"]
    assert not namespaces or cluster.apply(namespaces).returncode == 0  # what is in them could not be checked otherwise
    done = cluster.apply(list(found.documents), *STRICT)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_the_guides_guard_keeps_gateway_policies_to_the_gateways_namespace(cluster: Cluster) -> None:
    (guard,) = (found for found in blocks("manifests") if found.name == "guard")
    inside = of("SecurityPolicy")
    outside = {**inside, "metadata": {"name": "mine", "namespace": "edge"}}
    assert cluster.apply(list(guard.documents)).returncode == 0
    try:
        deadline = time.monotonic() + GUARD_S
        while "would take the place of the gateway's own" not in (said := cluster.apply([outside], "--dry-run=server").stderr):
            assert time.monotonic() < deadline, said
            time.sleep(0.5)
        assert cluster.apply([inside], "--dry-run=server").returncode == 0
    finally:
        assert cluster.kubectl("delete", "--filename", "-", given=yaml.safe_dump_all(guard.documents)).returncode == 0


def test_a_release_goes_from_one_gateway_to_the_next_and_leaves_nothing_behind(cluster: Cluster) -> None:
    kinds = (
        "authorizationpolicies.security.istio.io",
        "envoyfilters",
        "serviceentries",
        "securitypolicies",
        "gcptrafficextensions",
        "services",
    )

    def there() -> set[str]:
        done = cluster.kubectl("get", ",".join(kinds), "--all-namespaces", "--output", "jsonpath={.items[*].kind}")
        assert done.returncode == 0, done.stderr
        return set(done.stdout.split()) - {"Service"}

    cluster.install("exchanger", "edge", SERVICE_ENTRY)
    assert there() == {"AuthorizationPolicy", "ServiceEntry"}
    for values, expected in ((FILTER, {"EnvoyFilter"}), (ALIAS, set()), (MODES["envoy gateway"][0], {"SecurityPolicy"})):
        cluster.helm("upgrade", "exchanger", CHART, "--namespace", "edge", values=values)
        assert there() == expected
    cluster.helm("rollback", "exchanger", "1", "--namespace", "edge")
    assert there() == {"AuthorizationPolicy", "ServiceEntry"}
    cluster.helm("uninstall", "exchanger", "--namespace", "edge")
    assert there() == set()


def test_an_upgrade_keeps_the_certificate_until_its_names_change(cluster: Cluster) -> None:
    upgrade = ("upgrade", "exchanger", CHART, "--namespace", "edge")
    cluster.install("exchanger", "edge", GKE_SELF_SIGNED)
    try:
        first = certificate(cluster)
        cluster.helm(*upgrade, values={**GKE_SELF_SIGNED, "replicaCount": 3})
        assert certificate(cluster) == first
        tls = {"selfSigned": {"enabled": True}, "certificate": {"enabled": False, "dnsNames": ["b.example"]}}
        cluster.helm(*upgrade, values={**GKE, "gkeAuthz": {"callout": {"tls": tls}}})
        assert certificate(cluster) != first
    finally:
        cluster.helm("uninstall", "exchanger", "--namespace", "edge")


def test_an_upgrade_keeps_a_certificate_that_has_no_mark(cluster: Cluster) -> None:
    """One that came with another version of the chart."""
    cluster.install("exchanger", "edge", GKE_SELF_SIGNED)
    try:
        first = certificate(cluster)
        cluster.plane.admin.merge(SECRET, {"metadata": {"annotations": {"exchanger/dns-names": None}}})
        cluster.helm("upgrade", "exchanger", CHART, "--namespace", "edge", values=GKE_SELF_SIGNED)
        assert certificate(cluster) == first
    finally:
        cluster.helm("uninstall", "exchanger", "--namespace", "edge")
