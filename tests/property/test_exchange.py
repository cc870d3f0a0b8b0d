"""Laws of the exchange: who shares a call, who passes the verification, and what an exchange ends in."""

import json
import re
from collections import Counter
from typing import Final, final

import attrs
import trio
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.exchange.interfaces import Ticket
from exchanger.exchange.verify import SubjectTokenVerifier
from exchanger.formats.jwt.claims import SubjectPolicy
from exchanger.formats.jwt.verify import Unverified, VerifiedClaims, read_token, verify
from exchanger.model.entry import TokenTarget
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import CachePolicy, CallLimits, Credentials, IntrospectionRules, Issuer, SubjectRules
from exchanger.model.secret import Secret
from exchanger.model.token import Cache, ExchangedToken, ExchangeFailure, TokenOutcome, TokenRequest
from exchanger.model.trace import NO_TRACE, TraceContext
from exchanger.net.network import SYSTEM
from exchanger.operations.telemetry.trace_context import TraceContexts
from tests.credentials import client_secret
from tests.examples import examples
from tests.exchange.examples import KEYS_URI, RULES, Waiting, asking, gated, guarded, published
from tests.exchange.oauth.fakes import (
    CONTRACT,
    HTTP,
    ISSUED,
    NO_TLS,
    MemoryEndpoint,
    Observer,
    Peer,
    answering,
    at_rest,
    client_of,
    exchange,
    kept,
    response,
    running,
    success,
    token_request,
)
from tests.exchange.oauth.published import Site
from tests.formats.jwt.issuer import ISSUER, NOW, STRANGER, claims, raw, token
from tests.property.strategies_oauth import similar_requests

# Law: two requests share a call if, and only if, they could not be told apart at the token endpoint.
#
# Everything that makes a difference there, or in who may see the answer, is part of the key: endpoint, proxy, credentials and their
# generation, subject token, scope, resources, audiences and types, also where a part contains what separates parts. Whose trace is
# carried makes none.


async def calls_for(first: TokenRequest, second: TokenRequest) -> int:
    observer = Observer()
    async with trio.open_nursery() as nursery:
        endpoint = MemoryEndpoint(nursery, [answering(response(success()))])
        async with running(client_of(HTTP, observer, dial=endpoint.dial, tls=NO_TLS)) as client, trio.open_nursery() as callers:
            callers.start_soon(exchange, client, first)
            callers.start_soon(exchange, client, second)
        nursery.cancel_scope.cancel()
    endpoint.close()
    assert len(observer.coalesced_hosts) == 2 - len(observer.records)
    return len(observer.records)


def traceless(request: TokenRequest) -> str:
    """All of the request but its trace, with the secrets in the open."""
    whole = attrs.evolve(request, trace=NO_TRACE)
    proxy = whole.issuer.proxy
    secrets = (whole.subject_token, client_secret(whole.issuer.credentials), *(() if proxy is None else (proxy.credentials,)))
    return repr((whole, [secret.reveal() for secret in secrets]))


@settings(max_examples=examples(100))
@given(similar_requests, similar_requests)
def test_two_requests_share_a_call_if_they_cannot_be_told_apart(first: TokenRequest, second: TokenRequest) -> None:
    calls = trio.run(calls_for, first, second, clock=MockClock(autojump_threshold=0))
    assert calls == (1 if traceless(first) == traceless(second) else 2)


@settings(max_examples=examples(25))
@given(similar_requests, similar_requests)
def test_a_request_and_its_like_under_another_trace(first: TokenRequest, second: TokenRequest) -> None:
    like = attrs.evolve(first, trace=second.trace)
    assert trio.run(calls_for, first, like, clock=MockClock(autojump_threshold=0)) == 1


# Law: whatever happens, each request at the verifier is answered exactly once unless it left, and passes only by the active keys.
#
# Callers come with good tokens and bad ones, leave and run out of time. Meanwhile keys are rotated, withdrawn and not to be had, profiles
# change and go, exchanges end late, time passes, and at last the service ends.


