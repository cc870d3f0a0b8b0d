"""The breaker of an issuer: while its token endpoint is down, it is not called, except by single probes.

It counts the outcomes of calls in a sliding window, and opens when nearly all of them fail, and nearly all callers do. Then refusing all is
better for everybody: the endpoint recovers, and callers, who fail anyway, need not wait. A lower threshold would refuse calls that still
succeed. One caller whose token the endpoint cannot handle, or whose rate it limits, is not enough, however often it tries.

Knows no tasks and no clock: each time is an argument, in seconds of a monotonic clock.
"""

import enum
import functools
import math
import operator
from collections.abc import Iterable
from typing import Final, assert_never, final

import attrs

from exchanger.exchange.oauth.retry_after import MAX_RETRY_AFTER_S
from exchanger.exchange.oauth.token_request import form_length
from exchanger.model.errors import Diagnostic
from exchanger.model.token import ErrorKind, ExchangedToken, ExchangeFailure, IntrospectionRequest, TokenOutcome, TokenRequest
from exchanger.model.trace import NO_TRACE

# Whole seconds of each window: three notice an outage soon where there are many calls, even after a busy time without failures; ten have
# enough calls where there are few. Less than three would take one lost HTTP/2 connection, which ends a hundred calls at once, for an
# outage.
WINDOWS: Final = (3, 10)
# Calls that must end in a window for it to count: fewer prove little, and blocking them would relieve the endpoint little.
MIN_CALLS: Final = 10
# The share of them, and of their callers, that must fail. If one caller in five is served, the endpoint is not down.
RATIO: Final = 0.8
# Bits that distinguish callers: enough to tell a few from many. Two callers may share one.
CALLER_BITS: Final = 1024
# Bits of failed callers above which they are many, however many others are served: the bits of about 700 callers.
MANY_CALLERS: Final = CALLER_BITS // 2

# Below this many bits, failures may be the doing of a few callers. Then everybody who was served in the longest window counts against them,
# and after the breaker has closed, others need time to be served. While it is open, others need not wait.
FEW_CALLERS: Final = 8

# Seconds without calls after the breaker has opened, before the first probe; each further pause is twice as long. The longest pause still
# lets a recovery be noticed within five seconds, including the turns of other callers and the probe. There is no jitter: a replica sends
# one call in a pause, so there is no crowd.
FIRST_PAUSE_S: Final = 0.5
MAX_PAUSE_S: Final = 3.0
# Seconds for which a due probe is reserved for callers that have not failed: one that tries all the time would take each.
TURN_S: Final = 1.0
# Seconds for which it must stay closed before an outage begins with the first pause again. Less would let everybody repeatedly call an
# endpoint that answers only probes.
CALM_S: Final = 30.0

# Bytes of a subject token in the form, and of the trace headers together, up to which servers normally accept a request; larger ones may be
# dropped without an answer, or together with the connection. A token is in the body, for which no usual server has a lower limit. The head
# is limited to 8 KiB and sometimes to 4: these are the 55 of ``traceparent``, the 512 of ``tracestate`` and a short ``baggage``.
USUAL_TOKEN: Final = 8 * 1024
USUAL_TRACE: Final = 1024

_TOO_MANY_REQUESTS: Final = 429
_SERVICE_UNAVAILABLE: Final = 503
_OK: Final = 200


@enum.unique
class EndpointHealth(enum.Enum):
    """What the outcome of a call says about the endpoint."""

    GOOD = "good"
    BAD = "bad"
    # Nothing: its callers gave up, or it was not made.
    UNKNOWN = "unknown"


def caller_of(request: TokenRequest | IntrospectionRequest) -> int:
    """Return a number that distinguishes callers by their tokens, within this process only."""
    return hash(request.subject_token.reveal())


def is_oversized(request: TokenRequest | IntrospectionRequest) -> bool:
    """Return whether a caller has made ``request`` larger than servers normally accept. The rest of it is the operator's or a policy's.

    An assertion grows with what its issuer knows of the caller.
    """
    token, trace = request.subject_token.reveal(), request.trace
    if type(request) is TokenRequest and request.assertion is not None:
        token = request.assertion.reveal()
    return (
        # A character takes three bytes at most, so nearly all tokens need no closer look.
        (3 * len(token) > USUAL_TOKEN and form_length(token) > USUAL_TOKEN)
        or (trace is not NO_TRACE and len(trace.traceparent) + len(trace.tracestate) + len(trace.baggage) > USUAL_TRACE)
    )


def health_of(outcome: TokenOutcome | None, request: TokenRequest | IntrospectionRequest | None = None) -> EndpointHealth:
    """Return what ``outcome`` says about the endpoint's health; ``None``: its waiters left.

    What a caller can cause is never bad: any response except 503 and 429 without an OAuth error, and a missing response to a ``request``
    that its caller made so large that servers drop it. A call that is cut off because a caller's own time is up must be given as ``None``.
    """
    found = _health_of(outcome)
    return EndpointHealth.UNKNOWN if found is EndpointHealth.BAD and request is not None and is_oversized(request) else found


