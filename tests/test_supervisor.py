"""What the command line makes of faults: the process ends non-zero and says which part failed, and nothing that the part had in hand."""

from pathlib import Path

import pytest
import trio

from exchanger import cli
from exchanger.directory.source import DirectorySource
from exchanger.oauth.token_client import TokenClient
from exchanger.telemetry.exposition import MetricsServer
from exchanger.telemetry.otlp.exports import Exports
from tests.e2e.service import ISSUERS, NAMESPACE, environment, free_port


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


def test_an_interrupt_before_a_command_took_over_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupted)
    assert cli.main(["pre-stop-sleep", "1s"]) == 130
