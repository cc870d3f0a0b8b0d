"""A call's deadline bounds everything that is done for it, the arrival of its messages too; without one there is a bound all the same."""

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.grpc.status import StatusCode
from tests.grpc.peer import ECHO, framed, head, routes
from tests.grpc.serving import serving
from tests.grpc.test_cancellation import Methods

UNARY = b"/test.Wait/Unary"
LISTEN = b"/test.Wait/Listen"
ECHOING = b"/test.Wait/Echo"
TIMEOUT = (b"grpc-timeout", b"200m")


@pytest.mark.parametrize("path", [ECHO, UNARY, LISTEN])
@pytest.mark.parametrize("body", [b"", framed(b"hello")[:-1], framed(b"hello")])
async def test_a_request_that_is_never_complete_ends_at_its_deadline(path: bytes, body: bytes, mock_clock: MockClock) -> None:
    methods = Methods()
    async with serving(methods.table()) as served:
        client = await served.connect()
        _, answer = await client.start(path, body, TIMEOUT, end=False)
        mock_clock.jump(0.19)
        await client.settle()
        assert not answer.headers
        mock_clock.jump(0.02)
        await client.settle()
        assert (answer.status, answer.closed) == (StatusCode.DEADLINE_EXCEEDED, True)
        assert served.at_rest()
        assert methods.waiting == len(methods.seen) == 0
        assert (await client.ask(b"next")).messages == [b"echo next"]


async def test_without_a_deadline_there_is_a_bound(mock_clock: MockClock) -> None:
    async with serving(routes()) as served:
        client = await served.connect()
        _, answer = await client.start(ECHO, framed(b"hello")[:-1], end=False)
        mock_clock.jump(29.9)
        await client.settle()
        assert not answer.headers
        mock_clock.jump(0.2)
        await client.settle()
        assert answer.status == StatusCode.DEADLINE_EXCEEDED
        assert served.at_rest()


async def test_half_a_message_on_a_stream_cancels_its_method(mock_clock: MockClock) -> None:
    methods = Methods()
    async with serving(methods.table()) as served:
        client = await served.connect()
        stream, answer = await client.start(ECHOING, framed(b"one"), end=False)
        mock_clock.jump(1000.0)  # between messages nothing is due
        await client.settle()
        client.peer.http.send_data(stream, framed(b"two")[:-1])
        await client.settle()
        mock_clock.jump(29.9)
        await client.settle()
        assert methods.waiting == 1
        mock_clock.jump(0.2)
        await client.settle()
        assert [name for name, _ in methods.seen] == ["Cancelled"]
        assert answer.status == StatusCode.DEADLINE_EXCEEDED
        assert served.at_rest()


async def test_one_alarm_serves_them_in_order(mock_clock: MockClock) -> None:
    async with serving(routes()) as served:
        client = await served.connect()
        answers = {}
        for ms in (500, 100, 300, 200, 400):
            _, answers[ms] = await client.start(ECHO, b"\0", (b"grpc-timeout", b"%dm" % ms), end=False)
        for elapsed in (100, 200, 300, 400, 500):
            mock_clock.jump(0.1001)
            await client.settle()
            assert {ms for ms, answer in answers.items() if answer.closed} == {ms for ms in answers if ms <= elapsed}


async def test_the_rest_that_comes_after_the_refusal_is_thrown_away(mock_clock: MockClock) -> None:
    async with serving(routes()) as served:
        client = await served.connect()
        stream = client.peer.request(head(ECHO, TIMEOUT), framed(b"hello")[:-1], end=False)
        await client.settle()
        rest = b"\0\0\1\0\1" + stream.to_bytes(4, "big") + b"o"
        mock_clock.jump(0.21)
        await wait_all_tasks_blocked()
        client.send(rest)  # it crossed the answer
        await client.settle()
        assert client.peer.answers[stream].status == StatusCode.DEADLINE_EXCEEDED
        assert (await client.ask(b"next")).messages == [b"echo next"]
        assert served.at_rest()


async def test_a_request_that_completes_in_time_keeps_its_deadline(mock_clock: MockClock) -> None:
    methods = Methods()
    async with serving(methods.table()) as served:
        client = await served.connect()
        stream, answer = await client.start(UNARY, framed(b"hello")[:-1], TIMEOUT, end=False)
        mock_clock.jump(0.1)
        client.peer.http.send_data(stream, b"o", end_stream=True)
        await client.settle()
        assert methods.waiting == 1
        mock_clock.jump(0.11)
        await client.settle()
        assert answer.status == StatusCode.DEADLINE_EXCEEDED
        assert len(methods.seen) == 1


async def test_a_connection_of_many_half_requests_is_cleared(mock_clock: MockClock) -> None:
    """Streams held open with a byte each: after half a minute they are gone, and other connections never notice."""
    async with serving(routes()) as served:
        slow, other = await served.connect(), await served.connect()
        for _ in range(900):
            slow.peer.request(head(), b"\0", end=False)
        await slow.settle()
        assert served.server.usage().streams == 900
        assert (await other.ask(b"x")).status == 0
        mock_clock.jump(30.1)
        await slow.settle()
        assert served.at_rest()
        assert served.server.ended_calls[StatusCode.DEADLINE_EXCEEDED] == 900
        assert (await slow.ask(b"x")).status == 0


async def test_a_lost_connection_has_no_alarm(mock_clock: MockClock) -> None:
    async with serving(routes()) as served:
        client = await served.connect()
        await client.start(ECHO, b"\0", TIMEOUT, end=False)
        client.socket.close()
        await wait_all_tasks_blocked()
        assert served.server.connections == 0
        mock_clock.jump(1.0)
        await wait_all_tasks_blocked()
        assert served.faults == []


async def test_requests_of_all_connections_share_one_budget() -> None:
    whole = framed(bytes(100_000))
    async with serving(routes(lambda _message, _call: b"")) as served:
        served.server._budget.limit = 2 * len(whole)
        clients = [await served.connect() for _ in range(3)]
        halves = [await client.start(ECHO, whole[:-1], end=False) for client in clients]
        assert [answer.status for _, answer in halves] == [None, None, StatusCode.RESOURCE_EXHAUSTED]
        assert (await clients[2].ask(bytes(60_000))).status == 0  # a connection that holds little is always served
        clients[0].peer.http.send_data(halves[0][0], b"x", end_stream=True)
        await clients[0].settle()
        assert halves[0][1].status == 0
        assert (await clients[2].start(ECHO, whole))[1].status == 0
