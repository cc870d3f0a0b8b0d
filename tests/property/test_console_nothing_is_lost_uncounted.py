"""Every decision is told or counted as not told: by the feed's batches, and by a queue that is read at any pace."""

import json

import trio
from hypothesis import given
from hypothesis import strategies as st

from exchanger.console.broadcast import FeedMessage, Subscription, decisions
from exchanger.console.feed import KEPT, KEPT_DENIED, Feed
from tests.console.records import DENIED, UNMATCHED, record

ALLOWED_RECORD, DENIED_RECORD = record(UNMATCHED), record(DENIED)


class TestBatches:
    @given(st.lists(st.lists(st.booleans(), max_size=3 * KEPT), max_size=5), st.integers(1, KEPT_DENIED))
    def test_each_decision_is_in_one_batch_or_counted(self, rounds: list[list[bool]], limit: int) -> None:
        feed, taken = Feed(clock=lambda: 0.0), 0
        for decided in rounds:
            for denied in decided:
                feed.decided(DENIED_RECORD if denied else ALLOWED_RECORD)
            batch = feed.since(taken, limit)
            numbers = [entry[0] for entry in batch.entries]
            assert numbers == sorted(set(numbers))
            assert all(taken < number <= batch.upto for number in numbers)
            assert len(numbers) <= limit
            assert len(numbers) + batch.lost == batch.upto - taken == len(decided)
            told = sum(entry[2] is DENIED_RECORD for entry in batch.entries)
            assert told == min(sum(decided), limit) or len(decided) <= limit
            # What is allowed and told is newer than what is allowed and not told, of as many as are kept.
            allowed = [number for number, entry in zip(numbers, batch.entries, strict=True) if entry[2] is ALLOWED_RECORD]
            newest = [taken + at for at, denied in enumerate(decided[:KEPT], 1) if not denied][-len(allowed) :] if allowed else []
            assert allowed == newest
            taken = batch.upto


class TestAQueue:
    @given(st.lists(st.one_of(st.none(), st.just("totals"), st.tuples(st.integers(0, 5), st.integers(0, 5))), max_size=60))
    def test_what_is_read_and_what_is_lost_is_what_was_put(self, steps: list[str | tuple[int, int] | None]) -> None:
        async def main() -> None:
            subscription, put, got = Subscription(()), 0, 0
            for step in [*steps, *[None] * 10]:
                if step is None:
                    if subscription._queue:
                        message = json.loads(await subscription.take())
                        got += len(message.get("items", ())) + message.get("lost", 0)
                elif isinstance(step, str):
                    subscription.put(FeedMessage('{"type":"totals"}'))
                else:
                    subscription.put(decisions(["{}"] * step[0], step[1]))
                    put += sum(step)
            assert got + subscription.lost == put

        trio.run(main)
