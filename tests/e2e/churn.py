"""Restarts and certificate rotations under load, with no wrong answer allowed: shared by the tests and ``bench/restarts.py``."""

import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import trio
import trustme

from exchanger.commands.demo.envoy import FilterMode
from exchanger.commands.demo.running import RunningDemo
from exchanger.commands.scenarios.answer import ScenarioAnswer
from exchanger.commands.scenarios.builtin import SCENARIOS
from exchanger.commands.scenarios.scenario import OneRequest
from tests.e2e.gateway import (
    SERVICE_NAME,
    Instance,
    asked,
    gateway_config,
    service_cluster,
    staged,
    start_gateway,
    until_healthy,
    until_listening,
    until_serving,
    with_access_log,
    with_admin,
    with_tls,
)
from tests.ports import free_port

LOAD_TASKS: Final = 8
# Seconds between an answer and the next request of a task: some 75 requests a second, which leave the machine to other tests.
PAUSE_S: Final = 0.1
# Seconds for one answer under load, on a machine that stalls.
ANSWER_S: Final = 20.0
# Seconds until new connections must see a new certificate, on a loaded machine.
SEEN_S: Final = 30.0
# Seconds without a request after every other signal to stop. A gateway whose workers do not know yet goes on where it was.
SILENCE_S: Final = 0.5
# Lines of the gateway's log that a failure shows.
SAID: Final = 40
# Requests that must have been sent per restart and per rotation, or there was no load to speak of.
A_RESTART: Final = 50
A_ROTATION: Final = 10

_LOAD: Final = tuple(
    scenario
    for scenario in SCENARIOS
    if isinstance(scenario, OneRequest) and scenario.name in {"yellow-success", "explicit-deny", "missing-bearer", "unmatched"}
)


@attrs.frozen
class Wrong:
    """An answer that was not the expected one, and when it came, in seconds since the load began."""

    after: float
    name: str
    got: ScenarioAnswer | str

    def __str__(self) -> str:
        return f"{self.after:.2f} s: {self.name}: {self.got}"


@attrs.define(eq=False)
class Load:
    """Requests from several tasks, with ``pause`` seconds between those of each, until ``stop``."""

    demo: RunningDemo
    envoy_port: int
    pause: float
    log: Path
    asked: int = 0
    wrong: list[Wrong] = attrs.field(factory=list)
    silent_until: float = 0.0
    _began: float = attrs.field(factory=trio.current_time)
    _stop: trio.Event = attrs.field(factory=trio.Event)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(LOAD_TASKS):
                nursery.start_soon(self._ask, _LOAD[number % len(_LOAD)])

    def stop(self) -> None:
        self._stop.set()

    def summary(self) -> str:
        """The number of wrong answers and the first three, with what the gateway said of them once it has ended; "" if there are none."""
        if not self.wrong:
            return ""
        first = "; ".join(map(str, self.wrong[:3]))
        said = self.log.read_text().splitlines() if self.log.exists() else []
        return "\n".join((f"{len(self.wrong)} of {self.asked} answers are wrong: {first}", *said[-SAID:]))

    async def _ask(self, scenario: OneRequest) -> None:
        while not self._stop.is_set():
            self.asked += 1
            answer = await asked(self.envoy_port, scenario, self.demo, timeout=ANSWER_S)
            if answer != scenario.expected:
                self.wrong.append(Wrong(trio.current_time() - self._began, scenario.name, answer))
            await trio.sleep(max(self.pause, self.silent_until - trio.current_time()))


def with_log(config: dict[str, Any], path: Path) -> Path:
    """Let the gateway log to ``path`` what it did not pass on, and which instances it took out or back."""
    service_cluster(config)["health_checks"][0]["event_log_path"] = str(path)
    line = {"text_format_source": {"inline_string": "%START_TIME% %RESPONSE_CODE_DETAILS% %RESPONSE_FLAGS%\n"}}
    with_access_log(config, path, line, least_status=503)
    return path