PROFILES: Final = (
    gated(),
    gated(attrs.evolve(RULES, audiences=("other",))),
    gated(attrs.evolve(RULES, jwks_uri=f"{KEYS_URI}?again")),
    None,
)
TOKENS: Final = (
    token(exp=NOW + 10**6),
    token("EdDSA", exp=NOW + 10**6),
    token(aud="other", exp=NOW + 10**6),
    token(exp=NOW + 40),
    raw({"alg": "RS256", "kid": "rsa"}, claims(), STRANGER),
    "opaque",
)
ANSWERS: Final = (published("p256"), published("p256", "ed"), published("ed"), response(b"", 500), b"")


@final
@attrs.frozen
class AskVerified:
    subject: int
    budget: float


@final
@attrs.frozen
class Leave:
    number: int


@final
@attrs.frozen
class Publish:
    answer: int


@final
@attrs.frozen
class Use:
    profile: int


@final
@attrs.frozen
class Land:
    pass


VerifyStep = AskVerified | Leave | Publish | Use | Land | float
one: st.SearchStrategy[VerifyStep] = st.one_of(
    st.builds(AskVerified, st.just(0), st.just(20.0)),
    st.builds(AskVerified, st.integers(0, 1), st.just(20.0)),
    st.builds(AskVerified, st.integers(0, len(TOKENS) - 1), st.sampled_from([0.0, 0.3, 20.0])),
    st.builds(Leave, st.integers(0, 20)),
    st.builds(Publish, st.integers(0, len(ANSWERS) - 1)),
    st.builds(Use, st.integers(0, 1)),
    st.builds(Use, st.integers(0, len(PROFILES) - 1)),
    st.builds(Land),
    st.sampled_from([0.0, 0.1, 1.0, 8.0, 61.0, 4000.0]),
    st.sampled_from([1.0, 61.0]),
)
verify_steps = st.lists(one, min_size=3, max_size=40)


@final
@attrs.define(eq=False)
class Asked:
    """One request, and how often it was answered."""

    request: TokenRequest
    outcomes: list[TokenOutcome] = attrs.field(factory=list)
    ticket: Ticket | None = None
    left: bool = False


@final
@attrs.define(eq=False)
class Behind:
    """Implements ``TokenExchanger``: looks at each request that passed, and answers every other one later."""

    verifier: SubjectTokenVerifier | None = None
    wrong: list[str] = attrs.field(factory=list)
    begun: int = 0
    waiting: list[Waiting] = attrs.field(factory=list)

    def begin(self, request: TokenRequest, deadline: float, done: object, /) -> TokenOutcome | Ticket:
        del deadline
        assert self.verifier is not None
        if not self._may_pass(self.verifier, request):
            self.wrong.append(request.subject_token.reveal())
        self.begun += 1
        if self.begun % 2:
            return ISSUED
        self.waiting.append(Waiting(done))  # type: ignore[arg-type]
        return self.waiting[-1]

    def _may_pass(self, verifier: SubjectTokenVerifier, request: TokenRequest) -> bool:
        subject = request.issuer.subject
        read = read_token(request.subject_token.reveal())
        jwks = verifier.keys.caches.get((request.issuer.name, ISSUER))
        if not isinstance(read, Unverified) or jwks is None or jwks.keys is None:
            return False
        return isinstance(
            verify(read, jwks.keys, SubjectPolicy(subject.issuers, subject.audiences, has_actor=False), verifier.now()), VerifiedClaims
        )

    def land(self) -> None:
        waiting, self.waiting = self.waiting, []
        for ticket in waiting:
            if not ticket.left:
                ticket.done(ISSUED)


