"""The demo's servers as processes of their own, the service's environment, and the ports and tokens of one demo."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import trio

from exchanger import cli
from exchanger.commands.demo.servers import LIMITS, echo, serve_http
from exchanger.commands.demo.service import SERVICE_COMMAND, service_environment
from exchanger.commands.demo.setup import DemoPorts, hold_ports
from exchanger.commands.scenarios.client import fetch
from exchanger.commands.scenarios.tokens import Subject, encode, make_subjects
from exchanger.formats.jwt.unverified import claims_of
from exchanger.net.http.message import Request

REQUEST = Request("GET", "/stats", (("Host", "h"),))


async def lines_of(process: trio.Process) -> list[str]:
    """Return what the process has said when its first line is there."""
    assert process.stdout is not None
    data = b""
    while b"\n" not in data:
        data += await process.stdout.receive_some()
    return data.decode().splitlines()


@pytest.mark.parametrize(("name", "answer", "number"), [("echo", dict, signal.SIGTERM), ("fake-token-endpoint", list, signal.SIGINT)])
async def test_a_server_serves_until_a_signal(name: str, answer: type, number: signal.Signals) -> None:
    command = (sys.executable, "-m", "exchanger", name, "--address", ":0")
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process(command, stdout=-1)
        try:
            (line,) = await lines_of(process)
            said = re.fullmatch(rf"exchanger {name}: listening on \*:(\d+)", line)
            assert said is not None
            response = await fetch(int(said.group(1)), REQUEST, timeout=30)
            assert isinstance(json.loads(response.body), answer)
            process.send_signal(number)
            assert await process.wait() == 0
        finally:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("name", ["echo", "fake-token-endpoint"])
def test_unusable_address_is_reported_in_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main([name, "--address", f"127.0.0.1:{port}"]) == 1
    assert capsys.readouterr().err == f"exchanger {name}: 127.0.0.1:{port} cannot be used: {os.strerror(98)}\n"
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--address", "nowhere"])
    assert ended.value.code == 2
    assert "must be HOST:PORT" in capsys.readouterr().err


async def test_the_request_comes_back_with_the_claims_of_its_token() -> None:
    response = await echo(Request("PUT", "/a?b=c", (("host", "h"), ("x-a", "1"), ("x-b", "2"), ("x-a", "3"))))
    assert response.status == 200
    assert json.loads(response.body) == {"method": "PUT", "path": "/a?b=c", "headers": {"host": "h", "x-a": ["1", "3"], "x-b": "2"}}
    for token, claims in ((encode({"sub": "alice"}), {"sub": "alice"}), ("abc", None)):
        response = await echo(Request("GET", "/", (("authorization", f"Bearer {token}"),)))
        assert json.loads(response.body).get("token_claims") == claims


async def test_bodies_are_bounded_and_any_head_that_envoy_lets_through_is_read() -> None:
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(serve_http, echo, "127.0.0.1", 0)
        large = Request("GET", "/x", (("Host", "h"), ("X-A", "a" * 61_440)))
        assert json.loads((await fetch(port, large, timeout=30)).body)["headers"]["x-a"] == "a" * 61_440
        too_large = Request("POST", "/x", (("Host", "h"),), b"a" * (LIMITS.body_bytes + 1))
        assert (await fetch(port, too_large, timeout=30)).status == 413
        nursery.cancel_scope.cancel()


async def test_ports_are_held_for_those_who_listen_on_them() -> None:
    async with trio.open_nursery() as nursery:
        first, *others = ports = await nursery.start(hold_ports, 20)
        assert len(set(ports)) == 20
        for listener in await trio.open_tcp_listeners(first, host="127.0.0.1"):
            await listener.aclose()
        if sys.platform == "linux":
            with socket.socket() as taken, pytest.raises(OSError, match="in use"):
                taken.bind(("127.0.0.1", others[0]))
        nursery.cancel_scope.cancel()


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
    assert not any(token in repr(ports) for token in (subjects.valid, subjects.expired))


def test_service_of_the_demo_has_its_environment_and_a_loopback_console(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("OTEL_TRACES_EXPORTER", "otlp"), ("HTTP_PROXY", "http://proxy.example.com"), ("GRPC_PORT", "1"), ("PATH", "/bin")):
        monkeypatch.setenv(name, value)
    pairs = service_environment(grpc_port=2, metrics_port=3, policy=Path("/p"), issuers=Path("/i"))
    environment = dict(pairs)
    assert len(environment) == len(pairs)
    expected = {"GRPC_HOST": "127.0.0.1", "GRPC_PORT": "2", "PATH": "/bin", "POLICY_SOURCE": "directory", "POLICY_DIRECTORY": "/p"}
    assert expected.items() <= environment.items()
    assert not {"OTEL_TRACES_EXPORTER", "HTTP_PROXY", "CONSOLE_ADDRESS", "POLICY_GRANTS_FILE"} & set(environment)
    more = service_environment(grpc_port=2, metrics_port=3, policy=Path("/p"), issuers=Path("/i"), grants=Path("/g"), console_port=4)
    assert {"CONSOLE_ADDRESS": "127.0.0.1:4", "POLICY_GRANTS_FILE": "/g"}.items() <= dict(more).items()


def test_the_service_that_shows_tokens_has_a_command_of_its_own() -> None:
    assert SERVICE_COMMAND[1:] == ("-m", "exchanger.commands.demo.service")
    refused = subprocess.run(SERVICE_COMMAND, env={"GRPC_PORT": "none"}, capture_output=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert b"exchanger cannot start:\n  - " in refused.stderr
