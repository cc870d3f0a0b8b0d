"""What a caller sends or does costs others nothing: neither calls to the issuer, nor connections, nor places, nor memory."""

import gc
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import final

import attrs
import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.exchange.breaker import USUAL_TOKEN, USUAL_TRACE, is_oversized
from exchanger.exchange.cache.token_cache import TokenCache
from exchanger.model.entry import TokenTarget
from exchanger.model.issuer import CachePolicy, CallLimits, EndpointProtocol
from exchanger.model.secret import Secret
from exchanger.model.token import Cache, ErrorKind, ExchangedToken, ExchangeFailure, TokenOutcome, TokenRequest
from exchanger.model.trace import MAX_BAGGAGE, MAX_BAGGAGE_MEMBERS, TraceContext
from exchanger.net.dial import PATIENCE
from exchanger.net.endpoint import MAX_HEAD
from exchanger.net.network import SYSTEM
from exchanger.net.pool import MAX_BUSY_PER_HOST
from tests.examples import examples
from tests.exchange.oauth.fakes import (
    CONTRACT,
    ISSUED,
    Peer,
    Script,
    World,
    at_rest,
    connected,
    exchange,
    kept,
    response,
    serve,
    silent,
    success,
    token_request,
    world,
)
from tests.net.http2_endpoint import Endpoint, own
from tests.net.http2_peer import Server
from tests.reachable import text_held


def asked(
    subject: str = "subject",
    *,
    trace: TraceContext | None = None,
    limits: CallLimits | None = None,
    namespace: str = "team",
    profile: str = "primary",
    http2: bool = False,
    cache: CachePolicy | None = None,
) -> TokenRequest:
    plain = token_request(subject)
    protocol = EndpointProtocol.HTTP2 if http2 else EndpointProtocol.AUTO
    issuer = attrs.evolve(plain.issuer, name=profile, limits=limits or CallLimits(), protocol=protocol, cache=cache)
    return attrs.evolve(plain, issuer=issuer, namespace=namespace, trace=trace or TraceContext())


def use(it: World, *requests: TokenRequest) -> None:
    it.client.use_issuers({request.issuer.name: request.issuer for request in requests})


# Bytes that callers bring.