async def live(planned: list[VerifyStep]) -> None:
    behind, asked = Behind(), list[Asked]()
    site = Site({"/keys": ANSWERS[0], "/keys?again": ANSWERS[1]})
    profile: Issuer | None = PROFILES[0]
    last = gated()
    async with guarded(site, behind=behind) as it:
        behind.verifier = it.verifier
        it.use(gated())  # its keys are not known yet
        for step in planned:
            match step:
                case AskVerified(subject, budget):
                    found = Asked(asking(TOKENS[subject], profile or last))
                    asked.append(found)
                    begun = it.verifier.begin(found.request, trio.current_time() + budget, found.outcomes.append)
                    if isinstance(begun, ExchangedToken | ExchangeFailure):
                        found.outcomes.append(begun)
                    else:
                        found.ticket = begun
                case Leave(number):
                    if number < len(asked) and asked[number].ticket is not None and not asked[number].outcomes and not asked[number].left:
                        asked[number].left = True
                        asked[number].ticket.leave()  # type: ignore[union-attr]
                case Publish(answer):
                    site.documents = dict.fromkeys(("/keys", "/keys?again"), ANSWERS[answer])
                case Use(number):
                    profile = PROFILES[number]
                    last = profile or last
                    it.use(*(() if profile is None else (profile,)))
                case Land():
                    behind.land()
                case float():
                    await trio.sleep(step)
                    await wait_all_tasks_blocked()
            assert all(len(one.outcomes) <= (not one.left) for one in asked)
    behind.land()
    assert behind.wrong == []
    for found in asked:
        assert len(found.outcomes) == (not found.left)
        for outcome in found.outcomes:
            assert outcome.subject is not None or (isinstance(outcome, ExchangeFailure) and outcome.diagnostic is Diagnostic.KEYS_UNKNOWN)


@settings(max_examples=examples(300))
@example([1.0, AskVerified(0, 20.0), Publish(2), 4000.0, AskVerified(0, 20.0), 1.0])  # its key is withdrawn
@example([1.0, AskVerified(3, 20.0), 61.0, 61.0, AskVerified(3, 20.0), 1.0])  # it expires
@given(verify_steps)
def test_each_request_is_answered_once_and_passes_by_the_active_keys(planned: list[VerifyStep]) -> None:
    trio.run(live, planned, clock=MockClock(autojump_threshold=0))


# Laws: whatever happens, an exchange ends in a token that was issued for just this request and still lives, or in a failure. What its
# issuer gets for it is bounded, and recorded: each record is about one call, each call has one, and is sent twice at most.
#
# Callers come with few subjects and scopes, so that they meet: they hit cached tokens, share calls, wait for places, leave, and have no
# time. Meanwhile the client's secret is rotated (with and without the previous one), limits, cache policies and introspection change, the
# endpoint refuses, fails, says nothing or closes, and time passes. Tokens name what they were issued for and until when.


EPOCH: Final = 1_000_000
# For one caller's request: a refused client calls with its other credentials, and then with the first ones.
MAX_CALLS: Final = 3
# Of one call: again on a fresh connection, if the first one ended without a response.
MAX_SENT: Final = 2
INTROSPECTED: Final = SubjectRules(introspection=IntrospectionRules("http://issuer.example.com/introspect", always=True))


@final
@attrs.frozen
class Ask:
    subject: int
    scope: int
    namespace: int
    patience: float
    budget: float


@final
@attrs.frozen
class Rotate:
    """Another secret, or other rules and limits."""

    keeps_previous: bool
    policy: CachePolicy | None
    limits: CallLimits
    subject: SubjectRules


@final
@attrs.frozen
class Behave:
    """How the endpoint is from now on."""

    kind: str
    delay: float
    lifetime: int | None


@final
@attrs.frozen
class Call:
    """A request at the endpoint: a call of the ``span``, for the caller's request whose trace it is in."""

    trace: str
    span: str
    introspects: bool


