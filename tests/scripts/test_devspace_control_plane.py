"""DevSpace itself deploys and purges by ``devspace.yaml``, on a real API server. Nothing is built, and what the network has stands in.

Nothing runs in that cluster: neither pods nor a gateway.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.helm.cluster import Cluster
from tests.scripts.programs import Programs
from tests.tools import find_tool

pytestmark = [pytest.mark.full, pytest.mark.go, pytest.mark.helm, pytest.mark.kubernetes]

# DevSpace asks for Helm 3, and gets 4. Charts from elsewhere are not installed.
HELM: Final = """
if [ "$1" = version ]; then echo 'version.BuildInfo{Version:"v3.99.0"}'; exit; fi
case "$*" in *--repo*|'delete istio'*|'delete cert-manager'*) exit;; esac
"""
# The Gateway API's definitions are there already, since charts need them; as long as nobody may know, a ConfigMap stands in for them.
KUBECTL: Final = """
case "$*" in *'get crd gateways'*) [ -e "$HOME/known" ]; exit;; esac
case "$*" in *https://github.com/*) echo '{apiVersion: v1, kind: ConfigMap, metadata: {name: gateway-api}}'; exit;; esac
"""
EVERYTHING: Final = ("-p", "with-infra", "-p", "local-test")
DEPLOYED: Final = ["gateway-api", "istio-base", "istiod", "cert-manager", "gateway", "demo", "exchanger"]


@pytest.fixture
def programs(tmp_path: Path, cluster: Cluster, gateway_kinds: None) -> Iterator[Programs]:
    made = Programs(tmp_path, {"KUBECONFIG": str(cluster.kubeconfig), "DEVSPACE_DEPLOY_FLAGS": "--skip-build"})
    made.add_real("helm", HELM)
    made.add_real("kubectl", KUBECTL)
    # It serves a page of its own while it works, which it would download.
    page = tmp_path / ".devspace" / "ui" / "latest" / "index.html"
    page.parent.mkdir(parents=True)
    page.touch()
    made.checkout("devspace.yaml", "helm")
    yield made
    devspace(made, "purge", *EVERYTHING)
    cluster.end_namespaces()


def devspace(programs: Programs, *arguments: str) -> str:
    """Run DevSpace and return what it said, without colours."""
    done = programs.run(find_tool("devspace"), *arguments, cwd=programs.folder / "checkout")
    said = re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr)
    assert done.returncode == 0, said
    return said


def releases(cluster: Cluster) -> list[str]:
    return cluster.helm("list", "--all-namespaces", "--short").split()


def gateways(cluster: Cluster) -> str:
    return cluster.kubectl("get", "gateways,certificates", "--all-namespaces", "--output", "name").stdout


def test_profiles_are_deployed_in_order_and_purged_in_reverse(cluster: Cluster, programs: Programs) -> None:
    said = devspace(programs, "deploy", *EVERYTHING)
    assert re.findall(r"Successfully deployed (\S+)", said) == DEPLOYED
    assert releases(cluster) == ["demo", "exchanger"]
    assert gateways(cluster).split() == ["gateway.gateway.networking.k8s.io/gateway", "certificate.cert-manager.io/gateway-tls"]
    (filtered,) = cluster.kubectl("get", "envoyfilters", "--namespace", "istio-ingress", "--output", "name").stdout.split()
    assert filtered.startswith("envoyfilter.networking.istio.io/exchanger")
    said = devspace(programs, "purge", *EVERYTHING)
    purged = re.findall(r"Successfully deleted deployment (\S+)", said)
    assert sorted(purged) == sorted(DEPLOYED)
    assert [name for name in reversed(purged) if name not in {"demo", "exchanger"}] == DEPLOYED[:5]
    assert releases(cluster) == []
    assert gateways(cluster) == ""


def test_existing_gateway_api_definitions_are_neither_replaced_nor_purged(cluster: Cluster, programs: Programs) -> None:
    (programs.folder / "known").touch()
    assert "gateway-api" not in devspace(programs, "deploy", "-p", "with-infra")
    assert "gateway-api" not in devspace(programs, "purge", "-p", "with-infra")
    assert programs.calls("kubectl --context lab get crd gateways.gateway.networking.k8s.io")
