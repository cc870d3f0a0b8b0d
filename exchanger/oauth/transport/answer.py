"""What a token endpoint answered, whichever version of HTTP carried it."""

from http import HTTPStatus
from typing import final

import attrs

from exchanger.decision.token_exchange import TooLarge


@final
@attrs.frozen
class Answer:
    """One response. Everything but the status is the endpoint's own text, so it is hidden.

    ``challenges`` are the values of WWW-Authenticate and ``retry_after`` that of Retry-After, "" without one, both decoded as ISO 8859-1.
    ``body`` is the content as it was sent, ``None`` when it broke off. The content of a redirect is of no use and left out.
    """

    status: int
    challenges: tuple[str, ...] = attrs.field(repr=False)
    retry_after: str = attrs.field(repr=False)
    body: bytes | TooLarge | None = attrs.field(repr=False)


def is_redirect(status: int) -> bool:
    """Return whether ``status`` is one of the redirections, which are never followed."""
    return HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
