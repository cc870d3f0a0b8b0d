"""The cache beside a list of everything that was ever kept.

Whatever happens, a hit is the newest token of an equal request whose ends have not come; and nothing that still counts is missing, unless
the bounds left no room for it.
"""

import math
import tempfile
from base64 import urlsafe_b64decode
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final, final

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from exchanger.exchange.cache.lifetime import MARGIN_PART, MARGIN_S
from exchanger.exchange.cache.memory_store import ENTRY_BYTES, RENEWAL_PAUSE_S
from exchanger.exchange.cache.recall import MAX_NAMES, PAUSE_S, RefusedTokens
from exchanger.exchange.cache.sealed_token import unseal
from exchanger.exchange.cache.token_cache import TokenCache
from exchanger.model.entry import TokenTarget
from exchanger.model.issuer import CachePolicy, Credentials, Issuer
from exchanger.model.secret import Secret
from exchanger.model.token import Cache, TokenRequest
from exchanger.net.network import SYSTEM
from tests.exchange.cache.examples import HOST, POLICY, START, Clocks, cache, issuer, jwt, outage, refusal, request, running, token
from tests.exchange.cache.fake_store import Server, shared_settings
from tests.waiting import at_once

MAX_BYTES: Final = 6 * (ENTRY_BYTES + 10)
ISSUERS: Final[dict[str, list[Issuer | None]]] = {
    name: [
        issuer(name),
        issuer(name, secret="rotated"),
        issuer(name, previous=Credentials("client", Secret("before"))),
        issuer(name, previous=Credentials("another client", Secret("before"))),
        issuer(name, cache=CachePolicy(max_ttl=50.0, max_entries=2)),
        issuer(name, bearer_realm="realm"),
        issuer(name, cache=None),
        None,
    ]
    for name in ("primary", "second")
}
TARGETS: Final = (TokenTarget("primary", scope="read"), TokenTarget("primary", scope="write"))

# Issuer, subject, target and grant type.
Kind = tuple[str, int, int, str]
kinds = st.tuples(st.sampled_from(list(ISSUERS)), st.integers(0, 2), st.integers(0, 1), st.sampled_from("gh"))
steps = st.one_of(
    st.tuples(st.just("find"), kinds),
    st.tuples(st.just("find"), kinds),
    st.tuples(st.just("keep"), kinds, st.none() | st.integers(-1, 400), st.floats(0.0, 2.0), st.none() | st.integers(-1, 400)),
    st.tuples(st.just("refused"), kinds, st.sampled_from([400, 401, 403, 500, 503])),
    st.tuples(st.just("fails"), kinds),
    st.tuples(st.just("wait"), st.floats(0.0, 120.0)),
    st.tuples(st.just("jump"), st.floats(-500.0, 500.0)),
    st.tuples(st.just("issuers"), st.sampled_from(list(ISSUERS)), st.integers(0, 7)),
)


@final
@attrs.define(eq=False)
class Line:
    """A token of the model. ``at`` is the steady time of its issue, ``ends`` those of either clock."""

    key: object
    issuer: str
    text: str
    at: float
    until: float
    wall_until: float


@final
@attrs.define(eq=False)
class Model:
    """All that counts, the least recently used first."""

    clocks: Clocks
    lines: list[Line] = attrs.field(factory=list)

    def find(self, key: object, max_ttl: float) -> Line | None:
        for line in self.lines:
            if line.key == key:
                self.lines.remove(line)
                if self.clocks.steady < min(line.until, line.at + max_ttl) and self.clocks.wall < line.wall_until:
                    self.lines.append(line)
                    return line
                break
        return None

    def drop(self, key: object) -> None:
        self.lines = [line for line in self.lines if line.key != key]

    def bound(self, bounds: dict[str, int]) -> None:
        for name, most in bounds.items():
            while len(own := [line for line in self.lines if line.issuer == name]) > most:
                self.lines.remove(own[0])
        while sum(len(line.text) + ENTRY_BYTES for line in self.lines) > MAX_BYTES:
            self.lines.pop(0)


def identity(one: TokenRequest) -> object:
    """What shapes the answer, by hand."""
    return (one.issuer.name, *shape(one.issuer), one.subject_token, one.target, one.grant_type)


