"""A real Envoy that speaks TLS and mTLS to the service, by either of its filters, while certificates change."""

import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs
import pytest
import trio
import trustme

from exchanger.demo.envoy import Mode
from exchanger.demo.running import RunningDemo
from exchanger.demo.setup import demo_target
from exchanger.scenarios.builtin import SCENARIOS
from exchanger.scenarios.runner import run_scenario
from exchanger.scenarios.scenario import OneRequest
from tests.e2e.gateway import (
    SERVICE_NAME,
    Instance,
    Load,
    gateway_config,
    staged,
    start_gateway,
    until_listening,
    until_serving,
    with_tls,
)
from tests.e2e.service import free_port

pytestmark = pytest.mark.envoy

ROTATIONS: Final = 20
SEEN_S: Final = 30.0
"""Seconds until new connections must see a new certificate, on a loaded machine."""


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


def tls_instance(stage: RunningDemo, folder: Path, mount: Path, *, mutual: bool) -> tuple[Instance, int]:
    """A service with both listeners, and the port of its TLS listener."""
    port = free_port()
    variables = [
        ("GRPC_TLS_PORT", str(port)),
        ("GRPC_TLS_CERT_FILE", str(mount / "tls.crt")),
        ("GRPC_TLS_KEY_FILE", str(mount / "tls.key")),
    ]
    if mutual:
        variables.append(("GRPC_TLS_CLIENT_CA_FILE", str(mount / "ca.crt")))
    return Instance(stage, folder, "secured", tuple(variables)), port


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


@asynccontextmanager
async def secured(folder: Path, mode: Mode, *, mutual: bool, certified: bool = True) -> AsyncGenerator[Secured]:
    """Run both until the block ends. With ``mutual`` the service asks for a certificate, and the gateway has one if it is ``certified``."""
    authorities, mount = Authorities(folder), Mount(folder / "mount")
    mount.write(authorities.files())
    async with staged(folder) as (stage, nursery):
        instance, port = tls_instance(stage, folder, mount.folder, mutual=mutual)
        await instance.start(nursery)
        config = gateway_config(stage, mode, port)
        with_tls(config, authorities.server_authority, authorities.client if mutual and certified else None)
        envoy_port = await start_gateway(nursery, folder, config)
        await until_listening(port)
        await until_listening(envoy_port)
        yield Secured(stage, instance, port, envoy_port, authorities, mount)


@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mtls"])
@pytest.mark.parametrize("mode", list(Mode))
async def test_every_scenario_is_as_expected(mode: Mode, mutual: bool, tmp_path: Path) -> None:
    async with secured(tmp_path, mode, mutual=mutual) as here:
        await until_serving(here.envoy_port, here.stage)
        site = attrs.evolve(here.stage.ports, envoy_port=here.envoy_port)
        findings = [await run_scenario(scenario, demo_target(site)) for scenario in SCENARIOS if isinstance(scenario, OneRequest)]
        assert [finding for finding in findings if not finding.ok] == []


async def test_a_gateway_without_a_certificate_gets_nothing_through(tmp_path: Path) -> None:
    async with secured(tmp_path, Mode.EXT_AUTHZ, mutual=True, certified=False) as here:
        site = attrs.evolve(here.stage.ports, envoy_port=here.envoy_port)
        for scenario in SCENARIOS:
            if isinstance(scenario, OneRequest):
                finding = await run_scenario(scenario, demo_target(site))
                assert not finding.ok
                assert finding.got.startswith("503"), finding


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "mutual"), [(Mode.EXT_AUTHZ, True), (Mode.EXT_PROC, False)], ids=["ext_authz-mtls", "ext_proc-tls"])
async def test_twenty_rotations_under_load_lose_no_request(mode: Mode, mutual: bool, tmp_path: Path) -> None:
    """By turns as Kubernetes does it, and file by file with a moment in between at which certificate and key do not belong together."""
    async with secured(tmp_path, mode, mutual=mutual) as here:
        await until_serving(here.envoy_port, here.stage)
        load = Load(here.stage, here.envoy_port)
        async with trio.open_nursery() as requests:
            requests.start_soon(load.run)
            for number in range(ROTATIONS):
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
    assert load.asked > ROTATIONS * 20
    assert load.wrong == []