def _health_of(outcome: TokenOutcome | None) -> EndpointHealth:
    match outcome:
        case None:
            return EndpointHealth.UNKNOWN
        case ExchangedToken():
            return EndpointHealth.GOOD
        case ExchangeFailure(kind=kind):
            pass
        case _:
            assert_never(outcome)
    match kind:
        case ErrorKind.TIMEOUT | ErrorKind.TRANSPORT_ERROR:
            return EndpointHealth.BAD
        case ErrorKind.READ_RESPONSE:
            # A server that refuses a request without reading it to the end often breaks the connection after its answer.
            return (
                EndpointHealth.BAD if outcome.http_status in {None, _OK, _TOO_MANY_REQUESTS, _SERVICE_UNAVAILABLE} else EndpointHealth.GOOD
            )
        case ErrorKind.HTTP_STATUS:
            # With an OAuth error the endpoint has decided on the request, whatever the status.
            is_decided = outcome.diagnostic in {Diagnostic.OAUTH_ERROR, Diagnostic.APP_ONLY_CALLER}
            spared = outcome.http_status in {_TOO_MANY_REQUESTS, _SERVICE_UNAVAILABLE} and not is_decided
            return EndpointHealth.BAD if spared else EndpointHealth.GOOD
        case (
            ErrorKind.MALFORMED_SUCCESS_JSON
            | ErrorKind.MISSING_ACCESS_TOKEN
            | ErrorKind.NON_BEARER_TOKEN_TYPE
            | ErrorKind.WRONG_ISSUED_TOKEN_TYPE
            | ErrorKind.ISSUED_FOR_OTHERS
            | ErrorKind.ISSUED_BEYOND_REQUEST
            | ErrorKind.ISSUED_UNVERIFIED
            | ErrorKind.SUBJECT_INACTIVE
        ):
            return EndpointHealth.GOOD
        case (
            ErrorKind.UNKNOWN_ISSUER_PROFILE
            | ErrorKind.INVALID_TOKEN_ENDPOINT
            | ErrorKind.CREATE_REQUEST
            | ErrorKind.CONTEXT_CANCELED
            | ErrorKind.BREAKER_OPEN
            | ErrorKind.OVERLOADED
            | ErrorKind.METADATA_UNKNOWN
            | ErrorKind.NO_ACTOR_TOKEN
            | ErrorKind.SUBJECT_REJECTED
            | ErrorKind.KEYS_UNKNOWN
            | ErrorKind.INTROSPECTION_UNAVAILABLE
            | ErrorKind.AUDIT_UNAVAILABLE
        ):
            return EndpointHealth.UNKNOWN
        case _:
            assert_never(kind)


@final
@attrs.frozen
class BreakerAdmission:
    """The permission to make one call, to be returned when it has ended.

    A probe decides for all other callers, so it should complete even if its own callers leave. ``period`` is the time between two changes
    of the breaker in which the call was admitted, ``caller`` the caller's bit, ``at`` when (seconds).
    """

    period: int
    is_probe: bool
    caller: int
    at: float


