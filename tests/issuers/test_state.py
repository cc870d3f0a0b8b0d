from exchanger.issuers.secrets import SecretName
from exchanger.issuers.state import State
from tests.issuers.fakes import FORBIDDEN, MISSING, OAUTH, data, good_plan, inline, pairs, profiles, referring

OTHER = SecretName("home", "other")
ONE = good_plan(profiles(referring("one")))
BOTH = good_plan(profiles(referring("one"), referring("two", "other")))


def in_force(state: State) -> dict[str, tuple[str, str]]:
    return {} if state.current is None else pairs(state.current.issuers)


def running() -> State:
    return State().with_file(ONE, 0.0).with_secret(OAUTH, data(1), 0.0)


def test_a_version_waits_for_its_secrets() -> None:
    waiting = State().with_file(BOTH, 0.0)
    assert waiting.current is None
    assert waiting.plans == (BOTH,)
    assert waiting.secrets == {OAUTH, OTHER}
    assert len(waiting.troubles) == 0
    half = waiting.with_secret(OAUTH, data(1), 0.0).with_secret(OTHER, MISSING, 0.0)
    assert half.current is None
    assert len(half.troubles) == 2
    whole = half.with_secret(OTHER, data(2), 0.0)
    assert in_force(whole) == {"one": ("id-1", "canary-1"), "two": ("id-2", "canary-2")}
    assert (whole.pending, whole.plan, len(whole.troubles)) == (None, BOTH, 0)


def test_without_secrets_it_counts_at_once() -> None:
    assert in_force(State().with_file(good_plan(profiles(inline())), 0.0)) == {"primary": ("id", "canary-inline")}


def test_an_empty_version_counts() -> None:
    state = running().with_file(good_plan(profiles()), 0.0)
    assert in_force(state) == {}
    assert state.secrets == frozenset()
    assert (len(state.latest), len(state.kept)) == (0, 0)


def test_what_cannot_be_used_takes_nothing_away() -> None:
    for found in (MISSING, FORBIDDEN, data(2, ("id",)), data(2, ("id",), ("secret",))):
        state = running().with_secret(OAUTH, found, 1.0)
        assert in_force(state) == {"one": ("id-1", "canary-1")}
        assert len(state.troubles) > 0
        assert len(state.with_secret(OAUTH, data(1), 2.0).troubles) == 0
        assert in_force(state.with_secret(OAUTH, data(3), 2.0)) == {"one": ("id-3", "canary-3")}


def test_others_go_on_beside_one_that_cannot_be_used() -> None:
    state = State().with_file(BOTH, 0.0).with_secret(OAUTH, data(1), 0.0).with_secret(OTHER, data(1), 0.0)
    state = state.with_secret(OAUTH, data(2, ("id",)), 1.0).with_secret(OTHER, data(2), 1.0)
    assert in_force(state) == {"one": ("id-1", "canary-1"), "two": ("id-2", "canary-2")}


def test_while_a_version_waits_the_one_before_goes_on() -> None:
    state = running().with_file(BOTH, 1.0)
    assert (state.plan, state.pending) == (ONE, BOTH)
    state = state.with_secret(OAUTH, data(2), 2.0)
    assert in_force(state) == {"one": ("id-2", "canary-2")}
    state = state.with_file(ONE, 3.0)
    assert (state.plan, state.pending) == (ONE, None)
    assert state.secrets == {OAUTH}


def test_a_new_version_counts_with_what_was_kept() -> None:
    state = running().with_secret(OAUTH, MISSING, 1.0).with_file(good_plan(profiles(referring("one"), referring("three"))), 2.0)
    assert in_force(state) == {"one": ("id-1", "canary-1"), "three": ("id-1", "canary-1")}
    assert len(state.troubles) == 4


def test_a_new_version_that_needs_what_was_lost_waits() -> None:
    needs_more = good_plan(profiles(referring("one").replace("key: id", "key: other")))
    state = running().with_secret(OAUTH, data(2, ("id",)), 1.0).with_file(needs_more, 2.0)
    assert state.pending is needs_more
    assert in_force(state) == {"one": ("id-1", "canary-1")}
    assert sorted(reason for reason in state.troubles.values()) == ["there is no such key"] * 2


def test_what_is_not_needed_is_not_learned() -> None:
    state = running()
    assert state.with_secret(OTHER, data(1), 1.0) is state


def test_what_is_not_needed_any_more_is_forgotten() -> None:
    state = State().with_file(BOTH, 0.0).with_secret(OAUTH, data(1), 0.0).with_secret(OTHER, data(1), 0.0).with_file(ONE, 1.0)
    assert state.secrets == {OAUTH}
    assert set(state.latest) == set(state.kept) == {OAUTH}


def test_retired_credentials_go() -> None:
    assert State().without_retired(0.0) == State()
    rotated = running().with_secret(OAUTH, data(2), 0.0)
    assert rotated.without_retired(599.0) is rotated
    current = rotated.without_retired(600.0).current
    assert current is not None
    assert current.issuers["one"].previous is None


def test_nothing_shows_a_secret() -> None:
    assert "canary" not in repr(running().with_secret(OAUTH, data(2), 0.0))
