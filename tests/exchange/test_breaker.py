"""The breaker against a plain model, and what neither callers nor late calls can do to it."""

import itertools
import math
from typing import final

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.exchange.breaker import (
    CALLER_BITS,
    CALM_S,
    FEW_CALLERS,
    FIRST_PAUSE_S,
    MANY_CALLERS,
    MAX_PAUSE_S,
    MIN_CALLS,
    RATIO,
    TURN_S,
    USUAL_TOKEN,
    WINDOWS,
    Breaker,
    BreakerAdmission,
    EndpointHealth,
    caller_of,
    health_of,
)
from exchanger.exchange.oauth.retry_after import MAX_RETRY_AFTER_S
from exchanger.exchange.oauth.token_response import TokenResponseRules, decode_response
from exchanger.model.errors import Diagnostic
from exchanger.model.secret import Secret
from exchanger.model.token import ErrorKind, ExchangedToken, ExchangeFailure
from exchanger.model.token_failure import transport_failure
from exchanger.net.answer import TooLarge
from tests.exchange.oauth.fakes import token_request

GOOD, BAD, UNKNOWN = EndpointHealth.GOOD, EndpointHealth.BAD, EndpointHealth.UNKNOWN
HEALTHS = st.sampled_from(EndpointHealth)
RETRY_AFTER = st.sampled_from([None, 0.0, 1.0, 7.5, 60.0, 1e9, math.inf, -5.0])
# Seconds between two steps: in the same moment, within a window, beyond all of them.
STEPS = st.sampled_from([0.0, 0.001, 0.1, 0.5, 1.0, 3.0, 9.5, 40.0])
# Callers that have not called before.
ANYBODY = itertools.count()


@final
@attrs.define(eq=False)
class Model:
    """What the breaker is to do, over everything that has happened since its last change."""

    open: bool = False
    changes: int = 0
    ends: list[tuple[float, bool, int]] = attrs.field(factory=list)
    pause: float = FIRST_PAUSE_S
    probed: float = -math.inf
    due: float = -math.inf
    asked: float = -math.inf
    tried: set[int] = attrs.field(factory=set)
    closed_at: float = -math.inf

    def admits(self, now: float, caller: int) -> bool:
        if not self.open:
            return True
        if caller not in self.tried and len(self.tried) < FEW_CALLERS:
            self.tried.add(caller)
            self.probed, self.due = now, now + self.pause
            return True
        binds = caller in self.tried or len(self.tried) >= FEW_CALLERS
        if now < (max(self.due, self.asked) if binds else self.due) + (TURN_S if caller in self.tried else 0.0):
            return False
        self.probed, self.due = now, now + self.pause
        return True

    def ended(self, change: int, caller: int, health: EndpointHealth, now: float, retry_after: float | None) -> None:
        if health is GOOD:
            self.asked = -math.inf
        if health is BAD and retry_after is not None and retry_after > 0:
            self.asked = max(self.asked, now + min(retry_after, MAX_RETRY_AFTER_S))
        if change != self.changes:
            return
        if not self.open and health is not UNKNOWN:
            self.ends.append((now, health is BAD, caller))
            if health is BAD and any(self.fails(now, window) for window in WINDOWS):
                self.pause = FIRST_PAUSE_S if now - self.closed_at >= CALM_S else min(2 * self.pause, MAX_PAUSE_S)
                self.tried = self.callers(now, max(WINDOWS), bad=True)
                self.open, self.changes, self.probed, self.due = True, self.changes + 1, now, now + self.pause
        elif self.open:
            self.tried.add(caller)
            if health is GOOD:
                self.open, self.changes, self.ends, self.closed_at = False, self.changes + 1, [(now, False, caller)], now
            elif health is BAD:
                self.pause = min(2 * self.pause, MAX_PAUSE_S)
                self.due = self.probed + self.pause
            else:
                self.due = min(self.due, self.probed + FIRST_PAUSE_S)

    def recent(self, now: float, window: int) -> list[tuple[float, bool, int]]:
        return [end for end in self.ends if math.floor(now) - math.floor(end[0]) < window]

    def callers(self, now: float, window: int, *, bad: bool) -> set[int]:
        return {caller for _, failed, caller in self.recent(now, window) if failed == bad}

    def fails(self, now: float, window: int) -> bool:
        calls = self.recent(now, window)
        failed = self.callers(now, window, bad=True)
        served = self.callers(now, window if len(failed) >= FEW_CALLERS else max(WINDOWS), bad=False) - failed
        if len(failed) < FEW_CALLERS and now - self.closed_at < min(WINDOWS):
            return False
        enough = len(calls) >= MIN_CALLS and sum(bad for _, bad, _ in calls) >= RATIO * len(calls)
        return enough and len(failed) >= RATIO * (len(failed) + len(served))


