"""The whole service over another network: no part of it has anything of the system's."""

import gc
import json
import os
import selectors
import signal
from base64 import b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from types import FunctionType, ModuleType
from typing import Any, Final

import attrs
import pytest
import trio

import exchanger
from exchanger.app.settings import read_settings
from exchanger.app.supervisor import Supervisor
from exchanger.net.network import SYSTEM, Network
from exchanger.operations.telemetry.log import logging_to_stdout
from tests.e2e.service import DOCUMENT, ISSUERS, NAMESPACE, config_map, environment
from tests.ports import free_port
from tests.sources.kube.kubeconfig import write_kubeconfig
from tests.waiting import until

PACKAGE: Final = str(Path(exchanger.__file__).parent)
PARTS: Final = tuple(field.name for field in attrs.fields(Network))


@attrs.define(eq=False)
class Lines:
    lines: list[dict[str, Any]] = attrs.field(factory=list)
    problem: str = ""

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
        "GRPC_PORT": str(free_port()),
        "METRICS_ENABLED": "true",
        "METRICS_PORT": str(free_port()),
        "CONSOLE_ADDRESS": f"127.0.0.1:{free_port()}",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "POLICY_GRANTS_FILE": str(tmp_path / "grants.yaml"),
        "CONSOLE_TOKEN_FILE": str(tmp_path / "token"),
        "HTTP_AUTHZ_PORT": str(free_port()),
        "HTTP_AUTHZ_SECRET_FILE": str(tmp_path / "token"),
        "TOKEN_CACHE_URL": f"redis://127.0.0.1:{free_port()}/0",
        "TOKEN_CACHE_KEY_FILE": str(tmp_path / "keys"),
        "LOG_DECISIONS": "all",
    }
    return environment(tmp_path, **more)


@attrs.frozen
class Around:
    """Does what a part of the system's network does, which nobody else has."""

    part: Any

    def __call__(self, *args: object, **options: object) -> object:
        return self.part(*args, **options)


class Selector(selectors.DefaultSelector):
    """One of another type."""


def another() -> Network:
    """Return a network that does what the system's does, and of which no part is the system's."""
    parts: dict[str, Any] = {name: Around(getattr(SYSTEM, name)) for name in PARTS}
    return Network(**{**parts, "random": Random(), "selector": Selector})


@pytest.mark.parametrize("source", ["directory", "kubernetes"])
async def test_no_part_of_the_service_has_the_system_s_network(
    variables: dict[str, str], source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every seed of the simulation would be another one otherwise. No API server is there, so it tries again and again."""
    if source == "kubernetes":
        monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", f"http://127.0.0.1:{free_port()}", {})))
        (tmp_path / "names").write_text("team")
        del variables["POLICY_DIRECTORY"]
        variables |= {"POLICY_SOURCE": "kubernetes", "POLICY_NAMESPACES_FILE": str(tmp_path / "names")}
    network, settings, lines = another(), read_settings(variables), Lines()
    with logging_to_stdout(settings.log, lines, network) as logging:
        supervisor = Supervisor(settings, logging, network)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run)
            await until(lambda: supervisor.serving or any(line["event"] == "policy.source_failed" for line in lines.lines))
            assert holders_of(supervisor, SYSTEM) == []
            assert "run_sync < " in " ".join(holders_of(supervisor, network))
            os.kill(os.getpid(), signal.SIGTERM)


def holders_of(root: object, network: Network) -> list[str]:
    """Return how a part of ``network`` is reached from ``root`` and the package's tasks, as the types on the way."""
    parts = {id(getattr(network, name)): name for name in PARTS}
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
