"""After a rotation: whether a token endpoint refused the client, and the credentials with which another call is worthwhile.

Must not know: calls, or for how long previous credentials are tried.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import final

import attrs
import structlog

from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import ClientCertificate, Issuer
from exchanger.model.text import ISSUER_LIMIT
from exchanger.model.token import ErrorKind, ExchangedToken, ExchangeFailure, TokenOutcome
from exchanger.net.network import SYSTEM
from exchanger.util.text import printable


@final
@attrs.define(eq=False)
class Rotations:
    """What endpoints did with the credentials from before their rotations.

    There is a log line when an endpoint rejects new credentials and accepts the previous ones, and when it then accepts the new ones: each
    once for a rotation, since the instances of an endpoint may differ for a while.

    Args:
        previous_left: Returns for how many seconds an issuer's previous credentials are still tried, ``None`` if they are not.
        wall: Returns seconds since the epoch.
    """

    _previous_left: Callable[[str], float | None] = lambda _: None
    _wall: Callable[[], float] = SYSTEM.wall
    log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger)
    _issuers: Mapping[str, Issuer] = attrs.field(factory=dict, init=False, repr=False)
    # By issuer: the generation of the new credentials that the endpoint refused while it accepted the previous ones.
    _behind: dict[str, int] = attrs.field(factory=dict, init=False)
    # By issuer: the generation of the new credentials that were reported, and whether as refused.
    _told: dict[str, tuple[int, bool]] = attrs.field(factory=dict, init=False)

    @property
    def refused(self) -> dict[Issuer, bool]:
        """The active issuers, and whether their new credentials are refused while the previous ones are accepted."""
        return {issuer: issuer.name in self._behind for issuer in self._issuers.values()}

    def use_issuers(self, issuers: Mapping[str, Issuer]) -> None:
        """Take over the active issuers. If none has previous credentials any more, nothing is remembered."""
        self._issuers = issuers
        rotating = {name for name, issuer in issuers.items() if issuer.previous is not None}
        self._behind = {name: generation for name, generation in self._behind.items() if name in rotating}
        self._told = {name: told for name, told in self._told.items() if name in rotating}

    def next_credentials(self, wanted: Issuer, made: Issuer, outcome: TokenOutcome) -> Issuer | None:
        """Return ``wanted`` with the credentials for the next call, after one as ``made`` had this ``outcome``; ``None`` if that is final.

        If the client was refused, these are the issuer's previous credentials. An endpoint that accepted them before and refuses them now
        has switched to the new ones since these were refused, so they get another call.
        """
        if wanted.previous is None:
            return None
        accepted = is_answered(outcome)
        new, refused = wanted.credentials.generation, refuses_client(outcome) or _refuses_certificate(made, outcome)
        if made.credentials.generation == new and accepted:
            self._behind.pop(wanted.name, None)
            self._tell(wanted, refused=False)
        if made.previous is not None:
            return attrs.evolve(wanted, credentials=wanted.previous, previous=None) if refused else None
        if made.credentials.generation == new:  # the third call
            if refused:
                self._behind.pop(wanted.name, None)
        elif accepted:
            current = self._issuers.get(wanted.name)
            # A call may outlive the time in which previous credentials are tried. Then nothing would correct what it says about new ones.
            if current is None or current.previous is not None:
                self._behind[wanted.name] = new
                self._tell(wanted, refused=True)
        elif refused and self._behind.get(wanted.name) == new:
            return attrs.evolve(wanted, previous=None)
        return None

    def _tell(self, issuer: Issuer, *, refused: bool) -> None:
        generation = issuer.credentials.generation
        told = self._told.get(issuer.name)
        known = told is not None and told[0] == generation
        # Acceptance of new credentials is only reported after a refusal.
        if (not known and refused) or (told == (generation, True) and not refused):
            self._told[issuer.name] = generation, refused
            self._write(issuer, refused=refused)

    def _write(self, issuer: Issuer, *, refused: bool) -> None:
        named = {"issuer": printable(issuer.name, ISSUER_LIMIT), "endpoint": issuer.endpoint_host}
        if not refused:
            self.log.info("issuers.new_credentials_accepted", **named)
            return
        left = self._previous_left(issuer.name)
        until = {} if left is None else {"previous_until": datetime.fromtimestamp(self._wall() + left, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
        self.log.warning(
            "issuers.new_credentials_rejected",
            **named,
            **until,
            text="the token endpoint accepts the previous credentials, which are no longer tried after that time. Correct the new ones, or "
            "register them at the endpoint",
        )


def is_answered(outcome: TokenOutcome) -> bool:
    """Return whether the endpoint did what it was asked for: issued a token, or said whether one is active."""
    return isinstance(outcome, ExchangedToken) or outcome.kind is ErrorKind.SUBJECT_INACTIVE


def refuses_client(outcome: TokenOutcome) -> bool:
    """Return whether the endpoint refused the client's credentials.

    It does so with ``invalid_client`` under any status (RFC 6749 section 5.2, https://www.rfc-editor.org/rfc/rfc6749#section-5.2), or with
    a 401 that says nothing else: a token request authenticates only the client. Keycloak reports a wrong secret by a 401 with
    ``unauthorized_client``, which under another status is about the client's rights.
    """
    if isinstance(outcome, ExchangedToken):
        return False
    if outcome.diagnostic is Diagnostic.OAUTH_ERROR:
        unauthorized = outcome.oauth_error == "unauthorized_client" and outcome.http_status == HTTPStatus.UNAUTHORIZED
        return outcome.oauth_error == "invalid_client" or unauthorized
    # If the client gets no token for the actor, an OAuth error means that the client is refused.
    return outcome.diagnostic is Diagnostic.UNRECOGNISED_401 or (outcome.kind is ErrorKind.NO_ACTOR_TOKEN and outcome.oauth_error != "")


def _refuses_certificate(issuer: Issuer, outcome: TokenOutcome) -> bool:
    """Return whether the endpoint may have refused the client's certificate in TLS, which looks like any other failed connection.

    If a token for the actor was requested, the only sign is that there is none.
    """
    failed = isinstance(outcome, ExchangeFailure) and outcome.kind in {ErrorKind.TRANSPORT_ERROR, ErrorKind.NO_ACTOR_TOKEN}
    return failed and isinstance(issuer.credentials.proof, ClientCertificate)
