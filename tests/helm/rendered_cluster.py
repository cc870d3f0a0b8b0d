"""Both charts in a cluster without nodes, and what they would run there as processes of this machine, behind a real Envoy."""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import trio
import yaml

from exchanger.commands.demo.envoy import FilterMode, bootstrap
from exchanger.commands.demo.processes import Child
from exchanger.commands.demo.setup import DemoPorts
from exchanger.commands.scenarios.client import LOOPBACK
from exchanger.commands.scenarios.tokens import make_subjects
from tests.e2e.gateway import patient_gateways, start_gateway, until_listening
from tests.helm.chart import CHART, ROOT, Manifest
from tests.helm.cluster import Cluster
from tests.helm.rendered_kubelet import Kubelet
from tests.ports import free_port
from tests.sources.kube.control_plane import ControlPlane

DEMO_CHART: Final = ROOT / "helm" / "exchanger-demo"
DEMO: Final = "exchanger-demo"
SERVICE: Final = "exchanger"
# Seconds until all pods are up; an idle machine takes three.
READY_S: Final = 60.0
POLL_S: Final = 0.05
CHUNK: Final = 65_536


@attrs.frozen
class Released:
    """The two releases, and the values of the one that is tested."""

    cluster: Cluster
    values: dict[str, Any]

    @property
    def plane(self) -> ControlPlane:
        return self.cluster.plane

    def upgrade(self, **changed: Any) -> None:
        """Upgrade the service's release with changed values."""
        self.cluster.helm("upgrade", SERVICE, CHART, "--namespace", SERVICE, values={**self.values, **changed})


def install(cluster: Cluster) -> Released:
    """Install both charts as values-demo.yaml says, each in a namespace that takes restricted pods only."""
    grpc, metrics = (free_port() for _ in range(2))
    values = yaml.safe_load((DEMO_CHART / "values-demo.yaml").read_text())
    # All that differs from what users install: ports that nobody on this machine has, since all pods share them.
    values["ports"] = {"grpc-authz": {"containerPort": grpc}, "http-metrics": {"containerPort": metrics}}
    values["service"] = {"ports": {"grpc-api": {"port": grpc}}}
    for name in (DEMO, SERVICE):
        cluster.plane.admin.put_namespace(name, {"pod-security.kubernetes.io/enforce": "restricted"})
    cluster.helm("install", "demo", DEMO_CHART, "--namespace", DEMO)
    cluster.install(SERVICE, SERVICE, values)
    return Released(cluster, values)


@attrs.define(eq=False)
class Running:
    """The pods of both releases, behind a gateway; ``site`` is what the demo's scenarios are run against."""

    released: Released
    kubelet: Kubelet
    service: Child
    site: DemoPorts
    _hooks: int = attrs.field(default=0, init=False)

    @property
    def log(self) -> str:
        return self.service.log.read_text("utf-8")

    async def until_ready(self) -> None:
        """Wait until ``helm test`` would pass."""
        while True:
            if await self.run_hook() == 0:
                return
            await trio.sleep(POLL_S)

    async def run_hook(self) -> int | None:
        """Run the pod of ``helm test`` and return its status."""
        hooks = await trio.to_thread.run_sync(self.released.cluster.helm, "get", "hooks", SERVICE, "--namespace", SERVICE)
        (pod,) = [found for found in yaml.safe_load_all(hooks) if found]
        self._hooks += 1
        child = await trio.to_thread.run_sync(self.kubelet.child, f"hook-{self._hooks}", pod)
        with trio.fail_after(READY_S):
            done = await trio.run_process(child.command, env=dict(child.environment), capture_stdout=True, check=False)
        return done.returncode