def shape(of: Issuer) -> tuple[object, ...]:
    other = None if of.previous is None or of.previous.client_id == of.credentials.client_id else of.previous.proof
    return (of.credentials.client_id, of.credentials.proof, other)


@final
@attrs.define(eq=False)
class Run:
    """The cache and its model, side by side."""

    clocks: Clocks = attrs.field(factory=Clocks)
    active: dict[str, Issuer] = attrs.field(factory=dict)
    one: TokenCache = attrs.field(init=False)
    model: Model = attrs.field(init=False)
    renewing: dict[str, float] = attrs.field(factory=dict)
    count: int = 0

    def __attrs_post_init__(self) -> None:
        self.one, self.model = cache(self.clocks), Model(self.clocks)
        self.one.memory.max_bytes = MAX_BYTES
        self.one.use_issuers({})
        for name in ISSUERS:
            self.issuers(name, 0)

    def asked(self, kind: Kind) -> tuple[TokenRequest, CachePolicy | None]:
        name, subject, target, grant = kind
        of = self.active.get(name)
        text = "opaque" if subject == 0 else jwt({"exp": subject_ends(subject)})
        return request(text, of=of or issuer(name), target=TARGETS[target], grant=grant), None if of is None else of.cache

    def find(self, kind: Kind) -> None:
        asked, policy = self.asked(kind)
        found = self.one.find(asked)
        line = None if policy is None else self.model.find(identity(asked), policy.max_ttl)
        assert (None if found is None else found.token.access_token.reveal()) == (None if line is None else line.text)
        if found is not None:
            assert found.token.cache is Cache.HIT
            text = found.token.access_token.reveal()
            if found.renew:  # one at a time, and another one after a pause
                assert self.clocks.steady >= self.renewing.get(text, -math.inf)
                self.renewing[text] = self.clocks.steady + RENEWAL_PAUSE_S

    def keep(self, kind: Kind, expires_in: int | None, duration: float, exp: int | None) -> None:
        asked, policy = self.asked(kind)
        self.count += 1
        text = f"token {self.count:03}" if exp is None else jwt({"exp": START + exp, "jti": self.count})
        self.one.keep(asked, token(text, expires_in, duration=duration))
        if policy is None:
            return
        self.model.drop(identity(asked))
        at, wall_at = self.clocks.steady - duration, self.clocks.wall - duration
        ends = min(subject_ends(kind[1]), math.inf if exp is None else START + exp)
        length = min(-math.inf if expires_in is None else expires_in, policy.max_ttl, ends - wall_at)
        usable = length - min(MARGIN_S, MARGIN_PART * length)
        if length > 0 and duration < usable:
            self.model.lines.append(Line(identity(asked), kind[0], text, at, at + usable, wall_at + usable))

    def refused(self, kind: Kind, status: int) -> None:
        asked, policy = self.asked(kind)
        self.one.refused(asked, refusal(status))
        if policy is not None and status < 500:
            self.model.drop(identity(asked))

    def fails(self, kind: Kind) -> None:
        self.one.refused(self.asked(kind)[0], outage())

    def wait(self, seconds: float) -> None:
        self.clocks.advance(seconds)

    def jump(self, seconds: float) -> None:
        self.clocks.wall += seconds

    def issuers(self, name: str, version: int) -> None:
        before, chosen = self.active.pop(name, None), ISSUERS[name][version]
        if chosen is not None:
            self.active[name] = chosen
        self.one.use_issuers(self.active)
        keeping = [shape(of) for of in (before, chosen) if of is not None and of.cache is not None]
        if len(keeping) < 2 or keeping[0] != keeping[1]:
            self.model.lines = [line for line in self.model.lines if line.issuer != name]

    def check(self) -> None:
        self.model.bound({name: of.cache.max_entries for name, of in self.active.items() if of.cache is not None})
        assert self.one.entries == len(self.model.lines)


def subject_ends(subject: int) -> float:
    return math.inf if subject == 0 else START + 200 * subject


@given(st.lists(steps, max_size=60))
def test_the_cache_is_a_list_with_ends(script: list[tuple[Any, ...]]) -> None:
    run = Run()
    for name, *arguments in script:
        getattr(run, name)(*arguments)
        run.check()


