"""Callers' tokens: those that PyJWT signs are accepted, and each rule refuses what breaks it and nothing else."""

import itertools
from collections.abc import Callable, Mapping
from typing import Final

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from exchanger.formats.jwt.claims import LEEWAY, SubjectPolicy
from exchanger.formats.jwt.compact import MAX_DEPTH
from exchanger.formats.jwt.keys import MAX_CANDIDATES, KeySet
from exchanger.formats.jwt.refusal import TokenRefusalReason, TokenRefused
from exchanger.formats.jwt.verify import UnknownKey, Unverified, VerifiedClaims, check_issuer, read_token
from exchanger.model.issuer import MAX_ACTORS
from tests.formats.jwt.issuer import CLAIMS, ED25519, ISSUER, KIDS, NOW, P256, POLICY, claims, jwk, key_set, raw, token, verified

ACCEPTED: Final = VerifiedClaims(ISSUER, NOW + 300 + LEEWAY, "")
HEADER: Final[Mapping[str, object]] = {"alg": "ES256", "kid": "p256"}
OTHERS: Final = tuple(ec.generate_private_key(ec.SECP256R1()) for _ in range(MAX_CANDIDATES))


def reason(token: str, now: float = NOW, policy: SubjectPolicy = POLICY) -> TokenRefusalReason | None:
    """Why the token is refused, ``None`` if it is accepted."""
    said = verified(token, policy=policy, now=now)
    assert not isinstance(said, UnknownKey)
    return said.reason if isinstance(said, TokenRefused) else None


@pytest.mark.parametrize("alg", KIDS)
def test_what_an_issuer_signs_is_accepted(alg: str) -> None:
    assert verified(token(alg)) == ACCEPTED


def test_the_second_name_of_eddsa_is_accepted() -> None:
    assert verified(raw({"alg": "Ed25519", "kid": "ed"}, CLAIMS, ED25519)) == ACCEPTED


def test_a_token_without_key_id_is_verified_with_a_few_keys() -> None:
    others = [jwk(key) for key in OTHERS]
    assert verified(raw({"alg": "ES256"}), key_set(*others[1:], jwk(P256, kid="p256"))) == ACCEPTED
    assert verified(raw({"alg": "ES256"}), key_set(*others, jwk(P256, kid="p256"))) == TokenRefused(TokenRefusalReason.SIGNATURE)


def test_all_keys_of_its_name_are_tried() -> None:
    assert verified(raw(HEADER), key_set(jwk(OTHERS[0], kid="p256"), jwk(P256, kid="p256"))) == ACCEPTED


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(key_set(jwk(P256, kid="another")), id="another name"),
        pytest.param(key_set(jwk(P256)), id="no name"),
        pytest.param(key_set(jwk(ED25519, kid="p256")), id="another algorithm"),
    ],
)
def test_a_key_may_be_too_new_to_be_known(keys: KeySet) -> None:
    assert verified(raw(HEADER), keys) == UnknownKey(ISSUER)


def test_a_token_of_an_unknown_issuer_is_rejected_before_any_key_lookup() -> None:
    foreign = raw({"alg": "ES256", "kid": "unknown"}, claims(iss="https://login.example.com/"))
    read = read_token(foreign)
    assert isinstance(read, Unverified)
    assert check_issuer(read, POLICY) == TokenRefused(TokenRefusalReason.ISSUER)
    assert verified(foreign) == TokenRefused(TokenRefusalReason.ISSUER)


def test_each_accepted_issuer_is_named() -> None:
    read = read_token(token(iss="https://other.example.com"))
    assert isinstance(read, Unverified)
    assert check_issuer(read, POLICY) is None
    assert verified(token(iss="https://other.example.com")) == attrs.evolve(ACCEPTED, issuer="https://other.example.com")


