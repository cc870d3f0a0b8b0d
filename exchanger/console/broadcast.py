"""Turns new decisions into messages, each of them encoded once, and hands them to whoever watches. Does nothing while nobody does.

Under load it tells a part of what happens and how much it leaves out: nobody reads more. Must not know: WebSockets, or where decisions come
from.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, final

import attrs
import trio

from exchanger.console.encoding import encode
from exchanger.console.feed import KEPT, Entry, Feed
from exchanger.console.items import Items, stamp
from exchanger.console.pace import Pace
from exchanger.console.subscription import Message, Subscription, decisions

MAX_SUBSCRIBERS: Final = 32
"""Open pages of a team, some of them twice. Each costs about as much as another."""
GATHER_S: Final = 0.02
"""Seconds from a decision to its message while it is quiet: what belongs together comes in one."""
INTERVAL_S: Final = 0.25
"""Seconds between two messages under load: a list that changes more often cannot be read."""
MAX_ITEMS: Final = 100
"""Items of a message: some screens full, and as many as come of one burst that somebody makes to look at."""
MAX_ITEMS_UNDER_LOAD: Final = 50
"""Items of a message that follows one from which some were left out: more than anybody takes in within the interval."""
TOTALS_S: Final = 1.0
"""Seconds between two looks at the counters: the resolution of a chart of some minutes."""
_CACHED: Final = 2 * KEPT
"""Encoded items that are kept for newcomers while somebody watches."""


@final
@attrs.frozen
class Totals:
    """What has been counted since the start. ``counts`` are of decisions up to each of ``bounds`` (seconds), and beyond the last."""

    decisions: Mapping[str, int]
    exchanges: int
    coalesced: int
    bounds: tuple[float, ...]
    counts: tuple[int, ...]


@final
@attrs.frozen
class BroadcastStatistics:
    """``subscribers`` are there now; ``messages`` and ``items`` were encoded and ``sampled`` items left out, since the start."""

    subscribers: int
    messages: int
    items: int
    sampled: int


@final
@attrs.define(eq=False)
class Broadcast:
    """Serves subscribers from ``feed``. ``on_fault`` learns of what cannot be told, which is left out; it must neither block nor raise."""

    _feed: Feed
    _items: Items
    _totals: Callable[[], Totals]
    _version: str
    _clock: Callable[[], float]
    _on_fault: Callable[[BaseException], None]
    _subscribers: set[Subscription] = attrs.field(factory=set, init=False, repr=False)
    _watched: trio.Event = attrs.field(factory=trio.Event, init=False)
    _taken: int = attrs.field(default=0, init=False)
    _loaded: bool = attrs.field(default=False, init=False)
    _encoded: dict[int, str] = attrs.field(factory=dict, init=False, repr=False)
    _statistics: BroadcastStatistics = attrs.field(default=BroadcastStatistics(0, 0, 0, 0), init=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_decisions)
            nursery.start_soon(self._tell_totals)
            task_status.started()

    @contextmanager
    def subscribed(self) -> Iterator[Subscription | None]:
        """While open, have messages put into a subscription; ``None`` when there are as many as there may be."""
        if len(self._subscribers) >= MAX_SUBSCRIBERS:
            yield None
            return
        if not self._subscribers:
            self._taken = self._feed.sequence  # what happened while nobody watched is told by the newcomer's first message alone
        subscription = Subscription(self._feed.latest(self._taken))
        self._subscribers.add(subscription)
        self._watched.set()
        try:
            yield subscription
        finally:
            self._subscribers.discard(subscription)
            if not self._subscribers:
                self._watched = trio.Event()
                self._encoded.clear()

    async def hello(self, subscription: Subscription) -> str:
        """Return the first message for ``subscription``: the newest decisions until it came."""
        items, _ = await self._encode(subscription.newest)
        head = encode({"type": "hello", "version": self._version, "time": stamp(self._clock()), "revision": self._feed.revision}).decode()
        return f'{head[:-1]},"items":[{",".join(items)}]}}'

    def statistics(self) -> BroadcastStatistics:
        """Tell who watches, and what was told."""
        return attrs.evolve(self._statistics, subscribers=len(self._subscribers))

    async def _tell_decisions(self) -> None:
        while True:
            await self._watched.wait()
            await self._feed.beyond(self._taken)
            await trio.sleep(GATHER_S)
            await self._deliver()
            await trio.sleep(INTERVAL_S - GATHER_S)

    async def _tell_totals(self) -> None:
        while True:
            await self._watched.wait()
            try:
                message = Message(encode(self._counted()).decode())
            except Exception as fault:  # noqa: BLE001 - what decides goes on, whatever becomes of those who watch
                self._on_fault(fault)
            else:
                for subscription in self._subscribers:
                    subscription.put(message)
            await trio.sleep(TOTALS_S)

    async def _deliver(self) -> None:
        batch = self._feed.since(self._taken, MAX_ITEMS_UNDER_LOAD if self._loaded else MAX_ITEMS)
        self._taken, self._loaded = batch.upto, batch.lost > 0
        audience = tuple(self._subscribers)  # whoever comes from here on has these entries in the first message
        if not (batch.entries and audience):
            return
        texts, failed = await self._encode(batch.entries)
        message = decisions(texts, batch.lost + failed)
        known = self._statistics
        self._statistics = BroadcastStatistics(0, known.messages + 1, known.items + message.items, known.sampled + message.lost)
        for subscription in audience:
            subscription.put(message)

    async def _encode(self, entries: tuple[Entry, ...]) -> tuple[list[str], int]:
        """Return ``entries`` as JSON, in slices, each of them made once, and how many could not be made; of these the last is reported."""
        pace, encoded, texts = Pace(), self._encoded, list[str]()
        failure: Exception | None = None
        for entry in entries:
            text = encoded.get(entry[0])
            if text is None:
                try:
                    text = encode(self._items.item(entry)).decode()
                except Exception as fault:  # noqa: BLE001 - what decides goes on, whatever becomes of those who watch
                    failure = fault
                    continue
                if self._subscribers:
                    encoded[entry[0]] = text
                    if len(encoded) > _CACHED:
                        del encoded[next(iter(encoded))]  # the first that was made
            texts.append(text)
            await pace.step()
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
            "latency": {"bounds": totals.bounds, "counts": totals.counts},
            "subscribers": len(self._subscribers),
        }
