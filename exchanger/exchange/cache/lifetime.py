"""How long a token is kept, and when it is renewed. Pure: times and randomness are arguments.

Two clocks count, because each fails in its own way. The steady one measures the time since the token was issued, whatever happens to the
wall clock; an ``exp`` is a time of the wall clock, which also advances where the steady one might stop. A token is served only
while both allow it.
"""

import base64
import binascii
import json
import math
from typing import Final, final

import attrs

from exchanger.formats.jwt.compact import read_payload
from exchanger.formats.jwt.refusal import TokenRefused
from exchanger.formats.strict_json import outline
from exchanger.util.frozen import constructor_of, fast_init

# Seconds, and part of its lifetime, that a token must have left: it travels to the upstream, whose clock may be ahead.
MARGIN_S: Final = 5.0
MARGIN_PART: Final = 0.1
# Before that margin there is another one, in which the first hit starts a renewal. Each token's own length is chosen at random between half
# and all of it, so that tokens that were issued together, or are in several replicas, are not renewed together.
RENEWAL_S: Final = 30.0
RENEWAL_PART: Final = 0.2
# Parts of a JWT (RFC 7519 section 3, https://www.rfc-editor.org/rfc/rfc7519#section-3).
_JWT_PARTS: Final = 3
# Strings and structural characters of its claims, as where signed tokens are verified: reading more would take longer than 1 ms.
_MAX_PARTS: Final = 4096
# After the year 9999, which no clock of ours reaches: in practice no end, and still a number that can be calculated with.
_LATEST: Final = 253_402_300_800.0


@final
@attrs.frozen
class Instant:
    """One moment: ``steady`` is in seconds of a clock that never goes back, ``wall`` in seconds since the epoch."""

    steady: float
    wall: float


@final
@fast_init
@attrs.frozen(weakref_slot=False)
class Life:
    """When a token may be served.

    ``length`` is its whole lifetime in seconds, ``born`` and ``end`` are its bounds by the steady clock, ``wall_end`` is the end by the
    wall clock. It is served before both ``until`` (steady) and ``wall_until``; it is renewed from ``renew_at`` (steady) on.
    """

    length: float
    born: float
    end: float
    wall_end: float
    until: float
    wall_until: float
    renew_at: float

    def is_over(self, now: Instant) -> bool:
        """Whether the token must no longer be served."""
        return now.steady >= self.until or now.wall >= self.wall_until


@final
@attrs.frozen
class UnreadableExpiry:
    """A token with an ``exp`` that is not a time."""


UNREADABLE: Final = UnreadableExpiry()


# Of every token that is kept.
_life: Final = constructor_of(Life)


def plan_life(now: Instant, age: float, length: float, latest_end: float, chance: float) -> Life | None:
    """Return the lifetime of a token, ``None`` if it is not worth keeping.

    Args:
        now: The current moment.
        age: Seconds since it was issued, at most.
        length: Seconds after it was issued for which it may be used, at most.
        latest_end: When it expires by its own ``exp`` or its subject's, in seconds since the epoch; infinite if that is not known.
        chance: From 0 to 1, decides when it is renewed.
    """
    age = max(age, 0.0)
    born, wall_born = now.steady - age, now.wall - age
    length = min(length, latest_end - wall_born)
    if not length > 0.0 or math.isinf(length):
        return None
    margin = min(MARGIN_S, MARGIN_PART * length)
    ahead = min(RENEWAL_S, RENEWAL_PART * length) * (0.5 + 0.5 * chance)
    until = born + length - margin
    wall_end = wall_born + length
    life = _life(length, born, born + length, wall_end, until, wall_end - margin, until - ahead)
    return None if life.is_over(now) else life


def expiry_of(token: str) -> float | UnreadableExpiry:
    """Return the ``exp`` of a token in seconds since the epoch; infinite if it has none or is not a JWT.

    Any token of three parts whose middle one decodes to a JSON object counts. Nothing is verified, since an ``exp`` can only shorten the
    time for which a token is kept; so the earliest of several counts, and one that is not a number is ``UNREADABLE``, as are claims of very
    many parts.
    """
    if "." not in token:  # as tokens that are not JWTs
        return math.inf
    strict = read_payload(token)
    if not isinstance(strict, TokenRefused):  # it has one reading
        return _as_time(strict["exp"]) if "exp" in strict else math.inf
    parts = token.split(".")
    if len(parts) != _JWT_PARTS:
        return math.inf
    middle = parts[1].rstrip("=").translate(_TO_URLSAFE)
    try:
        text = base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)).decode("utf-8-sig", "replace")
    except (binascii.Error, ValueError):
        return math.inf
    if not text.lstrip().startswith("{"):
        return math.inf
    if len(text) > _MAX_PARTS and outline(text, _MAX_PARTS) is None:  # a short one cannot have too many
        return UNREADABLE
    try:
        claims = _CLAIMS.decode(text)
    except json.JSONDecodeError:
        return math.inf
    except (ValueError, RecursionError):  # integers with more digits than Python converts, or nested more deeply than it follows
        return UNREADABLE
    return min((_as_time(value) for name, value in claims if name == "exp"), default=math.inf, key=_earliest)


# Kept, since making one costs more than reading claims.
_CLAIMS: Final = json.JSONDecoder(object_pairs_hook=tuple, strict=False)
_TO_URLSAFE: Final = str.maketrans("+/", "-_")


def _as_time(value: object) -> float | UnreadableExpiry:
    """RFC 7519 section 2, NumericDate: a JSON number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124 - NaN
        return UNREADABLE
    return float(min(max(value, -_LATEST), _LATEST))


def _earliest(end: float | UnreadableExpiry) -> float:
    return -math.inf if isinstance(end, UnreadableExpiry) else end
