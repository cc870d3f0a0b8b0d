"""Fetches the CustomResourceDefinitions of what the chart writes for other programs, which tests install into a real API server.

Those programs are the gateways that it wires, cert-manager and the Prometheus operator.

They are files of published Go modules, whose sums are below: what `go mod download` gets is checked against them. They are kept in
``exchanger/tools/gateway-crds-…/`` of the user's cache folder; the modules (90 MB) are not. GKE's are in no package: ``tests/helm/crds``
has stand-ins. ``gateway_crds.py --where`` fetches nothing and prints where the folder is.

To change a version: write it and the ``Sum`` that ``go mod download -json MODULE@VERSION`` prints.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import go_tools

EG_CHART: Final = "charts/gateway-helm/charts/crds/crds"
"""Where Envoy Gateway's installer has its own definitions and those of the Gateway API that it is made for."""
MODULES: Final = {
    ("istio.io/api", "v1.31.4"): (
        "h1:AcnncYrlDj1PJkym7h88Gggkef4MAra8QpGaXRMsr+E=",
        ("kubernetes/customresourcedefinitions.gen.yaml",),
    ),
    ("github.com/envoyproxy/gateway", "v1.9.1"): (
        "h1:vAVp6/AlBXJ1aOhp1mxL7fNEzVEfjADUguUhm2wzxQY=",
        (
            f"{EG_CHART}/gatewayapi-crds.yaml",
            f"{EG_CHART}/generated/gateway.envoyproxy.io_clienttrafficpolicies.yaml",
            f"{EG_CHART}/generated/gateway.envoyproxy.io_envoyextensionpolicies.yaml",
            f"{EG_CHART}/generated/gateway.envoyproxy.io_securitypolicies.yaml",
        ),
    ),
    ("github.com/cert-manager/cert-manager", "v1.21.2"): (
        "h1:UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68=",
        tuple(f"deploy/crds/cert-manager.io_{name}.yaml" for name in ("certificates", "clusterissuers", "issuers")),
    ),
    ("github.com/prometheus-operator/prometheus-operator", "v0.85.0"): (
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        tuple(
            f"example/prometheus-operator-crd/monitoring.coreos.com_{name}.yaml"
            for name in ("podmonitors", "prometheusrules", "servicemonitors")
        ),
    ),
}
"""By module and version: its sum, and the files that are kept."""
DOWNLOAD_S: Final = 600.0
"""Seconds a module: the largest has 41 MB."""


def folder() -> Path:
    """Return where the definitions are when they were fetched; other versions and files are in another folder."""
    return go_tools.cache_folder() / f"gateway-crds-{hashlib.sha256(repr(MODULES).encode()).hexdigest()[:12]}"


def download(go: Path, variables: dict[str, str], module: str, version: str, empty: Path) -> Path:
    """Return the folder of a module that has the sum it should have.

    Raises:
        ToolError: it has another one, or cannot be had.
    """
    command = (go, "mod", "download", "-json", f"{module}@{version}")
    done = subprocess.run(command, cwd=empty, env=variables, capture_output=True, text=True, timeout=DOWNLOAD_S, check=False)
    try:
        said: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        said = {"Error": done.stderr.strip()}
    if "Error" in said:
        raise go_tools.ToolError(f"{module} {version} cannot be downloaded: {said['Error']}")
    if said["Sum"] != MODULES[module, version][0]:
        raise go_tools.ToolError(f"{module} {version} has the sum {said['Sum']}, not {MODULES[module, version][0]}")
    return Path(said["Dir"])


def fetch(target: Path) -> None:
    """Put all files into ``target`` in one step, so that two fetches at once do no harm."""
    go, variables = go_tools.new_enough(go_tools.find_go() or go_tools.install_go())
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=target.parent) as place:
        kept, empty = Path(place) / "kept", Path(place) / "empty"
        kept.mkdir()
        empty.mkdir()
        # -modcacherw: modules are read-only otherwise, and could not be removed by a user other than root.
        variables |= {"GOMODCACHE": f"{place}/modules", "GOFLAGS": "-modcacherw"}
        for (module, version), (_, names) in MODULES.items():
            source = download(go, variables, module, version, empty)
            for name in names:
                shutil.copyfile(source / name, kept / name.rpartition("/")[2])
        if not target.exists():
            kept.rename(target)


def main() -> int:
    """Return the exit status."""
    if sys.argv[1:] not in ([], ["--where"]):
        print(__doc__, file=sys.stderr)
        return 2
    target = folder()
    if not target.exists() and not sys.argv[1:]:
        try:
            fetch(target)
        except (go_tools.ToolError, OSError, subprocess.SubprocessError) as error:
            print(error, file=sys.stderr)
            return 1
    print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
