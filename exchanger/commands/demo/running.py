"""Starts everything: servers, service and gateway, in the order in which they need each other, all in the nursery that is passed in."""

import json
from functools import partial
from pathlib import Path
from typing import Final, final

import attrs
import trio

from exchanger.app.otel_environment import read_otel
from exchanger.app.settings import read_settings
from exchanger.commands.demo import DemoError
from exchanger.commands.demo.console import fault_log, make_console
from exchanger.commands.demo.envoy import bootstrap, envoy_command
from exchanger.commands.demo.gateways.kinds import HTTP_GATEWAYS, GatewayPlaces
from exchanger.commands.demo.keycloak.client import KeycloakClient
from exchanger.commands.demo.keycloak.realm import KeycloakAddress, demo_realm
from exchanger.commands.demo.keycloak.tokens import keycloak_setup, open_realm, read_password
from exchanger.commands.demo.options import DemoOptions, ScenarioSet
from exchanger.commands.demo.processes import Child
from exchanger.commands.demo.reference.setup import reference_routes, reference_setup, with_keycloak
from exchanger.commands.demo.server_spans import ServerSpans
from exchanger.commands.demo.servers import echo, serve_http
from exchanger.commands.demo.service import GRANTS_SCHEMA, base_environment, otel_environment, service_environment
from exchanger.commands.demo.setup import DemoPorts, DemoSetup, hold_ports, own_setup, started_on
from exchanger.commands.demo.token_endpoint.chat import ChatTokenEndpoint
from exchanger.commands.demo.token_endpoint.fake import TokenEndpoint
from exchanger.commands.demo.token_endpoint.routed import RoutedTokenEndpoint
from exchanger.commands.offline.rules import PolicyRules
from exchanger.commands.playground.handlers import Playground, PlaygroundSettings
from exchanger.commands.playground.policy_files import PolicyFiles, revision_of
from exchanger.commands.scenarios.answer import answer_of, describe, exchanged_claims
from exchanger.commands.scenarios.client import LOOPBACK, NoAnswerError, fetch
from exchanger.commands.scenarios.runner import is_exchanged
from exchanger.commands.scenarios.target import request_of
from exchanger.commands.scenarios.terminal import Progress
from exchanger.model.secret import Secret
from exchanger.net.http.message import Handler
from exchanger.net.network import SYSTEM
from exchanger.net.tls.client import client_tls_context
from exchanger.operations.console.proxy import ConsoleProxy
from exchanger.operations.telemetry.otlp.settings import Target
from exchanger.policy.grants.schema import grants_schema
from exchanger.util.json_schema import as_text

_READY_POLL: Final = 0.1  # seconds between two attempts; service and gateway take one to three seconds to start
_READY_REQUEST: Final = 2.0  # seconds for one attempt: more than the gateway's 1 s for the service


@final
@attrs.frozen
class Programs:
    """The programs: the service's command line and the gateway's binary."""

    service: tuple[str, ...]
    gateway: str


@attrs.define(eq=False)
class RunningDemo:
    """A running demo: its folder, its two processes, and its setup."""

    ports: DemoPorts
    service: Child
    gateway: Child
    setup: DemoSetup


