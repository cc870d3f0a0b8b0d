"""Laws of gRPC over HTTP/2: any bytes, in any pieces."""

import re
from collections.abc import AsyncIterator
from itertools import accumulate
from typing import Final
from urllib.parse import unquote_to_bytes

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from exchanger.net.grpc.call import Call
from exchanger.net.grpc.client import UnaryCall
from exchanger.net.grpc.connection import Connection
from exchanger.net.grpc.framing import Deframer, frame
from exchanger.net.grpc.head import encode_message, parse_timeout
from exchanger.net.grpc.limits import ConnectionLimits
from exchanger.net.grpc.read_buffer import ReadBuffer
from exchanger.net.grpc.routes import CallInfo, Immediate, ImmediateStream, Route, Streaming, StreamMethod
from tests.examples import examples
from tests.net.grpc.frames import CONTINUATION, DATA, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, raw
from tests.net.grpc.later import Pending
from tests.net.grpc.peer import ECHO, Text, framed
from tests.net.grpc.serving import serving
from tests.property.strategies_grpc import (
    CHAT,
    LISTEN,
    STREAM,
    Damage,
    Request,
    answered_conversations,
    chunks,
    conversation,
    conversations,
    cuts,
    damages,
    frames,
    fresh,
)

# Law: how a byte stream is cut into reads makes no difference to calls and answers, nor to what is still waited for in the end.
#
# TCP has no message boundaries, and a frame says its own length (RFC 9113 section 4.1).


Seen = list[tuple[str, int, bytes | None, bool]]


def feed(parts: tuple[bytes, ...]) -> tuple[Seen, tuple[int, ...], float, tuple[int, ...]]:
    joined = fresh()
    seen: Seen = []
    for part in parts:
        joined.connection.receive(part, 5.0)
        for event in joined.connection.events():
            call = event if isinstance(event, Call) else event.call
            seen.append((type(event).__name__, call.stream_id, call.message if call.messages is None else None, call.info.deadline > 5.0))
    assert not joined.connection.closed
    joined.connection.expire(5.1)  # before any deadline
    due, counts = joined.connection.next_due, joined.connection.ended_calls
    joined.connection.expire(100.0)
    return seen, counts, due, joined.connection.ended_calls


@given(conversations, cuts)
def test_events_do_not_depend_on_cuts(wanted: list[Request], places: list[int]) -> None:
    data = conversation(wanted)
    assert feed(chunks(data, places)) == feed((data,))


def answers(wanted: list[Request], parts: tuple[bytes, ...]) -> list[tuple[object, ...]]:
    joined = fresh()
    for _ in wanted:
        joined.peer.request(end=False)  # opens the streams on the peer's side, so that it understands the answers
    joined.peer.send()
    for part in parts:
        joined.connection.receive(part, 0.0)
        joined.events()
        while joined.calls:
            call = joined.calls.pop(0)
            if call.open and call.messages is None:
                joined.connection.respond(call, b"answer " + (call.message or b""))
        joined.to_peer()
    return [(answer.headers, answer.body, answer.trailers) for _, answer in sorted(joined.peer.answers.items())]


@given(answered_conversations, cuts)
def test_answers_do_not_depend_on_cuts(wanted: list[Request], places: list[int]) -> None:
    data = conversation(wanted)
    assert answers(wanted, chunks(data, places)) == answers(wanted, (data,))


# Law: messages come out as they were framed, however their bytes are cut, and no more than one incomplete message is ever held.


@given(st.lists(st.binary(max_size=100), max_size=10), cuts)
def test_messages_come_out_as_they_were_framed(messages: list[bytes], places: list[int]) -> None:
    deframer = Deframer(100)
    found = []
    for chunk in chunks(b"".join(map(frame, messages)), places):
        found += deframer.feed(chunk)
        assert deframer.held < 105
    assert found == messages
    assert deframer.held == 0


# Law: ``grpc-message`` is percent-encoded UTF-8 whose bytes are all printable ASCII, and decodes to the beginning of its text.
#
# https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses


@given(st.text())
def test_grpc_message_round_trip(message: str) -> None:
    message = message[:500]
    encoded = encode_message(message)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert unquote_to_bytes(encoded).decode("utf-8") == message


@given(st.text(min_size=1).map(lambda text: text * 600))
def test_a_long_grpc_message_is_cut_at_a_character(message: str) -> None:
    encoded = encode_message(message)
    assert len(encoded) <= 6000
    assert message.startswith(unquote_to_bytes(encoded).decode("utf-8"))


