"""Tries the charts in a real cluster: the connection test, and scenarios through a gateway. Run it with the Python of ``.venv``.

    smoke.py kind [--keep]        make a kind cluster, install everything, check it, and remove the cluster, whatever happens
    smoke.py check [OPTION ...]   check the cluster of the current context; options of ``exchanger scenarios``
    smoke.py stress [OPTION ...]  the same scenarios at once and again (``stress.py``)
    smoke.py dashboard            open the demo's page for the cluster's gateway, until Ctrl-C

What is installed, in which versions and with which values, is read from devspace.yaml: the profiles with-infra and local-test. ``kind``
needs Docker, kind, helm and kubectl, and leaves the user's kubeconfig alone. The others need kubectl, and ``check`` also helm. They forward
the gateway's port, unless ``--base-url`` (or E2E_BASE_URL) says where it is.

Exit status: 0 if everything was as expected, 1 if not, 2 for wrong options, 130 after Ctrl-C.
"""

import argparse
import contextlib
import json
import os
import queue
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

from devspace_config import ORDER, variables, with_profiles

ROOT: Final = Path(__file__).resolve().parents[1]
PROFILES: Final = ("with-infra", "local-test")
TAG: Final = "smoke"
IMAGES: Final = {"exchanger": "localhost/exchanger", "demo": "localhost/exchanger-demo"}

# Seconds. An image builds in three minutes on a small machine, and Istio's images come over the network.
BUILD_S: Final = 1800.0
CLUSTER_S: Final = 600.0
INSTALL_S: Final = 600.0
ASK_S: Final = 60.0
# Seconds in which a program that is told to stop may clean up.
STOP_S: Final = 15.0
# Seconds until a port is forwarded, and until the gateway calls the service: Istio takes a while to hand on a filter.
FORWARD_S: Final = 30.0
READY_S: Final = 120.0
# The exit status of `exchanger scenarios` if a scenario did not have the expected result.
NOT_AS_EXPECTED: Final = 1
# Seconds for all scenarios, and more than anybody lets a stress test run.
SCENARIOS_S: Final = 600.0
STRESS_S: Final = 3600.0


class SmokeError(Exception):
    """A step failed; the message says which. ``status`` is the exit status of its program, if it ended by itself."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


# Commands


def run(*command: str | Path, seconds: float, given: str | None = None, quiet: bool = False) -> str:
    """Show the command, run it, and return what it printed; without ``quiet`` it prints for itself.

    Raises:
        SmokeError: it failed, took longer, or does not exist.
    """
    words = [str(part) for part in command]
    print(f"$ {shlex.join(words)}", flush=True)
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(words, cwd=ROOT, text=True, stdin=None if given is None else pipe, stdout=pipe if quiet else None)
    except OSError as error:
        raise SmokeError(f"{words[0]} cannot be run: {error.strerror}") from None
    with stopped(process):
        try:
            printed, _ = process.communicate(given, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise SmokeError(f"{words[0]} took longer than {seconds:g} s") from None
    if process.returncode != 0:
        raise SmokeError(f"{shlex.join(words[:3])} … ended with {process.returncode}", process.returncode)
    return printed or ""


@contextmanager
def stopped(process: subprocess.Popen[str]) -> Iterator[None]:
    """Stop the process at the end, if it has not ended: it may clean up first."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def forwarded(namespace: str, target: str, port: int) -> Iterator[str]:
    """Forward a free port to ``port`` of ``target``; yield its address ``127.0.0.1:PORT``."""
    command = ("kubectl", "port-forward", "--namespace", namespace, target, f":{port}")
    print(f"$ {shlex.join(command)}", flush=True)
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    except OSError as error:
        raise SmokeError(f"kubectl cannot be run: {error.strerror}") from None
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        # To the end, since a full pipe would stop the process; the last line is empty.
        for line in process.stdout or ():
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    with stopped(process):
        try:
            found = re.search(r"127\.0\.0\.1:\d+", lines.get(timeout=FORWARD_S))
        except queue.Empty:
            found = None
        if found is None:
            raise SmokeError(f"no port was forwarded to {target} in {namespace}")
        yield found[0]


# Parts


