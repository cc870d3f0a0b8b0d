"""The limit on calls in flight against a plain model, and its fairness."""

from collections import Counter
from typing import final

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.oauth.in_flight import MIN_QUEUE, QUEUE_ROUNDS, Entered, InFlight

NAMESPACES = ("red", "blue", "green")


@final
@attrs.define(eq=False)
class Model:
    """Lists in place of the queue."""

    limit: int
    busy: int = 0
    turns: list[str] = attrs.field(factory=list)
    lines: dict[str, list[int]] = attrs.field(factory=lambda: {name: [] for name in NAMESPACES})

    @property
    def queued(self) -> int:
        return sum(map(len, self.lines.values()))

    def enter(self, namespace: str, item: int) -> Entered:
        if self.busy < self.limit:
            self.busy += 1
            return Entered.ADMITTED
        if len(self.lines[namespace]) >= max(QUEUE_ROUNDS * self.limit, MIN_QUEUE) - self.queued:
            return Entered.FULL
        if not self.lines[namespace]:
            self.turns.append(namespace)
        self.lines[namespace].append(item)
        return Entered.QUEUED

    def next(self) -> int | None:
        if not self.turns or self.busy >= self.limit:
            return None
        namespace = self.turns.pop(0)
        item = self.lines[namespace].pop(0)
        if self.lines[namespace]:
            self.turns.append(namespace)
        self.busy += 1
        return item

    def withdraw(self, namespace: str, item: int) -> bool:
        if item not in self.lines[namespace]:
            return False
        self.lines[namespace].remove(item)
        if not self.lines[namespace]:
            self.turns.remove(namespace)
        return True


@given(
    st.integers(1, 4),
    st.lists(
        st.tuples(
            st.sampled_from(["enter", "enter", "enter", "leave", "withdraw", "resize"]), st.sampled_from(NAMESPACES), st.integers(0, 40)
        ),
        max_size=200,
    ),
)
def test_it_does_what_the_model_does(limit: int, steps: list[tuple[str, str, int]]) -> None:
    """Nothing is lost or served twice, and no more than the limit is under way."""
    calls, model = InFlight[int](limit), Model(limit)
    asked: dict[int, str] = {}
    became: Counter[int] = Counter()
    for item, (what, namespace, number) in enumerate(steps):
        served: list[int | None] = []
        if what == "enter":
            asked[item] = namespace
            found = calls.enter(namespace, item)
            assert found is model.enter(namespace, item)
            became[item] += found is not Entered.QUEUED
        elif what == "leave" and model.busy:
            model.busy -= 1
            served = [calls.leave()]
            assert served == [model.next()]
        elif what == "withdraw":
            gone = number in asked and calls.withdraw(asked[number], number)
            assert gone == (number in asked and model.withdraw(asked[number], number))
            became[number] += gone
        elif what == "resize":
            model.limit = 1 + number % 5
            served = list(calls.resize(model.limit))
            assert served == list(iter(model.next, None))
        became.update(one for one in served if one is not None)
        assert (calls.in_flight, calls.queued) == (model.busy, model.queued)
        assert not calls.queued or calls.in_flight >= calls.limit
    while calls.in_flight:
        rest = calls.leave()
        became.update([] if rest is None else [rest])
    assert calls.queued == 0
    assert all(became[item] == 1 for item in asked)


@given(st.integers(1, 5), st.lists(st.tuples(st.booleans(), st.sampled_from(NAMESPACES)), max_size=200))
def test_never_more_than_the_limit(limit: int, steps: list[tuple[bool, str]]) -> None:
    calls = InFlight[int](limit)
    for item, (enters, namespace) in enumerate(steps):
        if enters:
            calls.enter(namespace, item)
        elif calls.in_flight:
            calls.leave()
        assert 0 <= calls.in_flight <= limit
        assert 0 <= calls.queued <= calls.queue_limit


def test_namespaces_take_turns_and_each_is_served_in_order() -> None:
    calls = InFlight[str](1)
    assert calls.enter("red", "r0") is Entered.ADMITTED
    for item in ("r1", "r2", "r3", "b1", "g1", "b2"):
        assert calls.enter(item[0], item) is Entered.QUEUED
    assert [calls.leave() for _ in range(7)] == ["r1", "b1", "g1", "r2", "b2", "r3", None]
    assert calls.in_flight == 0


@given(st.integers(1, 8), st.integers(1, 6), st.integers(0, 50))
def test_a_newcomer_waits_for_one_round_at_most_whatever_others_do(limit: int, greedy: int, extra: int) -> None:
    """However many namespaces fill the queue, and go on asking, the next one has a place in it and its turn comes."""
    calls = InFlight[tuple[str, int]](limit)
    names = [f"greedy-{number}" for number in range(greedy)]
    for item in range(limit + 2 * calls.queue_limit + extra):
        for name in names:
            calls.enter(name, (name, item))
    assert calls.queued < calls.queue_limit
    assert calls.enter("quiet", ("quiet", 0)) is Entered.QUEUED
    for turn in range(greedy + 1):
        if calls.leave() == ("quiet", 0):
            break
        for name in names:
            calls.enter(name, (name, 10_000 + turn))
    else:
        pytest.fail("the newcomer waits for longer than a round")


@pytest.mark.parametrize(("limit", "alone"), [(1, MIN_QUEUE // 2), (2, 8), (64, 256)])
def test_one_namespace_gets_half_of_the_queue(limit: int, alone: int) -> None:
    calls = InFlight[int](limit)
    entered = Counter(calls.enter("red", item) for item in range(limit + 2000))
    assert entered == {Entered.ADMITTED: limit, Entered.QUEUED: alone, Entered.FULL: 2000 - alone}


def test_what_is_withdrawn_has_no_turn() -> None:
    calls = InFlight[str](1)
    calls.enter("red", "under way")
    for item in ("r1", "r2", "b1"):
        calls.enter(item[0], item)
    assert calls.withdraw("r", "r1")
    assert not calls.withdraw("r", "r1")
    assert not calls.withdraw("red", "under way")
    assert calls.withdraw("b", "b1")
    assert [calls.leave(), calls.leave()] == ["r2", None]


def test_a_higher_limit_serves_what_waits_and_a_lower_one_waits() -> None:
    calls = InFlight[int](2)
    for item in range(8):
        calls.enter("red", item)
    assert calls.resize(5) == (2, 3, 4)
    assert calls.resize(1) == ()
    assert calls.in_flight == 5
    assert [calls.leave() for _ in range(7)] == [None, None, None, None, 5, 6, 7]
