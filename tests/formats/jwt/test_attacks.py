"""The classic attacks on signed tokens (RFC 8725 section 2), each beside the honest token that it is made from."""

import base64
import hashlib
import hmac
import itertools
import json
from collections.abc import Callable
from typing import Final
from unittest.mock import patch

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from exchanger.formats.jwt import compact
from exchanger.formats.jwt.compact import Compact, take_apart
from exchanger.formats.jwt.refusal import TokenRefusalReason, TokenRefused
from exchanger.formats.jwt.verify import UnknownKey, Unverified, VerifiedClaims, read_token
from tests.formats.jwt.issuer import (
    CLAIMS,
    ISSUER,
    KEY_SET,
    KIDS,
    NOW,
    P256,
    RSA_KEY,
    STRANGER,
    claims,
    jwk,
    key_set,
    public_pem,
    raw,
    text,
    token,
    verified,
)

HONEST: Final = raw({"alg": "ES256", "kid": "p256"})
HEAD, BODY, SIGNATURE = HONEST.split(".")
OTHER: Final = ec.generate_private_key(ec.SECP256R1())


def test_the_honest_token_is_accepted() -> None:
    assert isinstance(verified(HONEST), VerifiedClaims)


@pytest.mark.parametrize("alg", ["none", "None", "NONE", ""])
@pytest.mark.parametrize("signature", ["", SIGNATURE], ids=["no signature", "a signature"])
def test_no_signature(alg: str, signature: str) -> None:
    head = text(json.dumps({"alg": alg, "kid": "p256"}).encode())
    assert isinstance(verified(f"{head}.{BODY}.{signature}"), TokenRefused)


@pytest.mark.parametrize("alg", ["HS256", "hs256"])
@pytest.mark.parametrize("kid", [{"kid": "rsa"}, {}])
def test_the_public_key_is_no_secret(alg: str, kid: dict[str, str]) -> None:
    signed = f"{text(json.dumps({'alg': alg, **kid}).encode())}.{BODY}"
    mac = hmac.digest(public_pem(RSA_KEY).encode(), signed.encode(), hashlib.sha256)
    assert verified(f"{signed}.{text(mac)}") == TokenRefused(TokenRefusalReason.ALGORITHM)


def test_a_mac_is_no_signature_of_a_key_pair() -> None:
    signed = f"{text(json.dumps({'alg': 'RS256', 'kid': 'rsa'}).encode())}.{BODY}"
    mac = hmac.digest(public_pem(RSA_KEY).encode(), signed.encode(), hashlib.sha256)
    assert verified(f"{signed}.{text(mac)}") == TokenRefused(TokenRefusalReason.SIGNATURE)


@pytest.mark.parametrize("kid", [{"kid": "rsa"}, {}])
def test_a_stranger_signs(kid: dict[str, str]) -> None:
    assert verified(raw({"alg": "RS256", **kid}, CLAIMS, STRANGER)) == TokenRefused(TokenRefusalReason.SIGNATURE)


def test_the_key_of_another_issuer_is_unknown() -> None:
    assert verified(raw({"alg": "RS256", "kid": "theirs"}, CLAIMS, STRANGER)) == UnknownKey(ISSUER)


@pytest.mark.parametrize(
    "brought",
    [
        {"jwk": jwk(STRANGER, kid="rsa")},
        {"jku": "https://attacker.example.com/keys"},
        {"x5u": "https://attacker.example.com/certificate"},
        {"x5c": ["MII"]},
        {"jku": 1, "jwk": [], "x5u": {}, "x5c": None},
    ],
)
def test_keys_that_a_token_brings_are_neither_used_nor_read(brought: dict[str, object]) -> None:
    header = {"alg": "RS256", "kid": "rsa", **brought}
    assert verified(raw(header, CLAIMS, STRANGER)) == TokenRefused(TokenRefusalReason.SIGNATURE)
    assert isinstance(verified(raw(header, CLAIMS, RSA_KEY)), VerifiedClaims)


@pytest.mark.parametrize(
    ("header", "payload", "reason"),
    [
        (b'{"alg":"none","alg":"ES256","kid":"p256"}', CLAIMS, TokenRefusalReason.HEADER),
        (b'{"alg":"ES256","kid":"x","k\\u0069d":"p256"}', CLAIMS, TokenRefusalReason.HEADER),
        (b'{"alg":"ES256","kid":"p256","jwk":{"a":1,"a":1}}', CLAIMS, TokenRefusalReason.HEADER),
        (
            b'{"alg":"ES256","kid":"p256"}',
            b'{"iss":"https://attacker.example.com","iss":"https://login.example.com"}',
            TokenRefusalReason.CLAIMS,
        ),
        (b'{"alg":"ES256","kid":"p256"}', b'{"iss":"x","\\u0069ss":"https://login.example.com"}', TokenRefusalReason.CLAIMS),
        (b'{"alg":"ES256","kid":"p256"}', b'{"iss":"https://login.example.com","act":{"sub":"a","sub":"a"}}', TokenRefusalReason.CLAIMS),
    ],
)
def test_a_name_that_is_there_twice(header: bytes, payload: object, reason: TokenRefusalReason) -> None:
    assert verified(raw(header, payload)) == TokenRefused(reason)


