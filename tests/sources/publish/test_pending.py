import pytest

from exchanger.model.entry import Source
from exchanger.policy.selection import Text, UnknownText
from exchanger.sources.publish.pending import CHANGE_WORK, LIGHT_WORK, Lane, Pending

SMALL, LARGE = Text("x"), Text("x" * LIGHT_WORK)


@pytest.fixture
def pending() -> Pending:
    return Pending()


def source(place: str) -> Source:
    return Source(*place.split("/"))


def put(pending: Pending, *places: str, text: Text | UnknownText | None = SMALL, again: bool = False) -> None:
    for place in places:
        pending.put(source(place), text, again=again)


def take(pending: Pending, lane: Lane = Lane.LIGHT) -> list[str]:
    return [str(one) for one in pending.take(lane)]


def removed(pending: Pending) -> list[str]:
    return [str(one) for one in pending.take_removals()]


def done(pending: Pending, *places: str) -> list[str]:
    return [str(one) for one in pending.done([source(place) for place in places])]


def text(work: int) -> Text:
    """Return a text that costs so many characters."""
    return Text("x" * (work - CHANGE_WORK))


def test_light_texts_do_not_wait_for_a_heavy_one(pending: Pending) -> None:
    put(pending, "a/p", "a/q", text=LARGE)
    put(pending, "a/r", "b/p", text=UnknownText("why"))
    assert take(pending) == ["a/r", "b/p"]
    assert take(pending, Lane.HEAVY) == ["a/p"]
    assert take(pending, Lane.HEAVY) == ["a/q"]
    assert len(pending) == 4


