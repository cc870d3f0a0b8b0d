"""The image's commands, run from it as a cluster runs them: no root, nothing to write to."""

import contextlib
import io
import json
import os
import re
import subprocess
import time
from collections.abc import Generator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
import trio

from exchanger import __version__
from exchanger.commands.demo import DemoError
from exchanger.commands.demo.envoy import FilterMode, find_envoy
from exchanger.commands.demo.options import DemoOptions
from exchanger.commands.demo.running import Programs, start_demo, wait_ready
from exchanger.commands.demo.setup import demo_target
from exchanger.commands.scenarios.builtin import SCENARIOS
from exchanger.commands.scenarios.client import fetch
from exchanger.commands.scenarios.runner import run_scenario
from exchanger.commands.scenarios.terminal import Progress
from exchanger.net.http.message import Request
from tests.e2e.gateway import patient, patient_gateways
from tests.e2e.service import ISSUERS, NAMESPACE, config_map
from tests.image.container import Image, Volume
from tests.ports import free_port
from tests.sources.kube.control_plane import ADMIN_TOKEN, find_programs, running

pytestmark = [pytest.mark.full, pytest.mark.image]

START_S: Final = 60.0
STOP_S: Final = 30.0
# The image's own, and one as clusters choose that give each namespace a range of users.
USERS: Final = ("65532:65532", "1000650000:0")

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")

IMPORT_EVERYTHING: Final = """
import importlib, importlib.metadata, pkgutil, exchanger
# With a Keycloak, the demo needs a JOSE library, which no image has; nothing else imports these modules.
left_out = {"exchanger.__main__", *("exchanger.commands.demo.keycloak." + name for name in ("client", "tokens", "verification"))}
ours = [module.name for module in pkgutil.walk_packages(exchanger.__path__, "exchanger.") if module.name not in left_out]
for name in (*ours, *importlib.metadata.packages_distributions()):
    importlib.import_module(name)
print(len(ours))
"""


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A folder that containers can read."""
    tmp_path.chmod(0o755)
    return tmp_path


@contextlib.contextmanager
def started(image: Image, *arguments: str, volumes: tuple[Volume, ...] = (), **variables: str) -> Generator[subprocess.Popen[str]]:
    """Run a command that has no end; it must end with status 0 when the block has, by SIGTERM."""
    command = image.command(*arguments, volumes=volumes)
    environment = {"PATH": os.environ["PATH"], **variables}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
            process.terminate()
            said = process.communicate(timeout=STOP_S)[0]
            assert process.returncode == 0, said
        finally:
            process.kill()


def until_serving(image: Image, process: subprocess.Popen[str], address: str) -> None:
    """Ask, from another container, until the service wants traffic."""
    deadline = time.monotonic() + START_S
    while (done := image.run("health", "--address", address)).returncode:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, done.stderr
    assert done.stdout == "SERVING\n"


def python(image: Image, code: str, user: str = USERS[0]) -> subprocess.CompletedProcess[str]:
    """Run ``code`` by the image's Python."""
    with_python = Image(image.root, image.pristine, {**image.config, "Entrypoint": ["python"]})
    return with_python.run("-c", code, user=user)


@pytest.mark.parametrize("user", USERS)
def test_it_says_its_version(image: Image, user: str) -> None:
    done = image.run("--version", user=user)
    assert re.fullmatch(rf"exchanger {re.escape(__version__)} \(Python 3\.\d+\.\d+, Linux \w+\)\n", done.stdout)
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize("user", USERS)
def test_it_runs_as_nobody_with_nothing_to_write_to(image: Image, user: str) -> None:
    code = (
        "import os\n"
        "print(os.getuid(), os.getgid(), os.getgroups(), bool(os.statvfs('/').f_flag & os.ST_RDONLY))\n"
        "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith(('CapEff', 'NoNewPrivs'))))\n"
        "for name in ('/x', '/tmp/x', '/dev/x', '/opt/exchanger/x'):\n"
        "    try: open(name, 'w'); print('written', name)\n"
        "    except OSError: pass\n"
    )
    done = python(image, code, user)
    uid, gid = user.split(":")
    assert done.stdout == f"{uid} {gid} [] True\n0000000000000000 1\n", done.stderr


def test_every_module_finds_what_it_imports(image: Image, demo_image: Image) -> None:
    counts = []
    for each in (image, demo_image):
        done = python(each, IMPORT_EVERYTHING)
        assert done.returncode == 0, done.stderr
        counts.append(int(done.stdout))
    production, demo = counts
    assert demo > production > 100


def test_authorities_of_the_public_web_are_known(image: Image) -> None:
    code = "import ssl; context = ssl.create_default_context(); print(ssl.get_default_verify_paths().capath, len(context.get_ca_certs()))\n"
    code += "import os; print(len(os.listdir(ssl.get_default_verify_paths().capath)))"
    done = python(image, code)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) > 100


def test_what_is_wrong_with_its_configuration_is_said(image: Image) -> None:
    done = image.run(GRPC_PORT="a", POLICY_SOURCE="directory")
    assert done.returncode == 2
    assert "GRPC_PORT" in done.stderr