NO_JSON_OBJECT: Final = [
    *(b"", b"null", b"[]", b'"text"', b"1", b"{", b"{}}", b"{'alg':'ES256'}"),
    *(b'\xef\xbb\xbf{"alg":"ES256","kid":"p256"}', '{"alg":"ES256","kid":"p256"}'.encode("utf-16")),
    *(b'{"alg":"ES256","kid":"%b"}' % text for text in (b"\xff", b"\n")),
    *(b'{"alg":"ES256","kid":"p256","x":%b}' % number for number in (b"NaN", b"-Infinity", b"9" * 5000)),
    *(b"[" * 40_000, b'{"x":' * 8_000, b'{"x":"' + b'\\"[' * 10_000),
]


@pytest.mark.parametrize("text", NO_JSON_OBJECT, ids=map(str, itertools.count()))
def test_what_is_no_json_object(text: bytes) -> None:
    assert verified(raw(text)) == TokenRefused(TokenRefusalReason.HEADER if text else TokenRefusalReason.NOT_COMPACT)
    assert verified(raw({"alg": "ES256", "kid": "p256"}, text)) == TokenRefused(
        TokenRefusalReason.CLAIMS if text else TokenRefusalReason.NOT_COMPACT
    )


@pytest.mark.parametrize(
    ("most", "object_of"),
    [
        (32, lambda depth: b'{"x":%b%b}' % (b"[" * (depth - 1), b"]" * (depth - 1))),
        (1024, lambda brackets: b'{"x":[%b]}' % b",".join([b"{}"] * (brackets - 2))),
        (4096, lambda parts: b'{"x":[%b0]}' % (b"0," * (parts - 6))),
    ],
    ids=["depth", "brackets", "parts"],
)
def test_the_parts_of_a_token_are_bounded(most: int, object_of: Callable[[int], bytes]) -> None:
    """Reading each of them costs more than the rest, and anybody can send as many as a header holds."""
    assert isinstance(take_apart(raw(object_of(most))), Compact)
    assert take_apart(raw(object_of(most + 1))) == TokenRefused(TokenRefusalReason.HEADER)


FILLED: Final = ('"",', '"":0,', "0,", "1e9,", "{},", '{"":0},', "[],", "true,", "]", ",", ":", '"')


@pytest.mark.parametrize("unit", FILLED)
@pytest.mark.parametrize("beside", ["", "[" * 33])
def test_whatever_fills_a_token_is_refused_by_its_parts(unit: str, beside: str) -> None:
    """Reading takes as long as there are parts: the longest token is refused before it is read."""
    filled = f'{{"x":{beside}[{unit * (30_000 // len(unit))}0]}}'.encode()
    with patch.object(compact, "_JSON", None):  # reading it would be a fault
        assert verified(raw(filled)) == TokenRefused(TokenRefusalReason.HEADER)


def test_as_many_groups_as_directories_put_into_a_token() -> None:
    assert isinstance(verified(token(groups=["CN=group,OU=department,DC=example"] * 1000)), VerifiedClaims)


@pytest.mark.parametrize(
    "number", [b"1e400", b"-1e400", b"1" + b"0" * 400, b"NaN", b"Infinity", b"true", b'"2000000000"'], ids=map(str, itertools.count())
)
@pytest.mark.parametrize("name", [b"exp", b"nbf", b"iat"])
def test_a_time_that_is_no_number(name: bytes, number: bytes) -> None:
    payload = json.dumps(claims(exp=...)).encode()[:-1] + (b"" if name == b"exp" else b',"exp":2000000000') + b',"%b":%b}' % (name, number)
    expected = TokenRefusalReason.CLAIMS if number in {b"NaN", b"Infinity"} else TokenRefusalReason.TIMES
    assert verified(raw({"alg": "ES256", "kid": "p256"}, payload)) == TokenRefused(expected)


