"""Laws of the connections to token endpoints, and of the proxies that they go through."""

from enum import Enum
from typing import final
from unittest.mock import patch

import attrs
import pytest
import trio
from hypothesis import event, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.exchange.pipeline import ExchangePipeline
from exchanger.model.secret import Secret
from exchanger.model.token import ExchangedToken, TokenOutcome
from exchanger.net.call import EndpointCall, NoAnswer
from exchanger.net.dial import DialLimits, Origin
from exchanger.net.endpoint import Endpoint as TokenEndpoint
from exchanger.net.network import SYSTEM
from exchanger.net.pool import Connections, PoolLimits
from exchanger.net.proxies import NoProxy
from exchanger.net.quarantine import LEAST_QUARANTINE
from exchanger.net.reactor import Reactor
from exchanger.net.tls.client_contexts import TlsContexts
from tests.examples import examples
from tests.exchange.oauth.fakes import (
    CONTRACT,
    NO_TLS,
    ClientGoneError,
    Observer,
    Peer,
    at_rest,
    client_of,
    exchange,
    response,
    running,
    success,
    token_request,
)

# Strategies for a token endpoint that says too much, too late, in pieces or not to the end, and for those who ask it.


ISSUERS = ("one.example", "two.example")


class Kind(Enum):
    """What comes beside the answer that was asked for."""

    COPY = "the same answer again"
    OTHER = "the answer to another request"
    IDLE_NOTICE = "a 408"
    INTERIM = "a 1xx"
    BYTES = "no HTTP"
    LINE = "an empty line"


@final
@attrs.frozen
class Surplus:
    """``at`` is a share of the rest that the connection needs at least, so that 0 is with the answer's end.

    If ``cut`` is not 0, what comes after so many bytes comes ``gap`` seconds later, and that may be after the rest.
    """

    kind: Kind
    at: float
    cut: int = 0
    gap: float = 0.0


@final
@attrs.frozen
class Behaviour:
    """What the endpoint does with one request.

    The answer comes after ``delay`` seconds, in two pieces if ``cut`` is not 0, ``gap`` seconds apart. ``joined`` has the surplus in the
    same write as the answer's end. ``breaks`` closes the connection after so many bytes, ``closes`` so many seconds after the answer.
    """

    delay: float
    cut: int = 0
    gap: float = 0.0
    chunked: bool = False
    joined: bool = False
    surplus: Surplus | None = None
    breaks: int | None = None
    closes: float | None = None


@final
@attrs.frozen
class Ask:
    """A caller with a subject of its own asks, and leaves after ``patience`` seconds."""

    issuer: str
    patience: float


@final
@attrs.frozen
class Pause:
    """Nobody asks for ``seconds``."""

    seconds: float


Step = Ask | Pause

_seldom = st.integers(0, 5).map(lambda number: number == 0)
surpluses = st.builds(
    Surplus,
    kind=st.sampled_from(Kind),
    at=st.floats(0.0, 0.999),
    cut=st.sampled_from([0, 0, 1, 20, 60]),
    gap=st.sampled_from([0.0, 0.05, 0.2, 1.0]),
)
behaviours = st.builds(
    Behaviour,
    delay=st.sampled_from([0.0, 0.001, 0.01, 0.03, 0.03, 0.03, 0.15, 0.6]),
    cut=st.sampled_from([0, 0, 0, 1, 40, 90]),
    gap=st.sampled_from([0.0, 0.01, 0.2]),
    chunked=st.booleans(),
    joined=_seldom,
    surplus=st.none() | surpluses,
    breaks=_seldom.flatmap(lambda breaks: st.integers(0, 200) if breaks else st.none()),
    closes=_seldom.flatmap(lambda closes: st.sampled_from([0.0, 0.05, 0.3]) if closes else st.none()),
)
steps = st.lists(
    st.builds(Ask, issuer=st.sampled_from([*[ISSUERS[0]] * 3, ISSUERS[1]]), patience=st.sampled_from([*[30.0] * 5, 0.0, 0.02, 0.2]))
    | st.builds(Pause, seconds=st.sampled_from([0.001, 0.02, 0.1, 0.11, 0.3, 0.5, 1.2, 7.0])),
    min_size=10,
    max_size=50,
)