def list_of(length: int) -> str:
    """Return a list of few members, of ``length`` characters."""
    return ",".join("k=" + "v" * (size - 2) for size in (*[1024] * (length // 1025), length % 1025) if size > 2)


carried = st.builds(
    lambda token, fill, traceparent, tracestate, baggage: (
        fill * token,
        TraceContext("0" * traceparent, list_of(tracestate), list_of(baggage)),
    ),
    st.one_of(st.integers(1, USUAL_TOKEN), st.integers(USUAL_TOKEN, 60_000)),
    st.sampled_from("x$"),
    st.sampled_from([0, 55, 900, 6000]),
    st.sampled_from([0, 200, 512, 5000]),
    st.one_of(st.integers(0, 900), st.integers(900, 16_000)),
)


@settings(max_examples=examples(40))
@given(st.lists(carried, min_size=1, max_size=4), st.sampled_from([2048, 4096, 8192, 16_384]), st.sampled_from([10_000, 65_536]))
@example([("s", TraceContext("", list_of(512), list_of(8192)))], 8192, 65_536)
@example([("s", TraceContext("0" * 6000))], 4096, 65_536)
@example([("s" * 60_000, TraceContext())], 8192, 10_000)
@example([("$" * USUAL_TOKEN, TraceContext())], 8192, 10_000)
def test_what_callers_bring_never_closes_an_issuer_to_others(brought: list[tuple[str, TraceContext]], head: int, body: int) -> None:
    """The endpoint drops what has a longer head or body than it takes, as servers do, and serves all others."""

    async def main() -> None:
        async with world(lambda peer: dropping(peer, head, body), settings=CONTRACT) as it:
            spared = asked(limits=CallLimits(breaker=True))
            use(it, spared)
            for number in range(40):
                token, trace = brought[number % len(brought)]
                made_up = asked(f"{number}{token}"[: max(len(token), 3)], trace=trace, limits=spared.issuer.limits)
                await exchange(it.client, made_up)
                if number % 10 == 9:
                    assert await exchange(it.client, asked(f"honest-{number}", limits=spared.issuer.limits)) == ISSUED

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def dropping(peer: Peer, most_head: int, most_body: int) -> None:
    while True:
        head, body = await peer.request()
        if len(head) > most_head or len(body) > most_body:
            return
        await peer.send(response(success()))


async def test_a_connection_lost_to_a_long_head_is_replaced_for_others(autojump_clock: MockClock) -> None:
    async def strict(endpoint: Endpoint, server: Server, streams: list[int]) -> None:
        if any(sum(map(len, itertools.chain(*server.requests[stream].headers.items()))) > 4096 for stream in streams):
            await endpoint.peers[endpoint.servers.index(server)].close()
            await trio.sleep_forever()
        await trio.sleep(0.05)
        await own(endpoint, server, streams)

    async with world(Endpoint(strict).serve, settings=CONTRACT) as it:
        await exchange(it.client, asked("first", http2=True))
        honest = [asked(f"honest-{number}", http2=True) for number in range(20)]
        large = [asked(f"large-{number}", http2=True, trace=TraceContext(baggage=list_of(6000))) for number in range(5)]
        outcomes = await it.exchange_all(*large, *honest)
        assert [isinstance(outcome, ExchangedToken) for outcome in outcomes] == [False] * 5 + [True] * 20


@pytest.mark.parametrize(("baggage", "passes"), [(4000, True), (MAX_BAGGAGE, False)])
async def test_baggage_goes_first_where_the_head_would_be_too_long(baggage: int, passes: bool) -> None:
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        heads.append((await peer.request())[0])
        await peer.send(response(success()))
        await silent(peer)

    trace = TraceContext("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", list_of(500), list_of(baggage))
    async with world(script) as it:
        assert await exchange(it.client, asked(trace=trace)) == ISSUED
    (head,) = heads
    assert len(head) <= MAX_HEAD
    assert (b"traceparent: 00-4bf" in head, b"tracestate: k=v" in head, b"baggage: k=v" in head) == (True, True, passes)


def test_baggage_is_bound_to_what_everybody_has_to_pass_on() -> None:
    """Source: https://www.w3.org/TR/baggage/#limits."""
    most = ",".join(f"k{number}=" + "v" * 120 for number in range(64))
    assert (MAX_BAGGAGE_MEMBERS, MAX_BAGGAGE, len(most) <= 8192) == (64, 8192, True)
    assert TraceContext(baggage=most).baggage == most
    assert TraceContext(baggage=f"{most},one=more").baggage == most


@pytest.mark.parametrize(
    ("token", "trace", "oversized"),
    [
        ("t" * USUAL_TOKEN, TraceContext(), False),
        ("t" * USUAL_TOKEN + "t", TraceContext(), True),
        ("$" * (USUAL_TOKEN // 3), TraceContext(), False),
        ("$" * (USUAL_TOKEN // 3 + 1), TraceContext(), True),
        ("t", TraceContext("0" * 55, "a=b", "c" * (USUAL_TRACE - 58)), False),
        ("t", TraceContext("0" * 55, "a=b", "c" * (USUAL_TRACE - 57)), True),
        ("t", TraceContext("0" * (USUAL_TRACE + 1)), True),
    ],
)
def test_all_that_a_caller_chooses_counts(token: str, trace: TraceContext, oversized: bool) -> None:
    assert is_oversized(asked(token, trace=trace)) is oversized


# Callers that leave.


@final
@attrs.define(eq=False)
class Busy:
    """An endpoint that takes ``seconds`` for each request, and knows how many it works on."""

    seconds: float
    now: int = 0
    most: int = 0
    served: list[str] = attrs.field(factory=list)

    async def work(self, subject: str) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await trio.sleep(self.seconds)
            self.served.append(subject)
        finally:
            self.now -= 1

    async def script(self, peer: Peer) -> None:
        """Work on each request to its end, whether anybody is still there or not, as servers do."""
        while True:
            _, body = await peer.request()
            await self.work(body.partition(b"subject_token=")[2].partition(b"&")[0].decode())
            await peer.send(response(success()))


async def leaving(it: World, request: TokenRequest, after: float) -> None:
    with trio.move_on_after(after):
        await exchange(it.client, request)


async def test_calls_in_flight_stay_limited_when_callers_leave(autojump_clock: MockClock) -> None:
    busy, limits = Busy(0.3), CallLimits(max_in_flight=4)
    async with world(busy.script, settings=CONTRACT) as it:
        use(it, asked(limits=limits))
        async with trio.open_nursery() as callers:
            for number in range(300):
                callers.start_soon(leaving, it, asked(f"leaver-{number}", limits=limits), 0.02)
                await trio.sleep(0.01)
        await trio.sleep(1.0)
        assert (busy.most, busy.now) == (4, 0)
        assert await exchange(it.client, asked("stays", limits=limits)) == ISSUED
        assert at_rest(it.client, connections=kept(it.client))
    assert {record.kind for record in it.observer.records} == {None}


async def test_a_call_that_its_callers_left_serves_the_next_one(autojump_clock: MockClock) -> None:
    async def slowly(endpoint: Endpoint, server: Server, streams: list[int]) -> None:
        if streams:
            await trio.sleep(0.2)
        await own(endpoint, server, streams)

    endpoint, keeps = Endpoint(slowly), CachePolicy(300.0, 100)
    async with world(endpoint.serve, settings=CONTRACT) as it:
        it.client.cache.network = attrs.evolve(SYSTEM, steady=trio.current_time, wall=trio.current_time)
        use(it, asked(http2=True, cache=keeps))
        await leaving(it, asked("first", http2=True, cache=keeps), 0.1)
        joined = await exchange(it.client, asked("first", http2=True, cache=keeps))
        assert (joined, joined.cache) == (ExchangedToken(Secret("token-of-first")), Cache.COALESCED)
        for number in range(50):
            await leaving(it, asked(f"leaver-{number}", http2=True), 0.01)
        await trio.sleep(CONTRACT.request_timeout + 0.1)
        assert at_rest(it.client, connections=kept(it.client))
    (server,) = endpoint.servers
    assert [request.reset for request in server.requests.values() if request.reset is not None] == []


async def test_a_queued_call_that_its_callers_left_is_not_sent(autojump_clock: MockClock) -> None:
    busy = Busy(0.3)
    async with world(busy.script, settings=CONTRACT) as it:
        async with trio.open_nursery() as callers:
            for number in range(MAX_BUSY_PER_HOST + 100):
                callers.start_soon(leaving, it, asked(f"{number}"), 0.1)
        assert (it.client.connections.busy, it.client.connections.waiting) == (MAX_BUSY_PER_HOST, 0)
        await trio.sleep(1.0)
    assert len(busy.served) == MAX_BUSY_PER_HOST


# Connects that hang.


@final
@attrs.define(eq=False)
class Hanging:
    """The attempts to connect numbered ``hung`` get no answer. ``most`` is how many were under way at a time."""

    nursery: trio.Nursery
    script: Script
    hung: Callable[[int], bool]
    begun: list[float] = attrs.field(factory=list)
    now: int = 0
    most: int = 0
    ends: list[trio.SocketStream] = attrs.field(factory=list)

    async def dial(self, _host: str, _port: int) -> trio.SocketStream:
        number = len(self.begun)
        self.begun.append(trio.current_time())
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await trio.sleep(math.inf if self.hung(number) else 0.002)
        finally:
            self.now -= 1
        client, server = connected()
        self.ends.append(server.stream)
        self.nursery.start_soon(serve, self.script, server.stream)
        return client


async def asked_at(times: Iterable[float], hung: Callable[[int], bool], *, http2: bool = False) -> tuple[list[TokenOutcome], Hanging]:
    """Ask at each of ``times``, and return the outcomes in this order."""
    outcomes: dict[int, TokenOutcome] = {}
    async with trio.open_nursery() as servers:
        script = Endpoint(own).serve if http2 else Busy(0.001).script
        hanging = Hanging(servers, script, hung)
        async with world(dial=hanging.dial, settings=CONTRACT) as it, trio.open_nursery() as callers:

            async def one(number: int, at: float) -> None:
                await trio.sleep(at)
                outcomes[number] = await exchange(it.client, asked(f"{number}", http2=http2))

            for number, at in enumerate(times):
                callers.start_soon(one, number, at)
        servers.cancel_scope.cancel()
        for end in hanging.ends:
            end.socket.close()
    return [outcomes[number] for number in range(len(outcomes))], hanging


@given(
    st.lists(st.floats(0.0, 8.0), min_size=1, max_size=12),
    st.sets(st.integers(0, 15), max_size=2),
    st.booleans(),
)
@example([2.99], {0}, False)
def test_two_connects_that_hang_deny_nobody(times: list[float], hung: set[int], http2: bool) -> None:
    """In the time of an exchange there are three attempts, so the third is left for each who asks."""
    outcomes, _ = trio.run(lambda: asked_at(times, hung.__contains__, http2=http2), clock=MockClock(autojump_threshold=0))
    assert all(isinstance(outcome, ExchangedToken) for outcome in outcomes)


@pytest.mark.parametrize("http2", [False, True])
async def test_attempts_at_an_endpoint_that_is_gone_are_bounded(autojump_clock: MockClock, http2: bool) -> None:
    outcomes, hanging = await asked_at([number / 200 for number in range(2000)], lambda _: True, http2=http2)
    assert {outcome.kind for outcome in outcomes if isinstance(outcome, ExchangeFailure)} <= {ErrorKind.TIMEOUT, ErrorKind.OVERLOADED}
    assert hanging.most <= MAX_BUSY_PER_HOST + CONTRACT.dial_timeout / PATIENCE + 1


# Turns at a host.


@pytest.mark.parametrize("other", [{"namespace": "modest"}, {"profile": "other"}], ids=["namespace", "profile"])
async def test_turns_at_a_host_are_fair_by_namespace_and_profile(autojump_clock: MockClock, other: dict[str, str]) -> None:
    busy = Busy(0.3)
    async with world(busy.script, settings=CONTRACT) as it, trio.open_nursery() as callers:
        for number in range(2000):
            callers.start_soon(exchange, it.client, asked(f"greedy-{number}"))
        await wait_all_tasks_blocked()
        for number in range(100):
            callers.start_soon(exchange, it.client, asked(f"modest-{number}", **other))  # type: ignore[arg-type]
    served = Counter(subject.partition("-")[0] for subject in busy.served)
    assert served["modest"] == 100
    assert busy.most == MAX_BUSY_PER_HOST


# Memory.


@pytest.mark.parametrize("leave", [False, True], ids=["stay", "leave"])
async def test_exchanges_that_are_over_hold_no_tokens(autojump_clock: MockClock, leave: bool) -> None:
    """Neither theirs nor the issued ones, whatever the gateways' time is, and while connections rest."""
    issued, size, count = "i" * 20_000, 20_000, 200

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await trio.sleep(0.01)
            await peer.send(response(success(issued)))

    settings = attrs.evolve(CONTRACT, request_timeout=60.0, response_header_timeout=59.0)
    gc.disable()
    try:
        async with world(script, settings=settings) as it:
            await exchange(it.client, asked("first"))
            before = text_held(it.client)
            async with trio.open_nursery() as callers:
                for number in range(count):
                    request = asked(f"{number}".ljust(size, "s"))
                    if leave:
                        callers.start_soon(leaving, it, request, 0.005)
                    else:
                        callers.start_soon(exchange, it.client, request, trio.current_time() + 30.0)
            await trio.sleep(0.1)
            assert text_held(it.client) - before < count * 1000
    finally:
        gc.enable()


def test_names_in_the_cache_hold_no_certificates() -> None:
    """However many targets there are, and however long what an issuer's name is made of."""
    cache, targets = TokenCache(), 500
    plain = asked(cache=CachePolicy(300.0, 100))
    request = attrs.evolve(plain, issuer=attrs.evolve(plain.issuer, ca_pem="c" * 100_000))
    cache.use_issuers({"primary": request.issuer})
    for number in range(targets):
        assert cache.find(attrs.evolve(request, target=TokenTarget("primary", f"scope-{number}"))) is None
    assert text_held(cache) < 3 * 100_000 + targets * 1000
