"""The claims of a token that are verified here, and what a policy requires of them.

Sources: RFC 7519 section 4.1 (https://www.rfc-editor.org/rfc/rfc7519#section-4.1), RFC 7800 section 3.1 (``cnf``), RFC 8693 sections 4.1
(``act``, https://www.rfc-editor.org/rfc/rfc8693#section-4.1) and 4.4 (``may_act``).
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Final, final

import attrs

from exchanger.formats.jwt.refusal import TokenRefusalReason, TokenRefused
from exchanger.model.issuer import MAX_ACTORS

# Seconds by which clocks may differ.
LEEWAY: Final = 30
# Hexadecimal digits of a digest: enough to tell chains apart in a log.
DIGEST_DIGITS: Final = 16


@final
@attrs.frozen
class SubjectPolicy:
    """Which tokens are good enough to be exchanged: from one of ``issuers``, for one of ``audiences``.

    ``has_actor``: the exchange has an actor, which a token with ``may_act`` requires. Its chain of actors has at most ``max_actors``.
    """

    issuers: tuple[str, ...]
    audiences: tuple[str, ...]
    has_actor: bool
    max_actors: int = MAX_ACTORS


@final
@attrs.frozen(repr=False)
class Stated:
    """The claims of a token, well-formed, not to be shown.

    Times are in seconds since the epoch; ``actors`` is "" or a digest of the chain of actors, of which there are ``depth``.
    """

    audiences: tuple[str, ...]
    expires: float
    not_before: float | None
    issued: float | None
    bound: bool
    may_act: bool
    actors: str
    depth: int

    def problem(self, policy: SubjectPolicy, now: float) -> TokenRefusalReason | None:
        """Return what ``policy`` has against these claims."""
        problems = (
            (not set(self.audiences).isdisjoint(policy.audiences), TokenRefusalReason.AUDIENCE),
            (now < self.expires + LEEWAY, TokenRefusalReason.EXPIRED),
            (self.not_before is None or now >= self.not_before - LEEWAY, TokenRefusalReason.NOT_YET),
            (self.issued is None or now >= self.issued - LEEWAY, TokenRefusalReason.ISSUED_LATER),
            (not self.bound, TokenRefusalReason.CONFIRMATION),
            (policy.has_actor or not self.may_act, TokenRefusalReason.MAY_ACT),
            (self.depth <= policy.max_actors, TokenRefusalReason.ACTORS),
        )
        return next((reason for fine, reason in problems if not fine), None)


def read_claims(claims: Mapping[str, object]) -> Stated | TokenRefused:
    """Return the claims, or which one is malformed."""
    audiences = audiences_of(claims.get("aud"))
    if audiences is None:
        return TokenRefused(TokenRefusalReason.AUDIENCES)
    if "exp" not in claims:
        return TokenRefused(TokenRefusalReason.NO_EXPIRY)
    times = {name: time_of(claims[name]) for name in ("exp", "nbf", "iat") if name in claims}
    expires = times["exp"]
    if expires is None or None in times.values():
        return TokenRefused(TokenRefusalReason.TIMES)
    actors = actors_of(claims["act"]) if "act" in claims else ("", 0)
    if actors is None:
        return TokenRefused(TokenRefusalReason.ACTORS)
    # Whatever their values: an unintelligible one is no reason to pass.
    bound, may_act = "cnf" in claims, "may_act" in claims
    return Stated(audiences, expires, times.get("nbf"), times.get("iat"), bound, may_act, *actors)


def audiences_of(value: object) -> tuple[str, ...] | None:
    """Return the members of an ``aud`` (RFC 7519 section 4.1.3), ``None`` if it is neither a string nor a list of strings."""
    listed = value if isinstance(value, list) else [value]
    texts = tuple(text for text in listed if isinstance(text, str))
    return texts if len(texts) == len(listed) else None


# The claims that hold the scope: RFC 8693 section 4.2, and that of Entra ID and Okta.
SCOPE_CLAIMS: Final = ("scope", "scp")


def scopes_of(value: object) -> list[str] | None:
    """Return the items of a claim with a scope, ``None`` if it is neither text nor a list of texts."""
    listed = value if isinstance(value, list) else [value]
    texts = [text for text in listed if isinstance(text, str)]
    return None if len(texts) != len(listed) else [item for text in texts for item in split_scope(text)]


def split_scope(scope: str) -> list[str]:
    """Return the items of a scope. Only spaces separate them (RFC 6749 section 3.3), so anything else is part of one."""
    return [item for item in scope.split(" ") if item]


def time_of(value: object) -> float | None:
    """Return a NumericDate (RFC 7519 section 2), ``None`` if it is not a finite number; ``true`` is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        time = float(value)
    except OverflowError:  # an integer that no float holds
        return None
    return time if math.isfinite(time) else None


def actors_of(act: object) -> tuple[str, int] | None:
    """Return the digest and the length of a chain of actors, ``None`` if it is malformed or has more than ``MAX_ACTORS``."""
    level: object = {"act": act}
    for depth in range(MAX_ACTORS + 1):
        if not isinstance(level, dict):
            return None
        if "act" not in level:
            chain = json.dumps(act, sort_keys=True, separators=(",", ":")).encode("ascii")
            return hashlib.sha256(chain).hexdigest()[:DIGEST_DIGITS], depth
        level = level["act"]
    return None
