"""Which tokens are verified and which are not; tests/property has the laws."""

import base64
import json

import pytest

from exchanger.demo.keycloak.verification import Verification, read_keys, signed_by_a_stranger, verify
from exchanger.scenarios.tokens import claims_of, encode
from tests.demo.signed import ALGORITHMS, ISSUER, NOW, SIGNER, STRANGER, claims, text

KEYS = read_keys(SIGNER.jwks())
# RFC 7515, appendix A.3: key, claims and signature that others have made.
RFC_CLAIMS = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
RFC_KEY = {
    "kty": "EC",
    "kid": "",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
RFC_TOKEN = f"eyJhbGciOiJFUzI1NiJ9.{RFC_CLAIMS}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"


def said(token: str) -> Verification:
    return verify(token, KEYS, ISSUER, NOW)


def why(token: str) -> str:
    found = said(token)
    assert not found.verified
    return found.text.removeprefix("not verified: ")


def resigned(token: str, signature: bytes) -> str:
    return f"{token.rpartition('.')[0]}.{text(signature)}"


def signature_of(token: str) -> bytes:
    return base64.urlsafe_b64decode(token.rpartition(".")[2] + "==")


def test_the_example_of_the_rfc_is_verified_by_its_key_until_it_expires() -> None:
    keys = read_keys(json.dumps({"keys": [RFC_KEY]}).encode())
    assert verify(RFC_TOKEN, keys, "joe", 1_300_819_379).verified
    assert not verify(RFC_TOKEN, keys, "joe", 1_300_819_380).verified


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_signature_is_the_keys_or_not(alg: str) -> None:
    kid = "ec" if alg == "ES256" else "rsa"
    token = SIGNER.sign(claims(aud=["orders-api", "archive-api"]), alg)
    expected = f"{alg} by key {kid}: iss {ISSUER}, aud archive-api, orders-api, expires in 300 s"
    assert said(token) == Verification(True, expected, kid)
    signature = signature_of(token)
    for other in (signature_of(STRANGER.sign(claims(), alg)), signature[:-1], signature[:32] + bytes(1) + signature[32:], b""):
        assert why(resigned(token, other)) == "the signature is not the key's"


def test_a_token_without_an_audience_is_for_nobody() -> None:
    assert ", aud (nobody), " in said(SIGNER.sign({name: value for name, value in claims().items() if name != "aud"})).text


@pytest.mark.parametrize("alg", ["none", "HS256", "RS512", "", 7, "ES256K"])
def test_other_algorithms_are_refused(alg: object) -> None:
    assert "is not one of RS256, PS256, ES256" in why(SIGNER.sign(claims(), alg=alg))


def test_an_unsigned_token_is_refused_with_and_without_a_signature() -> None:
    assert "the algorithm none" in why(encode(claims()))
    for kid in ("rsa", "ec"):
        assert "the algorithm none" in why(resigned(SIGNER.sign(claims(), alg="none", kid=kid), b""))


def test_the_header_does_not_choose_what_a_key_is_for() -> None:
    for alg, kid in (("ES256", "rsa"), ("RS256", "ec")):
        assert why(SIGNER.sign(claims(), alg, kid=kid)) == "the key is for another algorithm"
    keys = read_keys(json.dumps({"keys": [SIGNER.rsa_jwk() | {"alg": "RS256"}]}).encode())
    assert verify(SIGNER.sign(claims(), "RS256"), keys, ISSUER, NOW).verified
    assert "another algorithm" in verify(SIGNER.sign(claims(), "PS256"), keys, ISSUER, NOW).text


@pytest.mark.parametrize("kid", ["other", "", None])
def test_a_key_that_is_not_the_issuers_verifies_nothing(kid: object) -> None:
    assert why(SIGNER.sign(claims(), kid=kid)) == "the issuer has no such key"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"crit": ["b64"], "b64": False}, "it is no signed JWT"),
        ({"b64": False}, "it is no signed JWT"),
        ({"crit": ["x"], "x": 1}, "its header has extensions"),
    ],
)
def test_extensions_are_refused(header: dict[str, object], reason: str) -> None:
    assert why(SIGNER.sign(claims(), **header)) == reason


@pytest.mark.parametrize("issuer", ["https://login.example.com", ISSUER + "/", None, [ISSUER]])
def test_a_token_from_another_issuer_is_refused(issuer: object) -> None:
    assert why(SIGNER.sign(claims(iss=issuer))) == f"it is not from {ISSUER}"


@pytest.mark.parametrize("expires", [NOW, NOW - 0.5, "soon", None, True, -1, 10**400, float("inf"), float("nan")])
def test_a_token_that_has_expired_or_does_not_say_when_is_refused(expires: object) -> None:
    assert said(SIGNER.sign(claims(exp=NOW + 0.5))).verified
    expected = "it has expired" if expires in (NOW, NOW - 0.5) else "it does not say when it expires"
    assert why(SIGNER.sign(claims(exp=expires))) == expected


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c", "e30.e30", "e30.e30.e30.e30", "bnVsbA.e30.AA", "e30.W10.AA", "é.e30.AA"])
def test_text_that_is_no_signed_jwt(token: str) -> None:
    assert why(token) == "it is no signed JWT"


def test_a_segment_has_one_spelling_and_a_token_a_bound() -> None:
    """Two texts for one token would be two tokens for whoever compares them."""
    token = SIGNER.sign(claims())
    # 256 bytes are 342 characters, the last of which has four bits that say nothing.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = token[:-1] + alphabet[alphabet.index(token[-1]) + 1]
    assert signature_of(other) == signature_of(token)
    assert not said(other).verified
    assert not said(f"{token}==").verified
    assert why(SIGNER.sign(claims(padding="x" * 65_536))) == "it is no signed JWT"


def test_a_name_of_a_key_is_shown_bounded_and_printable() -> None:
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
def test_unusable_keys_are_left_out(changed: dict[str, object]) -> None:
    assert read_keys(SIGNER.jwks(**changed)) == {}


@pytest.mark.parametrize("jwks", [b"", b"[]", b"null", b'{"keys": {}}', b'{"keys": [1, null, "a", []]}', b"[" * 100_000, b"\xff"])
def test_anything_but_a_set_has_no_keys(jwks: bytes) -> None:
    assert read_keys(jwks) == {}


def test_a_stranger_signs_with_a_key_that_nobody_knows() -> None:
    token = signed_by_a_stranger(claims())
    assert claims_of(token) == claims()
    assert why(token) == "the issuer has no such key"
    assert signed_by_a_stranger(claims()) != token


def test_no_token_is_in_what_is_said() -> None:
    token = SIGNER.sign(claims())
    shown = repr(said(token)) + repr(said(token[:-9])) + repr(said(STRANGER.sign(claims())))
    assert all(part not in shown for part in token.split("."))
