"""The source against a real API server: each kind of change takes effect, and many at once do."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import pytest
import trio

from exchanger.kube.api.client import connect
from exchanger.kube.api.resource import PolicyListWatches
from exchanger.kube.settings import KubernetesSettings
from exchanger.kube.source import GATHER_S
from tests.kube.asking import BY_CONFIG_MAP, BY_NAMESPACE, do, origin
from tests.kube.cluster import Record, deny
from tests.kube.control_plane import ADMIN_TOKEN, ControlPlane

pytestmark = pytest.mark.kubernetes

MANY: Final = 200
# Seconds after the last of many changes in which all of them must be in force; it takes some hundredths on an idle machine.
IN_FORCE_S: Final = 30.0


def settings(*namespaces: str) -> KubernetesSettings:
    return KubernetesSettings(BY_NAMESPACE, BY_CONFIG_MAP, namespaces)


@asynccontextmanager
async def followed(control_plane: ControlPlane, *namespaces: str) -> AsyncGenerator[Record]:
    """Follow the cluster from its first version on."""
    record = Record()
    async with connect(origin(control_plane, ADMIN_TOKEN)) as connection:
        source = record.source(settings(*namespaces), PolicyListWatches(connection))
        async with trio.open_nursery() as nursery:
            await nursery.start(source.run)
            yield record
            nursery.cancel_scope.cancel()


async def test_each_kind_of_change_takes_effect(control_plane: ControlPlane) -> None:
    admin = control_plane.admin
    admin.put_namespace("one")
    admin.put_config_map("one", "first", deny("/first"))
    async with followed(control_plane) as record:
        assert record.denies("/first")
        await do(lambda: admin.put_config_map("one", "second", deny("/second")))
        await record.until(lambda: record.denies("/second"))
        await do(lambda: admin.put_config_map("one", "second", "version: v2"))
        await record.until(record.unhealthy)
        await do(lambda: admin.put_config_map("one", "second", deny("/second"), {}))
        await record.until(lambda: record.denies("/first") and record.passes("/second"))
        await do(lambda: admin.put_namespace("two", {}))
        await do(lambda: admin.put_config_map("two", "p", deny("/two")))
        await do(lambda: admin.put_namespace("two"))
        await record.until(lambda: record.denies("/two"))
        await do(lambda: admin.put_namespace("one", {}))
        await record.until(lambda: record.passes("/first"))
        assert record.denies("/two")
        await do(lambda: admin.delete_config_map("two", "p"))
        await record.until(lambda: record.passes("/two"))
        await do(lambda: admin.put_config_map("two", "q", deny("/two")))
        await record.until(lambda: record.denies("/two"))
        await do(lambda: admin.delete_namespace("two"))
        await record.until(lambda: record.passes("/two"))


async def test_many_at_once(control_plane: ControlPlane) -> None:
    admin = control_plane.admin
    admin.put_namespace("many")
    async with followed(control_plane) as record:
        began = trio.current_time()
        await do(lambda: [admin.put_config_map("many", f"p{number}", deny(f"/many/{number}/")) for number in range(MANY)])
        await record.until(lambda: all(record.denies(f"/many/{number}/") for number in reversed(range(MANY))), IN_FORCE_S)
        assert len(record.snapshots) <= 2 + (trio.current_time() - began) / GATHER_S
