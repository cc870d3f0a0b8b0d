"""What the service holds, looked at during the storm and not only at its end."""

from collections import Counter, deque
from typing import Final, final

import attrs

from exchanger.app.supervisor import Supervisor
from exchanger.exchange.pipeline import ExchangePipeline
from tests.simulation.gateway import Question
from tests.simulation.issuer import Call, SimulatedIssuer
from tests.simulation.kernel import START
from tests.simulation.part import Every, Part

# Looks a second.
_LOOKS: Final = 10.0
# Seconds until the service knows that nobody waits any more: a way, and the pieces in which it comes.
_KNOWN: Final = 0.05
# Seconds until an issuer knows that a call was given up.
_ON_ITS_WAY: Final = 0.02
# What is held for a request that waits, and so for none that does not.
_ROWS: Final = ("checks", "tasks of calls", "requests that wait for exchanges")


@final
@attrs.define(eq=False)
class Bounds(Part):
    """Looks at what the service holds."""

    _ended: deque[float] = attrs.field(factory=deque, init=False)

    @property
    def _permits(self) -> int:
        """The calls that an issuer may have at once, 0 for any number."""
        return self.plan.permits * self.plan.replicas

    def ended(self, _question: Question, /) -> None:
        self._ended.append(self.kernel.now)

    def storm(self, every: Every) -> None:
        every(_LOOKS, self._look, "looks at bounds")

    def _look(self) -> None:
        while self._ended and self._ended[0] < self.kernel.now - _KNOWN:
            self._ended.popleft()
        waiting = sum(len(stream.questions) for gateway in self.world.gateways for stream in gateway.streams.values()) + len(self._ended)
        rows = sum((Counter(counted(supervisor)) for supervisor in self.world.supervisors), Counter[str]())
        for name in _ROWS:
            self._check(f"{name}, with as many questions", rows[name], waiting)
        for supervisor in self.world.supervisors:
            self._look_at(supervisor.pipeline)
        for issuer in self.world.issuers.values():
            if self._permits and len(calls := issuer.under_way()) > self._permits:
                self.kernel.after(_ON_ITS_WAY, self._look_again, issuer, calls)

    def _look_at(self, pipeline: ExchangePipeline) -> None:
        counts, limits, memory = pipeline.connections, pipeline.pool.limits, pipeline.cache.memory
        self._check("idle connections", counts.idle, limits.max_idle)
        self._check("connections in quarantine", counts.quarantined, limits.max_quarantined)
        self._check("busy connections", counts.busy, limits.max_busy_per_host * len(self.world.issuers))
        for partition in memory.partitions:
            self._check("cached tokens of an issuer", len(partition.entries), partition.max_entries)
        self._check("kept bytes", memory.size, memory.max_bytes)

    def _look_again(self, issuer: SimulatedIssuer, calls: tuple[Call, ...]) -> None:
        """Some of the calls may have been given up, which the issuer did not know."""
        self._check(f"calls that {issuer.name} has at once", len([call for call in calls if not call.given_up]), self._permits)

    def _check(self, what: str, count: int, most: int) -> None:
        if count > most:
            self.complain(f"{count} {what}, {most} at {self.kernel.now - START:.6f}")


def counted(it: Supervisor) -> dict[str, int]:
    """Return what a replica still holds, by name."""
    exchanges, connections, usage = it.pipeline.exchanges, it.pipeline.connections, it.server.usage()
    found = {
        "exchanges": exchanges.under_way,
        "requests that wait for exchanges": exchanges.waiting,
        "connections in use": connections.busy,
        "calls that wait for connections": connections.waiting,
        "checks": it.evaluator.in_flight,
        "streams": usage.streams,
        "tasks of calls": usage.tasks,
        "bytes of calls": usage.held_bytes,
        "calls": sum(it.pipeline.in_flight.values()),
        "queued calls": sum(limits.queued for limits in it.pipeline.limits),
        "permits": sum(limits.permits.in_flight for limits in it.pipeline.limits if limits.permits is not None),
    }
    return {name: count for name, count in found.items() if count}