@final
@attrs.define(eq=False)
class Breaker:
    """One for each issuer. Each admitted call must be reported to ``ended`` once, in any order. ``is_open``: only probes are admitted."""

    is_open: bool = attrs.field(default=False, init=False)
    _period: int = attrs.field(default=0, init=False)
    _buckets: "list[_Bucket]" = attrs.field(factory=list, init=False, repr=False)
    _closed_at: float = attrs.field(default=-math.inf, init=False)
    _pause: float = attrs.field(default=FIRST_PAUSE_S, init=False)
    # When the last probe was sent, when the next one may be, until when the endpoint asked not to be called, and who called in vain.
    _probed: float = attrs.field(default=-math.inf, init=False)
    _next: float = attrs.field(default=-math.inf, init=False)
    _asked: float = attrs.field(default=-math.inf, init=False)
    _tried: int = attrs.field(default=0, init=False, repr=False)
    # When a call last had a good end.
    _good_at: float = attrs.field(default=-math.inf, init=False)

    def admit(self, now: float, caller: int, *, oversized: bool = False) -> BreakerAdmission | None:
        """Return the permission to make a call at ``now``, ``None`` if it is refused. ``caller`` is the result of ``caller_of``.

        While only a few have called in vain, another caller's first call is a probe at once: those few may be the only ones that the
        endpoint does not serve, where a cache serves the others. An ``oversized`` call says little as a probe, so all others, even callers
        that have failed, go first.
        """
        bit = 1 << caller % CALLER_BITS
        if self.is_open:
            turn = 0.0 if not oversized else TURN_S if self._tried & bit else 2 * TURN_S
            if not oversized and not self._tried & bit and self._tried.bit_count() < FEW_CALLERS:
                self._tried |= bit
            elif now < self._due(bit) + turn:
                return None
            # A probe that hangs does not delay the next one: recovery must be noticed soon.
            self._probed, self._next = now, now + self._pause
        return BreakerAdmission(self._period, self.is_open, bit, now)

    def _due(self, bit: int) -> float:
        """Return when a probe of this caller may be sent. If the endpoint asked only a few callers to wait, this may mean only them."""
        if self._tried & bit:
            return max(self._next, self._asked) + TURN_S
        return max(self._next, self._asked) if self._tried.bit_count() >= FEW_CALLERS else self._next

    def retry_in(self, now: float) -> float:
        """Return the seconds after which a new attempt is worthwhile: 0 if calls are made."""
        return max(self._next - now, self._asked - now, 0.0) if self.is_open else 0.0

    def ended(
        self, admission: BreakerAdmission, health: EndpointHealth, now: float, retry_after: float | None = None, *, hurried: bool = False
    ) -> None:
        """Record that a call ended at ``now``. ``retry_after``: the seconds for which the endpoint asked not to be called.

        ``hurried``: it had queued, so the endpoint had less than the usual time for it, which callers can cause by being many. If the
        endpoint served another one meanwhile, it is alive.

        ``retry_after`` alone does not open the breaker, since an endpoint may ask it of one user, and is forgotten as soon as it serves
        another. Otherwise a call counts in the period in which it was admitted: those that hung in an outage end when it may be over.
        """
        if hurried and health is EndpointHealth.BAD and self._good_at >= admission.at:
            health = EndpointHealth.UNKNOWN
        if health is EndpointHealth.GOOD:
            self._asked, self._good_at = -math.inf, now
        elif health is EndpointHealth.BAD and retry_after is not None and retry_after > 0:
            self._asked = max(self._asked, now + min(retry_after, MAX_RETRY_AFTER_S))
        if admission.period != self._period:
            return
        if admission.is_probe:
            self._tried |= admission.caller
            self._probe_ended(admission.caller, health, now)
        elif health is not EndpointHealth.UNKNOWN:
            self._count(admission.caller, health, now)

    def _probe_ended(self, caller: int, health: EndpointHealth, now: float) -> None:
        match health:
            case EndpointHealth.GOOD:
                self.is_open, self._closed_at = False, now
                self._period += 1
                self._count(caller, health, now)
            case EndpointHealth.BAD:
                self._pause = min(2 * self._pause, MAX_PAUSE_S)
                self._next = self._probed + self._pause
            case EndpointHealth.UNKNOWN:
                # A failure, but not of the endpoint: the next one need not wait for the whole pause.
                self._next = min(self._next, self._probed + FIRST_PAUSE_S)
            case _:
                assert_never(health)

    def _count(self, caller: int, health: EndpointHealth, now: float) -> None:
        second = math.floor(now)
        if not self._buckets or self._buckets[-1].second != second:
            oldest = second - max(WINDOWS)
            self._buckets = [*(bucket for bucket in self._buckets if bucket.second > oldest), _Bucket(second)]
        bucket = self._buckets[-1]
        if health is EndpointHealth.GOOD:
            bucket.good += 1
            bucket.served |= caller
            return
        bucket.bad += 1
        bucket.failed |= caller
        settled = now - self._closed_at >= min(WINDOWS)
        if any(self._fails(second - window, settled=settled) for window in WINDOWS):
            self._open(now)

    def _fails(self, before: int, *, settled: bool) -> bool:
        """Return whether the seconds after ``before`` had enough calls, and nearly all of them, of nearly all callers, failed."""
        recent = [bucket for bucket in self._buckets if bucket.second > before]
        bad = sum(bucket.bad for bucket in recent)
        calls = bad + sum(bucket.good for bucket in recent)
        if calls < MIN_CALLS or bad < RATIO * calls:
            return False
        failed = _together(bucket.failed for bucket in recent)
        callers = failed.bit_count()
        few = callers < FEW_CALLERS
        if few and not settled:
            return False
        served = _together(bucket.served for bucket in (self._buckets if few else recent))
        return callers >= MANY_CALLERS or callers >= RATIO * (callers + (served & ~failed).bit_count())

    def _open(self, now: float) -> None:
        self._pause = FIRST_PAUSE_S if now - self._closed_at >= CALM_S else min(2 * self._pause, MAX_PAUSE_S)
        self.is_open = True
        self._period += 1
        self._probed, self._next = now, now + self._pause
        self._tried = _together(bucket.failed for bucket in self._buckets)
        self._buckets = []


def _together(bits: Iterable[int]) -> int:
    return functools.reduce(operator.or_, bits, 0)


@final
@attrs.define(eq=False)
class _Bucket:
    """How calls of one second ended, and the bits of the callers that failed and that were served."""

    second: int
    good: int = 0
    bad: int = 0
    failed: int = 0
    served: int = 0
