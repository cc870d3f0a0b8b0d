"""Follows one resource of an API server: lists it, watches it, and lists it again if a watch cannot continue, until cancelled.

Modelled on client-go's reflector (https://github.com/kubernetes/client-go/blob/master/tools/cache/reflector.go), with these differences:

- Lists are always consistent (see ``store.list_all``), and an event that cannot follow the known state leads to a new one.
- A watch that breaks after some seconds continues from the last version at once. Since the break may have been the restart of a server with
  a restored store, a probe requests the newest version first (a list of one object): if that were lower than the known one, the watch would
  be silent for ever. After an outage everything is compared: a restored store may have been written to until its version exceeded the known
  one.
- Changes count as followed once the server has accepted the watch, not once it was requested.
- An accepted watch that is silent for longer than a bookmark takes is not trusted: something may hold its events back although the server
  answers everything else. Everything is listed at once, and watches then last half a minute, since their ends show what bookmarks do not.
- Everything is compared about every ten minutes. That finds what no version shows: single lost events.
- While there is no known state, or it is too old to be used, attempts follow every few seconds, whatever the back-off says.
- The back-off is reset once a watch was followed for some seconds, and by progress: after a watch that ends early, but moved the known
  version on, the next one follows at once. After one that ends early and brought nothing, everything is compared, since nothing else shows
  changes.

One request at a time, in one task: no list races with the events of a watch.
"""

import math
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Final, Generic, TypeVar, assert_never, final

import attrs
import trio

from exchanger.net.network import SYSTEM
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind, ListWatch, Opened, Page, ReflectorObserver, WatchEvent
from exchanger.sources.kube.retry import MAX_SERVER_ERRORS, ReflectorStep, Retry, RetryTimer, WatchDeadline, WatchHealth, after_failure
from exchanger.sources.kube.settings import ReflectorSettings
from exchanger.sources.kube.store import Complete, ReflectorStore, discontinuity, gather_initial, list_all, older

T = TypeVar("T")

# How a watch ends that was silent for long, or whose connection was cut.
_CUT: Final = frozenset({FailureKind.TIMEOUT, FailureKind.UNREACHABLE})
# Seconds between watches that end, or are cut, soon after they delivered something: what is queued behind them arrives quickly, and a
# server gets no more than ten requests a second.
PROGRESS_S: Final = 0.1
# How requests fail while there is no server.
_OUTAGE: Final = frozenset({*_CUT, FailureKind.SERVER_ERROR})
# Seconds between two lists because a namespace has room again, and fetching its objects one by one has failed (see ``refetch``): each
# interrupts the watch, so no team may cause more.
REREAD_S: Final = 60.0
# Seconds for fetching them before that list.
FETCHED_S: Final = 10.0
# The part of a watch's requested time after which its end is normal, where that is less than ``settled``.
ENOUGH: Final = 0.8
_NOT_ACCEPTED: Final = ApiFailure(FailureKind.TIMEOUT, message="the server has not accepted the watch")