# Law: whatever comes on a connection within its rest, nobody gets the answer to another's request.
#
# The endpoint answers each request with a token of its own subject, after a while, in pieces, and says more than that: the same answer
# again, another's, a 408, a 1xx, or no HTTP at all, with the answer or later, whole or in part, but within the longest time that an answer
# of it took so far. It closes connections at any byte and at any time. Callers come, wait and leave. At every step of the loop the
# connections that rest, are idle or in use are as many as they may be, and at the end none is left.


BUSY, RESTING, RESTING_PER_HOST, IDLE, IDLE_PER_HOST = 4, 4, 3, 3, 2
NOBODY = "nobody"
# The last where an answer and what comes beside it meet on a connection that is used too early.
GONE = (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError)


def token_of(subject: str) -> str:
    return f"token-of-{subject}"


def answer_to(subject: str, *, chunked: bool = False) -> bytes:
    body = success(token_of(subject))
    if not chunked:
        return response(body)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def said(kind: Kind, subject: str) -> bytes:
    match kind:
        case Kind.COPY:
            return answer_to(subject)
        case Kind.OTHER:
            return answer_to(NOBODY)
        case Kind.IDLE_NOTICE:
            return response(b"", 408)
        case Kind.INTERIM:
            return b"HTTP/1.1 100 Continue\r\n\r\n"
        case Kind.BYTES:
            return b"<html>"
        case Kind.LINE:
            return b"\r\n"


@final
@attrs.define(eq=False)
class Endpoint:
    """One host. ``longest`` is the longest time that an answer took so far, as the endpoint sees it."""

    nursery: trio.Nursery
    plan: list[Behaviour]
    longest: float = LEAST_QUARANTINE
    requests: int = 0
    connections: int = 0
    gone: int = 0

    async def serve(self, peer: Peer) -> None:
        self.connections += 1
        try:
            while True:
                _, body = await peer.request()
                behaviour = self.plan[self.requests % len(self.plan)]
                self.requests += 1
                subject = body.partition(b"subject_token=")[2].partition(b"&")[0].decode()
                if not await self.answer(peer, behaviour, subject):
                    break
        except (ClientGoneError, *GONE):
            pass
        self.gone += 1
        await trio.aclose_forcefully(peer.stream)

    async def answer(self, peer: Peer, it: Behaviour, subject: str) -> bool:
        """Answer one request; return whether there may be another."""
        asked = trio.current_time()
        await trio.sleep(it.delay)
        answer = answer_to(subject, chunked=it.chunked)
        if it.breaks is not None:
            await peer.send(answer[: it.breaks])
            return False
        if it.cut:
            await peer.send(answer[: it.cut])
            await trio.sleep(it.gap)
            answer = answer[it.cut :]
        if it.joined and it.surplus is not None:
            await peer.send(answer + said(it.surplus.kind, subject))
        else:
            await peer.send(answer)
            if it.surplus is not None:
                needed = max(self.longest, min(trio.current_time() - asked, CONTRACT.request_timeout))
                self.nursery.start_soon(self.say_more, peer, it.surplus, subject, needed)
        took = trio.current_time() - asked
        if took < CONTRACT.response_header_timeout:  # else nobody waited for it any more
            self.longest = max(self.longest, took)
        if it.closes is not None:
            await trio.sleep(it.closes)
            return False
        return True

    async def say_more(self, peer: Peer, surplus: Surplus, subject: str, needed: float) -> None:
        data = said(surplus.kind, subject)
        cut = min(surplus.cut, len(data) - 1)
        try:
            await trio.sleep(surplus.at * needed)
            await peer.send(data[:cut] or data)
            if cut:
                await trio.sleep(surplus.gap)
                await peer.send(data[cut:])
        except GONE:
            pass


@final
@attrs.define(eq=False)
class Bounds(trio.abc.Instrument):
    """Looks at the pool after every step of every task."""

    pool: Connections
    broken: list[object] = attrs.field(factory=list)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        it = self.pool.counts()
        hosts = self.pool.pools.values()
        held = (
            it.quarantined <= RESTING
            and it.idle <= IDLE
            and it.quarantined + it.idle <= it.open
            and it.quarantined == sum(len(host.quarantined) + len(host.reusable) for host in hosts)
            and all(len(host.quarantined) + len(host.reusable) <= RESTING_PER_HOST and len(host.idle) <= IDLE_PER_HOST for host in hosts)
            and it.busy <= BUSY * len(ISSUERS)
        )
        if not held:
            self.broken.append(it)


