"""Carries out what the machine says: worker threads that read, build and free, and one timer.

Must not know: where texts come from, or who reads the policy.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, final

import attrs
import trio

from exchanger.net.network import SYSTEM, RunSync
from exchanger.policy.namespace import Changes
from exchanger.policy.selection import Change
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.publish.background import Background
from exchanger.sources.publish.build import Build, Read, Regrant, Revoke
from exchanger.sources.publish.discard import discard
from exchanger.sources.publish.machine import Action, Close, HoldBack, Machine, Publish, SetTimer

T = TypeVar("T")


@final
@attrs.define(eq=False)
class Runner:
    """Feeds report to the ``machine``, and let ``do`` carry out what it returns, in the event loop's thread.

    ``on_publish`` gets each version that is to decide requests, and whether it ends a time in which all were refused; ``on_close`` is told
    when such a time begins, and until when the policy was known; ``on_hold_back`` whether changes that would loosen wait for a feed. None
    may block or raise. ``run_sync`` runs a function in a thread, and ``cpu`` returns the seconds of CPU that a thread has used.
    """

    machine: Machine
    on_publish: Callable[[Change, bool], None]
    on_close: Callable[[float], None] = lambda _known_until: None
    on_hold_back: Callable[[bool], None] = lambda _held: None
    run_sync: RunSync = SYSTEM.run_sync
    cpu: Callable[[], float] = SYSTEM.cpu
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)
    _timer: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    # What is to be done in threads once it runs.
    _early: list[Read | Build | Revoke | Regrant] = attrs.field(factory=list, init=False, repr=False)
    # The versions that the machine has used last, of which those that it has replaced are to be freed.
    _in_use: list[PolicySnapshot] = attrs.field(factory=list, init=False, repr=False)
    _background: Background = attrs.field(factory=Background, init=False)
    _first: trio.Event = attrs.field(factory=trio.Event, init=False)
    # A thread that outlives a cancellation ends before another one of its kind begins.
    limiters: dict[str, trio.CapacityLimiter] = attrs.field(factory=dict, init=False)

    async def run(self) -> None:
        """Do what feeds make necessary, until cancelled."""
        with self._background.watched():
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._begin)
                early, self._early = self._early, []
                self.do(early)
                await self._tick()

    def do(self, actions: Iterable[Action]) -> None:
        """Carry out ``actions``: all that a method of the machine returned."""
        at = math.inf
        for action in actions:
            match action:
                case Read() | Build() | Revoke() | Regrant():
                    if self._nursery is None:
                        self._early.append(action)
                    else:
                        self._nursery.start_soon(self._work, action)
                case Publish(change, reopens):
                    self._first.set()
                    self.on_publish(change, reopens)
                case Close(known_until):
                    self.on_close(known_until)
                case HoldBack(held):
                    self.on_hold_back(held)
                case SetTimer():
                    at = action.at
        self._timer.deadline = at

    async def _tick(self) -> None:
        while True:
            with self._timer:
                await trio.sleep_forever()
            self._timer = trio.CancelScope()
            self.do(self.machine.tick(trio.current_time()))

    async def _work(self, job: Read | Build | Revoke | Regrant) -> None:
        match job:
            case Read():
                documents, costs = await self._in_thread(job.lane.value, job.run, self.cpu)
                self.do(self.machine.read(job.lane, documents, trio.current_time(), costs))
            case Revoke():
                revocation = await self._in_thread("grants", job.run)
                self.do(self.machine.revoked(revocation, trio.current_time()))
            case Regrant():
                newest, settled = await self._in_thread("grants", job.run)
                self.do(self.machine.regranted(newest, settled, trio.current_time()))
                # Newer grants may have come, so that nothing else refers to them.
                unused = [(one, self.machine.newest) for one in (newest, settled)]
                del newest, settled, job
                await self._in_thread("free", discard, unused, [])
            case Build():
                built = await self._in_thread("build", job.run)
                self.do(self.machine.built(built, trio.current_time()))
                read = [job.documents]
                del built, job
                await self._free(read)

    async def _free(self, documents: list[Changes]) -> None:
        """Free the versions that are no longer used, and what is not kept of ``documents``. Nothing else may refer to these."""
        newest, settled = self.machine.newest, self.machine.settled
        replaced = [(one, newest) for one in self._in_use if one is not newest and one is not settled]
        self._in_use = [newest] if settled is newest else [newest, settled]
        del newest, settled
        await self._in_thread("free", discard, replaced, documents)

    async def _begin(self) -> None:
        with self._background.at_work():
            await self._first.wait()

    async def _in_thread(self, kind: str, function: Callable[..., T], *args: Any) -> T:
        # Abandoned when cancelled: it only reads, and its result is dropped.
        limiter = self.limiters.setdefault(kind, trio.CapacityLimiter(1))
        with self._background.at_work():
            return await self.run_sync(function, *args, abandon_on_cancel=True, limiter=limiter)
