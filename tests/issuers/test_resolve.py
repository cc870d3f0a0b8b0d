import pytest
from rpds import HashTrieMap

from exchanger.issuers.resolve import resolve
from exchanger.issuers.secrets import SecretData, SecretName, SecretProblem
from exchanger.values.secret import Secret
from tests.issuers.fakes import FORBIDDEN, MISSING, OAUTH, data, good_plan, inline, pairs, profiles, referring


def secrets(**found: SecretData | SecretProblem) -> "HashTrieMap[SecretName, SecretData | SecretProblem]":
    return HashTrieMap({SecretName("home", name): value for name, value in found.items()})


def test_values_of_file_and_secrets() -> None:
    resolved = resolve(good_plan(profiles(inline("one"), referring("two", host="b.example"))), secrets(oauth=data(3)))
    assert resolved.complete
    assert resolved.problems == ()
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
def test_what_stands_in_the_way(found: SecretData | SecretProblem, field: str, reason: str) -> None:
    resolved = resolve(good_plan(profiles(inline("one"), referring("two"))), secrets(oauth=found))
    assert not resolved.complete
    assert list(resolved.issuers) == ["one"]
    assert f'issuer profile "two" {field}: {reason}' in [str(problem) for problem in resolved.problems]
    assert len(resolved.problems) == (2 if isinstance(found, SecretProblem) else 1)
    assert "canary" not in repr(resolved)


def test_what_was_not_looked_at_is_no_problem() -> None:
    resolved = resolve(good_plan(profiles(inline("one"), referring("two"), referring("three", "other"))), secrets(oauth=data(1)))
    assert (sorted(resolved.issuers), resolved.problems, resolved.complete) == (["one", "two"], (), False)


def test_nothing_is_complete() -> None:
    assert resolve(good_plan(profiles()), secrets()).complete


def test_other_secrets_make_no_difference() -> None:
    plan = good_plan(profiles(referring()))
    assert resolve(plan, secrets(oauth=data(1), other=MISSING)) == resolve(plan, HashTrieMap({OAUTH: data(1)}))
