"""Lists against a server that a test scripts: pages, their sizes, and what is no list."""

import pytest
import trio

from exchanger.kube.list_watch import ApiFailure, FailureKind, Key, Page
from exchanger.kube.store import Complete, ListBounds, list_all
from exchanger.kube.transport import MAX_BODY_BYTES
from tests.kube.scripted_server import (
    Received,
    answer,
    config_maps,
    connected,
    query,
    says,
    serving,
)

LIST = {"kind": "ConfigMapList", "apiVersion": "v1"}
IDENTITY = {"name": "a", "namespace": "b", "resourceVersion": "1"}


def page(count: int, size: int = 10, token: str = "") -> dict[str, object]:
    items = [
        {"metadata": {"namespace": "team", "name": f"policy-{number}", "resourceVersion": "3"}, "data": {"config.yaml": "x" * size}}
        for number in range(count)
    ]
    return {**LIST, "metadata": {"resourceVersion": "9", "continue": token}, "items": items}


async def test_a_page() -> None:
    async with serving(says(answer(page(2, token="more")))) as server:
        connection = server.connection()
        found = await config_maps(connection).list_page(limit=2)
        assert isinstance(found, Page)
        assert (found.resource_version, found.continue_token) == ("9", "more")
        assert [item.key for item in found.items] == [Key("team", "policy-0"), Key("team", "policy-1")]
        assert query(server.requests[0]) == {"labelSelector": "enabled=true", "limit": "2"}


async def test_the_next_page_has_the_tokens_version() -> None:
    async with serving(says(answer(page(0)))) as server:
        connection = server.connection()
        await config_maps(connection).list_page(limit=2, continue_token="more", resource_version="0")
        assert query(server.requests[0]) == {"labelSelector": "enabled=true", "limit": "2", "continue": "more"}


async def test_an_expired_token_is_gone() -> None:
    body = {"kind": "Status", "code": 410, "reason": "Expired", "message": "The provided continue parameter is too old"}
    async with connected(says(answer(body, "410 Gone"))) as connection:
        failure = await config_maps(connection).list_page(limit=1, continue_token="old")
        assert failure == ApiFailure(FailureKind.GONE, 410, "The provided continue parameter is too old")


@pytest.mark.parametrize(
    ("limits", "asked"),
    [
        ([100, 100, 100, 100, 100, 100], [100, 25, 6, 12, 24, 6, 12, 24, 6, 12]),  # where all are large, few requests are in vain
        ([100, 1, 1, 1, 100], [100, 25, 6, 1, 1, 1, 12]),  # a look at one object says nothing of pages
    ],
)
async def test_pages_that_are_too_large_become_smaller(limits: list[int], asked: list[int]) -> None:
    async def script(request: Received, stream: trio.abc.Stream) -> None:
        await stream.send_all(answer(page(int(query(request)["limit"]), size=1_000_000)))

    async with serving(script) as server:
        connection = server.connection()
        resource = config_maps(connection)
        for limit in limits:
            found = await resource.list_page(limit=limit)
            assert isinstance(found, Page)
            assert len(found.items) == int(query(server.requests[-1])["limit"])
        assert [int(query(request)["limit"]) for request in server.requests] == asked


LARGE = range(3_000, 3_017)
"""Neighbours of 1 MiB among 10,000 small objects: none of them is too large, but sixteen of them are."""


def mixed(asked: dict[str, str], version: str = "9") -> dict[str, object]:
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
    return {**LIST, "metadata": {"resourceVersion": version, "continue": str(end) if end < 10_000 else ""}, "items": items}


async def test_pages_grow_again_behind_large_objects() -> None:
    async def script(request: Received, stream: trio.abc.Stream) -> None:
        await stream.send_all(answer(mixed(query(request))))

    async with serving(script) as server:
        connection = server.connection()
        resource = config_maps(connection)
        for _ in range(3):
            before = len(server.requests)
            found = await list_all(resource, ListBounds(max_pages=40))
            assert isinstance(found, Complete)
            assert len(found.items) == 10_000
            assert len(server.requests) - before < 50  # 20 pages if there were no large objects
            assert query(server.requests[-1])["limit"] == "500"


async def test_a_whole_list_that_is_too_large_is_asked_for_in_pages() -> None:
    async def script(request: Received, stream: trio.abc.Stream) -> None:
        whole = query(request).get("resourceVersion") == "0"
        await stream.send_all(answer(page(40 if whole else 1, size=1_000_000)))

    async with serving(script) as server:
        connection = server.connection()
        found = await config_maps(connection).list_page(limit=1, resource_version="0")
        assert isinstance(found, Page)
        assert [query(received).get("resourceVersion") for received in server.requests] == ["0", None]


async def test_one_object_that_is_too_large_is_malformed() -> None:
    async with serving(says(answer(page(1, size=MAX_BODY_BYTES)))) as server:
        connection = server.connection()
        failure = await config_maps(connection).list_page(limit=1)
        assert isinstance(failure, ApiFailure)
        assert failure.kind is FailureKind.MALFORMED
        assert len(server.requests) == 1
