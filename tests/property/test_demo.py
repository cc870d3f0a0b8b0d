"""Laws of verified signatures: a token with a change is not verified, and whatever comes is verified without a fault."""

import string

from hypothesis import assume, example, given
from hypothesis import strategies as st

from exchanger.commands.demo.keycloak.verification import read_keys, verify
from tests.commands.demo.signed import ALGORITHMS, ISSUER, NOW, SIGNER, claims

KEYS = read_keys(SIGNER.jwks())
TOKENS = {alg: SIGNER.sign(claims(), alg) for alg in ALGORITHMS}
CHARACTERS = string.ascii_letters + string.digits + "-_.="

algorithms = st.sampled_from(ALGORITHMS)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(algorithms, st.data())
def test_a_token_with_any_change_is_not_verified(alg: str, data: st.DataObject) -> None:
    token = TOKENS[alg]
    assert verify(token, KEYS, ISSUER, NOW).verified
    at = data.draw(st.integers(0, len(token)))
    removed = data.draw(st.integers(0, 3))
    changed = token[:at] + data.draw(st.text(CHARACTERS, max_size=3)) + token[at + removed :]
    assume(changed != token)
    assert not verify(changed, KEYS, ISSUER, NOW).verified


@given(algorithms, algorithms)
def test_a_signature_belongs_to_its_own_header(one: str, other: str) -> None:
    head, _, _ = TOKENS[one].rpartition(".")
    _, _, signature = TOKENS[other].rpartition(".")
    assert verify(f"{head}.{signature}", KEYS, ISSUER, NOW).verified is (one == other)


@given(algorithms, st.dictionaries(st.sampled_from(["iss", "aud", "exp", "sub"]), json_values))
@example("RS256", {"exp": 1e300})
@example("RS256", {"aud": [["nested"], None, "\x1b]0;"]})
def test_signed_claims_are_verified_only_from_the_issuer_and_before_expiry(alg: str, changed: dict[str, object]) -> None:
    said = verify(SIGNER.sign(claims(**changed), alg), KEYS, ISSUER, NOW)
    expires = changed.get("exp", NOW + 300)
    in_time = isinstance(expires, int | float) and not isinstance(expires, bool) and NOW < expires < 2**53
    assert said.verified is (in_time and changed.get("iss", ISSUER) == ISSUER)
    assert said.text.isprintable()


@given(st.text(max_size=200) | st.lists(st.text(CHARACTERS, max_size=50), min_size=3, max_size=3).map(".".join))
def test_any_text_is_verified(token: str) -> None:
    assert not verify(token, KEYS, ISSUER, NOW).verified


@given(st.binary(max_size=200))
def test_any_bytes_are_read_for_keys(jwks: bytes) -> None:
    assert read_keys(jwks) == {}


@given(st.dictionaries(st.sampled_from(["kty", "kid", "use", "alg", "n", "e", "x", "y", "crv"]), json_values))
def test_any_change_of_a_set_of_keys_is_read(changed: dict[str, object]) -> None:
    keys = read_keys(SIGNER.jwks(**changed))
    assert len(keys) <= 2
