"""``exchanger serve`` from outside: configuration errors, answers, changes of policy, and the end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import grpc
import pytest

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from exchanger._proto.grpc.health.v1.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)
from exchanger.app.supervisor import SERVICES
from tests.e2e.service import STOP_S, Service, config_map, environment, free_port, get, serving

DOCUMENT = """
version: v1
entries:
  - match: {host: api.example.com, pathPrefix: /orders}
    action: exchange
    exchange: {issuerRef: primary, scope: read:orders}
  - match: {host: api.example.com, pathPrefix: /admin}
    action: deny
"""
CHECK = "/envoy.service.auth.v3.Authorization/Check"
SEEN_S = 30.0
"""Seconds until a change or a line must be there, on a machine with much else to do; a change is in force within a second."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Generator[Service]:
    with serving(tmp_path_factory.mktemp("service"), DOCUMENT, LOG_DECISIONS="all") as running:
        yield running


def status(response: CheckResponse) -> int:
    return 200 if response.WhichOneof("http_response") == "ok_response" else response.denied_response.status.code


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("/public", {}, 200),
        ("/admin", {"authorization": "Bearer t"}, 403),
        ("/orders", {}, 401),
        ("/x/../orders", {"authorization": "Bearer t"}, 400),
        ("/orders", {"authorization": "Bearer canary-subject-token"}, 500),
    ],
)
def test_answers(service: Service, path: str, headers: dict[str, str], expected: int) -> None:
    assert status(service.check(path, **headers)) == expected


def test_no_token_or_secret_reaches_the_log(tmp_path: Path) -> None:
    with serving(tmp_path, DOCUMENT, LOG_DECISIONS="all") as running:
        response = running.check("/orders?access_token=canary-query", authorization="Bearer canary-subject-token")
        assert "TXE-1003" in response.denied_response.body
        assert running.stop() == 0
        lines = running.lines()
    assert "TXE-1003" in lines
    assert "canary" not in lines
    assert all(isinstance(json.loads(line), dict) for line in lines.splitlines())