TRACEPARENT: Final = re.compile(r"traceparent: 00-(\w{32})-(\w{16})-01", re.IGNORECASE)
CROWD: Final = [Ask(subject, 0, 0, 9.0, 9.0) for subject in range(3)]
Step = Ask | Rotate | Behave | float
seconds = st.sampled_from([0.0, 0.01, 0.1, 0.3, 0.6, 2.0])
policies = st.sampled_from([None, CachePolicy(300.0, 100), CachePolicy(8.0, 2)])
limits = st.sampled_from([CallLimits(), CallLimits(1), CallLimits(2, breaker=True), CallLimits(breaker=True)])
usual = st.builds(Ask, st.integers(0, 1), st.just(0), st.just(0), st.just(9.0), st.just(9.0))
hurried = st.builds(
    Ask,
    st.integers(0, 2),
    st.integers(0, 1),
    st.integers(0, 1),
    st.sampled_from([0.05, 0.4, 9.0]),
    st.sampled_from([0.02, 0.3, 9.0]),
)
pauses = st.sampled_from([0.0, 0.02, 0.2, 1.0, 4.0, 7.0])
kinds = st.sampled_from(["issue", "issue", "issue", "refuse", "old secret", "unavailable", "silent", "close", "idle"])
behaviours = st.builds(Behave, kinds, seconds, st.sampled_from([None, 0, 3, 12, 60]))
rotations = st.builds(Rotate, st.booleans(), policies, limits, st.sampled_from([SubjectRules(), INTROSPECTED]))
one_of_many = st.integers(0, 11).flatmap(
    lambda number: usual if number < 5 else pauses if number < 8 else hurried if number < 10 else behaviours if number < 11 else rotations
)
steps = st.lists(one_of_many, min_size=5, max_size=40)
# Much changes, and then some callers come. A connection rests for more than a second before its next call, which may then be sent again.
crowd = st.lists(usual | hurried | st.sampled_from([0.02, 0.6, 2.0]), min_size=2, max_size=8)
scenes = st.builds(lambda rules, behaviour, asked: [rules, behaviour, *asked], rotations, behaviours, crowd)
eventful = st.lists(scenes, min_size=1, max_size=5).map(lambda found: [step for scene in found for step in scene])


