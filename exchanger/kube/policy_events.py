"""Tells the authors of policies what became of them, by Events at their ConfigMaps: an observer of versions, and the task that writes.

It is a courtesy: nothing waits for it, nothing fails with it, and an API server in trouble gets little of it. Only the newest state of a
ConfigMap counts, so what is overtaken before it could be written is never said.

Must not know: how the policy is followed, or what a document says beyond what is wrong with it.
"""

from collections.abc import Callable
from itertools import chain, islice
from typing import Final, Protocol, assert_never, final

import attrs
import trio

from exchanger.kube.event_objects import MAX_REGIONS, Reason, Report
from exchanger.kube.event_writer import EventWriter, Written
from exchanger.kube.ties import TieWatch
from exchanger.kube.token_bucket import TokenBucket
from exchanger.policy.document import PolicyDocument
from exchanger.policy.selection import Change
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import FailClosedRegion, Source

BURST: Final = 25
"""Events at once, of one ConfigMap and of all: client-go's ``defaultSpamBurst``
(https://github.com/kubernetes/client-go/blob/master/tools/record/events_cache.go)."""
OBJECT_INTERVAL_S: Final = 30.0
"""Seconds for each further Event of one ConfigMap: whoever edits by hand is slower, and what edits without end is not worth more."""
INTERVAL_S: Final = 1.0
"""Seconds for each further Event of any: an API server keeps them for an hour, so that there are never more than some thousand of ours."""
MAX_PENDING: Final = 1000
"""Reports that wait; as many take a quarter of an hour."""
PAUSE_S: Final = 600.0
"""Seconds for which a namespace is left alone where the right to write is missing: somebody has to read the log and give it."""
RETRY_S: Final = 5.0
"""The same after a first refusal: a server that has just been given the right, or has just started, may not know it yet."""
SLICE: Final = 1000
"""Sources that are hashed in one step: half a millisecond."""


class PolicyEventsObserver(Protocol):
    """Learns of what keeps Events from being written; must neither block nor raise."""

    def event_right_missing(self, text: str, /) -> None:
        """A right is missing, such as ``needs create and patch on events in the namespace team``: told once, until it is there."""


@final
@attrs.frozen
class PolicyEventsSettings:
    """Durations in seconds; the constants of the same names say why."""

    burst: int = BURST
    object_interval: float = OBJECT_INTERVAL_S
    interval: float = INTERVAL_S
    max_pending: int = MAX_PENDING
    pause: float = PAUSE_S
    retry: float = RETRY_S


@final
@attrs.frozen
class PolicyEventsStatistics:
    """Counts since the start, except ``pending``; ``counted`` Events were there already, ``dropped`` reports became none."""

    pending: int
    written: int
    counted: int
    dropped: int


_Lane = tuple[Source, bool]
"""What a report takes the place of: an older one of the same ConfigMap, about ties (``True``) or about its document alone."""