def install(name: str, deployment: Mapping[str, Any]) -> None:
    """Install one deployment of devspace.yaml and wait until it is ready."""
    namespace = deployment["namespace"]
    if "kubectl" in deployment:
        made = run("kubectl", "create", "namespace", namespace, "--dry-run=client", "--output", "yaml", seconds=ASK_S, quiet=True)
        run("kubectl", "apply", "--filename", "-", seconds=ASK_S, given=made)
        kubectl = deployment["kubectl"]
        for manifest in kubectl.get("manifests", ()):
            run("kubectl", "apply", "--server-side", "--kustomize", manifest, seconds=INSTALL_S)
        if inline := kubectl.get("inlineManifest"):
            run("kubectl", "apply", "--namespace", namespace, "--filename", "-", seconds=INSTALL_S, given=inline)
        return
    helm = deployment["helm"]
    chart = helm["chart"]
    source = ("--repo", chart["repo"], "--version", chart["version"]) if "repo" in chart else ()
    files = [option for file in helm.get("valuesFiles", ()) for option in ("--values", file)]
    # JSON is YAML; standard input comes last and takes precedence.
    options = ("--namespace", namespace, "--create-namespace", *source, *files, "--values", "-", "--wait", "--timeout", f"{INSTALL_S:.0f}s")
    values = json.dumps(helm.get("values", {}))
    run("helm", "upgrade", "--install", helm.get("releaseName", name), chart["name"], *options, seconds=INSTALL_S + ASK_S, given=values)


def install_everything(config: Mapping[str, Any]) -> None:
    """Install the deployments of devspace.yaml one after the other, and wait for the gateway."""
    deployments = config["deployments"]
    for name in ORDER:
        if name in deployments:
            install(name, deployments[name])
    gateway, namespace = gateway_of(config)
    wait = ("--for=condition=Programmed", f"--timeout={READY_S:.0f}s")
    run("kubectl", "wait", f"gateway/{gateway}", "--namespace", namespace, *wait, seconds=READY_S + ASK_S)


def gateway_of(config: Mapping[str, Any]) -> tuple[str, str]:
    """Return the Gateway's name and namespace."""
    (parent,) = config["deployments"]["demo"]["helm"]["values"]["route"]["parentRefs"]
    return parent["name"], parent["namespace"]


def gateway_url(config: Mapping[str, Any], given: str, stack: ExitStack) -> str:
    """Return the gateway's URL: the one that is given, or a port that is forwarded for as long as ``stack`` is open."""
    if given:
        return given
    gateway, namespace = gateway_of(config)
    # Istio names the Service after the Gateway and its class.
    return f"http://{stack.enter_context(forwarded(namespace, f'service/{gateway}-istio', 80))}"


def exchanger(*arguments: str, seconds: float) -> None:
    """Run a command of this checkout."""
    run(sys.executable, "-m", "exchanger", *arguments, seconds=seconds)


def check(config: Mapping[str, Any], base_url: str, arguments: Sequence[str]) -> None:
    """Run the connection test, and all scenarios."""
    service = config["deployments"]["exchanger"]
    run("helm", "test", "exchanger", "--namespace", service["namespace"], "--logs", "--timeout", "2m", seconds=120.0 + ASK_S)
    with ExitStack() as stack:
        url = gateway_url(config, base_url, stack)
        endpoint = stack.enter_context(forwarded(config["deployments"]["demo"]["namespace"], "service/fake-token-endpoint", 8080))
        deadline = time.monotonic() + READY_S
        while True:
            try:
                exchanger("scenarios", "--base-url", url, "--only", "missing-bearer", *_trust(arguments), seconds=ASK_S)
                break
            except SmokeError as error:
                if error.status != NOT_AS_EXPECTED:
                    raise
                if time.monotonic() > deadline:
                    raise SmokeError(f"the gateway does not call the service within {READY_S:g} s") from None
                time.sleep(2.0)
        exchanger("scenarios", "--base-url", url, "--stats-url", f"http://{endpoint}/stats", *arguments, seconds=SCENARIOS_S)