@given(
    st.sampled_from([1, 2, 6, 40]),
    st.lists(
        st.tuples(
            STEPS,
            st.sampled_from(["call", "end", "end", "end first"]),
            st.integers(0, 1000),
            st.sampled_from([GOOD, BAD, BAD, BAD, BAD, BAD, BAD, UNKNOWN]),
            RETRY_AFTER,
        ),
        min_size=30,
        max_size=150,
    ),
)
def test_it_does_what_the_model_does(callers: int, steps: list[tuple[float, str, int, EndpointHealth, float | None]]) -> None:
    breaker, model, now = Breaker(), Model(), 1000.0
    under_way: list[tuple[BreakerAdmission, int, int]] = []
    for step, what, number, health, retry_after in steps:
        now += step
        if what == "call" or not under_way:
            for more in range(5):  # more calls than ends
                caller = (number + more) % callers
                admission = breaker.admit(now, caller)
                assert (admission is not None) == model.admits(now, caller)
                if admission is not None:
                    under_way.append((admission, model.changes, caller))
        else:
            admission, change, caller = under_way.pop(0 if what == "end first" else -1)
            breaker.ended(admission, health, now, retry_after)
            model.ended(change, caller, health, now, retry_after)
        assert breaker.is_open == model.open
        assert breaker.retry_in(now) == (max(model.due - now, model.asked - now, 0.0) if model.open else 0.0)
        assert breaker.retry_in(now) <= MAX_RETRY_AFTER_S + 1e-6


def call(breaker: Breaker, health: EndpointHealth, now: float, retry_after: float | None = None, *, caller: int | None = None) -> bool:
    """Make a call that ends at once, of a new caller if not of ``caller``; return whether it was admitted."""
    admission = breaker.admit(now, next(ANYBODY) if caller is None else caller)
    if admission is not None:
        breaker.ended(admission, health, now, retry_after)
    return admission is not None


@given(st.lists(st.tuples(st.floats(0.0, 9.0), st.integers(0, 50), st.sampled_from([None, 60.0])), max_size=60))
def test_one_caller_never_opens_it_while_another_is_served_now_and_then(steps: list[tuple[float, int, float | None]]) -> None:
    """However often it tries: its token may be one that the endpoint cannot cope with, or whose rate it limits."""
    breaker, now = Breaker(), 1000.0
    for step, bad, retry_after in steps:
        now += step
        assert call(breaker, GOOD, now, caller=2)
        assert all(call(breaker, BAD, now, retry_after, caller=1) for _ in range(bad))


@given(st.floats(0.0, 0.6), st.sampled_from([None, 60.0]), st.integers(1, FEW_CALLERS - 1))
def test_a_few_callers_that_try_all_the_time_keep_nobody_out(arrives: float, retry_after: float | None, few: int) -> None:
    """When nobody else called, since a cache served them, the few open it. The first call of anybody else closes it for good."""
    breaker, now = Breaker(), 1000.0
    for number in range(MIN_CALLS):
        call(breaker, BAD, now, retry_after, caller=number % few)
    assert breaker.is_open
    arrives, others = arrives + now, itertools.count(few)
    for _ in range(3000):
        now += 0.01
        call(breaker, BAD, now, retry_after, caller=int(now * 100) % few)
        if now >= arrives:
            arrives += 0.2
            assert call(breaker, GOOD, now, caller=next(others))
            assert not breaker.is_open


def test_callers_that_fail_are_many_when_they_cannot_be_counted() -> None:
    """An outage after a very busy time: thousands were served, and their bits are all there is."""
    breaker = Breaker()
    for caller in range(CALLER_BITS):
        assert call(breaker, GOOD, 1000.0, caller=caller)
    for number in itertools.count():
        if breaker.is_open:
            break
        assert call(breaker, BAD, 1001.0, caller=number % MANY_CALLERS)
    assert number == 4 * CALLER_BITS


