"""The keys by which an issuer's tokens are verified: a JWK Set as a value, each key pinned to its own algorithms (RFC 8725 section 3.1).

A set may be hostile or broken: work is bounded, and a key that cannot be used does not spoil the others.

Sources: RFC 7517 sections 4 and 5 (https://www.rfc-editor.org/rfc/rfc7517#section-4), RFC 7518 section 6, RFC 8037 section 2.

Must not know: where sets come from, or when.
"""

from collections.abc import Iterator, Mapping
from typing import Final, assert_never, final

import attrs
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from exchanger.formats.jwt import base64url
from exchanger.formats.jwt.algorithms import EC, ED25519, RSA, algorithm

# Keys of a set that are looked at: issuers have a few, and a few more while they rotate them.
MAX_KEYS: Final = 100
# Keys that are read in one step: 4 ms with RSA-8192.
READ_AT_ONCE: Final = 10
# Keys that are tried for one token: a token without ``kid`` does not choose, and names of keys need not be unique.
MAX_CANDIDATES: Final = 4
# RFC 7518 section 3.3 forbids fewer. Verifying with 8192 takes 0.2 ms, half as long as on P-384; with the largest exponent 0.5 ms.
RSA_BITS: Final = range(2048, 8193)
# Characters: a modulus of 8192 bits has 1366.
MAX_MEMBER: Final = 1400
# A public exponent is 65537. With 1 everything is its own signature; a large one makes verifying slow.
EXPONENTS: Final = range(3, 1 << 32, 2)
# Ed25519 (RFC 8032 section 5.1): the prime of its field, and the bytes of a point's encoding.
_FIELD: Final = 2**255 - 19
_POINT_BYTES: Final = 32
# The y of the points of order 1, 2, 4 and 8. With such a key, signatures can be made that fit any message, or one in a few.
_ORDER_8: Final = 2707385501144840649318225287225658788936804267575313519463743609750303402022
SMALL_ORDER: Final = frozenset({0, 1, _FIELD - 1, _ORDER_8, _FIELD - _ORDER_8})
# What only a private or a symmetric key has (RFC 7518 sections 6.2.2, 6.3.2, 6.4.1).
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


@final
@attrs.frozen
class VerifyingKey:
    """A public key, the algorithms that it verifies, and its thumbprint (RFC 7638), by which it is compared."""

    kid: str | None
    algorithms: tuple[str, ...]
    thumbprint: str
    _key: RSAKey | ECKey | OKPKey = attrs.field(repr=False, eq=False)

    def verifies(self, alg: str, signed: bytes, signature: bytes) -> bool:
        """Return whether this key made ``signature`` of ``signed``, by one of its algorithms. Never raises."""
        return alg in self.algorithms and algorithm(alg).verify(signed, signature, self._key)


@final
@attrs.frozen
class KeySet:
    """The usable keys of a set, in its order; never none."""

    keys: tuple[VerifyingKey, ...]

    def find(self, kid: str | None, alg: str) -> tuple[VerifyingKey, ...]:
        """Return the keys that may have signed a token with this header, ``MAX_CANDIDATES`` at most."""
        fitting = (key for key in self.keys if alg in key.algorithms and kid in (None, key.kid))
        return tuple(key for key, _ in zip(fitting, range(MAX_CANDIDATES), strict=False))


@final
@attrs.frozen
class KeySetProblem:
    """Why an object is not a set of keys; ``reason`` follows "the key set"."""

    reason: str


def read_key_set(members: Mapping[str, object]) -> KeySet | KeySetProblem:
    """Return the keys for signatures in a JWK Set (RFC 7517 section 5). Never raises."""
    (found,) = (found for found in key_set_in_steps(members) if found is not None)
    return found


