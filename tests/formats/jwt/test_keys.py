"""Sets of keys as issuers publish them, and as they should not."""

import itertools
from collections.abc import Mapping
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import example, given
from hypothesis import strategies as st

from exchanger.formats.jwt import base64url
from exchanger.formats.jwt.algorithms import EC, ED25519, NAMES, RSA
from exchanger.formats.jwt.keys import MAX_CANDIDATES, MAX_KEYS, SMALL_ORDER, KeySet, KeySetProblem, key_set_in_steps, read_key_set
from tests.formats.jwt.issuer import KEYS, P256, RSA_KEY, jwk, key_set, rsa_jwk, text

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
        *(("ed", alg, {"EdDSA", "Ed25519"}) for alg in ("EdDSA", "Ed25519")),
        *(("rsa", alg, set[str]()) for alg in ("RSA-OAEP", "HS256", "none", "ES256", None, ["RS256"])),
        *(("p256", alg, set[str]()) for alg in ("ES384", "ECDH-ES")),
        ("ed", "Ed448", set()),
    ],
)
def test_a_key_with_an_algorithm_is_pinned_to_it(kid: str, alg: object, own: set[str]) -> None:
    assert algorithms(jwk(KEYS[kid], kid=kid, alg=alg)) == own


USABLE: Final[list[dict[str, object]]] = [
    {"use": "sig"},
    {"key_ops": ["verify"]},
    {"key_ops": ["sign", "verify"], "use": "sig"},
    {"x5c": "not even a list", "x5t": 1.0, "ext": True, "nonsense": [{}]},
]
# Values of a member that make a key unusable.
IGNORED: Final[dict[str, list[object]]] = {
    "use": ["enc", None, ["sig"]],
    "key_ops": [["sign"], [], "verify", None],
    **{secret: ["AQAB"] for secret in ("d", "p", "k")},
    "kty": ["oct", "EC", "OKP", "AKP", None, ["RSA"]],
    "kid": [None, 1.0, ["rsa"]],
    "n": [None, "", "!", 1.0],
    "e": [None, "", "AQAB=", 65537.0],
}


@pytest.mark.parametrize("changed", USABLE)
def test_a_key_is_usable(changed: dict[str, object]) -> None:
    assert algorithms(jwk(RSA_KEY) | changed)


@pytest.mark.parametrize("name", IGNORED)
def test_a_key_is_ignored(name: str) -> None:
    assert [value for value in IGNORED[name] if algorithms(jwk(RSA_KEY) | {name: value})] == []


@pytest.mark.parametrize("member", [None, "key", 1.0, [], [["kty", "RSA"]], {}])
def test_what_is_no_key_does_not_spoil_the_others(member: object) -> None:
    assert [key.kid for key in key_set(member, GOOD, member).keys] == ["good"]


@pytest.mark.parametrize(
    ("n", "e", "usable"),
    [
        *((2**bits + 1, 65_537, usable) for bits, usable in ((2046, False), (2047, True), (8191, True), (8192, False), (30_000, False))),
        *((N, e, True) for e in (3, 2**32 - 1)),
        *((N, e, False) for e in (1, 2, 65_536, 2**32 + 1, 2**30_000 + 1, N - 2)),
    ],
    ids=map(str, itertools.count()),
)
def test_rsa_numbers_are_bounded(n: int, e: int, usable: bool) -> None:
    assert bool(algorithms(rsa_jwk(n, e))) is usable


@pytest.mark.parametrize(("size", "usable"), [(1050, True), (1051, False)])  # bytes, of which base64url makes 1,400 and 1,402 characters
def test_zeros_before_a_modulus_are_bounded(size: int, usable: bool) -> None:
    assert bool(algorithms(rsa_jwk(N, 65_537) | {"n": text(N.to_bytes(size, "big"))})) is usable


OFF_THE_CURVE: Final[list[tuple[str, str, list[object]]]] = [
    ("p256", "crv", ["P-384", "secp256k1", "p-256", None, ["P-256"]]),
    ("p256", "x", ["AQAB", "A" * 100_000]),
    ("p256", "y", ["", None]),
    ("p521", "crv", ["P-256"]),
    ("ed", "crv", ["Ed448", "X25519"]),
    ("ed", "x", ["AQAB", None]),
    ("ed", "kty", ["EC"]),
]


