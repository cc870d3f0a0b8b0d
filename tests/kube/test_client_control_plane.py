"""The client against a real API server: what it lists, what its watches tell, and what befalls it."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import pytest
import trio

from exchanger.kube.client import Origin, connect
from exchanger.kube.connection import ApiConnection, ConnectionBounds
from exchanger.kube.credentials import RENEWAL_PAUSE_S
from exchanger.kube.list_watch import ApiFailure, Bookmark, Deleted, FailureKind, Item, Key, ListWatch, Page, Put, WatchEvent
from exchanger.kube.objects import decode_config_map
from exchanger.kube.resource import PolicyListWatches, Resource, path_of
from exchanger.policy.objects import ConfigMap, Namespace
from tests.kube.admin import NAMESPACE_LABELS, POLICY_LABELS, READ_POLICY
from tests.kube.control_plane import ADMIN_TOKEN, TESTER_TOKEN, ControlPlane
from tests.kube.leftovers import nothing_left, open_sockets

pytestmark = pytest.mark.kubernetes

ENABLED: Final = "ext-authz-token-exchange.magneticflux.net/enabled=true"
LABELS: Final = tuple(POLICY_LABELS.items())
EVENT_S: Final = 60.0
"""Seconds for an event to come; it takes some milliseconds."""


@pytest.fixture
def team(control_plane: ControlPlane, request: pytest.FixtureRequest) -> str:
    """A namespace of this test's own."""
    name = "team-" + "".join(character if character.isalnum() else "-" for character in request.node.name)[:50].strip("-").lower()
    control_plane.admin.put_namespace(name)
    return name


@pytest.fixture
async def connection(control_plane: ControlPlane) -> AsyncGenerator[ApiConnection]:
    """A connection that may do everything."""
    sockets = open_sockets()
    async with connect(origin(control_plane, ADMIN_TOKEN)) as found:
        yield found
    await nothing_left(sockets + 1)  # the admin's own connection may have been opened meanwhile


def origin(control_plane: ControlPlane, token: str) -> Origin:
    return Origin(kubeconfig=str(control_plane.kubeconfig("kubeconfig", token=token)), environment={}, token_file="/nonexistent")


def config_maps(connection: ApiConnection, namespace: str) -> ListWatch[ConfigMap]:
    return PolicyListWatches(connection).config_maps(ENABLED, namespace)


async def do(change: Callable[[], object]) -> None:
    """Make a change without holding up the tasks that wait for it."""
    await trio.to_thread.run_sync(change)


async def following(events: AsyncIterator[WatchEvent[ConfigMap]]) -> WatchEvent[ConfigMap]:
    """Return the next event that is no bookmark."""
    with trio.fail_after(EVENT_S):
        while isinstance(event := await anext(events), Bookmark):
            pass
    return event


async def page_of(resource: ListWatch[ConfigMap], limit: int = 500, token: str = "", version: str = "") -> Page[ConfigMap]:
    found = await resource.list_page(limit=limit, continue_token=token, resource_version=version)
    assert isinstance(found, Page), found
    return found


def item_of(event: WatchEvent[ConfigMap]) -> Item[ConfigMap]:
    assert isinstance(event, Put), event
    return event.item


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


async def test_a_namespace_comes_and_goes(control_plane: ControlPlane, connection: ApiConnection, team: str) -> None:
    resource = PolicyListWatches(connection).namespaces(f"kubernetes.io/metadata.name=new-{team}")
    async with resource.watch(resource_version="", timeout=300, initial_events=True) as events:
        with trio.fail_after(EVENT_S):
            assert [event.initial_events_end async for event in _until_bookmark(events)] == [True]
            await do(lambda: control_plane.admin.put_namespace(f"new-{team}"))
            assert isinstance(await anext(events), Put)
            await do(lambda: control_plane.admin.delete_namespace(f"new-{team}"))
            found = [event async for event in _until_deleted(events)]
            assert isinstance(found[-1], Deleted)


async def _until_bookmark(events: AsyncIterator[WatchEvent[Namespace]]) -> AsyncGenerator[Bookmark]:
    event = await anext(events)
    assert isinstance(event, Bookmark)
    yield event


