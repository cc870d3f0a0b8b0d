import pytest

from exchanger.assembly.backlog import BUDGET_S, LIGHT_WORK, REFILL, WITHDRAWN_SLICE, Backlog, Lane, Pending
from exchanger.policy.selection import Text, UnknownDocument
from exchanger.values.entry import Source

SMALL, LARGE = Text("x"), Text("x" * LIGHT_WORK)


@pytest.fixture
def backlog() -> Backlog:
    return Backlog(lambda _source: 0)


def source(place: str) -> Source:
    return Source(*place.split("/"))


def put(backlog: Backlog, *places: str, document: Text | UnknownDocument | None = SMALL, again: bool = False) -> None:
    for place in places:
        backlog.put(source(place), document, 0.0, again=again)


def take(backlog: Backlog, lane: Lane = Lane.LIGHT, now: float = 0.0) -> list[str]:
    return [str(pending.source) for pending in backlog.take(lane, now)]


def done(backlog: Backlog, *places: str, seconds: float = 0.0, now: float = 0.0) -> None:
    sources = [source(place) for place in places]
    backlog.done(sources, {source.namespace: seconds for source in sources}, now)


def test_the_cheaper_comes_first(backlog: Backlog) -> None:
    for size in (30, 10, 20):
        backlog.put(Source("a", f"p{size}"), Text("x" * size), 0.0)
    assert take(backlog) == ["a/p10", "a/p20", "a/p30"]
    assert take(backlog) == []


def test_a_heavy_document_is_in_nobodys_way(backlog: Backlog) -> None:
    put(backlog, "a/p", "a/q", document=LARGE)
    put(backlog, "a/r", "b/p", document=UnknownDocument("why"))
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
        backlog.put(Source("a", f"p{number}"), Text("x" * (LIGHT_WORK // 4)), 0.0)
    assert [len(take(backlog)) for _ in range(5)] == [3, 3, 3, 1, 0]


def test_who_has_used_a_budget_waits_behind_who_has_not(backlog: Backlog) -> None:
    put(backlog, "a/p", document=LARGE)
    assert take(backlog, Lane.HEAVY) == ["a/p"]
    done(backlog, "a/p", seconds=BUDGET_S)
    put(backlog, "a/q", "a/r", document=LARGE)
    backlog.put(Source("b", "p"), Text("x" * 2 * LIGHT_WORK), 0.0)
    assert take(backlog, Lane.HEAVY) == ["b/p"]
    assert take(backlog, Lane.HEAVY) == ["a/q"]


def test_a_budget_counts_for_what_waits_already(backlog: Backlog) -> None:
    put(backlog, "a/p", "a/q", document=LARGE)
    backlog.put(Source("b", "p"), Text("x" * 2 * LIGHT_WORK), 0.0)
    assert take(backlog, Lane.HEAVY) == ["a/p"]
    done(backlog, "a/p", seconds=BUDGET_S)
    assert take(backlog, Lane.HEAVY) == ["b/p"]


def test_budgets_fill_up_again(backlog: Backlog) -> None:
    done(backlog, "a/p", seconds=BUDGET_S)
    later = BUDGET_S / REFILL
    assert backlog.used("a", later / 2) == pytest.approx(BUDGET_S / 2)
    assert backlog.used("a", 2 * later) == 0.0
    assert backlog.used("b", 0.0) == 0.0


def test_what_is_only_read_again_comes_after_what_is_new(backlog: Backlog) -> None:
    put(backlog, "a/p", again=True)
    backlog.put(Source("a", "q"), Text("longer"), 0.0)
    put(backlog, "a/q", again=True)
    assert backlog.take(Lane.LIGHT, 0.0)[0] == Pending(Source("a", "q"), Text("longer"), work=70)


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
    done(backlog, "a/x", seconds=100 * BUDGET_S)
    put(backlog, "a/p", "a/q", document=LARGE)
    put(backlog, "a/p", "a/q", document=None)
    assert sorted(take(backlog)) == ["a/p", "a/q"]


def test_what_is_overtaken_is_forgotten(backlog: Backlog) -> None:
    put(backlog, "a/first", document=Text(""))
    for number in range(5000):
        backlog.put(Source("a", "p"), SMALL, 0.0)
        backlog.done([], {f"n{number}": 0.001}, float(number))
    assert sum(map(len, backlog._turns.values())) < 1100
    assert len(backlog._budgets) < 1100
    assert take(backlog) == ["a/first", "a/p"]


def test_a_withdrawal_waits_for_no_document_that_goes_itself(backlog: Backlog) -> None:
    put(backlog, "a/p", document=LARGE)
    assert take(backlog, Lane.HEAVY) == ["a/p"]
    put(backlog, "a/p", "a/q", document=None)
    early, other = backlog.take(Lane.LIGHT, 0.0)
    assert (str(early.source), early.early, str(other.source), other.early) == ("a/p", True, "a/q", False)
    assert backlog.is_withdrawn(source("a/p"))
    assert not backlog.is_withdrawn(source("a/q"))
    done(backlog, "a/q")
    assert (take(backlog), len(backlog)) == ([], 1)
    done(backlog, "a/p")
    assert not backlog.is_withdrawn(source("a/p"))
    assert take(backlog) == ["a/p"]
    done(backlog, "a/p")
    assert len(backlog) == 0


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
