"""Does for one pod what a kubelet does, up to the process: its environment, its mounted files, its ServiceAccount, its names of hosts.

The process runs in a mount namespace, where everything is at the path that the chart says, and without capabilities. What a container
engine would add is not here: the image's root and its user, which ``tests/image`` is about. Blocking code.

https://kubernetes.io/docs/concepts/configuration/configmap/#mounted-configmaps-are-updated-automatically
https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
"""

import base64
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from exchanger.commands.demo.processes import Child
from tests.helm.chart import Manifest
from tests.sources.kube.control_plane import ControlPlane

ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
# Folders in which the pods of the charts have something mounted. Upper layers lie over them, so that nothing is made in the real ones.
ROOTS: Final = ("/etc", "/run")
# Seconds for which a kubelet asks for a pod's token.
TOKEN_S: Final = 3607
SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ASK_S: Final = 30.0

# $1: an empty folder; then pairs of source and target up to --, and the command. The process becomes the command.
ENTER: Final = f"""
set -e
outer=$PATH; PATH={SYSTEM_PATH}
layers=$1; shift
mount -t tmpfs -o size=1m tmpfs "$layers"
for root in {" ".join(ROOTS)}; do
    mkdir -p "$layers$root/upper" "$layers$root/work"
    mount -t overlay -o "lowerdir=$root,upperdir=$layers$root/upper,workdir=$layers$root/work" overlay "$root"
done
while [ "$1" != -- ]; do
    if [ -d "$1" ]; then mkdir -p "$2"; fi
    mount --bind "$1" "$2"; mount -o remount,bind,ro "$2"; shift 2
done
shift
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs env PATH="$outer" "$@"
"""

# What of this may not be allowed: elsewhere than on Linux, in some containers, on old kernels for users that are not root.
TRY: Final = """
set -e
mount -t tmpfs tmpfs /tmp
mkdir /tmp/upper /tmp/work
mount -t overlay -o lowerdir=/etc,upperdir=/tmp/upper,workdir=/tmp/work overlay /etc
"""


def unshare() -> tuple[str, ...]:
    """Return the command that starts another in a mount namespace; skip the test where none can be had."""
    found = shutil.which("unshare", path=SYSTEM_PATH)
    if found is None or shutil.which("setpriv", path=SYSTEM_PATH) is None:
        pytest.skip("a pod's files take mount namespaces: there is no unshare, or no setpriv (Linux, util-linux)")
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    command = (found, *user, "--mount", "--propagation", "private")
    tried = subprocess.run((*command, "sh", "-c", TRY), capture_output=True, text=True, timeout=ASK_S, check=False)
    if tried.returncode:
        pytest.skip(f"a pod's files take mount namespaces: {tried.stderr.strip()}")
    return command


