"""Laws of assertions, key sets and callers' tokens."""

import json
from collections.abc import Mapping

import jwt
from hypothesis import assume, example, given
from hypothesis import strategies as st

from exchanger.formats.jwt import base64url
from exchanger.formats.jwt.algorithms import NAMES
from exchanger.formats.jwt.compact import looks_like_jwt
from exchanger.formats.jwt.keys import MAX_CANDIDATES, KeySet, KeySetProblem, read_key_set
from exchanger.formats.jwt.refusal import TokenRefused
from exchanger.formats.jwt.signing import KeyProblem, LoadedKey, load_key, sign_assertion
from exchanger.formats.jwt.verify import UnknownKey, VerifiedClaims
from exchanger.model.issuer import SigningAlgorithm
from tests.formats.jwt.issuer import CLAIMS, ED25519, ISSUER, KEYS, NOW, P256, PrivateKey, claims, jwk, pem, raw, verified
from tests.property.strategies_jose import CHARACTERS, TOKENS, algorithms, headers, json_values, jwks, texts
from tests.property.strategies_jose import claims as any_claims

# Laws of this client's assertions: what is signed is what was asked for, and any text is verified as a key.


CLIENT_KEYS: dict[SigningAlgorithm, PrivateKey] = {SigningAlgorithm.ES256: P256, SigningAlgorithm.EDDSA: ED25519}
LOADED = {algorithm: load_key(pem(key), algorithm) for algorithm, key in CLIENT_KEYS.items()}
PEM = pem(P256)


@given(
    st.sampled_from(sorted(CLIENT_KEYS, key=lambda algorithm: algorithm.value)),
    st.text(),
    st.text(),
    st.text(),
    st.text(),
    st.floats(0, 1e12),
)
def test_pyjwt_reads_what_was_signed(algorithm: SigningAlgorithm, key_id: str, client_id: str, audience: str, jti: str, now: float) -> None:
    key = LOADED[algorithm]
    assert isinstance(key, LoadedKey)
    text = sign_assertion(key, algorithm, key_id, client_id=client_id, audience=audience, now=now, jti=jti).reveal()
    options: dict[str, bool] = dict.fromkeys(("verify_exp", "verify_iat", "verify_aud"), False)
    said = jwt.decode_complete(text, CLIENT_KEYS[algorithm].public_key(), [algorithm.value], options=options)  # type: ignore[arg-type]
    assert said["header"].get("kid", "") == key_id
    seconds = int(now)
    assert said["payload"] == {"iss": client_id, "sub": client_id, "aud": audience, "iat": seconds, "exp": seconds + 60, "jti": jti}


@given(st.text(), st.sampled_from(SigningAlgorithm))
@example("-----BEGIN PRIVATE KEY-----", SigningAlgorithm.ES256)
@example("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----", SigningAlgorithm.ES256)
def test_any_text_is_no_key(text: str, algorithm: SigningAlgorithm) -> None:
    assert isinstance(load_key(text, algorithm), KeyProblem)


@given(st.integers(0, len(PEM)), st.integers(0, 5), st.text(max_size=5), st.sampled_from(SigningAlgorithm))
def test_a_key_with_any_change_is_verified(at: int, removed: int, added: str, algorithm: SigningAlgorithm) -> None:
    changed = PEM[:at] + added + PEM[at + removed :]
    assume(changed != PEM)
    found = load_key(changed, algorithm)
    assert isinstance(found, KeyProblem) or algorithm is SigningAlgorithm.ES256


# Laws of an issuer's keys: any JSON is read, a key that cannot be used spoils no other, and none verifies by an algorithm not its own.


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


# Laws of callers' tokens: only what an issuer signed is accepted, in one text, exactly as the policy says, and any text is verified.


@given(algorithms, st.data())
def test_a_token_with_any_change_is_not_accepted(alg: str, data: st.DataObject) -> None:
    token = TOKENS[alg]
    assert isinstance(verified(token), VerifiedClaims)
    at, removed = data.draw(st.integers(0, len(token))), data.draw(st.integers(0, 3))
    changed = token[:at] + data.draw(st.text(CHARACTERS, max_size=3) | st.text(max_size=1)) + token[at + removed :]
    assume(changed != token)
    assert isinstance(verified(changed), TokenRefused | UnknownKey)


