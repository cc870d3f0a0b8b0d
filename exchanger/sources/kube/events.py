"""Reports to the authors of policies, by Events on their ConfigMaps, what is wrong, and when a policy is active: new, or sound again.

A policy is new if the version before does not have it. The first version has the policies of before a restart, which are not reported.

This is best effort: nothing waits for it, nothing fails with it, and it spares an API server in trouble. An Event is made from the newest
state when its turn comes, so a problem that has gone by then is never reported.
"""

import math
from collections.abc import Callable
from itertools import chain
from typing import Final, final

import attrs
import structlog
import trio

from exchanger.model.entry import Source
from exchanger.policy.conflicts import Conflict
from exchanger.policy.namespace import EffectiveDocument
from exchanger.policy.selection import Change
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.kube.event_writer import MAX_CLOSED_SCOPES, EventReason, EventWriter, Report, Written

# Events at once: client-go's ``defaultSpamBurst``
# (https://github.com/kubernetes/client-go/blob/master/tools/record/events_cache.go).
BURST: Final = 25
# Seconds for each further Event: an API server keeps them for an hour, so there are at most about a thousand of ours. A ConfigMap that
# keeps changing comes after all others.
INTERVAL_S: Final = 1.0
# Reports that wait; as many take a quarter of an hour.
MAX_PENDING: Final = 1000
# Seconds for which a namespace is skipped if the permission to write is missing: somebody has to read the log and grant it.
PAUSE_S: Final = 600.0
# The same after the first refusal: a server that was just given the right, or has just started, may not know it yet.
RETRY_S: Final = 5.0


@final
@attrs.frozen
class PolicyEventsSettings:
    """Durations in seconds; see the constants of the same names."""

    burst: int = BURST
    interval: float = INTERVAL_S
    max_pending: int = MAX_PENDING
    pause: float = PAUSE_S
    retry: float = RETRY_S


@final
@attrs.define(eq=False)
class TokenBucket:
    """Holds ``burst`` tokens when full; one is returned every ``interval`` seconds of the caller's clock."""

    burst: int
    interval: float
    _full_at: float = attrs.field(default=-math.inf, init=False)

    def ready_at(self) -> float:
        """Return since when, or from when on, there is a token."""
        return self._full_at - (self.burst - 1) * self.interval

    def take(self, now: float) -> None:
        """Take a token if there is one at ``now``."""
        self._full_at = max(self._full_at, now) + self.interval