# Law: of cached tokens that upstreams refuse, exactly the refused one goes, once a minute at most for each caller and target; and who is
# not refused loses nothing.

REFUSING: Final = issuer(cache=attrs.evolve(POLICY, evict_rejected=True))
ASKED: Final = request("user", of=REFUSING)
users = st.integers(0, 2)
responses = st.one_of(
    st.tuples(st.just("serve"), users),
    st.tuples(st.just("serve"), users),
    st.tuples(st.just("renew"), users),
    st.tuples(st.just("respond"), st.integers(0, 5), st.booleans()),
    st.tuples(st.just("respond"), st.integers(0, 5), st.just(True)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 1.0, 30.0, 59.9, 60.0, 200.0])),
)


@final
@attrs.define(eq=False)
class Upstreams:
    """Callers whose tokens are kept, and responses that come in any order."""

    clocks: Clocks = attrs.field(factory=Clocks)
    one: TokenCache = attrs.field(init=False)
    given: list[tuple[int, str]] = attrs.field(factory=list)
    went_at: dict[int, list[float]] = attrs.field(factory=dict)
    refused: set[str] = attrs.field(factory=set)
    count: int = 0

    def __attrs_post_init__(self) -> None:
        self.one = cache(self.clocks, REFUSING)

    def asked(self, user: int) -> TokenRequest:
        return request(f"user {user}", of=REFUSING)

    def kept(self, user: int) -> str | None:
        found = self.one.find(self.asked(user))
        return None if found is None else found.token.access_token.reveal()

    def serve(self, user: int) -> None:
        text = self.kept(user)
        if text is None:
            self.renew(user)
        elif self.one.asks_upstream(self.asked(user)):
            self.given.insert(0, (user, text))

    def renew(self, user: int) -> None:
        self.count += 1
        self.one.keep(self.asked(user), token(f"token {self.count}"))

    def respond(self, which: int, refused: bool) -> None:
        if which >= len(self.given):
            return
        user, text = self.given[which]
        before = {other: self.kept(other) for other in range(3)}
        self.one.upstream_answered(self.asked(user), Secret(text), refused=refused)
        after = {other: self.kept(other) for other in range(3)}
        if after != before:
            assert refused
            assert before == {**after, user: text}
            earlier = self.went_at.setdefault(user, [])
            assert not earlier or self.clocks.steady - earlier[-1] >= PAUSE_S
            earlier.append(self.clocks.steady)
        elif refused and before[user] == text:
            assert self.went_at.get(user), "the first one goes"
            assert not self.one.asks_upstream(self.asked(user))

    def wait(self, seconds: float) -> None:
        self.clocks.advance(seconds)


@given(st.lists(responses, max_size=60))
def test_a_refused_token_goes_and_no_other(script: list[tuple[Any, ...]]) -> None:
    run = Upstreams()
    for name, *arguments in script:
        getattr(run, name)(*arguments)
    assert run.one.upstream_refusals == {HOST: sum(map(len, run.went_at.values()))}


# Law: whatever replicas do at the same time, only refused tokens are removed from their store, and each of these is gone from there.


replica_steps = st.one_of(
    st.tuples(st.just("serve"), st.integers(0, 2)),
    st.tuples(st.just("renew"), st.integers(0, 2)),
    st.tuples(st.just("refuse"), st.integers(0, 2), st.integers(0, 3)),
    st.tuples(st.just("delay"), st.sampled_from([0.0, 0.001, 0.004, 0.015])),
    st.tuples(st.just("wait"), st.sampled_from([0.001, 0.003, 0.01, 0.1, 61.0])),
)