@given(algorithms, st.data())
def test_a_token_with_any_bit_changed_is_not_accepted(alg: str, data: st.DataObject) -> None:
    parts = [base64url.decode(part) or b"" for part in TOKENS[alg].split(".")]
    which = data.draw(st.integers(0, 2))
    at, bit = data.draw(st.integers(0, len(parts[which]) - 1)), data.draw(st.integers(0, 7))
    parts[which] = parts[which][:at] + bytes([parts[which][at] ^ 1 << bit]) + parts[which][at + 1 :]
    assert isinstance(verified(".".join(map(base64url.encode, parts))), TokenRefused | UnknownKey)


@given(texts)
def test_any_text_is_verified(token: str) -> None:
    assert not isinstance(verified(token), VerifiedClaims)


@given(st.binary(max_size=100), st.binary(max_size=100), st.binary(max_size=100))
@example(b"{}", b"{}", b"\0")
@example(b"[" * 100_000, b"", b"")
def test_any_bytes_are_verified(header: bytes, payload: bytes, signature: bytes) -> None:
    assert not isinstance(verified(".".join(map(base64url.encode, (header, payload, signature)))), VerifiedClaims)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e308


def is_chain(act: object, left: int = 10) -> bool:
    return left > 0 and isinstance(act, dict) and ("act" not in act or is_chain(act["act"], left - 1))


def is_good(claims: Mapping[str, object]) -> bool:
    """The rules once more, in other words."""
    audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    times = [claims[name] for name in ("exp", "nbf", "iat") if name in claims]
    earliest = [claims[name] for name in ("nbf", "iat") if name in claims]
    return (
        claims["iss"] == ISSUER
        and all(isinstance(text, str) for text in audience)
        and any(text in ("gateway", "mesh") for text in audience)
        and all(map(is_number, times))
        and claims["exp"] > NOW - 30  # type: ignore[operator] # a number
        and all(time <= NOW + 30 for time in earliest)  # type: ignore[operator] # same
        and "cnf" not in claims
        and "may_act" not in claims
        and ("act" not in claims or is_chain(claims["act"]))
    )


@given(any_claims)
@example(claims(exp=NOW - 30))
@example(claims(exp=NOW - 29.9))
@example(claims(aud=["gateway", None]))
def test_signed_claims_are_accepted_if_they_are_good(claims: dict[str, object]) -> None:
    said = verified(raw({"alg": "ES256", "kid": "p256"}, claims))
    assert isinstance(said, VerifiedClaims) is is_good(claims)
    assert not isinstance(said, UnknownKey)


@given(headers)
@example({"alg": "ES256"})
@example({"alg": "ES256", "kid": "p256", "typ": "at+JWT"})
def test_a_signed_header_is_accepted_if_it_is_good(header: dict[str, object]) -> None:
    good = header["alg"] == "ES256" and header.get("kid", "p256") == "p256" and {"crit", "b64"}.isdisjoint(header)
    typed = header.get("typ", "JWT") in ("JWT", "at+JWT", "application/at+jwt")
    assert isinstance(verified(raw(header, CLAIMS)), VerifiedClaims) is (good and typed)


@given(st.binary(max_size=50))
def test_bytes_have_a_text(data: bytes) -> None:
    assert base64url.decode(base64url.encode(data)) == data


@given(st.text(CHARACTERS, max_size=20) | st.text(max_size=5))
@example("AAAA++++")
def test_bytes_have_no_other_text(text: str) -> None:
    data = base64url.decode(text)
    assert data is None or base64url.encode(data) == text


# Laws of opaque tokens: whatever a lenient reader may take for a JWT is none.


@given(st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=60), st.integers(0, 60))
def test_an_opaque_token_with_a_dot_is_opaque(text: str, place: int) -> None:
    found = text[:place] + "." + text[place:]
    assert not looks_like_jwt(text)
    assert not looks_like_jwt(found)
    assert looks_like_jwt(f"{found}.")


@example("", 0, "", {"ab": ""})
@example("A", 12, "", {"a": ""})  # one character too many, which decoders leave out
@given(
    st.sampled_from(["", " ", "=", "==", "\n", "!"]),
    st.integers(0, 30),
    st.sampled_from(["", ".", "..", "...", ".AA.AA.AA"]),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), min_size=1, max_size=3),
)
def test_no_disguise_of_a_header_makes_a_jwt_opaque(noise: str, place: int, more: str, header: dict[str, str]) -> None:
    """To the most lenient reader of base64url."""
    text = base64url.encode(json.dumps(header).encode())
    text = text[:place] + noise + text[place:]
    assert looks_like_jwt(f"{text}.e30{more}")