async def restarts_under_load(folder: Path, mode: FilterMode, count: int, pause: float = PAUSE_S) -> Load:
    """Restart two instances in turns: one drains while the other takes over, behind a gateway with health checks, as in any cluster."""
    async with staged(folder) as (demo, nursery):
        instances = [Instance(demo, folder, name) for name in ("first", "second")]
        for instance in instances:
            await instance.start(nursery)
        config = gateway_config(demo, mode, *(instance.port for instance in instances))
        admin, log = with_admin(config), with_log(config, folder / "wrong.log")
        envoy_port = await start_gateway(nursery, folder, config)
        await until_listening(admin)
        for instance in instances:
            await until_healthy(admin, instance.port)
        await until_serving(envoy_port, demo)
        load = Load(demo, envoy_port, pause, log)
        async with trio.open_nursery() as requests:
            requests.start_soon(load.run)
            for number in range(count):
                instance = instances[number % 2]
                load.silent_until = trio.current_time() + (SILENCE_S if number // 2 % 2 else 0.0)
                assert await instance.child.stop() == 0, instance.child.log_tail()
                await instance.start(nursery)
                await until_healthy(admin, instance.port)  # before the other one goes
            load.stop()
    assert load.asked > count * A_RESTART, load.asked
    return load


async def rotations_under_load(folder: Path, mode: FilterMode, count: int, pause: float = PAUSE_S, *, mutual: bool) -> Load:
    """Rotate certificates: by turns as Kubernetes does, and file by file, so that for a moment certificate and key do not match."""
    async with secured(folder, mode, mutual=mutual) as here:
        await until_serving(here.envoy_port, here.stage)
        load = Load(here.stage, here.envoy_port, pause, here.log)
        async with trio.open_nursery() as requests:
            requests.start_soon(load.run)
            for number in range(count):
                files = here.authorities.files()
                if number % 2:
                    here.mount.write(files)
                else:
                    for name, data in files.items():
                        (here.mount.folder / "..data" / name).write_bytes(data)
                        await trio.sleep(0.1)
                await until_served(here.port, here.authorities, files["tls.crt"])
            load.stop()
        assert await here.instance.child.stop() == 0
        assert "tls.certificates_rejected" not in here.instance.child.log.read_text()
    assert load.asked > count * A_ROTATION, load.asked
    return load


@attrs.define(eq=False)
class Mount:
    """Files as Kubernetes mounts a Secret: links into ``..data``, itself a link that is exchanged at once."""

    folder: Path
    version: int = 0

    def write(self, files: dict[str, bytes]) -> None:
        self.version += 1
        content = self.folder / f"..{self.version}"
        content.mkdir(parents=True)
        for name, data in files.items():
            (content / name).write_bytes(data)
        fresh = self.folder / "..data_tmp"
        fresh.symlink_to(content.name)
        fresh.rename(self.folder / "..data")
        for name in files:
            link = self.folder / name
            if not link.is_symlink():
                link.symlink_to(Path("..data") / name)


@attrs.define(eq=False)
class Authorities:
    """A CA for the service's certificates and one for the gateway's, with a client certificate of the latter in a file."""

    folder: Path
    servers: trustme.CA = attrs.field(factory=trustme.CA)
    clients: trustme.CA = attrs.field(factory=trustme.CA)

    def __attrs_post_init__(self) -> None:
        self.servers.cert_pem.write_to_path(str(self.server_authority))
        self.clients.issue_cert("gateway.test").private_key_and_cert_chain_pem.write_to_path(str(self.client))

    @property
    def server_authority(self) -> Path:
        return self.folder / "servers.pem"

    @property
    def client(self) -> Path:
        return self.folder / "client.pem"

    def files(self) -> dict[str, bytes]:
        """A new certificate with its key, and the bundle of client authorities, in which a stranger comes and goes with each version."""
        leaf = self.servers.issue_cert(SERVICE_NAME)
        return {
            "tls.crt": b"".join(pem.bytes() for pem in leaf.cert_chain_pems),
            "tls.key": leaf.private_key_pem.bytes(),
            "ca.crt": self.clients.cert_pem.bytes() + trustme.CA().cert_pem.bytes(),
        }


def tls_variables(port: int, files: Path, *, mutual: bool) -> dict[str, str]:
    """A service's variables for a TLS listener, with ``Authorities.files`` in a folder."""
    named = {"GRPC_TLS_CERT_FILE": "tls.crt", "GRPC_TLS_KEY_FILE": "tls.key", **({"GRPC_TLS_CLIENT_CA_FILE": "ca.crt"} if mutual else {})}
    return {"GRPC_TLS_PORT": str(port), **{variable: str(files / name) for variable, name in named.items()}}


def served_certificate(port: int, authorities: Authorities) -> bytes:
    """The certificate that a new connection gets, in DER."""
    context = ssl.create_default_context(cafile=str(authorities.server_authority))
    context.load_cert_chain(authorities.client)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=SERVICE_NAME) as secured,
    ):
        return secured.getpeercert(binary_form=True) or b""


async def until_served(port: int, authorities: Authorities, certificate: bytes) -> None:
    wanted = ssl.PEM_cert_to_DER_cert(certificate.decode().partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n")
    with trio.fail_after(SEEN_S):
        while True:
            if await trio.to_thread.run_sync(served_certificate, port, authorities) == wanted:
                return
            await trio.sleep(0.05)


@attrs.frozen
class Secured:
    """A gateway that asks a service by TLS, and what belongs to them."""

    stage: RunningDemo
    instance: Instance
    port: int
    envoy_port: int
    authorities: Authorities
    mount: Mount
    log: Path


@asynccontextmanager
async def secured(folder: Path, mode: FilterMode, *, mutual: bool, certified: bool = True) -> AsyncGenerator[Secured]:
    """Run both until the block ends. With ``mutual`` the service asks for a certificate, and the gateway has one if it is ``certified``."""
    authorities, mount = Authorities(folder), Mount(folder / "mount")
    mount.write(authorities.files())
    async with staged(folder) as (stage, nursery):
        port = free_port()
        instance = Instance(stage, folder, "secured", tuple(tls_variables(port, mount.folder, mutual=mutual).items()))
        await instance.start(nursery)
        config = gateway_config(stage, mode, port)
        with_tls(config, authorities.server_authority, authorities.client if mutual and certified else None)
        log = with_log(config, folder / "wrong.log")
        envoy_port = await start_gateway(nursery, folder, config)
        await until_listening(port)
        await until_listening(envoy_port)
        yield Secured(stage, instance, port, envoy_port, authorities, mount, log)
