"""The client against a real API server: what it may do, and as whom."""

from pathlib import Path

import pytest
import trio

from exchanger.sources.kube.api.access import RENEWAL_PAUSE_S
from exchanger.sources.kube.api.client import ClusterConfigSource, connect
from exchanger.sources.kube.list_watch import ApiFailure, Bookmark, FailureKind, Opened
from tests.sources.kube.admin import READ_POLICY
from tests.sources.kube.asking import EVENT_S, config_maps, following, origin, page_of
from tests.sources.kube.control_plane import TESTER_TOKEN, ControlPlane
from tests.sources.kube.kubeconfig import origin_of

pytestmark = pytest.mark.kubernetes


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


async def test_a_token_that_the_server_does_not_know(control_plane: ControlPlane) -> None:
    async with connect(origin(control_plane, "unknown")) as connection:
        failure = await config_maps(connection, "").list_page(limit=1)
        assert failure == ApiFailure(FailureKind.UNAUTHORIZED, 401, "Unauthorized")


async def test_a_pods_token_is_rotated(control_plane: ControlPlane, team: str, tmp_path: Path) -> None:
    admin = control_plane.admin
    file = tmp_path / "token"
    first = admin.put_service_account(team, READ_POLICY)
    file.write_text(first)
    rotated = admin.replace_service_account(team)
    with trio.fail_after(EVENT_S):
        while admin.knows(first) or not admin.knows(rotated):  # noqa: ASYNC110 - the server tells nobody
            await trio.sleep(0.1)
    environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(control_plane.port)}
    pod = ClusterConfigSource(environment=environment, token_file=str(file), ca_file=str(control_plane.ca_file))
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
                assert await anext(events) == Opened()
                assert isinstance(await anext(events), Bookmark)
        assert connection.credentials.renewals == 2  # the first brought nothing new


async def test_a_client_certificate(control_plane: ControlPlane, team: str) -> None:
    path = control_plane.kubeconfig_of_admin_certificate("kubeconfig-of-certificate")
    async with connect(origin_of(path)) as connection:
        await page_of(config_maps(connection, team))
