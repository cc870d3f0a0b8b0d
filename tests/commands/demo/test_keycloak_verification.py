"""Which tokens are verified and which are not; tests/property has the laws."""

import base64
import json

import pytest

from exchanger.commands.demo.keycloak.verification import TokenVerification, read_keys, signed_by_a_stranger, verify
from exchanger.commands.scenarios.tokens import encode
from exchanger.formats.jwt.unverified import claims_of
from tests.commands.demo.signed import ALGORITHMS, ISSUER, NOW, SIGNER, STRANGER, claims, text

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


def said(token: str) -> TokenVerification:
    return verify(token, KEYS, ISSUER, NOW)


def why(token: str) -> str:
    found = said(token)
    assert not found.verified
    return found.text.removeprefix("not verified: ")


def resigned(token: str, signature: bytes) -> str:
    return f"{token.rpartition('.')[0]}.{text(signature)}"


def signature_of(token: str) -> bytes:
    return base64.urlsafe_b64decode(token.rpartition(".")[2] + "==")


def test_example_of_the_rfc_is_verified_until_it_expires() -> None:
    keys = read_keys(json.dumps({"keys": [RFC_KEY]}).encode())
    assert verify(RFC_TOKEN, keys, "joe", 1_300_819_379).verified
    assert not verify(RFC_TOKEN, keys, "joe", 1_300_819_380).verified


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_signature_is_verified_by_its_own_key(alg: str) -> None:
    kid = "ec" if alg == "ES256" else "rsa"
    token = SIGNER.sign(claims(aud=["orders-api", "archive-api"]), alg)
    expected = f"{alg} by key {kid}: iss {ISSUER}, aud archive-api, orders-api, expires in 300 s"
    assert said(token) == TokenVerification(True, expected, kid)
    signature = signature_of(token)
    for other in (signature_of(STRANGER.sign(claims(), alg)), signature[:-1], signature[:32] + bytes(1) + signature[32:], b""):
        assert why(resigned(token, other)) == "the signature does not match the key"


def unsigned(kid: str) -> str:
    return resigned(SIGNER.sign(claims(), alg="none", kid=kid), b"")


NOT_A_JWT = ("", "a.b", "a.b.c", "e30.e30", "e30.e30.e30.e30", "bnVsbA.e30.AA", "e30.W10.AA", "é.e30.AA")
UNTIMED = ("soon", None, True, -1, 10**400, float("inf"), float("nan"))
REFUSED = {
    "it is not a signed JWT": (
        *NOT_A_JWT,
        *(SIGNER.sign(claims(), **header) for header in ({"crit": ["b64"], "b64": False}, {"b64": False})),
    ),
    "its header has extensions": (SIGNER.sign(claims(), crit=["x"], x=1),),
    "the key is for another algorithm": (SIGNER.sign(claims(), "ES256", kid="rsa"), SIGNER.sign(claims(), "RS256", kid="ec")),
    "the issuer has no such key": tuple(SIGNER.sign(claims(), kid=kid) for kid in ("other", "", None)),
    f"it is not from {ISSUER}": tuple(SIGNER.sign(claims(iss=issuer)) for issuer in ("https://o.example", ISSUER + "/", None, [ISSUER])),
    "it has expired": tuple(SIGNER.sign(claims(exp=expires)) for expires in (NOW, NOW - 0.5)),
    "it does not say when it expires": tuple(SIGNER.sign(claims(exp=expires)) for expires in UNTIMED),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_token_is_refused_with_the_reason(reason: str) -> None:
    assert {why(token) for token in REFUSED[reason]} == {reason}


def test_other_algorithms_and_unsigned_tokens_are_refused() -> None:
    for alg in ("none", "HS256", "RS512", "", 7, "ES256K"):
        assert "is not one of RS256, PS256, ES256" in why(SIGNER.sign(claims(), alg=alg))
    for token in (encode(claims()), unsigned("rsa"), unsigned("ec")):
        assert "the algorithm none" in why(token)


def test_a_key_with_an_algorithm_is_for_that_alone() -> None:
    keys = read_keys(json.dumps({"keys": [SIGNER.rsa_jwk() | {"alg": "RS256"}]}).encode())
    assert verify(SIGNER.sign(claims(), "RS256"), keys, ISSUER, NOW).verified
    assert "another algorithm" in verify(SIGNER.sign(claims(), "PS256"), keys, ISSUER, NOW).text


def test_token_is_valid_until_it_expires() -> None:
    found = said(SIGNER.sign({name: value for name, value in claims(exp=NOW + 0.5).items() if name != "aud"}))
    assert found.verified
    assert ", aud (nobody), " in found.text


def test_a_segment_has_one_spelling_and_a_token_a_bound() -> None:
    """Two texts for one token would be two tokens for whoever compares them."""
    token = SIGNER.sign(claims())
    # 256 bytes are 342 characters, the last of which has four bits that say nothing.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = token[:-1] + alphabet[alphabet.index(token[-1]) + 1]
    assert signature_of(other) == signature_of(token)
    assert not said(other).verified
    assert not said(f"{token}==").verified
    assert why(SIGNER.sign(claims(padding="x" * 65_536))) == "it is not a signed JWT"


def test_the_name_of_a_key_is_shown_bounded_and_printable() -> None:
    keys = {"\x1b[2J" + "x" * 100: KEYS["rsa"]}
    found = verify(SIGNER.sign(claims(), kid=next(iter(keys))), keys, ISSUER, NOW)
    assert found.verified
    assert found.text.isprintable()
    assert len(found.kid) == 64


UNUSABLE_KEYS: list[dict[str, object]] = [
    {"use": "enc"},
    {"kty": "oct"},
    {"kid": None},
    {"alg": 7},
    {"n": "AQAB", "x": "AQAB"},
    {"n": "!", "x": "!"},
    {"n": "", "y": ""},
    {"n": 7, "y": 7},
    {"e": "Ag", "crv": "P-521"},
    {"kty": "EC", "crv": "P-257", "x": "AA", "y": "AA"},
    {"e": text(b"\x01" + b"\0" * 4 + b"\x01"), "crv": None},
]
OTHER_SETS = [b"", b"[]", b"null", b'{"keys": {}}', b'{"keys": [1, null, "a", []]}', b"[" * 100_000, b"\xff"]


def test_unusable_keys_are_left_out_and_other_documents_have_none() -> None:
    for changed in UNUSABLE_KEYS:
        assert read_keys(SIGNER.jwks(**changed)) == {}, changed
    for jwks in OTHER_SETS:
        assert read_keys(jwks) == {}, jwks[:20]


def test_a_stranger_signs_with_an_unknown_key() -> None:
    token = signed_by_a_stranger(claims())
    assert claims_of(token) == claims()
    assert why(token) == "the issuer has no such key"
    assert signed_by_a_stranger(claims()) != token


def test_no_verification_contains_the_token() -> None:
    token = SIGNER.sign(claims())
    shown = repr(said(token)) + repr(said(token[:-9])) + repr(said(STRANGER.sign(claims())))
    assert all(part not in shown for part in token.split("."))
