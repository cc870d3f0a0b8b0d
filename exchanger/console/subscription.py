"""What one subscriber has still to be sent: a few messages, of which the oldest gives way, and how many items it missed thereby.

Must not know: sockets, or what is in a message.
"""

from collections import deque
from typing import Final, final

import attrs
import trio

from exchanger.console.feed import Entry

QUEUE: Final = 8
"""Messages: two seconds' worth under load. A client that is further behind looks at what is past."""


@final
@attrs.frozen
class Message:
    """One text for all subscribers. ``items`` are in it and ``lost`` are not; ``rest`` is where its text goes on after these numbers.

    ``rest`` is 0 in a message that has nothing to do with items.
    """

    text: str = attrs.field(repr=False)
    items: int = 0
    lost: int = 0
    rest: int = 0

    def with_lost(self, more: int) -> str:
        """Return the text for a subscriber that missed ``more`` items besides."""
        return decisions_head(self.lost + more) + self.text[self.rest :]


def decisions_head(lost: int) -> str:
    """Return the beginning of a message of items, up to them."""
    return f'{{"type":"decisions","lost":{lost},"items":['


def decisions(items: list[str], lost: int) -> Message:
    """Return the message of encoded ``items``."""
    head = decisions_head(lost)
    return Message(f"{head}{','.join(items)}]}}", len(items), lost, len(head))


@final
@attrs.frozen
class SubscriptionStatistics:
    """``waiting`` messages, and items ``lost`` that it has not been told of yet."""

    waiting: int
    lost: int


@final
@attrs.define(eq=False)
class Subscription:
    """The queue of one subscriber, which is to be sent ``newest`` before anything else."""

    newest: tuple[Entry, ...] = attrs.field(repr=False)
    _queue: "deque[Message]" = attrs.field(factory=deque, init=False, repr=False)
    _lost: int = attrs.field(default=0, init=False)
    _ready: trio.Event = attrs.field(factory=trio.Event, init=False)

    def put(self, message: Message) -> None:
        """Take ``message``; the oldest gives way to it where there is no room."""
        if len(self._queue) >= QUEUE:
            oldest = self._queue.popleft()
            self._lost += oldest.items + oldest.lost
        self._queue.append(message)
        self._ready.set()

    async def take(self) -> str:
        """Return the text of the next message, when there is one."""
        while not self._queue:
            self._ready = trio.Event()
            await self._ready.wait()
        message = self._queue.popleft()
        if not self._lost or not message.rest:
            return message.text
        lost, self._lost = self._lost, 0
        return message.with_lost(lost)

    def statistics(self) -> SubscriptionStatistics:
        """Tell how far behind it is."""
        return SubscriptionStatistics(len(self._queue), self._lost)
