"""Writes one report as an Event, or counts it once more when it is there already; tries again for a while, and then lets it be.

Must not know: which report is next.
"""

import enum
import time
from collections.abc import Callable
from random import Random
from typing import Final, Protocol, final

import attrs
import trio

from exchanger.kube.event_objects import Report, timestamp
from exchanger.kube.list_watch import ApiFailure, FailureKind
from exchanger.kube.resource import path_of
from exchanger.util.backoff import BackOff, BackOffSettings

WRITE_S: Final = 15.0
"""Seconds for one request: an API server that works takes milliseconds."""
TRIES: Final = 4
"""Times that a report is tried: with client-go's waits between them some ten seconds, which a restart of an API server takes."""
MERGE: Final = "application/merge-patch+json"
CONFLICT: Final = 409
TERMINATING: Final = "unable to create new content"
"""What a server says, with 403, of a Namespace that is going away."""
QUOTA: Final = "exceeded quota"
"""What a server says, with 403, where no more objects may be."""
_AGAIN: Final = frozenset(
    {
        FailureKind.UNAUTHORIZED,
        FailureKind.TOO_MANY_REQUESTS,
        FailureKind.SERVER_ERROR,
        FailureKind.UNREACHABLE,
        FailureKind.TIMEOUT,
    }
)
_UNCERTAIN: Final = frozenset({FailureKind.UNREACHABLE, FailureKind.TIMEOUT})


class Connection(Protocol):
    """The part of ``ApiConnection`` that it takes."""

    async def send(
        self, method: str, path: str, body: dict[str, object] | None = None, *, content_type: str = "application/json"
    ) -> dict[str, object] | ApiFailure:
        """Make a request that changes something, and return the JSON object of its answer."""


@enum.unique
class Written(enum.Enum):
    """What became of a report."""

    NEW = "new"
    COUNTED = "counted"
    """The Event was there, and has one more."""
    FORBIDDEN = "forbidden"
    """A right is missing."""
    DROPPED = "dropped"
    """The server does not want it, or could not be reached."""


@final
@attrs.define(eq=False)
class EventWriter:
    """Needs the rights ``create`` and ``patch`` on events. ``clock`` gives seconds since the epoch."""

    connection: Connection
    random: Random = attrs.field(factory=Random)
    clock: Callable[[], float] = time.time
    back_off: BackOffSettings = attrs.field(factory=BackOffSettings)

    async def write(self, report: Report) -> Written:
        """Write ``report``; every failure is a value."""
        back_off = BackOff(self.back_off, self.random)
        uncertain = False
        for attempt in range(1, TRIES + 1):
            outcome = await self._try(report, uncertain=uncertain)
            if isinstance(outcome, Written):
                return outcome
            if outcome.kind not in _AGAIN or attempt == TRIES:
                break
            uncertain = uncertain or outcome.kind in _UNCERTAIN
            await trio.sleep(back_off.failed(trio.current_time(), at_least=outcome.retry_after or 0.0))
        return Written.DROPPED

    async def _try(self, report: Report, *, uncertain: bool) -> Written | ApiFailure:
        collection = path_of("api", "v1", "namespaces", report.source.namespace, "events")
        outcome = await self._send("POST", collection, report.event(self.clock()))
        if not isinstance(outcome, ApiFailure):
            return Written.NEW
        if outcome.status != CONFLICT:
            return _refused(outcome)
        if uncertain:
            return Written.NEW  # by the attempt before, whose answer was lost
        return await self._count(f"{collection}{path_of(report.name)}")

    async def _count(self, path: str) -> Written | ApiFailure:
        """Count the Event at ``path`` once more. It is read by a change that is wanted anyway, so that no right to read is needed."""
        found = await self._send("PATCH", path, {"lastTimestamp": timestamp(self.clock())})
        if isinstance(found, ApiFailure):
            return _refused(found)
        count, metadata = found.get("count"), found.get("metadata")
        seen = count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 1
        version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
        change: dict[str, object] = {"count": seen + 1, "metadata": {"resourceVersion": version}}
        counted = await self._send("PATCH", path, change)
        if isinstance(counted, ApiFailure) and counted.status != CONFLICT:  # with CONFLICT another instance has just counted
            return _refused(counted)
        return Written.COUNTED

    async def _send(self, method: str, path: str, body: dict[str, object]) -> dict[str, object] | ApiFailure:
        content_type = MERGE if method == "PATCH" else "application/json"
        with trio.move_on_after(WRITE_S):
            return await self.connection.send(method, path, body, content_type=content_type)
        return ApiFailure(FailureKind.TIMEOUT, message=f"no answer within {WRITE_S:g} s")


def _refused(failure: ApiFailure) -> Written | ApiFailure:
    if failure.kind is not FailureKind.FORBIDDEN:
        return failure
    passing = TERMINATING in failure.message or QUOTA in failure.message
    return Written.DROPPED if passing else Written.FORBIDDEN