def _trust(arguments: Sequence[str]) -> list[str]:
    """Return those options of ``exchanger scenarios`` that say how the gateway is reached."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--resolve")
    parser.add_argument("--ca-file")
    known, _ = parser.parse_known_args(list(arguments))
    return [word for name, value in vars(known).items() if value for word in (f"--{name.replace('_', '-')}", value)]


def stress(config: Mapping[str, Any], base_url: str, arguments: Sequence[str]) -> None:
    """Run the scenarios at once and again."""
    with ExitStack() as stack:
        url = gateway_url(config, base_url, stack)
        run(sys.executable, ROOT / "scripts" / "stress.py", "--base-url", url, *arguments, seconds=STRESS_S)


def dashboard(config: Mapping[str, Any], base_url: str, arguments: Sequence[str]) -> None:
    """Show the demo's page for the cluster's gateway."""
    service = config["deployments"]["exchanger"]
    with ExitStack() as stack:
        url = gateway_url(config, base_url, stack)
        # The console listens on the pod's loopback address, where a forwarded port ends.
        console = stack.enter_context(forwarded(service["namespace"], "deployment/exchanger", 3003))
        exchanger("demo", "--gateway", url, "--console", f"http://{console}", *arguments, seconds=threading.TIMEOUT_MAX)


@contextmanager
def kind_cluster(name: str, *, keep: bool) -> Iterator[None]:
    """Make a cluster, and remove it at the end unless it is to be kept. Commands inside use its own kubeconfig."""
    if name in run("kind", "get", "clusters", seconds=ASK_S, quiet=True).split():
        raise SmokeError(
            f"there is a kind cluster {name} already: name another with --name, or remove it with kind delete cluster --name {name}"
        )
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KUBECONFIG"] = f"{folder}/kubeconfig"
        try:
            run("kind", "create", "cluster", "--name", name, "--wait", "120s", seconds=CLUSTER_S)
            yield
        except SmokeError:
            tell()
            raise
        finally:
            if keep:
                print(f"The cluster is kept. Use it with: kind export kubeconfig --name {name}", flush=True)
            else:
                remove(name)


def tell() -> None:
    """Print what the cluster saw, for whoever looks for the reason."""
    service = ("--all-containers", "--namespace", "exchanger", "--selector", "app.kubernetes.io/name=exchanger", "--tail", "200")
    for command in (("get", "pods,events", "--all-namespaces"), ("logs", "--prefix", *service)):
        with contextlib.suppress(SmokeError):
            run("kubectl", *command, seconds=ASK_S)


def remove(name: str) -> None:
    """Remove the cluster; another Ctrl-C does not stop that."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        run("kind", "delete", "cluster", "--name", name, seconds=CLUSTER_S)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def smoke(name: str, profiles: Sequence[str], *, keep: bool, build: bool) -> None:
    """Do everything in a kind cluster, with further profiles."""
    images = {f"{image}:{TAG}": target for target, image in IMAGES.items()}
    if build:
        for image, target in images.items():
            stage = () if target == "exchanger" else ("--target", target)
            run("docker", "build", "--file", "Containerfile", "--tag", image, *stage, ".", seconds=BUILD_S)
    runtime = {
        f"runtime.images.{target}.{key}": value for target, image in IMAGES.items() for key, value in (("image", image), ("tag", TAG))
    }
    config = with_profiles((*PROFILES, *profiles), {**variables(), **runtime})
    with kind_cluster(name, keep=keep):
        run("kind", "load", "docker-image", *images, "--name", name, seconds=CLUSTER_S)
        install_everything(config)
        check(config, "", ())


def main(arguments: Sequence[str]) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="kind|check|stress|dashboard")
    kind = commands.add_parser("kind", allow_abbrev=False)
    kind.add_argument("--name", default="exchanger-smoke", help="name of the cluster (default: exchanger-smoke)")
    extra = ("ext-proc", "with-keycloak")
    kind.add_argument("--profile", action="append", default=[], choices=extra, help="another profile of devspace.yaml; can be repeated")
    kind.add_argument("--keep", action="store_true", help="keep the cluster")
    kind.add_argument(
        "--skip-build", action="store_true", help=f"use the images {' and '.join(f'{image}:{TAG}' for image in IMAGES.values())}"
    )
    parts = {"check": check, "stress": stress, "dashboard": dashboard}
    for name, part in parts.items():
        command = commands.add_parser(name, description=part.__doc__, allow_abbrev=False)
        command.add_argument(
            "--base-url", default=os.environ.get("E2E_BASE_URL", ""), metavar="URL", help="the gateway (default: a forwarded port)"
        )
    options, rest = parser.parse_known_args(list(arguments))
    if options.command == "kind" and rest:
        parser.error(f"unrecognized arguments: {shlex.join(rest)}")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if options.command == "kind":
            smoke(options.name, options.profile, keep=options.keep, build=not options.skip_build)
        else:
            parts[options.command](with_profiles(("local-test",), variables()), options.base_url, rest)
    except SmokeError as error:
        print(f"smoke: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
