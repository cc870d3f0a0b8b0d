"""The source against a real API server: each kind of change takes effect, many at once do, and what has room again is fetched."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import pytest
import trio

from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.limits import NamespaceLimits
from exchanger.sources.kube.api.client import connect
from exchanger.sources.kube.api.connection import ApiConnection
from exchanger.sources.kube.api.resource import PolicyListWatches
from exchanger.sources.kube.list_watch import Page
from exchanger.sources.kube.settings import KubernetesSettings
from exchanger.sources.kube.source import GATHER_S
from tests.sources.kube.asking import BY_CONFIG_MAP, BY_NAMESPACE, ENABLED, do, origin
from tests.sources.kube.cluster import Record, deny
from tests.sources.kube.control_plane import ADMIN_TOKEN, ControlPlane

pytestmark = pytest.mark.kubernetes

MANY: Final = 200
# Seconds after the last of many changes in which all of them must be active; it takes some hundredths on an idle machine.
ACTIVE_S: Final = 30.0


def settings(*namespaces: str) -> KubernetesSettings:
    return KubernetesSettings(BY_NAMESPACE, BY_CONFIG_MAP, namespaces)


@asynccontextmanager
async def followed(control_plane: ControlPlane, grants: Grants = NO_GRANTS) -> AsyncGenerator[Record]:
    """Follow the cluster from its first version on."""
    record = Record()
    async with connect(origin(control_plane, ADMIN_TOKEN)) as connection:
        source = record.source(settings(), PolicyListWatches(connection), grants=grants)
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
        await record.until(lambda: all(record.denies(f"/many/{number}/") for number in reversed(range(MANY))), ACTIVE_S)
        assert len(record.snapshots) <= 2 + (trio.current_time() - began) / GATHER_S


async def test_a_config_map_that_has_room_again_is_fetched(control_plane: ControlPlane) -> None:
    admin = control_plane.admin
    admin.put_namespace("full")
    for name in ("first", "second"):
        admin.put_config_map("full", name, deny(f"/{name}"))
    async with followed(control_plane, Grants(limited=False, limits=NamespaceLimits(documents=1))) as record:
        assert not record.denies("/second")
        await do(lambda: admin.delete_config_map("full", "first"))
        await record.until(lambda: record.denies("/second"), ACTIVE_S)  # with a list, it would take a minute


async def test_the_server_lists_names_and_versions_alone_and_one_config_map(
    control_plane: ControlPlane, connection: ApiConnection, team: str
) -> None:
    for name in ("one", "two"):
        control_plane.admin.put_config_map(team, name, deny())
    list_watches = PolicyListWatches(connection)
    versions = await list_watches.config_map_versions(ENABLED).list_page(limit=500)
    objects = await list_watches.config_maps(ENABLED, "").list_page(limit=500)
    assert isinstance(versions, Page)
    assert isinstance(objects, Page)
    assert [(item.key, item.resource_version) for item in versions.items] == [(item.key, item.resource_version) for item in objects.items]
    assert {item.value for item in versions.items} == {True}
    alone = await list_watches.config_map(ENABLED, team, "two").list_page(limit=1)
    assert isinstance(alone, Page)
    assert alone.items == tuple(item for item in objects.items if (item.key.namespace, item.key.name) == (team, "two"))