# By what becomes of it: values of a part of the header, and of the claims.
HEADERS: Final[Mapping[TokenRefusalReason | None, Mapping[str, list[object]]]] = {
    None: {"typ": ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "application/JWT"], "anything": [{"else": [1.5]}]},
    TokenRefusalReason.TYPE: {"typ": ["dpop+jwt", "logout+jwt", "ID", "", "JWT ", None, ["JWT"]]},
    TokenRefusalReason.EXTENSIONS: {"crit": [["exp"], [], None], "b64": [True, False]},
    TokenRefusalReason.ALGORITHM: {"alg": [None, ["ES256"], "es256", "ES256K", "Ed448"]},
    TokenRefusalReason.KEY_ID: {"kid": [None, 1, ["p256"]]},
}
CLAIM_SETS: Final[Mapping[TokenRefusalReason | None, Mapping[str, list[object]]]] = {
    None: {
        "sub": [..., 1],
        "aud": ["mesh", ["somebody", "gateway"], ["gateway", "gateway"]],
        "exp": [NOW + 300.0],
        "nbf": [0, -1e300],
        "iat": [1],
    },
    TokenRefusalReason.NO_ISSUER: {"iss": [..., None, [ISSUER]]},
    TokenRefusalReason.ISSUER: {"iss": ["", ISSUER.upper()]},
    TokenRefusalReason.AUDIENCE: {"aud": ["somebody", "gateway ", "Gateway", [], ["somebody"]]},
    TokenRefusalReason.AUDIENCES: {"aud": [..., None, {"gateway": True}, ["gateway", None], [["gateway"]], 1]},
    TokenRefusalReason.NO_EXPIRY: {"exp": [...]},
    TokenRefusalReason.TIMES: {
        "exp": [None, str(NOW + 300), True, [NOW + 300], 10**400, -(10**400)],
        "nbf": [None, False, "0", 10**400],
        "iat": [None, True, {}],
    },
    TokenRefusalReason.EXPIRED: {"exp": [0, -1e300]},
    TokenRefusalReason.CONFIRMATION: {"cnf": [{"jkt": "thumbprint"}, {}, None]},
    TokenRefusalReason.MAY_ACT: {"may_act": [{"sub": "exchanger"}, None]},
    TokenRefusalReason.ACTORS: {"act": [None, "service", [{"sub": "service"}], {"sub": "a", "act": "b"}, {"sub": "a", "act": None}]},
}


def rows(table: Mapping[TokenRefusalReason | None, Mapping[str, list[object]]]) -> pytest.MarkDecorator:
    found = [(name, value, expected) for expected, parts in table.items() for name, values in parts.items() for value in values]
    return pytest.mark.parametrize(("name", "value", "expected"), found, ids=map(str, itertools.count()))


@rows(HEADERS)
def test_a_header(name: str, value: object, expected: TokenRefusalReason | None) -> None:
    assert reason(raw({**HEADER, name: value})) == expected


def test_a_header_without_algorithm() -> None:
    assert reason(raw({"kid": "p256"})) == TokenRefusalReason.ALGORITHM


@rows(CLAIM_SETS)
def test_claims(name: str, value: object, expected: TokenRefusalReason | None) -> None:
    assert reason(raw(HEADER, claims(**{name: value}))) == expected


@pytest.mark.parametrize(
    ("changed", "now", "expected"),
    [
        ({"exp": NOW}, NOW + LEEWAY - 0.001, None),
        ({"exp": NOW}, NOW + LEEWAY, TokenRefusalReason.EXPIRED),
        ({"nbf": NOW}, NOW - LEEWAY, None),
        ({"nbf": NOW}, NOW - LEEWAY - 0.001, TokenRefusalReason.NOT_YET),
        ({"iat": NOW}, NOW - LEEWAY, None),
        ({"iat": NOW}, NOW - LEEWAY - 0.001, TokenRefusalReason.ISSUED_LATER),
    ],
)
def test_clocks_may_differ_by_the_leeway(changed: dict[str, object], now: float, expected: TokenRefusalReason | None) -> None:
    assert reason(raw(HEADER, claims(**changed)), now) == expected


