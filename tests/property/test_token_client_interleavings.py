"""Law: whatever happens, an exchange ends in a token that was issued for just this request and still lives, or in a failure.

Callers come with few subjects and scopes, so that they meet: they hit kept tokens, share calls, wait for places, leave, and have no time.
Meanwhile the client's secret is rotated (with and without the previous one), limits and cache policies change, the endpoint refuses, fails,
says nothing or closes, and time passes. Tokens name what they were issued for and until when.
"""

import json
from typing import Final, final

import attrs
import trio
from hypothesis import event, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.values.entry import TokenTarget
from exchanger.values.issuer import CachePolicy, CallLimits, Credentials, Issuer
from exchanger.values.secret import Secret
from exchanger.values.token import Cache, ExchangedToken, TokenOutcome, TokenRequest
from tests.credentials import client_secret
from tests.examples import examples
from tests.oauth.fakes import (
    CONTRACT,
    NO_TLS,
    MemoryEndpoint,
    Observer,
    Peer,
    at_rest,
    client_of,
    exchange,
    kept,
    response,
    running,
    token_request,
)

EPOCH: Final = 1_000_000


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
    """Another secret, or other limits."""

    keeps_previous: bool
    policy: CachePolicy | None
    limits: CallLimits


@final
@attrs.frozen
class Behave:
    """How the endpoint is from now on."""

    kind: str
    delay: float
    lifetime: int | None


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
kinds = st.sampled_from(["issue", "issue", "issue", "refuse", "old secret", "unavailable", "silent", "close"])
behaviours = st.builds(Behave, kinds, seconds, st.sampled_from([None, 0, 3, 12, 60]))
rotations = st.builds(Rotate, st.booleans(), policies, limits)
one_of_many = st.integers(0, 11).flatmap(
    lambda number: usual if number < 5 else pauses if number < 8 else hurried if number < 10 else behaviours if number < 11 else rotations
)
steps = st.lists(one_of_many, min_size=5, max_size=40)


@final
@attrs.define(eq=False)
class World:
    behave: Behave = Behave("issue", 0.0, 12)
    secret: int = 1
    issuer: Issuer = attrs.field(init=False)
    wrong: list[object] = attrs.field(factory=list)
    caches: set[Cache] = attrs.field(factory=set)
    tokens: int = 0

    def __attrs_post_init__(self) -> None:
        self.issuer = attrs.evolve(token_request(client_secret="1").issuer, cache=CachePolicy(300.0, 100))

    async def serve(self, peer: Peer) -> None:
        while True:
            _, body = await peer.request()
            fields = dict(pair.split("=", 1) for pair in body.decode().split("&"))
            it = self.behave
            await trio.sleep(it.delay)
            match it.kind:
                case "silent":
                    continue
                case "close":
                    return
                case "unavailable":
                    await peer.send(response(b"", 503))
                case "refuse":
                    await peer.send(response(b'{"error": "invalid_grant"}', 400))
                case "old secret" if fields["client_secret"] == str(self.secret):
                    await peer.send(response(b'{"error": "invalid_client"}', 401))
                case _:
                    await peer.send(response(self.issued(fields, it.lifetime)))

    def issued(self, fields: dict[str, str], lifetime: int | None) -> bytes:
        ends = trio.current_time() + (1e9 if lifetime is None else lifetime)
        token = f"{fields['subject_token']}/{fields['scope']}/{fields['client_secret']}/{ends!r}"
        body = {"access_token": token, "token_type": "Bearer", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
        return json.dumps(body if lifetime is None else {**body, "expires_in": lifetime}).encode()

    def request(self, it: Ask) -> TokenRequest:
        plain = token_request(f"s{it.subject}")
        return attrs.evolve(plain, issuer=self.issuer, target=TokenTarget("primary", f"c{it.scope}"), namespace=f"n{it.namespace}")

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
            self.issuer, credentials=after, previous=before if it.keeps_previous else None, cache=it.policy, limits=it.limits
        )

    async def run(self, planned: list[Step]) -> None:
        async with trio.open_nursery() as network:
            endpoint = MemoryEndpoint(network, [self.serve])
            client = client_of(CONTRACT, Observer(), dial=endpoint.dial, tls=NO_TLS)
            client.cache.steady, client.cache.wall = trio.current_time, lambda: EPOCH + trio.current_time()
            client._calls.now = lambda: EPOCH + trio.current_time()
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
                assert all(guard.queued == 0 and (guard.permits is None or guard.permits.in_flight == 0) for guard in client.limits)
            network.cancel_scope.cancel()
        endpoint.close()


@settings(max_examples=examples(300))
@given(steps)
def test_a_right_token_or_a_failure(planned: list[Step]) -> None:
    world = World()
    trio.run(world.run, planned, clock=MockClock(autojump_threshold=0))
    assert world.wrong == []
    for cache in world.caches:
        event(cache.value)
