"""Follows one resource of an API server: lists it, watches it, lists it afresh where the watch cannot go on, until cancelled.

The measure is client-go's reflector (https://github.com/kubernetes/client-go/blob/master/tools/cache/reflector.go). What is different:

- Lists are always consistent, never "as fresh as the server likes" (see ``listing``).
- An event that cannot come after what is known is not applied, and leads to a new list (see ``reflection``).
- A watch that breaks goes on from the last version, without a new list, and without a wait when it had gone on for some seconds. Since a
  break may have been the restart of a server whose store was restored, the newest version is asked for first (a list of one object):
  when it is lower than the one that is known, the watch would be silent for ever.
- Changes are followed when the server has taken the watch, not when it has been asked for one.
- A watch that was taken and says nothing for longer than a bookmark takes is not trusted: something may hold its events back, although
  the server answers everything else. All objects are listed at once, and watches are asked for half a minute each, whose ends show what
  bookmarks do not. All objects are compared every ten minutes or so in any case. That finds what no version shows: a restored store that
  was written to until its version was higher than the one known, or single events that were lost on the way.
- While what is known is too old to go by, attempts are made every few seconds, whatever the back-off says.
- A lost place in the history has a back-off of its own, so that the list after an outage is not as late as requests had become in it.

One request at a time, in one task: no list races with the events of a watch. Must not know: threads, the client library, or what objects
are for.
"""

import math
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Final, Generic, TypeVar, assert_never, final

import attrs
import trio

from exchanger.kube.list_watch import ApiFailure, Bookmark, Deleted, FailureKind, ListWatch, Opened, Page, Put, WatchEvent
from exchanger.kube.listing import gather_initial, list_all
from exchanger.kube.pace import Pace
from exchanger.kube.patience import Patience
from exchanger.kube.recovery import MAX_SERVER_ERRORS, Attempt, Setback, after_failure
from exchanger.kube.reflection import Complete, Effect, Reflection, older
from exchanger.kube.reflector_settings import ReflectorSettings
from exchanger.kube.signs import Signs
from exchanger.kube.sink import ReflectorObserver, ReflectorStatistics, Sink

__all__ = ["Reflector", "ReflectorObserver", "ReflectorSettings", "ReflectorStatistics", "Sink"]

T = TypeVar("T")

_CUT: Final = frozenset({FailureKind.TIMEOUT, FailureKind.UNREACHABLE})
"""How a watch ends that was silent for long, or whose connection something has ended."""
ENOUGH: Final = 0.8
"""The part of the time that a watch was asked for after which its end is in good order, where that is less than ``settled``."""
_NOT_TAKEN: Final = ApiFailure(FailureKind.TIMEOUT, message="the server has not taken the watch")