@pytest.mark.parametrize(("kid", "name", "values"), OFF_THE_CURVE)
def test_a_point_is_on_its_curve(kid: str, name: str, values: list[object]) -> None:
    assert [value for value in values if algorithms(jwk(KEYS[kid]) | {name: value})] == []


# edwards25519, by its definition: RFC 8032 section 5.1.
P: Final = 2**255 - 19
D: Final = -121665 * pow(121666, -1, P) % P
ORDER: Final = 2**252 + 27742317777372353535851937790883648493
Point = tuple[int, int]


def add(one: Point, other: Point) -> Point:
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2
    return (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P


def times(factor: int, point: Point) -> Point:
    found: Point = (0, 1)
    for bit in f"{factor:b}":
        found = add(found, found)
        found = add(found, point) if bit == "1" else found
    return found


def roots(y: int) -> set[int]:
    """Return the x of the points with this y."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    root = pow(square, (P + 3) // 8, P)
    return {x for base in (root, root * pow(2, (P - 1) // 4, P) % P) for x in (base, -base % P) if x * x % P == square}


def small_order() -> set[Point]:
    """Return all points whose order divides 8: multiples of the order of the large subgroup leave nothing else."""
    found: set[Point] = set()
    for y in range(2, 60):
        found |= {times(ORDER, (x, y)) for x in roots(y)}
    return found


def encoded_point(y: int, sign: int) -> str:
    return base64url.encode((y | sign << 255).to_bytes(32, "little"))


def test_no_ed25519_key_of_small_order_is_usable_in_any_encoding() -> None:
    points = small_order()
    assert len(points) == 8
    assert {y for _, y in points} == SMALL_ORDER
    encodings = {encoded_point(y, sign) for _, point_y in points for y in (point_y, point_y + P) if y < 2**255 for sign in (0, 1)}
    assert len(encodings) == 14
    assert [x for x in (*encodings, "!", "AAAA") if algorithms({"kty": "OKP", "crv": "Ed25519", "x": x})] == []


def test_a_key_of_order_one_would_verify_anything() -> None:
    """Why they are refused: the library takes a signature that nobody made."""
    anybody = Ed25519PublicKey.from_public_bytes((1).to_bytes(32, "little"))
    anybody.verify((1).to_bytes(32, "little") + bytes(32), b"whatever")


@given(st.integers(0, 2**255 - 1), st.integers(0, 1))
@example(P, 0)
@example(P + 2, 1)
def test_a_point_has_one_encoding(y: int, sign: int) -> None:
    usable = bool(algorithms({"kty": "OKP", "crv": "Ed25519", "x": encoded_point(y, sign)}))
    assert usable is (y < P and y not in SMALL_ORDER)


def test_a_curve_that_tokens_do_not_use_is_ignored() -> None:
    point = ec.generate_private_key(ec.SECP256K1()).public_key().public_numbers()
    other = jwk(P256) | {"crv": "secp256k1", "x": jwk_number(point.x), "y": jwk_number(point.y)}
    assert algorithms(other) == set()


def jwk_number(value: int) -> object:
    return rsa_jwk(value, 3)["n"]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        *((members, "has no list of keys") for members in ({}, {"keys": None}, {"keys": {"kty": "RSA"}}, {"keys": "RSA"})),
        *(({"keys": keys}, "has no key that can verify signatures") for keys in ([], [{"kty": "oct", "k": "AQAB"}])),
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


def test_a_set_is_read_in_steps_of_few_keys() -> None:
    rsa = jwk(RSA_KEY)
    assert isinstance(next(key_set_in_steps({"keys": [rsa] * 9})), KeySet)
    *steps, found = key_set_in_steps({"keys": [rsa] * MAX_KEYS})
    assert isinstance(found, KeySet)
    assert (len(found.keys), len(steps)) == (MAX_KEYS, 10)
