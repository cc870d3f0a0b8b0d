"""Ties are told to both sides, once, and again when they come back; so is their end."""

from exchanger.kube.ties import TieWatch
from exchanger.policy.conflicts import MAX_CONFLICTS, STEP, Conflict
from exchanger.policy.document import parse_document
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import Source
from tests.kube.cluster import deny

A, B, C = (Source("team", name) for name in "abc")


def with_policy(snapshot: PolicySnapshot, source: Source, text: str) -> PolicySnapshot:
    return snapshot.apply(parse_document(source, text, frozenset()))


def told(watch: TieWatch, snapshot: PolicySnapshot, *changed: Source) -> dict[Source, tuple[Conflict, ...]]:
    """Return what is new, and assert that nothing is told twice."""
    found = [news for news in watch.look(snapshot, set(changed)) if news is not None]
    by_source = {news.source: news.ties for news in found}
    assert len(by_source) == len(found)
    return by_source


def test_both_sides_of_a_new_tie_learn_of_it() -> None:
    watch = TieWatch()
    alone = with_policy(PolicySnapshot.EMPTY, A, deny("/x"))
    assert told(watch, alone, A) == {}
    both = with_policy(alone, B, deny("/x"))
    found = told(watch, both, B)
    assert set(found) == {A, B}
    assert str(found[A][0]) == "entries[0] has a host, method and pathPrefix in common with team/b entries[0]: such requests are refused"
    assert watch.statistics().documents == 2


def test_a_tie_is_told_again_only_when_it_was_over() -> None:
    watch = TieWatch()
    alone = with_policy(PolicySnapshot.EMPTY, A, deny("/x"))
    both = with_policy(alone, B, deny("/x"))
    told(watch, both, A, B)
    assert told(watch, both, A, B) == {}
    assert told(watch, alone, B) == {A: (), B: ()}
    assert watch.statistics().documents == 0
    assert not watch.knows(A)
    assert set(told(watch, both, B)) == {A, B}
    assert watch.knows(A)


def test_the_end_of_a_tie_is_told_once_and_only_where_it_was_the_last_one() -> None:
    watch = TieWatch()
    alone = with_policy(PolicySnapshot.EMPTY, A, deny("/x"))
    three = with_policy(with_policy(alone, B, deny("/x")), C, deny("/x"))
    told(watch, three, A, B, C)
    two = three.withdraw(C)
    found = told(watch, two, C)
    assert {source: len(ties) for source, ties in found.items()} == {A: 1, B: 1, C: 0}
    elsewhere = with_policy(two, B, deny("/y"))
    assert told(watch, elsewhere, B) == {A: (), B: ()}
    assert told(watch, elsewhere, A, B, C) == {}


def test_a_third_rival_is_news_for_all() -> None:
    watch = TieWatch()
    both = with_policy(with_policy(PolicySnapshot.EMPTY, A, deny("/x")), B, deny("/x"))
    told(watch, both, A, B)
    found = told(watch, with_policy(both, C, deny("/x")), C)
    assert set(found) == {A, B, C}


def test_work_comes_in_steps() -> None:
    entries = ", ".join(f"{{match: {{host: h, pathPrefix: /{number % 10}}}, action: deny}}" for number in range(5 * STEP))
    snapshot = with_policy(PolicySnapshot.EMPTY, A, f"version: v1\nentries: [{entries}]")
    (ties,) = told(TieWatch(), snapshot, A).values()
    assert len(ties) == MAX_CONFLICTS
    paths = ", ".join(f"{{match: {{host: h, pathPrefix: /{number}}}, action: deny}}" for number in range(5 * STEP))
    steps = list(TieWatch().look(with_policy(PolicySnapshot.EMPTY, A, f"version: v1\nentries: [{paths}]"), {A}))
    assert steps == [None] * 6