@pytest.mark.parametrize(
    ("path", "message", "code"),
    [
        (CHECK, b"\xff garbage", grpc.StatusCode.INTERNAL),
        ("/envoy.service.auth.v3.Authorization/Nothing", b"", grpc.StatusCode.UNIMPLEMENTED),
        ("/nothing.Here/Check", b"", grpc.StatusCode.UNIMPLEMENTED),
        (CHECK, b"\x0a" * (5 * 1024 * 1024), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
def test_bad_calls_are_refused_and_the_connection_lives_on(service: Service, path: str, message: bytes, code: grpc.StatusCode) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        service.call(path, message)
    assert raised.value.code() is code
    assert status(service.check("/admin")) == 403


def test_health_knows_every_service(service: Service) -> None:
    listed = HealthListResponse.FromString(service.call("/grpc.health.v1.Health/List", HealthListRequest().SerializeToString()))
    assert sorted(listed.statuses) == sorted(("", *SERVICES))
    assert {status.status for status in listed.statuses.values()} == {HealthCheckResponse.SERVING}
    with pytest.raises(grpc.RpcError) as raised:
        service.call("/grpc.health.v1.Health/Check", HealthCheckRequest(service="other").SerializeToString())
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_health_watch_learns_of_the_drain(tmp_path: Path) -> None:
    with serving(tmp_path, DOCUMENT) as running:
        method: grpc.UnaryStreamMultiCallable[bytes, bytes] = running.channel.unary_stream("/grpc.health.v1.Health/Watch")
        watch = method(HealthCheckRequest().SerializeToString(), timeout=30)
        seen = [HealthCheckResponse.FromString(next(watch)).status]
        running.process.send_signal(signal.SIGTERM)
        seen.append(HealthCheckResponse.FromString(next(watch)).status)
        assert seen == [HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING]
        assert list(watch) == []
        assert running.process.wait(STOP_S) == 0


def test_changes_of_the_folder_take_effect(tmp_path: Path) -> None:
    with serving(tmp_path, DOCUMENT) as running:
        assert status(running.check("/new")) == 200
        _replace(
            running.folder / "more.yaml",
            config_map("version: v1\nentries: [{match: {host: api.example.com, pathPrefix: /new}, action: deny}]", "more"),
        )
        _wait_for(running, "/new", 403)
        _replace(running.folder / "more.yaml", config_map("version: v2", "more"))
        _wait_for(running, "/anything", 500)
        _replace(running.folder / "more.yaml", "kind: [")
        _wait_for_line(running, "policy.file_unreadable")
        assert status(running.check("/anything")) == 500
        (running.folder / "more.yaml").unlink()
        _wait_for(running, "/new", 200)
        assert running.stop() == 0


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def _wait_for_line(running: Service, text: str) -> None:
    deadline = time.monotonic() + SEEN_S
    while text not in running.lines():
        assert time.monotonic() < deadline, running.lines()
        time.sleep(0.02)


def _wait_for(running: Service, path: str, expected: int) -> None:
    deadline = time.monotonic() + SEEN_S
    while status(running.check(path)) != expected:
        assert time.monotonic() < deadline, running.lines()
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path, DOCUMENT) as running:
        assert running.health() == HealthCheckResponse.SERVING
        running.process.send_signal(number)
        assert running.process.wait(STOP_S) == 0
        assert "service.stopped" in running.lines()


def run_command(*arguments: str, variables: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "exchanger", *arguments],
        env=variables or dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_problem_of_the_configuration_is_listed_at_once(tmp_path: Path) -> None:
    variables = environment(
        tmp_path,
        GRPC_PORT="many",
        METRICS_ENABLED="maybe",
        TOKEN_ENDPOINT_REQUEST_TIMEOUT="5",
        LOG_LEVEL="loud",
        CONFIGMAP_LABEL_SELECTOR="a b",
        METRICS_PATH="metrics",
        GRPC_TLS_CERT_FILE="cert.pem",
        GRPC_TLS_KEY_FILE="key.pem",
    )
    ended = run_command("serve", variables=variables)
    assert ended.returncode == 2
    for name in (
        "GRPC_PORT",
        "METRICS_ENABLED",
        "TOKEN_ENDPOINT_REQUEST_TIMEOUT",
        "LOG_LEVEL",
        "CONFIGMAP_LABEL_SELECTOR",
        "METRICS_PATH",
        "GRPC_TLS_CERT_FILE",
        "POLICY_DIRECTORY",
        "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE",
    ):
        assert name in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("profile", "problem"),
    [
        ("{name: a, clientID: a, clientSecret: canary}", "tokenEndpoint is required"),
        ("{name: a, tokenEndpoint: /token, clientID: a, clientSecret: canary}", "tokenEndpoint"),
        ("{name: a, tokenEndpoint: 'http://x/token', clientID: a, clientSecret: canary}", "https"),
        ("{name: a, tokenEndpoint: 'https://x/token', clientID: a}", "clientSecret"),
        ("{name: a, tokenEndpoint: 'https://x/token', clientSecret: canary}", "clientID"),
        ("{name: a, tokenEndpoint: 'https://x/token', clientID: a, clientSecretSecretRef: {name: n, key: k}}", "clientSecretSecretRef"),
        (
            "{name: a, tokenEndpoint: 'https://x/token', clientID: a, clientSecret: canary, tokenEndpointAuthMethod: none}",
            "tokenEndpointAuthMethod",
        ),
        (
            ", ".join(["{name: a, tokenEndpoint: 'https://x/token', clientID: a, clientSecret: canary}"] * 2),
            "twice",
        ),
    ],
)
def test_a_wrong_profile_stops_the_start(tmp_path: Path, profile: str, problem: str) -> None:
    (tmp_path / "policy").mkdir()
    (tmp_path / "issuers.yaml").write_text(f"issuers: [{profile}]")
    ended = run_command("serve", variables=environment(tmp_path))
    assert ended.returncode == 2
    assert problem in ended.stderr
    assert "canary" not in ended.stderr


def test_without_a_cluster_the_default_source_says_where_it_looked(tmp_path: Path) -> None:
    variables = environment(tmp_path, POLICY_SOURCE="", KUBECONFIG=str(tmp_path / "nothing"), TOKEN_EXCHANGE_ISSUER_PROFILES_FILE="")
    ended = run_command("serve", variables=variables)
    assert ended.returncode == 2
    assert f"no kubeconfig file at {tmp_path}" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_busy_port_is_a_clear_error(tmp_path: Path) -> None:
    with serving(tmp_path, DOCUMENT) as running:
        ended = run_command("serve", variables=environment(tmp_path, GRPC_PORT=str(running.port)))
        assert ended.returncode == 1
        assert "GRPC_PORT" in ended.stdout
        assert "Traceback" not in ended.stdout + ended.stderr
        metrics = run_command(
            "serve",
            variables=environment(tmp_path, GRPC_PORT=str(free_port()), METRICS_ENABLED="yes", METRICS_PORT=str(running.port)),
        )
        assert metrics.returncode == 1
        assert "METRICS_PORT" in metrics.stdout


def test_the_log_says_where_the_console_is(tmp_path: Path) -> None:
    with serving(tmp_path, DOCUMENT, CONSOLE_ADDRESS="127.0.0.1:0") as running:
        _wait_for_line(running, '"variable":"CONSOLE_ADDRESS"')
        (line,) = (line for line in running.lines().splitlines() if '"variable":"CONSOLE_ADDRESS"' in line)
        about = json.loads(get(f"http://{json.loads(line)['address']}/api/about"))
        assert about["token_required"] is False


def test_version_and_help() -> None:
    assert run_command("--version").stdout.startswith("exchanger ")
    assert run_command("--help").returncode == 0
    assert run_command().returncode == 2
    assert run_command("nonsense").returncode == 2


@pytest.mark.parametrize(("duration", "expected"), [("1ms", 0), ("0", 0), ("soon", 2), ("-1s", 2)])
def test_pre_stop_sleep(duration: str, expected: int) -> None:
    ended = run_command("pre-stop-sleep", duration)
    assert ended.returncode == expected
    assert "Traceback" not in ended.stderr
