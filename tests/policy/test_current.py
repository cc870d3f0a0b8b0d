from exchanger.policy.lookup import UnreadableReach
from exchanger.policy.snapshot import CurrentPolicy, PolicySnapshot
from tests.policy.examples import deny, snapshot_of


def test_there_is_no_policy_until_one_is_published() -> None:
    assert CurrentPolicy().snapshot is None


def test_the_newest_snapshot_is_in_force_and_callbacks_learn_of_it() -> None:
    current = CurrentPolicy()
    first: list[PolicySnapshot] = []
    second: list[PolicySnapshot] = []
    current.on_change(first.append)
    current.publish(PolicySnapshot.EMPTY)
    current.on_change(second.append)
    newest = snapshot_of(deny("/"))
    current.publish(newest)

    assert current.snapshot is newest
    assert first == [PolicySnapshot.EMPTY, newest]
    assert second == [newest]


def test_what_is_required_and_has_no_entry_is_not_gone_by() -> None:
    current = CurrentPolicy(required=True)
    told: list[PolicySnapshot] = []
    current.on_change(told.append)
    assert not current.is_missing

    versions = [(PolicySnapshot.EMPTY, False), (snapshot_of(deny("/")), True), (PolicySnapshot.EMPTY, False)]
    for step, (publish, decides) in enumerate(versions):
        current.publish(publish)
        assert (current.newest, current.is_missing) == (publish, not decides)
        assert current.snapshot is (publish if decides else None)
        assert len(told) == step + 1

    current.withdraw()
    assert (current.snapshot, current.newest) == (None, None)
    assert not current.is_missing


def test_what_is_published_gets_the_operators_reach() -> None:
    current = CurrentPolicy(reach=UnreadableReach.GLOBAL)
    seen: list[PolicySnapshot] = []
    current.on_change(seen.append)
    current.publish(PolicySnapshot.EMPTY)

    assert current.snapshot is not None
    assert current.snapshot.reach is UnreadableReach.GLOBAL
    assert seen == [current.snapshot]
    assert CurrentPolicy().reach is UnreadableReach.UNMATCHED