@final
@attrs.define(eq=False)
class Reflector(Generic[T]):
    """Keeps ``store`` equal to what ``list_watch`` lists. One task runs it, once. ``connected``: changes are followed."""

    list_watch: ListWatch[T]
    observer: ReflectorObserver[T]
    settings: ReflectorSettings = attrs.field(factory=ReflectorSettings)
    random: Random = SYSTEM.random
    connected: bool = attrs.field(default=False, init=False)
    store: ReflectorStore[T] = attrs.field(init=False)
    _pace: RetryTimer = attrs.field(init=False)
    health: WatchHealth = attrs.field(init=False)
    _state: ReflectorStep = attrs.field(default=ReflectorStep.LIST, init=False)
    # When everything is compared next, if nothing has to be fetched again.
    _planned_at: float = attrs.field(default=math.inf, init=False)
    # When something had to be fetched again that had not before, and the earliest comparison for that.
    _lacking_since: float = attrs.field(default=-math.inf, init=False)
    _reread_from: float = attrs.field(default=-math.inf, init=False)
    # Whether the server may offer initial events; once it did not, they are not requested again.
    _streams: bool = attrs.field(default=True, init=False)
    # Whether the next list is requested as initial events; after each failure, the other method is tried.
    _stream_next: bool = attrs.field(default=True, init=False)
    _server_errors: int = attrs.field(default=0, init=False)
    _ready: Callable[[], None] = attrs.field(default=lambda: None, init=False)
    # Whether the server has accepted the present watch.
    _accepted: bool = attrs.field(default=False, init=False)
    # Whether requests failed, as they do while there is no server, since the last complete list.
    _outage: bool = attrs.field(default=False, init=False)
    # From when on the current watch has delivered what was missed before it; never without a watch.
    _caught_up_from: float = attrs.field(default=math.inf, init=False)
    # When the server accepted the current watch.
    _accepted_at: float = attrs.field(default=math.inf, init=False)
    # Until when the known state was the server's, without regard to the current watch.
    _caught_up_until: float = attrs.field(default=-math.inf, init=False)
    _began: float = attrs.field(default=-math.inf, init=False)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    def __attrs_post_init__(self) -> None:
        self.store = ReflectorStore(self.settings.list_bounds.limits)
        self.health = WatchHealth(self.settings)
        self._pace = RetryTimer(self.settings, self.random)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the resource until cancelled; ``started()`` once the store has the first complete state.

        No failure of the server ends it. Only the caller bounds the wait for the first state: nothing can be done without it.
        """
        self._ready = task_status.started
        attempt = ReflectorStep.LIST
        while True:
            await trio.lowlevel.checkpoint_if_cancelled()
            due = trio.current_time() >= self._compare_at
            if (due and attempt is not ReflectorStep.LIST) or (self._outage and attempt is ReflectorStep.WATCH):
                attempt = ReflectorStep.COMPARE
            self._state, self._began = attempt, trio.current_time()
            outcome: ReflectorStep | Retry = ReflectorStep.PROBE
            with trio.CancelScope() as self._scope:
                outcome = await self._make(attempt)
            self._left()
            attempt = await self._wait(outcome) if isinstance(outcome, Retry) else outcome

    def caught_up_until(self, now: float) -> float:
        """Return until when the known state is sure to be the server's: ``now`` while changes are followed and none can be missing.

        A break is behind that at once, however short. A list shows the state of some moment after it began.
        """
        return now if now >= self._caught_up_from else self._caught_up_until

    def retry_now(self) -> None:
        """End the current wait, but not an attempt: a slow one would start again with each feed that connects."""
        self._pace.wake()

    def hurry(self, hurried: bool) -> None:  # noqa: FBT001 - a setter
        """Retry every few seconds from now on, as requests wait; or return to the back-off."""
        self._pace.hurry(hurried)
        if hurried and self._state is not ReflectorStep.LIST and not self.connected:
            self._scope.cancel()  # the answer may have been lost on the way; a new probe is quick

    async def _make(self, attempt: ReflectorStep) -> ReflectorStep | Retry:
        """Make one attempt; return the next, or why to wait before it."""
        match attempt:
            case ReflectorStep.LIST:
                return await (self._stream() if self._streams and self._stream_next else self._list())
            case ReflectorStep.WATCH:
                return await self._watch()
            case ReflectorStep.PROBE:
                return await self._probe()
            case ReflectorStep.COMPARE:
                return await self._compare()
            case _:
                assert_never(attempt)

    async def _wait(self, retry: Retry) -> ReflectorStep:
        """Report a failure and wait; return the next attempt."""
        wait = self._pace.failed(retry, trio.current_time())
        self._state = retry.next
        if wait > 0.0:
            self._set_connected(False)
        self.observer.failed(self.list_watch.name, retry.failure, wait)
        await self._pace.sleep(wait, retry.at_least)
        return retry.next

    def _left(self) -> None:
        """An attempt has ended: no watch is open."""
        now = trio.current_time()
        # One that ends at once may have left behind what was queued, however promptly it came after a list.
        caught_up = self._caught_up_from < math.inf and now >= self._accepted_at + self.settings.caught_up
        if caught_up and self.health.last is not None:
            self._caught_up_until = max(self._caught_up_until, self.health.last)
        self._caught_up_from = self._accepted_at = math.inf
        self.health.left(now)

    async def _list(self) -> ReflectorStep | Retry:
        complete = await list_all(self.list_watch, self.settings.list_bounds)
        if isinstance(complete, ApiFailure):
            self._stream_next = True
            return after_failure(ReflectorStep.LIST, complete)
        self._replace(complete)
        return ReflectorStep.WATCH

    async def _stream(self) -> ReflectorStep | Retry:
        """Take the present objects from the beginning of a watch, and continue with it."""
        settings = self.settings
        began = trio.current_time()
        by_ends = self.health.by_ends
        timeout = settings.list_bounds.timeout if by_ends else self._watch_timeout()
        deadline = WatchDeadline(settings.initial_silence, began + settings.list_bounds.timeout)
        self._accepted = synced = False

        def extend() -> None:
            self._accepted = True
            deadline.extend()

        with deadline.scope:
            async with self.list_watch.watch(resource_version="", timeout=timeout, initial_events=True) as events:
                complete = await gather_initial(events, settings.list_bounds, extend)
                if isinstance(complete, Complete):
                    synced = True
                    self._replace(complete)
                    if by_ends:
                        return ReflectorStep.WATCH  # this one is too long, as the objects had to arrive first
                    self._caught_up_from = self._accepted_at = trio.current_time()
                    self.health.accepted(trio.current_time())
                    deadline.begin(self.health.silence, min(began + timeout + settings.watch_margin, self._compare_at))
                    return await self._follow(events, deadline, began, timeout)
                return self._not_streamed(complete)
        if synced:
            return self._overdue(deadline)
        if not self._accepted:
            return self._not_streamed(_NOT_ACCEPTED)
        self._streams = False  # the end of the initial objects never came; do not ask again
        return ReflectorStep.LIST

    def _not_streamed(self, failure: ApiFailure | None) -> ReflectorStep | Retry:
        if failure is not None and failure.kind is FailureKind.UNSUPPORTED:
            self._streams = False
            return ReflectorStep.LIST
        # Whatever failed, the other kind of request may succeed: progress matters more than the cheaper request.
        self._stream_next = False
        cut = ApiFailure(FailureKind.SERVER_ERROR, message="the server ended the watch before the first state was complete")
        return after_failure(ReflectorStep.LIST, failure or cut)

    async def _watch(self) -> ReflectorStep | Retry:
        """Follow changes from the known version."""
        began, timeout = trio.current_time(), self._watch_timeout()
        deadline = WatchDeadline(self.settings.answer, began + timeout + self.settings.watch_margin)
        self._accepted = False
        with deadline.scope:
            async with (
                self.list_watch.watch(resource_version=self.store.version, timeout=timeout) as events,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(self._report_unaccepted)
                outcome = await self._follow(events, deadline, began, timeout)
                nursery.cancel_scope.cancel()
            return outcome
        if not self._accepted:
            return after_failure(ReflectorStep.WATCH, _NOT_ACCEPTED)
        return self._overdue(deadline)

    async def _report_unaccepted(self) -> None:
        """Report that changes are not followed if the server is slow to accept a watch, or to answer the probe before it."""
        await trio.sleep(self.settings.accepted)
        if not self._accepted:
            self._set_connected(False)

    async def _follow(
        self, events: AsyncIterator[WatchEvent[T]], deadline: WatchDeadline, began: float, asked: float
    ) -> ReflectorStep | Retry:
        """Apply the events of a watch that was requested for ``asked`` seconds, until it ends."""
        first, ends = self.store.version, deadline.until
        async for event in events:
            if isinstance(event, ApiFailure):
                return await self._broken(event, trio.current_time() - began, first)
            if isinstance(event, Opened):
                self._accepted, self._accepted_at = True, trio.current_time()
                followed = self.health.accepted(trio.current_time())
                deadline.begin(self.health.silence, min(ends, self._compare_at))
                if followed:
                    self._set_connected(True)
                if not self.health.doubted:
                    now = trio.current_time()
                    prompt = now <= self._caught_up_until + self.settings.prompt
                    self._caught_up_from = now if prompt else now + self.settings.caught_up
                continue
            before = self.store.version
            if not self.store.to_refetch:
                self._lacking_since = trio.current_time()
            changed = self.store.apply(event)
            if changed is None:
                return after_failure(ReflectorStep.WATCH, discontinuity(event, before))
            if changed:
                self.observer.objects_changed(self.store.items, changed)
            self._server_errors = 0
            self.health.spoken(trio.current_time())
            deadline.begin(self.health.silence, min(ends, self._compare_at))
            self._set_connected(True)
        lived = trio.current_time() - began
        if lived >= min(self.settings.settled, ENOUGH * asked):
            self._pace.succeeded()
            self.health.ended(trio.current_time())
            self._caught_up_until = trio.current_time()  # everything that was held back has arrived with the end
            return ReflectorStep.WATCH
        if self.store.version != first:
            return await self._progressed(ReflectorStep.WATCH)
        short = ApiFailure(FailureKind.SERVER_ERROR, message=f"very short watch: the server ended it after {lived:.1f} s")
        return Retry(short, ReflectorStep.COMPARE, resync=True)

    async def _progressed(self, following: ReflectorStep) -> ReflectorStep:
        """Continue soon after a watch that ended early and moved the known version on."""
        self._left()
        self._pace.succeeded()
        await trio.sleep(PROGRESS_S)
        return following

    def _overdue(self, deadline: WatchDeadline) -> ReflectorStep:
        """Return the attempt after a watch that was silent for too long, or that the server did not end."""
        if not deadline.is_silence:
            return ReflectorStep.PROBE  # or the comparison, if that is due
        self._set_connected(False)
        self.health.left(trio.current_time())
        quiet = self.health.quiet
        if self.health.fell_silent():
            self.observer.silent(self.list_watch.name, quiet)
        return ReflectorStep.COMPARE

    async def _broken(self, failure: ApiFailure, lived: float, first: str) -> ReflectorStep | Retry:
        if self._accepted and lived >= self.settings.settled and failure.kind in _CUT:
            self._pace.succeeded()
            return ReflectorStep.PROBE  # no failure yet: check whether the server responds
        if failure.kind in _CUT and self.store.version != first:
            return await self._progressed(ReflectorStep.PROBE)
        retry = after_failure(ReflectorStep.WATCH, failure)
        self._outage |= failure.kind is FailureKind.UNREACHABLE and not self._accepted
        if failure.kind is FailureKind.SERVER_ERROR:
            self._server_errors += 1
            if self._server_errors >= MAX_SERVER_ERRORS:
                self._server_errors = 0
                return Retry(failure, ReflectorStep.LIST)
        return retry

    async def _probe(self) -> ReflectorStep | Retry:
        """Request the newest version, which is lower than the known one only if the store went back."""
        self._accepted = False
        timeout = self.settings.hurried_probe if self._pace.hurried else self.settings.probe_timeout
        page: Page[T] | ApiFailure = ApiFailure(FailureKind.TIMEOUT, message=f"no answer within {timeout:.0f} s")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._report_unaccepted)
            with trio.move_on_after(timeout):
                page = await self.list_watch.list_page(limit=1)
            nursery.cancel_scope.cancel()
        if isinstance(page, ApiFailure):
            self._outage |= page.kind in _OUTAGE
            return after_failure(ReflectorStep.PROBE, page)
        if older(page.resource_version, self.store.newest):
            self.observer.went_back(self.list_watch.name, self.store.version, page.resource_version)
            return ReflectorStep.LIST
        return ReflectorStep.WATCH

    async def _compare(self) -> ReflectorStep | Retry:
        """List everything, and replace the known state if it differs."""
        complete = await list_all(self.list_watch, self.settings.list_bounds)
        if isinstance(complete, ApiFailure):
            self._plan_comparison()
            self._outage = complete.kind in _OUTAGE  # another refusal may last, and must not delay the watch
            return after_failure(ReflectorStep.COMPARE, complete)
        if await self.store.agrees(complete):
            self.store.version = self.store.newest = complete.resource_version
            self._synced()
            return ReflectorStep.WATCH
        if older(complete.resource_version, self.store.newest):
            self.observer.went_back(self.list_watch.name, self.store.version, complete.resource_version)
        self._replace(complete)
        return ReflectorStep.WATCH

    def _replace(self, complete: Complete[T]) -> None:
        self.store.replace(complete)
        self.observer.objects_changed(self.store.items, None)
        self._synced()
        self.observer.listed(self.list_watch.name, len(complete.items), complete.resource_version)
        if not self.health.doubted:
            self._set_connected(True)
        self._ready()
        self._ready = lambda: None

    def _synced(self) -> None:
        self._server_errors = 0
        self._stream_next = True
        if self._outage:
            self.health.doubted = False  # that explains the silence
        self._outage = False
        self._caught_up_until = self._began
        self.health.listed(trio.current_time())
        self._plan_comparison()

    def _set_connected(self, connected: bool) -> None:  # noqa: FBT001 - a setter
        if connected is not self.connected:
            self.connected = connected
            self.observer.connected(self.list_watch.name, connected)

    def _plan_comparison(self) -> None:
        spread = self.settings.compare * self.settings.compare_spread
        self._planned_at = trio.current_time() + self.settings.compare + self.random.uniform(-spread, spread)
        self._reread_from = trio.current_time() + REREAD_S

    @property
    def _compare_at(self) -> float:
        """The time of the next full comparison."""
        if not self.store.to_refetch:
            return self._planned_at
        return min(self._planned_at, max(self._reread_from, self._lacking_since + FETCHED_S))

    def _watch_timeout(self) -> float:
        hurried = self._pace.hurried and self.health.doubted
        return self.random.uniform(*(self.settings.hurried_watch if hurried else self.health.lengths))
