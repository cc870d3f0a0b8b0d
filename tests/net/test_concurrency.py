"""The limit on calls in flight against a plain model, and its fairness."""

from collections import Counter
from typing import final

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.net.concurrency import MIN_QUEUE, QUEUE_ROUNDS, AdmissionResult, ConcurrencyLimit

NAMESPACES = ("red", "blue", "green")


@final
@attrs.define(eq=False)
class Model:
    """Lists in place of the queue. ``turns`` has the namespaces that wait, in the order in which they came to have their calls."""

    limit: int
    calls: Counter[str] = attrs.field(factory=Counter)
    turns: list[str] = attrs.field(factory=list)
    lines: dict[str, list[int]] = attrs.field(factory=lambda: {name: [] for name in NAMESPACES})

    @property
    def queued(self) -> int:
        return sum(map(len, self.lines.values()))

    def enter(self, namespace: str, item: int) -> AdmissionResult:
        if self.calls.total() < self.limit:
            self.calls[namespace] += 1
            return AdmissionResult.ADMITTED
        if len(self.lines[namespace]) >= max(QUEUE_ROUNDS * self.limit, MIN_QUEUE) - self.queued:
            return AdmissionResult.FULL
        if not self.lines[namespace]:
            self.turns.append(namespace)
        self.lines[namespace].append(item)
        return AdmissionResult.QUEUED

    def release(self, namespace: str) -> tuple[str, int] | None:
        self.calls[namespace] -= 1
        self.again(namespace)
        return self.next()

    def next(self) -> tuple[str, int] | None:
        if not self.turns or self.calls.total() >= self.limit:
            return None
        namespace = min(self.turns, key=lambda name: self.calls[name])
        item = self.lines[namespace].pop(0)
        self.calls[namespace] += 1
        self.again(namespace)
        return namespace, item

    def again(self, namespace: str) -> None:
        if namespace in self.turns:
            self.turns.remove(namespace)
            if self.lines[namespace]:
                self.turns.append(namespace)

    def cancel(self, namespace: str, item: int) -> bool:
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
            st.sampled_from(["enter", "enter", "enter", "leave", "cancel", "resize"]), st.sampled_from(NAMESPACES), st.integers(0, 40)
        ),
        max_size=200,
    ),
)
def test_it_does_what_the_model_does(limit: int, steps: list[tuple[str, str, int]]) -> None:
    """Nothing is lost or served twice, and no more than the limit is under way."""
    calls, model = ConcurrencyLimit[tuple[str, int]](limit), Model(limit)
    asked: dict[int, str] = {}
    became: Counter[int] = Counter()
    for number, (what, namespace, other) in enumerate(steps):
        served: list[tuple[str, int] | None] = []
        if what == "enter":
            asked[number] = namespace
            found = calls.enter(namespace, (namespace, number))
            assert found is model.enter(namespace, number)
            became[number] += found is not AdmissionResult.QUEUED
        elif what == "leave" and model.calls[namespace]:
            served = [calls.release(namespace)]
            assert served == [model.release(namespace)]
        elif what == "cancel":
            gone = other in asked and calls.cancel(asked[other], (asked[other], other))
            assert gone == (other in asked and model.cancel(asked[other], other))
            became[other] += gone
        elif what == "resize":
            model.limit = 1 + other % 5
            served = list(calls.resize(model.limit))
            assert served == list(iter(model.next, None))
        became.update(one[1] for one in served if one is not None)
        assert (calls.in_flight, calls.queued) == (model.calls.total(), model.queued)
        assert not calls.queued or calls.in_flight >= calls.limit
    while calls.in_flight:
        rest = calls.release(next(name for name in NAMESPACES if model.calls[name]))
        model.release(next(name for name in NAMESPACES if model.calls[name]))
        became.update([] if rest is None else [rest[1]])
    assert calls.queued == 0
    assert all(became[number] == 1 for number in asked)


@given(st.integers(1, 8), st.integers(1, 6), st.integers(0, 50))
def test_a_newcomer_has_the_next_place_whatever_others_do(limit: int, greedy: int, extra: int) -> None:
    """However many namespaces fill the queue, and go on asking, there is a place in it for the next one, and it is served first."""
    calls = ConcurrencyLimit[tuple[str, int]](limit)
    names = [f"greedy-{number}" for number in range(greedy)]
    items = [(name, item) for item in range(limit + 2 * calls.queue_limit + extra) for name in names]
    under_way = [name for name, item in items if calls.enter(name, (name, item)) is AdmissionResult.ADMITTED]
    assert calls.queued < calls.queue_limit
    assert calls.enter("quiet", ("quiet", 0)) is AdmissionResult.QUEUED
    waited = 0
    while (served := calls.release(under_way.pop(0))) != ("quiet", 0):
        assert served is not None
        under_way.append(served[0])
        waited += 1
        for name in names:
            calls.enter(name, (name, 10_000 + waited))
    assert waited < greedy + 1


@pytest.mark.parametrize(("limit", "alone"), [(1, MIN_QUEUE // 4), (2, 4), (64, 128)])
def test_a_party_with_a_third_part_gets_a_quarter_of_the_queue(limit: int, alone: int) -> None:
    calls = ConcurrencyLimit[int](limit)
    entered = Counter(calls.enter("anybody", item, 3) for item in range(limit + 2000))
    assert entered == {AdmissionResult.ADMITTED: limit, AdmissionResult.QUEUED: alone, AdmissionResult.FULL: 2000 - alone}
    others = Counter(calls.enter("known", item) for item in range(2000))
    assert others[AdmissionResult.QUEUED] == (calls.queue_limit - alone) // 2