async def _until_deleted(events: AsyncIterator[WatchEvent[Namespace]]) -> AsyncGenerator[WatchEvent[Namespace]]:
    async for event in events:
        yield event
        if isinstance(event, Deleted | ApiFailure):
            return


async def test_initial_events_are_the_list(control_plane: ControlPlane, connection: ApiConnection, team: str) -> None:
    for number in range(5):
        control_plane.admin.put_config_map(team, f"policy-{number}", f"x: {number}")
    resource = config_maps(connection, team)
    found: list[Item[ConfigMap]] = []
    async with resource.watch(resource_version="", timeout=300, initial_events=True) as events:
        with trio.fail_after(EVENT_S):
            async for event in events:
                if isinstance(event, Bookmark) and event.initial_events_end:
                    break
                found.append(item_of(event))
    assert sorted(found, key=lambda item: item.key.name) == sorted((await page_of(resource)).items, key=lambda item: item.key.name)


async def test_a_list_comes_in_pages(control_plane: ControlPlane, connection: ApiConnection, team: str) -> None:
    for number in range(7):
        control_plane.admin.put_config_map(team, f"policy-{number}", f"x: {number}")
    resource, names, versions, token = config_maps(connection, team), [], set(), ""
    for _ in range(10):
        page = await page_of(resource, 3, token)
        names += [item.key.name for item in page.items]
        versions.add(page.resource_version)
        token = page.continue_token
        if not token:
            break
    assert (sorted(names), len(versions)) == ([f"policy-{number}" for number in range(7)], 1)


async def test_a_continue_token_expires(control_plane: ControlPlane, connection: ApiConnection, team: str) -> None:
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


@pytest.mark.parametrize("flags", [(), ("--watch-cache=false",)])
async def test_a_watch_from_a_forgotten_version(
    control_plane: ControlPlane, connection: ApiConnection, team: str, flags: tuple[str, ...]
) -> None:
    resource = config_maps(connection, team)
    old = (await page_of(resource)).resource_version
    for number in range(3):
        control_plane.admin.put_config_map(team, "policy", f"x: {number}")
    await do(control_plane.compact)
    await do(partial(control_plane.restart_apiserver, *flags))
    try:
        async with resource.watch(resource_version=old, timeout=300) as events:
            failure = await following(events)
            assert isinstance(failure, ApiFailure)
            assert (failure.kind, failure.status) == (FailureKind.GONE, 410)
            with trio.fail_after(EVENT_S):
                assert [event async for event in events] == []
    finally:
        if flags:
            await do(control_plane.restart_apiserver)


async def test_a_version_that_the_server_has_not_reached(connection: ApiConnection, team: str) -> None:
    failure = await config_maps(connection, team).list_page(limit=500, resource_version="999999999")
    assert isinstance(failure, ApiFailure)
    assert (failure.kind, failure.status) == (FailureKind.GONE, 504)
    assert "Too large resource version" in failure.message


async def test_a_missing_right_is_named(control_plane: ControlPlane, team: str) -> None:
    async with connect(origin(control_plane, TESTER_TOKEN)) as connection:
        failure = await config_maps(connection, "").list_page(limit=1)
        assert isinstance(failure, ApiFailure)
        assert (failure.kind, failure.status) == (FailureKind.FORBIDDEN, 403)
        assert 'User "tester" cannot list resource "configmaps" in API group "" at the cluster scope' in failure.message
        async with config_maps(connection, team).watch(resource_version="", timeout=300) as events:
            event = await following(events)
            assert isinstance(event, ApiFailure)
            assert f'cannot watch resource "configmaps" in API group "" in the namespace "{team}"' in event.message


