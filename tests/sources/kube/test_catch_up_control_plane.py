"""A denial that moves to another Namespace, with a real API server whose watch of ConfigMaps is late: it is never open."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import attrs
import pytest
import trio

from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.kube.api.client import connect
from exchanger.sources.kube.api.resource import PolicyListWatches
from exchanger.sources.kube.settings import KubernetesSettings
from tests.sources.kube.admin import Admin
from tests.sources.kube.asking import BY_CONFIG_MAP, BY_NAMESPACE, do
from tests.sources.kube.cluster import Record, deny
from tests.sources.kube.control_plane import ADMIN_TOKEN, ControlPlane
from tests.sources.kube.kubeconfig import origin_of
from tests.sources.kube.late_watch import late_watch

pytestmark = [pytest.mark.full, pytest.mark.kubernetes]

# Seconds by which the watch is late, and seconds more after which everything has arrived on a busy machine.
LATE_S: Final = 3.0
SETTLED_S: Final = 30.0


@attrs.define(eq=False)
class Watched(Record):
    """Counts the versions in which nothing denied a path."""

    path: str = "/moving"
    opened: int = 0
    _is_watching: bool = False

    def watch(self) -> None:
        assert self.denies(self.path)
        self._is_watching = True

    def publish(self, snapshot: PolicySnapshot, /) -> None:
        super().publish(snapshot)
        self.opened += self._is_watching and self.passes(self.path)


@asynccontextmanager
async def followed_late(control_plane: ControlPlane, seconds: float) -> AsyncGenerator[Watched]:
    """Follow the cluster through a proxy from its first version on."""
    record, settings = Watched(), KubernetesSettings(BY_NAMESPACE, BY_CONFIG_MAP)
    async with late_watch(control_plane, seconds) as proxy:
        kubeconfig = control_plane.kubeconfig("late", token=ADMIN_TOKEN, port=proxy.port)
        async with connect(origin_of(kubeconfig)) as connection, trio.open_nursery() as nursery:
            await nursery.start(record.source(settings, PolicyListWatches(connection)).run)
            yield record
            nursery.cancel_scope.cancel()


def unlabel(admin: Admin) -> None:
    admin.put_namespace("old", {})


def delete(admin: Admin) -> None:
    admin.delete_namespace("old")


@pytest.mark.parametrize("leave", [unlabel, delete])
async def test_a_denial_that_moves_behind_a_late_watch_is_never_open(control_plane: ControlPlane, leave: Callable[[Admin], None]) -> None:
    admin = control_plane.admin
    admin.put_namespace("old")
    admin.put_namespace("new")
    admin.put_config_map("old", "p", deny("/moving"))
    async with followed_late(control_plane, LATE_S) as record:
        record.watch()
        await do(lambda: admin.put_config_map("new", "p", deny("/moving")))
        await do(lambda: leave(admin))
        await record.until(lambda: {one.source.namespace for one in record.snapshots[-1].documents()} == {"new"}, LATE_S + SETTLED_S)
        await record.until(lambda: record.snapshots[-1].settled is None, LATE_S + SETTLED_S)
        assert record.opened == 0
    admin.delete_namespace("new")
