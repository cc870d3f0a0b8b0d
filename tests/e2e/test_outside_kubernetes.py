"""The service outside a cluster, with the files, the environment and the commands of docs/how-to/install/outside-kubernetes.md."""

import base64
import configparser
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.e2e.collector import token_endpoint, wait_until
from tests.e2e.service import SERVE, environment, serving

PAGE: Final = (Path(__file__).resolve().parents[2] / "docs/how-to/install/outside-kubernetes.md").read_text()
HOME: Final = "/etc/exchanger"
PROGRAM: Final = "/opt/exchanger/bin/exchanger"


def block(mark: str) -> str:
    found = re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def variables() -> dict[str, str]:
    return dict(line.split("=", 1) for line in block("environment").splitlines())


class Unit(configparser.RawConfigParser):
    """A unit file: names have case, and a directive may occur again."""

    def __init__(self) -> None:
        super().__init__(strict=False)
        self.read_string(block("unit"))

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def test_the_unit_checks_and_runs_the_program_that_the_page_installs() -> None:
    service = Unit()["Service"]
    assert service["EnvironmentFile"] == f"{HOME}/environment"
    assert [shlex.split(service[name]) for name in ("ExecStartPre", "ExecStart")] == [
        [PROGRAM, "serve", "--check-config"],
        [PROGRAM, "serve"],
    ]
    assert f"python3 -m venv {PROGRAM.removesuffix('/bin/exchanger')}\n" in PAGE
    assert (service["CapabilityBoundingSet"], service["NoNewPrivileges"], service["ProtectSystem"]) == ("", "yes", "strict")


def test_compose_runs_the_same_service() -> None:
    service: dict[str, Any] = yaml.safe_load(block("compose"))["services"]["exchanger"]
    on_one_machine = {"GRPC_HOST", "METRICS_HOST"}
    assert service["environment"] == {name: value for name, value in variables().items() if name not in on_one_machine}
    assert (service["read_only"], service["cap_drop"], "ports" in service) == (True, ["ALL"], False)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of step 2, elsewhere."""
    for name, text in (("issuers.yaml", block("issuers")), ("policy/orders.yaml", block("policy")), ("secrets/client-secret", "hush\n")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace(HOME, str(tmp_path)))
    return tmp_path


def ended(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    given = environment(home, **{name: value.replace(HOME, str(home)) for name, value in variables().items()})
    program = (sys.executable, "-m", "exchanger", *arguments)
    return subprocess.run(program, env=given, capture_output=True, text=True, timeout=60, check=False)


def test_the_configuration_is_checked_before_the_start(home: Path) -> None:
    assert ended(home, "serve", "--check-config").returncode == 0
    secret = home / "secrets" / "client-secret"
    secret.rename(home / "elsewhere")
    told = ended(home, "serve", "--check-config")
    assert (told.returncode, "clientSecretFile" in told.stderr) == (2, True)
    (home / "elsewhere").rename(secret)
    (home / "issuers.yaml").write_text("issuers: [{name: a}]")
    told = ended(home, "serve", "--check-config")
    assert (told.returncode, "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE" in told.stderr) == (2, True)


def test_status_reads_the_folder(home: Path) -> None:
    told = ended(home, "status", "--directory", str(home / "policy"), "--issuers", str(home / "issuers.yaml"))
    assert (told.returncode, "1 ConfigMap, 1 entry, 0 problems" in told.stdout) == (0, True)


@pytest.mark.full
@pytest.mark.real
def test_a_client_secret_from_a_file_is_used_and_can_be_replaced(home: Path) -> None:
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()

    def secrets() -> set[str]:
        return {base64.b64decode(got.headers["authorization"].removeprefix("Basic ")).decode() for got in tokens.requests}

    with token_endpoint("canary-exchanged") as tokens:
        profiles = (home / "issuers.yaml").read_text()
        (home / "issuers.yaml").write_text(profiles.replace("https://login.example.com", tokens.url))
        given = {name: value.replace(HOME, str(home)) for name, value in variables().items()}
        given["TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT"] = "true"
        with serving(elsewhere, "version: v1\nentries: []\n", None, SERVE, **given) as service:

            def is_exchanged(caller: str) -> bool:
                asked = service.check("/", host="orders.example.com", authorization=f"Bearer {caller}")
                return "canary-exchanged" in str(asked.ok_response)

            assert is_exchanged("first")
            assert secrets() == {"exchanger:hush"}
            (home / "secrets" / "client-secret").write_text("another\n")
            wait_until(lambda: "issuers.rotated" in service.lines(), service.lines)
            assert is_exchanged("second")
            assert secrets() == {"exchanger:hush", "exchanger:another"}
            told = ended(home, "status", "--service", f"http://127.0.0.1:{service.metrics_port}")
            assert (told.returncode, "1 entry active" in told.stdout) == (0, True)
            assert service.stop() == 0
