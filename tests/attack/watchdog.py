"""How long one step of the event loop takes: what every request behind it has to wait."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import final

import attrs
import trio


@final
@attrs.define(eq=False)
class StepWatch(trio.abc.Instrument):
    """Times each step of each task, in seconds of this thread's CPU time, so that a busy machine makes no step longer than it is."""

    longest: float = 0.0
    task: str = ""
    _began: float = attrs.field(factory=time.thread_time)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        took = time.thread_time() - self._began
        if took > self.longest:
            self.longest, self.task = took, task.name


@contextmanager
def watched_steps() -> Generator[StepWatch]:
    """Watch the steps of the running loop until the block ends."""
    watch = StepWatch()
    trio.lowlevel.add_instrument(watch)
    try:
        yield watch
    finally:
        trio.lowlevel.remove_instrument(watch)