# Law: whatever a peer sends ends in an answer, a reset stream or a closed connection: never in an exception, nor in a task that stays.


LIMITS = ConnectionLimits()


def damaged(data: bytes, harm: list[Damage]) -> bytes:
    for damage in harm:
        data = damage.apply(data)
    return data


def assert_remembered(connection: Connection) -> None:
    """Whatever is incomplete will be ended when its time has come, and is looked at early enough."""
    for call in connection.table.calls.values():
        if call.open and not call.ended and (call.messages is None or call.partial):
            assert connection.next_due <= call.due <= LIMITS.arrival_seconds


def survive(parts: tuple[bytes, ...]) -> None:
    joined = fresh()
    connection = joined.connection
    for part in parts:
        connection.receive(part, 0.0)
        joined.events()
        for call in joined.calls[::2]:  # half of the calls are answered at once
            connection.respond(call, b"answer")
        connection.data_to_send()
        joined.events()
        assert_remembered(connection)
    started = joined.calls
    answered = [call for call in started[::2] if call not in joined.aborted]
    connection.lose()
    joined.events()
    assert connection.closed
    assert joined.at_rest()
    assert all(not call.open for call in started)
    assert len(joined.aborted) == len(set(joined.aborted))
    assert all(call in joined.aborted or call in answered for call in started)
    assert connection.data_to_send() == b""


@given(conversations, damages, cuts)
def test_damaged_conversations(wanted: list[Request], harm: list[Damage], places: list[int]) -> None:
    survive(chunks(damaged(conversation(wanted), harm), places))


@given(st.lists(frames, max_size=20), cuts)
def test_any_frames(sent: list[bytes], places: list[int]) -> None:
    survive(chunks(b"".join(sent), places))


def later(message: bytes, _call: CallInfo) -> Pending:
    async def run() -> bytes:
        await trio.sleep(len(message) % 3)
        return message

    return Pending(run)


def sometimes_later(message: bytes, call: CallInfo) -> bytes | Pending | None:
    return (message, later(message, call), None)[len(message) % 3]


async def answer_each(argument: AsyncIterator[Text], _call: CallInfo) -> AsyncIterator[Text]:
    async for message in argument:
        await trio.sleep(0.1)
        yield message


async def listen(_argument: Text, _call: CallInfo) -> AsyncIterator[Text]:
    while True:
        yield Text(b"tick")
        await trio.sleep(5)


SERVED: dict[bytes, Route] = {
    ECHO: Immediate(later),
    STREAM: StreamMethod(answer_each, Text, Streaming.STREAM_STREAM),
    LISTEN: StreamMethod(listen, Text, Streaming.UNARY_STREAM),
    CHAT: ImmediateStream(sometimes_later),
}


async def serve_damaged(parts: tuple[bytes, ...]) -> None:
    async with serving(SERVED) as served:
        client, witness = await served.connect(), await served.connect()
        for part in parts:
            client.send(part)
            await witness.settle()
        client.socket.close()
        await witness.settle()
        assert served.server.connections == 1
        assert served.at_rest()
        assert served.faults == []


@settings(max_examples=examples(60))
@given(conversations, damages, cuts)
def test_no_task_stays(wanted: list[Request], harm: list[Damage], places: list[int]) -> None:
    trio.run(serve_damaged, chunks(damaged(conversation(wanted), harm), places), clock=MockClock())


@settings(max_examples=examples(30))
@given(st.lists(frames, max_size=20), cuts)
def test_no_task_stays_after_any_frames(sent: list[bytes], places: list[int]) -> None:
    trio.run(serve_damaged, chunks(b"".join(sent), places), clock=MockClock())


def test_the_witness_of_these_laws() -> None:
    """The same machinery without damage does start calls, so that the laws above speak of something."""
    joined = fresh()
    joined.connection.receive(conversation([Request(ECHO, (b"\0\0\0\0\0",), None, "end")]), 0.0)
    assert [type(event) for event in joined.connection.events()] == [Call]


# Law: whatever a server sends, in whatever pieces, ends in a reply or in waiting for more: never in an exception.


