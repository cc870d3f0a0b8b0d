"""Puts everything on stage: servers, service and gateway, in the order in which each needs the other, all in the nursery that is handed in.

Must not know: signals, scenarios other than the one that tells readiness, or what is shown.
"""

import json
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import final

import attrs
import trio

from exchanger.app.settings import read_settings
from exchanger.console.proxy import LoopbackProxy
from exchanger.demo.answer import answer_of, describe, exchanged_claims
from exchanger.demo.client import fetch
from exchanger.demo.display import Progress
from exchanger.demo.echo import run_echo
from exchanger.demo.envoy import LOOPBACK, Mode, bootstrap, envoy_command
from exchanger.demo.faults import DemoError, NoAnswerError
from exchanger.demo.front import fault_log, make_front
from exchanger.demo.keycloak.client import KeycloakClient
from exchanger.demo.keycloak.programme import keycloak_programme, read_password
from exchanger.demo.keycloak.realm import KeycloakAddress, demo_realm
from exchanger.demo.keycloak.tokens import open_realm
from exchanger.demo.lab import Lab, LabSettings
from exchanger.demo.lab_effect import revision_of
from exchanger.demo.lab_lint import LintRules
from exchanger.demo.lab_policy import PolicyFiles
from exchanger.demo.options import DemoOptions
from exchanger.demo.processes import Child, ChildStatistics
from exchanger.demo.programme import Programme, own_programme
from exchanger.demo.service import base_environment, service_environment
from exchanger.demo.site import Site, free_ports, request_of
from exchanger.demo.token_endpoint import run_fake_token_endpoint
from exchanger.directory.source import DirectorySettings

READY_POLL = 0.1  # seconds between two looks; service and gateway take one to three seconds to start
READY_REQUEST = 2.0  # seconds for one look: beyond the gateway's 1 s for the service


@final
@attrs.frozen
class Programs:
    """What is run: the service's command line and the gateway's binary."""

    service: tuple[str, ...]
    envoy: str


@final
@attrs.frozen
class StageStatistics:
    """What became of the two processes."""

    service: ChildStatistics
    gateway: ChildStatistics


@attrs.define(eq=False)
class Stage:
    """A demo that is set up: where it is, its two processes, and what is played."""

    site: Site
    service: Child
    gateway: Child
    programme: Programme

    def statistics(self) -> StageStatistics:
        """Return what became of the two processes."""
        return StageStatistics(self.service.statistics(), self.gateway.statistics())


async def set_up(nursery: trio.Nursery, options: DemoOptions, programs: Programs, folder: Path, progress: Progress) -> Stage:
    """Start everything in ``nursery`` with its files in ``folder``; return when the processes exist, which is before they are ready.

    Raises:
        DemoError: a port is taken, or a program cannot be started.
    """
    if options.keycloak is None:
        progress.begin("token endpoint")
        programme = own_programme(await _start_server(nursery, run_fake_token_endpoint, options.token_port))
        progress.done(f"{LOOPBACK}:{programme.token_port}")
    else:
        progress.begin("Keycloak")
        programme = await _with_keycloak(nursery, options.keycloak, options.keycloak_admin_password_file)
        progress.done(str(options.keycloak))
    progress.begin("upstream")
    upstream_port = await _start_server(nursery, run_echo, options.upstream_port)
    progress.done(f"{LOOPBACK}:{upstream_port}")

    free = free_ports(4)
    site = Site(
        envoy_port=options.envoy_port or free[0],
        grpc_port=options.grpc_port or free[1],
        metrics_port=options.metrics_port or free[2],
        token_port=programme.token_port,
        upstream_port=upstream_port,
        policy=folder / "policy",
        subjects=programme.subjects(),
    )
    issuers, config = _write_files(folder, site, options.mode, programme)
    service_console = free[3]
    environment = service_environment(
        grpc_port=site.grpc_port, metrics_port=site.metrics_port, policy=site.policy, issuers=issuers, console_port=service_console
    )
    if not options.check:
        progress.begin("console")
        lab = _lab(site, environment, programme, LoopbackProxy(service_console))
        front = make_front(options.console_port, service_console, lab.routes(), fault_log(folder / "console.log"))
        site = attrs.evolve(site, console_port=await _started(nursery, front.run, options.console_port))
        progress.done(site.console)
    service = Child("service", programs.service, environment, folder / "service.log")
    gateway = Child("Envoy", envoy_command(programs.envoy, config), base_environment(), folder / "envoy.log")
    for child, port, how in ((service, site.grpc_port, ""), (gateway, site.envoy_port, f", asks by {options.mode.value}")):
        progress.begin(child.name)
        await nursery.start(child.run)
        progress.done(f"process {child.statistics().pid}, {LOOPBACK}:{port}{how}")
    return Stage(site, service, gateway, programme)