@final
@attrs.define(eq=False)
class Replicas:
    """Three replicas with one caller, whose upstreams refuse any token that was served; ``went`` are those that each one dropped."""

    folder: Path
    server: Server = attrs.field(factory=Server)
    caches: list[TokenCache] = attrs.field(factory=list)
    served: list[str] = attrs.field(factory=list)
    went: list[set[str]] = attrs.field(factory=lambda: [set(), set(), set()])
    count: int = 0

    def stored(self) -> list[str]:
        return [self.text(key, value) for key, (value, _) in self.server.values.items()]

    def text(self, name: bytes, value: bytes) -> str:
        level = self.caches[0].level
        assert level is not None
        token = unseal(level.keys[0], urlsafe_b64decode(name.rpartition(b":")[2] + b"="), value)
        assert token is not None
        return token.access_token.reveal()

    async def serve(self, which: int) -> None:
        cache = self.caches[which]
        found = cache.find(ASKED) or await cache.find_shared(ASKED)
        if found is None:
            await self.renew(which)
        else:
            assert found.token.access_token.reveal() not in self.went[which]
            self.served.insert(0, found.token.access_token.reveal())

    async def renew(self, which: int) -> None:
        self.count += 1
        self.caches[which].keep(ASKED, token(f"token {self.count}"))

    async def refuse(self, which: int, back: int) -> None:
        if back < len(self.served):
            before = self.caches[which].upstream_refusals.get(HOST, 0)
            self.caches[which].upstream_answered(ASKED, Secret(self.served[back]), refused=True)
            if self.caches[which].upstream_refusals.get(HOST, 0) > before:
                self.went[which].add(self.served[back])

    async def delay(self, seconds: float) -> None:
        self.server.delay = seconds

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def run(self, script: list[tuple[Any, ...]]) -> None:
        network = attrs.evolve(SYSTEM, steady=trio.current_time, wall=lambda: START + trio.current_time(), run_sync=at_once)
        async with AsyncExitStack() as stack:
            for _ in range(3):
                one = TokenCache(shared=shared_settings(self.folder), network=network)
                assert one.level is not None
                one.level.open_store = self.server.open
                self.caches.append(await stack.enter_async_context(running(one, REFUSING)))
            async with trio.open_nursery() as nursery:
                for name, *arguments in script:
                    step = partial(getattr(self, name), *arguments)
                    if name == "serve":  # beside what comes next
                        nursery.start_soon(step)
                        await trio.lowlevel.checkpoint()
                    else:
                        await step()
            self.server.delay = 0.0
            await trio.sleep(1.0)
            went = set().union(*self.went)
            assert not went & set(self.stored())
            put = [self.text(write.key, write.value) for write in self.server.writes if write.value is not None]
            removed = [self.text(write.key, write.only) for write in self.server.removed if write.only is not None]
            assert len(removed) == len(self.server.removed)
            assert set(removed) <= went
            if put and put[-1] not in went and trio.current_time() < 60:  # before anything expires
                assert self.stored() == put[-1:]


@settings(max_examples=100)
@given(st.lists(replica_steps, max_size=30))
def test_replicas_remove_refused_tokens_from_their_store_and_no_other(script: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trio.run(Replicas(Path(folder)).run, script, clock=MockClock(autojump_threshold=0.0))


@given(st.integers(1, 400), st.sampled_from([0.1, 1.0, 7.0]))
def test_a_path_that_always_refuses_costs_an_exchange_a_minute(requests: int, pause: float) -> None:
    run = Upstreams()
    for _ in range(requests):
        run.serve(0)
        run.respond(0, True)
        run.given.clear()
        run.clocks.advance(pause)
    # The first, one for each token that went, and one for each that expired.
    assert run.count <= 1 + (1 + requests * pause / PAUSE_S) + requests * pause / 100


def test_a_late_response_about_a_token_evicted_from_memory_evicts_it_once() -> None:
    run = Upstreams()
    asked = run.asked(0)
    for text in ("one", "one", "two"):
        run.one.upstream_answered(asked, Secret(text), refused=True)
    assert run.one.upstream_refusals == {HOST: 1}
    assert run.one.asks_upstream(asked)


def test_names_of_refused_tokens_are_bounded_and_forgotten() -> None:
    names, many = RefusedTokens(), MAX_NAMES + 10
    for number in range(many):
        assert names.refused(b"%d" % number, 0.0, 300.0, is_kept=True)
    assert len(names) == MAX_NAMES
    names.sweep(299.0)
    assert len(names) == MAX_NAMES
    names.sweep(300.0)
    assert len(names) == 0


def test_without_the_field_nothing_is_asked_and_nothing_goes() -> None:
    one = cache(Clocks())
    one.keep(request(), token())
    assert not one.asks_upstream(request())
    one.upstream_answered(request(), Secret("issued"), refused=True)
    assert one.find(request()) is not None
    plain = issuer(cache=None)
    assert not cache(Clocks(), plain).asks_upstream(request(of=plain))
