"""The environment in which the demo starts the service."""

import subprocess
from pathlib import Path

import pytest

from exchanger.demo.service import SERVICE_COMMAND, sample_policy, service_environment
from tests.demo.sample import write_sample_policy


def test_the_environment_is_the_demo_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example.com")
    monkeypatch.setenv("GRPC_PORT", "1")
    monkeypatch.setenv("PATH", "/bin")
    pairs = service_environment(grpc_port=2, metrics_port=3, policy=Path("/p"), issuers=Path("/i"))
    environment = dict(pairs)
    assert len(environment) == len(pairs)
    assert {name: environment[name] for name in ("GRPC_HOST", "GRPC_PORT", "PATH", "POLICY_SOURCE", "POLICY_DIRECTORY")} == {
        "GRPC_HOST": "127.0.0.1",
        "GRPC_PORT": "2",
        "PATH": "/bin",
        "POLICY_SOURCE": "directory",
        "POLICY_DIRECTORY": "/p",
    }
    assert not {"OTEL_TRACES_EXPORTER", "HTTP_PROXY", "CONSOLE_ADDRESS"} & set(environment)


def test_a_console_is_on_the_loopback_address_alone() -> None:
    pairs = service_environment(grpc_port=2, metrics_port=3, policy=Path("/p"), issuers=Path("/i"), console_port=4)
    assert dict(pairs)["CONSOLE_ADDRESS"] == "127.0.0.1:4"


def test_the_service_that_shows_tokens_has_a_command_of_its_own() -> None:
    assert SERVICE_COMMAND[1:] == ("-m", "exchanger.demo.service")
    refused = subprocess.run(SERVICE_COMMAND, env={"GRPC_PORT": "none"}, capture_output=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert b"exchanger cannot start:\n  - " in refused.stderr


def test_the_sample_policy_is_copied_so_that_it_can_be_edited(tmp_path: Path) -> None:
    write_sample_policy(tmp_path / "policy")
    assert {file.name: file.read_text() for file in (tmp_path / "policy").iterdir()} == {
        file.name: file.read_text("utf-8") for file in sample_policy()
    }