def key_set_in_steps(members: Mapping[str, object]) -> Iterator[KeySet | KeySetProblem | None]:
    """Yield what ``read_key_set`` returns, after ``None`` between steps of bounded work."""
    listed = members.get("keys")
    if not isinstance(listed, list | tuple):
        yield KeySetProblem("has no list of keys")
        return
    keys: list[VerifyingKey] = []
    for number, jwk in enumerate(listed[:MAX_KEYS], 1):
        if (key := _key(jwk)) is not None:
            keys.append(key)
        if number % READ_AT_ONCE == 0:
            yield None
    yield KeySet(tuple(keys)) if keys else KeySetProblem("has no key that can verify signatures")


def _key(jwk: object) -> VerifyingKey | None:
    """Return the key in a JWK, ``None`` if it does not verify signatures."""
    if not isinstance(jwk, Mapping) or not _PRIVATE.isdisjoint(jwk) or not _is_for_signatures(jwk):
        return None
    kid = jwk.get("kid")
    if not isinstance(kid, str | None) or ("kid" in jwk and kid is None):
        return None
    try:
        key = _public_key(jwk)
        algorithms = () if key is None else _algorithms(key, jwk)
        return VerifyingKey(kid, algorithms, key.thumbprint(), key) if key is not None and algorithms else None
    except (JoseError, ValueError):  # a member is missing or malformed, or there is no such point
        return None


def _is_for_signatures(jwk: Mapping[str, object]) -> bool:
    """Return whether ``use`` and ``key_ops`` allow verifying (RFC 7517 sections 4.2 and 4.3)."""
    operations = jwk.get("key_ops", ["verify"])
    return jwk.get("use", "sig") == "sig" and isinstance(operations, list | tuple) and "verify" in operations


def _public_key(jwk: Mapping[str, object]) -> RSAKey | ECKey | OKPKey | None:
    match jwk.get("kty"), jwk.get("crv"):
        case "RSA", _:
            members = _members(jwk, "n", "e")
            fits = members is not None and _number(members["n"]).bit_length() in RSA_BITS and _number(members["e"]) in EXPONENTS
            return RSAKey.import_key({"kty": "RSA", **members}) if members is not None and fits else None
        case "EC", str(crv) if crv in EC:
            members = _members(jwk, "x", "y")
            return None if members is None else ECKey.import_key({"kty": "EC", "crv": crv, **members})
        case "OKP", "Ed25519":
            members = _members(jwk, "x")
            return (
                None
                if members is None or not _is_good_point(members["x"])
                else OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", **members})
            )
        case _:
            return None


def _members(jwk: Mapping[str, object], *names: str) -> dict[str, str] | None:
    """Return the members of these names, ``None`` unless all of them exist and are short enough."""
    found = {name: value for name in names if isinstance(value := jwk.get(name), str) and len(value) <= MAX_MEMBER}
    return found if len(found) == len(names) else None


def _is_good_point(x: str) -> bool:
    """Return whether ``x`` is the one encoding of a point on edwards25519 (RFC 8032 section 5.1.3) whose order is not small."""
    data = base64url.decode(x)
    if data is None or len(data) != _POINT_BYTES:
        return False
    y = int.from_bytes(data, "little") & ((1 << 255) - 1)  # without the sign of x
    return y < _FIELD and y not in SMALL_ORDER


def _number(text: str) -> int:
    """Return the number in a Base64urlUInt (RFC 7518 section 2), 0 if it is invalid."""
    return int.from_bytes(base64url.decode(text) or b"", "big")


def _algorithms(key: RSAKey | ECKey | OKPKey, jwk: Mapping[str, object]) -> tuple[str, ...]:
    """Return the algorithms of a key: of those of its type, the one that its ``alg`` names, if it has one."""
    match key:
        case RSAKey():
            own: tuple[str, ...] = RSA
        case ECKey():
            own = (EC[key.curve_name],)
        case OKPKey():
            own = ED25519
        case _:
            assert_never(key)
    if "alg" not in jwk:
        return own
    if jwk["alg"] not in own:
        return ()
    return own if own == ED25519 else (str(jwk["alg"]),)
