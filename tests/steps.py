"""Counts the work of each step of the event loop in calls of functions, which do not depend on how fast the machine is."""

import gc
import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Final, final

import attrs
import trio

# Calls in 10 ms, for which the loop may be held: 0.4 µs each, as measured over steps of 1 to 400 ms.
MOST_CALLS: Final = 25_000


@final
@attrs.define(eq=False)
class CountedSteps(trio.abc.Instrument):
    """``most`` is the number of calls in the longest step of each task so far, by the task's name; ``total`` that in all steps."""

    most: dict[str, int] = attrs.field(factory=dict)
    total: int = 0
    _calls: int = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Begin to count."""
        self._calls = 0
        sys.setprofile(self._called)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Keep what was counted."""
        sys.setprofile(None)
        self.total += self._calls
        self.most[task.name] = max(self._calls, self.most.get(task.name, 0))

    def _called(self, _frame: FrameType, event: str, _argument: object) -> None:
        if event in {"call", "c_call"}:
            self._calls += 1


@attrs.define(eq=False)
class Calls:
    """How many functions have been called."""

    count: int = 0


@contextmanager
def counted_calls() -> Generator[Calls]:
    """Count the calls of functions until the block ends."""
    calls = Calls()

    def called(_frame: FrameType, event: str, _argument: object) -> None:
        calls.count += event in {"call", "c_call"}

    sys.setprofile(called)
    try:
        yield calls
    finally:
        sys.setprofile(None)


@contextmanager
def uncounted() -> Generator[None]:
    """Do not count what is done in the block, such as the work of a fake server."""
    profile = sys.getprofile()
    sys.setprofile(None)
    try:
        yield
    finally:
        sys.setprofile(profile)


@contextmanager
def counted_steps() -> Generator[CountedSteps]:
    """Count the steps of the running loop until the block ends. No garbage is collected, whose finalizers belong to whatever was before."""
    steps = CountedSteps()
    trio.lowlevel.add_instrument(steps)
    gc.disable()
    try:
        yield steps
    finally:
        gc.enable()
        trio.lowlevel.remove_instrument(steps)
        sys.setprofile(None)  # this step's end is not told any more; without this, all later tests of the process would be counted
