import pytest

from exchanger.assembly.backlog import CHANGE_WORK, LIGHT_WORK, WITHDRAWN_SLICE, Backlog, Lane, Pending
from exchanger.policy.selection import Text, UnknownText
from exchanger.values.entry import Source

SMALL, LARGE = Text("x"), Text("x" * LIGHT_WORK)


@pytest.fixture
def backlog() -> Backlog:
    return Backlog(lambda _source: 0)


def source(place: str) -> Source:
    return Source(*place.split("/"))


def put(backlog: Backlog, *places: str, document: Text | UnknownText | None = SMALL, reread: bool = False) -> None:
    for place in places:
        backlog.put(source(place), document, reread=reread)


def take(backlog: Backlog, lane: Lane = Lane.LIGHT) -> list[str]:
    return [str(pending.source) for pending in backlog.take(lane)]


def done(backlog: Backlog, *places: str) -> None:
    backlog.done([source(place) for place in places])


def test_a_heavy_document_is_in_nobodys_way(backlog: Backlog) -> None:
    put(backlog, "a/p", "a/q", document=LARGE)
    put(backlog, "a/r", "b/p", document=UnknownText("why"))
    assert take(backlog) == ["a/r", "b/p"]
    assert take(backlog, Lane.HEAVY) == ["a/p"]
    assert take(backlog, Lane.HEAVY) == ["a/q"]
    assert len(backlog) == 4


def test_what_replaces_a_heavy_document_is_heavy() -> None:
    backlog = Backlog(lambda _source: LIGHT_WORK)
    put(backlog, "a/p")
    assert take(backlog) == []
    assert take(backlog, Lane.HEAVY) == ["a/p"]


