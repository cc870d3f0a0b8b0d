"""Crowds: many requests in one batch of bytes, and many policies in one moment; and how much the service does in one turn.

Computing takes no simulated time, so a turn is measured by the calls of the service's own functions in it. A turn is what one task does
until others can run.
"""

import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Final, final

import attrs
import trio

import exchanger
from tests.simulation.cluster import LABELS, NAMESPACE_LABELS, Cluster
from tests.simulation.kernel import START
from tests.simulation.part import Every, Part

NAMESPACE: Final = "crowded"
# Crowds a second.
_OFTEN: Final = 0.5
# Calls in a turn, which is 10 ms at most: those of the reactor are short ones, of 0.4 µs, and a round of it has up to 287 units of work.
_MOST_CALLS: Final = 10_000
_MOST_OF_THE_REACTOR: Final = 25_000
# Lists and events are decoded in a thread of the API connection; the simulated one has none.
_DECODES: Final = "Informer"
_HOME: Final = str(Path(exchanger.__file__).parent)


@cache
def _is_own(code: CodeType) -> bool:
    return code.co_filename.startswith(_HOME)


@final
@attrs.define(eq=False)
class Crowds(Part, trio.abc.Instrument):
    """``ask`` lets somebody ask by a gateway, or many the same, ``size`` times at once. A cluster, if it is the ``place``, gets as many
    policies.
    """

    needs = "crowds"
    _names: set[str] = attrs.field(factory=set, init=False)
    _written: int = attrs.field(default=0, init=False)
    _calls: int = attrs.field(default=0, init=False)

    def storm(self, every: Every) -> None:
        trio.lowlevel.add_instrument(self)
        every(_OFTEN, self._arrive, "crowds of requests")
        if isinstance(self.world.authors.place, Cluster):
            self.world.authors.place.namespace(NAMESPACE, NAMESPACE_LABELS)
            every(_OFTEN, self._write, "crowds of policies")

    def complaints(self) -> Iterator[str]:
        yield from super().complaints()
        for supervisor in self.world.supervisors if self.quiet else ():
            newest = supervisor.policy.newest
            part = None if newest is None else newest.namespaces.get(NAMESPACE)
            known = set() if part is None else {source.name for source in part.documents}
            if known != self._names:
                yield f"{len(known)} policies of a crowd are active, not {len(self._names)}"

    def _arrive(self) -> None:
        gateway, alike = self.chance.choice(self.world.gateways), self.chance.random() < 0.5
        gateway.held = True
        for _ in range(self.plan.crowds):
            self.world.one_of_many_asks(gateway, alike)
        gateway.release()

    def _write(self) -> None:
        """Write as many policies anew, or delete all."""
        self.kernel.tell("a team", "deletes" if self._names else "writes", self.plan.crowds, "policies")
        if self._names and self.chance.random() < 0.5:
            for name in sorted(self._names):
                self.world.authors.place.delete(NAMESPACE, name)
            self._names.clear()
            return
        self._written += 1
        for number in range(self.plan.crowds):
            match = {"host": f"{NAMESPACE}.example.com", "pathPrefix": f"/{number}/{self._written}"}
            text = json.dumps({"version": "v1", "entries": [{"match": match, "action": "deny"}]})
            self.world.authors.place.put(NAMESPACE, f"policy-{number}", LABELS, text)
            self._names.add(f"policy-{number}")

    # How much is done in a turn.

    def before_task_step(self, _task: trio.lowlevel.Task) -> None:
        self._calls = 0
        sys.settrace(self._called)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        sys.settrace(None)
        if _DECODES in task.name:
            return
        if self._calls > _MOST_CALLS and (self._calls > _MOST_OF_THE_REACTOR or "Reactor" not in task.name):
            self.complain(f"a turn of {task.name} with {self._calls} calls at {self.kernel.now - START:.6f}")

    def _called(self, frame: FrameType, _event: str, _argument: object) -> None:
        self._calls += _is_own(frame.f_code)