@final
@attrs.define(eq=False)
class PolicyEvents:
    """``published`` may be called before ``run``, and is all that the policy's source knows of it. Conflicts come from a ``ConflictWatch``.

    Problems come first: that a new policy is active is reported while no problem waits, and not at all if too many new ones wait.
    ``uid_of`` returns the ``uid`` of a ConfigMap, "" if unknown.
    """

    writer: EventWriter
    settings: PolicyEventsSettings = attrs.field(factory=PolicyEventsSettings)
    uid_of: Callable[[Source], str] = lambda _source: ""
    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger)
    # ConfigMaps whose authors may need a report, in the order of their turns.
    _pending: dict[Source, None] = attrs.field(factory=dict, init=False, repr=False)
    # The same for those that are new and have no problems.
    _news: dict[Source, None] = attrs.field(factory=dict, init=False, repr=False)
    # The problems last reported to the authors, ``None`` if there are none any more, until that is reported.
    _told: dict[Source, dict[EventReason, Report | None]] = attrs.field(factory=dict, init=False, repr=False)
    # ConfigMaps that came after the first version, until their authors know that they are active.
    _new: dict[Source, None] = attrs.field(factory=dict, init=False, repr=False)
    # Those of the two before without problems as far as is known before the search for conflicts.
    _right: dict[Source, None] = attrs.field(factory=dict, init=False, repr=False)
    # The ConfigMap whose report is being written, until it is removed: a later one of the same name is another one.
    _writing: Source | None = attrs.field(default=None, init=False)
    _conflicts: dict[Source, tuple[Conflict, ...]] = attrs.field(factory=dict, init=False, repr=False)
    # ``None`` before the first version.
    _snapshot: PolicySnapshot | None = attrs.field(default=None, init=False)
    bucket: TokenBucket = attrs.field(init=False)
    _paused: dict[str, float] = attrs.field(factory=dict, init=False, repr=False)
    _missing_in: str | None = attrs.field(default=None, init=False)
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self.bucket = TokenBucket(self.settings.burst, self.settings.interval)

    def published(self, change: Change) -> None:
        """Record a version; costs the number of its documents that changed."""
        before, self._snapshot = self._snapshot, change.snapshot
        for source in change.removed:
            self._leave_queue(source)
            self._told.pop(source, None)
            self._new.pop(source, None)
            self._right.pop(source, None)
            if self._writing == source:
                self._writing = None
        wrong: list[Source] = []
        for document in change.documents:
            self._right.pop(document.source, None)
            if before is not None and before.document(document.source) is None and len(self._new) < self.settings.max_pending:
                self._new[document.source] = None
            if document.problems or document.refused:
                wrong.append(document.source)
            elif document.source in self._told or document.source in self._new:
                self._right[document.source] = None
            else:
                self._leave_queue(document.source)
        for source in wrong[-self.settings.max_pending :]:  # new grants may refuse something of every document at once
            self._consider(source)

    def conflicts_changed(self, source: Source, _before: tuple[Conflict, ...], after: tuple[Conflict, ...], /) -> None:
        self._conflicts.pop(source, None)
        if after:
            self._conflicts[source] = after
        self._consider(source)

    def looked(self) -> None:
        """Report documents that are sound again: only now is it known whether anything is still wrong."""
        right, self._right = self._right, {}
        for source in right:
            self._consider(source)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write due reports until cancelled; ``started()`` at once. No failure of the server ends it."""
        task_status.started()
        while True:
            await self._write(await self._next())

    @property
    def pending(self) -> int:
        """How many reports wait."""
        return len(self._pending) + len(self._news)

    def _consider(self, source: Source) -> None:
        """Queue a report, if one is due."""
        told, wrong = self._told.get(source, {}), self._wrong(source)
        told.update({reason: None for reason in told if reason not in wrong})
        report = self._report(source, wrong)
        if report is None:
            self._leave_queue(source)
            return
        queue, other = self._pending, self._news
        if report.reason is EventReason.ACTIVE and not told:
            queue, other = other, queue
        other.pop(source, None)
        queue[source] = None  # one that waits already keeps its place
        if len(self._pending) > self.settings.max_pending:
            del self._pending[next(iter(self._pending))]
        self._wake.set()

    def _leave_queue(self, source: Source) -> None:
        self._pending.pop(source, None)
        self._news.pop(source, None)

    def _wrong(self, source: Source) -> dict[EventReason, Report]:
        """Return the problems in the newest version."""
        document, conflicts = self._document(source), self._conflicts.get(source, ())
        found: dict[EventReason, Report] = {}
        if document is not None and document.problems:
            found[EventReason.INVALID] = Report(source, EventReason.INVALID, closed_scopes=document.problems[:MAX_CLOSED_SCOPES])
        if document is not None and document.refused:
            refused = "; ".join(refusal.coded for refusal in document.refused[:MAX_CLOSED_SCOPES])
            found[EventReason.REFUSED] = Report(source, EventReason.REFUSED, refused)
        if document is not None and conflicts:
            found[EventReason.CONFLICTING] = Report(source, EventReason.CONFLICTING, "; ".join(conflict.coded for conflict in conflicts))
        return found

    def _report(self, source: Source, wrong: dict[EventReason, Report]) -> Report | None:
        """Return what the author does not know yet of the problems ``wrong``, or that there are none."""
        document, told = self._document(source), self._told.get(source, {})
        if document is not None and not wrong and (told or source in self._new):
            return Report(source, EventReason.ACTIVE, f"the policy is active; entries in effect: {document.entry_count}")
        return next((report for reason, report in wrong.items() if told.get(reason) != report), None)

    def _document(self, source: Source) -> EffectiveDocument | None:
        return None if self._snapshot is None else self._snapshot.document(source)

    async def _next(self) -> Source:
        """Return the first ConfigMap about which a report may be written, as soon as there is one; new ones without problems come last."""
        while True:
            self._wake = trio.Event()
            now, earliest = trio.current_time(), math.inf
            for source in chain(self._pending, self._news):
                ready_at = max(self.bucket.ready_at(), self._paused.get(source.namespace, -math.inf))
                if ready_at <= now:
                    self._leave_queue(source)
                    return source
                earliest = min(earliest, ready_at)
            with trio.move_on_at(earliest):
                await self._wake.wait()

    async def _write(self, source: Source) -> None:
        report = self._report(source, self._wrong(source))
        if report is None:
            return
        self.bucket.take(trio.current_time())
        self._writing = source
        written = await self.writer.write(report, self.uid_of(source))
        current, self._writing = self._writing == source, None
        if written is Written.FORBIDDEN:
            self._pause(source.namespace)
        elif written is Written.DONE:
            self._paused.pop(source.namespace, None)
            if self._missing_in == source.namespace:
                self._missing_in = None
        if current and written in {Written.DONE, Written.UNKNOWN}:
            if report.reason is EventReason.ACTIVE:
                self._told.pop(source, None)
            else:
                self._told.setdefault(source, {})[report.reason] = report
        if report.reason is EventReason.ACTIVE and written is not Written.FORBIDDEN:
            self._new.pop(source, None)
        if written is not Written.DROPPED:
            self._consider(source)  # it may have changed meanwhile, waits for the permission, or needs another report

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
