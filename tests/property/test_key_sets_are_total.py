"""Laws of an issuer's keys: any JSON is read, a key that cannot be used spoils no other, and none verifies by an algorithm not its own."""

from hypothesis import given
from hypothesis import strategies as st

from exchanger.jwt.algorithms import NAMES
from exchanger.jwt.keys import MAX_CANDIDATES, KeySet, KeySetProblem, read_key_set
from tests.jwt.issuer import KEYS, jwk
from tests.property.strategies_jose import json_values, jwks

GOOD = jwk(KEYS["ed"], kid="good")
OWN = {"RSA": ("RS", "PS"), "EC": ("ES",), "OKP": ("Ed",)}


@given(st.dictionaries(st.just("keys") | st.text(max_size=5), json_values | st.lists(jwks, max_size=4)))
def test_any_json_is_read(members: dict[str, object]) -> None:
    found = read_key_set(members)
    assert isinstance(found, KeySetProblem) or found.keys


@given(st.lists(jwks, max_size=4), st.integers(0, 4))
def test_a_good_key_is_found_among_any_others(others: list[object], at: int) -> None:
    found = read_key_set({"keys": [*others[:at], GOOD, *others[at:]]})
    alone = read_key_set({"keys": [GOOD]})
    assert isinstance(found, KeySet)
    assert isinstance(alone, KeySet)
    assert alone.keys[0] in found.keys


@given(jwks, st.none() | st.text(max_size=5) | st.sampled_from(sorted(KEYS)), st.sampled_from(["none", "HS256", *sorted(NAMES)]))
def test_a_key_is_found_only_for_its_own_algorithms(member: object, kid: str | None, alg: str) -> None:
    found = read_key_set({"keys": [member] * (MAX_CANDIDATES + 1)})
    candidates = found.find(kid, alg) if isinstance(found, KeySet) else ()
    assert len(candidates) in {0, MAX_CANDIDATES}
    if candidates:
        assert isinstance(member, dict)
        assert alg.startswith(OWN[member["kty"]])
        assert kid in {None, member.get("kid")}
        assert member.get("alg", alg) == alg or member["kty"] == "OKP"
        assert "d" not in member


@given(jwks, st.binary(max_size=200), st.binary(max_size=200))
def test_any_signature_is_verified(member: object, signed: bytes, signature: bytes) -> None:
    found = read_key_set({"keys": [member]})
    keys = found.keys if isinstance(found, KeySet) else ()
    assert not any(key.verifies(alg, signed, signature) for key in keys for alg in NAMES)
