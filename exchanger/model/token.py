"""The outcome of a token exchange as values: shared between waiters and passed to the decision.

Must not know: HTTP clients, tasks or clocks.
"""

import enum
from typing import Final, final

import attrs

from exchanger.model.entry import TokenTarget
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import Issuer
from exchanger.model.secret import Secret
from exchanger.model.trace import NO_TRACE, SpanContext, TraceContext
from exchanger.util.frozen import fast_init

ACCESS_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"  # RFC 8693 section 3
# In place of a response's scope that cannot be read: no scope is this, as each is ASCII (RFC 6749 section 3.3).
UNREADABLE_SCOPE: Final = "\N{REPLACEMENT CHARACTER}"


@enum.unique
class ErrorKind(enum.Enum):
    """Why an exchange failed, as the metrics' ``error_kind`` label has it."""

    UNKNOWN_ISSUER_PROFILE = "unknown_issuer_profile"
    INVALID_TOKEN_ENDPOINT = "invalid_token_endpoint"
    CREATE_REQUEST = "create_request"
    TIMEOUT = "timeout"
    CONTEXT_CANCELED = "context_canceled"
    TRANSPORT_ERROR = "transport_error"
    READ_RESPONSE = "read_response"
    HTTP_STATUS = "http_status"
    MALFORMED_SUCCESS_JSON = "malformed_success_json"
    MISSING_ACCESS_TOKEN = "missing_access_token"
    NON_BEARER_TOKEN_TYPE = "non_bearer_token_type"
    WRONG_ISSUED_TOKEN_TYPE = "wrong_issued_token_type"
    BREAKER_OPEN = "breaker_open"
    OVERLOADED = "overloaded"
    METADATA_UNKNOWN = "metadata_unknown"
    NO_ACTOR_TOKEN = "no_actor_token"
    SUBJECT_REJECTED = "subject_rejected"
    KEYS_UNKNOWN = "keys_unknown"
    SUBJECT_INACTIVE = "subject_inactive"
    INTROSPECTION_UNAVAILABLE = "introspection_unavailable"
    ISSUED_FOR_OTHERS = "issued_for_others"
    ISSUED_BEYOND_REQUEST = "issued_beyond_request"
    ISSUED_UNVERIFIED = "issued_unverified"
    AUDIT_UNAVAILABLE = "audit_unavailable"


@enum.unique
class Cache(enum.Enum):
    """Where the outcome of an exchange came from; the value is the ``cache`` of logs and metadata."""

    # There was no exchange.
    NONE = "none"
    # From a token that was kept.
    HIT = "hit"
    # From a call to the token endpoint.
    MISS = "miss"
    # From the call of an equal request that was in progress.
    COALESCED = "shared"

    __hash__ = object.__hash__


@final
@fast_init
@attrs.frozen(weakref_slot=False)
class TokenCall:
    """The token endpoint call behind an outcome; ``duration`` is in seconds, ``http_status`` ``None`` without an answer.

    ``kind``: why it failed, ``None`` if it succeeded. ``repeated``: a failed one was sent twice, since its connection ended without an
    answer; the endpoint may have seen both.
    """

    duration: float
    http_status: int | None
    kind: ErrorKind | None = None
    repeated: bool = False


@final
@attrs.frozen
class FirstLeg:
    """The exchange at the first of two issuers, which is to return an assertion for the second.

    ``issuer`` is its profile; ``call`` is ``None`` if none was made, as for a kept assertion. ``failed``: the second one was not asked.
    """

    issuer: str
    endpoint_host: str
    call: TokenCall | None = None
    failed: bool = False


@final
@attrs.frozen
class StepUp:
    """What a caller needs so that an exchange succeeds, as RFC 6750 section 3, RFC 9470 section 3 and Entra ID (``claims``) define it.

    Each text fits into a challenge unchanged, and is "" if the token endpoint does not say.
    """

    error: str
    scope: str = ""
    acr_values: str = ""
    max_age: int | None = None
    claims: str = ""


@final
@attrs.frozen
class VerificationResult:
    """The result of verifying a caller's token. ``actors`` is "" or a digest of its subject's actors (RFC 8693 section 4.1).

    ``refusal`` is "" if the token passed, and otherwise says why it did not, in our own words. ``introspected``: its issuer was asked, and
    ``said`` is whom it named, as the JSON object of these claims; b"" if none, or too much.
    """

    actors: str = ""
    refusal: str = ""
    introspected: bool = False
    said: bytes = attrs.field(default=b"", eq=False, repr=False)


@final
@attrs.frozen
class ShownClaims:
    """``iss``, ``aud`` and scope of a token, as operators may see them: each a printable, bounded text, "" if it has none."""

    issuer: str = ""
    audience: str = ""
    scope: str = ""


@final
@attrs.frozen
class IssuedMismatch:
    """How an exchanged token differs from the one that was requested; ``claim`` is the one that is wrong, "" if none can be read."""

    claim: str
    requested: ShownClaims
    issued: ShownClaims


