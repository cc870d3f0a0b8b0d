"""The client against a real API server: what it lists, reads and writes, and the events of its watches."""

from typing import Final

import pytest
import trio

from exchanger.policy.selection import ConfigMap, Namespace
from exchanger.sources.kube.api.client import connect
from exchanger.sources.kube.api.connection import ApiConnection, ConnectionBounds
from exchanger.sources.kube.api.decoding import CONFIG_MAP
from exchanger.sources.kube.api.resource import PolicyListWatches, Resource, path_of
from exchanger.sources.kube.list_watch import ApiFailure, Bookmark, Deleted, FailureKind, Item, Key, Opened, Page
from tests.sources.kube.admin import NAMESPACE_LABELS, POLICY_LABELS
from tests.sources.kube.asking import EVENT_S, config_maps, do, following, item_of, origin, page_of
from tests.sources.kube.control_plane import ADMIN_TOKEN, ControlPlane

pytestmark = pytest.mark.kubernetes

LABELS: Final = tuple(POLICY_LABELS.items())


async def test_namespaces_and_config_maps_are_listed(control_plane: ControlPlane, connection: ApiConnection, team: str) -> None:
    admin = control_plane.admin
    made = admin.put_config_map(team, "policy", "x: 1")
    admin.put_config_map(team, "other", "x: 2", {})
    page = await page_of(config_maps(connection, team))
    version = made["metadata"]["resourceVersion"]
    assert page.items == (Item(Key(team, "policy"), version, ConfigMap(team, "policy", LABELS, "x: 1")),)
    assert int(page.resource_version) >= int(version)

    selector = ",".join(f"{name}={text}" for name, text in NAMESPACE_LABELS.items())
    namespaces = await PolicyListWatches(connection).namespaces(selector).list_page(limit=500)
    assert isinstance(namespaces, Page)
    labels = tuple(sorted({**NAMESPACE_LABELS, "kubernetes.io/metadata.name": team}.items()))
    assert Namespace(team, labels) in [item.value for item in namespaces.items]
    assert all(item.key.namespace == "" for item in namespaces.items)

    path = path_of("api", "v1", "namespaces", team, "configmaps")
    by_name = Resource(connection, path, CONFIG_MAP, field_selector="metadata.name=other")  # as a Secret is watched
    assert [item.key.name for item in (await page_of(by_name)).items] == ["other"]


async def test_a_watch_tells_every_change(control_plane: ControlPlane, connection: ApiConnection, team: str) -> None:
    admin, resource = control_plane.admin, config_maps(connection, team)
    path = f"/api/v1/namespaces/{team}/configmaps/policy"
    page = await page_of(resource)
    async with resource.watch(resource_version=page.resource_version, timeout=300) as events:
        await do(lambda: admin.put_config_map(team, "policy", "x: 1"))
        assert item_of(await following(events)).value == ConfigMap(team, "policy", LABELS, "x: 1")
        await do(lambda: admin.put_config_map(team, "policy", "x: 2"))
        assert item_of(await following(events)).value == ConfigMap(team, "policy", LABELS, "x: 2")
        await do(lambda: admin.label(path, dict.fromkeys(POLICY_LABELS)))
        unlabelled = await following(events)
        assert isinstance(unlabelled, Deleted)
        assert unlabelled.key == Key(team, "policy")
        await do(lambda: admin.label(path, POLICY_LABELS))
        assert item_of(await following(events)).value == ConfigMap(team, "policy", LABELS, "x: 2")
        await do(lambda: admin.delete_config_map(team, "policy"))
        deleted = await following(events)
        assert isinstance(deleted, Deleted)
        assert int(deleted.resource_version) > int(unlabelled.resource_version)


async def test_initial_events_and_pages_are_the_same_list(control_plane: ControlPlane, connection: ApiConnection, team: str) -> None:
    for number in range(7):
        control_plane.admin.put_config_map(team, f"policy-{number}", f"x: {number}")
    resource = config_maps(connection, team)
    streamed: list[Item[ConfigMap]] = []
    async with resource.watch(resource_version="", timeout=300, initial_events=True) as events:
        with trio.fail_after(EVENT_S):
            assert await anext(events) == Opened()
            async for event in events:
                if isinstance(event, Bookmark) and event.initial_events_end:
                    break
                streamed.append(item_of(event))
    pages = [await page_of(resource, 3)]
    while pages[-1].continue_token:
        pages.append(await page_of(resource, 3, pages[-1].continue_token))
    listed = [item for page in pages for item in page.items]
    assert [item.value.document for item in listed] == [f"x: {number}" for number in range(7)]
    assert sorted(streamed, key=lambda item: item.key.name) == listed
    assert (len(pages), len({page.resource_version for page in pages})) == (3, 1)


async def test_forgotten_versions_are_gone(control_plane: ControlPlane, connection: ApiConnection, team: str) -> None:
    for number in range(3):
        control_plane.admin.put_config_map(team, f"policy-{number}", f"x: {number}")
    resource = config_maps(connection, team)
    page = await page_of(resource, 1)
    await do(lambda: control_plane.admin.put_config_map(team, "policy-0", "x: 9"))
    await do(control_plane.compact)
    await do(control_plane.restart_apiserver)  # its cache would still know the rest
    failure = await resource.list_page(limit=1, continue_token=page.continue_token)
    assert isinstance(failure, ApiFailure)
    assert (failure.kind, failure.status) == (FailureKind.GONE, 410)
    async with resource.watch(resource_version=page.resource_version, timeout=300) as events:
        lost = await following(events)
        assert isinstance(lost, ApiFailure)
        assert (lost.kind, lost.status) == (FailureKind.GONE, 410)
        with trio.fail_after(EVENT_S):
            assert [event async for event in events] == []


async def test_a_version_that_the_server_has_not_reached(connection: ApiConnection, team: str) -> None:
    failure = await config_maps(connection, team).list_page(limit=500, resource_version="999999999")
    assert isinstance(failure, ApiFailure)
    assert (failure.kind, failure.status) == (FailureKind.GONE, 504)
    assert "Too large resource version" in failure.message


async def test_a_watch_ends_in_good_order(connection: ApiConnection, team: str) -> None:
    resource = config_maps(connection, team)
    page = await page_of(resource)
    async with resource.watch(resource_version=page.resource_version, timeout=2) as events:
        with trio.fail_after(EVENT_S):
            assert not [event async for event in events if not isinstance(event, Opened | Bookmark)]


async def test_a_healthy_watch_outlives_silence(control_plane: ControlPlane, team: str) -> None:
    async with connect(origin(control_plane, ADMIN_TOKEN), ConnectionBounds(quiet=0.2)) as connection:
        resource = config_maps(connection, team)
        page = await page_of(resource)
        async with resource.watch(resource_version=page.resource_version, timeout=300) as events:
            with trio.fail_after(EVENT_S):
                while connection.probes < 3:  # noqa: ASYNC110 - counters tell nobody
                    await trio.sleep(0.05)
            await do(lambda: control_plane.admin.put_config_map(team, "policy", "x: 1"))
            assert item_of(await following(events)).value.document == "x: 1"
