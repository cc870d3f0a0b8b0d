"""Runs seeds, each in a process of its own, forked from one that has imported everything: no seed sees what another left behind."""

import os
import pickle
import signal
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, final

import attrs

from tests.simulation.judges import complaints
from tests.simulation.kernel import START, Trace
from tests.simulation.plan import Plan
from tests.simulation.world import lived


@final
@attrs.frozen
class Result:
    """What came of a seed. ``simulated`` and ``cpu`` are in seconds; ``decisions`` are counted by their labels."""

    plan: Plan
    digest: str
    events: int
    questions: int
    decisions: dict[str, int]
    requests: int
    simulated: float
    cpu: float
    complaints: tuple[str, ...]


def simulate(plan: Plan, show: Callable[[str], None] | None = None) -> Result:
    """Run one world in this process."""
    trace, began = Trace(show), time.process_time()
    with tempfile.TemporaryDirectory() as folder, lived(plan, Path(folder), trace) as world:
        found = complaints(world)
    return Result(
        plan,
        trace.digest,
        trace.events,
        len(world.questions),
        {} if world.crash else dict(world.decisions),
        sum(issuer.requests for issuer in world.issuers.values()),
        world.kernel.now - START,
        time.process_time() - began,
        tuple(found),
    )


def apart(plans: Iterable[Plan], at_once: int = 1) -> Iterator[Result]:
    """Run each plan in a process of its own, ``at_once`` at a time, and yield the results in order.

    Whoever stops early ends the processes that run. A process that dies raises ``EOFError``; it has said why on standard error.
    """
    running: deque[tuple[int, BinaryIO]] = deque()
    todo = iter(plans)
    try:
        while True:
            running += map(_forked, islice(todo, at_once - len(running)))
            if not running:
                return
            pid, pipe = running[0]
            with pipe:
                data = pipe.read()
            running.popleft()
            os.waitpid(pid, 0)
            result: Result = pickle.loads(data)
            yield result
    finally:
        for pid, pipe in running:
            pipe.close()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _forked(plan: Plan) -> tuple[int, BinaryIO]:
    source, sink = os.pipe()
    if (pid := os.fork()) == 0:
        status = 1
        try:
            os.close(source)
            with os.fdopen(sink, "wb") as pipe:
                pickle.dump(simulate(plan), pipe)
            status = 0
        except Exception:  # noqa: BLE001 - nothing of the parent's may run in this process
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(sink)
    return pid, os.fdopen(source, "rb")
