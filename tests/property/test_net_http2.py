"""Laws of the HTTP/2 client of token endpoints."""

import enum
from typing import final

import attrs
import ngh2
from hypothesis import event, given, settings
from hypothesis import strategies as st

from exchanger.net.answer import EndpointResponse
from exchanger.net.http2.client import Http2Client
from exchanger.net.http2.limits import FREE_BODY_BYTES, MAX_HELD_BYTES, MAX_STREAMS
from tests.examples import examples
from tests.net.grpc.frames import DATA, HEADERS, block, raw
from tests.net.http2_peer import JSON, Pair, Server, usual_head
from tests.property.strategies_grpc import Damage, chunks, cuts, damages

# Strategies for what happens on an HTTP/2 connection to a token endpoint, and a world that lets it happen.


PATIENCE = 5.0
LIFE = 60.0


@final
@enum.unique
class Do(enum.Enum):
    """What happens next; most of these concern one request."""

    ASK = "ask"
    CANCEL = "cancel"
    HEAD = "head"
    PIECE = "piece"
    END = "end"
    ANSWER = "answer"
    INTERIM = "interim"
    RESET = "reset"
    REFUSE = "refuse"
    NOTICE = "notice"
    GOAWAY = "goaway"
    LIMIT = "limit"
    WINDOW = "window"
    PING = "ping"
    WAIT = "wait"
    WRITE = "write"  # what the client has for the endpoint
    READ = "read"  # a part of what the endpoint has for the client


@final
@attrs.frozen
class Step:
    """``which`` chooses the request, and ``size`` a length, a limit or a time."""

    do: Do
    which: int = 0
    size: int = 0


often = st.sampled_from([Do.ASK, Do.ASK, Do.ANSWER, Do.HEAD, Do.PIECE, Do.END, Do.WRITE, Do.READ, Do.READ, *Do])
sizes = st.integers(0, 20) | st.integers(0, 2000)
steps = st.lists(st.builds(Step, often, st.integers(0, 7), sizes), min_size=10, max_size=80).map(
    lambda plan: [Step(Do.ASK), Step(Do.ASK), Step(Do.WRITE), *plan, Step(Do.WRITE), Step(Do.ANSWER), Step(Do.ANSWER, 1)]
)
codes = sorted({*ngh2.ErrorCode} - {ngh2.ErrorCode.REFUSED_STREAM, ngh2.ErrorCode.HTTP_1_1_REQUIRED})


# Frames of every type, on few streams, with payloads of which some are right for their type, heads of responses above all.
blocks = st.sampled_from([b"200", b"103", b"307", b"401", b"2x", b""]).map(
    lambda status: block([(b":status", status)] if status else [JSON])
)
frames = st.builds(
    raw,
    st.sampled_from([*range(13), DATA, DATA, HEADERS, HEADERS, HEADERS]),
    st.sampled_from([0, 1, 4, 4, 5, 5, 8, 0x20, 0xFF]),
    st.integers(0, 9),
    blocks | st.binary(max_size=24) | st.sampled_from([bytes(4), bytes(8), b"\x7f\xff\xff\xff", b"\0\3\0\0\0\0", b"\0\4\0\0\0\0"]),
)


