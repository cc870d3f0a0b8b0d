"""Turns new decisions into messages, encodes each once, and queues them for all subscribers.

Without subscribers it only looks at the counters once a second, so that a new page has charts of the last two minutes at once.

Under load it shows a part of the decisions and how many it leaves out: no one reads more. A subscriber's queue is short; the oldest
message makes room, and the next one counts its items as lost. Must not know: WebSockets, or where decisions come from.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, final

import attrs
import trio

from exchanger.operations.console.decision_json import DecisionJson, stamp
from exchanger.operations.console.feed import KEPT, Entry, Feed
from exchanger.operations.console.issuer_view import IssuerHealth, shown_issuers
from exchanger.operations.console.message import TimeSlice, encode
from exchanger.operations.console.policy_health import PolicyHealth

# Open pages of a team, some of them twice. Each costs about the same.
MAX_SUBSCRIBERS: Final = 32
# Messages waiting for one subscriber: two seconds' worth under load. A client that is further behind shows the past.
QUEUE: Final = 8
# Seconds from a decision to its message while there are few: decisions that belong together are in one message.
GATHER_S: Final = 0.02
# Seconds between two messages under load: a list that changes more often cannot be read.
INTERVAL_S: Final = 0.25
# Items of a message: a few screens full, and as many as a burst that somebody causes to watch it.
MAX_ITEMS: Final = 100
# Items of a message that follows one with omissions: more than a reader takes in within the interval.
MAX_ITEMS_UNDER_LOAD: Final = 50
# Seconds between two readings of the counters: the resolution of a chart of a few minutes.
TOTALS_S: Final = 1.0
# Readings that are kept: the two minutes of a chart, which has one rate less than there are readings. They take about 60 kB.
HISTORY: Final = 121
# Encoded items that are kept for new subscribers while there are others.
_CACHED: Final = 2 * KEPT


@final
@attrs.frozen
class Totals:
    """Counts since the start. ``counts`` are of decisions up to each of ``bounds`` (seconds), and beyond the last.

    ``errors`` are the decisions that the client gets a 5xx for.
    """

    decisions: Mapping[str, int]
    exchanges: int
    coalesced: int
    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    errors: int = 0


@final
@attrs.frozen
class FeedMessage:
    """One text for all subscribers, with ``items`` items and without ``lost``. ``rest`` is where its text continues after that number.

    ``rest`` is 0 in a message that is not about items.
    """

    text: str = attrs.field(repr=False)
    items: int = 0
    lost: int = 0
    rest: int = 0

    def with_lost(self, more: int) -> str:
        """Return the text for a subscriber that missed ``more`` items in addition to these."""
        return _decisions_head(self.lost + more) + self.text[self.rest :]


def _decisions_head(lost: int) -> str:
    """Return the beginning of a message of items, up to them."""
    return f'{{"type":"decisions","lost":{lost},"items":['


def decisions(items: list[str], lost: int) -> FeedMessage:
    """Return the message of encoded ``items``."""
    head = _decisions_head(lost)
    return FeedMessage(f"{head}{','.join(items)}]}}", len(items), lost, len(head))


@final
@attrs.define(eq=False)
class Subscription:
    """The queue of one subscriber, which gets ``newest`` before anything else. ``lost`` items have not been reported to it yet."""

    newest: tuple[Entry, ...] = attrs.field(repr=False)
    queue: "deque[FeedMessage]" = attrs.field(factory=deque, init=False, repr=False)
    lost: int = attrs.field(default=0, init=False)
    _ready: trio.Event = attrs.field(factory=trio.Event, init=False)

    def put(self, message: FeedMessage) -> None:
        """Queue ``message``; without room the oldest makes way."""
        if len(self.queue) >= QUEUE:
            oldest = self.queue.popleft()
            self.lost += oldest.items + oldest.lost
        self.queue.append(message)
        self._ready.set()

    async def take(self) -> str:
        """Return the text of the next message, once there is one."""
        while not self.queue:
            self._ready = trio.Event()
            await self._ready.wait()
        message = self.queue.popleft()
        if not self.lost or not message.rest:
            return message.text
        lost, self.lost = self.lost, 0
        return message.with_lost(lost)


@final
@attrs.define(eq=False)
class Broadcast:
    """Serves subscribers from ``feed``. ``on_fault`` gets what keeps an item from being shown; it must neither block nor raise."""

    _feed: Feed
    _json: DecisionJson
    _totals: Callable[[], Totals]
    _version: str
    _clock: Callable[[], float]
    _on_fault: Callable[[BaseException], None]
    _health: PolicyHealth = attrs.field(factory=PolicyHealth, repr=False)
    _issuers: Callable[[], tuple[IssuerHealth, ...]] = attrs.field(default=tuple, repr=False)
    _history: "deque[str]" = attrs.field(factory=lambda: deque(maxlen=HISTORY), init=False, repr=False)
    _subscribers: dict[Subscription, None] = attrs.field(factory=dict, init=False, repr=False)
    _watched: trio.Event = attrs.field(factory=trio.Event, init=False)
    _taken: int = attrs.field(default=0, init=False)
    _loaded: bool = attrs.field(default=False, init=False)
    _encoded: dict[int, str] = attrs.field(factory=dict, init=False, repr=False)
    sampled: int = attrs.field(default=0, init=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_decisions)
            nursery.start_soon(self._tell_totals)
            task_status.started()

    @contextmanager
    def subscribed(self) -> Iterator[Subscription | None]:
        """While open, subscribe; ``None`` when there are as many subscribers as there may be."""
        if len(self._subscribers) >= MAX_SUBSCRIBERS:
            yield None
            return
        if not self._subscribers:
            self._taken = self._feed.sequence  # the first message has what happened before
        subscription = Subscription(self._feed.latest(self._taken))
        self._subscribers[subscription] = None
        self._watched.set()
        try:
            yield subscription
        finally:
            self._subscribers.pop(subscription, None)
            if not self._subscribers:
                self._watched = trio.Event()
                self._encoded.clear()

    async def hello(self, subscription: Subscription) -> str:
        """Return the first message for ``subscription``: the newest decisions before it, and the counters of the last two minutes."""
        items, _ = await self._encode(subscription.newest)
        head = encode({"type": "hello", "version": self._version, "time": stamp(self._clock()), "revision": self._feed.revision}).decode()
        return f'{head[:-1]},"history":[{",".join(self._history)}],"items":[{",".join(items)}]}}'

    @property
    def subscribers(self) -> int:
        """How many there are now."""
        return len(self._subscribers)

    async def _tell_decisions(self) -> None:
        while True:
            await self._watched.wait()
            await self._feed.beyond(self._taken)
            await trio.sleep(GATHER_S)
            await self._deliver()
            await trio.sleep(INTERVAL_S - GATHER_S)

    async def _tell_totals(self) -> None:
        while True:
            try:
                if self._subscribers:
                    await self._health.count_conflicts()
                message = FeedMessage(encode(self._counted()).decode())
            except Exception as fault:  # noqa: BLE001 - decisions must go on, whatever happens to the console
                self._on_fault(fault)
            else:
                self._history.append(message.text)
                for subscription in self._subscribers:
                    subscription.put(message)
            if self._subscribers:
                await trio.sleep(TOTALS_S)
            else:  # the first subscriber does not wait
                with trio.move_on_after(TOTALS_S):
                    await self._watched.wait()

    async def _deliver(self) -> None:
        batch = self._feed.since(self._taken, MAX_ITEMS_UNDER_LOAD if self._loaded else MAX_ITEMS)
        self._taken, self._loaded = batch.upto, batch.lost > 0
        audience = tuple(self._subscribers)  # later subscribers get these entries in their first message
        if not (batch.entries and audience):
            return
        texts, failed = await self._encode(batch.entries)
        message = decisions(texts, batch.lost + failed)
        self.sampled += message.lost
        for subscription in audience:
            subscription.put(message)

    async def _encode(self, entries: tuple[Entry, ...]) -> tuple[list[str], int]:
        """Return ``entries`` as JSON, each encoded once, in slices, and how many failed; the last failure is reported."""
        time_slice, encoded, texts = TimeSlice(), self._encoded, list[str]()
        failure: Exception | None = None
        for entry in entries:
            text = encoded.get(entry[0])
            if text is None:
                try:
                    text = encode(self._json.item(entry)).decode()
                except Exception as fault:  # noqa: BLE001 - decisions must go on, whatever happens to the console
                    failure = fault
                    continue
                if self._subscribers:
                    encoded[entry[0]] = text
                    if len(encoded) > _CACHED:
                        del encoded[next(iter(encoded))]  # the oldest
            texts.append(text)
            await time_slice.step()
        if failure is not None:
            self._on_fault(failure)
        return texts, len(entries) - len(texts)

    def _counted(self) -> dict[str, object]:
        totals = self._totals()
        return {
            "type": "totals",
            "time": round(self._clock() * 1000),
            "revision": self._feed.revision,
            "decisions": dict(totals.decisions),
            "exchanges": totals.exchanges,
            "coalesced": totals.coalesced,
            "errors": totals.errors,
            "latency": {"bounds": totals.bounds, "counts": totals.counts},
            "policy": self._health.shown(),
            "issuers": shown_issuers(self._issuers()),
            "subscribers": len(self._subscribers),
        }