@final
@attrs.define(eq=False)
class Reflector(Generic[T]):
    """Keeps ``sink`` equal to what ``list_watch`` lists. One task runs it, once."""

    list_watch: ListWatch[T]
    sink: Sink[T]
    observer: ReflectorObserver
    settings: ReflectorSettings = attrs.field(factory=ReflectorSettings)
    random: Random = attrs.field(factory=Random)
    _known: Reflection[T] = attrs.field(factory=Reflection, init=False)
    _pace: Pace = attrs.field(init=False)
    _state: Attempt = attrs.field(default=Attempt.LIST, init=False)
    _waiting: bool = attrs.field(default=False, init=False)
    _connected: bool = attrs.field(default=False, init=False)
    _signs: Signs = attrs.field(init=False)
    _compare_at: float = attrs.field(default=math.inf, init=False)
    _streams: bool = attrs.field(default=True, init=False)
    """Whether the server is thought to offer initial events; once it did not, it is not asked again."""
    _stream_next: bool = attrs.field(default=True, init=False)
    """Whether the next list is asked for as initial events; after each failure it is the other way that gets its chance."""
    _server_errors: int = attrs.field(default=0, init=False)
    _lists: int = attrs.field(default=0, init=False)
    _comparisons: int = attrs.field(default=0, init=False)
    _probes: int = attrs.field(default=0, init=False)
    _watches: int = attrs.field(default=0, init=False)
    _events: int = attrs.field(default=0, init=False)
    _failures: int = attrs.field(default=0, init=False)
    _ready: Callable[[], None] | None = attrs.field(default=None, init=False)
    _taken: bool = attrs.field(default=False, init=False)
    """Whether the server has taken the present watch."""
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    def __attrs_post_init__(self) -> None:
        self._signs = Signs(self.settings)
        self._pace = Pace(self.settings, self.random)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the resource until cancelled; ``started()`` when the first complete state was handed to the sink.

        No failure of the server ends it. The wait for the first state has no bound but the caller's: there is nothing to go on without it.
        """
        self._ready = task_status.started
        attempt = Attempt.LIST
        while True:
            await trio.lowlevel.checkpoint_if_cancelled()
            if attempt is not Attempt.LIST and trio.current_time() >= self._compare_at:
                attempt = Attempt.COMPARE
            self._state = attempt
            outcome: Attempt | Setback = Attempt.PROBE
            with trio.CancelScope() as self._scope:
                outcome = await self._make(attempt)
            attempt = await self._set_back(outcome) if isinstance(outcome, Setback) else outcome

    def hurry(self, hurried: bool) -> None:  # noqa: FBT001 - the one thing there is to set
        """Attempt again every few seconds from now on, as somebody waits; or leave it to the back-off again."""
        self._pace.hurry(hurried)
        if hurried and self._state is not Attempt.LIST and not self._connected:
            self._scope.cancel()  # it may wait for something that was lost on the way; a probe is soon made anew

    def statistics(self) -> ReflectorStatistics:
        """Return what is known of the reflector at this moment."""
        return ReflectorStatistics(
            state=self._state,
            waiting=self._waiting,
            resource_version=self._known.version,
            objects=len(self._known),
            lists=self._lists,
            comparisons=self._comparisons,
            probes=self._probes,
            watches=self._watches,
            events=self._events,
            failures=self._failures,
            last_contact=self._signs.last,
            connected=self._connected,
            doubted=self._signs.doubted,
        )

    async def _make(self, attempt: Attempt) -> Attempt | Setback:
        """Make one attempt; return the next, which needs no wait, or why there must be one."""
        match attempt:
            case Attempt.LIST:
                return await (self._stream() if self._streams and self._stream_next else self._list())
            case Attempt.WATCH:
                return await self._watch()
            case Attempt.PROBE:
                return await self._probe()
            case Attempt.COMPARE:
                return await self._compare()
            case _:
                assert_never(attempt)

    async def _set_back(self, setback: Setback) -> Attempt:
        """Tell of a failure and wait; return what to attempt then."""
        wait = self._pace.failed(setback, trio.current_time())
        self._failures += 1
        self._state = setback.next
        if wait > 0.0:
            self._set_connected(False)
        self.observer.failed(self.list_watch.name, setback.failure, wait)
        self._waiting = True
        try:
            await self._pace.sleep(wait)
        finally:
            self._waiting = False
        return setback.next

    # Attempts

    async def _list(self) -> Attempt | Setback:
        complete = await list_all(self.list_watch, self.settings.list_bounds)
        if isinstance(complete, ApiFailure):
            self._stream_next = True
            return after_failure(Attempt.LIST, complete)
        self._replace(complete)
        return Attempt.WATCH

    async def _stream(self) -> Attempt | Setback:
        """Take the present objects out of the beginning of a watch, and go on with it."""
        settings = self.settings
        began = trio.current_time()
        by_ends = self._signs.by_ends
        timeout = settings.list_bounds.timeout if by_ends else self._watch_timeout()
        synced = False
        patience = Patience(settings.initial_silence, began + settings.list_bounds.timeout)
        self._taken = False

        def heard() -> None:
            self._taken = True
            patience.heard()

        with patience.scope:
            async with self.list_watch.watch(resource_version="", timeout=timeout, initial_events=True) as events:
                complete = await gather_initial(events, settings.list_bounds, heard)
                if isinstance(complete, Complete):
                    synced = True
                    self._replace(complete)
                    if by_ends:
                        return Attempt.WATCH  # this one is too long for that, as the objects had to arrive first
                    self._signs.taken(trio.current_time())
                    patience.begin(self._signs.silence, min(began + timeout + settings.watch_margin, self._compare_at))
                    return await self._follow(events, patience, began, timeout)
                return self._not_streamed(complete)
        if synced:
            return self._overdue(patience)
        if not self._taken:
            return self._not_streamed(_NOT_TAKEN)
        self._streams = False  # the end of the initial objects never came; it is asked for once, and not at each new list
        return Attempt.LIST

    def _not_streamed(self, failure: ApiFailure | None) -> Attempt | Setback:
        if failure is not None and failure.kind is FailureKind.UNSUPPORTED:
            self._streams = False
            return Attempt.LIST
        # Whatever it was, the other way may do better: progress is worth more than the cheaper request.
        self._stream_next = False
        cut = ApiFailure(FailureKind.SERVER_ERROR, message="the server ended the watch before the first state was complete")
        return after_failure(Attempt.LIST, failure or cut)

    async def _watch(self) -> Attempt | Setback:
        """Follow changes from the version that is known."""
        settings = self.settings
        began = trio.current_time()
        timeout = self._watch_timeout()
        patience = Patience(settings.answer, began + timeout + settings.watch_margin)
        self._taken = False
        with patience.scope:
            async with (
                self.list_watch.watch(resource_version=self._known.version, timeout=timeout) as events,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(self._doubt)
                outcome = await self._follow(events, patience, began, timeout)
                nursery.cancel_scope.cancel()
            return outcome
        if not self._taken:
            return after_failure(Attempt.WATCH, _NOT_TAKEN)
        return self._overdue(patience)

    async def _doubt(self) -> None:
        """Say that changes are not followed when the server takes long to take a watch, or to answer before there is one."""
        await trio.sleep(self.settings.accepted)
        if not self._taken:
            self._set_connected(False)

    async def _follow(self, events: AsyncIterator[WatchEvent[T]], patience: Patience, began: float, asked: float) -> Attempt | Setback:
        """Take over the events of a watch, which was asked for ``asked`` seconds, until it ends."""
        try:
            return await self._take_over(events, patience, began, asked)
        finally:
            self._signs.left(trio.current_time())

    async def _take_over(self, events: AsyncIterator[WatchEvent[T]], patience: Patience, began: float, asked: float) -> Attempt | Setback:
        async for event in events:
            if isinstance(event, ApiFailure):
                return self._broken(event, trio.current_time() - began)
            if isinstance(event, Opened):
                self._taken = True
                followed = self._signs.taken(trio.current_time())
                patience.begin(self._signs.silence, min(patience.until, self._compare_at))
                if followed:
                    self._set_connected(True)
                continue
            before = self._known.version
            match self._known.apply(event):
                case Effect.NEWS:
                    if isinstance(event, Put):
                        self.sink.put(event.item)
                    elif isinstance(event, Deleted):
                        self.sink.deleted(event.key)
                case Effect.NOTHING:
                    pass
                case Effect.BREAK:
                    return after_failure(Attempt.WATCH, _discontinuity(event, before))
                case effect:
                    assert_never(effect)
            self._events += 1
            self._server_errors = 0
            self._signs.spoken(trio.current_time())
            patience.begin(self._signs.silence, patience.until)
            self._set_connected(True)
        lived = trio.current_time() - began
        if lived >= min(self.settings.settled, ENOUGH * asked):
            self._signs.ended(trio.current_time())
            return Attempt.WATCH
        short = ApiFailure(FailureKind.SERVER_ERROR, message=f"very short watch: the server ended it after {lived:.1f} s")
        return Setback(short, Attempt.WATCH, lenient=True)

    def _overdue(self, patience: Patience) -> Attempt:
        """Return what to do when the watch was left: it was silent for too long, or the server did not end it."""
        if not patience.is_silence:
            return Attempt.PROBE  # the comparison, when that is due, takes its place
        self._set_connected(False)
        quiet = self._signs.quiet
        if self._signs.fell_silent():
            self.observer.silent(self.list_watch.name, quiet)
        return Attempt.COMPARE

    def _broken(self, failure: ApiFailure, lived: float) -> Attempt | Setback:
        if self._taken and lived >= self.settings.settled and failure.kind in _CUT:
            return Attempt.PROBE  # which is no failure yet: see whether the server is there
        setback = after_failure(Attempt.WATCH, failure)
        if failure.kind is FailureKind.SERVER_ERROR:
            self._server_errors += 1
            if self._server_errors >= MAX_SERVER_ERRORS:
                self._server_errors = 0
                return attrs.evolve(setback, next=Attempt.LIST)
        return setback

    async def _probe(self) -> Attempt | Setback:
        """Ask for the newest version, which is never lower than the one known unless the store went back."""
        self._probes += 1
        self._taken = False
        timeout = self.settings.hurried_probe if self._pace.hurried else self.settings.probe_timeout
        page: Page[T] | ApiFailure = ApiFailure(FailureKind.TIMEOUT, message=f"no answer within {timeout:.0f} s")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._doubt)
            with trio.move_on_after(timeout):
                page = await self.list_watch.list_page(limit=1)
            nursery.cancel_scope.cancel()
        if isinstance(page, ApiFailure):
            return after_failure(Attempt.PROBE, page)
        if older(page.resource_version, self._known.version):
            self.observer.went_back(self.list_watch.name, self._known.version, page.resource_version)
            return Attempt.LIST
        return Attempt.WATCH

    async def _compare(self) -> Attempt | Setback:
        """List everything; where it is not what is known, it takes its place."""
        complete = await list_all(self.list_watch, self.settings.list_bounds)
        if isinstance(complete, ApiFailure):
            self._plan_comparison()
            return after_failure(Attempt.COMPARE, complete)
        self._comparisons += 1
        if self._known.agrees(complete):
            self._known.advance(complete.resource_version)
            self._synced()
            return Attempt.WATCH
        if older(complete.resource_version, self._known.version):
            self.observer.went_back(self.list_watch.name, self._known.version, complete.resource_version)
        self._replace(complete)
        return Attempt.WATCH

    # What comes of them

    def _replace(self, complete: Complete[T]) -> None:
        self.sink.replaced(self._known.replace(complete))
        self._synced()
        self.observer.listed(self.list_watch.name, len(complete.items), complete.resource_version)
        if not self._signs.doubted:
            self._set_connected(True)
        if self._ready is not None:
            ready, self._ready = self._ready, None
            ready()

    def _synced(self) -> None:
        self._lists += 1
        self._server_errors = 0
        self._stream_next = True
        self._signs.listed(trio.current_time())
        self._plan_comparison()

    def _set_connected(self, connected: bool) -> None:  # noqa: FBT001 - the one thing there is to set
        if connected is not self._connected:
            self._connected = connected
            self.observer.connected(self.list_watch.name, connected)

    def _plan_comparison(self) -> None:
        spread = self.settings.compare * self.settings.compare_spread
        self._compare_at = trio.current_time() + self.settings.compare + self.random.uniform(-spread, spread)

    def _watch_timeout(self) -> float:
        self._watches += 1
        hurried = self._pace.hurried and self._signs.doubted
        return self.random.uniform(*(self.settings.hurried_watch if hurried else self._signs.lengths))


def _discontinuity(event: Put[T] | Deleted | Bookmark, known: str) -> ApiFailure:
    version = event.item.resource_version if isinstance(event, Put) else event.resource_version
    return ApiFailure(FailureKind.GONE, message=f"the watch went back from version {known[:40]} to {version[:40]!r}")
