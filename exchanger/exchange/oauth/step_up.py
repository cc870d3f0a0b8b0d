"""What a token endpoint requires of the caller before it exchanges a token: another login, or more rights.

It says so in the members of its answer, or in a challenge as in RFC 9470. All of it is read strictly, since it goes into one of our
headers.

Sources: RFC 6750 section 3.1 (https://www.rfc-editor.org/rfc/rfc6750#section-3.1), RFC 9470 section 3
(https://www.rfc-editor.org/rfc/rfc9470#section-3), and for ``claims``
https://learn.microsoft.com/entra/identity-platform/v2-conditional-access-dev-guide.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Final

from exchanger.model.token import StepUp

STEP_UP_ERRORS: Final = frozenset({"interaction_required", "insufficient_user_authentication", "insufficient_scope"})

# Characters of one value. Scopes and claims of usual answers have some hundred.
_MAX_VALUE: Final = 2048
# Seconds: a century, as good as any age.
_MAX_AGE: Final = 100 * 366 * 24 * 3600

# Words of visible ASCII that need no escape in a quoted-string, as scopes (RFC 6749 section 3.3) and acr values have them.
_is_words: Final = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*").fullmatch
_is_base64: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}").fullmatch
# One parameter of a challenge (RFC 9110 section 11.2). Possessive, and starting only at a name: a text is read once.
_PARAMETER: Final = re.compile(r"""(?<![A-Za-z_])([A-Za-z_]++)\s*+=\s*+(?:"([^"\\]*+)"|([^\s",;]++))""")


def step_up_of(error: str, members: Mapping[str, object], challenges: Sequence[str]) -> StepUp:
    """Return the requirements of the answer with ``error``; members come before challenges, and what cannot be relayed is left out."""
    found = {name: value for challenge in reversed(challenges) for name, value in _parameters(challenge)}
    claims = members.get("claims", found.get("claims"))
    return StepUp(
        error,
        scope=_words(members.get("scope", found.get("scope"))),
        acr_values=_words(members.get("acr_values", found.get("acr_values"))),
        max_age=_age(members.get("max_age", found.get("max_age"))),
        claims=_encoded(claims),
    )


def _parameters(challenge: str) -> list[tuple[str, str]]:
    if challenge[:7].lower() != "bearer ":
        return []
    return [(name.lower(), quoted or token) for name, quoted, token in _PARAMETER.findall(challenge[7:])]


def _words(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= _MAX_VALUE and _is_words(value) else ""


def _age(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= len(str(_MAX_AGE)):
        value = float(value)
    return int(value) if isinstance(value, float) and 0 <= value <= _MAX_AGE else None


def _encoded(claims: object) -> str:
    """Return ``claims`` in base64, as clients of Entra ID expect it: JSON as in the answer, or already encoded."""
    if not isinstance(claims, str) or not claims or len(claims) > _MAX_VALUE:
        return ""
    if claims.lstrip().startswith("{"):
        return base64.b64encode(claims.encode("utf-8", "replace")).decode("ascii")
    return claims if _is_base64(claims) else ""
