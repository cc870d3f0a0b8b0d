"""Asking issuers about callers' tokens: whom they are asked about, how often, for how long their word counts, and what a flood costs."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Final, final
from urllib.parse import parse_qsl

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.authz.decision.outcome import Deny
from exchanger.exchange import introspect as introspect_module
from exchanger.exchange.call import OVERLOADED
from exchanger.exchange.introspect import ASK_AGAIN_S, IntrospectionCache
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import CachePolicy, CallLimits, Credentials, ErrorStyle, IntrospectionRules, Issuer, SubjectRules
from exchanger.model.secret import Secret
from exchanger.model.token import (
    ErrorKind,
    ExchangedToken,
    ExchangeFailure,
    IntrospectionRequest,
    TokenCall,
    TokenHistory,
    TokenOutcome,
    VerificationResult,
)
from tests.examples import examples
from tests.exchange.examples import KEYS_URI, answer_to, asking, gated, published
from tests.exchange.oauth.fakes import HTTP, Peer, World, exchange, response, success, world
from tests.exchange.oauth.published import OPENID, Site, discovered, metadata
from tests.formats.jwt.issuer import ISSUER, NOW, token

ASK: Final = "/introspect"
AT: Final = IntrospectionRules("http://issuer.example.com/introspect")
OPAQUE: Final = SubjectRules(issuers=(ISSUER,), audiences=("gateway",), jwks_uri=KEYS_URI, introspection=AT)
ALWAYS: Final = attrs.evolve(OPAQUE, introspection=attrs.evolve(AT, always=True))
EVERY: Final = SubjectRules(introspection=attrs.evolve(AT, always=True))
HELD_S: Final = 1.0


@final
@attrs.define(eq=False)
class Issuing:
    """An issuer: it says of ``active`` tokens that they are, and takes ``slow`` seconds for a question. Other requests get a token.

    ``raw`` answers all questions instead; ``b""``: not at all. ``most`` is how many questions were open at a time.
    """

    site: Site = attrs.field(factory=lambda: Site({"/keys": published("p256")}))
    active: dict[str, dict[str, object]] = attrs.field(factory=dict)
    raw: Callable[[dict[str, str]], bytes] | None = None
    slow: float = 0.0
    asked: list[str] = attrs.field(factory=list)
    forms: list[dict[str, str]] = attrs.field(factory=list)
    exchanged: list[str] = attrs.field(factory=list)
    open: int = 0
    most: int = 0

    def __attrs_post_init__(self) -> None:
        self.site.token = self.token

    def token(self, fields: Any) -> bytes:
        if "grant_type" in fields:
            self.exchanged.append(fields["subject_token"])
            return response(success())
        self.forms.append(dict(fields))
        self.asked.append(fields["token"])
        if self.raw is not None:
            return self.raw(fields)
        said = self.active.get(fields["token"])
        return response(json.dumps({"active": False} if said is None else {"active": True, "aud": "gateway", **said}).encode())

    async def serve(self, peer: Peer) -> None:
        while True:
            head, body = await peer.request()
            method, path, _ = head.decode().split("\r\n")[0].split(" ")
            if method == "GET":
                await peer.send(self.site.documents.get(path, response(b"", 404)))
                continue
            fields = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True))
            self.site.posts.append((path, fields))
            answer = self.site.token(fields)
            if path == ASK and self.slow:
                self.open += 1
                self.most = max(self.most, self.open)
                try:
                    await trio.sleep(self.slow)
                finally:
                    self.open -= 1
            if answer:
                await peer.send(answer)


@final
@attrs.define(eq=False)
class Asking:
    it: World
    issuer: Issuing
    profile: Issuer

    async def ask(self, subject: str, deadline: float = 1e9) -> TokenOutcome:
        return await exchange(self.it.client, asking(subject, self.profile), deadline)

    def use(self, profile: Issuer) -> None:
        self.profile = profile
        self.it.client.use_issuers({profile.name: profile})

    @property
    def results(self) -> IntrospectionCache:
        return self.it.client.results

    def request(self, subject: str) -> IntrospectionRequest:
        return IntrospectionRequest(self.profile.verifying, Secret(subject))

    @property
    def kept(self) -> int:
        return len(self.results.passed) + len(self.results.refused)  # memory, which nothing else shows


@asynccontextmanager
async def introspecting(rules: SubjectRules = OPAQUE, seconds: float = 2.0, **more: Any) -> AsyncGenerator[Asking]:
    issuer, began = Issuing(), trio.current_time()
    limits = attrs.evolve(HTTP, request_timeout=seconds)
    async with world(issuer.serve, settings=limits, wall=lambda: NOW + trio.current_time() - began) as it:
        found = Asking(it, issuer, gated(rules, **more))
        found.use(found.profile)
        await wait_all_tasks_blocked()
        yield found
        await trio.sleep(HTTP.idle_connection_timeout + 5)


def passed(outcome: TokenOutcome) -> bool:
    return isinstance(outcome, ExchangedToken) and outcome.subject is not None and outcome.subject.introspected


def told(outcome: TokenOutcome) -> tuple[Diagnostic, int]:
    """Return the code, and the status that callers get, whatever their profile says of errors."""
    assert isinstance(outcome, ExchangeFailure), outcome
    told = {answer_to(asking("s", gated(errors=style)), outcome, "realm") for style in ErrorStyle}
    (answer,) = told
    assert isinstance(answer, Deny)
    names = [name for name, _ in answer.headers]
    assert names == {401: ["WWW-Authenticate"], 503: ["Retry-After"], 504: []}[answer.status]
    return outcome.diagnostic, answer.status


INACTIVE: Final = (Diagnostic.SUBJECT_INACTIVE, 401)
TOO_LATE: Final = (Diagnostic.INTROSPECTION_UNAVAILABLE, 504)
UNAVAILABLE: Final = (Diagnostic.INTROSPECTION_UNAVAILABLE, 503)


async def test_an_active_token_is_exchanged(autojump_clock: MockClock) -> None:
    async with introspecting() as it:
        it.issuer.active["opaque"] = {"act": {"sub": "canary"}}
        outcome = await it.ask("opaque")
        assert passed(outcome)
        assert outcome.subject is not None
        assert len(outcome.subject.actors) == 16
        assert isinstance(outcome, ExchangedToken)
        assert outcome.access_token.reveal() == "issued-token"
        assert [path for path, _ in it.issuer.site.posts] == [ASK, "/token"]
        client = {"client_id": "client", "client_secret": "client-secret"}
        assert it.issuer.forms == [{"token": "opaque", "token_type_hint": "access_token", **client}]
        assert it.issuer.exchanged == ["opaque"]
        assert [(record.introspects, record.kind) for record in it.it.observer.records] == [(True, None), (False, None)]


async def test_an_inactive_token_is_refused_and_asked_about_again_after_a_second(autojump_clock: MockClock) -> None:
    async with introspecting() as it:
        for _ in range(5):
            assert told(await it.ask("opaque")) == INACTIVE
        assert it.issuer.asked == ["opaque"]
        it.issuer.active["opaque"] = {}
        await trio.sleep(ASK_AGAIN_S - 0.01)
        assert told(await it.ask("opaque")) == INACTIVE
        await trio.sleep(0.02)
        assert passed(await it.ask("opaque"))
        assert it.issuer.asked == ["opaque"] * 2
        assert it.issuer.exchanged == ["opaque"]
        assert [record.kind for record in it.it.observer.records] == [ErrorKind.SUBJECT_INACTIVE, None, None]


JWTS: Final = {
    "of a stranger": token(iss="https://canary.example.com"),
    "with a broken signature": token()[:-4] + "AAAA",
    "encrypted": "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AA.AA.AA",
    "with a part more": token() + ".AA",
    "with two parts": token().rpartition(".")[0],
    "with padding": token().replace(".", "==.", 1) + ".",
    "with a blank in its header": " ." + token(),
}


@pytest.mark.parametrize("rules", [OPAQUE, ALWAYS])
@pytest.mark.parametrize("subject", list(JWTS.values())[:-1], ids=list(JWTS)[:-1])
async def test_what_looks_like_a_jwt_does_not_skip_the_keys(subject: str, rules: SubjectRules, autojump_clock: MockClock) -> None:
    async with introspecting(rules) as it:
        it.issuer.active[subject] = {}
        outcome = await it.ask(subject)
        assert isinstance(outcome, ExchangeFailure)
        assert outcome.diagnostic is Diagnostic.SUBJECT_REJECTED
        assert (it.issuer.asked, it.issuer.exchanged) == ([], [])


async def test_a_jwt_that_keys_verify_is_asked_about_if_all_are(autojump_clock: MockClock) -> None:
    good, chained = token(), token(act={"sub": "a"})
    async with introspecting() as it:
        outcome = await it.ask(good)
        assert isinstance(outcome, ExchangedToken)
        assert outcome.subject == VerificationResult()
        assert it.issuer.asked == []
    async with introspecting(ALWAYS) as it:
        assert told(await it.ask(good)) == INACTIVE
        it.issuer.active |= {chained: {}, "opaque": {}}
        outcome = await it.ask(chained)
        assert passed(outcome)
        assert outcome.subject is not None
        assert len(outcome.subject.actors) == 16  # the answer does not repeat the token's
        assert passed(await it.ask("opaque"))
        assert it.issuer.asked == [good, chained, "opaque"]


async def test_without_issuers_each_token_is_asked_about(autojump_clock: MockClock) -> None:
    async with introspecting(EVERY) as it:
        for subject in (*JWTS.values(), "opaque"):
            it.issuer.active[subject] = {}
            assert passed(await it.ask(subject))
        assert it.issuer.asked == [*JWTS.values(), "opaque"]


@pytest.mark.parametrize(
    ("cache_ttl", "life", "counts"), [(30.0, None, 30.0), (30.0, 10, 10.0), (30.0, 100, 30.0), (1.0, None, 1.0), (300.0, None, 300.0)]
)
async def test_how_long_a_word_counts(cache_ttl: float, life: int | None, counts: float, autojump_clock: MockClock) -> None:
    async with introspecting(
        attrs.evolve(OPAQUE, introspection=attrs.evolve(AT, cache_ttl=cache_ttl)), cache=CachePolicy(3600.0, 10)
    ) as it:
        it.issuer.active["opaque"] = {} if life is None else {"exp": NOW + life}
        assert passed(await it.ask("opaque"))
        del it.issuer.active["opaque"]
        await trio.sleep(counts - 0.1)
        assert passed(await it.ask("opaque"))
        await trio.sleep(0.2)
        assert told(await it.ask("opaque")) == INACTIVE  # although the exchanged token is in the cache
        assert it.issuer.asked == ["opaque"] * 2


async def test_equal_tokens_share_a_question_and_those_who_leave_leave_nothing(autojump_clock: MockClock) -> None:
    async with introspecting() as it:
        it.issuer.active["opaque"], it.issuer.slow = {}, HELD_S
        outcomes: list[TokenOutcome] = []

        async def one() -> None:
            outcomes.append(await it.ask("opaque"))

        async with trio.open_nursery() as callers, trio.open_nursery() as leaving:
            for nursery in (callers, leaving, callers, leaving):
                nursery.start_soon(one)
            await trio.sleep(HELD_S / 2)
            leaving.cancel_scope.cancel()
        assert [passed(outcome) for outcome in outcomes] == [True, True]
        assert it.issuer.asked == ["opaque"]
        with trio.move_on_after(HELD_S / 2):
            await it.ask("other")
        await trio.sleep(HELD_S)
        assert told(await it.ask("other")) == INACTIVE
        assert it.issuer.asked == ["opaque", "other"]  # its answer was learnt although nobody waited
        assert it.it.client.introspections.under_way == {}
        assert it.issuer.exchanged == ["opaque"]


async def test_question_and_exchange_share_the_time(autojump_clock: MockClock) -> None:
    async with introspecting() as it:
        it.issuer.active["opaque"], it.issuer.slow = {}, 1.5
        it.issuer.site.token = lambda fields: b"" if "grant_type" in fields else it.issuer.token(fields)
        for allowed in (0.5, 2.0):
            began = trio.current_time()
            outcome = await it.ask("opaque", began + allowed)
            assert isinstance(outcome, ExchangeFailure)
            assert outcome.too_late
            assert trio.current_time() == pytest.approx(began + allowed)
            if allowed < it.issuer.slow:
                assert told(outcome) == TOO_LATE


NO_ANSWERS: Final = {
    "client": response(b'{"error": "invalid_client"}', 401),
    "redirect": response(b"", 302, "Location: http://issuer.example.com/introspect"),
    "fault": response(b"", 500),
    "busy": response(b"", 503, "Retry-After: 7"),
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "garbage": b"garbage\r\n\r\n",
}


@pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_what_is_no_answer_closes(answer: bytes, autojump_clock: MockClock) -> None:
    async with introspecting() as it:
        it.issuer.raw = lambda _: answer
        outcome = await it.ask("opaque")
        assert told(outcome) == UNAVAILABLE
        assert isinstance(outcome, ExchangeFailure)
        assert outcome.retry_after == (7.0 if b"Retry-After" in answer else None)
        assert it.issuer.exchanged == []
        it.issuer.raw, it.issuer.active["opaque"] = None, {}
        assert passed(await it.ask("opaque"))  # what was no answer is not remembered


@pytest.mark.parametrize(("most", "half"), [(1, 1), (9, 4)])
async def test_made_up_tokens_take_half_of_the_calls(most: int, half: int, autojump_clock: MockClock) -> None:
    async with introspecting(limits=CallLimits(most)) as it:
        it.issuer.slow = HELD_S
        it.issuer.active["known"] = {}
        assert passed(await it.ask("known"))
        outcomes: list[TokenOutcome] = []
        it.issuer.most = 0

        async def one(subject: str) -> None:
            outcomes.append(await it.ask(subject))

        async with trio.open_nursery() as callers:
            for number in range(120):
                callers.start_soon(one, f"made-up-{number}")
            await trio.sleep(HELD_S / 2)
            if most > 1:
                began = trio.current_time()
                assert passed(await it.ask("known"))
                assert trio.current_time() == began
        assert it.issuer.most == half
        assert len(it.issuer.asked) <= 1 + 3 * half
        found = {told(outcome) for outcome in outcomes}
        assert found == {INACTIVE, UNAVAILABLE}
        (limits,) = it.it.client.limits
        assert [(permits.in_flight, permits.queued) for permits in limits.for_introspections] == [(0, 0)] * 2


@settings(max_examples=examples(10), deadline=None)
@given(st.integers(4, 16), st.integers(10, 40), st.sampled_from([0.02, 0.05, 0.1]), st.sampled_from([0.0, 0.2, 30.0]))
def test_a_flood_of_made_up_tokens_delays_known_callers_by_few_rounds(most: int, made_up: int, slow: float, cache_ttl: float) -> None:
    """``made_up`` tokens come in each round of the issuer's calls, far more than it can be asked about."""
    rules = attrs.evolve(OPAQUE, introspection=attrs.evolve(AT, cache_ttl=cache_ttl))

    async def main() -> None:
        async with introspecting(rules, limits=CallLimits(most)) as it:
            it.issuer.active["known"] = {}
            assert passed(await it.ask("known"))
            it.issuer.slow = slow
            async with trio.open_nursery() as nursery:
                nursery.start_soon(flood, it)
                await trio.sleep(10 * slow)
                for number in range(3):
                    new = f"new-{number}"
                    it.issuer.active[new] = {}
                    began = trio.current_time()
                    assert passed(await it.ask("known"))
                    assert trio.current_time() - began < 8 * slow
                    if not passed(await it.ask(new)):
                        await trio.sleep(5 * slow)
                        began = trio.current_time()
                        assert passed(await it.ask(new))
                        assert trio.current_time() - began < 8 * slow
                nursery.cancel_scope.cancel()

    async def flood(it: Asking) -> None:
        async with trio.open_nursery() as callers:
            for number in count():
                callers.start_soon(it.ask, f"made-up-{number}")
                await trio.sleep(slow / made_up)

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("leaves", [False, True], ids=["no place", "its gateway waits no longer"])
async def test_a_token_without_its_turn_is_ahead_of_unknown_ones_next_time(leaves: bool, autojump_clock: MockClock) -> None:
    async with introspecting(limits=CallLimits(2)) as it:
        it.issuer.slow = 0.1
        it.issuer.active["new"] = {}
        async with trio.open_nursery() as callers:
            for number in range(3 if leaves else 40):
                callers.start_soon(it.ask, f"made-up-{number}")
            await trio.sleep(0.05)
            assert not passed(await it.ask("new", deadline=trio.current_time() + (0.01 if leaves else 5.0)))
            for number in range(100, 110):
                callers.start_soon(it.ask, f"made-up-{number}")
            await trio.sleep(0.01)
            assert passed(await it.ask("new"))
            assert it.issuer.asked.index("new") <= 3
            assert it.results.history(it.request("new")) is TokenHistory.ACTIVE