@final
@attrs.define(eq=False)
class World:
    """Carries out a plan and remembers what each caller got."""

    plan: list[Behaviour]
    outcomes: dict[str, TokenOutcome] = attrs.field(factory=dict)
    endpoints: dict[str, Endpoint] = attrs.field(factory=dict)
    bounds: Bounds | None = None

    async def ask(self, client: ExchangePipeline, ask: Ask, subject: str) -> None:
        with trio.move_on_after(ask.patience):
            self.outcomes[subject] = await exchange(client, token_request(subject, f"http://{ask.issuer}/token"))

    async def run(self, planned: list[Step]) -> None:
        async with trio.open_nursery() as network:
            self.endpoints = {issuer: Endpoint(network, self.plan) for issuer in ISSUERS}

            async def dial(host: str, port: int) -> trio.SocketStream:
                await trio.lowlevel.checkpoint()
                ours, theirs = trio.socket.socketpair()
                network.start_soon(self.endpoints[host].serve, Peer(trio.SocketStream(theirs)))
                return trio.SocketStream(ours)

            async with running(client_of(CONTRACT, Observer(), dial=dial, tls=NO_TLS)) as client:
                await self.carry_out(client, planned)
            assert at_rest(client)
            await wait_all_tasks_blocked()
            for endpoint in self.endpoints.values():
                await trio.sleep(3.0)  # what it still has to say finds nobody
                assert endpoint.gone == endpoint.connections
            network.cancel_scope.cancel()

    async def carry_out(self, client: ExchangePipeline, planned: list[Step]) -> None:
        pool = client.pool
        pool.limits = attrs.evolve(
            pool.limits,
            max_busy_per_host=BUSY,
            max_quarantined=RESTING,
            max_idle=IDLE,
            max_idle_per_host=IDLE_PER_HOST,
        )
        self.bounds = Bounds(pool)
        trio.lowlevel.add_instrument(self.bounds)
        async with trio.open_nursery() as callers:
            for number, step in enumerate(planned):
                match step:
                    case Ask():
                        callers.start_soon(self.ask, client, step, f"subject-{number}")
                    case Pause():
                        await trio.sleep(step.seconds)
        await trio.sleep(CONTRACT.request_timeout + 0.1)  # calls outlive those who leave
        trio.lowlevel.remove_instrument(self.bounds)
        await wait_all_tasks_blocked()
        it = pool.counts()
        assert (it.open, it.busy, it.waiting) == (it.quarantined + it.idle, 0, 0)


def carried_out(plan: list[Behaviour], planned: list[Step]) -> World:
    """Run a plan in which an endpoint is known from the first answer on, so that a connection rests no longer than it must."""
    world = World(plan)
    with patch("exchanger.net.quarantine._ENOUGH_ANSWERS", 0):
        trio.run(world.run, planned, clock=MockClock(autojump_threshold=0))
    return world


def assert_lawful(world: World) -> None:
    for subject, outcome in world.outcomes.items():
        assert not isinstance(outcome, ExchangedToken) or outcome == ExchangedToken(Secret(token_of(subject)))
    assert world.bounds is not None
    assert world.bounds.broken == []


@settings(max_examples=examples(150))
@given(st.lists(behaviours, min_size=1, max_size=8), steps)
def test_nobody_gets_the_answer_to_anothers_request(plan: list[Behaviour], planned: list[Step]) -> None:
    world = carried_out(plan, planned)
    assert_lawful(world)
    event(f"connections used again: {any(endpoint.requests > endpoint.connections for endpoint in world.endpoints.values())}")


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("at", [0.0, 0.7, 0.999])
def test_surplus_answers_under_load_reach_nobody_else(kind: Kind, at: float) -> None:
    """Callers come every millisecond, and one answer in seven is followed by another."""
    plan = [Behaviour(0.03)] * 6 + [Behaviour(0.03, surplus=Surplus(kind, at))]
    planned = [step for _ in range(200) for step in (Ask(ISSUERS[0], 30.0), Pause(0.03))]
    world = carried_out(plan, planned)
    assert_lawful(world)
    (endpoint, _) = world.endpoints.values()
    assert endpoint.requests == 200
    assert endpoint.connections < 120  # few may rest at a time here


# Law: NO_PROXY excepts what one of its items excepts, in any order and with anything between; this machine is always excepted.


