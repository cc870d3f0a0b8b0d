"""Law: however requests, answers, resets, GOAWAY, limits and cancellations interleave, every request over HTTP/2 ends once, as its own.

The endpoint answers each request with that request's body. Whatever order it chooses, however little the windows let through and wherever
reads are cut, no request gets another's answer, none is reported twice, none is left, and only what the endpoint never touched is called
safe to send again.
"""

from hypothesis import event, given, settings

from tests.examples import examples
from tests.property.strategies_http2 import Step, carried_out, steps


@settings(max_examples=examples(400))
@given(steps)
def test_every_request_ends_once_and_as_its_own(plan: list[Step]) -> None:
    world = carried_out(plan)
    pair, client = world.pair, world.pair.client
    ended = [*pair.answers, *pair.lost]
    assert sorted([*ended, *world.cancelled]) == sorted(world.asked)
    for stream, answered in pair.answers.items():
        assert answered.answer.body in {None, world.asked[stream]}
        assert stream in world.headed
    for stream, lost in pair.lost.items():
        assert not (lost.safe and stream in world.touched)
        assert not (lost.seen and lost.safe)
    assert (client.closed, client.waiting, client.room, client._held, client._interim) == (True, 0, 0, 0, {})
    assert client.data_to_send() == b""
    event(f"answered: {any(answered.answer.body is not None for answered in pair.answers.values())}")
    event(f"safe to send again: {any(lost.safe for lost in pair.lost.values())}")
    event(f"cancelled: {bool(world.cancelled)}")