@final
@attrs.define(eq=False)
class PolicyEvents:
    """Made of a writer and an observer. ``published`` may be called before ``run``, and is all that the policy's source knows of it.

    ``uid_of`` returns the ``uid`` of a ConfigMap, "" when it is not known.
    """

    writer: EventWriter
    observer: PolicyEventsObserver
    settings: PolicyEventsSettings = attrs.field(factory=PolicyEventsSettings)
    uid_of: Callable[[Source], str] = lambda _source: ""
    _pending: dict[_Lane, Report] = attrs.field(factory=dict, init=False, repr=False)
    # What is wrong with each document that is not valid, as far as it is told, so that the same is not said twice.
    _invalid: dict[Source, tuple[FailClosedRegion, ...]] = attrs.field(factory=dict, init=False, repr=False)
    _ties: TieWatch = attrs.field(factory=TieWatch, init=False)
    # Whose authors were told of ties and not of their end, so that they learn of it, and nobody else does.
    _told_of_ties: set[Source] = attrs.field(factory=set, init=False, repr=False)
    _writing: Report | None = attrs.field(default=None, init=False)
    _snapshot: PolicySnapshot = attrs.field(default=PolicySnapshot.EMPTY, init=False)
    # Versions in which ties have not been looked for.
    _versions: list[Change] = attrs.field(factory=list, init=False, repr=False)
    _bucket: TokenBucket = attrs.field(init=False)
    _buckets: dict[Source, TokenBucket] = attrs.field(factory=dict, init=False, repr=False)
    _paused: dict[str, float] = attrs.field(factory=dict, init=False, repr=False)
    _missing_in: str | None = attrs.field(default=None, init=False)
    _news: trio.Event = attrs.field(factory=trio.Event, init=False)
    _version: trio.Event = attrs.field(factory=trio.Event, init=False)
    _written: int = attrs.field(default=0, init=False)
    _counted: int = attrs.field(default=0, init=False)
    _dropped: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._bucket = TokenBucket(self.settings.burst, self.settings.interval)

    def published(self, change: Change) -> None:
        """Take note of a version; costs the number of its documents that changed."""
        for source in change.withdrawn:
            self._invalid.pop(source, None)
            self._told_of_ties.discard(source)
            for lane in ((source, False), (source, True)):
                self._pending.pop(lane, None)
        for document in change.documents:
            if document.regions or (self._invalid and document.source in self._invalid):
                self._take(document)
        self._snapshot = change.snapshot
        self._versions.append(change)
        self._version.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write what there is to say until cancelled; ``started()`` at once. No failure of the server ends it."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_ties)
            task_status.started()
            while True:
                await self._write(await self._next())

    def statistics(self) -> PolicyEventsStatistics:
        """Return the numbers so far."""
        return PolicyEventsStatistics(len(self._pending), self._written, self._counted, self._dropped)

    def _take(self, document: PolicyDocument) -> None:
        source = document.source
        before, regions = self._invalid.pop(source, None), document.problems[:MAX_REGIONS]
        if regions:
            self._invalid[source] = regions
            if regions != before:
                self._say(Report(source, Reason.INVALID, regions=regions))
        elif before is not None:
            self._say(Report(source, Reason.ACCEPTED, f"the document is valid again; entries in force: {len(document.entries)}"))

    def _say(self, report: Report) -> None:
        self._pending[_lane(report)] = report  # in the place of one that waits already
        if len(self._pending) > self.settings.max_pending:
            del self._pending[next(iter(self._pending))]
            self._dropped += 1
        self._news.set()

    async def _follow_ties(self) -> None:
        while True:
            await self._version.wait()
            self._version = trio.Event()
            changed = await self._take_changed()
            for news in self._ties.look(self._snapshot, changed):
                if news is None:
                    await trio.lowlevel.checkpoint()
                elif news.ties:
                    self._say(Report(news.source, Reason.CONFLICTING, "; ".join(map(str, news.ties)), of_ties=True))
                else:
                    self._untied(news.source)

    async def _take_changed(self) -> set[Source]:
        """Return whatever differs in the versions up to the present one; hashing 10,000 sources takes milliseconds, hence the pauses."""
        changed = set[Source]()
        while self._versions:
            change = self._versions.pop(0)
            sources = chain(change.withdrawn, (document.source for document in change.documents))
            while some := tuple(islice(sources, SLICE)):
                changed.update(some)
                if len(some) == SLICE:
                    await trio.lowlevel.checkpoint()
        return changed

    def _untied(self, source: Source) -> None:
        """No entry of the document ties any more: whoever knows that one did is told, unless the document is gone or something is wrong."""
        self._pending.pop((source, True), None)
        document = self._snapshot.documents.get(source)
        if document is None or document.regions:
            self._told_of_ties.discard(source)  # when it is valid again, that is told
        elif source in self._told_of_ties or self._is_telling_a_tie_of(source):
            text = f"no entry ties with another any more; entries in force: {len(document.entries)}"
            self._say(Report(source, Reason.ACCEPTED, text, of_ties=True))

    def _is_telling_a_tie_of(self, source: Source) -> bool:
        report = self._writing
        return report is not None and (report.source, report.reason) == (source, Reason.CONFLICTING)

    async def _next(self) -> Report:
        """Return the oldest report that may be written, as soon as there is one."""
        while True:
            self._news = trio.Event()
            now = trio.current_time()
            earliest = float("inf")
            for lane, report in self._pending.items():
                ready_at = self._ready_at(report.source)
                if ready_at <= now:
                    del self._pending[lane]
                    self._charge(report.source, now)
                    return report
                earliest = min(earliest, ready_at)
            with trio.move_on_at(earliest):
                await self._news.wait()

    def _ready_at(self, source: Source) -> float:
        bucket = self._buckets.get(source)
        own = float("-inf") if bucket is None else bucket.ready_at()
        return max(self._bucket.ready_at(), own, self._paused.get(source.namespace, float("-inf")))

    def _charge(self, source: Source, now: float) -> None:
        if len(self._buckets) >= self.settings.max_pending:
            self._buckets = {other: bucket for other, bucket in self._buckets.items() if not bucket.is_full(now)}
        bucket = self._buckets.setdefault(source, TokenBucket(self.settings.burst, self.settings.object_interval))
        bucket.take(now)
        self._bucket.take(now)

    async def _write(self, report: Report) -> None:
        namespace = report.source.namespace
        self._writing = report
        outcome = await self.writer.write(attrs.evolve(report, uid=self.uid_of(report.source)))
        self._writing = None
        match outcome:
            case Written.NEW:
                self._written += 1
            case Written.COUNTED:
                self._counted += 1
            case Written.DROPPED:
                self._dropped += 1
                self._not_told(report)
                return
            case Written.FORBIDDEN:
                self._not_told(report)
                self._forbidden(report)
                return
            case _:
                assert_never(outcome)
        self._told(report)
        self._paused.pop(namespace, None)
        if self._missing_in == namespace:
            self._missing_in = None

    def _told(self, report: Report) -> None:
        if report.reason is Reason.CONFLICTING and report.source in self._snapshot.documents:
            self._told_of_ties.add(report.source)
        elif report.of_ties:
            self._told_of_ties.discard(report.source)

    def _not_told(self, report: Report) -> None:
        """Do not tell the end of something whose beginning nobody was told."""
        if report.reason is not Reason.CONFLICTING or report.source in self._told_of_ties:
            return
        waiting = self._pending.get(_lane(report))
        if waiting is not None and waiting.reason is Reason.ACCEPTED:
            del self._pending[_lane(report)]

    def _forbidden(self, report: Report) -> None:
        """Leave the namespace alone for a while; ``report`` waits there, unless it is overtaken."""
        namespace, now = report.source.namespace, trio.current_time()
        again = namespace in self._paused
        self._paused = {other: until for other, until in self._paused.items() if until > now}
        self._paused[namespace] = now + (self.settings.pause if again else self.settings.retry)
        over = report.reason is Reason.CONFLICTING and not self._ties.knows(report.source)
        if _lane(report) not in self._pending and report.source in self._snapshot.documents and not over:
            self._say(report)
        if again and self._missing_in is None:
            self._missing_in = namespace
            self.observer.event_right_missing(f"needs create and patch on events in the namespace {namespace}")


def _lane(report: Report) -> _Lane:
    return report.source, report.of_ties
