"""The whole service over another network: it asks nothing of the system's but files and signals."""

import gc
import json
import os
import signal
from base64 import b64encode
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final

import attrs
import pytest
import trio

import exchanger
from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from exchanger.app.settings import read_settings
from exchanger.app.supervisor import Supervisor
from exchanger.grpc.client import CallAnswered, UnaryCall, exchange
from exchanger.net.network import SYSTEM, Network
from exchanger.telemetry.log import logging_to_stdout
from tests.e2e.service import DOCUMENT, ISSUERS, NAMESPACE, config_map, environment
from tests.envoy.test_check_codec import check
from tests.kube.kubeconfig import write_kubeconfig
from tests.net.memory_network import MemoryNetwork
from tests.oauth.fakes import answering, response, serve, success
from tests.ports import free_port
from tests.waiting import until

WALL: Final = 1_900_000_000.0
PACKAGE: Final = str(Path(exchanger.__file__).parent)
CHECK: Final = "/envoy.service.auth.v3.Authorization/Check"


@attrs.define(eq=False)
class Lines:
    lines: list[dict[str, Any]] = attrs.field(factory=list)

    def write(self, data: bytes, /, *, patience: float, at_once: int) -> int:
        self.lines += map(json.loads, data.splitlines())
        return 0


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "namespace.yaml").write_text(NAMESPACE)
    (tmp_path / "policy" / "policy.yaml").write_text(config_map(DOCUMENT))
    (tmp_path / "issuers.yaml").write_text(ISSUERS.replace("https:", "http:"))
    (tmp_path / "grants.yaml").write_text(
        "version: v1\ngrants: [{namespaces: [team], hosts: [api.example.com], issuers: [primary], scopes: ['read:orders']}]"
    )
    (tmp_path / "keys").write_text(b64encode(bytes(range(32))).decode())
    (tmp_path / "token").write_text("console-token-of-enough-length-0123456789")
    more = {
        "TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT": "true",
        "GRPC_PORT": "3001",
        "METRICS_ENABLED": "true",
        "METRICS_PORT": "9090",
        "CONSOLE_ADDRESS": "127.0.0.1:9091",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "POLICY_GRANTS_FILE": str(tmp_path / "grants.yaml"),
        "CONSOLE_TOKEN_FILE": str(tmp_path / "token"),
        "TOKEN_CACHE_URL": "redis://store:6379/0",
        "TOKEN_CACHE_KEY_FILE": str(tmp_path / "keys"),
        "LOG_DECISIONS": "all",
    }
    return environment(tmp_path, **more)


@asynccontextmanager
async def running(variables: dict[str, str], memory: MemoryNetwork, lines: Lines) -> AsyncGenerator[Supervisor]:
    """Run a service, and end it as Kubernetes does."""
    network, settings, stopped = memory.network(WALL), read_settings(variables), trio.Event()
    with logging_to_stdout(settings.log, lines, network) as logging:
        supervisor = Supervisor(settings, logging, network)

        async def run() -> None:
            await supervisor.run()
            stopped.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await until(lambda: 3001 in memory.listeners)
            yield supervisor
            os.kill(os.getpid(), signal.SIGTERM)
            await stopped.wait()


async def test_a_request_is_answered_and_all_of_it_goes_over_the_network(variables: dict[str, str]) -> None:
    memory, lines = MemoryNetwork(), Lines()
    async with trio.open_nursery() as issuer:
        script = answering(response(success()))
        issuer.start_soon(trio.serve_listeners, lambda one: serve(script, one), await memory.listen(None, 80))
        async with running(variables, memory, lines) as supervisor:
            await until(lambda: supervisor.serving)
            assert sorted(memory.listeners) == [80, 3001, 9090, 9091]
            fields = {":authority": "api.example.com", ":path": "/orders", "authorization": "Bearer subject"}
            message = check(fields, method="GET", path="/orders", host="api.example.com")
            async with await memory.connect("gateway", 3001) as stream:
                reply = await exchange(stream, UnaryCall(CHECK, message, "exchanger", "http", 5.0))
            assert isinstance(reply, CallAnswered)
            assert CheckResponse.FromString(reply.message).ok_response.headers[0].header.value == "Bearer issued-token"
            assert holders_of(supervisor, SYSTEM) == []
        issuer.cancel_scope.cancel()
    assert {line["timestamp"] for line in lines.lines} == {"2030-03-17T17:46:40.000Z"}
    assert any("allow_exchange" in line.values() for line in lines.lines)
    assert memory.open == set()


async def test_what_follows_a_cluster_has_nothing_of_the_system_s_either(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No API server is there, so it tries again and again."""
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", f"http://127.0.0.1:{free_port()}", {})))
    (tmp_path / "names").write_text("team")
    del variables["POLICY_DIRECTORY"]
    variables |= {"POLICY_SOURCE": "kubernetes", "POLICY_NAMESPACES_FILE": str(tmp_path / "names")}
    lines = Lines()
    async with running(variables, MemoryNetwork(), lines) as supervisor:
        await until(lambda: any(line["event"] == "policy.source_failed" for line in lines.lines))
        assert holders_of(supervisor, SYSTEM) == []


def holders_of(root: object, network: Network) -> list[str]:
    """Return how a part of ``network`` is reached from ``root`` and the package's tasks, as the types on the way."""
    parts = {
        id(part): name for name in (field.name for field in attrs.fields(type(network))) if (part := getattr(network, name)) is not None
    }
    parts[id(network)] = "network"
    todo, found = [root, *_coroutines(trio.lowlevel.current_root_task())], list[str]()
    seen: dict[int, tuple[object, int]] = {id(one): (one, 0) for one in todo}
    while todo:
        one = todo.pop()
        for other in _inner(one, gc.get_referents(one)):
            if id(other) in seen:
                continue
            seen[id(other)] = other, id(one)
            if id(other) in parts:
                way, at = [parts[id(other)]], id(one)
                while at:
                    holder, at = seen[at]
                    way.append(type(holder).__qualname__)
                found.append(" < ".join(way))
            else:
                todo.append(other)
    return found


def _coroutines(task: trio.lowlevel.Task | None) -> Iterator[object]:
    for child in (child for nursery in task.child_nurseries for child in nursery.child_tasks) if task else ():
        if child.name.startswith("exchanger."):
            yield child.coro
        yield from _coroutines(child)


def _inner(one: object, referents: Iterable[object]) -> Iterable[object]:
    if isinstance(one, FunctionType):  # what it has closed over, and not its module or its defaults
        return [cell.cell_contents for cell in one.__closure__ or ()]
    code = getattr(one, "cr_code", None) or getattr(one, "ag_code", None)
    if code is not None and not code.co_filename.startswith(PACKAGE):  # of libraries: watchfiles waits in a thread of its own
        return []
    return [] if isinstance(one, type | ModuleType) or type(one).__module__.startswith(("trio", "tests", "_pytest")) else referents
