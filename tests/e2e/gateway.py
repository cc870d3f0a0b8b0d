"""A real Envoy in front of services of the tests' own."""

import copy
import io
import json
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import attrs
import trio

from exchanger.commands.demo.envoy import HTTP_OPTIONS, FilterMode, bootstrap, envoy_command, find_envoy
from exchanger.commands.demo.options import DemoOptions
from exchanger.commands.demo.processes import Child
from exchanger.commands.demo.running import Programs, RunningDemo, start_demo, wait_ready
from exchanger.commands.demo.servers import echo, serve_http
from exchanger.commands.demo.service import SERVICE_COMMAND, base_environment, service_environment
from exchanger.commands.scenarios.answer import ScenarioAnswer, answer_of
from exchanger.commands.scenarios.builtin import SCENARIOS
from exchanger.commands.scenarios.client import LOOPBACK, NoAnswerError, fetch
from exchanger.commands.scenarios.scenario import Scenario
from exchanger.commands.scenarios.target import request_of
from exchanger.commands.scenarios.terminal import Progress
from exchanger.net.http.message import Request
from tests.ports import free_port

READY_S: Final = 60.0
# For services on a machine that stalls: more than they wait by default, and less than the token endpoint's slow answer takes.
PATIENCE: Final = {"TOKEN_ENDPOINT_REQUEST_TIMEOUT": "2500ms", "TOKEN_ENDPOINT_RESPONSE_HEADER_TIMEOUT": "2s"}
# The same for gateways, which wait for the service; whoever asks them waits for longer.
CHECK_TIMEOUT: Final = "5s"
# Of both instances together, until one that is healthy counts as such.
GOOD_CHECKS: Final = 8
# Python's arguments for a demo in which service, gateway and playground wait longer; from the top of the checkout.
PATIENT_DEMO: Final = (
    "-c",
    """
import sys
from unittest.mock import patch
from exchanger import cli
from exchanger.commands.demo import command
from exchanger.commands.playground import policy_files
from tests.e2e.gateway import READY_S, patient, patient_gateways
service = patch.object(command, "SERVICE_COMMAND", patient(command.SERVICE_COMMAND))
with patient_gateways(), service, patch.object(policy_files, "EFFECT_S", READY_S):
    raise SystemExit(cli.main(["demo", *sys.argv[1:]]))
""",
)
# The name in the service's certificates.
SERVICE_NAME: Final = "exchanger.test"
# Right answers after which a gateway is taken for ready: with several instances, more than would come from one of them by chance.
IN_A_ROW: Final = 20


