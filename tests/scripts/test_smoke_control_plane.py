"""``scripts/smoke.py kind`` from beginning to end: a real API server in place of kind's, and the demo's gateway in place of Istio's.

Charts and their objects are real; pods do not run, so that nobody waits for them, and the pod of the connection test is said to have ended.
"""

import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import pytest

from tests.e2e.conftest import SharedDemo
from tests.helm.cluster import Cluster
from tests.scripts.programs import Programs

pytestmark = [pytest.mark.envoy, pytest.mark.full, pytest.mark.helm, pytest.mark.kubernetes]

# Without what waits for pods or asks for their logs; charts from elsewhere are not installed.
HELM: Final = """
case "$*" in *--repo*) cat > /dev/null; exit;; esac
arguments=(); for word; do case "$word" in --wait|--logs) ;; *) arguments+=("$word");; esac; done; set -- "${arguments[@]}"
"""
PODS: Final = "/api/v1/namespaces/exchanger/pods"


@pytest.fixture
def programs(tmp_path: Path, cluster: Cluster, gateway_kinds: None, ext_authz_demo: SharedDemo) -> Iterator[Programs]:
    # Nothing makes the default accounts here, without which pods are refused.
    cluster.plane.admin.put_namespace("exchanger")
    cluster.plane.admin.put("/api/v1/namespaces/exchanger/serviceaccounts", {"metadata": {"name": "default"}})
    made = Programs(tmp_path)
    made.add("kind", f'[ "$1" != create ] || cp "{cluster.kubeconfig}" "$KUBECONFIG"')
    made.add_real("helm", HELM)
    gateway, tokens = ext_authz_demo.gateway, urlsplit(ext_authz_demo.stats).port
    forwarded = f'case "$4 $5" in *istio*) port={gateway};; *) port={tokens};; esac; echo "Forwarding from 127.0.0.1:$port"; exec sleep 600'
    made.add_real("kubectl", f'case "$*" in port-forward*) {forwarded};; *--kustomize*|wait*) exit;; esac')
    yield made
    for name, namespace in (("exchanger", "exchanger"), ("demo", "exchanger-demo")):
        cluster.uninstall(name, namespace)


@contextlib.contextmanager
def pods_that_succeed(cluster: Cluster) -> Iterator[None]:
    """Say of every pod that it has succeeded, as a kubelet would."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            for pod in cluster.plane.admin.request("GET", PODS)["items"]:
                with contextlib.suppress(httpx.HTTPStatusError):  # it was deleted a moment ago
                    cluster.plane.admin.merge(f"{PODS}/{pod['metadata']['name']}/status", {"status": {"phase": "Succeeded"}})

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_everything_is_installed_and_checked_and_the_cluster_is_removed(cluster: Cluster, programs: Programs) -> None:
    with pods_that_succeed(cluster):
        done = programs.run(sys.executable, "scripts/smoke.py", "kind", "--skip-build")
    assert done.returncode == 0, done.stdout + done.stderr
    installed = [call.split()[3] for call in programs.calls("helm upgrade --install")]
    assert installed == ["istio-base", "istiod", "cert-manager", "demo", "exchanger"]
    assert cluster.helm("list", "--all-namespaces", "--short").split() == ["demo", "exchanger"]
    images = cluster.kubectl("get", "deployments", "--all-namespaces", "--output", "jsonpath={..image}").stdout.split()
    assert set(images) == {"localhost/exchanger:smoke", "localhost/exchanger-demo:smoke"}
    assert cluster.kubectl("get", "gateway", "gateway", "--namespace", "istio-ingress").returncode == 0
    assert "Phase:          Succeeded" in done.stdout
    assert "23 skipped" in done.stdout  # the one that edits the demo's own files, and those about its grants and its second issuer
    assert programs.calls()[-1] == "kind delete cluster --name exchanger-smoke"
