"""Runs seeds, each in a process of its own, forked from one that has imported everything: no seed sees what another left behind."""

import os
import pickle
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import final

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
        {} if world.crash else dict(world.supervisor._metrics.overview().decisions),
        sum(issuer.requests for issuer in world.issuers.values()),
        world.kernel.now - START,
        time.process_time() - began,
        tuple(found),
    )


def apart(plans: Iterable[Plan], at_once: int = 1) -> Iterator[Result]:
    """Run each plan in a process of its own, ``at_once`` at a time, and yield the results in order.

    Whoever stops early ends the processes that run.
    """
    running: list[tuple[int, int]] = []
    todo = iter(plans)
    try:
        while True:
            while len(running) < at_once and (plan := next(todo, None)) is not None:
                running.append(_forked(plan))
            if not running:
                return
            pid, pipe = running[0]
            with os.fdopen(os.dup(pipe), "rb") as source:
                data = source.read()
            running.pop(0)
            os.close(pipe)
            os.waitpid(pid, 0)
            result: Result = pickle.loads(data)
            yield result
    finally:
        for pid, pipe in running:
            os.close(pipe)
            os.kill(pid, 9)
            os.waitpid(pid, 0)


def _forked(plan: Plan) -> tuple[int, int]:
    source, sink = os.pipe()
    if (pid := os.fork()) == 0:
        status = 1
        try:
            os.close(source)
            data = pickle.dumps(simulate(plan))
            with os.fdopen(sink, "wb") as pipe:
                pipe.write(data)
            status = 0
        finally:
            os._exit(status)
    os.close(sink)
    return pid, source