async def test_what_was_active_gets_its_turn_and_no_decision(autojump_clock: MockClock) -> None:
    async with introspecting(attrs.evolve(OPAQUE, introspection=attrs.evolve(AT, cache_ttl=0.0))) as it:
        it.issuer.active["known"] = {}
        assert passed(await it.ask("known"))
        assert (it.results.history(it.request("known")), it.results.find(it.request("known"))) == (TokenHistory.ACTIVE, None)
        del it.issuer.active["known"]
        assert told(await it.ask("known")) == INACTIVE
        assert it.results.history(it.request("known")) is TokenHistory.UNKNOWN
        it.issuer.active["known"] = {"exp": int(NOW + trio.current_time()) + 20}
        await trio.sleep(ASK_AGAIN_S)
        assert passed(await it.ask("known"))
        await trio.sleep(30.0)
        assert it.results.history(it.request("known")) is TokenHistory.UNKNOWN  # it has expired
        it.issuer.active["known"] = {}
        assert passed(await it.ask("known"))
        it.use(attrs.evolve(it.profile, limits=CallLimits(8)))
        assert it.results.history(it.request("known")) is TokenHistory.UNKNOWN


async def test_a_changed_limit_applies_to_questions_at_once(autojump_clock: MockClock) -> None:
    async with introspecting(limits=CallLimits(2)) as it:
        it.issuer.slow = HELD_S
        async with trio.open_nursery() as callers:
            for number in range(4):
                callers.start_soon(it.ask, f"made-up-{number}")
            await trio.sleep(HELD_S / 2)
            assert it.issuer.open == 1
            it.use(attrs.evolve(it.profile, limits=CallLimits(8)))
            await wait_all_tasks_blocked()
            assert it.issuer.open == 4