@given(
    outage=st.lists(st.tuples(STEPS, HEALTHS), max_size=60),
    every=st.sampled_from([0.002, 0.05, 0.4]),
    takes=st.sampled_from([0.0, 0.05, 0.4]),
    hang=st.sampled_from([0.0, 0.75, 5.0]),
    callers=st.sampled_from([1, 3, 5000]),
)
def test_recovery_is_seen_within_five_seconds(
    outage: list[tuple[float, EndpointHealth]], every: float, takes: float, hang: float, callers: int
) -> None:
    """Whatever happened in the outage, and although probes from then may still hang."""
    breaker, now, number = Breaker(), 1000.0, itertools.count()
    late: list[tuple[float, BreakerAdmission]] = []
    for step, health in [(0.0, BAD)] * MIN_CALLS + outage:
        now += step
        admission = breaker.admit(now, next(number) % callers)
        if admission is not None and hang:
            late.append((now + hang, admission))
        elif admission is not None:
            breaker.ended(admission, health, now)
    for _, admission in late[:-1]:
        breaker.ended(admission, BAD, now)
    late = late[-1:]
    recovered = now
    answers: list[tuple[float, BreakerAdmission]] = []
    while breaker.is_open:
        now += every
        for due, admission in [one for one in late if one[0] <= now]:
            breaker.ended(admission, BAD, due)
        late = [one for one in late if one[0] > now]
        for _, admission in [one for one in answers if one[0] <= now]:
            breaker.ended(admission, GOOD, now)
        answers = [one for one in answers if one[0] > now]
        admission = breaker.admit(now, next(number) % callers)
        if admission is not None:
            answers.append((now + takes, admission))
        assert now - recovered <= 5.0


@pytest.mark.parametrize("callers", [FEW_CALLERS, 10_000])
def test_an_endpoint_that_answers_probes_only_is_called_less_and_less(callers: int) -> None:
    breaker, calls = Breaker(), 0
    while not breaker.is_open:
        call(breaker, BAD, 1000.0)
    for tick in range(60_000):  # a minute, a thousand calls a second
        now = 1000.0 + tick / 1000
        admission = breaker.admit(now, tick % callers)
        if admission is not None:
            calls += 1
            breaker.ended(admission, GOOD if admission.is_probe else BAD, now)
    assert calls <= (60 / MAX_PAUSE_S + 4) * (MIN_CALLS + 2)


TOKEN = ExchangedToken(Secret("t"))
STATUSES = st.integers(201, 599)
BODIES = st.one_of(
    st.just(TooLarge.TOO_LARGE),
    st.binary(max_size=30),
    st.sampled_from([b'{"error":"invalid_grant"}', b'{"error":"server_error"}', b'{"error":"slow_down"}', b'{"error":{}}', b"{}"]),
)


@given(STATUSES.filter(lambda status: status not in {429, 503}), BODIES)
def test_any_other_answer_is_good(status: int, body: bytes | TooLarge) -> None:
    assert health_of(decode_response(status, (), body, TokenResponseRules())) is GOOD


@given(st.integers(200, 599), st.sampled_from(["invalid_request", "invalid_client", "invalid_grant", "invalid_scope", "invalid_target"]))
def test_an_answer_with_an_oauth_error_is_good_whatever_its_status(status: int, error: str) -> None:
    body = b'{"error":"%b","error_description":"x"}' % error.encode()
    assert health_of(decode_response(status, (), body, TokenResponseRules())) is GOOD


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("body", [b"", b"busy", b'{"error":"temporarily_unavailable"}', b'{"error":"slow_down"}', b"[]"])
def test_an_endpoint_that_sheds_load_is_bad(status: int, body: bytes) -> None:
    assert health_of(decode_response(status, (), body, TokenResponseRules())) is BAD