@attrs.define(eq=False)
class Kubelet:
    """Everything that it needs is asked of the API server, in ``folder`` it keeps the files, and ``hosts`` is what DNS would answer."""

    plane: ControlPlane
    folder: Path
    hosts: Mapping[str, str]
    _volumes: dict[Path, tuple[str, Manifest]] = attrs.field(factory=dict, init=False)

    def child(self, name: str, pod: Manifest, *, listen: Mapping[str, str] | None = None) -> Child:
        """Return the process of the only container of ``pod``, not yet started.

        ``listen`` replaces arguments: all pods of this machine share its addresses, and two may want the same port.
        """
        (container,) = pod["spec"]["containers"]
        place = self.folder / name
        place.mkdir()
        layers = place / "layers"
        layers.mkdir()
        hosts = place / "hosts"
        hosts.write_text("".join(f"{address} {host}\n" for host, address in {"localhost": "127.0.0.1", **self.hosts}.items()))
        mounts = [(hosts, "/etc/hosts"), *self._mounts(place, pod, container)]
        assert all(target.replace("/var/run", "/run").startswith(ROOTS) for _, target in mounts)
        pairs = [str(part).replace("/var/run", "/run") for mount in mounts for part in mount]
        assert "command" not in container, "the image's entry point is meant to start"
        arguments = [(listen or {}).get(argument, argument) for argument in container["args"]]
        command = (*unshare(), "sh", "-c", ENTER, "sh", str(layers), *pairs, "--", sys.executable, "-m", "exchanger", *arguments)
        return Child(name, command, tuple(self._environment(pod, container).items()), self.folder / f"{name}.log")

    def sync(self) -> None:
        """Bring mounted files up to date, as a kubelet does about once a minute."""
        for place, (namespace, volume) in self._volumes.items():
            _swap(place, self._content(namespace, volume))

    # -- environment

    def _environment(self, pod: Manifest, container: Mapping[str, Any]) -> dict[str, str]:
        namespace = pod["metadata"]["namespace"]
        assert not container.get("envFrom")
        given = {variable["name"]: self._value(namespace, pod, variable) for variable in container.get("env", ())}
        assert not any("$(" in value for value in given.values()), "references are not expanded here"
        coverage = {name: os.environ[name] for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG") if name in os.environ}
        # Containerfile: what the image sets. Kubernetes adds its own Service even where enableServiceLinks is false.
        image = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
        server = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.plane.port)}
        return {**coverage, **image, **server, **given}

    def _value(self, namespace: str, pod: Manifest, variable: Mapping[str, Any]) -> str:
        match variable:
            case {"value": str(value)}:
                return value
            case {"valueFrom": {"fieldRef": {"fieldPath": str(path)}}}:
                fields = {"metadata.namespace": namespace, "metadata.name": pod["metadata"]["name"]}
                return str(fields[path])
            case {"valueFrom": {"secretKeyRef": {"name": str(name), "key": str(key)}}}:
                data = self.plane.admin.request("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")["data"]
                return base64.b64decode(data[key]).decode()
            case _:
                raise AssertionError(f"{variable} is nothing that is known here")

    # -- files

    def _mounts(self, place: Path, pod: Manifest, container: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
        namespace = pod["metadata"]["namespace"]
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
        for mount in container.get("volumeMounts", ()):
            assert "subPath" not in mount, "files that are mounted by subPath are never updated"
            folder = place / f"volume-{mount['name']}"
            folder.mkdir()
            _swap(folder, self._content(namespace, volumes[mount["name"]]))
            self._volumes[folder] = (namespace, volumes[mount["name"]])
            yield folder, mount["mountPath"]
        if pod["spec"].get("automountServiceAccountToken") is not False:
            folder = place / "account"
            folder.mkdir()
            token = self.plane.admin.token(pod["spec"].get("serviceAccountName", "default"), namespace, TOKEN_S)
            _swap(folder, {"token": token.encode(), "ca.crt": self.plane.ca_file.read_bytes(), "namespace": namespace.encode()})
            yield folder, ACCOUNT

    def _content(self, namespace: str, volume: Mapping[str, Any]) -> dict[str, bytes]:
        match volume:
            case {"configMap": {"name": str(name)} as source} if "items" not in source:
                found = self.plane.admin.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/{name}")
                return {key: text.encode() for key, text in found["data"].items()}
            case {"secret": {"secretName": str(name)} as source} if "items" not in source:
                found = self.plane.admin.request("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")
                return {key: base64.b64decode(text) for key, text in found["data"].items()}
            case _:
                raise AssertionError(f"{volume} is nothing that is known here")


def _swap(folder: Path, content: Mapping[str, bytes]) -> None:
    """Give ``folder`` new files in one step: each is a link through ``..data``, and that link is what is replaced."""
    data = folder / "..data"
    before = {path.name: path.read_bytes() for path in data.iterdir()} if data.exists() else None
    if before == dict(content):
        return
    version = folder / f"..{secrets.token_hex(8)}"
    version.mkdir()
    for name, text in content.items():
        (version / name).write_bytes(text)
    link = folder / "..data_tmp"
    link.symlink_to(version.name)
    old = data.readlink() if before is not None else None
    link.replace(data)
    for name in content:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    if old is not None:
        shutil.rmtree(folder / old)