def next_character(character: str) -> str:
    """The character that differs from ``character`` in its last bit."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return alphabet[alphabet.index(character) ^ 1]


NOT_COMPACT: Final = [
    *(f"{HONEST}{more}" for more in ("=", "\n", ".", f".{SIGNATURE}", "AAA")),
    *(f"{HEAD}{more}.{BODY}.{SIGNATURE}" for more in ("=", "\n")),
    *(f"{HEAD}.{BODY}", f"{HEAD}..{SIGNATURE}", f".{BODY}.{SIGNATURE}", f"{HEAD}.{BODY}.", "..", "", f" {HONEST}"),
    *(f"{HONEST[:-1]}{last}" for last in (next_character(SIGNATURE[-1]), "+", "/", "\N{FULLWIDTH LATIN CAPITAL LETTER A}", "\ud800")),
    json.dumps({"protected": HEAD, "payload": BODY, "signature": SIGNATURE}),
]


@pytest.mark.parametrize("changed", NOT_COMPACT, ids=map(str, itertools.count()))
def test_one_token_has_one_text(changed: str) -> None:
    assert verified(changed) == TokenRefused(TokenRefusalReason.NOT_COMPACT)


@pytest.mark.parametrize("alg", KIDS)
@pytest.mark.parametrize("fill", [b"\x00", b"\xff", b"\x01"])
def test_a_signature_of_one_byte_all_over(alg: str, fill: bytes) -> None:
    head, _, signature = token(alg).rpartition(".")
    length = len(base64.urlsafe_b64decode(signature + "=="))
    for size in (1, length - 1, length, length + 1):
        assert verified(f"{head}.{text(fill * size)}") == TokenRefused(TokenRefusalReason.SIGNATURE)


def test_an_ecdsa_signature_is_not_in_der() -> None:
    der = P256.sign(f"{HEAD}.{BODY}".encode(), ec.ECDSA(hashes.SHA256()))
    assert verified(f"{HEAD}.{BODY}.{text(der)}") == TokenRefused(TokenRefusalReason.SIGNATURE)


@pytest.mark.parametrize("alg", KIDS)
def test_a_signature_belongs_to_its_token(alg: str) -> None:
    head, _, _ = token(alg).rpartition(".")
    _, _, signature = token(alg, sub="bob").rpartition(".")
    assert verified(f"{head}.{signature}") == TokenRefused(TokenRefusalReason.SIGNATURE)


@pytest.mark.parametrize("alg", [alg for alg in KIDS if KIDS[alg] == "rsa" and alg != "RS256"])
def test_an_algorithm_belongs_to_its_signature(alg: str) -> None:
    assert verified(raw({"alg": alg, "kid": "rsa"}, CLAIMS, RSA_KEY)) == TokenRefused(TokenRefusalReason.SIGNATURE)


@pytest.mark.parametrize("alg", KIDS)
def test_an_algorithm_belongs_to_its_key(alg: str) -> None:
    others = set(KIDS.values()) - {KIDS[alg]}
    assert {verified(token(alg, {"kid": kid})) for kid in others} == {UnknownKey(ISSUER)}


def test_a_pinned_key_takes_no_other_algorithm_of_its_type() -> None:
    pinned = key_set(jwk(RSA_KEY, kid="rsa", alg="PS256"))
    assert isinstance(verified(token("PS256"), pinned), VerifiedClaims)
    assert verified(token("RS256"), pinned) == UnknownKey(ISSUER)


def test_the_bad_signature_is_told_before_the_claims() -> None:
    forged = raw({"alg": "ES256", "kid": "p256"}, claims(aud={}, exp="never", act=[]), OTHER)
    assert verified(forged, KEY_SET, now=NOW) == TokenRefused(TokenRefusalReason.SIGNATURE)


CANARY: Final = "canary"


@pytest.mark.parametrize(
    "token",
    [
        raw({"alg": "ES256", "kid": CANARY}, claims(sub=CANARY, act={"sub": CANARY})),
        raw({"alg": "ES256", "kid": "p256"}, claims(iss=CANARY)),
        raw({"alg": CANARY, "kid": "p256"}),
        raw({"alg": "ES256", "kid": "p256", "typ": CANARY}),
        raw({"alg": "ES256", "kid": "p256"}, claims(sub=CANARY, aud=CANARY, exp=CANARY)),
        raw({"alg": "ES256", "kid": "p256"}, claims(sub=CANARY, act={"sub": CANARY})),
        CANARY,
    ],
    ids=map(str, itertools.count()),
)
def test_no_part_of_a_token_is_shown(token: str) -> None:
    read, said = read_token(token), verified(token)
    inner = (take_apart(token), read.stated if isinstance(read, Unverified) else None)
    shown = "".join(form(value) for value in (read, said, *inner) for form in (repr, str))
    assert CANARY not in shown
    assert not any(part in shown for part in token.split("."))


def test_of_a_token_that_is_read_only_the_algorithm_is_shown() -> None:
    assert repr(read_token(HONEST)) == "Unverified(algorithm='ES256')"
