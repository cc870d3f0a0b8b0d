"""``scripts/smoke.py`` when something goes wrong, with programs that stand in; and ``scripts/stress.py`` against the demo's gateway."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.conftest import SharedDemo
from tests.helm.chart import ROOT
from tests.ports import free_port
from tests.scripts.programs import SCRIPT_S, Programs, script

SMOKE: Final = (sys.executable, "scripts/smoke.py")
STRESS: Final = (sys.executable, "scripts/stress.py")
CLUSTER: Final = "exchanger-smoke"
DELETED: Final = f"kind delete cluster --name {CLUSTER}"


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    made = Programs(tmp_path)
    for name in ("docker", "helm", "kubectl"):
        made.add(name)
    made.add("kind", '[ "$1" != get ] || echo another')
    return made


def test_failed_step_is_named_and_the_cluster_reported_and_removed(programs: Programs) -> None:
    programs.add("helm", "echo 'no such chart' >&2; exit 3")
    done = programs.run(*SMOKE, "kind", "--skip-build")
    assert done.returncode == 1
    assert "smoke: helm upgrade --install … ended with 3" in done.stderr
    assert programs.calls("kubectl get pods,events", "kubectl logs", DELETED)[-1] == DELETED
    assert len(programs.calls("kubectl get pods,events", "kubectl logs", DELETED)) == 3
    assert len(programs.calls("helm")) == 1


def test_further_profiles_of_devspace_can_be_tried(programs: Programs) -> None:
    programs.add("helm", f'cat >> "{programs.notes}"; [ "$3" != exchanger ]')
    assert programs.run(*SMOKE, "kind", "--skip-build", "--profile", "ext-proc").returncode == 1
    assert '"extensionMode": "ext_proc"' in programs.notes.read_text()


def test_a_cluster_that_could_not_be_made_is_removed_too(programs: Programs) -> None:
    programs.add("kind", '[ "$1" != create ]')
    assert programs.run(*SMOKE, "kind", "--skip-build").returncode == 1
    assert programs.calls()[-1] == DELETED


def test_a_cluster_that_is_there_already_is_left_alone(programs: Programs) -> None:
    done = programs.run(*SMOKE, "kind", "--skip-build", "--name", "another")
    assert done.returncode == 1
    assert "there is a kind cluster another already" in done.stderr
    assert programs.calls("kind") == ["kind get clusters"]


def test_a_cluster_is_kept_on_request_with_the_command_that_reaches_it(programs: Programs) -> None:
    programs.add("helm", "exit 1")
    done = programs.run(*SMOKE, "kind", "--skip-build", "--keep", "--name", "mine")
    assert done.returncode == 1
    assert not programs.calls("kind delete")
    assert "kind export kubeconfig --name mine" in done.stdout


def test_images_are_built_before_there_is_a_cluster(programs: Programs) -> None:
    programs.add("docker", '[ "$4" != --tag ] || [ "$6" != --target ]')
    assert programs.run(*SMOKE, "kind").returncode == 1
    assert [call.split()[5] for call in programs.calls("docker build")] == ["localhost/exchanger:smoke", "localhost/exchanger-demo:smoke"]
    assert not programs.calls("kind")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_removes_its_cluster(programs: Programs, number: signal.Signals) -> None:
    programs.add("helm", f"exec {sys.executable} -c 'import time; time.sleep({SCRIPT_S})'")
    process = subprocess.Popen((*SMOKE, "kind", "--skip-build"), cwd=ROOT, env=programs.environment(), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + SCRIPT_S
    while not programs.calls("helm"):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(SCRIPT_S) == 130
    assert programs.calls()[-1] == DELETED


def test_another_interrupt_does_not_stop_the_removal(programs: Programs) -> None:
    programs.add("kind", f'[ "$1" != delete ] || {{ kill -INT $PPID; sleep 0.2; echo removed >> "{programs.notes}"; }}')
    programs.add("helm", "exit 1")
    assert programs.run(*SMOKE, "kind", "--skip-build").returncode == 1
    assert programs.calls()[-1] == "removed"


def test_a_program_that_is_missing_is_named(tmp_path: Path) -> None:
    done = Programs(tmp_path).run(*SMOKE, "kind", "--skip-build", variables={"PATH": str(tmp_path)})
    assert done.returncode == 1
    assert "smoke: kind cannot be run: No such file or directory" in done.stderr


def test_a_step_that_takes_too_long_is_ended(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    smoke = script("smoke")
    programs.add("helm", f"exec {sys.executable} -c 'import time; time.sleep({SCRIPT_S})'")
    with pytest.raises(smoke.SmokeError, match=r"took longer than 0\.5 s"):
        smoke.run(programs.folder / "helm", "test", seconds=0.5)
    assert capsys.readouterr().out.endswith("helm test\n")


@pytest.mark.parametrize("arguments", [(), ("kind", "--what"), ("unknown",), ("kind", "check")])
def test_wrong_options_are_refused_before_anything_is_run(programs: Programs, arguments: tuple[str, ...]) -> None:
    done = programs.call("smoke", *arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr
    assert not programs.calls()


def test_a_port_that_is_not_forwarded_is_an_error(programs: Programs) -> None:
    done = programs.run(*SMOKE, "check")
    assert done.returncode == 1
    assert "smoke: no port was forwarded to service/gateway-istio in istio-ingress" in done.stderr


def test_variables_name_another_gateway(programs: Programs) -> None:
    done = programs.run(*SMOKE, "check", variables={"GATEWAY": "edge", "GATEWAY_NAMESPACE": "gateways"})
    assert "service/edge-istio in gateways" in done.stderr


def test_options_that_scenarios_do_not_have_end_a_check_at_once(programs: Programs) -> None:
    programs.add("kubectl", "echo Forwarding from 127.0.0.1:38080; exec sleep 60")
    done = programs.run(*SMOKE, "check", "--resolve", "nowhere")
    assert done.returncode == 1
    assert "'nowhere' is not an IP address" in done.stderr
    assert done.stderr.count("usage:") == 1


def test_the_page_is_told_where_gateway_and_console_are(programs: Programs) -> None:
    """The demo's command is another part's; here it is what it is asked for."""
    programs.add(
        "kubectl",
        'case "$*" in *3003*) echo Forwarding from 127.0.0.1:33003;; *) echo Forwarding from 127.0.0.1:38080;; esac; exec sleep 60',
    )
    done = programs.run(*SMOKE, "dashboard", "--what")
    assert " -m exchanger demo --gateway http://127.0.0.1:38080 --console http://127.0.0.1:33003 --what\n" in done.stdout
    assert done.returncode == 1


@pytest.mark.envoy
def test_many_scenarios_at_once_are_as_expected(programs: Programs, ext_authz_demo: SharedDemo) -> None:
    url = f"http://127.0.0.1:{ext_authz_demo.gateway}"
    done = programs.run(*SMOKE, "stress", "--base-url", url, "--concurrency", "4", variables={"E2E_STRESS_DURATION": "2s"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert " requests, 0 not as expected, " in done.stdout
    assert "p99 " in done.stdout
    assert not programs.calls()


def test_a_gateway_that_does_not_answer_is_not_as_expected(programs: Programs) -> None:
    done = programs.run(*STRESS, "--base-url", f"http://127.0.0.1:{free_port()}", "--duration", "100ms")
    assert done.returncode == 1
    assert "yellow-success: no answer: Connection refused" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--base-url", "http://a", "--list"),
        ("--base-url", "http://a", "--duration", "0s"),
        ("--base-url", "http://a", "--concurrency", "0"),
    ],
)
def test_stress_refuses_options_that_it_would_not_heed(programs: Programs, arguments: tuple[str, ...]) -> None:
    assert programs.call("stress", *arguments).returncode == 2
