"""What is verified, and what is not, and what is said of it."""

import base64
import json

import pytest

from exchanger.demo.signatures import Verification, read_keys, signed_by_a_stranger, verify
from exchanger.demo.unsigned_jwt import claims_of, encode
from tests.demo.signed import ALGORITHMS, ISSUER, NOW, SIGNER, STRANGER, claims, text

KEYS = read_keys(SIGNER.jwks())


def said(token: str) -> Verification:
    return verify(token, KEYS, ISSUER, NOW)


def why(token: str) -> str:
    found = said(token)
    assert not found.verified
    return found.text.removeprefix("not verified: ")


# RFC 7515, appendix A.2 and A.3: the key, header, claims and signature that others have made.
RFC_CLAIMS = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
RFC_ES256 = {
    "kty": "EC",
    "kid": "",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
RFC_TOKEN = f"eyJhbGciOiJFUzI1NiJ9.{RFC_CLAIMS}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"


def test_the_example_of_the_rfc_is_verified_by_its_key() -> None:
    keys = read_keys(json.dumps({"keys": [RFC_ES256]}).encode())
    assert verify(RFC_TOKEN, keys, "joe", 1_300_819_379).verified
    assert not verify(RFC_TOKEN, keys, "joe", 1_300_819_380).verified


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_token_of_each_algorithm_is_verified_and_said_to_be_by_which_key_for_whom_and_for_how_long(alg: str) -> None:
    kid = "ec" if alg == "ES256" else "rsa"
    expected = f"{alg} by key {kid}: iss {ISSUER}, aud archive-api, orders-api, expires in 300 s"
    assert said(SIGNER.sign(claims(aud=["orders-api", "archive-api"]), alg)) == Verification(True, expected, kid)


def test_a_token_for_nobody_is_said_to_be_so() -> None:
    assert ", aud (nobody), " in said(SIGNER.sign({name: value for name, value in claims().items() if name != "aud"})).text


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_signature_by_another_key_of_the_same_name_is_not_verified(alg: str) -> None:
    assert why(STRANGER.sign(claims(), alg)) == "the signature is not the key's"


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_truncated_signature_is_not_verified(alg: str) -> None:
    head, _, signature = SIGNER.sign(claims(), alg).rpartition(".")
    short = base64.urlsafe_b64decode(signature + "==")[:-1]
    assert why(f"{head}.{text(short)}") == "the signature is not the key's"


def test_the_halves_of_a_signature_have_one_length() -> None:
    head, _, signature = SIGNER.sign(claims(), "ES256").rpartition(".")
    halves = base64.urlsafe_b64decode(signature + "==")
    assert why(f"{head}.{text(halves[:32] + bytes(1) + halves[32:])}") == "the signature is not the key's"


@pytest.mark.parametrize("alg", ["none", "HS256", "RS512", "", 7, None, "ES256K"])
def test_other_algorithms_and_none_at_all_are_not_taken(alg: object) -> None:
    assert "is not one of RS256, PS256, ES256" in why(SIGNER.sign(claims(), alg=alg))


def test_an_unsigned_token_is_not_verified() -> None:
    assert "the algorithm none" in why(encode(claims()))


def test_the_header_does_not_choose_what_a_key_is_for() -> None:
    for alg, kid in (("ES256", "rsa"), ("RS256", "ec")):
        assert why(SIGNER.sign(claims(), alg, kid=kid)) == "the key is for another algorithm"
    keys = read_keys(json.dumps({"keys": [SIGNER.rsa_jwk() | {"alg": "RS256"}]}).encode())
    assert verify(SIGNER.sign(claims(), "RS256"), keys, ISSUER, NOW).verified
    assert "another algorithm" in verify(SIGNER.sign(claims(), "PS256"), keys, ISSUER, NOW).text


@pytest.mark.parametrize("kid", ["other", "", None, 7, ["rsa"]])
def test_a_key_that_is_not_the_issuers_verifies_nothing(kid: object) -> None:
    assert why(SIGNER.sign(claims(), kid=kid)) == "the issuer has no such key"


def test_extensions_that_must_be_understood_are_not() -> None:
    assert why(SIGNER.sign(claims(), crit=["b64"], b64=False)) == "its header has extensions"


@pytest.mark.parametrize("issuer", ["https://login.example.com", ISSUER + "/", None, [ISSUER]])
def test_a_token_from_another_issuer_is_not_verified(issuer: object) -> None:
    assert why(SIGNER.sign(claims(iss=issuer))) == f"it is not from {ISSUER}"


@pytest.mark.parametrize(
    ("expires", "reason"),
    [
        (NOW, "it has expired"),
        (NOW - 0.5, "it has expired"),
        ("soon", "it does not say when it expires"),
        (None, "it does not say when it expires"),
        (True, "it does not say when it expires"),
        (-1, "it does not say when it expires"),
        (10**400, "it does not say when it expires"),
        (float("inf"), "it does not say when it expires"),
        (float("nan"), "it does not say when it expires"),
    ],
)
def test_a_token_that_has_expired_or_does_not_say_when_is_not_verified(expires: object, reason: str) -> None:
    assert why(SIGNER.sign(claims(exp=expires))) == reason


def test_a_token_is_good_until_its_last_moment() -> None:
    assert said(SIGNER.sign(claims(exp=NOW + 0.5))).verified


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c", "e30.e30", "e30.e30.e30.e30", "bnVsbA.e30.AA", "e30.W10.AA", "é.e30.AA"])
def test_what_is_no_signed_jwt_is_said_to_be_none(token: str) -> None:
    assert why(token) == "it is no signed JWT"


def test_a_segment_that_is_written_in_another_way_is_none() -> None:
    """Two texts for one token would be two tokens for whoever compares them."""
    head, _, signature = SIGNER.sign(claims()).rpartition(".")
    # 256 bytes are 342 characters, the last of which has four bits that say nothing.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = signature[:-1] + alphabet[alphabet.index(signature[-1]) + 1]
    assert base64.urlsafe_b64decode(other + "==") == base64.urlsafe_b64decode(signature + "==")
    assert why(f"{head}.{other}") == "it is no signed JWT"
    assert why(f"{head}.{signature}==") == "it is no signed JWT"


def test_a_token_that_is_too_long_is_not_looked_at() -> None:
    assert why(SIGNER.sign(claims(padding="x" * 65_536))) == "it is no signed JWT"


def test_a_keys_name_is_shown_as_far_as_a_terminal_bears_it() -> None:
    keys = {"\x1b[2J" + "x" * 100: KEYS["rsa"]}
    found = verify(SIGNER.sign(claims(), kid=next(iter(keys))), keys, ISSUER, NOW)
    assert found.verified
    assert found.text.isprintable()
    assert len(found.kid) == 64


@pytest.mark.parametrize(
    "changed",
    [
        {"use": "enc"},
        {"kty": "oct"},
        {"kid": None},
        {"alg": 7},
        {"n": "AQAB", "x": "AQAB"},
        {"n": "!", "x": "!"},
        {"n": "", "y": ""},
        {"n": 7, "y": 7},
        {"e": "Ag", "crv": "P-521"},
        {"e": text(b"\x01" + b"\0" * 4 + b"\x01"), "crv": None},
    ],
)
def test_keys_that_cannot_be_used_are_left_out(changed: dict[str, object]) -> None:
    assert read_keys(SIGNER.jwks(**changed)) == {}


@pytest.mark.parametrize("jwks", [b"", b"[]", b"null", b'{"keys": {}}', b'{"keys": [1, null, "a", []]}', b"[" * 100_000, b"\xff"])
def test_what_is_no_set_of_keys_has_none(jwks: bytes) -> None:
    assert read_keys(jwks) == {}


def test_a_stranger_signs_well_but_with_a_key_that_nobody_has() -> None:
    token = signed_by_a_stranger(claims())
    assert claims_of(token) == claims()
    assert why(token) == "the issuer has no such key"
    assert signed_by_a_stranger(claims()) != token


def test_no_token_is_in_what_is_said_or_shown() -> None:
    token = SIGNER.sign(claims())
    shown = repr(said(token)) + repr(said(token[:-9])) + repr(said(STRANGER.sign(claims())))
    assert all(part not in shown for part in token.split("."))