@final
@fast_init
@attrs.frozen(weakref_slot=False)
class ExchangedToken:
    """The exchange succeeded; ``access_token`` can be sent as a bearer token. Equality ignores where it came from and what is known of it.

    ``subject`` is the result of verifying the caller's token, ``None`` if it is not verified.

    ``expires_in`` is the token's lifetime in seconds from when it was issued (RFC 6749 section 5.1,
    https://www.rfc-editor.org/rfc/rfc6749#section-5.1), ``None`` if the token endpoint did not say. ``expires_at`` is when it expires at
    the earliest, in seconds since the epoch, ``None`` if unknown. ``scope`` is the response's, with spaces between its items; ``None`` if
    it has none, ``UNREADABLE_SCOPE`` if that is neither text nor a list of texts, or if another replica got the response. ``first_leg`` is
    ``None`` outside chains, and for tokens that were kept. ``actor_token`` is the one that was sent if the client is the actor, and leaves
    again when the token has been compared with it.
    """

    access_token: Secret
    call: TokenCall | None = attrs.field(default=None, eq=False)
    expires_in: int | None = None
    cache: Cache = attrs.field(default=Cache.NONE, eq=False)
    expires_at: int | None = attrs.field(default=None, eq=False)
    subject: VerificationResult | None = attrs.field(default=None, eq=False)
    scope: str | None = attrs.field(default=None, eq=False)
    first_leg: FirstLeg | None = attrs.field(default=None, eq=False)
    actor_token: Secret | None = attrs.field(default=None, eq=False)


@final
@attrs.frozen
class ExchangeFailure:
    """The exchange failed, in the form in which the client may see it.

    ``status`` is 400, 401 or 500; ``errors: strict`` replaces it. ``body`` is JSON without any text of the token endpoint, except with
    error passthrough. ``www_authenticate`` holds the token endpoint's challenges to relay; ``http_status`` is the token endpoint's own, if
    it answered.

    The others do not count in comparisons, and never reach the client: ``retry_after`` is for how long the token endpoint asks not to be
    called, in seconds, ``None`` if it does not; ``oauth_error`` is the token endpoint's error code if it is registered, "" otherwise, and
    ``detail`` says more, in our own words. ``step_up``: what the caller needs, if the token endpoint requires more. ``too_late``: the
    gateway's time was up. ``mismatch``: why a token that was issued is not handed out. ``first_leg`` is ``None`` outside chains.
    """

    diagnostic: Diagnostic
    kind: ErrorKind
    status: int
    body: str = attrs.field(repr=False)
    www_authenticate: tuple[str, ...] = ()
    http_status: int | None = None
    call: TokenCall | None = attrs.field(default=None, eq=False)
    cache: Cache = attrs.field(default=Cache.NONE, eq=False)
    retry_after: float | None = attrs.field(default=None, eq=False)
    oauth_error: str = attrs.field(default="", eq=False)
    detail: str = attrs.field(default="", eq=False)
    step_up: StepUp | None = None
    too_late: bool = attrs.field(default=False, eq=False)
    subject: VerificationResult | None = attrs.field(default=None, eq=False)
    mismatch: IssuedMismatch | None = attrs.field(default=None, eq=False)
    first_leg: FirstLeg | None = attrs.field(default=None, eq=False)


TokenOutcome = ExchangedToken | ExchangeFailure


@final
@fast_init
@attrs.frozen(cache_hash=True, weakref_slot=False)
class TokenRequest:
    """An exchange to make. Equal requests may share an exchange, whatever their trace contexts.

    ``namespace`` is that of the policy: if calls have to queue, namespaces take turns. ``actor_token`` is the client's own token if it is
    the actor, and ``assertion`` what is sent in place of the subject token in a chain of two issuers; later stages add them.

    Hashed is what nearly always differs, and once: each exchange is looked up three times, and hashing an issuer takes longer than that.
    """

    issuer: Issuer = attrs.field(hash=False)
    subject_token: Secret
    target: TokenTarget
    grant_type: str = attrs.field(hash=False)
    subject_token_type: str = attrs.field(hash=False)
    trace: TraceContext = attrs.field(default=NO_TRACE, eq=False)
    namespace: str = attrs.field(default="", eq=False)
    actor_token: Secret | None = attrs.field(default=None, eq=False)
    assertion: Secret | None = attrs.field(default=None, eq=False)


@enum.unique
class TokenHistory(enum.Enum):
    """What a caller's token was when it last came. It orders introspection requests, and never decides about a token."""

    UNKNOWN = "unknown"
    # No introspection request could be made for it, because there were too many.
    TURNED_AWAY = "turned away"
    ACTIVE = "active"


@final
@attrs.frozen
class IntrospectionRequest:
    """A question to an issuer whether a caller's token is active (RFC 7662). Equal ones may share a call, as with ``TokenRequest``."""

    issuer: Issuer
    subject_token: Secret
    trace: TraceContext = attrs.field(default=NO_TRACE, eq=False)
    namespace: str = attrs.field(default="", eq=False)
    history: TokenHistory = attrs.field(default=TokenHistory.UNKNOWN, eq=False)

    def __hash__(self) -> int:
        return hash(self.subject_token.reveal())


@final
@fast_init
@attrs.frozen(weakref_slot=False)
class ExchangeRecord:
    """One token endpoint call that ended. ``kind`` is ``None`` on success; ``started`` and ``duration`` are those of ``DecisionRecord``.

    ``span`` is its place in its trace, ``None`` without tracing; ``port`` is ``None`` if no request could be made. ``introspects``: it
    asked about the caller's token. ``leg`` is the profile of the first of two issuers, if it was asked for an assertion, otherwise "".
    """

    endpoint_host: str
    kind: ErrorKind | None
    http_status: int | None
    started: float
    duration: float
    port: int | None = None
    span: SpanContext | None = None
    introspects: bool = False
    leg: str = ""


@final
@attrs.frozen
class CoalescedRecord:
    """A request that joined a call in progress; ``trace`` is its own, ``leader`` that of the request that made the call."""

    endpoint_host: str
    trace: TraceContext
    leader: TraceContext
