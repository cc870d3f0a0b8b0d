"""Laws of this client's assertions: what is signed is what was asked for, and any text is judged as a key."""

import jwt
from hypothesis import assume, example, given
from hypothesis import strategies as st

from exchanger.jwt.signing import KeyProblem, LoadedKey, load_key, sign_assertion
from exchanger.values.issuer import SigningAlgorithm
from tests.jwt.issuer import ED25519, P256, PrivateKey, pem

KEYS: dict[SigningAlgorithm, PrivateKey] = {SigningAlgorithm.ES256: P256, SigningAlgorithm.EDDSA: ED25519}
LOADED = {algorithm: load_key(pem(key), algorithm) for algorithm, key in KEYS.items()}
PEM = pem(P256)


@given(st.sampled_from(sorted(KEYS, key=lambda algorithm: algorithm.value)), st.text(), st.text(), st.text(), st.text(), st.floats(0, 1e12))
def test_pyjwt_reads_what_was_signed(algorithm: SigningAlgorithm, key_id: str, client_id: str, audience: str, jti: str, now: float) -> None:
    key = LOADED[algorithm]
    assert isinstance(key, LoadedKey)
    text = sign_assertion(key, algorithm, key_id, client_id=client_id, audience=audience, now=now, jti=jti).reveal()
    options: dict[str, bool] = dict.fromkeys(("verify_exp", "verify_iat", "verify_aud"), False)
    said = jwt.decode_complete(text, KEYS[algorithm].public_key(), [algorithm.value], options=options)  # type: ignore[arg-type]
    assert said["header"].get("kid", "") == key_id
    seconds = int(now)
    assert said["payload"] == {"iss": client_id, "sub": client_id, "aud": audience, "iat": seconds, "exp": seconds + 60, "jti": jti}


@given(st.text(), st.sampled_from(SigningAlgorithm))
@example("-----BEGIN PRIVATE KEY-----", SigningAlgorithm.ES256)
@example("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----", SigningAlgorithm.ES256)
def test_any_text_is_no_key(text: str, algorithm: SigningAlgorithm) -> None:
    assert isinstance(load_key(text, algorithm), KeyProblem)


@given(st.integers(0, len(PEM)), st.integers(0, 5), st.text(max_size=5), st.sampled_from(SigningAlgorithm))
def test_a_key_with_any_change_is_judged(at: int, removed: int, added: str, algorithm: SigningAlgorithm) -> None:
    changed = PEM[:at] + added + PEM[at + removed :]
    assume(changed != PEM)
    found = load_key(changed, algorithm)
    assert isinstance(found, KeyProblem) or algorithm is SigningAlgorithm.ES256