labels = st.sampled_from(["a", "b", "issuer", "xn--bcher-kva", "0"])
names = st.lists(labels, min_size=1, max_size=4).map(".".join).filter(lambda name: name != "0.0.0.0")  # which is an address
addresses = (st.ip_addresses(v=4) | st.ip_addresses(v=6)).map(str)
hosts = names | addresses
ports = st.sampled_from([80, 443, 8443])
networks = st.builds("{}/{}".format, addresses, st.integers(0, 140))
with_ports = st.builds("{}:{}".format, names | addresses.map(lambda text: f"[{text}]" if ":" in text else text), ports)
items = st.one_of(
    names,
    names.map(lambda name: f".{name}"),
    names.map(lambda name: f"*.{name}"),
    names.map(str.upper),
    addresses,
    networks,
    with_ports,
    st.sampled_from(["", "*", ":", ".", "[", "]:", "/8", "a/8"]),
    st.text(max_size=8).filter(lambda text: "," not in text),
)


@given(st.lists(items, max_size=5), st.sampled_from([",", ", ", " ,\t", ",,"]), hosts, ports)
def test_no_proxy_is_its_items(found: list[str], between: str, host: str, port: int) -> None:
    covered = NoProxy.of(between.join(found)).covers(host, port)
    assert covered == any(NoProxy.of(item).covers(host, port) for item in (*found, ""))


@given(names, names, ports, ports)
def test_a_name_covers_itself_and_what_is_below_it(name: str, below: str, port: int, other: int) -> None:
    inside = f"{below}.{name}"
    for item, covers in ((name, (True, True)), (f".{name}", (False, True)), (f"*.{name}", (False, True))):
        rules = NoProxy.of(item)
        assert (rules.covers(name, port), rules.covers(inside, port)) == covers
        assert NoProxy.of(f"{item}:{port}").covers(inside, other) == (port == other)
        assert not rules.covers(f"x{name}", port)


@given(st.text(), st.sampled_from(["localhost", "LOCALHOST.", "127.0.0.1", "127.1.2.3", "::1"]), ports)
def test_no_proxy_always_excepts_this_machine(text: str, host: str, port: int) -> None:
    assert NoProxy.of(text).covers(host, port)


# Where the time of a call went.

HOST = Origin(secure=False, host="one.example", port=80)
QUEUE_LIMITS = PoolLimits(
    dial=DialLimits(60.0, 60.0),
    response_header=60.0,
    max_idle=1,
    max_idle_per_host=1,
    idle_timeout=90.0,
    longest_call=1.0,
    max_quarantined=8,
    max_busy_per_host=1,
)


async def _never(_host: str, _port: int) -> trio.SocketStream:
    await trio.sleep_forever()
    raise AssertionError


async def _ends_of(gaps: list[int]) -> tuple[list[EndpointCall], list[object]]:
    """Return calls of 100 ticks to a host that accepts no connection, each begun so many ticks after the one before, and their ends."""
    calls: list[EndpointCall] = []
    ends: list[object] = []
    reactor = Reactor(attrs.evolve(SYSTEM, connect=_never))
    pool = Connections(QUEUE_LIMITS, reactor, TlsContexts(lambda: NO_TLS))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        await nursery.start(pool.run)
        for gap in gaps:
            await trio.sleep(gap / 128)  # exact in binary
            endpoint = TokenEndpoint(HOST, HOST.host, "/token")
            head = endpoint.head(())
            assert head is not None
            calls.append(EndpointCall(endpoint, head, (), b"", trio.current_time() + 100 / 128, ends.append))
            pool.begin(calls[-1])
        await trio.sleep(2)
        reactor.turn(pool.close)
        nursery.cancel_scope.cancel()
    reactor.close()
    return calls, ends


@settings(max_examples=examples(25))
@given(st.lists(st.integers(1, 99), min_size=1, max_size=5))
def test_a_call_that_times_out_names_its_longest_phase(gaps: list[int]) -> None:
    calls, ends = trio.run(_ends_of, gaps, clock=MockClock(autojump_threshold=0))
    free, began = 0, 0
    expected: list[str] = []
    for gap in gaps:  # each has its turn when the one before has ended, at its own deadline
        began += gap
        queued = max(free - began, 0)
        expected.append("waiting for a free connection" if queued and 2 * queued >= 100 else "connecting")
        free = began + 100
    assert [end.why for end in ends if isinstance(end, NoAnswer)] == [f"timed out while {phase}" for phase in expected]
    assert all(call.over for call in calls)