@final
@attrs.define(eq=False)
class World:
    behave: Behave = Behave("issue", 0.0, 12)
    secret: int = 1
    issuer: Issuer = attrs.field(init=False)
    wrong: list[object] = attrs.field(factory=list)
    caches: set[Cache] = attrs.field(factory=set)
    observer: Observer = attrs.field(factory=Observer)
    asked: int = 0
    calls: list[Call] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.issuer = attrs.evolve(token_request(client_secret="1").issuer, cache=CachePolicy(300.0, 100))

    async def serve(self, peer: Peer) -> None:
        while True:
            head, body = await peer.request()
            fields = dict(pair.split("=", 1) for pair in body.decode().split("&"))
            (found,) = TRACEPARENT.finditer(head.decode())
            self.calls.append(Call(found[1], found[2], "token" in fields))
            it = self.behave
            await trio.sleep(it.delay)
            match it.kind:
                case "silent":
                    continue
                case "close":
                    return
                case "unavailable":
                    await peer.send(response(b"", 503))
                case "idle":
                    await peer.send(response(b"", 408))
                case "refuse" if "token" in fields:
                    await peer.send(response(b'{"active": false}'))
                case "refuse":
                    await peer.send(response(b'{"error": "invalid_grant"}', 400))
                case "old secret" if fields["client_secret"] == str(self.secret):
                    await peer.send(response(b'{"error": "invalid_client"}', 401))
                case _ if "token" in fields:
                    await peer.send(response(b'{"active": true}'))
                case _:
                    await peer.send(response(self.issued(fields, it.lifetime)))

    def issued(self, fields: dict[str, str], lifetime: int | None) -> bytes:
        ends = trio.current_time() + (1e9 if lifetime is None else lifetime)
        token = f"{fields['subject_token']}/{fields['scope']}/{fields['client_secret']}/{ends!r}"
        body = {"access_token": token, "token_type": "Bearer", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
        return json.dumps(body if lifetime is None else {**body, "expires_in": lifetime}).encode()

    def request(self, it: Ask) -> TokenRequest:
        plain = token_request(f"s{it.subject}")
        self.asked += 1
        trace = TraceContext(f"00-{self.asked:032x}-{self.asked:016x}-01")
        target = TokenTarget("primary", f"c{it.scope}")
        return attrs.evolve(plain, issuer=self.issuer, target=target, namespace=f"n{it.namespace}", trace=trace)

    async def ask(self, client: object, it: Ask) -> None:
        asked = self.request(it)
        with trio.move_on_after(it.patience):
            outcome: TokenOutcome = await exchange(client, asked, trio.current_time() + it.budget)  # type: ignore[arg-type]
            self.caches.add(outcome.cache)
            if isinstance(outcome, ExchangedToken):
                subject, scope, secret, ends = outcome.access_token.reveal().split("/")
                mine = {asked.issuer.credentials, asked.issuer.previous}
                right = (
                    subject == asked.subject_token.reveal()
                    and scope == asked.target.scope
                    and secret in {client_secret(each).reveal() for each in mine if each is not None}
                    and (outcome.cache is not Cache.HIT or float(ends) > trio.current_time())
                )
                if not right:
                    self.wrong.append((asked, outcome.access_token.reveal(), trio.current_time()))

    def rotate(self, it: Rotate) -> None:
        before = self.issuer.credentials
        self.secret += 1
        after = Credentials("client", Secret(str(self.secret)), self.secret)
        self.issuer = attrs.evolve(
            self.issuer,
            credentials=after,
            previous=before if it.keeps_previous else None,
            cache=it.policy,
            limits=it.limits,
            subject=it.subject,
        )

    async def run(self, planned: list[Step]) -> None:
        async with trio.open_nursery() as network:
            endpoint = MemoryEndpoint(network, [self.serve])
            client = client_of(CONTRACT, self.observer, dial=endpoint.dial, tls=NO_TLS, tracer=TraceContexts())
            client.calls.now = wall = lambda: EPOCH + trio.current_time()
            client.cache.network = attrs.evolve(SYSTEM, steady=trio.current_time, wall=wall)
            async with running(client):
                client.use_issuers({"primary": self.issuer})
                async with trio.open_nursery() as callers:
                    for step in planned:
                        match step:
                            case Ask():
                                callers.start_soon(self.ask, client, step)
                                await trio.lowlevel.checkpoint()
                            case Rotate():
                                self.rotate(step)
                                client.use_issuers({"primary": self.issuer})
                            case Behave():
                                self.behave = step
                            case float():
                                await trio.sleep(step)
                await trio.sleep(2.0)  # renewals, and calls that outlive their callers
                await wait_all_tasks_blocked()
                assert at_rest(client, connections=kept(client))
            network.cancel_scope.cancel()
        endpoint.close()


@settings(max_examples=examples(300))
@given(steps)
def test_an_exchange_ends_in_its_own_token_or_a_failure(planned: list[Step]) -> None:
    world = World()
    trio.run(world.run, planned, clock=MockClock(autojump_threshold=0))
    assert world.wrong == []
    for cache in world.caches:
        event(cache.value)


@settings(max_examples=examples(200))
@example([Behave("issue", 0.1, 0), *CROWD, 2.0, CROWD[0], 0.2, Behave("close", 0.1, 0), CROWD[1]])  # sent again, on fresh connections
@example([Behave("issue", 0.1, 0), *CROWD, 2.0, CROWD[0], 0.2, Behave("idle", 0.1, 0), CROWD[1]])
@given(eventful)
def test_each_call_is_recorded_once_and_what_an_issuer_gets_is_bounded(planned: list[Step]) -> None:
    world = World()
    trio.run(world.run, planned, clock=MockClock(autojump_threshold=0))
    records = {(record.span.span_id, record.introspects): record for record in world.observer.records if record.span is not None}
    assert len(records) == len(world.observer.records)
    sent = Counter((call.span, call.introspects) for call in world.calls)
    assert {call for call, record in records.items() if record.http_status is not None} <= sent.keys() <= records.keys()
    assert max(sent.values(), default=0) <= MAX_SENT
    calls = Counter((call.trace, call.introspects) for call in set(world.calls))
    assert max(calls.values(), default=0) <= MAX_CALLS
    event(f"most calls {max(calls.values(), default=0)}, sent {max(sent.values(), default=0)} times")
