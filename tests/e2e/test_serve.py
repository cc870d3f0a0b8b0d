"""``exchanger serve`` from outside: configuration errors, answers, changes of policy, and the end."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from tests.e2e.collector import wait_until
from tests.e2e.service import DOCUMENT, STOP_S, Service, config_map, environment, get, serving
from tests.ports import free_port

CHECK = "/envoy.service.auth.v3.Authorization/Check"
DESCRIPTORS = 200
REFUSED = "ext_authz_grpc_connections_refused_total"


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


def test_no_token_or_secret_reaches_the_log(service: Service) -> None:
    response = service.check("/orders?access_token=canary-query", authorization="Bearer canary-subject-token")
    assert "TXE-1003" in response.denied_response.body
    _wait_for_line(service, "TXE-1003")
    lines = service.lines()
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


def test_changes_of_the_folder_take_effect_until_ctrl_c_ends_it(tmp_path: Path) -> None:
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
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(STOP_S) == 0
        assert "service.stopped" in running.lines()


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def _wait_for_line(running: Service, text: str) -> None:
    wait_until(lambda: text in running.lines(), running.lines)


def _wait_for(running: Service, path: str, expected: int) -> None:
    wait_until(lambda: status(running.check(path)) == expected, running.lines)


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
    wrong = {
        "GRPC_PORT": "many",
        "METRICS_ENABLED": "maybe",
        "TOKEN_ENDPOINT_REQUEST_TIMEOUT": "5",
        "LOG_LEVEL": "loud",
        "CONFIGMAP_LABEL_SELECTOR": "a b",
        "METRICS_PATH": "metrics",
        "GRPC_TLS_CERT_FILE": "cert.pem",
        "GRPC_TLS_KEY_FILE": "key.pem",
    }
    ended = run_command("serve", variables=environment(tmp_path, **wrong))
    assert ended.returncode == 2
    named = {*wrong, "POLICY_DIRECTORY", "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE"} - {"GRPC_TLS_KEY_FILE"}
    assert {name for name in named if name not in ended.stderr} == set()
    assert "Traceback" not in ended.stderr


GOOD = "tokenEndpoint: 'https://x/token'"
WRONG_PROFILES = {
    "{name: b, tokenEndpoint: /token, clientID: a, clientSecret: canary}": "tokenEndpoint",
    "{name: c, tokenEndpoint: 'http://x/token', clientID: a, clientSecret: canary}": "https",
    f"{{name: d, {GOOD}, clientID: a}}": "clientSecret",
    f"{{name: e, {GOOD}, clientSecret: canary}}": "clientID",
    f"{{name: f, {GOOD}, clientID: a, clientSecretSecretRef: {{name: n, key: k}}}}": "clientSecretSecretRef",
    f"{{name: g, {GOOD}, clientID: a, clientSecret: canary, tokenEndpointAuthMethod: none}}": "tokenEndpointAuthMethod",
    ", ".join([f"{{name: h, {GOOD}, clientID: a, clientSecret: canary}}"] * 2): "twice",
}


@pytest.mark.parametrize(
    "profiles",
    [{"{name: a, clientID: a, clientSecret: canary}": "needs a tokenEndpoint or discovery"}, WRONG_PROFILES],
    ids=["unreadable", "unusable"],
)
def test_wrong_profiles_stop_the_start_with_a_line_for_each(tmp_path: Path, profiles: dict[str, str]) -> None:
    (tmp_path / "policy").mkdir()
    (tmp_path / "issuers.yaml").write_text(f"issuers: [{', '.join(profiles)}]")
    ended = run_command("serve", variables=environment(tmp_path))
    assert ended.returncode == 2
    told = ended.stderr.splitlines()[1:]
    assert len(told) == len(profiles)
    assert all(problem in line for problem, line in zip(profiles.values(), told, strict=True))
    assert "canary" not in ended.stderr


def test_without_a_cluster_the_default_source_says_where_it_looked(tmp_path: Path) -> None:
    variables = environment(tmp_path, POLICY_SOURCE="", KUBECONFIG=str(tmp_path / "nothing"), TOKEN_EXCHANGE_ISSUER_PROFILES_FILE="")
    ended = run_command("serve", variables=variables)
    assert ended.returncode == 2
    assert f"kubeconfig file at {tmp_path}" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr


@pytest.mark.parametrize("name", ["GRPC_PORT", "METRICS_PORT"])
def test_a_busy_port_is_named(service: Service, name: str) -> None:
    ports = {"GRPC_PORT": str(free_port()), "METRICS_PORT": str(free_port()), name: str(service.port)}
    ended = run_command("serve", variables=environment(service.folder.parent, METRICS_ENABLED="yes", **ports))
    assert ended.returncode == 1
    assert name in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr


def test_the_log_says_where_the_console_is(service: Service) -> None:
    _wait_for_line(service, '"variable":"CONSOLE_ADDRESS"')
    (line,) = (line for line in service.lines().splitlines() if '"variable":"CONSOLE_ADDRESS"' in line)
    about = json.loads(get(f"http://{json.loads(line)['address']}/api/about"))
    assert about["token_required"] is False


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [("--help", 0), ("", 2), ("pre-stop-sleep 1ms", 0), ("pre-stop-sleep -1s", 2)],
)
def test_other_commands_end_with_their_status(arguments: str, expected: int) -> None:
    ended = run_command(*arguments.split())
    assert ended.returncode == expected
    assert "Traceback" not in ended.stderr


@pytest.mark.full
def test_connections_do_not_take_the_last_descriptor(tmp_path: Path) -> None:
    with (
        serving(tmp_path, DOCUMENT, DESCRIPTORS, METRICS_ENABLED="true") as service,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(DESCRIPTORS):
            stack.enter_context(socket.create_connection(("127.0.0.1", service.port), 10))
        wait_until(lambda: service.metric(REFUSED) == DESCRIPTORS // 2 + 1)  # gRPC's own connection was there before
        assert service.metric("ext_authz_grpc_connections") == DESCRIPTORS // 2
        assert service.metric("process_max_fds") == DESCRIPTORS
        assert service.check("/admin/1").denied_response.status.code == 403
        stack.close()
        wait_until(lambda: service.metric("ext_authz_grpc_connections") == 1)
        with socket.create_connection(("127.0.0.1", service.port), 10) as newcomer:
            newcomer.settimeout(10)
            assert newcomer.recv(9) != b""
        assert service.stop() == 0
        assert service.lines().count('"event":"grpc.connections_refused"') == 1
