"""What a remote question says about a request's tokens, which stay with the caller: which headers hold one, and which hold the same.

Gateways pass tokens on in headers of any name, and the caller does not know the profiles that list these. So the value of a header with a
suspicious name is withheld, and so is any value that looks like a token.

Must not know: who asks, or how a question is sent.
"""

import re
from collections.abc import Iterable
from typing import Final

from exchanger.model.bearer import NoToken, is_bearer_token, read_bearer
from exchanger.model.secret import Secret

# Credentials of RFC 9110 and RFC 6265: nothing is said of them, but for the kind of what Authorization holds.
CREDENTIALS: Final = frozenset({"authorization", "proxy-authorization", "cookie"})
# The page has the same two.
TELLING_NAMES: Final = "auth|token|jwt|assertion|cookie|secret|key|credential|session|passw|bearer|cert|sign"
TELLING_VALUES: Final = r"eyJ|^\S+\s+\S{16}|\S{32}"
# Headers about the request's origin and destination.
PUBLIC: Final = frozenset({"host", "origin", "access-control-request-method"})
# The stated content of a header: nothing, something that cannot be a token, or a number, which is the same for equal tokens.
EMPTY: Final = "absent"
INVALID: Final = "invalid"
# Digits of such a number; gateways allow a hundred headers.
_MAX_DIGITS: Final = 3

_is_telling_name: Final = re.compile(TELLING_NAMES, re.IGNORECASE).search
_is_telling_value: Final = re.compile(TELLING_VALUES).search

Header = tuple[str, str]


def split_sensitive_headers(headers: Iterable[Header]) -> tuple[list[Header], list[Header]]:
    """Return those of ``headers`` that may be sent, and those that may hold tokens. ``CREDENTIALS`` are in neither."""
    shown: list[Header] = []
    withheld: list[Header] = []
    for name, value in headers:
        lower = name.lower()
        if lower not in CREDENTIALS:
            telling = lower not in PUBLIC and (_is_telling_name(lower) or _is_telling_value(value))
            (withheld if telling else shown).append((name, value))
    return shown, withheld


def numbered(authorization: Secret | None, headers: Iterable[Header]) -> tuple[Header, ...]:
    """Return ``headers`` with a description of each instead of its value. The token of ``authorization``, if it has one, is "1"."""
    first = read_bearer(authorization)
    numbers = {} if isinstance(first, NoToken) else {first.reveal(): "1"}
    found: list[Header] = []
    for name, value in headers:
        held = numbers.setdefault(value, str(len(numbers) + 1)) if is_bearer_token(value) else INVALID
        found.append((name, held if value else EMPTY))
    return tuple(found)


def stand_in(held: str) -> str | None:
    """Return a value for the stated content of a header, ``None`` if ``numbered`` is not a valid statement."""
    if held.isascii() and held.isdigit() and len(held) <= _MAX_DIGITS:
        return f"token-{int(held)}"
    return {EMPTY: "", INVALID: '"'}.get(held)
