"""Builds the programs from the Go world that tests use as peers; their versions are those of ``go_tools/go.mod``, checked against its sums.

A tool whose dependencies would change the versions of the others' has a module of its own, ``go_tools/TOOL``.
Each is built once into ``exchanger/tools/TOOL-VERSION-PLATFORM/`` of the user's cache folder. Go itself is the one on the PATH or in its
usual place; where there is none, it is installed as a system package, which takes root or sudo that does not ask.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

MODULE: Final = Path(__file__).resolve().with_suffix("")
PACKAGES: Final = {
    "actionlint": ("github.com/rhysd/actionlint", "cmd/actionlint"),
    "grpcurl": ("github.com/fullstorydev/grpcurl", "cmd/grpcurl"),
    "h2spec": ("github.com/summerwind/h2spec", "cmd/h2spec"),
    "promtool": ("github.com/prometheus/prometheus", "cmd/promtool"),
}
FLAGS: Final = {
    # Rules are checked and tested here, nothing is scraped: without service discovery the clients of twenty clouds stay away. Symbols and
    # debugging information would be most of the linker's work.
    "promtool": ("-tags=remove_all_sd", "-gcflags=all=-dwarf=false", "-ldflags=-s -w"),
}
USUAL_PLACE: Final = Path("/usr/local/go/bin/go")
TOOLCHAIN: Final = "1.26.8"
"""What a Go that cannot fetch a newer one by itself (before 1.21) is told to fetch."""
BUILD_S: Final = 1800.0
"""Seconds: promtool takes two minutes on two idle cores, the others half of one, and downloads come before it."""
ASK_S: Final = 60.0
"""Seconds: questions that Go answers from its own files."""


class ToolError(Exception):
    """A tool cannot be built, for a reason that whoever reads the message can mend."""


def cache_folder() -> Path:
    """Return where built tools are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "exchanger" / "tools"


def module_of(tool: str) -> Path:
    """Return the folder of the go.mod that names ``tool``."""
    own = MODULE / tool
    return own if own.is_dir() else MODULE


def version_of(tool: str) -> str:
    """Return the version that go.mod names, such as ``v1.2.3``."""
    found = re.search(rf"^\s*{re.escape(PACKAGES[tool][0])} (v\S+)", (module_of(tool) / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise ToolError(f"go.mod does not name {tool}")
    return found.group(1)


def path_of(tool: str) -> Path:
    """Return where ``tool`` is when it is built."""
    machine = f"{platform.system()}-{platform.machine()}".lower()
    return cache_folder() / f"{tool}-{version_of(tool)}-{machine}" / tool


def find_go() -> Path | None:
    """Return Go's command, or ``None`` when there is none."""
    found = shutil.which("go")
    if found:
        return Path(found)
    return USUAL_PLACE if USUAL_PLACE.exists() else None


def install_go() -> Path:
    """Install Go as a system package and return its command."""
    import system_packages  # which is only found when this is run, and not when tests ask where a tool is

    try:
        system_packages.install("golang-go", "ca-certificates")
    except system_packages.PackageError as error:
        raise ToolError(f"there is no Go (https://go.dev/doc/install): {error}") from error
    found = find_go()
    if found is None:
        raise ToolError("there is no Go, although its system package was installed")
    return found


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of Go's commands: this one's, without what would make it build something else."""
    kept = {name: value for name, value in os.environ.items() if name not in {"GOOS", "GOARCH", "GOBIN", "GOWORK"}}
    return {**kept, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false -trimpath", **variables}


def new_enough(go: Path) -> tuple[Path, dict[str, str]]:
    """Return a Go that builds what go.mod asks for, and its environment: ``go``, or what an old one has fetched."""
    with tempfile.TemporaryDirectory() as empty:  # no go.mod here that could make it another version
        said = subprocess.run((go, "version"), cwd=empty, capture_output=True, text=True, check=True, timeout=ASK_S).stdout
        found = re.search(r"go(\d+)\.(\d+)", said)
        if found is None or (int(found.group(1)), int(found.group(2))) >= (1, 21):
            return go, environment(GOTOOLCHAIN="auto")  # https://go.dev/doc/toolchain: it fetches what go.mod asks for
        return _fetch_toolchain(go, Path(empty)), environment(GOTOOLCHAIN="local")


def _fetch_toolchain(go: Path, empty: Path) -> Path:
    """Do what a newer Go does by itself: toolchains are modules, which lose executable bits, and in which go.mod has another name."""
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    system = f"{platform.system().lower()}-{names.get(platform.machine(), platform.machine())}"
    root = cache_folder() / f"go-{TOOLCHAIN}-{system}"
    if not root.exists():
        module = f"golang.org/toolchain@v0.0.1-go{TOOLCHAIN}.{system}"
        said = subprocess.run((go, "mod", "download", "-json", module), cwd=empty, capture_output=True, check=True, timeout=BUILD_S).stdout
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root.parent) as folder:
            copy = Path(folder) / "go"
            shutil.copytree(json.loads(said)["Dir"], copy, copy_function=shutil.copyfile)
            for directory in (copy, *(path for path in copy.rglob("*") if path.is_dir())):
                directory.chmod(0o755)
            for program in (*(copy / "bin").iterdir(), *(copy / "pkg" / "tool").rglob("*")):
                program.chmod(0o755)
            for hidden in copy.rglob("_go.mod"):
                hidden.rename(hidden.with_name("go.mod"))
            copy.rename(root)
    return root / "bin" / "go"


def build(tool: str, go: Path, variables: dict[str, str]) -> None:
    """Build ``tool`` and put it in its place in one step, so that two builds at once do no harm."""
    target = path_of(tool)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        built = Path(folder) / tool
        command = (go, "build", *FLAGS.get(tool, ()), "-o", built, "/".join(PACKAGES[tool]))
        subprocess.run(command, cwd=module_of(tool), env=variables, check=True, timeout=BUILD_S)
        built.replace(target)


def main() -> int:
    """Return the exit status."""
    missing = [tool for tool in PACKAGES if not path_of(tool).exists()]
    if missing:
        try:
            go, variables = new_enough(find_go() or install_go())
            for tool in missing:
                build(tool, go, variables)
        except (ToolError, subprocess.SubprocessError) as error:
            print(error, file=sys.stderr)
            return 1
    for tool in PACKAGES:
        print(path_of(tool))
    return 0


if __name__ == "__main__":
    sys.exit(main())
