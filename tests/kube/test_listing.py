"""Lists that no API server should give. What servers do give is in test_reflector_pages."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import attrs

from exchanger.kube.list_watch import ApiFailure, FailureKind, Item, Key, Page, WatchEvent
from exchanger.kube.listing import ListBounds, list_all
from exchanger.kube.reflection import Complete


@attrs.define(eq=False)
class Pages:
    """Implements ``ListWatch`` with pages that were made before."""

    pages: list[Page[str]]
    name: str = "pages"
    asked: list[tuple[int, str, str]] = attrs.field(factory=list)

    async def list_page(self, *, limit: int, continue_token: str = "", resource_version: str = "") -> Page[str] | ApiFailure:
        self.asked.append((limit, continue_token, resource_version))
        return self.pages.pop(0)

    @asynccontextmanager
    async def watch(
        self,
        *,
        resource_version: str,
        timeout: float,  # noqa: ASYNC109 - the Protocol's signature
        initial_events: bool = False,
    ) -> AsyncGenerator[AsyncIterator[WatchEvent[str]], None]:
        raise AssertionError("a list watches nothing")
        yield  # type: ignore[unreachable]


def item(name: str, version: str = "5") -> Item[str]:
    return Item(Key("n", name), version, "x")


def malformed(message: str) -> ApiFailure:
    return ApiFailure(FailureKind.MALFORMED, message=message)


async def test_pages_of_different_versions_are_no_state() -> None:
    pages = Pages([Page((item("a"),), "7", "more"), Page((item("b"),), "8")])
    assert await list_all(pages, ListBounds()) == malformed("the pages of the list have different versions")
    assert pages.asked == [(500, "", ""), (500, "more", "")]


async def test_a_list_without_a_version_is_no_state() -> None:
    """A watch from "" or "0" would begin anywhere."""
    for version in ("", "0"):
        assert await list_all(Pages([Page((item("a"),), version)]), ListBounds()) == malformed("the list has no version")


async def test_an_object_that_is_on_two_pages_is_one() -> None:
    pages = Pages([Page((item("a"), item("b")), "7", "more"), Page((item("a", "6"),), "7")])
    assert await list_all(pages, ListBounds()) == Complete((item("a", "6"), item("b")), "7")


async def test_empty_pages_are_pages() -> None:
    pages = Pages([Page((), "7", "more"), Page((item("a"),), "7", "and more"), Page((), "7")])
    assert await list_all(pages, ListBounds(max_pages=3)) == Complete((item("a"),), "7")