FIELDS = st.lists(
    st.tuples(
        st.sampled_from([b":status", b"grpc-status", b"grpc-message", b"content-type", b"x", b"X", b""]),
        st.sampled_from([b"200", b"0", b"12", b"-1", b"\xff", b"application/grpc", b"%zz", b"a\r\nb"]),
    ),
    max_size=5,
)
PAYLOADS = st.one_of(st.binary(max_size=30), FIELDS.map(block), st.binary(max_size=9).map(framed))
FRAMES = st.builds(
    raw,
    st.sampled_from([DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE]),
    st.sampled_from([0, 1, 4, 5]),
    st.sampled_from([0, 1, 2, 3]),
    PAYLOADS,
)
ANSWERS = st.one_of(
    st.binary(max_size=200), st.lists(FRAMES, max_size=8).map(lambda frames: raw(SETTINGS, 0, 0) + b"".join(frames)), FRAMES
)


@given(ANSWERS, st.lists(st.integers(1, 40), max_size=20))
def test_any_bytes_end_a_call_of_the_client(answer: bytes, sizes: list[int]) -> None:
    call = UnaryCall("/a.B/C", b"m", "test:1", "http", 1.0)
    call.data_to_send()
    for size in sizes:
        call.receive(answer[:size] or b"\0")
        call.data_to_send()
        answer = answer[size:]
    if answer:
        call.receive(answer)
    call.data_to_send()
    call.receive(b"")
    call.data_to_send()
    assert call.reply is not None


# Pieces are whole frames, each of bounded cost, and together they are what was read.


PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
BLOCKS: Final = {HEADERS, CONTINUATION}
GREATEST: Final = 9 + 16 * 1024

streams_of_frames = st.lists(
    st.builds(
        lambda kind, size: raw(kind, 0, 1, bytes(size)),
        st.sampled_from([DATA, HEADERS, PING, CONTINUATION]),
        st.one_of(st.integers(0, 40), st.integers(0, 2000), st.sampled_from([16 * 1024])),
    ),
    max_size=60,
)
reads = st.lists(st.one_of(st.integers(1, 30), st.integers(1, 64 * 1024)), max_size=40)


def block_bytes(found: list[bytes]) -> int:
    return sum(min(512, len(frame) - 9) for frame in found if frame[3] in BLOCKS)


@given(streams_of_frames, reads, st.integers(1, 40))
def test_pieces_are_what_was_read_and_end_between_frames(sent: list[bytes], sizes: list[int], most: int) -> None:
    data = PREFACE + b"".join(sent)
    starts = list(accumulate(map(len, sent), initial=len(PREFACE)))
    placed, boundaries = list(zip(sent, starts, strict=False)), {0, *starts}
    buffer, taken, read = ReadBuffer(), 0, 0
    for size in [*sizes, len(data)]:
        buffer.feed(data[read : read + size])
        read = min(len(data), read + size)
        while buffer.pending:
            piece = buffer.take(most)
            assert piece
            assert data[taken : taken + len(piece)] == piece
            begun = [frame for frame, at in placed if taken <= at < taken + len(piece)]
            taken += len(piece)
            assert taken in boundaries or taken == read
            assert buffer.cost == max(len(begun), block_bytes(begun) // 12)
            assert len(begun) <= most
            assert block_bytes(begun[:-1]) < 12 * most
            assert len(piece) <= GREATEST
        assert taken in boundaries or taken == read
        assert read - taken < 4
    assert taken == len(data)


def test_the_end_of_a_frame_is_not_kept_back() -> None:
    buffer, last = ReadBuffer(), b""
    for byte in PREFACE + raw(DATA, 0, 1, b"abc"):
        buffer.feed(bytes((byte,)))
        while buffer.pending:
            last = buffer.take(1)
    assert last == b"c"
    assert not buffer.pending


# Law: TimeoutValue is a positive integer as ASCII string of at most 8 digits, TimeoutUnit one of H M S m u n; all else is malformed.
#
# https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests


UNITS = {b"H": 3600, b"M": 60, b"S": 1, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


@given(st.integers(0, 99_999_999), st.sampled_from(sorted(UNITS)))
def test_a_well_formed_timeout(value: int, unit: bytes) -> None:
    assert parse_timeout(b"%d" % value + unit) == pytest.approx(value * UNITS[unit])


@given(st.one_of(st.binary(max_size=12), st.from_regex(rb"[0-9]{0,10}[HMSmun]{0,2}", fullmatch=True)))
def test_all_other_timeouts_are_malformed(value: bytes) -> None:
    well_formed = re.fullmatch(rb"[0-9]{1,8}[HMSmun]", value) is not None
    assert (parse_timeout(value) is not None) == well_formed
