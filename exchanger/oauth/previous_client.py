"""The exchange once more with the client credentials before a rotation, where a token endpoint does not know the new ones yet. Pure.

Must not know: connections, clocks, or when credentials were rotated.
"""

import json
from typing import assert_never

import attrs

from exchanger.errors import Diagnostic
from exchanger.values.token import ExchangedToken, ExchangeFailure, TokenOutcome, TokenRequest


def as_before(request: TokenRequest, outcome: TokenOutcome) -> TokenRequest | None:
    """Return ``request`` with the issuer's previous credentials, ``None`` without such or where ``outcome`` has another reason."""
    issuer = request.issuer
    if issuer.previous is None or not _refuses_client(outcome):
        return None
    return attrs.evolve(request, issuer=attrs.evolve(issuer, credentials=issuer.previous, previous=None))


def _refuses_client(outcome: TokenOutcome) -> bool:
    """Tell whether the client's own credentials were refused (RFC 6749 section 5.2, https://www.rfc-editor.org/rfc/rfc6749#section-5.2).

    That is ``invalid_client`` with any status, and a 401 that does not say what it means: a token request authenticates the client only.
    """
    match outcome:
        case ExchangedToken():
            return False
        case ExchangeFailure(diagnostic=Diagnostic.UNRECOGNISED_401):
            return True
        case ExchangeFailure(diagnostic=Diagnostic.OAUTH_ERROR):
            return _error_code(outcome.body) == "invalid_client"
        case ExchangeFailure():
            return False
        case _:
            assert_never(outcome)


def _error_code(body: str) -> object:
    """Return the ``error`` of a body that was made of a recognised OAuth error, or is one itself with error passthrough."""
    try:
        # No number is read: converting a million digits takes longer than the whole exchange may.
        document: object = json.loads(body, parse_int=len, parse_float=len)
    except (ValueError, RecursionError):  # the stack may be deeper here than where the body was read first
        return None
    return document.get("error") if isinstance(document, dict) else None