def patient(service: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command that runs ``service`` with ``PATIENCE``."""
    return ("env", *(f"{name}={value}" for name, value in PATIENCE.items()), *service)


@contextmanager
def patient_gateways() -> Generator[None]:
    """Let ``bootstrap`` give the service more time than a person who looks at the demo would."""
    with (
        patch("exchanger.commands.demo.envoy.CHECK_TIMEOUT", CHECK_TIMEOUT),
        patch("exchanger.commands.demo.envoy.CONNECT_TIMEOUT", CHECK_TIMEOUT),
    ):
        yield


@asynccontextmanager
async def staged(folder: Path, mode: FilterMode = FilterMode.EXT_AUTHZ) -> AsyncGenerator[tuple[RunningDemo, trio.Nursery]]:
    """The demo's stage, ready, in a nursery of its own."""
    progress = Progress(io.StringIO())
    async with trio.open_nursery() as nursery:
        with patient_gateways():
            stage = await start_demo(nursery, DemoOptions(mode=mode), Programs(patient(SERVICE_COMMAND), find_envoy()), folder, progress)
        await wait_ready(stage, progress, READY_S)
        yield stage, nursery
        nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class Instance:
    """One more service for the stage's policy and issuers, on a port of its own, which stays the same when it is started again."""

    stage: RunningDemo
    folder: Path
    name: str
    variables: tuple[tuple[str, str], ...] = ()
    port: int = attrs.field(init=False)
    child: Child = attrs.field(init=False)
    _environment: tuple[tuple[str, str], ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.port = free_port()
        ports, issuers = self.stage.ports, self.stage.ports.policy.parent / "issuers.json"
        environment = service_environment(
            grpc_port=self.port, metrics_port=free_port(), policy=ports.policy, issuers=issuers, grants=ports.grants
        )
        self._environment = (*environment, *PATIENCE.items(), *self.variables)

    async def start(self, nursery: trio.Nursery) -> None:
        self.child = Child(self.name, SERVICE_COMMAND, self._environment, self.folder / f"{self.name}.log")
        await nursery.start(self.child.run)


async def start_gateway(nursery: trio.Nursery, folder: Path, config: dict[str, Any]) -> int:
    """Start an Envoy in ``nursery`` with ``config``; return the port that it listens on."""
    path = folder / "gateway.json"
    path.write_text(json.dumps(config))
    await nursery.start(Child("Envoy", envoy_command(find_envoy(), path), base_environment(), folder / "gateway.log").run)
    port: int = config["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"]
    return port


@asynccontextmanager
async def gateway_before(
    service_port: int, folder: Path, mode: FilterMode, change: Callable[[dict[str, Any]], None] = lambda _config: None
) -> AsyncGenerator[int]:
    """An Envoy before a service and the demo's echo, with its configuration changed; yield its port once it lets a request through."""
    async with trio.open_nursery() as nursery:
        upstream = await nursery.start(serve_http, echo, LOOPBACK, 0)
        with patient_gateways():
            config = bootstrap(listen=free_port(), service=service_port, upstream=upstream, mode=mode)
        change(config)
        envoy_port = await start_gateway(nursery, folder, config)
        with trio.fail_after(READY_S):
            while not await _lets_through(envoy_port):  # noqa: ASYNC110 - nothing tells when it is ready
                await trio.sleep(0.1)
        yield envoy_port
        nursery.cancel_scope.cancel()


async def _lets_through(envoy_port: int) -> bool:
    """Whether it answers a request that no policy is about and no trace shows."""
    headers = (("Host", "open.example.com"), ("traceparent", f"00-{'1' * 32}-{'2' * 16}-00"))
    try:
        return (await fetch(envoy_port, Request("GET", "/", headers), timeout=2)).status == 200
    except NoAnswerError:
        return False


def gateway_config(stage: RunningDemo, mode: FilterMode, *ports: int) -> dict[str, Any]:
    """The demo's configuration for the service's instances on ``ports``, with the health checks of any cluster."""
    with patient_gateways():
        made = bootstrap(listen=free_port(), service=ports[0], upstream=stage.ports.upstream_port, mode=mode)
    config: dict[str, Any] = copy.deepcopy(made)
    cluster = service_cluster(config)
    endpoints = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    for port in ports[1:]:
        endpoints.append(copy.deepcopy(endpoints[0]))
        endpoints[-1]["endpoint"]["address"]["socket_address"]["port_value"] = port
    cluster["common_lb_config"] = {"healthy_panic_threshold": {"value": 0}}
    cluster["health_checks"] = [
        {
            "timeout": CHECK_TIMEOUT,
            "interval": "0.1s",
            "no_traffic_interval": "0.1s",
            "unhealthy_threshold": 1,
            "healthy_threshold": 1,
            "grpc_health_check": {},
        }
    ]
    return config


def service_cluster(config: dict[str, Any]) -> dict[str, Any]:
    """The cluster of the service in a gateway's configuration."""
    cluster: dict[str, Any] = config["static_resources"]["clusters"][0]
    return cluster


async def until_serving(envoy_port: int, stage: RunningDemo) -> None:
    """Wait until the gateway gives right answers only."""
    with trio.fail_after(READY_S):
        good = 0
        while good < IN_A_ROW:
            good = good + 1 if await asked(envoy_port, SCENARIOS[0], stage, timeout=2) == SCENARIOS[0].expected else 0


def with_admin(config: dict[str, Any]) -> int:
    """Let the gateway tell of itself; return the port on which it does."""
    port = free_port()
    config["admin"] = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}
    return port


async def until_healthy(admin: int, port: int) -> None:
    """Wait until the gateway takes the service's instance on ``port`` for healthy, and stays with it over several checks.

    Just after a restart, it may not have noticed yet that the instance was away: it is "healthy" then, and unhealthy a moment later.
    """
    wanted = f"::127.0.0.1:{port}::health_flags::healthy"
    since: int | None = None
    with trio.fail_after(READY_S):
        while since is None or await _good_checks(admin) < since + GOOD_CHECKS:
            told = await fetch(admin, Request("GET", "/clusters", (("Host", "admin"),)), timeout=READY_S)
            if not any(line.endswith(wanted) for line in told.body.decode().splitlines()):
                since = None
            elif since is None:
                since = await _good_checks(admin)
            await trio.sleep(0.05)


async def _good_checks(admin: int) -> int:
    found = await fetch(admin, Request("GET", "/stats?filter=health_check.success", (("Host", "admin"),)), timeout=READY_S)
    return sum(int(line.rpartition(" ")[2]) for line in found.body.decode().splitlines())


def with_access_log(config: dict[str, Any], path: Path, log_format: dict[str, Any], *, least_status: int | None = None) -> None:
    """Let the gateway log requests to ``path``, with ``least_status`` only those with this status or a higher one."""
    file = {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": str(path),
        "log_format": log_format,
    }
    log: dict[str, Any] = {"name": "file", "typed_config": file}
    if least_status is not None:
        log["filter"] = {
            "status_code_filter": {"comparison": {"op": "GE", "value": {"default_value": least_status, "runtime_key": "unset"}}}
        }
    config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["access_log"] = [log]


async def until_listening(port: int) -> None:
    """Wait until connections to ``port`` are accepted."""
    with trio.fail_after(READY_S):
        while True:
            try:
                await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
            except OSError:
                await trio.sleep(0.05)
            else:
                return


async def asked(envoy_port: int, scenario: Scenario, stage: RunningDemo, timeout: float) -> ScenarioAnswer | str:  # noqa: ASYNC109 - fetch's
    """Ask once; return the answer, or in words why there is none."""
    token = stage.ports.subjects.token(scenario.call.subject)
    try:
        return answer_of(await fetch(envoy_port, request_of(scenario.call, token), timeout=timeout), token)
    except NoAnswerError as error:
        return str(error)


def with_tls(config: dict[str, Any], authority: Path, client: Path | None = None, requests_a_connection: int = 25) -> None:
    """Let the gateway speak TLS to the service, whose certificate is of ``authority``; ``client`` has its own chain and key, for mTLS.

    Connections end after some requests, so that new ones, and with them new certificates, are met all the time.
    """
    common: dict[str, Any] = {
        "alpn_protocols": ["h2"],
        "validation_context": {
            "trusted_ca": {"filename": str(authority)},
            "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": SERVICE_NAME}}],
        },
    }
    if client is not None:
        common["tls_certificates"] = [{"certificate_chain": {"filename": str(client)}, "private_key": {"filename": str(client)}}]
    cluster = service_cluster(config)
    cluster["transport_socket"] = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": SERVICE_NAME,
            "common_tls_context": common,
        },
    }
    cluster["typed_extension_protocol_options"][HTTP_OPTIONS]["common_http_protocol_options"] = {
        "max_requests_per_connection": requests_a_connection
    }
