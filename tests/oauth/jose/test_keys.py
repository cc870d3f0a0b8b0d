"""Sets of keys as issuers publish them, and as they should not."""

import itertools
from collections.abc import Mapping

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from exchanger.oauth.jose.algorithms import EC, ED25519, NAMES, RSA
from exchanger.oauth.jose.keys import MAX_CANDIDATES, MAX_KEYS, KeySet, KeySetProblem, read_key_set
from tests.oauth.jose.issuer import KEYS, P256, RSA_KEY, jwk, key_set, rsa_jwk

GOOD = jwk(P256, kid="good")
N = RSA_KEY.public_key().public_numbers().n


def algorithms(member: Mapping[str, object]) -> set[str]:
    """The algorithms of a key that may be usable, beside one that is."""
    return {alg for key in key_set(member, GOOD).keys if key.kid != "good" for alg in key.algorithms}


@pytest.mark.parametrize(
    ("kid", "own"),
    [("rsa", set(RSA)), ("p256", {"ES256"}), ("p384", {"ES384"}), ("p521", {"ES512"}), ("ed", {"EdDSA", "Ed25519"})],
)
def test_a_key_is_pinned_to_the_algorithms_of_its_type(kid: str, own: set[str]) -> None:
    assert algorithms(jwk(KEYS[kid], kid=kid)) == own


def test_no_algorithm_is_a_mac_or_none() -> None:
    assert frozenset(RSA) | frozenset(EC.values()) | frozenset(ED25519) == NAMES
    assert all(name[:2] in {"RS", "PS", "ES", "Ed"} for name in NAMES)


@pytest.mark.parametrize(
    ("kid", "alg", "own"),
    [
        ("rsa", "PS384", {"PS384"}),
        ("p256", "ES256", {"ES256"}),
        ("ed", "EdDSA", {"EdDSA", "Ed25519"}),
        ("ed", "Ed25519", {"EdDSA", "Ed25519"}),
        ("rsa", "RSA-OAEP", set()),
        ("rsa", "HS256", set()),
        ("rsa", "none", set()),
        ("rsa", "ES256", set()),
        ("p256", "ES384", set()),
        ("p256", "ECDH-ES", set()),
        ("ed", "Ed448", set()),
        ("rsa", None, set()),
        ("rsa", ["RS256"], set()),
    ],
)
def test_a_key_with_an_algorithm_is_pinned_to_it(kid: str, alg: object, own: set[str]) -> None:
    assert algorithms(jwk(KEYS[kid], kid=kid, alg=alg)) == own


@pytest.mark.parametrize(
    ("changed", "usable"),
    [
        ({"use": "sig"}, True),
        ({"use": "enc"}, False),
        ({"use": None}, False),
        ({"use": ["sig"]}, False),
        ({"key_ops": ["verify"]}, True),
        ({"key_ops": ["sign", "verify"], "use": "sig"}, True),
        ({"key_ops": ["sign"]}, False),
        ({"key_ops": []}, False),
        ({"key_ops": "verify"}, False),
        ({"key_ops": None}, False),
        ({"d": "AQAB"}, False),
        ({"p": "AQAB"}, False),
        ({"k": "AQAB"}, False),
        ({"kty": "oct"}, False),
        ({"kty": "EC"}, False),
        ({"kty": "OKP"}, False),
        ({"kty": "AKP"}, False),
        ({"kty": None}, False),
        ({"kty": ["RSA"]}, False),
        ({"kid": None}, False),
        ({"kid": 1.0}, False),
        ({"kid": ["rsa"]}, False),
        ({"n": None}, False),
        ({"n": ""}, False),
        ({"n": "!"}, False),
        ({"n": 1.0}, False),
        ({"e": ""}, False),
        ({"e": None}, False),
        ({"e": "AQAB="}, False),
        ({"e": 65537.0}, False),
        ({"x5c": "not even a list", "x5t": 1.0, "ext": True, "nonsense": [{}]}, True),
    ],
)
def test_a_key_is_usable_or_ignored(changed: dict[str, object], usable: bool) -> None:
    assert bool(algorithms(jwk(RSA_KEY) | changed)) is usable


@pytest.mark.parametrize("member", [None, "key", 1.0, [], [["kty", "RSA"]], {}])
def test_what_is_no_key_does_not_spoil_the_others(member: object) -> None:
    assert [key.kid for key in key_set(member, GOOD, member).keys] == ["good"]


