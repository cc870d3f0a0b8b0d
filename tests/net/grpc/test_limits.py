"""Each limit of a connection at its edge: what is at it passes, what is just beyond is refused, and the rest lives on where it can."""

import math
from collections.abc import Callable

import ngh2
import pytest
import trio
from trio.testing import MockClock

from exchanger.net.grpc import limits
from exchanger.net.grpc.connection import Connection
from exchanger.net.grpc.limits import NO_DESCRIPTORS, REPORT_INTERVAL, Budget, ConnectionAdmission, ConnectionLimits
from exchanger.net.grpc.status import StatusCode
from tests.lines import Lines
from tests.net.grpc.frames import CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, SETTINGS, block, raw, request, word
from tests.net.grpc.peer import Header, Pair, framed, head, pair, routes
from tests.net.grpc.test_connection import streaming_call, table

CALM = ngh2.ErrorCode.ENHANCE_YOUR_CALM


def decided(joined: Pair, data: bytes) -> list[int]:
    """Return the streams of the calls that ``data`` starts."""
    joined.calls.clear()
    joined.to_server(data)
    return [call.stream_id for call in joined.calls]


def lives(joined: Pair, stream: int = 1001) -> bool:
    return decided(joined, request(stream, head(), framed(b""))) == [stream]


def assert_ended_or_lives(joined: Pair, ended: int, code: int = CALM) -> None:
    if ended:
        assert_ended(joined, code)
    else:
        assert lives(joined)


def assert_ended(joined: Pair, code: int) -> None:
    joined.to_peer()
    assert joined.connection.closed
    assert joined.peer.goaways[-1][1] == code
    assert joined.at_rest()


class TestStreams:
    def test_one_more_by_a_peer_that_does_not_know_it_yet(self) -> None:
        joined = Pair(Connection(routes(), ConnectionLimits(concurrent_streams=3)))
        preface = joined.peer.send()
        assert decided(joined, preface + b"".join(request(stream, head(), framed(b"")) for stream in (1, 3, 5, 7))) == [1, 3, 5]
        data = joined.connection.data_to_send()
        assert raw(0x3, 0, 7, word(ngh2.ErrorCode.REFUSED_STREAM)) in data
        joined.connection.respond(joined.calls[0], b"")
        joined.connection.data_to_send()
        assert lives(joined)

    def test_the_default_is_a_thousand(self) -> None:
        joined = pair()
        assert len(decided(joined, b"".join(request(stream, head(), framed(b"")) for stream in range(1, 2000, 2)))) == 1000
        joined.to_server(request(2001, head(), framed(b"")))
        assert_ended(joined, ngh2.ErrorCode.PROTOCOL_ERROR)


def of_size(size: int) -> list[Header]:
    """Return request headers that count as ``size`` bytes: 32 more for each than they have (RFC 9113 section 6.5.2)."""
    headers = head()
    rest = size - sum(len(name) + len(value) + 32 for name, value in headers)
    while rest > 4000 + 2 * 33:
        headers.append((b"x", b"y" * 3967))
        rest -= 4000
    return [*headers, (b"x", b"y" * (rest - 33))]


def fields(count: int) -> list[Header]:
    return head() + [(b"x", b"")] * (count - len(head()))


