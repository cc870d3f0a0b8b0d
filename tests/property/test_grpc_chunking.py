"""Law: how a byte stream is cut into reads makes no difference to calls and answers, nor to what is still waited for in the end.

TCP has no message boundaries, and a frame says its own length (RFC 9113 section 4.1).
"""

from hypothesis import given

from exchanger.grpc.call import Call
from tests.property.strategies_grpc import Request, answered_conversations, chunks, conversation, conversations, cuts, fresh

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
