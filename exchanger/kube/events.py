"""Tells the authors of policies what became of them, by Events at their ConfigMaps: which Events are due, and when they are written.

This is a courtesy: nothing waits for it, nothing fails with it, and it spares an API server in trouble. An Event is made from the newest
state when it is its turn, so what is overtaken before that is never reported.
"""

import enum
import math
from collections.abc import Callable, Collection
from itertools import islice
from typing import Final, final

import attrs
import structlog
import trio

from exchanger.kube.event_writer import MAX_REGIONS, EventWriter, Reason, Report, Written
from exchanger.policy.conflicts import Conflict
from exchanger.policy.selection import Change
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import Source

# Events at once, of one ConfigMap and of all: client-go's ``defaultSpamBurst``
# (https://github.com/kubernetes/client-go/blob/master/tools/record/events_cache.go).
BURST: Final = 25
# Seconds for each further Event of one ConfigMap: manual edits are slower, and endless ones deserve no more.
OBJECT_INTERVAL_S: Final = 30.0
# Seconds for each further Event of any: an API server keeps them for an hour, so there are at most some thousand of ours.
INTERVAL_S: Final = 1.0
# Reports that wait; as many take a quarter of an hour.
MAX_PENDING: Final = 1000
# Seconds for which a namespace is left alone if the right to write is missing: somebody has to read the log and grant it.
PAUSE_S: Final = 600.0
# The same after the first refusal: a server that was just given the right, or has just started, may not know it yet.
RETRY_S: Final = 5.0


@final
@attrs.frozen
class PolicyEventsSettings:
    """Durations in seconds; see the constants of the same names."""

    burst: int = BURST
    object_interval: float = OBJECT_INTERVAL_S
    interval: float = INTERVAL_S
    max_pending: int = MAX_PENDING
    pause: float = PAUSE_S
    retry: float = RETRY_S


@final
@attrs.define(eq=False)
class TokenBucket:
    """Holds ``burst`` tokens when full; one returns every ``interval`` seconds of the caller's clock."""

    burst: int
    interval: float
    _full_at: float = attrs.field(default=-math.inf, init=False)

    def ready_at(self) -> float:
        """Return since when, or from when on, there is a token."""
        return self._full_at - (self.burst - 1) * self.interval

    def take(self, now: float) -> None:
        """Take a token that is there at ``now``."""
        self._full_at = max(self._full_at, now) + self.interval

    def is_full(self, now: float) -> bool:
        """Return whether it is full."""
        return self._full_at <= now


@enum.unique
class _About(enum.Enum):
    """What a report on a ConfigMap is about."""

    DOCUMENT = "what is wrong with the document alone, or that this is over"
    CONFLICTS = "the same of its conflicts"
    REFUSED = "the same of what its Namespace is not granted"
    CHANGE = "an accepted change"


_Topic = tuple[Source, _About]
_OVER: Final = {
    _About.DOCUMENT: "the document is valid again",
    _About.CONFLICTS: "no entry conflicts with another any more",
    _About.REFUSED: "all of it is granted now",
}


