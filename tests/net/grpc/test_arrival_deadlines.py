"""A request that does not arrive in time is refused, whatever else goes on."""

import math

import ngh2
import pytest

from exchanger.net.grpc.limits import ConnectionLimits
from exchanger.net.grpc.status import StatusCode
from tests.net.grpc.peer import ECHO, Header, Pair, framed, head, pair
from tests.net.grpc.test_connection import LISTEN, streaming_call, table

TIMEOUT = (b"grpc-timeout", b"200m")


def at(joined: Pair, now: float) -> None:
    """It is ``now``, and the alarm goes off when it is due."""
    joined.now = now
    if joined.connection.next_due <= now:
        joined.connection.expire(now)
        joined.events()
    joined.exchange()


def joined_at(now: float, limits: ConnectionLimits | None = None) -> Pair:
    joined = pair(table(), limits)
    joined.now = now
    return joined


@pytest.mark.parametrize("path", [ECHO, LISTEN])
@pytest.mark.parametrize("body", [b"", b"\0\0", framed(b"hello")[:-1], framed(b"hello")])
def test_the_deadline_bounds_the_arrival_too(path: bytes, body: bytes) -> None:
    joined = joined_at(10.0)
    stream = joined.peer.request(head(path, TIMEOUT), body, end=False)
    joined.exchange()
    assert joined.connection.next_due == pytest.approx(10.2)
    at(joined, 10.19)
    answer = joined.peer.answers[stream]
    assert not answer.headers
    at(joined, 10.21)
    assert (answer.status, answer.message) == (StatusCode.DEADLINE_EXCEEDED, "request did not arrive in time")
    assert (answer.closed, answer.reset) == (True, ngh2.ErrorCode.NO_ERROR)
    assert joined.calls == joined.aborted == []
    assert joined.connection.next_due == math.inf
    assert joined.at_rest()
    after = joined.peer.call(b"next")
    joined.serve()
    assert joined.peer.answers[after].messages == [b"echo next"]
    assert joined.connection.ended_calls[StatusCode.DEADLINE_EXCEEDED] == 1


@pytest.mark.parametrize(
    ("extra", "early", "later"),
    [
        ((), framed(b"hello")[:-1], b""),  # a sign of life is not a message
        (((b"grpc-timeout", b"1H"),), framed(b"hello")[:-1], b""),
        ((), b"", b"\0"),  # nor does a first part give more time
    ],
)
def test_there_is_a_bound_without_a_deadline_or_with_a_late_one(extra: tuple[Header, ...], early: bytes, later: bytes) -> None:
    joined = joined_at(10.0)
    stream = joined.peer.request(head(ECHO, *extra), early, end=False)
    joined.exchange()
    at(joined, 39.9)
    joined.peer.http.send_data(stream, later)
    joined.exchange()
    assert joined.peer.answers[stream].status is None
    at(joined, 40.0)
    assert joined.peer.answers[stream].status == StatusCode.DEADLINE_EXCEEDED


def test_a_request_that_arrives_late_but_in_time_is_served() -> None:
    joined = joined_at(10.0)
    whole, parts, trailers = (joined.peer.request(head(ECHO, TIMEOUT), b"", end=False) for _ in range(3))
    joined.exchange()
    at(joined, 10.1)
    joined.peer.http.send_data(whole, framed(b"whole"), end_stream=True)
    joined.peer.http.send_data(parts, framed(b"parts")[:3])
    joined.peer.http.send_data(trailers, framed(b"trailers"))
    joined.exchange()
    joined.peer.http.send_data(parts, framed(b"parts")[3:], end_stream=True)
    joined.peer.http.send_trailers(trailers, [(b"x", b"1")])
    joined.exchange()
    assert len(joined.calls) == 3
    at(joined, 10.3)  # the deadline is now that of whoever runs them
    assert all(call.open for call in joined.calls)
    assert joined.connection.next_due == math.inf
    joined.serve()
    assert [joined.peer.answers[stream].status for stream in (whole, parts, trailers)] == [0, 0, 0]


def test_a_completed_request_does_not_hide_an_incomplete_one() -> None:
    """One stream is opened and another completed in one and the same batch."""
    joined = joined_at(0.0)
    early = joined.peer.request(head(ECHO), b"", end=False)
    joined.exchange()
    at(joined, 30.0 - 1e-9)
    late = joined.peer.request(head(ECHO, TIMEOUT), b"", end=False)
    data = joined.peer.send()
    joined.peer.http.send_data(early, framed(b"x"), end_stream=True)
    joined.to_server(data + joined.peer.send())
    assert [call.stream_id for call in joined.calls] == [early]
    at(joined, 31.0)
    assert joined.peer.answers[late].status == StatusCode.DEADLINE_EXCEEDED


class TestStreams:
    def test_all_parts_of_one_message_share_its_time(self) -> None:
        joined = joined_at(0.0)
        stream, call = streaming_call(joined)
        joined.peer.http.send_data(stream, framed(b"one") + framed(bytes(10))[:1])
        for number in range(3):
            at(joined, 10.0 * number)
            joined.peer.http.send_data(stream, b"\0")
            joined.exchange()
        at(joined, 29.9)
        assert call.open
        at(joined, 30.0)
        assert joined.aborted == [call]
        assert joined.peer.answers[stream].status == StatusCode.DEADLINE_EXCEEDED
        assert joined.at_rest()

    def test_each_message_has_a_time_of_its_own(self) -> None:
        joined = joined_at(0.0)
        stream, call = streaming_call(joined)
        rest = b""
        for number in range(10):
            at(joined, 20.0 * number)
            joined.peer.http.send_data(stream, rest + framed(b"xy")[:-1])
            rest = b"y"
            joined.exchange()
        assert call.open
        joined.peer.http.send_data(stream, rest)
        joined.exchange()
        at(joined, 1e6)
        assert call.open


def test_completed_requests_are_forgotten_long_before_their_time() -> None:
    joined = joined_at(0.0)
    for _ in range(1000):
        stream = joined.peer.request(head(ECHO), b"", end=False)
        joined.exchange()
        joined.peer.http.send_data(stream, framed(b"x"), end_stream=True)
        joined.serve()
    assert len(joined.connection.table.deadlines.heap) <= 65


# On a running server, whose one alarm per connection ends calls in time.
