"""Law: whatever a token endpoint sends over HTTP/2, nothing raises, and each request ends once, as one that was made."""

from hypothesis import given
from hypothesis import strategies as st

from exchanger.net.http2.limits import FREE_BODY_BYTES, MAX_HELD_BYTES, MAX_STREAMS
from tests.property.strategies_grpc import Damage, chunks, cuts, damages
from tests.property.strategies_http2 import World, conversation, frames


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
        assert client._held <= MAX_HELD_BYTES + MAX_STREAMS * FREE_BODY_BYTES
    client.lose()
    pair.take(client.events())
    assert sorted([*pair.answers, *pair.lost, *world.cancelled]) == sorted(world.asked)
    assert set(pair.heads) <= set(world.asked)
    assert not any(lost.seen and lost.safe for lost in pair.lost.values())
    assert (client.closed, client.waiting, client._held, client._interim, client.data_to_send()) == (True, 0, 0, {}, b"")


@given(st.integers(1, 12), damages, cuts, st.lists(st.integers(0, 8), max_size=3))
def test_damaged_conversations(count: int, harm: list[Damage], places: list[int], gone: list[int]) -> None:
    world, data = conversation(count)
    for damage in harm:
        data = damage.apply(data)
    survive(world, chunks(data, places), gone)


@given(st.integers(1, 6), st.lists(frames, max_size=20), cuts, st.lists(st.integers(0, 8), max_size=3))
def test_any_frames(count: int, sent: list[bytes], places: list[int], gone: list[int]) -> None:
    world, data = conversation(count)
    survive(world, chunks(data[: len(data) // 2] + b"".join(sent), places), gone)


def test_the_witness_of_these_laws() -> None:
    """The same machinery without damage does bring answers, so that the laws above speak of something."""
    world, data = conversation(10)
    survive(world, (data,), [])
    assert len(world.pair.answers) == 8