@asynccontextmanager
async def running(
    released: Released, folder: Path, mode: FilterMode = FilterMode.EXT_AUTHZ, *, ready: bool = True
) -> AsyncGenerator[Running]:
    """Run the pods of both releases until the block ends, which begins when ``helm test`` would pass, unless not ``ready``."""
    find = released.plane.admin.request
    services = [
        found
        for namespace in (DEMO, SERVICE)
        for found in (await trio.to_thread.run_sync(find, "GET", f"/api/v1/namespaces/{namespace}/services"))["items"]
    ]
    # Each Service has an address of its own, of the loopback network's sixteen million.
    addresses = {host_of(found): f"127.{random.randint(16, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}" for found in services}
    kubelet = Kubelet(released.plane, folder, addresses)
    token_address = f"{addresses[f'fake-token-endpoint.{DEMO}.svc.cluster.local']}:8080"
    token_port, upstream_port, gateway_port = (free_port() for _ in range(3))

    def child(namespace: str, name: str, address: str = "") -> Child:
        deployment = find("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
        pod = create_pod(released.plane, deployment)
        return kubelet.child(name, pod, listen={":8080": address})

    try:
        async with trio.open_nursery() as nursery:
            token_endpoint = await trio.to_thread.run_sync(child, DEMO, "fake-token-endpoint", token_address)
            echo = await trio.to_thread.run_sync(child, DEMO, "echo", f"{LOOPBACK}:{upstream_port}")
            service = await trio.to_thread.run_sync(child, SERVICE, SERVICE)
            for process in (token_endpoint, echo, service):
                await nursery.start(process.run)
            ports = released.values["ports"]
            grpc, metrics = (ports[name]["containerPort"] for name in ("grpc-authz", "http-metrics"))
            await nursery.start(forward, token_port, token_address)
            with patient_gateways():
                gateway = bootstrap(listen=gateway_port, service=grpc, upstream=upstream_port, mode=mode)
            await start_gateway(nursery, folder, gateway)
            for port in (upstream_port, grpc, gateway_port):
                await until_listening(port)
            site = DemoPorts(gateway_port, grpc, metrics, token_port, upstream_port, folder, make_subjects())
            found = Running(released, kubelet, service, site)
            if ready:
                with trio.fail_after(READY_S):
                    await found.until_ready()
            yield found
            assert await service.stop() == 0, found.log
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(delete_pods, released.plane)


def host_of(service: Manifest) -> str:
    """Return a Service's name in DNS."""
    return f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.cluster.local"


def create_pod(plane: ControlPlane, deployment: Manifest) -> Manifest:
    """Create a Deployment's pod, as its controller would: the API server fills it in, and admits it or not."""
    template, metadata = deployment["spec"]["template"], deployment["metadata"]
    pod = {**template, "metadata": {**template["metadata"], "name": metadata["name"]}}
    created: Manifest = plane.admin.request("POST", f"/api/v1/namespaces/{metadata['namespace']}/pods", pod)
    return created


def delete_pods(plane: ControlPlane) -> None:
    """Take away all pods of both releases, as a kubelet does when they have ended."""
    for namespace in (DEMO, SERVICE):
        plane.admin.delete(f"/api/v1/namespaces/{namespace}/pods?gracePeriodSeconds=0")


async def forward(port: int, address: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Lead ``port`` of the loopback address to ``address``: where the demo's scenarios ask the token endpoint for its counts."""
    host, _, number = address.partition(":")

    async def copy(source: trio.SocketStream, target: trio.SocketStream) -> None:
        while data := await source.receive_some(CHUNK):
            await target.send_all(data)
        await target.send_eof()

    async def connection(near: trio.SocketStream) -> None:
        async with near, await trio.open_tcp_stream(host, int(number)) as far, trio.open_nursery() as nursery:
            nursery.start_soon(copy, near, far)
            nursery.start_soon(copy, far, near)

    await trio.serve_tcp(connection, port, host=LOOPBACK, task_status=_Ready(task_status))


@attrs.frozen
class _Ready:
    """Tells that something has started, and not what."""

    status: trio.TaskStatus[None]

    def started(self, value: object = None) -> None:
        self.status.started()
