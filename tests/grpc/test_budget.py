from collections.abc import Callable

import pytest

from exchanger.grpc.connection import Connection
from exchanger.grpc.limits import Budget, ConnectionLimits
from exchanger.grpc.status import StatusCode
from tests.grpc.peer import ECHO, Pair, framed, head, pair, routes
from tests.grpc.test_connection import streaming_call, table

LARGE = 100_000
"""More than a connection may hold whatever the others do."""


def sharing(budget: Budget) -> Pair:
    return pair(table(), ConnectionLimits(message_bytes=1_000_000), budget)


def begin(joined: Pair, size: int) -> int:
    """Send all but the last byte of a message."""
    stream = joined.peer.request(head(), framed(bytes(size))[:-1], end=False)
    joined.exchange()
    return stream


def test_of_its_own() -> None:
    budget = Budget(100_000)
    budget.change(100_000)
    assert not budget.refuses(100_000)
    budget.change(1)
    assert budget.refuses(100_000)
    assert not budget.refuses(64 * 1024)
    assert budget.refuses(64 * 1024 + 1)


def test_incomplete_requests_of_all_connections_are_bounded_together() -> None:
    budget = Budget(2 * LARGE)
    first, second, third = sharing(budget), sharing(budget), sharing(budget)
    one = begin(first, LARGE - 5)
    assert budget.used == LARGE - 1
    two = begin(second, LARGE - 5)
    assert first.peer.answers[one].status is second.peer.answers[two].status is None
    three = begin(third, LARGE - 5)
    assert third.peer.answers[three].status == StatusCode.RESOURCE_EXHAUSTED
    assert budget.used == 2 * (LARGE - 1)
    first.peer.http.send_data(one, b"x", end_stream=True)
    first.serve()
    assert first.peer.answers[one].status == 0
    assert third.peer.answers[begin(third, LARGE - 5)].status is None


def test_a_connection_that_holds_little_is_served_whatever_the_others_hold() -> None:
    budget = Budget(LARGE)
    greedy, modest = sharing(budget), sharing(budget)
    begin(greedy, LARGE - 5)
    stream = modest.peer.call(bytes(60_000))
    modest.serve()
    assert modest.peer.answers[stream].status == 0
    assert budget.used == LARGE - 1


def test_unread_messages_and_answers_that_nobody_takes_count() -> None:
    budget = Budget(LARGE)
    joined = sharing(budget)
    stream, call = streaming_call(joined)
    joined.peer.http.send_data(stream, framed(bytes(40_000)))
    joined.exchange()
    assert budget.used == 40_064
    assert joined.connection.take(call) == bytes(40_000)
    assert budget.used == 0
    joined.connection.send(call, bytes(75_000))
    joined.connection.data_to_send()
    assert budget.used == 75_005 - 65_535


def test_a_peer_that_takes_no_answers_is_cut_off_when_all_hold_too_much() -> None:
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
    _, call = streaming_call(joined)
    joined.connection.send(call, bytes(LARGE))
    joined.connection.data_to_send()
    assert budget.used > LARGE
    end(joined.connection)
    joined.connection.data_to_send()
    assert joined.connection.closed
    assert budget.used == 0


def test_a_request_in_one_piece_asks_for_nothing() -> None:
    budget = Budget(0)
    joined = pair(routes(lambda _message, _call: b""), None, budget)
    for _ in range(100):
        joined.peer.call(bytes(10_000), ECHO)
    joined.serve()
    assert all(answer.status == 0 for answer in joined.peer.answers.values())
    assert budget.used == 0