async def start_demo(nursery: trio.Nursery, options: DemoOptions, programs: Programs, folder: Path, progress: Progress) -> RunningDemo:
    """Start everything in ``nursery`` with its files in ``folder``; return when the processes exist, which is before they are ready.

    Raises:
        DemoError: a port is in use, or a program cannot be started
    """
    traces = _traces(progress)
    setup = await _start_issuers(nursery, options, progress)
    by_http = HTTP_GATEWAYS.get(options.gateway_kind)
    if by_http is not None:
        setup = attrs.evolve(setup, scenarios=tuple(by_http.passed_on(scenario) for scenario in setup.scenarios))
    progress.begin("upstream")
    upstream_port = await _start_server(nursery, "echo", echo, options.upstream_port)
    progress.done(f"{LOOPBACK}:{upstream_port}")

    free: tuple[int, ...] = await nursery.start(hold_ports, 5)
    ports = DemoPorts(
        envoy_port=options.envoy_port or free[0],
        grpc_port=options.grpc_port or free[1],
        metrics_port=options.metrics_port or free[2],
        token_port=setup.token_port,
        upstream_port=upstream_port,
        policy=folder / "policy",
        subjects=setup.subjects(),
        grants=folder / "grants.yaml" if setup.grants else None,
    )
    issuers = _write_files(folder, ports, setup)
    service_console = free[3]
    secret, secret_file = Secret(SYSTEM.entropy(32).hex()), folder / "gateway-secret"
    places = GatewayPlaces(ports.envoy_port, ports.grpc_port if by_http is None else free[4], upstream_port, secret)
    if by_http is not None:
        secret_file.write_text(secret.reveal(), "utf-8")  # in a folder of this user alone
    environment = service_environment(
        grpc_port=ports.grpc_port,
        metrics_port=ports.metrics_port,
        policy=ports.policy,
        issuers=issuers,
        grants=ports.grants,
        console_port=service_console,
        http_authz=None if by_http is None else (places.service, secret_file),
    )
    if not options.check:
        progress.begin("console")
        playground = _playground(ports, environment, setup, ConsoleProxy(service_console), recorded=traces is not None)
        console = make_console(options.console_port, service_console, playground.routes(), fault_log(folder / "console.log"))
        ports = attrs.evolve(ports, console_port=await started_on(nursery, console.run, options.console_port))
        progress.done(ports.console)
    service = Child("service", programs.service, (*environment, *otel_environment()), folder / "service.log")
    gateway, how = _gateway(folder, places, options, programs.gateway, traces)
    for child, port, asks in ((service, ports.grpc_port, ""), (gateway, ports.envoy_port, f", asks by {how}")):
        progress.begin(child.name)
        await nursery.start(child.run)
        progress.done(f"process {child.pid}, {LOOPBACK}:{port}{asks}")
    if by_http is not None and by_http.remark:
        progress.say(by_http.remark)
    return RunningDemo(ports, service, gateway, setup)


async def wait_ready(demo: RunningDemo, progress: Progress, timeout: float) -> dict[str, object]:  # noqa: ASYNC109 - the option is named so
    """Send requests through the gateway until a token is exchanged; return the claims of the token that the upstream saw.

    Args:
        demo: The running demo. A process that ends meanwhile cancels this wait from its own task.
        progress: Moved with each attempt.
        timeout: Seconds.

    Raises:
        DemoError: it was not ready in time; the message has the ends of both logs
    """
    progress.begin("readiness")
    readiness, target = demo.setup.readiness, demo.setup.target(demo.ports)
    last = "nothing was asked"
    started = trio.current_time()
    with trio.move_on_after(timeout):
        while True:
            token = target.token(readiness.call)
            try:
                response = await fetch(demo.ports.envoy_port, request_of(readiness.call, token), timeout=_READY_REQUEST)
            except NoAnswerError as error:
                last = str(error)
            else:
                if is_exchanged(readiness, response, token, target):
                    progress.done(f"a token was exchanged after {trio.current_time() - started:.1f} s")
                    return exchanged_claims(response)
                last = describe(answer_of(response, token, target.recognise))
            progress.tick()
            await trio.sleep(_READY_POLL)
    tails = (f"  {child.name}:\n{child.log_tail()}" for child in (demo.service, demo.gateway))
    raise DemoError("\n".join((f"not ready after {timeout:g} s (last answer: {last})", *tails)))


async def _start_issuers(nursery: trio.Nursery, options: DemoOptions, progress: Progress) -> DemoSetup:
    """Start the token endpoint, or find the Keycloak, or both; return the setup that belongs to them."""
    reference, keycloak = options.scenarios is ScenarioSet.REFERENCE, options.keycloak
    setup: DemoSetup | None = None
    if keycloak is None or reference:
        progress.begin("token endpoint")
        endpoint = RoutedTokenEndpoint(reference_routes()).answer if reference else TokenEndpoint().answer
        port = await _start_server(nursery, "fake-token-endpoint", endpoint, options.token_port)
        progress.done(f"{LOOPBACK}:{port}")
        setup = reference_setup(port) if reference else own_setup(port, await _start_second_issuer(nursery, progress))
    if keycloak is not None:
        progress.begin("Keycloak")
        found = await _with_keycloak(nursery, keycloak, options.keycloak_admin_password_file)
        setup = found if setup is None else with_keycloak(setup, found, demo_realm(), keycloak)
        progress.done(str(keycloak))
    if setup is None:
        raise TypeError("a demo without a Keycloak has a token endpoint")
    return setup


