import attrs
import pytest
from rpds import HashTrieMap

from exchanger.issuers.secrets import SecretData, SecretName, SecretProblem
from exchanger.issuers.state import ROTATION_GRACE_S, IssuerSet, State, resolve
from exchanger.values.issuer import AuthMethod, Credentials, Issuer
from exchanger.values.secret import Secret
from tests.issuers.fakes import FORBIDDEN, MISSING, OAUTH, data, good_plan, inline, pairs, profiles, referring

NOW = 1000.0


def issuer(secret: str = "one", *, name: str = "a", client_id: str = "id", endpoint: str = "https://a.example/t") -> Issuer:
    return Issuer(name, endpoint, "a.example", AuthMethod.CLIENT_SECRET_BASIC, Credentials(client_id, Secret(secret)))


def issuers(*found: Issuer) -> "HashTrieMap[str, Issuer]":
    return HashTrieMap({one.name: one for one in found})


FIRST = IssuerSet(issuers(issuer()))


def test_nothing_new() -> None:
    assert FIRST.succeeded_by(issuers(issuer()), NOW) == FIRST


def test_other_credentials_are_a_rotation() -> None:
    other_id = FIRST.succeeded_by(issuers(issuer(client_id="other")), NOW)
    assert (other_id.generation, other_id.issuers["a"].previous) == (1, Credentials("id", Secret("one"), 0))
    after = FIRST.succeeded_by(issuers(issuer("two")), NOW)
    found = after.issuers["a"]
    assert found.credentials == Credentials("id", Secret("two"), 1)
    assert found.previous == Credentials("id", Secret("one"), 0)
    assert dict(after.retiring) == {"a": NOW + ROTATION_GRACE_S}
    assert after.rotated_since(FIRST) == ("a",)


def test_what_else_changes_leaves_generation_and_previous() -> None:
    rotated = FIRST.succeeded_by(issuers(issuer("two")), NOW)
    changed = attrs.evolve(issuer("two"), bearer_realm="r", auth_method=AuthMethod.CLIENT_SECRET_POST)
    after = rotated.succeeded_by(issuers(changed), NOW + 10)
    before = rotated.issuers["a"]
    assert after.issuers["a"] == attrs.evolve(before, bearer_realm="r", auth_method=AuthMethod.CLIENT_SECRET_POST)
    assert after.retiring == rotated.retiring
    assert after.rotated_since(rotated) == ()


def test_old_credentials_never_go_to_another_endpoint() -> None:
    elsewhere = "https://b.example/t"
    at_once = FIRST.succeeded_by(issuers(issuer("two", endpoint=elsewhere)), NOW)
    assert (at_once.issuers["a"].previous, len(at_once.retiring), at_once.generation) == (None, 0, 1)
    later = FIRST.succeeded_by(issuers(issuer("two")), NOW).succeeded_by(issuers(issuer("two", endpoint=elsewhere)), NOW)
    assert (later.issuers["a"].previous, len(later.retiring), later.generation) == (None, 0, 1)


def test_twice_within_the_grace() -> None:
    after = FIRST.succeeded_by(issuers(issuer("two")), NOW).succeeded_by(issuers(issuer("three")), NOW + 1)
    assert after.issuers["a"].credentials.generation == 2
    assert after.issuers["a"].previous == Credentials("id", Secret("two"), 1)
    assert dict(after.retiring) == {"a": NOW + 1 + ROTATION_GRACE_S}
    back = after.succeeded_by(issuers(issuer()), NOW)
    assert back.issuers["a"].credentials == Credentials("id", Secret("one"), 3)


def test_a_profile_that_is_gone_and_comes_again_has_a_generation_of_its_own() -> None:
    gone = FIRST.succeeded_by(issuers(), NOW)
    assert (len(gone.issuers), gone.generation) == (0, 0)
    back = gone.succeeded_by(issuers(issuer("two")), NOW)
    assert (back.issuers["a"].credentials.generation, back.issuers["a"].previous) == (1, None)
    assert back.rotated_since(gone) == ()


def test_the_end_of_the_grace() -> None:
    two = IssuerSet(issuers(issuer(), issuer(name="b")))
    one = two.succeeded_by(issuers(issuer("two"), issuer(name="b")), NOW)
    assert one.issuers["b"] == two.issuers["b"]
    assert one.rotated_since(two) == ("a",)
    both = one.succeeded_by(issuers(issuer("two"), issuer("two", name="b")), NOW + 5)
    assert both.without_retired(NOW + ROTATION_GRACE_S - 1) is both
    after = both.without_retired(NOW + ROTATION_GRACE_S)
    assert after.issuers["a"].previous is None
    assert after.issuers["b"].previous is not None
    assert after.issuers["a"].credentials == both.issuers["a"].credentials
    last = after.without_retired(NOW + ROTATION_GRACE_S + 5)
    assert (last.issuers["b"].previous, len(last.retiring), last.generation) == (None, 0, 2)
    assert last.rotated_since(both) == ()


