import json

import trio
import trio.testing

from exchanger.console.subscription import QUEUE, Message, Subscription, decisions
from tests.console.running import PATIENCE_S


def items(*numbers: int, lost: int = 0) -> Message:
    return decisions([f'{{"seq":{number}}}' for number in numbers], lost)


async def taken(subscription: Subscription) -> dict[str, object]:
    with trio.fail_after(PATIENCE_S):
        message: dict[str, object] = json.loads(await subscription.take())
    return message


async def test_messages_come_in_order() -> None:
    subscription = Subscription(())
    subscription.put(items(1, 2, lost=3))
    subscription.put(items(6))

    assert await taken(subscription) == {"type": "decisions", "lost": 3, "items": [{"seq": 1}, {"seq": 2}]}
    assert await taken(subscription) == {"type": "decisions", "lost": 0, "items": [{"seq": 6}]}


async def test_whoever_has_nothing_waits() -> None:
    subscription, got = Subscription(()), list[object]()

    async def take() -> None:
        got.append(await taken(subscription))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await trio.testing.wait_all_tasks_blocked()
        assert got == []
        subscription.put(items(1))
    assert len(got) == 1


async def test_the_oldest_gives_way_and_is_counted_in_the_next_one() -> None:
    subscription = Subscription(())
    for number in range(QUEUE + 2):
        subscription.put(items(number, lost=1))

    assert subscription.statistics().lost == 4
    assert await taken(subscription) == {"type": "decisions", "lost": 5, "items": [{"seq": 2}]}
    assert await taken(subscription) == {"type": "decisions", "lost": 1, "items": [{"seq": 3}]}


async def test_a_loss_is_kept_for_the_next_message_of_items() -> None:
    subscription = Subscription(())
    for number in range(2):
        subscription.put(items(number))
    for _ in range(QUEUE - 1):
        subscription.put(Message('{"type":"totals"}'))
    subscription.put(items(9))

    assert [(await taken(subscription))["type"] for _ in range(QUEUE - 1)] == ["totals"] * (QUEUE - 1)
    assert await taken(subscription) == {"type": "decisions", "lost": 2, "items": [{"seq": 9}]}


def test_one_text_is_shared_by_all() -> None:
    message = items(1)
    first, second = Subscription(()), Subscription(())
    first.put(message)
    second.put(message)

    assert first._queue[0].text is second._queue[0].text
