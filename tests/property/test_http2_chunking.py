"""Law: how the bytes of a token endpoint are cut into reads makes no difference to what becomes of requests over HTTP/2.

Only ``HeadArrived`` depends on the cuts: it says that a head came without its whole body.
"""

from hypothesis import given
from hypothesis import strategies as st

from exchanger.net.answer import Answer
from tests.property.strategies_grpc import chunks, cuts
from tests.property.strategies_http2 import conversation

Seen = tuple[list[tuple[int, Answer]], list[tuple[int, bool, bool]], bytes]


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
def test_what_becomes_of_requests_does_not_depend_on_cuts(count: int, places: list[int]) -> None:
    assert feed(count, places) == feed(count, [])


def test_byte_by_byte() -> None:
    assert feed(12, list(range(10_000))) == feed(12, [])
