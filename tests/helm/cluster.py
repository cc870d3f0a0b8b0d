"""helm and kubectl as the owner of a cluster uses them, on the control plane of the tests. Blocking code."""

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import httpx
import yaml

from tests.helm.chart import CHART, Manifest, find_tools, run_helm
from tests.kube.control_plane import ControlPlane

ASK_S: Final = 120.0
"""Seconds for one command; an idle machine takes less than two."""


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
        command = [str(part) for part in (find_tools().kubectl, "--kubeconfig", self.kubeconfig, *arguments)]
        with tempfile.TemporaryDirectory() as home:
            return subprocess.run(
                command, input=given, capture_output=True, text=True, timeout=ASK_S, check=False, env={"HOME": home}, cwd=home
            )

    def apply(self, manifests: list[Manifest], *options: str) -> subprocess.CompletedProcess[str]:
        """Create or change objects."""
        return self.kubectl("apply", "-f", "-", *options, given=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))

    def may(self, account: str, verb: str, resource: str, *options: str) -> bool:
        """Return whether the ServiceAccount ``namespace:name`` may do it, as the API server says."""
        done = self.kubectl("auth", "can-i", verb, resource, "--as", f"system:serviceaccount:{account}", *options)
        said = done.stdout.strip().splitlines()[-1]
        assert said in {"yes", "no"}, done.stderr
        assert (done.returncode == 0) == (said == "yes")
        return said == "yes"

    def status_for(self, namespace: str, name: str, method: str, path: str, body: Any = None) -> int:
        """Make a real request with a token of a ServiceAccount, and return the status of the answer."""
        token = self.plane.admin.token(name, namespace)
        headers = {"Authorization": f"Bearer {token}"}
        if method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        client = self.plane.admin.client
        return client.request(method, path, json=body, headers=headers, timeout=httpx.Timeout(ASK_S)).status_code
