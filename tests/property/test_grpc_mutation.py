"""Law: whatever a peer sends ends in an answer, a reset stream or a closed connection: never in an exception, nor in a task that stays."""

from collections.abc import AsyncIterator

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from exchanger.grpc.call import Call
from exchanger.grpc.connection import Connection
from exchanger.grpc.limits import ConnectionLimits
from exchanger.grpc.routes import CallInfo, Immediate, ImmediateStream, Route, Streaming, StreamMethod
from tests.examples import examples
from tests.grpc.later import Pending
from tests.grpc.peer import ECHO, Text
from tests.grpc.serving import serving
from tests.property.strategies_grpc import (
    CHAT,
    LISTEN,
    STREAM,
    Damage,
    Request,
    chunks,
    conversation,
    conversations,
    cuts,
    damages,
    frames,
    fresh,
)

LIMITS = ConnectionLimits()


def damaged(data: bytes, harm: list[Damage]) -> bytes:
    for damage in harm:
        data = damage.apply(data)
    return data


def assert_remembered(connection: Connection) -> None:
    """Whatever is incomplete will be ended when its time has come, and is looked at early enough."""
    for call in connection._table.calls.values():
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