def test_the_decision_holds_until_the_token_would_be_refused() -> None:
    said = verified(token(exp=NOW + 5.5))
    assert isinstance(said, VerifiedClaims)
    assert reason(token(exp=NOW + 5.5), said.until) == TokenRefusalReason.EXPIRED
    assert reason(token(exp=NOW + 5.5), said.until - 0.001) is None


def test_with_an_actor_the_subject_may_name_who_acts() -> None:
    assert reason(token(may_act={"sub": "exchanger"}), policy=attrs.evolve(POLICY, has_actor=True)) is None


def test_nobody_is_no_audience() -> None:
    assert reason(token(), policy=attrs.evolve(POLICY, audiences=())) == TokenRefusalReason.AUDIENCE


def chain(length: int) -> dict[str, object]:
    act: dict[str, object] = {"sub": "0"}
    for actor in range(1, length):
        act = {"sub": str(actor), "act": act}
    return act


def test_a_chain_of_actors_is_bounded() -> None:
    assert reason(token(act=chain(MAX_ACTORS))) is None
    assert reason(token(act=chain(MAX_ACTORS + 1))) == TokenRefusalReason.ACTORS


@pytest.mark.parametrize("most", range(MAX_ACTORS + 1))
def test_a_chain_is_as_long_as_the_profile_allows(most: int) -> None:
    policy = attrs.evolve(POLICY, max_actors=most)
    found = [reason(token(act=chain(actors)), policy=policy) for actors in range(1, MAX_ACTORS + 2)]
    assert found == [None] * most + [TokenRefusalReason.ACTORS] * (MAX_ACTORS + 1 - most)
    assert reason(token(), policy=policy) is None


def test_a_chain_of_actors_is_told_by_its_digest() -> None:
    def actors(act: object) -> str:
        said = verified(raw(HEADER, claims(act=act)))
        assert isinstance(said, VerifiedClaims)
        return said.actors

    # printf '{"act":{"sub":"\\u00e9"},"iss":"i","sub":"b"}' | sha256sum
    assert actors({"sub": "b", "act": {"sub": "é"}, "iss": "i"}) == "703c3e6a36c91d88"
    assert actors({"iss": "i", "act": {"sub": "é"}, "sub": "b"}) == "703c3e6a36c91d88"
    assert actors({"sub": "b", "act": {"sub": "e"}, "iss": "i"}) != "703c3e6a36c91d88"
    assert actors({"sub": "\ud800"}) != actors({})


def test_a_token_has_at_most_64_kib() -> None:
    def of_length(length: int) -> str:
        found = raw(HEADER, claims(fill=""))
        fill = (length - len(found)) * 3 // 4
        found = raw(HEADER, claims(fill="x" * fill))
        assert length - 3 < len(found) <= length
        return found

    assert reason(of_length(65_536)) is None
    assert read_token(of_length(65_536) + "AAAA") == TokenRefused(TokenRefusalReason.TOO_LONG)


@pytest.mark.parametrize("deep", [lambda inner: {"": inner}, lambda inner: [inner]])
@pytest.mark.parametrize("beside", [{}, {"brackets": "[{" * 100 + '"\\'}, {"flat": [[]] * 100}])
def test_nesting_is_bounded(deep: Callable[[object], object], beside: dict[str, object]) -> None:
    value: object = None
    for _ in range(MAX_DEPTH - 1):
        value = deep(value)
    assert reason(raw(HEADER, claims(**beside, deep=value))) is None
    assert reason(raw(HEADER, claims(**beside, deep=deep(value)))) == TokenRefusalReason.CLAIMS
    assert reason(raw(dict(HEADER) | beside | {"deep": deep(value)})) == TokenRefusalReason.HEADER


def test_each_reason_follows_the_token() -> None:
    assert {reason.split()[0] for reason in TokenRefusalReason} <= {"is", "has", "was", "does", "needs", "says", "restricts"}
