"""Builds the control plane that tests run, etcd and kube-apiserver, from their sources by Go, checked against ``kube_lab/go.sum``.

Each is built once into ``exchanger/tools/NAME-VERSION-PLATFORM/`` of the user's cache folder, as ``go_tools.py`` does; the build takes
about five minutes on two cores. What Go keeps beside (3 GB) is removed afterwards, unless ``EXCHANGER_KEEP_GO_CACHES=1`` lets it use the
caches of the user. ``kube_lab.py --where`` builds nothing and prints where the programs are when they are built.

To change a version: in ``kube_lab/go.mod``, leave only the lines ``module`` and ``go``; for each ``k8s.io/NAME => ./staging/…`` of the
go.mod of ``k8s.io/kubernetes@v1.X.Y`` (``go mod download -json`` says where it is) write ``replace k8s.io/NAME => k8s.io/NAME v0.X.Y``,
as the published module lacks those folders. Then
``go get -tool k8s.io/kubernetes/cmd/kube-apiserver@v1.X.Y go.etcd.io/etcd/server/v3@vA.B.C``.
"""

import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import go_tools

MODULE: Final = Path(__file__).resolve().with_suffix("")
VERSION_PACKAGE: Final = "k8s.io/component-base/version"
PROGRAMS: Final = {
    "etcd": ("go.etcd.io/etcd/server/v3", ""),
    "kube-apiserver": ("k8s.io/kubernetes", "cmd/kube-apiserver"),
}
BUILD_S: Final = 3600.0
"""Seconds a program: kube-apiserver takes 5 minutes on two idle cores, and downloads come before it."""


def version_of(program: str) -> str:
    """Return the version that go.mod names, such as ``v1.2.3``."""
    module = PROGRAMS[program][0]
    found = re.search(rf"^\s*(?:require )?{re.escape(module)} (v\S+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise go_tools.ToolError(f"go.mod does not name {module}")
    return found.group(1)


def path_of(program: str) -> Path:
    """Return where ``program`` is when it is built."""
    machine = f"{platform.system()}-{platform.machine()}".lower()
    return go_tools.cache_folder() / f"{program}-{version_of(program)}-{machine}" / program


def linker_flags(program: str) -> str:
    """Return what is left out (symbols), and for Kubernetes the version, which its own build sets and its features depend on."""
    if program == "etcd":
        return "-s -w"
    version = version_of(program)
    major, minor = version.removeprefix("v").split(".")[:2]
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    return " ".join(("-s -w", *(f"-X {VERSION_PACKAGE}.{name}={value}" for name, value in values.items())))


def build(program: str, go: Path, variables: dict[str, str]) -> None:
    """Build ``program`` and put it in its place in one step, so that two builds at once do no harm."""
    target = path_of(program)
    target.parent.mkdir(parents=True, exist_ok=True)
    package = "/".join(filter(None, PROGRAMS[program]))
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        built = Path(folder) / program
        command = (go, "build", "-gcflags=all=-dwarf=false", "-ldflags", linker_flags(program), "-o", built, package)
        subprocess.run(command, cwd=MODULE, env=variables, check=True, timeout=BUILD_S)
        built.replace(target)


def build_all(programs: list[str]) -> None:
    """Build ``programs``, one after the other, with caches that go away at the end."""
    go, variables = go_tools.new_enough(go_tools.find_go() or go_tools.install_go())
    root = go_tools.cache_folder()
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="building-", dir=root) as caches:
        if os.environ.get("EXCHANGER_KEEP_GO_CACHES") != "1":
            # -modcacherw: modules are read-only otherwise, and could not be removed by a user other than root.
            variables |= {"GOCACHE": f"{caches}/build", "GOMODCACHE": f"{caches}/modules", "GOFLAGS": f"{variables['GOFLAGS']} -modcacherw"}
        for program in programs:
            print(f"building {program} {version_of(program)}, which takes some minutes", file=sys.stderr, flush=True)
            build(program, go, variables)


def main() -> int:
    """Return the exit status."""
    if sys.argv[1:] not in ([], ["--where"]):
        print(__doc__, file=sys.stderr)
        return 2
    missing = [program for program in PROGRAMS if not path_of(program).exists()]
    if missing and not sys.argv[1:]:
        try:
            build_all(missing)
        except (go_tools.ToolError, subprocess.SubprocessError) as error:
            print(error, file=sys.stderr)
            return 1
    for program in PROGRAMS:
        print(path_of(program))
    return 0


if __name__ == "__main__":
    sys.exit(main())