async def test_questions_and_exchanges_share_the_breaker(autojump_clock: MockClock) -> None:
    async with introspecting(limits=CallLimits(None, breaker=True)) as it:
        it.issuer.raw = lambda _: response(b"", 503)
        for number in range(20):
            assert told(await it.ask(f"made-up-{number}")) == UNAVAILABLE
        asked = len(it.issuer.asked)
        assert asked < 20
        plain = attrs.evolve(it.profile, subject=SubjectRules())
        it.it.client.use_issuers({plain.name: plain})
        outcome = await exchange(it.it.client, asking("subject", plain))
        assert isinstance(outcome, ExchangeFailure)
        assert outcome.diagnostic is Diagnostic.BREAKER_OPEN


async def test_a_changed_profile_forgets_what_was_said(autojump_clock: MockClock) -> None:
    async with introspecting() as it:
        it.issuer.active |= {"opaque": {}, "late": {}}
        assert passed(await it.ask("opaque"))
        assert told(await it.ask("made-up")) == INACTIVE
        assert it.kept == 2
        it.use(it.profile)
        assert it.kept == 2
        it.issuer.slow = HELD_S
        async with trio.open_nursery() as callers:
            callers.start_soon(it.ask, "late")
            await trio.sleep(HELD_S / 2)
            it.use(attrs.evolve(it.profile, subject=attrs.evolve(OPAQUE, audiences=("other",))))
            assert it.kept == 0
        assert it.kept == 0
        assert told(await it.ask("opaque")) == INACTIVE


