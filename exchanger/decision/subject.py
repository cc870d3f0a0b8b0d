"""Where a request's subject token is: in the headers that the issuer's profile lists, and in no other.

Several headers may carry it, since gateways that validate tokens move them. Whatever contradicts itself or cannot be read is refused: the
next header is never a substitute.

Must not know: whether the token is valid.
"""

from typing import Final

from exchanger.decision.bearer import Bearer, NoToken, is_bearer_token, read_bearer
from exchanger.values.issuer import AUTHORIZATION, SubjectRules
from exchanger.values.request import HttpRequest
from exchanger.values.secret import Secret

_BY_DEFAULT: Final = (AUTHORIZATION,)


def read_subject(request: HttpRequest, rules: SubjectRules) -> Bearer | NoToken:
    """Return the token that the headers hold. Those that are there must all hold the same one.

    Authorization has a scheme before it, the others hold the bare token. A header that is sent twice holds none.
    """
    if rules.headers == _BY_DEFAULT:
        return read_bearer(request.authorization)
    found: Bearer | None = None
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


def readings(request: HttpRequest, rules: SubjectRules) -> tuple[Bearer | NoToken, ...]:
    """Return what is in Authorization, listed or not, and in each of the other headers."""
    return read_bearer(request.authorization), *(_read_bare(request, header) for header in rules.removed)


def exchanged_subject(request: HttpRequest, removed: tuple[str, ...]) -> Bearer | None:
    """Return the token of a ``request`` that was exchanged; ``removed`` are the headers beside Authorization that may have held it."""
    elsewhere = read_subject(request, SubjectRules(removed)) if removed else NoToken.ABSENT
    found = read_bearer(request.authorization) if elsewhere is NoToken.ABSENT else elsewhere
    return None if isinstance(found, NoToken) else found


def _read_bare(request: HttpRequest, header: str) -> Bearer | NoToken:
    values = [value for name, value in request.fields.fields if name.lower() == header]
    if not values:
        return NoToken.ABSENT
    token = ",".join(values).strip(" \t")  # an empty one is there, and holds no token
    return Bearer(Secret(token)) if is_bearer_token(token) else NoToken.INVALID
