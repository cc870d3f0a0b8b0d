"""What resources are called, and where they are."""

import pytest
import trio

from exchanger.kube.connection import ApiConnection
from exchanger.kube.decoding import CONFIG_MAP
from exchanger.kube.resource import PolicyListWatches, Resource, path_of
from tests.kube.scripted_server import (
    Received,
    answer,
    serving,
)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (path_of("api", "v1", "namespaces"), "namespaces"),
        (path_of("api", "v1", "configmaps"), "configmaps"),
        (path_of("api", "v1", "namespaces", "team-a", "configmaps"), "configmaps in team-a"),
    ],
)
def test_what_it_is_called(path: str, name: str) -> None:
    connection = ApiConnection.__new__(ApiConnection)
    assert Resource(connection, path, CONFIG_MAP).name == name


def test_a_name_cannot_leave_its_place_in_a_path() -> None:
    assert path_of("api", "v1", "secrets", "../a?b=c") == "/api/v1/secrets/..%2Fa%3Fb%3Dc"


async def test_the_resources_of_policy() -> None:
    async def script(request: Received, stream: trio.abc.Stream) -> None:
        await stream.send_all(answer({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []}))

    async with serving(script) as server:
        connection = server.connection()
        policy = PolicyListWatches(connection)
        await policy.namespaces("a=b").list_page(limit=1)
        await policy.config_maps("c", "").list_page(limit=1)
        await policy.config_maps("c", "team").list_page(limit=1)
        assert [request.target for request in server.requests] == [
            "/api/v1/namespaces?labelSelector=a%3Db&limit=1",
            "/api/v1/configmaps?labelSelector=c&limit=1",
            "/api/v1/namespaces/team/configmaps?labelSelector=c&limit=1",
        ]
