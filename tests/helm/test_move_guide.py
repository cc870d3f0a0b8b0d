"""The two values files of docs/how-to/move-from-go.md, the old one and ``beside.yaml``, make a release that the old one does not notice.

The old chart is not here. What its values name whatever a release is called, they name here too: so the old release is this chart with the
old file alone.
"""

from collections.abc import Mapping
from typing import Any, Final

import pytest

from tests.helm.cases import CONTAINER, REFERENCE, WIRINGS, look
from tests.helm.chart import Manifest, only, render
from tests.helm.golden import identity
from tests.helm.guides import block

pytestmark = [pytest.mark.helm]

BESIDE: Final = block("values", "beside")
NAMED: Final[dict[str, Any]] = {
    **REFERENCE,
    "fullnameOverride": "ext-authz-token-exchange",
    "nameOverride": "authz",
    "image": {"registry": "registry.example", "repository": "authz", "tag": "0.6.0", "digest": f"sha256:{'0' * 64}"},
    "rbac": {**REFERENCE["rbac"], "clusterRoleName": "authz", "clusterRoleBindingName": "authz"},
    "oauth": {**REFERENCE["oauth"], "createSecret": True, "clientID": "id", "clientSecret": "hush"},
    "issuerProfiles": {**REFERENCE["issuerProfiles"], "configMapName": "profiles"},
    "grafanaDashboard": {"enabled": True, "name": "authz", "namespace": "monitoring", "pluginJob": "authz"},
}
# Files of the reference, each with a name for everything that can be given one.
OLD: Final[dict[str, Mapping[str, Any]]] = {
    "istio's provider": {**NAMED, "gatewayProvider": "local-istio"},
    "istio's filter": {**NAMED, "envoyFilter": {"enabled": True}},
    "istio by parts": {**NAMED, "authorizationPolicy": {"enabled": True}, "gatewayExtAuthzService": {"enabled": True}},
    "gke": {**NAMED, **WIRINGS["gke of the reference"]},
    "gke's authorization extension": {**NAMED, "gkeAuthz": {"enabled": True}},
}
WIRING: Final = {"EnvoyFilter", "AuthorizationPolicy", "ServiceEntry", "GCPTrafficExtension", "HealthCheckPolicy", "GCPBackendPolicy"}


def names(manifests: list[Manifest]) -> set[tuple[str, str, str]]:
    return {identity(manifest) for manifest in manifests}


def beside(old: str, namespace: str) -> list[Manifest]:
    return render([OLD[old], BESIDE], release="exchanger", namespace=namespace)


def wired(manifests: list[Manifest]) -> bool:
    return any(manifest["kind"] in WIRING for manifest in manifests)


@pytest.mark.parametrize("old", OLD)
def test_release_beside_the_old_one_shares_no_object_with_it(old: str) -> None:
    there, here, alone = render(OLD[old], release="authz", namespace="old"), beside(old, "edge"), render(OLD[old], release="exchanger")
    assert wired(there)
    assert not wired(here)
    assert not names(there) & names(here)
    # The old file alone would collide and ask twice.
    assert wired(alone)
    assert names(there) & names(alone)


def test_release_beside_the_old_one_keeps_its_settings() -> None:
    manifests = beside("istio's provider", "edge")
    container = look(only(manifests, "Deployment"), CONTAINER)
    assert container["image"] == f"{BESIDE['image']['repository']}:0.1.0"
    assert container["resources"] == REFERENCE["resources"]
    assert look(container, "env/METRICS_PORT/value") == "3002"
    assert "hush" not in str(manifests)


def test_release_in_the_old_namespace_clashes_only_where_the_guide_says() -> None:
    """That is where a GKE Gateway needs the release."""
    there = names(render(OLD["gke"], release="authz", namespace="old"))
    assert not there & names(beside("gke", "old"))
    wired = {"gkeExtProc": {"enabled": True}, "gatewayProvider": "gke-gateway"}
    clash = there & names(render([OLD["gke"], BESIDE, wired], namespace="old"))
    assert {name for _, _, name in clash} == {"ext-authz-token-exchange", "gateway-ext-authz", "gateway-ext-authz-tls"}
