"""The subject token of a request: in the headers that the issuer's profile lists, and in no other.

Several headers may carry it, since gateways that validate tokens move them. A contradictory or unreadable one is refused: the next header
is never a substitute.

Some servers take ``_`` in a name for ``-`` (RFC 3875 section 4.1.18, https://www.rfc-editor.org/rfc/rfc3875#section-4.1.18). So a name that
differs from one of the headers only in these must not accompany the exchanged token.

Must not know: whether the token is valid.
"""

import functools
import itertools
from typing import Final

from exchanger.model.bearer import NoToken, is_bearer_token, read_bearer
from exchanger.model.issuer import AUTHORIZATION, SubjectRules
from exchanger.model.request import HttpRequest
from exchanger.model.secret import Secret

_BY_DEFAULT: Final = (AUTHORIZATION,)
# Separators of a name all of whose spellings are removed, 16. Of longer ones it is the two that gateways and servers write.
_MAX_SEPARATORS: Final = 4


def read_subject(request: HttpRequest, rules: SubjectRules) -> Secret | NoToken:
    """Return the token in the headers. Those that are present must all hold the same one.

    Authorization has a scheme before it, the others hold the bare token. A repeated header holds none.
    """
    if rules.headers == _BY_DEFAULT:
        return read_bearer(request.authorization)
    found: Secret | None = None
    for header in rules.headers:
        read = read_bearer(request.authorization) if header == AUTHORIZATION else _read_bare(request, header)
        if read is NoToken.ABSENT:
            continue
        if isinstance(read, NoToken):
            return read
        if found is not None and found != read:
            return NoToken.DIFFERENT
        found = read
    return NoToken.ABSENT if found is None else found


def readings(request: HttpRequest, rules: SubjectRules) -> tuple[Secret | NoToken, ...]:
    """Return the content of Authorization, listed or not, and of each of the other headers."""
    return read_bearer(request.authorization), *(_read_bare(request, header) for header in rules.removed)


def exchanged_subject(request: HttpRequest, removed: tuple[str, ...]) -> Secret | None:
    """Return the token of a ``request`` that was exchanged; ``removed`` are the headers besides Authorization that may have held it."""
    elsewhere = read_subject(request, SubjectRules(removed)) if removed else NoToken.ABSENT
    found = read_bearer(request.authorization) if elsewhere is NoToken.ABSENT else elsewhere
    return None if isinstance(found, NoToken) else found


def has_sibling(request: HttpRequest, rules: SubjectRules) -> bool:
    """Return whether ``request`` has a header that some servers take for one, other than Authorization, that may hold the token."""
    canonical = {header.replace("_", "-") for header in rules.removed}
    names = {name.lower() for name, _ in request.fields.fields}
    return any(name.replace("_", "-") in canonical for name in names.difference(rules.removed))


# One for each issuer whose tokens are read from other headers.
@functools.lru_cache(maxsize=256)
def spellings(headers: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``headers``, and the names that some servers take for them: gateways need not send these to the service."""
    return tuple(dict.fromkeys((*headers, *(spelt for header in headers for spelt in _spellings(header)))))


def _spellings(header: str) -> list[str]:
    parts = header.replace("_", "-").split("-")
    if len(parts) - 1 > _MAX_SEPARATORS:
        return ["_".join(parts), "-".join(parts)]
    separators = itertools.product("_-", repeat=len(parts) - 1)
    return ["".join(map("".join, zip(parts, (*between, ""), strict=True))) for between in separators]


def _read_bare(request: HttpRequest, header: str) -> Secret | NoToken:
    values = [value for name, value in request.fields.fields if name.lower() == header]
    if not values:
        return NoToken.ABSENT
    token = ",".join(values).strip(" \t")  # an empty one is present, and holds no token
    return Secret(token) if is_bearer_token(token) else NoToken.INVALID
