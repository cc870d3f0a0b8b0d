"""What the command line makes of faults: the process ends non-zero and says which part failed, and nothing that the part had in hand."""

from pathlib import Path
from typing import Final

import pytest
import trio

from exchanger import cli
from exchanger.directory.source import DirectorySource
from exchanger.following import Following, FollowingStatistics
from exchanger.oauth.token_client import TokenClient
from exchanger.supervisor import Supervisor
from exchanger.telemetry.exposition import MetricsServer
from exchanger.telemetry.otlp.exports import Exports
from tests.e2e.service import ISSUERS, NAMESPACE, environment, free_port

METRICS_OF_THE_SOURCE: Final = frozenset({"policy_source_connected", "policy_snapshot_age_seconds"})


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "namespace.yaml").write_text(NAMESPACE)
    (tmp_path / "issuers.yaml").write_text(ISSUERS)
    variables = environment(tmp_path, GRPC_PORT=str(free_port()), METRICS_ENABLED="true", METRICS_PORT="0", METRICS_HOST="127.0.0.1")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return folder


async def _broken(_self: object, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    task_status.started()
    await trio.lowlevel.checkpoint()
    raise RuntimeError("canary-in-a-message")


@pytest.mark.parametrize("part", [DirectorySource, TokenClient, MetricsServer, Exports])
def test_a_fault_in_any_part_ends_the_process(
    part: type, configured: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(part, "run", _broken)
    assert cli.main(["serve"]) == 1
    output = capfd.readouterr()
    assert "service.failed" in output.out
    assert "RuntimeError" in output.out
    assert "canary" not in output.out + output.err


def test_a_folder_that_vanishes_at_the_start_is_said_plainly(
    configured: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("exchanger.directory.source.scan", lambda _root, before: type(before)(problem="cannot be listed: gone"))
    assert cli.main(["serve"]) == 1
    assert "cannot be listed: gone" in capfd.readouterr().out


def test_switches_to_know_of_are_announced(configured: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TOKEN_EXCHANGE_INSECURE_LOG_TOKENS", "true")
    monkeypatch.setenv("TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT", "true")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    monkeypatch.setattr(DirectorySource, "run", _broken)
    assert cli.main(["serve"]) == 1
    output = capfd.readouterr().out
    assert "config.insecure_log_tokens" in output
    assert "config.http_token_endpoints" in output
    assert "config.without_effect" in output


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (FollowingStatistics(None, False), {"policy_source_connected": 0.0}),
        (FollowingStatistics(0.0, True), {"policy_source_connected": 1.0, "policy_snapshot_age_seconds": 0.0}),
        (FollowingStatistics(12.5, False), {"policy_source_connected": 0.0, "policy_snapshot_age_seconds": 12.5}),
    ],
    ids=["nothing yet", "current", "cut off"],
)
def test_metrics_say_how_current_the_policy_is(
    known: FollowingStatistics, said: dict[str, float], configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Following, "statistics", lambda _self: known)
    found: dict[str, float] = {}

    async def look(supervisor: Supervisor) -> None:
        await trio.lowlevel.checkpoint()
        for metric in supervisor._metrics.collect():
            found.update({sample.name: sample.value for sample in metric.samples if sample.name in METRICS_OF_THE_SOURCE})

    monkeypatch.setattr(Supervisor, "run", look)
    assert cli.main(["serve"]) == 0
    assert found == said


def test_an_interrupt_before_a_command_took_over_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupted)
    assert cli.main(["pre-stop-sleep", "1s"]) == 130