async def test_after_a_rotation_the_previous_credentials_ask(autojump_clock: MockClock) -> None:
    async with introspecting() as it:
        it.use(attrs.evolve(it.profile, credentials=Credentials("client", Secret("new"), 1), previous=it.profile.credentials))
        for subject, said in (("opaque", b'{"active": true, "aud": "gateway"}'), ("other", b'{"active": false}')):
            it.issuer.raw = lambda fields, said=said: response(
                *((b'{"error": "invalid_client"}', 401) if fields["client_secret"] == "new" else (said, 200))
            )
            outcome = await it.ask(subject)
            assert passed(outcome) or told(outcome) == INACTIVE
            assert passed(outcome) == (subject == "opaque")
        assert [form["client_secret"] for form in it.issuer.forms] == ["new", "client-secret"] * 2


@pytest.mark.parametrize(("names", "expected"), [(True, [ASK, "/token"]), (False, [])])
async def test_metadata_name_the_endpoint(names: bool, expected: list[str], autojump_clock: MockClock) -> None:
    issuer = Issuing()
    issuer.active["opaque"] = {}
    named = {"introspection_endpoint": f"http://issuer.example.com{ASK}"} if names else {}
    issuer.site.documents[OPENID] = metadata(**named)
    profile = discovered(subject=attrs.evolve(EVERY, introspection=IntrospectionRules(always=True)))
    async with world(issuer.serve) as it:
        it.client.use_issuers({profile.name: profile})
        await wait_all_tasks_blocked()
        outcome = await exchange(it.client, asking("opaque", profile))
        assert passed(outcome) == names
        assert [path for path, _ in issuer.site.posts] == expected
        if isinstance(outcome, ExchangeFailure):
            assert outcome.detail.endswith("the issuer's metadata names no introspection endpoint")
        await trio.sleep(HTTP.idle_connection_timeout + 1)