def test_pre_stop_sleep_needs_no_shell(image: Image) -> None:
    began = time.monotonic()
    assert image.run("pre-stop-sleep", "300ms").returncode == 0
    assert time.monotonic() - began >= 0.3


def test_health_of_nobody(image: Image) -> None:
    done = image.run("health", "--address", "127.0.0.1:1")
    assert (done.stdout, done.returncode) == ("", 1)
    assert "Connection refused" in done.stderr


@pytest.mark.parametrize("name", ["echo", "fake-token-endpoint", "scenarios", "demo"])
def test_production_does_not_know_the_demos_commands(image: Image, name: str) -> None:
    done = image.run(name, "--help")
    assert (done.stdout, done.returncode) == ("", 2)
    assert f"the command {name} is not part of this installation" in done.stderr
    assert name not in image.run("--help").stdout.split()


def test_the_demo_image_knows_the_scenarios(demo_image: Image) -> None:
    done = demo_image.run("scenarios", "--list")
    assert (done.returncode, done.stderr) == (0, "")
    assert SCENARIOS[0].name in done.stdout


@pytest.mark.parametrize("name", ["echo", "fake-token-endpoint"])
async def test_the_demos_servers_are_in_the_demo_image(demo_image: Image, name: str) -> None:
    with started(demo_image, name, "--address", ":0") as process:
        assert process.stdout is not None
        said = re.fullmatch(rf"exchanger {name}: listening on \*:(\d+)\n", process.stdout.readline())
        assert said is not None
        response = await fetch(int(said.group(1)), Request("GET", "/stats", (("Host", "h"),)), timeout=10)
        assert response.status == 200
        json.loads(response.body)


def test_serve_is_what_starts_and_health_sees_it(image: Image, volume: Path) -> None:
    (volume / "policy").mkdir()
    (volume / "policy" / "policy.yaml").write_text(NAMESPACE + "---\n" + config_map("version: v1\nentries: []"))
    (volume / "issuers.yaml").write_text(ISSUERS)
    port = free_port()
    variables = {
        "GRPC_PORT": str(port),
        "POLICY_SOURCE": "directory",
        "POLICY_DIRECTORY": str(volume / "policy"),
        "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE": str(volume / "issuers.yaml"),
    }
    address = f"127.0.0.1:{port}"
    with started(image, volumes=(volume,), **variables) as process:
        until_serving(image, process, address)
        assert image.run("health", "--address", address, "--service", "envoy.service.auth.v3.Authorization").returncode == 0
        assert image.run("health", "--address", address, "--service", "no.Such").stdout == "SERVICE_UNKNOWN\n"


@pytest.mark.envoy
@pytest.mark.parametrize("mode", FilterMode)
async def test_the_demos_scenarios_come_out_as_expected(image: Image, mode: FilterMode, volume: Path) -> None:
    try:
        envoy = find_envoy()
    except DemoError as error:
        pytest.skip(str(error))
    programs = Programs(service=patient(image.command(volumes=(volume,))), gateway=envoy)
    progress = Progress(io.StringIO())
    async with trio.open_nursery() as nursery:
        with patient_gateways():
            stage = await start_demo(nursery, DemoOptions(mode=mode), programs, volume, progress)
        await wait_ready(stage, progress, START_S)
        findings = [await run_scenario(scenario, demo_target(stage.ports)) for scenario in SCENARIOS]
        assert await stage.service.stop() == 0
        nursery.cancel_scope.cancel()
    assert [(finding.name, finding.got, finding.details) for finding in findings if not finding.ok] == []
    assert len(findings) > 20


@pytest.mark.kubernetes
def test_a_cluster_is_followed_by_the_pods_own_account(image: Image, volume: Path) -> None:
    programs = find_programs()
    if programs is None:
        pytest.skip("etcd and kube-apiserver are not built: run python3 .ci/tools.py etcd kube-apiserver")
    account, control = volume / "account", volume / "control-plane"
    account.mkdir()
    control.mkdir()
    port = free_port()
    with running(control, programs=programs) as control_plane:
        control_plane.admin.put_namespace("team")
        policy = "version: v1\nentries: [{match: {host: api.example.com, pathPrefix: /}, action: deny}]"
        control_plane.admin.put_config_map("team", "policy", policy)
        (account / "token").write_text(ADMIN_TOKEN)
        (account / "ca.crt").write_bytes(control_plane.ca_file.read_bytes())
        cluster = urlsplit(control_plane.url)
        variables = {"KUBERNETES_SERVICE_HOST": str(cluster.hostname), "KUBERNETES_SERVICE_PORT": str(cluster.port), "GRPC_PORT": str(port)}
        lent = ((account, ACCOUNT),)
        environment = {"PATH": os.environ["PATH"], **variables}
        command = image.command("status", volumes=lent)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=START_S)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert "total       1 ConfigMap, 1 entry, 0 problems\n" in done.stdout
        with started(image, volumes=lent, **variables) as process:
            until_serving(image, process, f"127.0.0.1:{port}")
