"""The commands of the runbooks, run against a service with the functions of each set-up.

The programs of the platform (kubectl, helm, docker, systemd's) are one stand-in, which has the service's log, and runs in place what they
would run in a pod or a container.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.service import DOCUMENT, Service, get, serving
from tests.monitoring.pages import PAGES, SETUPS, blocks, setups
from tests.monitoring.sources import RUNBOOKS

PROGRAMS: Final = ("kubectl", "helm", "docker", "journalctl", "systemctl", "systemd-run", "runuser", "ss", "curl", "exchanger", "git")
# What the pages' commands and the stand-in are written for: bash, grep and programs of coreutils.
NEEDED: Final = ("bash", "basename", "cat", "cut", "dirname", "env", "grep", "ls", "sort", "tr", "uniq")
needs_shell = pytest.mark.skipif(any(shutil.which(name) is None for name in NEEDED), reason=f"runbooks need {', '.join(NEEDED)}")
# Seconds for all commands of one set-up; ``exchanger`` takes one, once for each of its commands.
RUN_S: Final = 300.0
STAND_IN: Final = r"""#!/bin/sh
here=$(dirname "$0"); name=$(basename "$0")
echo "$name $*" >>"$here/called"
case "$name $*" in
exchanger*)
  kept="$here/kept $(echo "$*" | tr / _)"
  test -e "$kept" || PYTHON -m exchanger "$@" >"$kept"
  cat "$kept" ;;
curl*localhost:3002/metrics | curl*127.0.0.1:3002/metrics) cat METRICS ;;
curl*) exit 6 ;;
*" logs "* | journalctl*) cat LOG ;;
runuser*) shift 3; "$@" ;;
kubectl*" exec "*) shift 5; "$@" ;;
"docker compose exec -T"*) shift 4; "$@" ;;
"docker run "*curlimages/curl*) while test "$1" != curlimages/curl; do shift; done; shift; curl "$@" ;;
kubectl*.env*) env ;;
*) echo exchanger ;;
esac
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("service"), DOCUMENT, METRICS_ENABLED="true") as running:
        running.check("/admin")
        running.check("/orders", authorization="Bearer canary-subject")
        running.line_about("/orders")
        yield running


def run(setup: str, script: str, service: Service, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "metrics").write_bytes(get(f"http://127.0.0.1:{service.metrics_port}/metrics"))
    text = STAND_IN.replace("PYTHON", sys.executable).replace("METRICS", str(folder / "metrics")).replace("LOG", str(service.log))
    for name in PROGRAMS:
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    variables = {
        "POLICY_SOURCE": "directory",
        "POLICY_DIRECTORY": str(service.folder),
        "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE": str(service.folder.parent / "issuers.yaml"),
        "METRICS_PORT": str(service.metrics_port),
        "TOKEN_ENDPOINT_REQUEST_TIMEOUT": "750ms",
        "GRPC_TLS_PORT": "3000",
        "AUDIT_LOG": "off",
        "CONFIGMAP_LABEL_SELECTOR": "ext-authz-token-exchange.magneticflux.net/enabled=true",
        "CONFIGMAP_NAMESPACE_SELECTOR": "ext-authz-token-exchange.magneticflux.net/policy=enabled",
    }
    (folder / "environment").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    whole = f"set -u\n{setups()[setup]}\n{script}".replace("/etc/exchanger/environment", str(folder / "environment"))
    whole = (
        whole.replace("/opt/exchanger/bin/", f"{folder}/").replace("/opt/exchanger/bin", str(folder)).replace("./exchanger/", f"{folder}/")
    )
    given = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder), **(variables if setup != "systemd" else {})}
    return subprocess.run(["bash", "-c", whole], env=given, cwd=folder, capture_output=True, text=True, timeout=RUN_S, check=False)


@needs_shell
@pytest.mark.parametrize("setup", SETUPS)
def test_every_command_of_every_runbook_runs(setup: str, service: Service, tmp_path: Path) -> None:
    script = []
    for page in PAGES:
        for block in blocks(page):
            if setup == "cluster" or not block.cluster:
                script += [f"echo; echo '## {page.stem}'", block.text]
    done = run(setup, "\n".join(script), service, tmp_path)
    wrong = [line for line in done.stderr.splitlines() if re.search(r"command not found|syntax error|unbound|invalid option|usage:", line)]
    assert wrong == []
    told: dict[str, str] = {}
    for part in done.stdout.split("## ")[1:]:
        name, _, said = part.partition("\n")
        told[name] = told.get(name, "") + said
    for name in ("triage", "ExchangerErrorsFast", "ExchangerTokenEndpointFailing", "ExchangerPolicyTooOld", "ExchangerChecksAbandoned"):
        assert told[name].strip(), name
    assert "deny_exchange_error" in told["triage"]
    assert "TXE-1003" in told["triage"]
    assert "team/policy" in told["triage"]


@needs_shell
@pytest.mark.parametrize("setup", SETUPS)
def test_the_functions_show_the_service_that_runs(setup: str, service: Service, tmp_path: Path) -> None:
    script = "logs 10m | grep -c check.decided; metrics | grep ^exchanger_build; settings | grep ^POLICY_SOURCE; run exchanger status"
    told = run(setup, script, service, tmp_path).stdout
    assert re.search(r"^[12]\nexchanger_build_info\{.*\nPOLICY_SOURCE=directory\n", told)
    assert "0 problems" in told


@needs_shell
def test_the_setup_asks_for_the_pod_that_an_alert_is_about(service: Service, tmp_path: Path) -> None:
    given = {"export INSTANCE= ": "export INSTANCE=10.0.0.5:3002 "}
    assert all(text in setups()["cluster"] for text in given)
    setup = setups()["cluster"].replace("export INSTANCE= ", "export INSTANCE=10.0.0.5:3002 ")
    run("systemd", setup, service, tmp_path)
    assert "--field-selector=status.podIP=10.0.0.5 " in (tmp_path / "called").read_text()


def test_runbooks_name_no_release_of_one_gateway() -> None:
    assert [page.name for page in RUNBOOKS.glob("*.md") if "istio-ingress" in page.read_text()] == []
