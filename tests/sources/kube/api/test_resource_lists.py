"""Lists against a server that a test scripts: their paths, their pages, and the sizes of those."""

from collections.abc import Callable

import pytest
import trio

from exchanger.sources.kube.api.connection import ApiConnection
from exchanger.sources.kube.api.decoding import CONFIG_MAP
from exchanger.sources.kube.api.resource import PolicyListWatches, Resource, path_of
from exchanger.sources.kube.api.transport import MAX_BODY_BYTES
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind, Key, Page
from exchanger.sources.kube.store import Complete, ListBounds, list_all
from tests.sources.kube.scripted_server import Received, Script, answer, config_maps, query, repeats, says, serving

LIST = {"kind": "ConfigMapList", "apiVersion": "v1"}


def page(count: int, size: int = 10, token: str = "") -> dict[str, object]:
    items = [
        {"metadata": {"namespace": "team", "name": f"policy-{number}", "resourceVersion": "3"}, "data": {"config.yaml": "x" * size}}
        for number in range(count)
    ]
    return {**LIST, "metadata": {"resourceVersion": "9", "continue": token}, "items": items}


def paged(answers: Callable[[dict[str, str]], dict[str, object]]) -> Script:
    """Answer each list according to its query."""

    async def script(request: Received, stream: trio.abc.Stream) -> None:
        await stream.send_all(answer(answers(query(request))))

    return script


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (path_of("api", "v1", "namespaces"), "namespaces"),
        (path_of("api", "v1", "configmaps"), "configmaps"),
        (path_of("api", "v1", "namespaces", "team-a", "configmaps"), "configmaps in team-a"),
    ],
)
def test_resources_have_names(path: str, name: str) -> None:
    connection = ApiConnection.__new__(ApiConnection)
    assert Resource(connection, path, CONFIG_MAP).name == name


def test_a_name_cannot_leave_its_place_in_a_path() -> None:
    assert path_of("api", "v1", "secrets", "../a?b=c") == "/api/v1/secrets/..%2Fa%3Fb%3Dc"


async def test_paths_and_selectors_of_policy() -> None:
    async with serving(repeats(answer(page(0)))) as server:
        policy = PolicyListWatches(server.connection())
        for resource in (policy.namespaces("a=b"), policy.config_maps("c", ""), policy.config_maps("c", "team")):
            await resource.list_page(limit=1)
        assert [request.target for request in server.requests] == [
            "/api/v1/namespaces?labelSelector=a%3Db&limit=1",
            "/api/v1/configmaps?labelSelector=c&limit=1",
            "/api/v1/namespaces/team/configmaps?labelSelector=c&limit=1",
        ]


async def test_a_list_is_read_page_by_page() -> None:
    async with serving(repeats(answer(page(2, token="more")))) as server:
        found = await config_maps(server.connection()).list_page(limit=2)
        assert isinstance(found, Page)
        assert (found.resource_version, found.continue_token) == ("9", "more")
        assert [item.key for item in found.items] == [Key("team", "policy-0"), Key("team", "policy-1")]
        await config_maps(server.connection()).list_page(limit=2, continue_token="more", resource_version="0")
        asked = {"labelSelector": "enabled=true", "limit": "2"}
        assert [query(request) for request in server.requests] == [asked, {**asked, "continue": "more"}]  # with the token's version


@pytest.mark.parametrize(
    ("limits", "asked"),
    [
        ([100, 100, 100, 100, 100, 100], [100, 25, 6, 12, 24, 6, 12, 24, 6, 12]),  # where all are large, few requests are in vain
        ([100, 1, 1, 1, 100], [100, 25, 6, 1, 1, 1, 12]),  # a look at one object says nothing of pages
    ],
)
async def test_pages_that_are_too_large_become_smaller(limits: list[int], asked: list[int]) -> None:
    async with serving(paged(lambda asked: page(int(asked["limit"]), size=1_000_000))) as server:
        resource = config_maps(server.connection())
        for limit in limits:
            found = await resource.list_page(limit=limit)
            assert isinstance(found, Page)
            assert len(found.items) == int(query(server.requests[-1])["limit"])
        assert [int(query(request)["limit"]) for request in server.requests] == asked


# Neighbours of 1 MiB among 10,000 small objects: none of them is too large, but sixteen of them are.
LARGE = range(3_000, 3_017)


def mixed(asked: dict[str, str]) -> dict[str, object]:
    """Return a page of a list of which some objects are large."""
    limit, start = int(asked["limit"]), int(asked.get("continue", "0"))
    end = min(start + limit, 10_000)
    items = [
        {
            "metadata": {"namespace": "team", "name": f"policy-{number}", "resourceVersion": "3"},
            "data": {"config.yaml": "x" * (1024 * 1024 if number in LARGE else 10)},
        }
        for number in range(start, end)
    ]
    return {**LIST, "metadata": {"resourceVersion": "9", "continue": str(end) if end < 10_000 else ""}, "items": items}


async def test_pages_grow_again_behind_large_objects() -> None:
    async with serving(paged(mixed)) as server:
        resource = config_maps(server.connection())
        for _ in range(2):
            before = len(server.requests)
            found = await list_all(resource, ListBounds(max_pages=40))
            assert isinstance(found, Complete)
            assert len(found.items) == 10_000
            assert len(server.requests) - before < 50  # 20 pages if there were no large objects
            assert query(server.requests[-1])["limit"] == "500"


async def test_a_whole_list_that_is_too_large_is_asked_for_in_pages() -> None:
    async with serving(paged(lambda asked: page(40 if "resourceVersion" in asked else 1, size=1_000_000))) as server:
        found = await config_maps(server.connection()).list_page(limit=1, resource_version="0")
        assert isinstance(found, Page)
        assert [query(received).get("resourceVersion") for received in server.requests] == ["0", None]


async def test_one_object_that_is_too_large_is_malformed() -> None:
    async with serving(says(answer(page(1, size=MAX_BODY_BYTES)))) as server:
        failure = await config_maps(server.connection()).list_page(limit=1)
        assert isinstance(failure, ApiFailure)
        assert failure.kind is FailureKind.MALFORMED
        assert len(server.requests) == 1