async def test_rights_are_withdrawn_and_given_again(control_plane: ControlPlane, team: str) -> None:
    admin = control_plane.admin
    token = admin.put_service_account(team, READ_POLICY)
    async with connect(origin(control_plane, token)) as connection:
        resource = config_maps(connection, team)

        async def until(kind: FailureKind | None) -> None:
            with trio.fail_after(EVENT_S):
                while True:
                    found = await resource.list_page(limit=1)
                    if (found.kind if isinstance(found, ApiFailure) else None) is kind:
                        return
                    await trio.sleep(0.05)

        await until(None)
        await do(lambda: admin.withdraw(team))
        await until(FailureKind.FORBIDDEN)
        subject = {"kind": "ServiceAccount", "name": team, "namespace": "default"}
        await do(lambda: admin.grant(team, subject, READ_POLICY))
        await until(None)


async def test_a_token_that_the_server_does_not_know(control_plane: ControlPlane) -> None:
    async with connect(origin(control_plane, "unknown")) as connection:
        failure = await config_maps(connection, "").list_page(limit=1)
        assert failure == ApiFailure(FailureKind.UNAUTHORIZED, 401, "Unauthorized")


async def test_a_pods_token_is_rotated(control_plane: ControlPlane, team: str, tmp_path: Path) -> None:
    admin = control_plane.admin
    file = tmp_path / "token"
    file.write_text(admin.put_service_account(team, READ_POLICY))
    rotated = admin.replace_service_account(team)  # the server knows the first one no more
    environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(control_plane.port)}
    pod = Origin(environment=environment, token_file=str(file), ca_file=str(control_plane.ca_file))
    async with connect(pod) as connection:
        resource = config_maps(connection, team)
        failure = await resource.list_page(limit=1)
        assert isinstance(failure, ApiFailure)
        assert failure.kind is FailureKind.UNAUTHORIZED
        file.write_text(rotated)
        await trio.sleep(RENEWAL_PAUSE_S)
        await page_of(resource)
        async with resource.watch(resource_version="", timeout=300, initial_events=True) as events:
            with trio.fail_after(EVENT_S):
                assert isinstance(await anext(events), Bookmark)
        assert connection.statistics().renewals == 2  # the first brought nothing new


async def test_a_client_certificate(control_plane: ControlPlane, team: str) -> None:
    path = control_plane.kubeconfig_of_admin_certificate("kubeconfig-of-certificate")
    async with connect(Origin(kubeconfig=str(path), environment={}, token_file="/nonexistent")) as connection:
        await page_of(config_maps(connection, team))


async def test_a_secret_and_an_event(control_plane: ControlPlane, connection: ApiConnection, team: str) -> None:
    control_plane.admin.put_secret(team, "issuer", {"clientSecret": "canary"})
    found = await connection.get(path_of("api", "v1", "namespaces", team, "secrets", "issuer"))
    assert isinstance(found, dict)
    assert found["data"] == {"clientSecret": "Y2FuYXJ5"}
    missing = await connection.get(path_of("api", "v1", "namespaces", team, "secrets", "missing"))
    assert isinstance(missing, ApiFailure)
    assert (missing.kind, missing.message) == (FailureKind.NOT_FOUND, 'secrets "missing" not found')

    events = path_of("api", "v1", "namespaces", team, "events")
    body: dict[str, object] = {
        "metadata": {"name": "policy.1", "namespace": team},
        "involvedObject": {"kind": "ConfigMap", "namespace": team, "name": "policy"},
        "reason": "InvalidPolicy",
        "message": "line 1",
        "type": "Warning",
    }
    assert isinstance(await connection.send("POST", events, body), dict)
    again = await connection.send("POST", events, body)
    assert isinstance(again, ApiFailure)
    assert again.status == 409
    change: dict[str, object] = {"message": "line 2"}
    changed = await connection.send("PATCH", f"{events}/policy.1", change, content_type="application/merge-patch+json")
    assert isinstance(changed, dict)
    assert changed["message"] == "line 2"


async def test_a_secret_is_watched_by_name(control_plane: ControlPlane, connection: ApiConnection, team: str) -> None:
    control_plane.admin.put_config_map(team, "one", "x: 1")
    control_plane.admin.put_config_map(team, "two", "x: 2")
    path = path_of("api", "v1", "namespaces", team, "configmaps")
    resource = Resource(connection, path, decode_config_map, field_selector="metadata.name=two")
    assert [item.key.name for item in (await page_of(resource)).items] == ["two"]


