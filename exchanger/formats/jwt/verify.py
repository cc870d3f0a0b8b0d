"""Verifies a caller's token before an exchange: signed by its issuer, for us, and valid now.

A token is read (``read_token``), its issuer is checked before anything is looked up for it (``check_issuer``), and then it is verified by
the issuer's keys (``verify``). Nothing in the token determines the keys: ``jku``, ``jwk``, ``x5u`` and ``x5c`` are not read.

Sources: RFC 7519 section 7.2 (https://www.rfc-editor.org/rfc/rfc7519#section-7.2), RFC 9068 section 4, RFC 8725 section 3.

Must not know: where tokens and keys come from, or the time.
"""

from collections.abc import Mapping
from typing import Final, final

import attrs

from exchanger.formats.jwt.algorithms import NAMES
from exchanger.formats.jwt.claims import LEEWAY, Stated, SubjectPolicy, read_claims
from exchanger.formats.jwt.compact import take_apart
from exchanger.formats.jwt.keys import KeySet
from exchanger.formats.jwt.refusal import TokenRefusalReason, TokenRefused

# ``typ``, in lower case (RFC 9068 section 2.1, RFC 7515 section 4.1.9). Other JWTs of an issuer must not pass for access tokens
# (RFC 8725 section 3.11): proofs of possession, logout tokens, ID tokens with an explicit type.
TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt", "application/jwt"})


@final
@attrs.frozen
class Unverified:
    """A signed JWT whose signer is unknown. All of this is the token's own statement; ``stated`` may be malformed."""

    algorithm: str
    key_id: str | None = attrs.field(repr=False)
    issuer: str = attrs.field(repr=False)
    _signed: bytes = attrs.field(repr=False)
    _signature: bytes = attrs.field(repr=False)
    stated: Stated | TokenRefused = attrs.field(repr=False)

    def is_signed_by_one_of(self, keys: KeySet) -> bool | None:
        """Return whether one of ``keys`` signed this token, ``None`` if none of them fits its header."""
        candidates = keys.find(self.key_id, self.algorithm)
        return any(key.verifies(self.algorithm, self._signed, self._signature) for key in candidates) if candidates else None


@final
@attrs.frozen
class VerifiedClaims:
    """The result for an acceptable token. It is valid until ``until`` (seconds since the epoch), which includes the leeway.

    ``actors`` is "" or a digest of its chain of actors.
    """

    issuer: str
    until: float
    actors: str


@final
@attrs.frozen
class UnknownKey:
    """The token names ``issuer``, which is accepted, and an unknown key: the issuer may have new ones."""

    issuer: str


def read_token(token: str, types: frozenset[str] = TYPES) -> Unverified | TokenRefused:
    """Return the claims and header of ``token``, whose ``typ`` is one of ``types`` or absent. Total, whatever a caller sent."""
    parts = take_apart(token)
    if isinstance(parts, TokenRefused):
        return parts
    header = _header(parts.header, types)
    if isinstance(header, TokenRefused):
        return header
    issuer = parts.claims.get("iss")
    if not isinstance(issuer, str):
        return TokenRefused(TokenRefusalReason.NO_ISSUER)
    algorithm, key_id = header
    return Unverified(algorithm, key_id, issuer, parts.signed, parts.signature, read_claims(parts.claims))


def check_issuer(token: Unverified, policy: SubjectPolicy) -> TokenRefused | None:
    """Return why no keys may be looked up for this token. ``verify`` checks this too."""
    return None if token.issuer in policy.issuers else TokenRefused(TokenRefusalReason.ISSUER)


def verify(token: Unverified, keys: KeySet, policy: SubjectPolicy, now: float) -> VerifiedClaims | TokenRefused | UnknownKey:
    """Judge a token by ``keys``, which are those of the issuer that it names, at ``now`` (seconds since the epoch).

    Its claims, except the issuer, count only once its signature is known to be good.
    """
    foreign = check_issuer(token, policy)
    if foreign is not None:
        return foreign
    signed = token.is_signed_by_one_of(keys)
    if signed is None:
        return UnknownKey(token.issuer)
    if not signed:
        return TokenRefused(TokenRefusalReason.SIGNATURE)
    stated = token.stated
    if isinstance(stated, TokenRefused):
        return stated
    problem = stated.problem(policy, now)
    return VerifiedClaims(token.issuer, stated.expires + LEEWAY, stated.actors) if problem is None else TokenRefused(problem)


def _header(header: Mapping[str, object], types: frozenset[str]) -> tuple[str, str | None] | TokenRefused:
    """Return ``alg`` and ``kid``."""
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in types:
        return TokenRefused(TokenRefusalReason.TYPE)
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in NAMES:
        return TokenRefused(TokenRefusalReason.ALGORITHM)
    key_id = header.get("kid")
    if not isinstance(key_id, str | None) or ("kid" in header and key_id is None):
        return TokenRefused(TokenRefusalReason.KEY_ID)
    return algorithm, key_id
