import attrs
from rpds import HashTrieMap

from exchanger.issuers.generations import ROTATION_GRACE_S, IssuerSet
from exchanger.values.issuer import AuthMethod, Credentials, Issuer
from exchanger.values.secret import Secret

NOW = 1000.0


def issuer(secret: str = "one", *, name: str = "a", client_id: str = "id", endpoint: str = "https://a.example/t") -> Issuer:
    return Issuer(name, endpoint, "a.example", AuthMethod.CLIENT_SECRET_BASIC, Credentials(client_id, Secret(secret)))


def issuers(*found: Issuer) -> "HashTrieMap[str, Issuer]":
    return HashTrieMap({one.name: one for one in found})


FIRST = IssuerSet(issuers(issuer()))


def test_nothing_new() -> None:
    assert FIRST.succeeded_by(issuers(issuer()), NOW) == FIRST


def test_another_secret() -> None:
    after = FIRST.succeeded_by(issuers(issuer("two")), NOW)
    found = after.issuers["a"]
    assert found.credentials == Credentials("id", Secret("two"), 1)
    assert found.previous == Credentials("id", Secret("one"), 0)
    assert dict(after.retiring) == {"a": NOW + ROTATION_GRACE_S}
    assert after.rotated_since(FIRST) == ("a",)


def test_another_id() -> None:
    after = FIRST.succeeded_by(issuers(issuer(client_id="other")), NOW)
    assert (after.generation, after.issuers["a"].previous) == (1, Credentials("id", Secret("one"), 0))


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


def test_back_again_is_a_rotation() -> None:
    after = FIRST.succeeded_by(issuers(issuer("two")), NOW).succeeded_by(issuers(issuer()), NOW)
    assert after.issuers["a"].credentials == Credentials("id", Secret("one"), 2)


def test_a_profile_that_is_gone_and_comes_again_has_a_generation_of_its_own() -> None:
    gone = FIRST.succeeded_by(issuers(), NOW)
    assert (len(gone.issuers), gone.generation) == (0, 0)
    back = gone.succeeded_by(issuers(issuer("two")), NOW)
    assert (back.issuers["a"].credentials.generation, back.issuers["a"].previous) == (1, None)
    assert back.rotated_since(gone) == ()


def test_only_the_one_that_was_rotated() -> None:
    two = IssuerSet(issuers(issuer(), issuer(name="b")))
    after = two.succeeded_by(issuers(issuer(), issuer("two", name="b")), NOW)
    assert after.issuers["a"] == two.issuers["a"]
    assert after.rotated_since(two) == ("b",)


def test_the_end_of_the_grace() -> None:
    two = IssuerSet(issuers(issuer(), issuer(name="b")))
    one = two.succeeded_by(issuers(issuer("two"), issuer(name="b")), NOW)
    both = one.succeeded_by(issuers(issuer("two"), issuer("two", name="b")), NOW + 5)
    assert both.without_retired(NOW + ROTATION_GRACE_S - 1) is both
    after = both.without_retired(NOW + ROTATION_GRACE_S)
    assert after.issuers["a"].previous is None
    assert after.issuers["b"].previous is not None
    assert after.issuers["a"].credentials == both.issuers["a"].credentials
    last = after.without_retired(NOW + ROTATION_GRACE_S + 5)
    assert (last.issuers["b"].previous, len(last.retiring), last.generation) == (None, 0, 2)
    assert last.rotated_since(both) == ()