def test_light_texts_that_are_read_together_are_bounded(pending: Pending) -> None:
    for number in range(10):
        put(pending, f"a/p{number}", text=Text("x" * (LIGHT_WORK // 4)))
    assert [len(take(pending)) for _ in range(5)] == [3, 3, 3, 1, 0]


def test_a_cheap_text_overtakes_large_ones_that_wait_already(pending: Pending) -> None:
    put(pending, "a/p", "b/p", "c/p", text=text(10 * LIGHT_WORK))
    assert take(pending, Lane.HEAVY) == ["a/p"]
    put(pending, "d/p", text=text(2 * LIGHT_WORK))
    assert take(pending, Lane.HEAVY) == ["d/p"]


@pytest.mark.parametrize("in_between", [["z/p"], []])
def test_a_namespace_that_comes_later_has_saved_up_no_turns(pending: Pending, in_between: list[str]) -> None:
    put(pending, "z/p", text=text(1000 * LIGHT_WORK))
    put(pending, *(f"a/p{number}" for number in range(10)), text=text(10 * LIGHT_WORK))
    assert all(take(pending, Lane.HEAVY)[0].startswith("a/") for _ in range(10))
    put(pending, "y/p", text=text(1000 * LIGHT_WORK))
    assert [one for _ in in_between for one in take(pending, Lane.HEAVY)] == in_between
    put(pending, *(f"b/p{number}" for number in range(10)), text=text(10 * LIGHT_WORK))
    put(pending, "a/p", text=text(2 * LIGHT_WORK))
    assert [take(pending, Lane.HEAVY)[0] for _ in range(2)] == ["b/p0", "a/p"]


def test_once_nothing_waits_every_namespace_starts_anew(pending: Pending) -> None:
    put(pending, "a/p", text=text(LIGHT_WORK))
    assert (take(pending), take(pending)) == (["a/p"], [])
    put(pending, "a/q", "b/p", text=text(LIGHT_WORK))
    assert take(pending) == ["a/q"]


def test_an_edit_keeps_the_turn_of_the_text_it_replaces(pending: Pending) -> None:
    put(pending, "a/p", "b/p", text=text(LIGHT_WORK))
    put(pending, "a/p", text=text(LIGHT_WORK - 1))
    assert take(pending) == ["a/p"]


def test_turns_of_replaced_texts_do_not_pile_up(pending: Pending) -> None:
    put(pending, "a/first", text=Text(""))
    put(pending, *["a/p"] * 5000)
    light = pending.queues[Lane.LIGHT]
    turns = light.turns
    assert len(turns) < 1100
    assert take(pending) == ["a/first", "a/p"]
    put(pending, *(f"b/p{number}" for number in range(2000)))
    assert light.turns is turns, "turns that count are not sorted again at each text"


def test_new_texts_do_not_wait_for_those_that_are_read_again(pending: Pending) -> None:
    put(pending, *(f"a/p{number}" for number in range(10)), text=text(LIGHT_WORK), again=True)
    assert take(pending) == ["a/p0"]
    put(pending, "a/q", text=text(LIGHT_WORK // 2))
    put(pending, "a/q", again=True)  # it waits already
    assert pending.take(Lane.LIGHT) == {source("a/q"): text(LIGHT_WORK // 2)}


def test_the_newest_text_of_a_source_is_read(pending: Pending) -> None:
    put(pending, "a/p", text=LARGE)
    put(pending, "a/p")
    assert take(pending, Lane.HEAVY) == []
    assert take(pending) == ["a/p"]
    put(pending, "a/p")
    assert take(pending) == []
    assert len(pending) == 2
    assert done(pending, "a/p") == ["a/p"]
    assert take(pending) == ["a/p"]
    assert done(pending, "a/p") == ["a/p"]
    assert len(pending) == 0


def test_a_removal_waits_for_earlier_texts_of_its_own_namespace_alone(pending: Pending) -> None:
    put(pending, "a/new", text=LARGE)
    put(pending, "a/old", "b/old", text=None)
    put(pending, "a/newer", text=LARGE)
    assert removed(pending) == ["b/old"]
    assert list(pending.take_blocked()) == [source("a/old")]
    assert list(pending.take_blocked()) == []
    assert take(pending, Lane.HEAVY) == ["a/new"]
    assert removed(pending) == []
    done(pending, "a/new")
    assert removed(pending) == ["a/old"]


def test_a_removal_waits_for_no_text_that_is_only_read_again(pending: Pending) -> None:
    put(pending, "a/p", "a/q", text=LARGE, again=True)
    assert take(pending, Lane.HEAVY) == ["a/p"]
    put(pending, "a/old", text=None)
    assert removed(pending) == ["a/old"]
    put(pending, "a/q", text=SMALL)  # from now on it is new
    put(pending, "a/older", text=None)
    assert removed(pending) == []


@pytest.mark.parametrize(("was_again", "order"), [(True, ["a/new", "a/old", "a/p"]), (False, ["a/old", "a/new", "a/p"])])
def test_an_edit_changes_nothing_of_what_a_removal_waits_for(pending: Pending, was_again: bool, order: list[str]) -> None:
    """A removal waits for a new text, or for the earlier one that was edited."""
    put(pending, "a/p", text=LARGE, again=was_again)
    for place in order:
        put(pending, place, text=None if place == "a/old" else LARGE)
    assert removed(pending) == []


def test_a_text_that_comes_after_a_removal_replaces_it(pending: Pending) -> None:
    put(pending, "a/new", text=LARGE)
    put(pending, "a/old", text=None)
    put(pending, "a/old")
    put(pending, "a/new", text=None)
    assert (removed(pending), take(pending)) == ([], ["a/old"])
    done(pending, "a/old")
    assert (removed(pending), take(pending), len(pending)) == (["a/new"], [], 0)


def test_a_namespace_that_goes_takes_the_texts_that_wait_along(pending: Pending) -> None:
    put(pending, "a/p", "a/q", text=LARGE)
    put(pending, "a/p", "a/q", text=None)
    assert removed(pending) == ["a/p", "a/q"]
    assert (take(pending, Lane.HEAVY), len(pending)) == ([], 0)


def test_a_removal_waits_for_no_text_that_is_removed_itself(pending: Pending) -> None:
    put(pending, "a/p", text=LARGE)
    assert take(pending, Lane.HEAVY) == ["a/p"]
    put(pending, "a/p", "a/q", text=None)
    assert not pending.is_read
    assert removed(pending) == ["a/p", "a/q"]
    assert (len(pending), pending.is_read) == (1, True)
    assert done(pending, "a/p") == []
    assert len(pending) == 0


def test_a_removal_waits_for_an_earlier_text_that_has_been_edited_since(pending: Pending) -> None:
    put(pending, "a/p", text=LARGE)
    put(pending, "a/old", text=None)
    put(pending, "a/p", text=LARGE)
    assert removed(pending) == []
    assert take(pending, Lane.HEAVY) == ["a/p"]
    put(pending, "a/p", text=LARGE)  # edits without end do not keep it
    done(pending, "a/p")
    assert removed(pending) == ["a/old"]


def test_many_removals_of_a_namespace_are_taken_together(pending: Pending) -> None:
    for namespace in "ab":
        put(pending, *(f"{namespace}/p{number}" for number in range(1000)), text=None)
    put(pending, "a/p500", "b/p500")
    assert len(removed(pending)) == 2 * 999
    assert take(pending) == ["a/p500", "b/p500"]


@pytest.mark.parametrize("later", [LARGE, None])
def test_a_removal_that_is_replaced_counts_until_its_document_is_newer(pending: Pending, later: Text | None) -> None:
    put(pending, "a/q")
    done(pending, *take(pending))
    put(pending, "a/p", text=LARGE)
    put(pending, "a/q", text=None)
    removal = pending.count
    put(pending, "a/r", text=LARGE)
    put(pending, "a/q", text=later)
    for place in ("a/p", "a/r"):
        assert not pending.is_read_until(removal, ())
        assert removed(pending) == []
        assert take(pending, Lane.HEAVY) == [place]
        done(pending, place)
    assert not pending.is_read_until(removal, ())
    assert removed(pending) == ["a/q"][: later is None]
    done(pending, *take(pending, Lane.HEAVY))
    assert pending.is_read_until(removal, ())
