"""The known state of a resource, and how a complete one is gathered."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from exchanger.sources.kube.list_watch import ApiFailure, Bookmark, Deleted, FailureKind, Item, Key, Page, Put, WatchEvent
from exchanger.sources.kube.store import COMPARED, Complete, ListBounds, ReflectorStore, list_all, older, usable

A, B = Key("n", "a"), Key("n", "b")


def item(key: Key, version: str, value: str = "x") -> Item[str]:
    return Item(key, version, value)


@pytest.fixture
def known() -> ReflectorStore[str]:
    """What a list in version 10 said: one object, of version 7."""
    found: ReflectorStore[str] = ReflectorStore()
    found.replace(Complete((item(A, "7"),), "10"))
    return found


@pytest.mark.parametrize(
    ("version", "other", "expected"),
    [
        ("9", "10", True),
        ("10", "9", False),
        ("10", "10", False),
        ("18446744073709551614", "18446744073709551615", True),
        ("9" * 5000, "1" + "0" * 5000, False),
        ("a", "b", False),
        ("", "1", False),
        ("1", "", False),
        ("-1", "1", False),
        ("١", "2", False),
        ("²", "3", False),
    ],
)
def test_only_numbers_have_an_order(version: str, other: str, expected: bool) -> None:
    assert older(version, other) is expected


@pytest.mark.parametrize(("version", "expected"), [("", False), ("0", False), ("1", True), ("opaque", True)])
def test_requests_give_two_versions_another_meaning(version: str, expected: bool) -> None:
    assert usable(version) is expected


@pytest.mark.parametrize(
    ("event", "changed", "version", "size"),
    [
        (Put(item(B, "11")), (B,), "11", 2),
        (Put(item(A, "12", "y")), (A,), "12", 1),
        (Put(item(A, "7")), (), "10", 1),  # a repetition
        (Put(item(A, "6", "older")), None, "10", 1),  # another history
        (Put(item(B, "9")), None, "10", 1),
        (Put(item(B, "")), None, "10", 1),
        (Put(item(B, "0")), None, "10", 1),
        (Put(item(A, "opaque")), (A,), "opaque", 1),
        (Deleted(A, "11"), (A,), "11", 0),
        (Deleted(A, "7"), (A,), "10", 0),  # the version of what is deleted
        (Deleted(A, "9"), None, "10", 1),
        (Deleted(A, ""), None, "10", 1),
        (Deleted(B, "11"), (), "11", 1),
        (Deleted(B, "9"), (), "10", 1),
        (Deleted(B, "0"), (), "10", 1),
        (Bookmark("11"), (), "11", 1),
        (Bookmark("10"), (), "10", 1),
        (Bookmark("9"), None, "10", 1),
        (Bookmark("0"), None, "10", 1),
    ],
)
async def test_an_event_advances_the_store_or_changes_nothing(
    known: ReflectorStore[str], event: Put[str] | Deleted | Bookmark, changed: tuple[Key, ...] | None, version: str, size: int
) -> None:
    assert known.apply(event) == changed
    assert (known.version, len(known.items)) == (version, size)
    assert changed is not None or await known.agrees(Complete((item(A, "7"),), "10"))


def test_opaque_versions_have_no_order(known: ReflectorStore[str]) -> None:
    assert known.apply(Put(item(A, "abc"))) == (A,)
    assert known.apply(Put(item(A, "aaa"))) == (A,)


@pytest.mark.parametrize(
    ("complete", "expected"),
    [
        (Complete((item(A, "7"),), "10"), True),
        (Complete((item(A, "7"),), "99"), True),
        (Complete((item(A, "7"),), "9"), False),
        (Complete((item(A, "7", "other"),), "10"), False),
        (Complete((item(A, "8"),), "10"), False),
        (Complete((item(A, "7"), item(B, "7")), "10"), False),
        (Complete((), "10"), False),
    ],
)
async def test_a_list_agrees_when_it_is_equal_and_not_older(known: ReflectorStore[str], complete: Complete[str], expected: bool) -> None:
    assert (await known.agrees(complete)) is expected


@attrs.define(eq=False)
class Counted(trio.abc.Instrument):
    """A value that counts how often it was compared, as an instrument in one step at most."""

    compared: int = 0
    most: int = 0

    def __eq__(self, other: object) -> bool:
        self.compared += 1
        return self is other

    __hash__ = object.__hash__

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.compared = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.most = max(self.most, self.compared)


async def test_a_long_list_is_compared_in_steps() -> None:
    counted, known = Counted(), ReflectorStore[Counted]()
    listed = Complete(tuple(Item(Key("n", f"p{number}"), "7", counted) for number in range(3 * COMPARED + 1)), "10")
    known.replace(attrs.evolve(listed, items=tuple(Item(Key("n", item.key.name), "7", counted) for item in listed.items)))
    trio.lowlevel.add_instrument(counted)
    assert await known.agrees(listed)
    assert counted.most == COMPARED


def test_any_complete_state_is_taken_even_an_older_one(known: ReflectorStore[str]) -> None:
    known.replace(Complete((item(B, "2"),), "3"))
    assert (known.version, len(known.items)) == ("3", 1)


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


def malformed(message: str) -> ApiFailure:
    return ApiFailure(FailureKind.MALFORMED, message=message)


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ([Page((item(A, "5"),), "7", "more"), Page((item(B, "5"),), "8")], malformed("the pages of the list have different versions")),
        ([Page((item(A, "5"),), "")], malformed("the list has no version")),  # a watch from "" or "0" would begin anywhere
        ([Page((item(A, "5"),), "0")], malformed("the list has no version")),
        ([Page((item(A, "5"), item(B, "5")), "7", "more"), Page((item(A, "6"),), "7")], Complete((item(A, "6"), item(B, "5")), "7")),
        ([Page((), "7", "more"), Page((item(A, "5"),), "7", "more"), Page((), "7")], Complete((item(A, "5"),), "7")),
    ],
)
async def test_pages_make_one_state_or_a_failure(pages: list[Page[str]], expected: Complete[str] | ApiFailure) -> None:
    made = Pages(pages)
    assert await list_all(made, ListBounds(max_pages=3)) == expected
    assert made.asked == [(500, "" if number == 0 else "more", "") for number in range(len(made.asked))]
