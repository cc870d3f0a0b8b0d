"""helm and kubectl as the owner of a cluster uses them, on the control plane of the tests. Blocking code."""

import json
import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import yaml

from tests.helm.chart import BRIEF, CHART, Manifest, run_helm
from tests.sources.kube.control_plane import ControlPlane
from tests.tools import find_tool

# Seconds for one command; an idle machine takes less than two.
ASK_S: Final = 120.0

# What kubectl asks for, too: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#aggregated-discovery
DISCOVERY: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@attrs.define(eq=False)
class Cluster:
    """Commands in the name of somebody who may do everything; ``kubeconfig`` says where."""

    plane: ControlPlane
    kubeconfig: Path

    def helm(self, *arguments: str | Path, values: Mapping[str, Any] | None = None) -> str:
        """Run helm and return what it printed."""
        with tempfile.TemporaryDirectory() as folder:
            options: tuple[str | Path, ...] = ()
            if values is not None:
                path = Path(folder) / "values.yaml"
                path.write_text(yaml.safe_dump(dict(values)))
                options = ("--values", path)
            done = run_helm(*arguments, *options, "--kubeconfig", self.kubeconfig)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def install(self, release: str, namespace: str, values: Mapping[str, Any]) -> None:
        """Install the chart; nothing runs here, so that nothing is waited for."""
        self.helm("install", release, CHART, "--namespace", namespace, values=values)

    def kubectl(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run kubectl; its status is the caller's to look at."""
        command = [str(part) for part in (find_tool("kubectl"), "--kubeconfig", self.kubeconfig, *arguments)]
        with tempfile.TemporaryDirectory() as home:
            return subprocess.run(
                command, input=given, capture_output=True, text=True, timeout=ASK_S, check=False, env={"HOME": home, **BRIEF}, cwd=home
            )

    def apply(self, manifests: list[Manifest], *options: str) -> subprocess.CompletedProcess[str]:
        """Create or change objects."""
        return self.kubectl("apply", "-f", "-", *options, given=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))

    def uninstall(self, release: str, namespace: str) -> None:
        """Remove a release, and the Namespaces that were its own."""
        self.helm("uninstall", release, "--namespace", namespace)
        self.end_namespaces()

    def end_namespaces(self) -> None:
        """Empty the Namespaces that are deleted, which nobody else does here."""
        for found in self.plane.admin.request("GET", "/api/v1/namespaces")["items"]:
            if found["status"]["phase"] == "Terminating":
                self.plane.admin.delete_namespace(found["metadata"]["name"])

    def define(self, *places: Path) -> None:
        """Add definitions of kinds; return when the server has them, a moment after they are established.

        Clients find a kind once discovery lists it, and requests about it get 429 until its storage is ready.
        """
        done = self.kubectl("apply", "--server-side", *(f"--filename={place}" for place in places))
        assert done.returncode == 0, done.stderr
        definitions = self.plane.admin.request("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")["items"]
        wanted = {(found["spec"]["group"], found["spec"]["names"]["plural"]) for found in definitions}
        self._until(lambda: wanted <= self._kinds())
        lists = [
            f"/apis/{spec['group']}/{version['name']}/{spec['names']['plural']}"
            for spec in (found["spec"] for found in definitions)
            for version in spec["versions"]
            if version["served"]
        ]
        self._until(lambda: all(self.plane.admin.client.get(path).is_success for path in lists))

    def _kinds(self) -> set[tuple[str, str]]:
        groups = self.plane.admin.request("GET", "/apis", Accept=DISCOVERY)["items"]
        return {
            (group["metadata"]["name"], kind["resource"])
            for group in groups
            for version in group["versions"]
            for kind in version.get("resources", ())
        }

    def settle(self) -> None:
        """Wait until the API server goes by all rights that have been given and taken so far.

        It learns of them by watches of its own, one for each kind, in order: what is given last is known last.
        """
        admin, mark = self.plane.admin, f"mark-{secrets.token_hex(8)}"
        subject = {"kind": "ServiceAccount", "name": mark, "namespace": "default"}
        for namespace, verb in (("default", "list"), ("", "watch")):
            admin.grant(mark, subject, ({"apiGroups": [""], "resources": ["configmaps"], "verbs": [verb]},), namespace)
            self._until(partial(admin.may, mark, "default", verb, "configmaps", "default"))
            admin.withdraw(mark, namespace)

    def _until(self, known: Callable[[], bool]) -> None:
        deadline = time.monotonic() + ASK_S
        while not known():
            assert time.monotonic() < deadline
            time.sleep(0.05)
