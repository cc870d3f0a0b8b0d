"""After a rotation: whether a token endpoint refused the client, and the request with the credentials before.

Must not know: calls, or for how long credentials of before are tried.
"""

from http import HTTPStatus

import attrs

from exchanger.errors import Diagnostic
from exchanger.values.issuer import ClientCertificate, Credentials, Issuer
from exchanger.values.token import ErrorKind, ExchangedToken, ExchangeFailure, TokenOutcome, TokenRequest


def as_before(request: TokenRequest, outcome: TokenOutcome) -> TokenRequest | None:
    """Return ``request`` with the issuer's previous credentials; ``None`` if it has none or ``outcome`` does not refuse the client."""
    issuer = request.issuer
    if issuer.previous is None or not (refuses_client(outcome) or _refuses_certificate(issuer, outcome)):
        return None
    return attrs.evolve(request, issuer=with_credentials_before(issuer, issuer.previous))


def with_credentials_before(issuer: Issuer, previous: Credentials) -> Issuer:
    """Return ``issuer`` with its ``previous`` credentials alone."""
    return attrs.evolve(issuer, credentials=previous, previous=None)


def refuses_client(outcome: TokenOutcome) -> bool:
    """Return whether the endpoint refused the client's credentials.

    It does so with ``invalid_client`` under any status (RFC 6749 section 5.2, https://www.rfc-editor.org/rfc/rfc6749#section-5.2), or with
    a 401 that says nothing else: a token request authenticates the client only. Keycloak tells of a wrong secret by a 401 with
    ``unauthorized_client``, which under another status is about what the client may do.
    """
    if isinstance(outcome, ExchangedToken):
        return False
    if outcome.diagnostic is Diagnostic.OAUTH_ERROR:
        unauthorized = outcome.oauth_error == "unauthorized_client" and outcome.http_status == HTTPStatus.UNAUTHORIZED
        return outcome.oauth_error == "invalid_client" or unauthorized
    return outcome.diagnostic is Diagnostic.UNRECOGNISED_401


def _refuses_certificate(issuer: Issuer, outcome: TokenOutcome) -> bool:
    """Return whether the endpoint may have refused the client's certificate in TLS, which looks like any other end of a connection."""
    failed = isinstance(outcome, ExchangeFailure) and outcome.kind is ErrorKind.TRANSPORT_ERROR
    return failed and isinstance(issuer.credentials.proof, ClientCertificate)
