"""Starts everything: servers, service and gateway, in the order in which they need each other, all in the nursery that is passed in."""

import json
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, final

import attrs
import trio

from exchanger.app.settings import read_settings
from exchanger.console.proxy import LoopbackProxy
from exchanger.demo import DemoError
from exchanger.demo.console import fault_log, make_console
from exchanger.demo.envoy import Mode, bootstrap, envoy_command
from exchanger.demo.keycloak.realm import KeycloakAddress, demo_realm
from exchanger.demo.options import DemoOptions
from exchanger.demo.processes import Child
from exchanger.demo.servers import run_echo
from exchanger.demo.service import base_environment, service_environment
from exchanger.demo.setup import DemoPorts, DemoSetup, free_ports, own_setup
from exchanger.demo.token_endpoint import run_fake_token_endpoint
from exchanger.directory.source import DirectorySettings
from exchanger.playground.handlers import Playground, PlaygroundSettings
from exchanger.playground.lint import LintRules
from exchanger.playground.policy_files import PolicyFiles, revision_of
from exchanger.scenarios.answer import answer_of, describe, exchanged_claims
from exchanger.scenarios.client import LOOPBACK, NoAnswerError, fetch
from exchanger.scenarios.target import request_of
from exchanger.scenarios.terminal import Progress

_READY_POLL: Final = 0.1  # seconds between two looks; service and gateway take one to three seconds to start
_READY_REQUEST: Final = 2.0  # seconds for one look: beyond the gateway's 1 s for the service


@final
@attrs.frozen
class Programs:
    """The programs: the service's command line and the gateway's binary."""

    service: tuple[str, ...]
    envoy: str


@attrs.define(eq=False)
class RunningDemo:
    """A demo that was started: where it is, its two processes, and its setup."""

    ports: DemoPorts
    service: Child
    gateway: Child
    setup: DemoSetup


async def start_demo(nursery: trio.Nursery, options: DemoOptions, programs: Programs, folder: Path, progress: Progress) -> RunningDemo:
    """Start everything in ``nursery`` with its files in ``folder``; return when the processes exist, which is before they are ready.

    Raises:
        DemoError: a port is taken, or a program cannot be started.
    """
    if options.keycloak is None:
        progress.begin("token endpoint")
        setup = own_setup(await _start_server(nursery, run_fake_token_endpoint, options.token_port))
        progress.done(f"{LOOPBACK}:{setup.token_port}")
    else:
        progress.begin("Keycloak")
        setup = await _with_keycloak(nursery, options.keycloak, options.keycloak_admin_password_file)
        progress.done(str(options.keycloak))
    progress.begin("upstream")
    upstream_port = await _start_server(nursery, run_echo, options.upstream_port)
    progress.done(f"{LOOPBACK}:{upstream_port}")

    free = free_ports(4)
    ports = DemoPorts(
        envoy_port=options.envoy_port or free[0],
        grpc_port=options.grpc_port or free[1],
        metrics_port=options.metrics_port or free[2],
        token_port=setup.token_port,
        upstream_port=upstream_port,
        policy=folder / "policy",
        subjects=setup.subjects(),
    )
    issuers, config = _write_files(folder, ports, options.mode, setup)
    service_console = free[3]
    environment = service_environment(
        grpc_port=ports.grpc_port, metrics_port=ports.metrics_port, policy=ports.policy, issuers=issuers, console_port=service_console
    )
    if not options.check:
        progress.begin("console")
        playground = _playground(ports, environment, setup, LoopbackProxy(service_console))
        console = make_console(options.console_port, service_console, playground.routes(), fault_log(folder / "console.log"))
        ports = attrs.evolve(ports, console_port=await _started(nursery, console.run, options.console_port))
        progress.done(ports.console)
    service = Child("service", programs.service, environment, folder / "service.log")
    gateway = Child("Envoy", envoy_command(programs.envoy, config), base_environment(), folder / "envoy.log")
    for child, port, how in ((service, ports.grpc_port, ""), (gateway, ports.envoy_port, f", asks by {options.mode.value}")):
        progress.begin(child.name)
        await nursery.start(child.run)
        progress.done(f"process {child.pid}, {LOOPBACK}:{port}{how}")
    return RunningDemo(ports, service, gateway, setup)