@final
@attrs.define(eq=False)
class PolicyEvents:
    """``published`` may be called before ``run``, and is all that the policy's source knows of it. Conflicts come from a ``ConflictWatch``.

    ``uid_of`` returns the ``uid`` of a ConfigMap, "" if unknown.
    """

    writer: EventWriter
    settings: PolicyEventsSettings = attrs.field(factory=PolicyEventsSettings)
    uid_of: Callable[[Source], str] = lambda _source: ""
    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger)
    _pending: dict[_Topic, None] = attrs.field(factory=dict, init=False, repr=False)
    # Accepted changes, which wait behind all the others.
    _accepted: dict[_Topic, None] = attrs.field(factory=dict, init=False, repr=False)
    # Those of whose present document it was said that it is accepted.
    _said: set[Source] = attrs.field(factory=set, init=False, repr=False)
    # What the authors were told is wrong, and not that it is over: so that nothing is repeated, and every end has a beginning.
    _told: dict[_Topic, Report] = attrs.field(factory=dict, init=False, repr=False)
    # The topic whose report is under way, until its ConfigMap is withdrawn: one of the same name that follows is another one.
    _writing: _Topic | None = attrs.field(default=None, init=False)
    _conflicts: dict[Source, tuple[Conflict, ...]] = attrs.field(factory=dict, init=False, repr=False)
    _snapshot: PolicySnapshot = attrs.field(default=PolicySnapshot.EMPTY, init=False)
    _bucket: TokenBucket = attrs.field(init=False)
    _buckets: dict[Source, TokenBucket] = attrs.field(factory=dict, init=False, repr=False)
    _paused: dict[str, float] = attrs.field(factory=dict, init=False, repr=False)
    _missing_in: str | None = attrs.field(default=None, init=False)
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._bucket = TokenBucket(self.settings.burst, self.settings.interval)

    def published(self, change: Change) -> None:
        """Take note of a version; costs the number of its documents that changed."""
        self._snapshot = change.snapshot
        for source in change.withdrawn:
            for about in _About:
                topic = (source, about)
                self._pending.pop(topic, None)
                self._accepted.pop(topic, None)
                self._told.pop(topic, None)
                if self._writing == topic:
                    self._writing = None
        self._said.difference_update(change.withdrawn)
        some_open = bool(self._told or self._pending)
        for document in change.documents:
            self._said.discard(document.source)
            if document.regions or (some_open and self._is_open((document.source, _About.DOCUMENT))):
                self._consider((document.source, _About.DOCUMENT))
            refused = (document.source, _About.REFUSED)
            if document.regions and not document.refused:
                self._told.pop(refused, None)  # once it is valid again, that says enough
            if some_open and self._is_open(refused):
                self._consider(refused)
        # New grants may refuse something of every document at once, of which no more can wait.
        for document in [document for document in change.documents if document.refused][-self.settings.max_pending :]:
            self._consider((document.source, _About.REFUSED))

    def conflicts_changed(self, source: Source, _before: tuple[Conflict, ...], after: tuple[Conflict, ...], /) -> None:
        """See ``ConflictObserver``."""
        self._conflicts.pop(source, None)
        if after:
            self._conflicts[source] = after
        document = self._snapshot.documents.get(source)
        if document is not None and document.regions and not after:
            self._told.pop((source, _About.CONFLICTS), None)  # once it is valid again, that says enough
        self._consider((source, _About.CONFLICTS))

    def looked(self, changed: Collection[Source], /) -> None:
        """See ``ConflictObserver``: only now it is known whether a change is accepted."""
        for source in islice(changed, self.settings.max_pending):
            self._consider((source, _About.CHANGE))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write what is due until cancelled; ``started()`` at once. No failure of the server ends it."""
        task_status.started()
        while True:
            await self._write(await self._next())

    @property
    def pending(self) -> int:
        """How many reports wait."""
        return len(self._pending) + len(self._accepted)

    def _is_open(self, topic: _Topic) -> bool:
        return topic in self._told or topic in self._pending

    def _consider(self, topic: _Topic) -> None:
        """Let a report wait its turn, if one is due."""
        waiting = self._accepted if topic[1] is _About.CHANGE else self._pending
        if self._report(topic) is None:
            waiting.pop(topic, None)
            return
        waiting[topic] = None  # a topic that waits already keeps its place
        if len(waiting) > self.settings.max_pending:
            del waiting[next(iter(waiting))]
        self._wake.set()

    def _report(self, topic: _Topic) -> Report | None:
        """Return what the author does not know yet, by the newest version."""
        source, about = topic
        document, told = self._snapshot.documents.get(source), self._told.get(topic)
        if document is None:
            return None
        conflicts, report = self._conflicts.get(source, ()), None
        in_force = f"entries in force: {document.entry_count}"
        if about is _About.CHANGE:
            wrong = document.regions or document.refused or conflicts or any(self._is_open((source, other)) for other in _About)
            return None if wrong or source in self._said else Report(source, Reason.ACCEPTED, f"the change is accepted; {in_force}")
        if about is _About.CONFLICTS and conflicts:
            report = Report(source, Reason.CONFLICTING, "; ".join(conflict.coded for conflict in conflicts))
        elif about is _About.DOCUMENT and document.regions:
            report = Report(source, Reason.INVALID, regions=document.problems[:MAX_REGIONS])
        elif about is _About.REFUSED and document.refused:
            report = Report(source, Reason.REFUSED, "; ".join(refusal.coded for refusal in document.refused[:MAX_REGIONS]))
        elif told is not None:
            report = Report(source, Reason.ACCEPTED, f"{_OVER[about]}; {in_force}")
        return None if report == told else report

    async def _next(self) -> _Topic:
        """Return the oldest topic whose report may be written, as soon as there is one."""
        while True:
            self._wake = trio.Event()
            now = trio.current_time()
            earliest = math.inf
            for waiting in (self._pending, self._accepted):
                for topic in waiting:
                    ready_at = self._ready_at(topic[0])
                    if ready_at <= now:
                        del waiting[topic]
                        return topic
                    earliest = min(earliest, ready_at)
            with trio.move_on_at(earliest):
                await self._wake.wait()

    def _ready_at(self, source: Source) -> float:
        bucket = self._buckets.get(source)
        own = -math.inf if bucket is None else bucket.ready_at()
        return max(self._bucket.ready_at(), own, self._paused.get(source.namespace, -math.inf))

    def _charge(self, source: Source, now: float) -> None:
        if len(self._buckets) >= self.settings.max_pending:
            self._buckets = {other: bucket for other, bucket in self._buckets.items() if not bucket.is_full(now)}
        bucket = self._buckets.setdefault(source, TokenBucket(self.settings.burst, self.settings.object_interval))
        bucket.take(now)
        self._bucket.take(now)

    async def _write(self, topic: _Topic) -> None:
        source, report = topic[0], self._report(topic)
        if report is None:
            return
        self._charge(source, trio.current_time())
        self._writing, document = topic, self._snapshot.documents.get(source)
        written = await self.writer.write(report, self.uid_of(source))
        current, self._writing = self._writing == topic, None
        if written is Written.FORBIDDEN:
            self._pause(source.namespace)
        elif written is Written.DONE:
            self._paused.pop(source.namespace, None)
            if self._missing_in == source.namespace:
                self._missing_in = None
        if current and written in {Written.DONE, Written.UNKNOWN}:
            if report.reason is Reason.ACCEPTED:
                self._told.pop(topic, None)
                if self._snapshot.documents.get(source) is document:
                    self._said.add(source)
                    self._accepted.pop((source, _About.CHANGE), None)
            else:
                self._told[topic] = report
        if written is Written.FORBIDDEN or (written is not Written.DROPPED and topic[1] is not _About.CHANGE):
            self._consider(topic)  # it may have changed meanwhile, or waits for the right

    def _pause(self, namespace: str) -> None:
        now = trio.current_time()
        again = namespace in self._paused
        self._paused = {other: until for other, until in self._paused.items() if until > now}
        self._paused[namespace] = now + (self.settings.pause if again else self.settings.retry)
        if again and self._missing_in is None:
            self._missing_in = namespace
            self._log.warning(
                "policy.event_right_missing",
                reason=f"needs create and patch on events in the namespace {namespace}",
                text="policy authors get no Events; set POLICY_EVENTS=false to silence this",
            )
