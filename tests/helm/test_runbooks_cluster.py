"""The runbooks' functions for a cluster, with the programs themselves: on a real API server, and what the chart renders."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.helm.chart import CHART, of_kind, render
from tests.helm.cluster import ASK_S, Cluster
from tests.helm.guides import block
from tests.helm.test_install_control_plane import DEPLOYMENT, PROFILES, found, installed
from tests.monitoring.pages import setups
from tests.monitoring.sources import RUNBOOKS
from tests.tools import find_tool

pytestmark = [pytest.mark.full, pytest.mark.helm]

BREAK_GLASS: Final = (RUNBOOKS / "break-glass.md").read_text()
GRANTS: Final = {"policy": {"grants": {"version": "v1", "grants": [{"namespaces": ["team-a"], "hosts": ["*"]}]}}}


def run(cluster: Cluster, folder: Path, script: str) -> str:
    """Run ``script`` with the set-up for a cluster, and return what it printed."""
    folder.mkdir(exist_ok=True)
    for name in ("kubectl", "helm"):
        if not (folder / name).exists():
            (folder / name).symlink_to(find_tool(name))
    (folder / "image.yaml").write_text("image: {repository: exchanger}\n")
    given = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder), "KUBECONFIG": str(cluster.kubeconfig)}
    setup = setups()["cluster"].replace("./helm/exchanger", str(CHART))
    done = subprocess.run(
        ["bash", "-c", f"{setup}\n{script}"], env=given, cwd=folder, capture_output=True, text=True, timeout=ASK_S, check=False
    )
    assert not re.search(r"unknown|invalid|command not found|usage:", done.stderr), done.stderr
    assert done.returncode == 0, done.stderr
    return done.stdout


def replicas(cluster: Cluster) -> int:
    number: int = found(cluster, DEPLOYMENT)["spec"]["replicas"]
    return number


@pytest.mark.kubernetes
def test_the_functions_of_a_cluster_do_what_the_pages_say(cluster: Cluster, tmp_path: Path) -> None:
    for name in ("edge", "vault", "team-a"):
        cluster.plane.admin.put_namespace(name, {})
    with installed(cluster, {**PROFILES, **GRANTS, "image": {"repository": "exchanger"}, "log": {"level": "debug"}}):
        shown = "echo $RELEASE; settings | grep ^LOG_LEVEL=; rights --all-namespaces; policies; author_events x"
        told = run(cluster, tmp_path / "1", shown)
        assert told.splitlines()[:4] == ["exchanger", "LOG_LEVEL=debug", "yes", "yes"]

        run(cluster, tmp_path / "1", "upgrade --set replicaCount=4")
        (container,) = found(cluster, DEPLOYMENT)["spec"]["template"]["spec"]["containers"]
        kept = {variable["name"]: variable.get("value") for variable in container["env"]}
        assert (replicas(cluster), kept["LOG_LEVEL"]) == (4, "debug")
        assert len(run(cluster, tmp_path / "1", "releases").splitlines()) == 3
        run(cluster, tmp_path / "1", "roll_back")
        assert replicas(cluster) == 2

        before = found(cluster, DEPLOYMENT)["spec"]["template"]
        (command,) = re.findall(r"^(upgrade --set-json 'policy\.grants\.baseline.*)$", BREAK_GLASS, re.MULTILINE)
        run(cluster, tmp_path / "1", command)
        grants = found(cluster, "/api/v1/namespaces/edge/configmaps/exchanger-policy-grants")["data"]["grants.yaml"]
        assert ("baseline:" in grants, "team-a" in grants) == (True, True)
        assert found(cluster, DEPLOYMENT)["spec"]["template"] == before, "no pod restarts"

        run(cluster, tmp_path / "1", "upgrade --set tokenExchange.defaultDenyUnmatched=true")
        (container,) = found(cluster, DEPLOYMENT)["spec"]["template"]["spec"]["containers"]
        assert {"name": "TOKEN_EXCHANGE_DEFAULT_DENY_UNMATCHED", "value": "true"} in container["env"]

        for number in (0, 2):
            (scale,) = re.findall(rf"`(kubectl [^`]* scale [^`]*--replicas={number})`", BREAK_GLASS)
            run(cluster, tmp_path / "1", scale)
            assert replicas(cluster) == number


@pytest.mark.kubernetes
def test_a_label_that_is_removed_withdraws_a_policy(cluster: Cluster, tmp_path: Path) -> None:
    cluster.plane.admin.put_namespace("team-a", {})
    label = "ext-authz-token-exchange.magneticflux.net/enabled"
    policy = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "policy", "namespace": "team-a", "labels": {label: "true"}}}
    assert cluster.apply([policy]).returncode == 0
    (command,) = re.findall(r"`(kubectl [^`]* label configmap [^`]*)`", BREAK_GLASS)
    for change, labels in ((command, {}), (command.replace("enabled-", "enabled=true"), {label: "true"})):
        run(cluster, tmp_path / "1", f"export TEAM=team-a POLICY=policy\n{change}")
        metadata = found(cluster, "/api/v1/namespaces/team-a/configmaps/policy")["metadata"]
        assert metadata.get("labels", {}) == labels


@pytest.mark.parametrize(
    ("guide", "value", "kind"),
    [
        ("istio-provider", "authorizationPolicy.enabled", "AuthorizationPolicy"),
        ("istio-filter", "envoyFilter.enabled", "EnvoyFilter"),
        ("envoy-gateway", "envoyGateway.enabled", "SecurityPolicy"),
        ("gke", "gkeExtProc.enabled", "GCPTrafficExtension"),
    ],
)
def test_a_value_that_opens_the_gateway_removes_its_filter(guide: str, value: str, kind: str) -> None:
    assert f"`upgrade --set {value}=false` | `upgrade --set {value}=true`" in BREAK_GLASS
    values: list[dict[str, Any]] = [block("values", "service"), block("values", guide)]
    section, name = value.split(".")
    assert of_kind(render(values), kind)
    opened = render([*values, {section: {name: False}}])
    assert (of_kind(opened, kind), len(of_kind(opened, "Deployment"))) == ([], 1)
