"""Ports, tokens and the environment of one demo."""

import subprocess
from pathlib import Path

import attrs
import pytest

from exchanger.demo.service import SERVICE_COMMAND, service_environment
from exchanger.demo.setup import DemoPorts, free_ports
from exchanger.scenarios.tokens import Subject, claims_of, make_subjects


def test_free_ports_differ() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(0 < port < 65536 for port in ports)


def test_subject_tokens_are_valid_and_expired_and_hidden() -> None:
    subjects = make_subjects("bob", now=1_000_000)
    valid, expired = claims_of(subjects.token(Subject.VALID)) or {}, claims_of(subjects.token(Subject.EXPIRED)) or {}
    assert valid["sub"] == expired["sub"] == "bob"
    assert (valid["iat"], valid["exp"]) == (1_000_000, 1_086_400)
    assert (expired["iat"], expired["exp"]) == (992_800, 996_400)
    assert subjects.token(Subject.NONE) == ""
    ports = DemoPorts(envoy_port=1, grpc_port=2, metrics_port=3, token_port=4, upstream_port=5, policy=Path("/p"), subjects=subjects)
    assert ports.gateway == "http://127.0.0.1:1"
    assert attrs.evolve(ports, console_port=6).console == "http://127.0.0.1:6"
    assert subjects.valid not in repr(ports)
    assert subjects.expired not in repr(ports)


def test_the_service_gets_the_demo_s_environment_and_its_console_is_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("OTEL_TRACES_EXPORTER", "otlp"), ("HTTP_PROXY", "http://proxy.example.com"), ("GRPC_PORT", "1"), ("PATH", "/bin")):
        monkeypatch.setenv(name, value)
    pairs = service_environment(grpc_port=2, metrics_port=3, policy=Path("/p"), issuers=Path("/i"))
    environment = dict(pairs)
    assert len(environment) == len(pairs)
    expected = {"GRPC_HOST": "127.0.0.1", "GRPC_PORT": "2", "PATH": "/bin", "POLICY_SOURCE": "directory", "POLICY_DIRECTORY": "/p"}
    assert expected.items() <= environment.items()
    assert not {"OTEL_TRACES_EXPORTER", "HTTP_PROXY", "CONSOLE_ADDRESS"} & set(environment)
    with_console = service_environment(grpc_port=2, metrics_port=3, policy=Path("/p"), issuers=Path("/i"), console_port=4)
    assert dict(with_console)["CONSOLE_ADDRESS"] == "127.0.0.1:4"


def test_the_service_that_shows_tokens_has_a_command_of_its_own() -> None:
    assert SERVICE_COMMAND[1:] == ("-m", "exchanger.demo.service")
    refused = subprocess.run(SERVICE_COMMAND, env={"GRPC_PORT": "none"}, capture_output=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert b"exchanger cannot start:\n  - " in refused.stderr
