"""The client against a real API server that is killed, terminated, paused, silent, or restored to an older state."""

from collections.abc import Callable

import attrs
import pytest
import trio

from exchanger.kube.api.client import connect
from exchanger.kube.api.connection import ApiConnection, ConnectionBounds
from exchanger.kube.list_watch import ApiFailure, FailureKind, Opened
from tests.kube.asking import EVENT_S, config_maps, do, following, item_of, origin, page_of
from tests.kube.control_plane import ADMIN_TOKEN, ControlPlane

pytestmark = pytest.mark.kubernetes


async def _follow_until_failure(connection: ApiConnection, team: str, version: str, change: Callable[[], object]) -> ApiFailure | None:
    """Follow a watch from ``version`` on while ``change`` befalls the server; return how it ended."""
    resource = config_maps(connection, team)
    last: ApiFailure | None = None
    async with trio.open_nursery() as nursery, resource.watch(resource_version=version, timeout=300) as events:
        with trio.fail_after(EVENT_S):
            assert await anext(events) == Opened()
            nursery.start_soon(do, change)
            async for event in events:
                if isinstance(event, ApiFailure):
                    last = event
    return last


async def test_the_server_is_killed(control_plane: ControlPlane, connection: ApiConnection, team: str) -> None:
    version = (await page_of(config_maps(connection, team))).resource_version
    failure = await _follow_until_failure(connection, team, version, control_plane.kill_apiserver)
    assert failure is not None
    assert failure.kind is FailureKind.UNREACHABLE
    refused = await config_maps(connection, team).list_page(limit=1)
    assert refused == ApiFailure(FailureKind.UNREACHABLE, message="the connection was refused")
    await do(control_plane.start_apiserver)
    await page_of(config_maps(connection, team))


async def test_the_server_is_terminated(control_plane: ControlPlane, connection: ApiConnection, team: str) -> None:
    version = (await page_of(config_maps(connection, team))).resource_version
    failure = await _follow_until_failure(connection, team, version, control_plane.stop_apiserver)
    assert failure is None or failure.kind is FailureKind.UNREACHABLE
    await do(control_plane.start_apiserver)
    await page_of(config_maps(connection, team))


async def test_the_server_is_paused(control_plane: ControlPlane, connection: ApiConnection, team: str) -> None:
    version = (await page_of(config_maps(connection, team))).resource_version
    bounds = attrs.evolve(ConnectionBounds(), quiet=1.0, probe=1.0, read=1.0)
    async with connect(origin(control_plane, ADMIN_TOKEN), bounds) as impatient:
        try:
            failure = await _follow_until_failure(impatient, team, version, control_plane.pause_apiserver)
            assert failure == ApiFailure(FailureKind.TIMEOUT, message="the server gives no sign of life")
            silent = await config_maps(impatient, team).list_page(limit=1)
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
                while connection.probes < 3:  # noqa: ASYNC110 - counters tell nobody
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