async def test_a_watch_ends_in_good_order(connection: ApiConnection, team: str) -> None:
    resource = config_maps(connection, team)
    page = await page_of(resource)
    async with resource.watch(resource_version=page.resource_version, timeout=2) as events:
        with trio.fail_after(EVENT_S):
            assert not [event async for event in events if not isinstance(event, Bookmark)]


async def _follow_until_failure(connection: ApiConnection, team: str, change: Callable[[], object]) -> ApiFailure | None:
    """Follow a watch while ``change`` befalls the server; return how it ended."""
    resource = config_maps(connection, team)
    page = await page_of(resource)
    last: ApiFailure | None = None
    async with trio.open_nursery() as nursery, resource.watch(resource_version=page.resource_version, timeout=300) as events:
        await trio.sleep(0.5)  # until the watch is established
        nursery.start_soon(do, change)
        with trio.fail_after(EVENT_S):
            async for event in events:
                if isinstance(event, ApiFailure):
                    last = event
    return last


async def test_the_server_is_killed(control_plane: ControlPlane, connection: ApiConnection, team: str) -> None:
    failure = await _follow_until_failure(connection, team, control_plane.kill_apiserver)
    assert failure is not None
    assert failure.kind is FailureKind.UNREACHABLE
    refused = await config_maps(connection, team).list_page(limit=1)
    assert refused == ApiFailure(FailureKind.UNREACHABLE, message="the connection was refused")
    await do(control_plane.start_apiserver)
    await page_of(config_maps(connection, team))


async def test_the_server_is_terminated(control_plane: ControlPlane, connection: ApiConnection, team: str) -> None:
    failure = await _follow_until_failure(connection, team, control_plane.stop_apiserver)
    assert failure is None or failure.kind is FailureKind.UNREACHABLE
    await do(control_plane.start_apiserver)
    await page_of(config_maps(connection, team))


async def test_the_server_is_paused(control_plane: ControlPlane, team: str) -> None:
    bounds = attrs.evolve(ConnectionBounds(), quiet=1.0, probe=1.0, read=1.0)
    async with connect(origin(control_plane, ADMIN_TOKEN), bounds) as connection:
        try:
            failure = await _follow_until_failure(connection, team, control_plane.pause_apiserver)
            assert failure == ApiFailure(FailureKind.TIMEOUT, message="the server gives no sign of life")
            silent = await config_maps(connection, team).list_page(limit=1)
            assert isinstance(silent, ApiFailure)
            assert silent.kind is FailureKind.TIMEOUT
        finally:
            control_plane.resume_apiserver()
        await page_of(config_maps(connection, team))


async def test_a_healthy_watch_outlives_silence(control_plane: ControlPlane, team: str) -> None:
    bounds = attrs.evolve(ConnectionBounds(), quiet=0.2)
    async with connect(origin(control_plane, ADMIN_TOKEN), bounds) as connection:
        resource = config_maps(connection, team)
        page = await page_of(resource)
        async with resource.watch(resource_version=page.resource_version, timeout=300) as events:
            with trio.fail_after(EVENT_S):
                while connection.statistics().probes < 3:  # noqa: ASYNC110 - counters tell nobody
                    await trio.sleep(0.05)
            await do(lambda: control_plane.admin.put_config_map(team, "policy", "x: 1"))
            assert item_of(await following(events)).value.document == "x: 1"


async def test_a_restored_store_goes_back(control_plane: ControlPlane, connection: ApiConnection, team: str) -> None:
    resource = config_maps(connection, team)
    snapshot = await trio.to_thread.run_sync(control_plane.snapshot)
    for number in range(100):  # more than the server writes for itself when it starts
        control_plane.admin.put_config_map(team, "policy", f"x: {number}")
    known = (await page_of(resource)).resource_version
    await do(lambda: control_plane.restore(snapshot))
    page = await page_of(resource)
    assert int(page.resource_version) < int(known)
    assert page.items == ()
    failure = await resource.list_page(limit=1, resource_version=known)
    assert isinstance(failure, ApiFailure)
    assert failure.kind is FailureKind.GONE
