import itertools

import attrs
import pytest
import trio
import trio.testing

from exchanger.model.request import NO_FIELDS, HeaderFields, HttpRequest
from exchanger.model.text import PATH_LIMIT
from exchanger.operations.console.bounded_record import MAX_REQUEST
from exchanger.operations.console.feed import KEPT, KEPT_DENIED, WINDOW_S, Feed
from tests.operations.console.records import DENIED, UNMATCHED, record


def filled(*outcomes: bool) -> Feed:
    """Return a feed with one decision for each, denied where true."""
    feed = Feed(clock=lambda: 1.0)
    for denied in outcomes:
        feed.decided(record(DENIED if denied else UNMATCHED))
    return feed


def numbers(entries: tuple[tuple[int, float, object, int], ...]) -> list[int]:
    return [entry[0] for entry in entries]


def test_an_entry_has_number_time_record_and_revision() -> None:
    feed, kept = Feed(clock=lambda: 12.5), record()
    feed.revision = 3
    feed.decided(kept)

    assert feed.latest(1) == ((1, 12.5, kept, 3),)


def test_only_the_newest_are_kept() -> None:
    moments = itertools.count()
    feed = Feed(clock=lambda: next(moments) * 0.01)
    for _ in range(KEPT + 5):
        feed.decided(record())

    assert numbers(feed.latest(feed.sequence)) == list(range(6, KEPT + 6))
    assert feed.sequence == KEPT + 5


def test_of_a_burst_no_more_is_kept_than_can_be_told() -> None:
    feed = filled(*[False] * 2 * KEPT, *[True] * 2 * KEPT_DENIED)

    assert numbers(feed.latest(feed.sequence)) == [*range(KEPT_DENIED + 1, KEPT + 1), *range(2 * KEPT + 1, 2 * KEPT + KEPT_DENIED + 1)]
    assert feed.since(0, 1).lost == 2 * KEPT + 2 * KEPT_DENIED - 1
    feed.decided(record())
    assert numbers(feed.latest(feed.sequence))[-1] == feed.sequence


@pytest.mark.parametrize("later", [WINDOW_S, 10.0, -3600.0])
def test_feed_has_room_again_later_even_if_the_clock_goes_back(later: float) -> None:
    now = [1e9]
    feed = Feed(clock=lambda: now[0])
    for _ in range(KEPT + 5):
        feed.decided(record())
    now[0] += later
    feed.decided(record())

    assert numbers(feed.latest(feed.sequence))[-2:] == [KEPT, KEPT + 6]


def test_an_enormous_request_is_not_kept_as_it_is() -> None:
    feed = Feed()
    feed.decided(record(path="/" + "a" * MAX_REQUEST))

    assert len(feed.latest(1)[0][2].request.path) <= PATH_LIMIT


async def test_a_waiter_is_woken_by_the_next_decision() -> None:
    feed, woken = filled(False), list[int]()

    async def wait() -> None:
        await feed.beyond(1)
        woken.append(feed.sequence)

    await feed.beyond(0)  # what is there already
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert woken == []
        feed.decided(record())
    assert woken == [2, 2]


def test_header_fields_are_not_kept() -> None:
    feed = filled(False)

    feed.decided(attrs.evolve(record(), request=HttpRequest("GET", "h", "/", fields=HeaderFields((("cookie", "secret"),)))))

    kept = feed.latest(2)[-1][2].request
    assert kept == HttpRequest("GET", "h", "/")
    assert kept.fields is NO_FIELDS


@pytest.mark.parametrize("outcome", [UNMATCHED, DENIED])
def test_texts_of_a_request_are_measured_and_not_read(outcome: object) -> None:
    class Measured:
        """Answers for every text of a request, and for what holds such texts."""

        fields = NO_FIELDS

        def __getattr__(self, name: str) -> "Measured":
            return self

        def __len__(self) -> int:
            return 1

        def reveal(self) -> "Measured":
            return self

    class Opaque:
        request = Measured()

        def __init__(self) -> None:
            self.outcome = outcome

    feed = Feed()
    feed.decided(Opaque())  # type: ignore[arg-type]
    assert feed.sequence == 1