@attrs.define(eq=False)
class World:
    """A client, an endpoint that answers each request with that request's own body, and the bytes on the way between them."""

    pair: Pair = attrs.field(factory=lambda: Pair(Http2Client(LIFE, PATIENCE), Server(config=ngh2.Configuration(auto_window_update=False))))
    asked: dict[int, bytes] = attrs.field(factory=dict)
    cancelled: set[int] = attrs.field(factory=set)
    touched: set[int] = attrs.field(factory=set)
    headed: set[int] = attrs.field(factory=set)
    over: set[int] = attrs.field(factory=set)
    on_the_way: bytearray = attrs.field(factory=bytearray)
    last: int = 2**31 - 1

    def carry_out(self, plan: list[Step]) -> None:
        for step in plan:
            self.carry_out_one(step)
            assert 0 <= self.pair.client.room <= MAX_STREAMS
            assert self.pair.client.waiting <= len(self.asked)

    def finish(self) -> None:
        """Pass on everything, and end the transport."""
        for _ in range(5):
            self.write()
            self.read(len(self.on_the_way) + 1_000_000)
        self.pair.client.lose()
        self.pair.take(self.pair.client.events())

    def carry_out_one(self, step: Step) -> None:
        match step.do:
            case Do.ASK:
                if self.pair.client.room:
                    body = b"request-%d." % len(self.asked) * (1 + step.size)
                    self.asked[self.pair.request(body)] = body
            case Do.CANCEL:
                if self.asked:
                    stream = list(self.asked)[-1 - step.which % len(self.asked)]
                    if stream not in self.pair.answers and stream not in self.pair.lost:
                        self.cancelled.add(stream)
                    self.pair.client.cancel(stream)
            case Do.WAIT:
                self.pair.now += step.size / 100
                self.pair.client.tick(self.pair.now)
            case Do.WRITE:
                self.write()
            case Do.READ:
                self.read(step.size)
            case _:
                if not self.pair.server.closed:
                    self.let_server(step)

    def write(self) -> None:
        data = self.pair.client.data_to_send()
        self.pair.take(self.pair.client.events())
        if data:
            self.pair.server.receive(data)

    def read(self, size: int) -> None:
        if not self.pair.server.closed:
            self.on_the_way += self.pair.server.send()
        part = bytes(self.on_the_way[:size])
        del self.on_the_way[:size]
        if part:
            self.pair.to_client(part)

    def let_server(self, step: Step) -> None:
        server, http = self.pair.server, self.pair.server.http
        match step.do:
            case Do.NOTICE:
                http.send_shutdown_notice()
            case Do.GOAWAY:
                promised = self.touched | {stream for stream in server.requests if stream % 4 == 1}
                last = max((stream for stream in promised if stream <= self.last), default=0)
                self.last = last
                http.send_goaway(step.which, last_stream_id=last)
            case Do.LIMIT:
                http.update_settings({0x3: step.which})
            case Do.WINDOW:
                http.update_settings({0x4: step.size})
            case Do.PING:
                http.ping()
            case _:
                there = [stream for stream in server.requests if stream not in self.over and stream <= self.last]
                if there:
                    self.let_answer(step, there[step.which % len(there)])

    def echo(self, stream: int) -> bytes:
        """Return the body that the endpoint was sent, of which it may have only a part so far."""
        assert self.asked[stream].startswith(self.pair.server.requests[stream].body)
        return self.asked[stream]

    def let_answer(self, step: Step, stream: int) -> None:
        server, http = self.pair.server, self.pair.server.http
        try:
            match step.do:
                case Do.REFUSE if stream not in self.touched:
                    http.reset_stream(stream, ngh2.ErrorCode.REFUSED_STREAM)
                    self.over.add(stream)
                case Do.RESET:
                    self.touched.add(stream)
                    http.reset_stream(stream, codes[step.which % len(codes)])
                    self.over.add(stream)
                case Do.INTERIM if stream not in self.headed:
                    self.touched.add(stream)
                    http.send_informational_response(stream, [(b":status", b"103")])
                case Do.HEAD | Do.ANSWER if stream not in self.headed:
                    self.touched.add(stream)
                    self.headed.add(stream)
                    server.head(stream, status=b"4%02d" % step.which)
                    if step.do is Do.ANSWER:
                        server.data(stream, self.echo(stream))
                        self.over.add(stream)
                case Do.PIECE if stream in self.headed:
                    server.data(stream, b"", end=False)
                case Do.END if stream in self.headed:
                    server.data(stream, self.echo(stream))
                    self.over.add(stream)
        except ngh2.NGH2Error:  # the client gave it up
            self.over.add(stream)


def carried_out(plan: list[Step]) -> World:
    world = World()
    world.carry_out(plan)
    world.finish()
    return world


def conversation(count: int) -> tuple[World, bytes]:
    """Return a world with ``count`` requests that the endpoint has, and its answers, in all usual shapes, as bytes."""
    world = World(Pair(Http2Client(LIFE, PATIENCE), Server(), usual_head()))
    for number in range(count):
        world.asked[world.pair.request(b"request-%d." % number)] = b"request-%d." % number
    world.pair.exchange()
    server = world.pair.server
    for number, (stream, body) in enumerate(world.asked.items()):
        match number % 5:
            case 0:
                server.answer(stream, body, (b"content-length", b"%d" % len(body)))
            case 1:
                server.http.send_informational_response(stream, [(b":status", b"103")])
                server.answer(stream, body, (b"www-authenticate", b"Bearer"), status=b"401")
            case 2:
                server.head(stream)
                server.data(stream, body[:3], end=False)
            case 3:
                server.http.reset_stream(stream, ngh2.ErrorCode.REFUSED_STREAM)
            case _:
                server.head(stream)
                server.data(stream, body, end=False)
                server.http.send_trailers(stream, [(b"x-checksum", b"1")])
    server.http.ping()
    data = server.send()
    for number, (stream, body) in enumerate(world.asked.items()):
        if number % 5 == 2:
            server.data(stream, body[3:])
    return world, data + server.send()


