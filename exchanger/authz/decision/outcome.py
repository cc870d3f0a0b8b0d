"""Decisions and their reasons: the closed set of answers that leave the engine.

Must not know: gRPC, protobuf, or how an answer is encoded.
"""

import enum
from typing import ClassVar, final

import attrs

from exchanger.model.entry import ExchangeEntry, Source, TokenTarget
from exchanger.model.errors import Diagnostic
from exchanger.model.request import HttpRequest
from exchanger.model.secret import Secret
from exchanger.model.token import Cache, ErrorKind, FirstLeg, IssuedMismatch, TokenCall, TokenRequest, VerificationResult
from exchanger.model.trace import SpanContext, trace_id_of
from exchanger.util.frozen import fast_init


@enum.unique
class DecisionReason(enum.Enum):
    """Why a request was allowed or denied; the value is the ``decision`` label of metrics and logs."""

    MISSING_HTTP_ATTRIBUTES = "missing_http_attributes"
    ALLOW_UNMATCHED = "allow_unmatched"
    DENY_UNMATCHED_DEFAULT = "deny_unmatched_default"
    DENY_POLICY_UNHEALTHY = "deny_policy_unhealthy"
    DENY_EXPLICIT_POLICY = "deny_explicit_policy"
    DENY_AMBIGUOUS_REQUEST = "deny_ambiguous_request"
    ALLOW_EXPLICIT_POLICY = "allow_explicit_policy"
    ALLOW_OPTIONS_BYPASS = "allow_options_bypass"
    DENY_MISSING_BEARER = "deny_missing_bearer"
    DENY_INVALID_BEARER = "deny_invalid_bearer"
    ALLOW_EXCHANGE = "allow_exchange"
    DENY_EXCHANGE_ERROR = "deny_exchange_error"

    # Members are singletons, and each request updates counters keyed by them: the inherited hash is a slow Python function of the name.
    __hash__ = object.__hash__


@enum.unique
class Result(enum.Enum):
    """The ``result`` label: the request passed, was refused, or failed because of a fault on our side."""

    ALLOWED = "allowed"
    AUTH_DENIED = "auth_denied"
    SYSTEM_ERROR = "system_error"

    __hash__ = object.__hash__


@final
@fast_init
@attrs.frozen(cache_hash=True, weakref_slot=False)
class Allow:
    """The request passes; with ``access_token``, as ``Authorization: Bearer <access_token>``.

    ``source`` is the policy that matched, ``entry_index`` the position in its ``entries``, ``issuer`` the profile that this entry names, ""
    without one. ``expires_at``: when the token expires, in seconds since the epoch, ``None`` if that is not known. ``removed`` are the
    headers in which the caller's token may have come, but for Authorization, and the names that some servers take for them. ``subject`` is
    the decision of verification on that token.
    """

    result: ClassVar[Result] = Result.ALLOWED
    reason: DecisionReason
    source: Source | None = None
    access_token: Secret | None = None
    entry_index: int | None = None
    issuer: str = ""
    cache: Cache = Cache.NONE
    expires_at: int | None = None
    removed: tuple[str, ...] = ()
    subject: VerificationResult | None = None


@final
@attrs.frozen(cache_hash=True)
class Deny:
    """The request ends here with ``status`` and a JSON ``body``; ``headers`` follow Content-Type, in order.

    ``detail`` tells operators what is wrong and never reaches the client. ``source``, ``entry_index``, ``issuer`` and ``cache`` are as for
    ``Allow``. ``error_kind``, ``oauth_error``, ``diagnostic`` and ``mismatch`` say why an exchange failed, as in
    ``ExchangeFailure``, and ``leg`` at which profile's issuer, if that is the first one of two.
    """

    reason: DecisionReason
    status: int
    body: str
    headers: tuple[tuple[str, str], ...] = ()
    source: Source | None = None
    diagnostic: Diagnostic | None = None
    detail: str = ""
    entry_index: int | None = None
    issuer: str = ""
    cache: Cache = Cache.NONE
    error_kind: ErrorKind | None = None
    oauth_error: str = ""
    subject: VerificationResult | None = None
    mismatch: IssuedMismatch | None = None
    leg: str = ""
    result: Result = attrs.field(init=False, eq=False, repr=False)

    @result.default
    def _result(self) -> Result:
        """Return the ``result`` label: a 5xx is our failure, anything else the caller's."""
        return Result.SYSTEM_ERROR if self.status >= 500 else Result.AUTH_DENIED  # noqa: PLR2004 - HTTP's server error class


@final
@fast_init
@attrs.frozen(weakref_slot=False)
class ExchangePending:
    """The answer depends on a token exchange: make ``token_request`` and pass its outcome to ``finish``. ``realm`` is for challenges."""

    entry: ExchangeEntry
    token_request: TokenRequest
    realm: str = ""


Outcome = Allow | Deny


@enum.unique
class Filter(enum.Enum):
    """How the gateway asked: by one of Envoy's filters over gRPC, or over HTTP."""

    EXT_AUTHZ = "ext_authz"
    EXT_PROC = "ext_proc"
    HTTP = "http"

    __hash__ = object.__hash__


@final
@fast_init
@attrs.frozen(weakref_slot=False)
class Exchange:
    """The exchange that a decision waited for. ``call`` is ``None`` if none was made, or if the caller left before its end.

    ``subject_token`` is the token that was exchanged; ``scope`` and ``first_leg`` are those of the outcome. Of two chained issuers,
    ``endpoint_host`` and ``call`` are those of the last one that was needed.
    """

    target: TokenTarget
    endpoint_host: str
    call: TokenCall | None
    subject_token: Secret | None = None
    scope: str | None = None
    first_leg: FirstLeg | None = None


@final
@fast_init
@attrs.frozen(weakref_slot=False)
class DecisionRecord:
    """All that observers learn of one answered request: log line, metrics, span and console item are functions of it.

    ``started`` is the arrival on a clock that never jumps (``Network.steady``) and ``duration`` the time to the answer, both in seconds.
    ``span`` is the decision's place in its trace, ``None`` if it is neither recorded nor passed on by an exchange. ``exchange`` is ``None``
    if the policy asked for none.
    """

    request: HttpRequest
    outcome: Outcome
    started: float
    duration: float
    asked_by: Filter = Filter.EXT_AUTHZ
    span: SpanContext | None = None
    exchange: Exchange | None = None

    @property
    def trace_id(self) -> str | None:
        """The trace that the request is part of, lower-case hex of 32 characters; ``None`` without one."""
        if self.span is not None:
            return self.span.trace_id
        traceparent = self.request.trace.traceparent
        return trace_id_of(traceparent) if traceparent else None