async def wait_ready(stage: Stage, progress: Progress, timeout: float) -> dict[str, object]:  # noqa: ASYNC109 - the option is named so
    """Ask through the gateway until a token is exchanged; return the claims of the token that the upstream saw.

    Args:
        stage: what was set up. A process that ends meanwhile cancels this wait from its own task.
        progress: moved with each look.
        timeout: seconds.

    Raises:
        DemoError: it did not come up in time; the message has the ends of both logs.
    """
    progress.begin("readiness")
    readiness, ground = stage.programme.readiness, stage.programme.ground(stage.site)
    last = "nothing was asked"
    started = trio.current_time()
    with trio.move_on_after(timeout):
        while True:
            token = ground.subjects(readiness.call.subject)
            try:
                response = await fetch(stage.site.envoy_port, request_of(readiness.call, token), timeout=READY_REQUEST)
            except NoAnswerError as error:
                last = str(error)
            else:
                answer = answer_of(response, token, ground.recognise)
                if answer == readiness.expected:
                    progress.done(f"a token was exchanged after {trio.current_time() - started:.1f} s")
                    return exchanged_claims(response)
                last = describe(answer)
            progress.tick()
            await trio.sleep(READY_POLL)
    tails = (f"  {child.name}:\n{child.log_tail()}" for child in (stage.service, stage.gateway))
    raise DemoError("\n".join((f"not ready after {timeout:g} s (last answer: {last})", *tails)))


async def _start_server(nursery: trio.Nursery, server: Callable[..., Awaitable[object]], port: int) -> int:
    return await _started(nursery, partial(server, LOOPBACK, port), port)


async def _started(nursery: trio.Nursery, server: Callable[..., Awaitable[object]], port: int) -> int:
    try:
        started: int = await nursery.start(server)
    except OSError as error:
        raise DemoError(f"port {port} on {LOOPBACK} cannot be used: {error.strerror}") from error
    return started


async def _with_keycloak(nursery: trio.Nursery, address: KeycloakAddress, admin_password_file: Path | None) -> Programme:
    password = None if admin_password_file is None else read_password(admin_password_file)
    client = KeycloakClient(address, demo_realm(), ssl.create_default_context() if address.secured else None)
    return keycloak_programme(await open_realm(nursery, client, password), address)


def _lab(site: Site, environment: tuple[tuple[str, str], ...], programme: Programme, console: LoopbackProxy) -> Lab:
    """Return the lab, which reads policy by the settings that the service is started with, and asks its console what is in force."""
    settings = read_settings(dict(environment))
    if not isinstance(settings.policy, DirectorySettings):
        raise TypeError("the demo's policy is a folder")
    rules = LintRules(settings.policy.namespace_selector, settings.policy.configmap_selector, programme.issuer_names)
    files = PolicyFiles(site.policy, programme.policies)
    keycloak = programme.verify is not None
    ground, revision = programme.ground(site), revision_of(console)
    return Lab(LabSettings(ground, programme.scenarios, files, rules, revision, programme.verify, keycloak=keycloak))


def _write_files(folder: Path, site: Site, mode: Mode, programme: Programme) -> tuple[Path, Path]:
    site.policy.mkdir()
    for name, text in programme.policies.items():
        (site.policy / name).write_text(text, "utf-8")
    issuers = folder / "issuers.json"
    issuers.write_text(json.dumps({"issuers": programme.profiles}, indent=2), "utf-8")
    config = folder / "envoy.json"
    gateway = bootstrap(listen=site.envoy_port, service=site.grpc_port, upstream=site.upstream_port, mode=mode)
    config.write_text(json.dumps(gateway, indent=2), "utf-8")
    return issuers, config
