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
import httpx
import yaml

from tests.helm.chart import CHART, Manifest, run_helm
from tests.kube.admin import AUTHORIZATION
from tests.kube.control_plane import ControlPlane
from tests.tools import find_tool

# Seconds for one command; an idle machine takes less than two.
ASK_S: Final = 120.0


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
                command, input=given, capture_output=True, text=True, timeout=ASK_S, check=False, env={"HOME": home}, cwd=home
            )

    def apply(self, manifests: list[Manifest], *options: str) -> subprocess.CompletedProcess[str]:
        """Create or change objects."""
        return self.kubectl("apply", "-f", "-", *options, given=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))

    def define(self, *places: Path) -> None:
        """Add definitions of kinds; return when the server lists them, a moment after they are established: only then are they found."""
        done = self.kubectl("apply", "--server-side", *(f"--filename={place}" for place in places))
        assert done.returncode == 0, done.stderr
        done = self.kubectl("wait", "--for=condition=Established", "crd", "--all", f"--timeout={ASK_S / 2:g}s")
        assert done.returncode == 0, done.stderr
        kinds = self.kubectl("get", "crd", "--output", "jsonpath={.items[*].metadata.name}").stdout.split()
        self._until(lambda: self.kubectl("get", ",".join(kinds), "--all-namespaces").returncode == 0)

    def may(self, account: str, verb: str, resource: str, *options: str) -> bool:
        """Return whether the ServiceAccount ``namespace:name`` may do it, as the API server says."""
        done = self.kubectl("auth", "can-i", verb, resource, "--as", f"system:serviceaccount:{account}", *options)
        said = done.stdout.strip().splitlines()[-1]
        assert said in {"yes", "no"}, done.stderr
        assert (done.returncode == 0) == (said == "yes")
        return said == "yes"

    def settle(self) -> None:
        """Wait until the API server goes by all rights that have been given and taken so far.

        It learns of them by watches of its own, one for each kind, in order: what is given last is known last.
        """
        admin, mark = self.plane.admin, f"mark-{secrets.token_hex(8)}"
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": mark}
        for namespace, verb in (("default", "list"), ("", "watch")):
            admin.grant(mark, subject, ({"apiGroups": [""], "resources": ["configmaps"], "verbs": [verb]},), namespace)
            self._until(partial(self._allowed, mark, verb))
            admin.withdraw(mark, namespace)

    def _allowed(self, user: str, verb: str) -> bool:
        asked = {"user": user, "resourceAttributes": {"namespace": "default", "verb": verb, "resource": "configmaps"}}
        allowed: bool = self.plane.admin.request("POST", f"{AUTHORIZATION}/subjectaccessreviews", {"spec": asked})["status"]["allowed"]
        return allowed

    def _until(self, known: Callable[[], bool]) -> None:
        deadline = time.monotonic() + ASK_S
        while not known():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def status_for(self, namespace: str, name: str, method: str, path: str, body: Any = None) -> int:
        """Make a real request with a token of a ServiceAccount, and return the status of the answer."""
        token = self.plane.admin.token(name, namespace)
        self._until(lambda: self.plane.admin.knows(token))  # the account may be another than a moment ago
        headers = {"Authorization": f"Bearer {token}"}
        if method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        client = self.plane.admin.client
        return client.request(method, path, json=body, headers=headers, timeout=httpx.Timeout(ASK_S)).status_code