async def test_the_end_of_the_service_ends_questions(autojump_clock: MockClock) -> None:
    outcomes: list[TokenOutcome] = []
    async with introspecting() as it:
        it.issuer.raw = lambda _: b""
        it.it.client.begin(asking("opaque", it.profile), 1e9, outcomes.append)
        await wait_all_tasks_blocked()
        it.it.client.end()
        assert [told(outcome) for outcome in outcomes] == [UNAVAILABLE]
        it.it.client.calls.running = True


class Answering:
    """A stage that knows at once: tokens that begin with ``good`` are active."""

    def begin(self, request: IntrospectionRequest, deadline: float, done: object, /) -> TokenOutcome:
        del deadline, done
        if request.subject_token.reveal().startswith("away"):
            return OVERLOADED
        if request.subject_token.reveal().startswith("good"):
            return ExchangedToken(Secret(""), TokenCall(0.0, 200), subject=VerificationResult(introspected=True))
        return ExchangeFailure(Diagnostic.SUBJECT_INACTIVE, ErrorKind.SUBJECT_INACTIVE, 401, "")


def test_any_number_of_tokens_is_kept_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do made-up tokens push out good ones."""
    monkeypatch.setattr(introspect_module, "MAX_RESULTS", 50)
    results, profile = IntrospectionCache(Answering(), lambda: 0.0, lambda: NOW), gated(OPAQUE)
    results.use_issuers({profile.name: profile})

    def ask(subject: str) -> IntrospectionRequest:
        request = IntrospectionRequest(profile, Secret(subject))
        results.begin(request, 1.0, lambda _: None)
        return request

    good = [ask(f"good-{number}") for number in range(50)]
    for number in range(5000):
        ask(f"made-up-{number}")
        ask(f"away-{number}")
    # Memory, which nothing else shows.
    assert {len(known) for known in (results.passed, results.refused, results.active, results.turned_away)} == {50}
    assert all(isinstance(results.find(request), VerificationResult) for request in good)
    assert {results.history(request) for request in good} == {TokenHistory.ACTIVE}
    assert {results.history(ask(f"away-{number}")) for number in (4999, 0)} == {TokenHistory.TURNED_AWAY}
    for number in range(1000):
        ask(f"good-again-{number}")
    assert (len(results.passed), len(results.refused)) == (50, 50)
    assert "good" not in repr(results)
    assert "made-up" not in repr(results)


STEPS: Final = st.lists(
    st.tuples(
        st.sampled_from(["ask", "activate", "revoke", "sleep"]), st.sampled_from(["a", "b"]), st.sampled_from([0.0, 0.3, 1.0, 4.9, 5.1])
    ),
    max_size=30,
)


@settings(max_examples=examples(100), deadline=None)
@given(STEPS, st.sampled_from([0.0, 1.0, 5.0]), st.sampled_from([0.0, 0.7]))
def test_who_passes_was_said_active_within_the_time(steps: list[tuple[str, str, float]], cache_ttl: float, slow: float) -> None:
    """And who is refused was said inactive within a second."""

    async def main() -> None:
        async with introspecting(attrs.evolve(OPAQUE, introspection=attrs.evolve(AT, cache_ttl=cache_ttl)), seconds=20.0) as it:
            it.issuer.slow = slow
            said: dict[tuple[str, bool], float] = {}
            answer = it.issuer.token

            def noting(fields: dict[str, str]) -> bytes:
                if "token" in fields:
                    said[fields["token"], fields["token"] in it.issuer.active] = trio.current_time()
                return answer(fields)

            it.issuer.site.token = noting  # type: ignore[assignment]
            for step, subject, seconds in steps:
                if step == "activate":
                    it.issuer.active[subject] = {}
                elif step == "revoke":
                    it.issuer.active.pop(subject, None)
                elif step == "sleep":
                    await trio.sleep(seconds)
                else:
                    began = trio.current_time()
                    outcome = await it.ask(subject)
                    active = passed(outcome)
                    assert active or told(outcome) == INACTIVE
                    within = max(cache_ttl, 0.0) if active else ASK_AGAIN_S + slow
                    assert said[subject, active] >= began - within
                    assert it.kept <= 2

    trio.run(main, clock=MockClock(autojump_threshold=0))
