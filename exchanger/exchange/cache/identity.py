"""The identity of a cached token: everything that shapes the token endpoint's answer, as bytes, and a keyed hash over them.

A value is written out field by field, so that a new field is included automatically; fields that do not shape the answer are listed in
``EXEMPT``, with the reason. Every part is preceded by its kind and length, so different values never give the same bytes.

Must not know: what is kept, for how long, or where.
"""

import enum
import hashlib
import hmac
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

import attrs

from exchanger.exchange.oauth.token_response import TokenResponseRules
from exchanger.model.issuer import ActorToken, Assertion, AssertionSource, Credentials, Issuer, SigningKey
from exchanger.model.secret import Secret
from exchanger.model.token import TokenRequest

# What is not included, by class and field, with the reason.
EXEMPT: Final[dict[type, dict[str, str]]] = {
    TokenRequest: {
        "subject_token": "it enters last, for each request: see Digester",
        "trace": "the token endpoint may record it, and answers the same",
        "namespace": "it orders the calls that have to queue",
        "actor_token": "it is added behind the cache; whom it is about enters with the issuer",
        "assertion": "it is added behind the cache; the subject token and the first issuer, from which it results, enter",
    },
    Assertion: {
        "text": "it is renewed all the time; whom it is about enters",
    },
    ActorToken: {
        "token": "it is renewed all the time; whom it is about enters",
    },
    SigningKey: {
        "key_id": "how the endpoint finds the public key",
        "audience": "whom the assertion is for; the endpoint itself enters",
    },
    Issuer: {
        "previous": "another secret of the same client, which is issued the same tokens; those of another client enter: see encoded",
        "subject": "which tokens may be exchanged; each request is verified before a token is looked up",
        "errors": "it is about failures, which are never kept",
        "bearer_realm": "it is for this service's own challenges, and no token is in those",
        "protocol": "how the same question is transported",
        "cache": "how long the answer is kept; each look-up applies the active limits",
        "limits": "when the question is asked",
    },
    AssertionSource: {
        "verifier": "it verifies callers' tokens before a token is looked up; how it is called enters",
    },
    Credentials: {
        "generation": "it counts rotations in this process; the credentials themselves enter, so that replicas agree",
    },
    TokenResponseRules: {
        "error_passthrough": "it is about failures, which are never kept",
    },
}
_ADDRESSES: Final = (IPv4Address, IPv6Address, IPv4Network, IPv6Network)


def encoded(value: object) -> bytes:
    """Return the encoding of a value: scalars, enums, tuples, frozen sets, and attrs classes of these.

    Raises:
        TypeError: it has a part of another kind, for which no encoding is defined
    """
    if attrs.has(type(value)):
        exempt = EXEMPT.get(type(value), {})
        names = [field.name for field in attrs.fields(type(value)) if field.name not in exempt]  # type: ignore[arg-type]  # has() said so
        parts = [part for name in names for part in (name.encode(), encoded(getattr(value, name)))]
        if isinstance(value, Issuer) and value.previous is not None and value.previous.client != value.credentials.client:
            parts.append(encoded(value.previous))
        return _joined(f"class {type(value).__qualname__}", parts)
    if isinstance(value, enum.Enum):
        return _joined(f"enum {type(value).__qualname__}", [value.name.encode()])
    match value:
        case None:
            return _joined("none", [])
        case bool() | int() | float():
            return _joined(type(value).__name__, [repr(value).encode()])
        case str():
            return _joined("str", [value.encode("utf-8", "surrogatepass")])
        case Secret():
            # By its digest, so that no buffer of ours contains the secret itself.
            return _joined("secret", [hashlib.sha256(value.reveal().encode("utf-8", "surrogatepass")).digest()])
        case tuple():
            return _joined("tuple", [encoded(item) for item in value])
        case frozenset():
            return _joined("frozenset", sorted(encoded(item) for item in value))
        case _ if isinstance(value, _ADDRESSES):
            return _joined(type(value).__name__, [str(value).encode()])
        case _:
            raise TypeError(f"it is not decided how a {type(value).__qualname__} enters the key of a cached token")


def _joined(kind: str, parts: list[bytes]) -> bytes:
    return b"".join((f"{kind}:{len(parts)};".encode(), *(b"%d:%b" % (len(part), part) for part in parts)))


class MemoryNames:
    """Names the tokens of one issuer and target in memory: a hash that already contains a key and everything but the subject token.

    Unlike HMAC, which takes twice as long, it could be continued by those who know a name. Nobody does, since these stay in memory. Both
    ``key`` and ``fixed`` have the length of a digest, so no two subjects of two targets are the same bytes.
    """

    __slots__ = ("_begun",)

    def __init__(self, key: bytes, fixed: bytes) -> None:
        self._begun = hashlib.sha256(key + fixed)

    def digest(self, subject: bytes) -> bytes:
        """Return the name of the token for this subject token."""
        one = self._begun.copy()
        one.update(subject)
        return one.digest()


class Digester:
    """Names the tokens of one issuer and target in the store: an HMAC that already contains everything but the subject token."""

    __slots__ = ("_begun",)

    def __init__(self, key: bytes, fixed: bytes) -> None:
        self._begun = hmac.new(key, b"%d:%b" % (len(fixed), fixed), "sha256")

    def digest(self, subject: bytes) -> bytes:
        """Return the name of the token for this subject token."""
        one = self._begun.copy()
        one.update(subject)
        return one.digest()