def test_a_batch_is_bounded(backlog: Backlog) -> None:
    for number in range(10):
        put(backlog, f"a/p{number}", document=Text("x" * (LIGHT_WORK // 4)))
    assert [len(take(backlog)) for _ in range(5)] == [3, 3, 3, 1, 0]


def text(size: int) -> Text:
    """Return a document of so many characters of work."""
    return Text("x" * (size - CHANGE_WORK))


def test_a_cheap_document_overtakes_large_ones_that_wait_already(backlog: Backlog) -> None:
    put(backlog, "a/p", "b/p", "c/p", document=text(10 * LIGHT_WORK))
    assert take(backlog, Lane.HEAVY) == ["a/p"]
    put(backlog, "d/p", document=text(2 * LIGHT_WORK))
    assert take(backlog, Lane.HEAVY) == ["d/p"]


@pytest.mark.parametrize("in_between", [["z/p"], []])
def test_a_namespace_that_comes_later_has_saved_nothing_up(backlog: Backlog, in_between: list[str]) -> None:
    put(backlog, "z/p", document=text(1000 * LIGHT_WORK))
    put(backlog, *(f"a/p{number}" for number in range(10)), document=text(10 * LIGHT_WORK))
    assert all(take(backlog, Lane.HEAVY)[0].startswith("a/") for _ in range(10))
    put(backlog, "y/p", document=text(1000 * LIGHT_WORK))
    assert [source for _ in in_between for source in take(backlog, Lane.HEAVY)] == in_between
    put(backlog, *(f"b/p{number}" for number in range(10)), document=text(10 * LIGHT_WORK))
    put(backlog, "a/p", document=text(2 * LIGHT_WORK))
    assert [take(backlog, Lane.HEAVY)[0] for _ in range(2)] == ["b/p0", "a/p"]


def test_once_nothing_waits_nobody_owes_anything(backlog: Backlog) -> None:
    put(backlog, "a/p", document=text(LIGHT_WORK))
    assert (take(backlog), take(backlog)) == (["a/p"], [])
    put(backlog, "a/q", "b/p", document=text(LIGHT_WORK))
    assert take(backlog) == ["a/q"]


def test_an_edit_keeps_the_place_of_what_it_replaces(backlog: Backlog) -> None:
    put(backlog, "a/p", "b/p", document=text(LIGHT_WORK))
    put(backlog, "a/p", document=text(LIGHT_WORK - 1))
    assert take(backlog) == ["a/p"]


def test_what_is_overtaken_is_forgotten(backlog: Backlog) -> None:
    put(backlog, "a/first", document=Text(""))
    put(backlog, *["a/p"] * 5000)
    assert sum(len(queue._turns) for queue in backlog._queues.values()) < 1100
    assert take(backlog) == ["a/first", "a/p"]


def test_what_is_only_read_again_comes_after_what_is_new(backlog: Backlog) -> None:
    put(backlog, "a/p", reread=True)
    put(backlog, "a/q", document=Text("longer"))
    put(backlog, "a/q", reread=True)
    assert backlog.take(Lane.LIGHT)[0] == Pending(Source("a", "q"), Text("longer"), work=70)


def test_the_newest_document_of_a_source_counts(backlog: Backlog) -> None:
    put(backlog, "a/p", document=LARGE)
    put(backlog, "a/p")
    assert take(backlog, Lane.HEAVY) == []
    assert take(backlog) == ["a/p"]
    put(backlog, "a/p")
    assert take(backlog) == []
    assert len(backlog) == 1
    done(backlog, "a/p")
    assert take(backlog) == ["a/p"]
    done(backlog, "a/p")
    assert len(backlog) == 0


def test_a_withdrawal_waits_for_the_documents_that_its_own_namespace_put_before_and_for_nothing_else(backlog: Backlog) -> None:
    put(backlog, "a/new", document=LARGE)
    put(backlog, "a/old", "b/old", document=None)
    put(backlog, "a/newer", document=LARGE)
    assert take(backlog) == ["b/old"]
    assert take(backlog, Lane.HEAVY) == ["a/new"]
    assert take(backlog) == []
    done(backlog, "a/new")
    assert take(backlog) == ["a/old"]


def test_a_withdrawal_that_is_overtaken_is_none(backlog: Backlog) -> None:
    put(backlog, "a/new", document=LARGE)
    put(backlog, "a/old", document=None)
    put(backlog, "a/old")
    put(backlog, "a/new", document=None)
    assert take(backlog) == ["a/old"]
    done(backlog, "a/old")
    assert take(backlog) == ["a/new"]
    done(backlog, "a/new")
    assert (take(backlog), take(backlog, Lane.HEAVY), len(backlog)) == ([], [], 0)


def test_a_namespace_that_goes_takes_what_waits_along(backlog: Backlog) -> None:
    put(backlog, "a/p", "a/q", document=LARGE)
    put(backlog, "a/p", "a/q", document=None)
    assert sorted(take(backlog)) == ["a/p", "a/q"]


def test_a_withdrawal_waits_for_no_document_that_goes_itself(backlog: Backlog) -> None:
    put(backlog, "a/p", document=LARGE)
    assert take(backlog, Lane.HEAVY) == ["a/p"]
    put(backlog, "a/p", "a/q", document=None)
    early, other = backlog.take(Lane.LIGHT)
    assert (str(early.source), early.early, str(other.source), other.early) == ("a/p", True, "a/q", False)
    assert backlog.is_withdrawn(source("a/p"))
    assert not backlog.is_withdrawn(source("a/q"))
    done(backlog, "a/q")
    assert (take(backlog), len(backlog)) == ([], 1)
    assert backlog.is_read
    done(backlog, "a/p")
    assert not backlog.is_withdrawn(source("a/p"))
    assert (take(backlog), len(backlog)) == ([], 0)


def test_a_withdrawal_waits_for_every_older_document_whatever_is_newer(backlog: Backlog) -> None:
    put(backlog, "a/p", document=LARGE)
    assert take(backlog, Lane.HEAVY) == ["a/p"]
    put(backlog, "a/q", document=LARGE)
    put(backlog, "a/old", document=None)
    put(backlog, "a/p", document=LARGE)
    done(backlog, "a/p")
    assert (take(backlog), take(backlog, Lane.HEAVY)) == ([], ["a/q"])
    done(backlog, "a/q")
    assert take(backlog) == ["a/old"]


def test_withdrawals_are_taken_in_slices_and_the_rest_of_a_namespace_on_demand(backlog: Backlog) -> None:
    for namespace in "ab":
        put(backlog, *(f"{namespace}/p{number}" for number in range(2 * WITHDRAWN_SLICE)), document=None)
    put(backlog, "a/p200", document=None)  # again
    put(backlog, "a/p150", "b/p150")  # they are to stay
    assert take(backlog) == [f"a/p{number}" for number in range(WITHDRAWN_SLICE)]
    rest = [pending.source for pending in backlog.take_withdrawals("a", 3 * WITHDRAWN_SLICE)]
    assert {source("a/p150"), *rest} == {Source("a", f"p{number}") for number in range(WITHDRAWN_SLICE, 2 * WITHDRAWN_SLICE)}
    assert backlog.take_withdrawals("a", WITHDRAWN_SLICE) == ()
    assert take(backlog) == [f"b/p{number}" for number in range(WITHDRAWN_SLICE)]
    assert len(backlog.take_withdrawals("b", 3 * WITHDRAWN_SLICE)) == WITHDRAWN_SLICE - 1
    assert take(backlog) == ["a/p150", "b/p150"]
