"""Core/v1 Event objects about ConfigMaps, and how one is written: created, or counted again if it exists; retried for a while.

Of the two kinds of Events this is the one that counts repetitions, which every tool shows. ``kubectl describe`` finds Events by the ``uid``
of the object, so they contain the ConfigMap's. Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/.
"""

import enum
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Final, Protocol, final

import attrs
import trio

from exchanger.model.entry import FailClosedScope, Source
from exchanger.net.network import SYSTEM
from exchanger.sources.kube.api.resource import path_of
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind
from exchanger.util.backoff import BackOff, BackOffSettings

COMPONENT: Final = "exchanger"
# Bytes; the limit of the Event's newer form (https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/events.go).
MAX_MESSAGE_BYTES: Final = 1024
# Fail-closed scopes of one document that are reported: the sentences of so many fill a message.
MAX_CLOSED_SCOPES: Final = 32
# Seconds for one request: a working API server takes milliseconds.
WRITE_S: Final = 15.0
# Attempts per report: with client-go's waits between them about ten seconds, as long as a restart of an API server.
TRIES: Final = 4
MERGE: Final = "application/merge-patch+json"
EXISTS: Final = 409
# The server's messages, with 403, for a Namespace that is being deleted, and where no more objects are allowed.
TERMINATING: Final = "unable to create new content"
QUOTA: Final = "exceeded quota"
_MAX_NAME: Final = 253  # https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names
_HASH_CHARS: Final = 16
_MORE: Final = " …"
_AGAIN: Final = frozenset(
    {
        FailureKind.UNAUTHORIZED,
        FailureKind.TOO_MANY_REQUESTS,
        FailureKind.SERVER_ERROR,
        FailureKind.UNREACHABLE,
        FailureKind.TIMEOUT,
    }
)


@enum.unique
class EventReason(enum.Enum):
    """Why there is an Event; the value is what tools show."""

    # Parts of the document cannot be understood, and fail closed.
    INVALID = "InvalidPolicy"
    # An entry conflicts with another one.
    CONFLICTING = "ConflictingPolicy"
    # Entries are outside what the Namespace is granted, and have no effect; or would be, and would have none.
    REFUSED = "PolicyNotGranted"
    # The document takes effect for the first time, or was invalid, had conflicts or was refused, and no longer is.
    ACTIVE = "PolicyActive"


@final
@attrs.frozen
class Report:
    """The report to the author of one ConfigMap: ``text``, or if that is "" the problems of the ``closed_scopes`` of its document."""

    source: Source
    reason: EventReason
    text: str = ""
    closed_scopes: tuple[FailClosedScope, ...] = attrs.field(default=(), repr=False)

    @property
    def message(self) -> str:
        """One line of at most ``MAX_MESSAGE_BYTES``."""
        return shortened(self.text or _wrongs(self.closed_scopes))

    def name(self, uid: str) -> str:
        """Return the Event's name: the same for the same ConfigMap, reason and message, so that repetitions find it."""
        said = f"{self.source}\0{uid}\0{self.reason.value}\0{self.message}"
        digest = hashlib.sha256(said.encode()).hexdigest()[:_HASH_CHARS]
        return f"{self.source.name[: _MAX_NAME - _HASH_CHARS - 1].rstrip('.-')}.{digest}"

    def event(self, uid: str, now: float) -> dict[str, object]:
        """Return the Event as first written, at ``now`` in seconds since the epoch; ``uid`` is the ConfigMap's, "" if unknown."""
        involved = {"apiVersion": "v1", "kind": "ConfigMap", "namespace": self.source.namespace, "name": self.source.name}
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": self.source.namespace, "name": self.name(uid)},
            "involvedObject": {**involved, **({"uid": uid} if uid else {})},
            "type": "Normal" if self.reason is EventReason.ACTIVE else "Warning",
            "reason": self.reason.value,
            "message": self.message,
            "count": 1,
            "firstTimestamp": timestamp(now),
            "lastTimestamp": timestamp(now),
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
        }