def secrets(**found: SecretData | SecretProblem) -> "HashTrieMap[SecretName, SecretData | SecretProblem]":
    return HashTrieMap({SecretName("home", name): value for name, value in found.items()})


def test_values_of_file_and_secrets() -> None:
    resolved = resolve(good_plan(profiles(inline("one"), referring("two", host="b.example"))), secrets(oauth=data(3)))
    assert resolved.complete
    assert resolved.issues == ()
    assert pairs(resolved.issuers) == {"one": ("id", "canary-inline"), "two": ("id-3", "canary-3")}
    two = resolved.issuers["two"]
    assert (two.name, two.token_endpoint, two.endpoint_host) == ("two", "https://b.example/t", "b.example")
    assert (two.credentials.generation, two.previous) == (0, None)
    assert "canary" not in repr(resolved)


EMPTY = SecretData("1", HashTrieMap({"id": Secret(""), "secret": Secret("canary")}))


@pytest.mark.parametrize(
    ("found", "field", "reason"),
    [
        (MISSING, "clientIDSecretRef, Secret home/oauth key id", "there is no such Secret"),
        (FORBIDDEN, "clientSecretSecretRef, Secret home/oauth key secret", "needs get on secrets/oauth in home"),
        (data(1, ("secret",)), "clientIDSecretRef, Secret home/oauth key id", "there is no such key"),
        (data(1, ("id",), ("secret",)), "clientSecretSecretRef, Secret home/oauth key secret", "its value is no text in UTF-8"),
        (EMPTY, "clientIDSecretRef, Secret home/oauth key id", "its value is empty"),
    ],
)
def test_why_a_value_is_missing(found: SecretData | SecretProblem, field: str, reason: str) -> None:
    resolved = resolve(good_plan(profiles(inline("one"), referring("two"))), secrets(oauth=found))
    assert not resolved.complete
    assert list(resolved.issuers) == ["one"]
    assert f'issuer profile "two" {field}: {reason}' in [str(issue) for issue in resolved.issues]
    assert len(resolved.issues) == (2 if isinstance(found, SecretProblem) else 1)
    assert "canary" not in repr(resolved)


def test_a_secret_that_was_not_read_yet_is_no_issue() -> None:
    resolved = resolve(good_plan(profiles(inline("one"), referring("two"), referring("three", "other"))), secrets(oauth=data(1)))
    assert (sorted(resolved.issuers), resolved.issues, resolved.complete) == (["one", "two"], (), False)
    assert resolve(good_plan(profiles()), secrets(other=MISSING)).complete


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
    assert len(waiting.issues) == 0
    half = waiting.with_secret(OAUTH, data(1), 0.0).with_secret(OTHER, MISSING, 0.0)
    assert half.current is None
    assert len(half.issues) == 2
    whole = half.with_secret(OTHER, data(2), 0.0)
    assert in_force(whole) == {"one": ("id-1", "canary-1"), "two": ("id-2", "canary-2")}
    assert (whole.pending, whole.plan, len(whole.issues)) == (None, BOTH, 0)


def test_an_empty_version_counts() -> None:
    state = running().with_file(good_plan(profiles()), 0.0)
    assert in_force(state) == {}
    assert state.secrets == frozenset()
    assert (len(state.latest), len(state.kept)) == (0, 0)


def test_what_cannot_be_used_takes_nothing_away() -> None:
    for found in (MISSING, FORBIDDEN, data(2, ("id",)), data(2, ("id",), ("secret",))):
        state = running().with_secret(OAUTH, found, 1.0)
        assert in_force(state) == {"one": ("id-1", "canary-1")}
        assert len(state.issues) > 0
        assert len(state.with_secret(OAUTH, data(1), 2.0).issues) == 0
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
    assert len(state.issues) == 4


def test_a_new_version_that_needs_what_was_lost_waits() -> None:
    needs_more = good_plan(profiles(referring("one").replace("key: id", "key: other")))
    state = running().with_secret(OAUTH, data(2, ("id",)), 1.0).with_file(needs_more, 2.0)
    assert state.pending is needs_more
    assert in_force(state) == {"one": ("id-1", "canary-1")}
    assert sorted(reason for reason in state.issues.values()) == ["there is no such key"] * 2


def test_what_is_not_needed_any_more_is_forgotten() -> None:
    state = State().with_file(BOTH, 0.0).with_secret(OAUTH, data(1), 0.0).with_secret(OTHER, data(1), 0.0).with_file(ONE, 1.0)
    assert state.secrets == {OAUTH}
    assert set(state.latest) == set(state.kept) == {OAUTH}
    assert state.with_secret(OTHER, data(1), 1.0) is state


def test_retired_credentials_go() -> None:
    assert State().without_retired(0.0) == State()
    assert "canary" not in repr(running().with_secret(OAUTH, data(2), 0.0))
    rotated = running().with_secret(OAUTH, data(2), 0.0)
    assert rotated.without_retired(599.0) is rotated
    current = rotated.without_retired(600.0).current
    assert current is not None
    assert current.issuers["one"].previous is None