NO_CALL = {
    ErrorKind.UNKNOWN_ISSUER_PROFILE,
    ErrorKind.INVALID_TOKEN_ENDPOINT,
    ErrorKind.CREATE_REQUEST,
    ErrorKind.CONTEXT_CANCELED,
    ErrorKind.BREAKER_OPEN,
    ErrorKind.OVERLOADED,
    ErrorKind.METADATA_UNKNOWN,
    ErrorKind.NO_ACTOR_TOKEN,
    ErrorKind.SUBJECT_REJECTED,
    ErrorKind.KEYS_UNKNOWN,
    ErrorKind.INTROSPECTION_UNAVAILABLE,
    ErrorKind.AUDIT_UNAVAILABLE,
}


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_kind_of_failure_has_a_health(kind: ErrorKind) -> None:
    failure = ExchangeFailure(Diagnostic.REQUEST_FAILED, kind, 500, "")
    expected = (
        UNKNOWN if kind in NO_CALL else BAD if kind in {ErrorKind.TIMEOUT, ErrorKind.TRANSPORT_ERROR, ErrorKind.READ_RESPONSE} else GOOD
    )
    assert health_of(failure) is expected


def test_a_success_is_good_and_callers_that_left_say_nothing() -> None:
    assert health_of(TOKEN) is GOOD
    assert health_of(None) is UNKNOWN


@pytest.mark.parametrize(("status", "expected"), [(200, BAD), (429, BAD), (503, BAD), (400, GOOD), (413, GOOD), (500, GOOD)])
def test_an_answer_that_breaks_off_is_verified_by_its_status(status: int, expected: EndpointHealth) -> None:
    assert health_of(transport_failure(ErrorKind.READ_RESPONSE, Diagnostic.READ_RESPONSE, status)) is expected


def test_what_happens_to_an_unusually_long_token_says_nothing_bad() -> None:
    """An endpoint, or a proxy in front of it, may drop such a request without an answer."""
    lost = transport_failure(ErrorKind.TRANSPORT_ERROR, Diagnostic.REQUEST_FAILED)
    usual, long = (attrs.evolve(token_request(), subject_token=Secret("t" * length)) for length in (USUAL_TOKEN, USUAL_TOKEN + 1))
    assert health_of(lost, usual) is BAD
    assert health_of(lost, long) is UNKNOWN
    assert health_of(TOKEN, long) is GOOD


def test_calls_of_that_size_are_probes_where_there_are_no_others() -> None:
    breaker = Breaker()
    while not breaker.is_open:
        call(breaker, BAD, 1000.0)
    assert breaker.admit(1000.0 + FIRST_PAUSE_S + TURN_S, next(ANYBODY), oversized=True) is None
    assert breaker.admit(1000.0 + FIRST_PAUSE_S + 2 * TURN_S, next(ANYBODY), oversized=True) is not None


def test_few_callers_do_not_reopen_it_soon_after_it_closed() -> None:
    breaker = Breaker()
    for _ in range(MIN_CALLS):
        call(breaker, BAD, 1000.0)
    call(breaker, GOOD, 1010.0, caller=1)
    for _ in range(5 * MIN_CALLS):
        call(breaker, BAD, 1010.0 + min(WINDOWS) - 0.5, caller=1)
    soon = breaker.is_open
    call(breaker, BAD, 1010.0 + min(WINDOWS), caller=1)
    assert (soon, breaker.is_open) == (False, True)


def test_callers_are_told_apart_by_their_tokens() -> None:
    one, again, other = (attrs.evolve(token_request(), subject_token=Secret(token)) for token in ("one", "one", "other"))
    assert caller_of(one) == caller_of(again) != caller_of(other)


@given(every=st.integers(1, 10))
def test_made_up_calls_leave_probes_to_callers_that_have_failed_before(every: int) -> None:
    """An outage is over, and all honest callers have failed in it. Somebody sends large made-up tokens, which the endpoint drops."""
    breaker, now, step = Breaker(), 1000.0, 0
    for caller in range(10):
        call(breaker, BAD, now, caller=caller)
    assert breaker.is_open
    while now < 1005.0:
        now, step = now + 0.01, step + 1
        made_up = breaker.admit(now, next(ANYBODY), oversized=True)
        if made_up is not None:
            breaker.ended(made_up, UNKNOWN, now)
        if step % (5 * every) == 0:
            call(breaker, GOOD, now, caller=step % 10)
    assert not breaker.is_open