async def wait_ready(demo: RunningDemo, progress: Progress, timeout: float) -> dict[str, object]:  # noqa: ASYNC109 - the option is named so
    """Ask through the gateway until a token is exchanged; return the claims of the token that the upstream saw.

    Args:
        demo: what was started. A process that ends meanwhile cancels this wait from its own task.
        progress: moved with each look.
        timeout: seconds.

    Raises:
        DemoError: it did not come up in time; the message has the ends of both logs.
    """
    progress.begin("readiness")
    readiness, target = demo.setup.readiness, demo.setup.target(demo.ports)
    last = "nothing was asked"
    started = trio.current_time()
    with trio.move_on_after(timeout):
        while True:
            token = target.subjects(readiness.call.subject)
            try:
                response = await fetch(demo.ports.envoy_port, request_of(readiness.call, token), timeout=_READY_REQUEST)
            except NoAnswerError as error:
                last = str(error)
            else:
                answer = answer_of(response, token, target.recognise)
                if answer == readiness.expected:
                    progress.done(f"a token was exchanged after {trio.current_time() - started:.1f} s")
                    return exchanged_claims(response)
                last = describe(answer)
            progress.tick()
            await trio.sleep(_READY_POLL)
    tails = (f"  {child.name}:\n{child.log_tail()}" for child in (demo.service, demo.gateway))
    raise DemoError("\n".join((f"not ready after {timeout:g} s (last answer: {last})", *tails)))


async def _start_server(nursery: trio.Nursery, server: Callable[..., Awaitable[object]], port: int) -> int:
    return await _started(nursery, partial(server, LOOPBACK, port), port)


async def _started(nursery: trio.Nursery, server: Callable[..., Awaitable[object]], port: int) -> int:
    try:
        started: int = await nursery.start(server)
    except OSError as error:
        raise DemoError(f"port {port} on {LOOPBACK} cannot be used: {error.strerror}") from error
    return started


async def _with_keycloak(nursery: trio.Nursery, address: KeycloakAddress, admin_password_file: Path | None) -> DemoSetup:
    try:  # the image of the demo has no JOSE library, which nothing else needs
        from exchanger.demo.keycloak.client import KeycloakClient
        from exchanger.demo.keycloak.tokens import keycloak_setup, open_realm, read_password
    except ModuleNotFoundError as error:
        raise DemoError(f"--keycloak needs {error.name}: install it with  pip install 'exchanger[demo]'") from None
    password = None if admin_password_file is None else read_password(admin_password_file)
    client = KeycloakClient(address, demo_realm(), ssl.create_default_context() if address.secured else None)
    return keycloak_setup(await open_realm(nursery, client, password), address)


def _playground(ports: DemoPorts, environment: tuple[tuple[str, str], ...], setup: DemoSetup, proxy: LoopbackProxy) -> Playground:
    """Return the playground, which reads policy with the service's own settings, and asks its console what is in force."""
    settings = read_settings(dict(environment))
    if not isinstance(settings.policy, DirectorySettings):
        raise TypeError("the demo's policy is a folder")
    policy, reach = settings.policy, settings.unreadable_reach
    rules = LintRules(policy.namespace_selector, policy.configmap_selector, setup.issuer_names, reach)
    files = PolicyFiles(ports.policy, setup.policies)
    keycloak = setup.verify is not None
    target, revision = setup.target(ports), revision_of(proxy)
    return Playground(PlaygroundSettings(target, setup.scenarios, files, rules, revision, setup.verify, keycloak=keycloak))


def _write_files(folder: Path, ports: DemoPorts, mode: Mode, setup: DemoSetup) -> tuple[Path, Path]:
    ports.policy.mkdir()
    for name, text in setup.policies.items():
        (ports.policy / name).write_text(text, "utf-8")
    issuers = folder / "issuers.json"
    issuers.write_text(json.dumps({"issuers": setup.profiles}, indent=2), "utf-8")
    config = folder / "envoy.json"
    gateway = bootstrap(listen=ports.envoy_port, service=ports.grpc_port, upstream=ports.upstream_port, mode=mode)
    config.write_text(json.dumps(gateway, indent=2), "utf-8")
    return issuers, config