def in_frames(headers: list[Header], count: int) -> bytes:
    """Return ``headers`` in one HEADERS frame and ``count`` CONTINUATION frames."""
    data = block(headers)
    step = max(1, min(16_384, -(-len(data) // (count + 1))))
    parts = [data[start : start + step] for start in range(0, len(data), step)]
    parts += [b""] * (count + 1 - len(parts))
    kinds = [HEADERS] + [CONTINUATION] * (len(parts) - 1)
    flags = [END_STREAM] + [0] * (len(parts) - 1)
    flags[-1] |= END_HEADERS
    return b"".join(map(raw, kinds, flags, [1] * len(parts), parts))


PASSES = StatusCode.UNIMPLEMENTED  # for it has no message


@pytest.mark.parametrize(
    ("headers", "continuations", "status"),
    [
        pytest.param(of_size(limits.MAX_HEADER_LIST), 7, PASSES, id="a list at the limit"),
        pytest.param(of_size(limits.MAX_HEADER_LIST + 1), 7, StatusCode.RESOURCE_EXHAUSTED, id="a list beyond it"),
        pytest.param(of_size(limits.TOLERANCE * limits.MAX_HEADER_LIST + 1), limits.MAX_CONTINUATIONS, None, id="a list far beyond it"),
        pytest.param(fields(limits.MAX_HEADER_COUNT), 0, PASSES, id="fields at the limit"),
        pytest.param(fields(limits.MAX_HEADER_COUNT + 1), 0, StatusCode.RESOURCE_EXHAUSTED, id="fields beyond it"),
        pytest.param(fields(limits.TOLERANCE * limits.MAX_HEADER_COUNT + 1), 0, None, id="fields far beyond it"),
        pytest.param(head(), limits.MAX_CONTINUATIONS, PASSES, id="continuations"),
        pytest.param(head(), limits.MAX_CONTINUATIONS + 1, None, id="one continuation more"),
    ],
)
def test_header_lists_over_a_limit_fail_the_call_then_the_connection(
    headers: list[Header], continuations: int, status: StatusCode | None
) -> None:
    joined = pair()
    joined.to_server(in_frames(headers, continuations))
    if status is None:
        assert_ended(joined, CALM)
    else:
        assert joined.connection.ended_calls[status] == 1
        assert lives(joined)


class TestMessages:
    @pytest.mark.parametrize("extra", [0, 1])
    def test_held_bytes(self, extra: int) -> None:
        joined = pair(None, ConnectionLimits(held_bytes=1000))
        joined.to_server(
            request(1, head(), framed(bytes(1000))[:500], end=False) + request(3, head(), framed(bytes(1000))[: 500 + extra], end=False)
        )
        assert joined.connection.ended_calls[StatusCode.RESOURCE_EXHAUSTED] == extra
        assert joined.connection.usage().held_bytes == (500 if extra else 1000)
        assert lives(joined)

    def test_the_window_of_a_stream(self) -> None:
        joined = pair(table())
        _, call = streaming_call(joined)
        messages = framed(bytes(10_000)) * 30
        for start in range(0, limits.STREAM_WINDOW, 16_384):
            joined.to_server(raw(DATA, 0, 1, messages[start : start + 16_384]))
        assert call.open
        joined.to_server(raw(DATA, 0, 1, b"\0"))
        assert_ended(joined, ngh2.ErrorCode.FLOW_CONTROL_ERROR)
        assert joined.aborted == [call]


class TestAnswers:
    @pytest.mark.parametrize("extra", [0, 1])
    def test_unsent_bytes(self, extra: int) -> None:
        joined = pair(table(), ConnectionLimits(queued_bytes=100_000))
        _, call = streaming_call(joined)
        joined.connection.send(call, bytes(65_535 + 100_000 - 5 + extra))
        joined.to_peer()
        assert joined.connection.closed == bool(extra)
        if extra:
            assert joined.peer.goaways[-1][1] == CALM
            assert joined.aborted == [call]

    @pytest.mark.parametrize(
        ("own", "room"), [(ConnectionLimits(call_queued_bytes=1000), 1000), (ConnectionLimits(queued_bytes=100_000), 50_000)]
    )
    def test_has_room_is_false_at_the_calls_or_half_the_connections_limit(self, own: ConnectionLimits, room: int) -> None:
        joined = pair(table(), own)
        _, call = streaming_call(joined)
        joined.connection.send(call, bytes(65_535 + room - 1 - 5))
        joined.connection.data_to_send()
        assert joined.connection.usage().queued_bytes == room - 1
        assert joined.connection.has_room(call)
        joined.connection.send(call, b"")
        assert not joined.connection.has_room(call)


@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize(
    "send",
    [
        lambda extra: raw(SETTINGS, 0, 0, b"\0\4\0\0\xff\xff" * (limits.MAX_SETTINGS + extra)),
        lambda extra: raw(PING, 0, 0, bytes(8)) * (limits.MAX_OUTBOUND_ACKS + extra),
        lambda extra: raw(SETTINGS, 0, 0) * (limits.MAX_OUTBOUND_ACKS + extra),
    ],
    ids=["settings entries", "ping acknowledgements", "settings acknowledgements"],
)
def test_control_frames(send: Callable[[int], bytes], extra: int) -> None:
    joined = pair()
    joined.to_server(send(extra))
    assert_ended_or_lives(joined, extra)


# What all connections hold together.

# More than a connection may hold whatever the others do.
LARGE = 100_000


def sharing(budget: Budget) -> Pair:
    return pair(table(), ConnectionLimits(message_bytes=1_000_000), budget)


def begin(joined: Pair, size: int) -> int:
    """Send all but the last byte of a message."""
    stream = joined.peer.request(head(), framed(bytes(size))[:-1], end=False)
    joined.exchange()
    return stream


def test_a_peer_that_reads_no_responses_is_disconnected_when_memory_is_short() -> None:
    budget = Budget(2 * LARGE - 1)
    joined, other = sharing(budget), sharing(budget)
    stream = begin(other, LARGE - 5)
    _, call = streaming_call(joined)
    joined.connection.send(call, bytes(65_535 + LARGE))
    joined.to_peer()
    assert joined.connection.closed
    assert budget.used == LARGE - 1
    other.peer.http.send_data(stream, b"x", end_stream=True)
    other.serve()
    assert other.peer.answers[stream].status == 0


@pytest.mark.parametrize("end", [Connection.lose, Connection.terminate, lambda connection: connection.receive(bytes(99), 0.0)])
def test_nothing_is_left_of_a_connection_that_is_over(end: Callable[[Connection], None]) -> None:
    budget = Budget()
    joined = sharing(budget)
    begin(joined, LARGE)
    stream, call = streaming_call(joined)
    joined.peer.http.send_data(stream, framed(b"unread"))
    joined.exchange()
    joined.connection.send(call, bytes(LARGE))
    joined.connection.data_to_send()
    assert budget.used > LARGE
    assert joined.connection.next_due < math.inf
    end(joined.connection)
    joined.connection.data_to_send()
    joined.connection.expire(joined.connection.next_due)
    assert joined.connection.next_due == math.inf
    assert joined.connection.data_to_send() == b""
    assert (joined.connection.closed, call.open, joined.connection.take(call)) == (True, False, None)
    assert budget.used == 0


async def test_refused_connections_are_counted_and_reported_once_a_minute(autojump_clock: MockClock) -> None:
    lines = Lines()
    admission = ConnectionAdmission(2, lines.logger)

    assert [admission.admit(connections) for connections in (0, 1, 2, 3)] == [True, True, False, False]
    await trio.sleep(REPORT_INTERVAL / 2)
    admission.exhausted()
    assert lines.taken() == [("connections_refused", "there are 2 connections already", "1")]
    await trio.sleep(REPORT_INTERVAL / 2)
    admission.exhausted()
    assert lines.taken() == [("connections_refused", NO_DESCRIPTORS, "4")]
    assert (admission.accepted, admission.refused) == (2, 4)
