"""``exchanger status`` with a real API server: what it prints, and how it ends."""

import argparse
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import attrs
import pytest

from exchanger.commands.status.command import run_status
from exchanger.commands.status.options import add_arguments, options_of
from tests.sources.kube.admin import READ_POLICY
from tests.sources.kube.cluster import deny
from tests.sources.kube.control_plane import ADMIN_TOKEN, ControlPlane

pytestmark = pytest.mark.kubernetes

EXCHANGE: Final = (
    "version: v1\nentries: [{match: {host: h, pathPrefix: /exchange}, action: exchange, exchange: {issuerRef: primary, scope: s}}]"
)
DOMAIN: Final = "ext-authz-token-exchange.magneticflux.net"
TYPO: Final = f"{DOMAIN}/enable"


@attrs.frozen
class Done:
    returncode: int
    stdout: str
    stderr: str


Status = Callable[..., Awaitable[Done]]


@pytest.fixture
def status(capsys: pytest.CaptureFixture[str]) -> Status:
    """What the command line does with its words and the environment."""

    async def run(*arguments: str, **variables: str) -> Done:
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        code = await run_status(options_of(parser.parse_args(arguments)), variables)
        return Done(code, *capsys.readouterr())

    return run


async def test_a_cluster_is_shown(control_plane: ControlPlane, tmp_path: Path, status: Status) -> None:
    admin = control_plane.admin
    admin.put_namespace("status")
    admin.put_namespace("unselected", {})
    admin.put_config_map("status", "orders", EXCHANGE)
    admin.put_config_map("unselected", "stray", deny("/stray"))
    admin.put_config_map("status", "typo", deny("/typo"), {TYPO: "true"})
    kubeconfig = str(control_plane.kubeconfig("status", token=ADMIN_TOKEN))
    done = await status("--kubeconfig", kubeconfig)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == (
        f"server      {control_plane.url}\n"
        "namespaces  1 selected: status\n"
        "issuers     not checked: neither --issuers nor TOKEN_EXCHANGE_ISSUER_PROFILES_FILE names a file\n"
        "\n"
        "POLICY         ENTRIES  PROBLEMS\n"
        "status/orders        1         0\n"
        "\n"
        "probable mistakes:\n"
        "  POL-3103: ConfigMap unselected/stray is not active: its Namespace unselected is not selected "
        f"(the labels of the Namespace must match {DOMAIN}/policy in (enabled))\n"
        f"  POL-3102: ConfigMap status/typo is not selected: the label {TYPO} is probably meant to be {DOMAIN}/enabled=true "
        f"(its labels must match {DOMAIN}/enabled in (true))\n"
        "\n"
        "total       1 ConfigMap, 1 entry, 0 problems, 2 warnings\n"
    )
    issuers = tmp_path / "issuers.yaml"
    issuers.write_text("issuers: [{name: second, tokenEndpoint: 'https://issuer.invalid/', clientID: c, clientSecret: canary}]")
    done = await status("--json", "--context", "lab", KUBECONFIG=kubeconfig, TOKEN_EXCHANGE_ISSUER_PROFILES_FILE=str(issuers))
    found = json.loads(done.stdout)
    assert (done.returncode, found["healthy"], found["issuers"]) == (1, False, {"checked": True, "profiles": ["second"]})
    assert 'unknown issuer profile "primary"' in found["configMaps"][0]["problems"][0]["reason"]
    assert (await status("--context", "none", KUBECONFIG=kubeconfig)).returncode == 2


async def test_a_missing_right_is_named(control_plane: ControlPlane, status: Status) -> None:
    admin = control_plane.admin
    admin.put_namespace("rights")
    admin.put_config_map("rights", "policy", deny())
    kubeconfig = str(control_plane.kubeconfig("rights", token=admin.put_service_account("rights", namespace="rights")))
    done = await status("--kubeconfig", kubeconfig)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"exchanger status: {control_plane.url}: a right is missing: needs list on namespaces\n"
    subject = {"kind": "ServiceAccount", "name": "rights", "namespace": "rights"}
    admin.grant("rights", subject, READ_POLICY, "rights")
    admin.until_may("rights", "rights", "list", "configmaps", "rights")
    done = await status("--kubeconfig", kubeconfig, POLICY_NAMESPACES="rights")
    assert (done.returncode, done.stderr) == (0, "")
    assert "rights/policy" in done.stdout