def timestamp(now: float) -> str:
    """Format seconds since the epoch as the API does (RFC 3339, whole seconds)."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def shortened(text: str) -> str:
    """Return the beginning of ``text`` as one printable line of at most ``MAX_MESSAGE_BYTES`` in UTF-8."""
    cut = text[:MAX_MESSAGE_BYTES]
    line = "".join(character if character.isprintable() else " " for character in cut)
    data = line.encode()  # surrogates are not printable, so none is left
    if len(data) <= MAX_MESSAGE_BYTES and len(cut) == len(text):
        return line
    return data[: MAX_MESSAGE_BYTES - len(_MORE.encode())].decode(errors="ignore") + _MORE


def _wrongs(closed_scopes: tuple[FailClosedScope, ...]) -> str:
    parts: list[str] = []
    length = 0
    for closed_scope in closed_scopes[:MAX_CLOSED_SCOPES]:
        parts.append(closed_scope.coded if closed_scope.line is None else f"line {closed_scope.line}: {closed_scope.coded}")
        length += len(parts[-1])
        if length > MAX_MESSAGE_BYTES:  # as much as is shown
            break
    return "; ".join(parts)


class EventSender(Protocol):
    """The part of ``ApiConnection`` that is needed."""

    async def send(
        self, method: str, path: str, body: dict[str, object] | None = None, *, content_type: str = "application/json"
    ) -> dict[str, object] | ApiFailure:
        """Make a request that changes something, and return the JSON object of its answer."""


@enum.unique
class Written(enum.Enum):
    """The outcome of a report."""

    DONE = "done"
    # A right is missing.
    FORBIDDEN = "forbidden"
    # An answer was lost, so the Event may exist.
    UNKNOWN = "unknown"
    # The server rejected it.
    DROPPED = "dropped"


@final
@attrs.define(eq=False)
class EventWriter:
    """Needs the rights ``create`` and ``patch`` on events. ``clock`` returns seconds since the epoch."""

    connection: EventSender
    random: Random = SYSTEM.random
    clock: Callable[[], float] = SYSTEM.wall
    back_off: BackOffSettings = attrs.field(factory=BackOffSettings)

    async def write(self, report: Report, uid: str = "") -> Written:
        """Write ``report``; every failure is a value."""
        back_off = BackOff(self.back_off, self.random)
        lost = False
        for attempt in range(1, TRIES + 1):
            failure = await self._try(report, uid)
            if failure is None:
                return Written.DONE
            if failure.kind is FailureKind.FORBIDDEN:
                passing = TERMINATING in failure.message or QUOTA in failure.message
                return Written.DROPPED if passing else Written.FORBIDDEN
            lost = lost or failure.kind in {FailureKind.UNREACHABLE, FailureKind.TIMEOUT}
            if failure.kind not in _AGAIN or attempt == TRIES:
                break
            await trio.sleep(back_off.failed(trio.current_time(), at_least=failure.retry_after or 0.0))
        return Written.UNKNOWN if lost else Written.DROPPED

    async def _try(self, report: Report, uid: str) -> ApiFailure | None:
        event = report.event(uid, self.clock())
        collection = path_of("api", "v1", "namespaces", report.source.namespace, "events")
        created = await self._send("POST", collection, event)
        if not isinstance(created, ApiFailure):
            return None
        if created.status != EXISTS:
            return created
        # Read it by a change that is needed anyway, so that no right to read is needed.
        path = f"{collection}{path_of(report.name(uid))}"
        found = await self._send("PATCH", path, {"lastTimestamp": event["lastTimestamp"]})
        if isinstance(found, ApiFailure):
            return found
        count, metadata = found.get("count"), found.get("metadata")
        seen = count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 1
        version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
        counted = await self._send("PATCH", path, {"count": seen + 1, "metadata": {"resourceVersion": version}})
        if isinstance(counted, ApiFailure) and counted.status != EXISTS:  # a conflict: another instance has just counted
            return counted
        return None

    async def _send(self, method: str, path: str, body: dict[str, object]) -> dict[str, object] | ApiFailure:
        content_type = MERGE if method == "PATCH" else "application/json"
        with trio.move_on_after(WRITE_S):
            return await self.connection.send(method, path, body, content_type=content_type)
        return ApiFailure(FailureKind.TIMEOUT, message=f"no answer within {WRITE_S:g} s")