@pytest.mark.parametrize(
    ("n", "e", "usable"),
    [
        (2**2046 + 1, 65_537, False),
        (2**2047 + 1, 65_537, True),
        (2**8191 + 1, 65_537, True),
        (2**8192 + 1, 65_537, False),
        (2**30_000 + 1, 65_537, False),
        (N, 1, False),
        (N, 2, False),
        (N, 3, True),
        (N, 65_536, False),
        (N, 2**32 - 1, True),
        (N, 2**32 + 1, False),
        (N, 2**30_000 + 1, False),
        (N, N - 2, False),
    ],
    ids=map(str, itertools.count()),
)
def test_rsa_numbers_are_bounded(n: int, e: int, usable: bool) -> None:
    assert bool(algorithms(rsa_jwk(n, e))) is usable


@pytest.mark.parametrize(
    ("kid", "changed"),
    [
        ("p256", {"crv": "P-384"}),
        ("p256", {"crv": "secp256k1"}),
        ("p256", {"crv": "p-256"}),
        ("p256", {"crv": None}),
        ("p256", {"crv": ["P-256"]}),
        ("p256", {"x": "AQAB"}),
        ("p256", {"y": ""}),
        ("p256", {"y": None}),
        ("p256", {"x": "A" * 100_000}),
        ("p521", {"crv": "P-256"}),
        ("ed", {"crv": "Ed448"}),
        ("ed", {"crv": "X25519"}),
        ("ed", {"x": "AQAB"}),
        ("ed", {"x": None}),
        ("ed", {"kty": "EC"}),
    ],
    ids=map(str, itertools.count()),
)
def test_a_point_is_on_its_curve(kid: str, changed: dict[str, object]) -> None:
    assert algorithms(jwk(KEYS[kid]) | changed) == set()


def test_a_curve_that_tokens_do_not_use_is_ignored() -> None:
    point = ec.generate_private_key(ec.SECP256K1()).public_key().public_numbers()
    other = jwk(P256) | {"crv": "secp256k1", "x": jwk_number(point.x), "y": jwk_number(point.y)}
    assert algorithms(other) == set()


def jwk_number(value: int) -> object:
    return rsa_jwk(value, 3)["n"]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({}, "has no list of keys"),
        ({"keys": None}, "has no list of keys"),
        ({"keys": {"kty": "RSA"}}, "has no list of keys"),
        ({"keys": "RSA"}, "has no list of keys"),
        ({"keys": []}, "has no key that can verify signatures"),
        ({"keys": [{"kty": "oct", "k": "AQAB"}]}, "has no key that can verify signatures"),
    ],
)
def test_a_set_without_a_usable_key_is_a_problem(members: dict[str, object], reason: str) -> None:
    assert read_key_set(members) == KeySetProblem(reason)


def test_the_rest_of_a_long_set_is_ignored() -> None:
    assert isinstance(read_key_set({"keys": [None] * (MAX_KEYS - 1) + [GOOD]}), KeySet)
    assert isinstance(read_key_set({"keys": [None] * MAX_KEYS + [GOOD]}), KeySetProblem)


def test_keys_are_found_by_name_and_algorithm() -> None:
    rsa, p256, unnamed = jwk(RSA_KEY, kid="a"), jwk(P256, kid="a"), jwk(P256)
    keys = key_set(rsa, p256, unnamed)
    first, second, third = keys.keys
    assert keys.find("a", "RS256") == (first,)
    assert keys.find("a", "ES256") == (second,)
    assert keys.find(None, "ES256") == (second, third)
    assert keys.find("b", "ES256") == ()
    assert keys.find("", "ES256") == ()
    assert keys.find("a", "HS256") == ()
    assert keys.find(None, "none") == ()


def test_few_keys_are_tried() -> None:
    names = ["other", *(["same"] * (MAX_CANDIDATES + 1))]
    keys = key_set(*(jwk(P256, kid=name) for name in names))
    assert keys.find("same", "ES256") == keys.keys[1 : 1 + MAX_CANDIDATES]
    assert keys.find(None, "ES256") == keys.keys[:MAX_CANDIDATES]


def test_sets_of_the_same_keys_are_equal() -> None:
    assert key_set(GOOD) == key_set(dict(GOOD))
    assert key_set(GOOD) != key_set(jwk(ec.generate_private_key(ec.SECP256R1()), kid="good"))
    assert key_set(GOOD) != key_set(jwk(P256, kid="renamed"))