async def _start_second_issuer(nursery: trio.Nursery, progress: Progress) -> int:
    progress.begin("second issuer")
    port = await _start_server(nursery, "fake-second-issuer", ChatTokenEndpoint().answer, 0)
    progress.done(f"{LOOPBACK}:{port}")
    return port


def _traces(progress: Progress) -> Target | None:
    """Return where spans go, and print it; ``None`` without an exporter."""
    reading = read_otel(dict(otel_environment()))
    for variable, text in reading.notes:
        progress.say(f"{variable}: {text}")
    if reading.settings.traces is None:
        return None
    progress.begin("spans")
    progress.done(f"to {reading.settings.traces.target.address}")
    return reading.settings.traces.target


async def _start_server(nursery: trio.Nursery, name: str, handler: Handler, port: int) -> int:
    """Start a server that is called ``name`` in traces; OTEL_SERVICE_NAME is that of the service."""
    spans = ServerSpans.of({key: value for key, value in otel_environment() if key != "OTEL_SERVICE_NAME"}, name)
    await nursery.start(spans.run)
    return await started_on(nursery, partial(serve_http, spans.around(handler), LOOPBACK, port), port)


async def _with_keycloak(nursery: trio.Nursery, address: KeycloakAddress, admin_password_file: Path | None) -> DemoSetup:
    password = None if admin_password_file is None else read_password(admin_password_file)
    client = KeycloakClient(address, demo_realm(), client_tls_context() if address.secured else None)
    return keycloak_setup(await open_realm(nursery, client, password), address)


def _playground(
    ports: DemoPorts, environment: tuple[tuple[str, str], ...], setup: DemoSetup, proxy: ConsoleProxy, *, recorded: bool
) -> Playground:
    """Return the playground, which reads policy with the service's own settings, and asks its console which policy is active."""
    rules = PolicyRules.of(read_settings(dict(environment)), setup.issuer_names)
    files = PolicyFiles(ports.policy, setup.policies)
    keycloak = setup.verify is not None
    target, revision = attrs.evolve(setup.target(ports), recorded=recorded), revision_of(proxy)
    return Playground(PlaygroundSettings(target, setup.scenarios, files, rules, revision, setup.verify, keycloak=keycloak))


def _gateway(folder: Path, places: GatewayPlaces, options: DemoOptions, program: str, traces: Target | None) -> tuple[Child, str]:
    """Write the gateway's configuration; return the gateway, and how it asks, in words."""
    kind, log = options.gateway_kind, folder / f"{options.gateway_kind.value}.log"
    if kind in HTTP_GATEWAYS:
        gateway, own = HTTP_GATEWAYS[kind], folder / "gateway"
        own.mkdir()
        process = gateway.start(program, own, places)
        return Child(gateway.name, process.command, (*base_environment(), *process.variables), log), "HTTP"
    config = folder / "envoy.json"
    written = bootstrap(listen=places.listen, service=places.service, upstream=places.upstream, mode=options.mode, traces=traces)
    config.write_text(json.dumps(written, indent=2), "utf-8")  # in a folder of this user alone: a collector's headers may be in it
    return Child("Envoy", envoy_command(program, config), base_environment(), log), options.mode.value


def _write_files(folder: Path, ports: DemoPorts, setup: DemoSetup) -> Path:
    ports.policy.mkdir()
    for name, text in setup.policies.items():
        (ports.policy / name).write_text(text, "utf-8")
    if ports.grants is not None:
        ports.grants.write_text(setup.grants, "utf-8")
        (folder / GRANTS_SCHEMA).write_text(as_text(grants_schema()), "utf-8")
    issuers = folder / "issuers.json"
    issuers.write_text(json.dumps({"issuers": setup.profiles}, indent=2), "utf-8")
    return issuers