# Law: however requests, answers, resets, GOAWAY, limits and cancellations interleave, every request over HTTP/2 ends once, as its own.
#
# The endpoint answers each request with that request's body. Whatever order it chooses, however little the windows let through and wherever
# reads are cut, no request gets another's answer, none is reported twice, none is left, and only what the endpoint never touched is called
# safe to send again.


@settings(max_examples=examples(400))
@given(steps)
def test_every_request_ends_once_and_as_its_own(plan: list[Step]) -> None:
    world = carried_out(plan)
    pair, client = world.pair, world.pair.client
    ended = [*pair.answers, *pair.lost]
    assert sorted([*ended, *world.cancelled]) == sorted(world.asked)
    for stream, answered in pair.answers.items():
        assert answered.answer.body in {None, world.asked[stream]}
        assert stream in world.headed
    for stream, lost in pair.lost.items():
        assert not (lost.safe and stream in world.touched)
        assert not (lost.seen and lost.safe)
    assert (client.closed, client.waiting, client.room, client.held, client.interim) == (True, 0, 0, 0, {})
    assert client.data_to_send() == b""
    event(f"answered: {any(answered.answer.body is not None for answered in pair.answers.values())}")
    event(f"safe to send again: {any(lost.safe for lost in pair.lost.values())}")
    event(f"cancelled: {bool(world.cancelled)}")


# Law: how the bytes of a token endpoint are cut into reads makes no difference to what becomes of requests over HTTP/2.
#
# Only ``HeadArrived`` depends on the cuts: it says that a head came without its whole body.


Seen = tuple[list[tuple[int, EndpointResponse]], list[tuple[int, bool, bool]], bytes]


def feed(count: int, places: list[int]) -> Seen:
    world, data = conversation(count)
    pair = world.pair
    for part in chunks(data, places):
        pair.to_client(part)
    said = pair.client.data_to_send()
    assert not pair.client.closed
    pair.client.lose()
    pair.take(pair.client.events())
    assert sorted([*pair.answers, *pair.lost]) == sorted(world.asked)
    assert all(answered.answer.body == world.asked[stream] for stream, answered in pair.answers.items())
    answers = [(stream, answered.answer) for stream, answered in pair.answers.items()]
    return answers, [(stream, lost.seen, lost.safe) for stream, lost in pair.lost.items()], said


@given(st.integers(1, 12), cuts)
def test_outcomes_of_requests_do_not_depend_on_cuts(count: int, places: list[int]) -> None:
    assert feed(count, places) == feed(count, [])


def test_http2_answers_come_byte_by_byte() -> None:
    assert feed(12, list(range(10_000))) == feed(12, [])


# Law: whatever a token endpoint sends over HTTP/2, nothing raises, and each request ends once, as one that was made.


def survive(world: World, parts: tuple[bytes, ...], gone: list[int]) -> None:
    pair, client = world.pair, world.pair.client
    for number, part in enumerate(parts):
        pair.to_client(part)
        if number in gone:
            stream = list(world.asked)[number % len(world.asked)]
            if stream not in pair.answers and stream not in pair.lost:
                world.cancelled.add(stream)
            client.cancel(stream)
        client.data_to_send()
        pair.take(client.events())
        assert 0 <= client.room <= MAX_STREAMS
        assert client.held <= MAX_HELD_BYTES + MAX_STREAMS * FREE_BODY_BYTES
    client.lose()
    pair.take(client.events())
    assert sorted([*pair.answers, *pair.lost, *world.cancelled]) == sorted(world.asked)
    assert set(pair.heads) <= set(world.asked)
    assert not any(lost.seen and lost.safe for lost in pair.lost.values())
    assert (client.closed, client.waiting, client.held, client.interim, client.data_to_send()) == (True, 0, 0, {}, b"")


@given(st.integers(1, 12), damages, cuts, st.lists(st.integers(0, 8), max_size=3))
def test_a_damaged_http2_conversation_ends_each_request_once(count: int, harm: list[Damage], places: list[int], gone: list[int]) -> None:
    world, data = conversation(count)
    for damage in harm:
        data = damage.apply(data)
    survive(world, chunks(data, places), gone)


@given(st.integers(1, 6), st.lists(frames, max_size=20), cuts, st.lists(st.integers(0, 8), max_size=3))
def test_any_http2_frames_end_each_request_once(count: int, sent: list[bytes], places: list[int], gone: list[int]) -> None:
    world, data = conversation(count)
    survive(world, chunks(data[: len(data) // 2] + b"".join(sent), places), gone)


def test_an_undamaged_http2_conversation_brings_answers() -> None:
    """The same machinery without damage does bring answers, so that the laws above speak of something."""
    world, data = conversation(10)
    survive(world, (data,), [])
    assert len(world.pair.answers) == 8
