"""Law: whatever a peer sends ends in an answer, a reset stream or a closed connection: never in an exception, nor in a task that stays."""

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from exchanger.grpc.call import Call
from exchanger.grpc.routes import CallInfo, Immediate, Pending
from tests.grpc.peer import ECHO
from tests.grpc.serving import serving
from tests.property.strategies_grpc import Damage, Request, chunks, conversation, conversations, cuts, damages, frames, fresh


def damaged(data: bytes, harm: list[Damage]) -> bytes:
    for damage in harm:
        data = damage.apply(data)
    return data


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


def later(message: bytes, _call: CallInfo) -> bytes | Pending:
    async def run() -> bytes:
        await trio.sleep(len(message) % 3)
        return message

    return Pending(run)


async def serve_damaged(parts: tuple[bytes, ...]) -> None:
    async with serving({ECHO: Immediate(later)}) as served:
        client, witness = await served.connect(), await served.connect()
        for part in parts:
            client.send(part)
            await witness.settle()
        client.socket.close()
        await witness.settle()
        assert served.server.statistics().connections == 1
        assert served.at_rest()
        assert served.faults == []


@settings(max_examples=40)
@given(conversations, damages, cuts)
def test_no_task_stays(wanted: list[Request], harm: list[Damage], places: list[int]) -> None:
    trio.run(serve_damaged, chunks(damaged(conversation(wanted), harm), places), clock=MockClock())


def test_the_witness_of_these_laws() -> None:
    """The same machinery without damage does start calls, so that the laws above speak of something."""
    joined = fresh()
    joined.connection.receive(conversation([Request(ECHO, (b"\0\0\0\0\0",), None, reset=False)]), 0.0)
    assert [type(event) for event in joined.connection.events()] == [Call]
