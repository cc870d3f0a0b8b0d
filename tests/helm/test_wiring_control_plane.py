"""All that the chart renders on a real API server that knows the kinds of gateways and monitors.

They have their own definitions, and GKE's have stand-ins (``crds/README.md``).
"""

import time
from collections.abc import Mapping
from typing import Any, Final

import pytest
import yaml

from tests.helm.cases import FILTER, GKE, GKE_SELF_SIGNED, SECURITY_POLICY, SERVICE_ENTRY, SETTINGS, WIRINGS
from tests.helm.chart import CHART, Manifest, render
from tests.helm.cluster import Cluster
from tests.helm.guides import blocks
from tests.helm.many import prepare

pytestmark = [pytest.mark.full, pytest.mark.helm, pytest.mark.kubernetes]

NAMESPACES: Final = ("a", "b", "cert-manager", "edge", "gateways", "istio-ingress", "vault")
STRICT: Final = ("--dry-run=server", "--validate=strict")
# Seconds until the API server has compiled a new admission policy; it takes one or two.
GUARD_S: Final = 30.0
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
TAKEN: Final[dict[str, Mapping[str, Any]]] = {
    **SETTINGS["service"],
    **WIRINGS,
    "monitored by service": {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}},
    "monitored by pod": {"podMonitor": {"enabled": True}},
    "monitored by service, with everything": {"serviceMonitor": MONITOR, **RULES},
    "monitored by pod, with everything": {"podMonitor": MONITOR, **RULES},
}


@pytest.fixture(scope="module", autouse=True)
def namespaces(cluster: Cluster, gateway_kinds: None) -> None:
    """Everything that the wirings refer to."""
    for name in NAMESPACES:
        cluster.plane.admin.put_namespace(name)


def taken() -> list[Manifest]:
    """Return all manifests, each once."""
    prepare(TAKEN.values())
    return [*{str(manifest): manifest for values in TAKEN.values() for manifest in render(values)}.values()]


def certificate(cluster: Cluster) -> str:
    text: str = cluster.plane.admin.request("GET", SECRET)["data"]["tls.crt"]
    return text


def test_the_api_server_takes_every_manifest_without_a_warning(cluster: Cluster) -> None:
    done = cluster.apply(taken(), *STRICT)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_api_server_takes_the_manifests_of_the_guides(cluster: Cluster) -> None:
    documents = [document for found in blocks("manifests") for document in found.documents]
    # What is in a namespace could not be checked otherwise.
    assert cluster.apply([document for document in documents if document["kind"] == "Namespace"]).returncode == 0
    done = cluster.apply(documents, *STRICT)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_guides_guard_keeps_gateway_policies_to_the_gateways_namespace(cluster: Cluster) -> None:
    (guard,) = (found for found in blocks("manifests") if found.name == "guard")
    inside = next(manifest for manifest in taken() if manifest["kind"] == "SecurityPolicy")
    outside = {**inside, "metadata": {"name": "mine", "namespace": "edge"}}
    assert cluster.apply(list(guard.documents)).returncode == 0
    try:
        deadline = time.monotonic() + GUARD_S
        while "would replace the gateway's own" not in (said := cluster.apply([outside], "--dry-run=server").stderr):
            assert time.monotonic() < deadline, said
            time.sleep(0.5)
        assert cluster.apply([inside], "--dry-run=server").returncode == 0
    finally:
        assert cluster.kubectl("delete", "--filename", "-", given=yaml.safe_dump_all(guard.documents)).returncode == 0


@pytest.mark.full
def test_release_that_changes_its_gateway_leaves_nothing_behind(cluster: Cluster) -> None:
    kinds = {
        "security.istio.io/v1/authorizationpolicies",
        "networking.istio.io/v1alpha3/envoyfilters",
        "networking.istio.io/v1/serviceentries",
        "gateway.envoyproxy.io/v1alpha1/securitypolicies",
        "networking.gke.io/v1/gcptrafficextensions",
    }

    def there() -> set[str]:
        return {found["kind"] for path in kinds for found in cluster.plane.admin.request("GET", f"/apis/{path}")["items"]}

    cluster.install("exchanger", "edge", SERVICE_ENTRY)
    assert there() == {"AuthorizationPolicy", "ServiceEntry"}
    for values, expected in ((FILTER, {"EnvoyFilter"}), (WIRINGS["an alias as the host"], set()), (SECURITY_POLICY, {"SecurityPolicy"})):
        cluster.helm("upgrade", "exchanger", CHART, "--namespace", "edge", values=values)
        assert there() == expected
    cluster.helm("rollback", "exchanger", "1", "--namespace", "edge")
    assert there() == {"AuthorizationPolicy", "ServiceEntry"}
    cluster.uninstall("exchanger", "edge")
    assert there() == set()


@pytest.mark.full
def test_an_upgrade_keeps_the_certificate_until_its_names_change(cluster: Cluster) -> None:
    upgrade = ("upgrade", "exchanger", CHART, "--namespace", "edge")
    cluster.install("exchanger", "edge", GKE_SELF_SIGNED)
    try:
        first = certificate(cluster)
        cluster.helm(*upgrade, values={**GKE_SELF_SIGNED, "replicaCount": 3})
        assert certificate(cluster) == first
        # One that came with another version of the chart has no mark.
        cluster.plane.admin.merge(SECRET, {"metadata": {"annotations": {"exchanger/dns-names": None}}})
        cluster.helm(*upgrade, values=GKE_SELF_SIGNED)
        assert certificate(cluster) == first
        tls = {"selfSigned": {"enabled": True}, "certificate": {"enabled": False, "dnsNames": ["b.example"]}}
        cluster.helm(*upgrade, values={**GKE, "gkeAuthz": {"callout": {"tls": tls}}})
        assert certificate(cluster) != first
    finally:
        cluster.uninstall("exchanger", "edge")


def test_an_upgrade_keeps_the_webhooks_certificate_and_what_the_api_server_trusts(cluster: Cluster) -> None:
    secret = "/api/v1/namespaces/edge/secrets/exchanger-admission-tls"
    registration = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/edge.exchanger-admission"
    values: dict[str, Any] = {"admission": {"enabled": True}}

    def known() -> tuple[str, str]:
        data = cluster.plane.admin.request("GET", secret)["data"]
        webhooks = cluster.plane.admin.request("GET", registration)["webhooks"]
        assert {webhook["clientConfig"]["caBundle"] for webhook in webhooks} == {data["ca.crt"]}
        return data["tls.crt"], data["tls.key"]

    cluster.install("exchanger", "edge", values)
    try:
        first = known()
        cluster.helm("upgrade", "exchanger", CHART, "--namespace", "edge", values={"admission": {"enabled": True, "replicaCount": 3}})
        assert known() == first
        cluster.helm("upgrade", "exchanger", CHART, "--namespace", "edge", values={**values, "clusterDomain": "corp.example"})
        assert known() != first
    finally:
        cluster.uninstall("exchanger", "edge")
