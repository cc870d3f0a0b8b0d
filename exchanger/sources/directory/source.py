"""``POLICY_SOURCE=directory``: follows a folder of manifests, and publishes a new version of the policy for each change."""

import math
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from itertools import chain
from pathlib import Path
from typing import Final, final

import attrs
import structlog
import trio
import watchfiles

from exchanger.model.codes.manifests import UNREADABLE_FILE
from exchanger.model.entry import UNKNOWN_NAMESPACE, Source
from exchanger.model.errors import ExchangerError
from exchanger.model.notice import NO_NOTICES, Notices
from exchanger.model.selector import Selector
from exchanger.net.network import SYSTEM, Network
from exchanger.policy.current import PolicySink
from exchanger.policy.documents.document import Labels
from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.notices import of_allowance, of_snapshot
from exchanger.policy.selection import Change, DocumentText, UnknownText, select
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.directory.folder import FOLDER, File, Scan, notices_of, scan
from exchanger.sources.publish.machine import Machine
from exchanger.sources.publish.runner import Runner

# Seconds between scans without any notification: network file systems send none, and a change must count within a second.
RESCAN_S: Final = 0.7
# Seconds in which notifications are collected: an edit causes several of them, and should be one version.
DEBOUNCE_S: Final = 0.1

# A feed that is behind while a folder changes: what it knows may be of the middle of a change.
CHANGES: Final = "changes"
# Seconds without a change after which a change counts as whole. A checkout or a copy removes files first and writes others later.
QUIET_S: Final = 1.0
# Seconds after which a folder that changes all the time is taken as it is.
RESTLESS_S: Final = 5.0

# Log lines of one kind for one scan: all files can become unreadable at once, and a line takes 50 µs of the loop.
MAX_LINES: Final = 50


# Yields when something in a folder may have changed, and every ``RESCAN_S``. The event ends the wait, if it is one of a thread.
Watch = Callable[[Path, trio.Event], AsyncGenerator[None]]


async def watch_folder(folder: Path, end: trio.Event) -> AsyncGenerator[None]:
    """Watch ``folder`` by the system's notifications; see ``Watch``."""
    while True:
        try:
            changes = watchfiles.awatch(
                folder,
                watch_filter=None,
                debounce=int(DEBOUNCE_S * 1000),
                step=int(DEBOUNCE_S * 500),
                rust_timeout=int(RESCAN_S * 1000),
                yield_on_timeout=True,
                stop_event=end,
                ignore_permission_denied=True,
            )
            async with aclosing(changes) as batches:
                async for _ in batches:
                    yield
        except (OSError, RuntimeError):
            pass  # the folder is gone, or the system has no watches left
        await trio.sleep(RESCAN_S)
        yield


class FolderError(ExchangerError):
    """The folder cannot be listed at the start."""


@final
@attrs.frozen
class DirectorySettings:
    """POLICY_DIRECTORY and the two selectors."""

    path: Path
    namespace_selector: Selector
    configmap_selector: Selector

    @property
    def where(self) -> str:
        """Which Namespaces count, for messages."""
        return f"Namespaces of the same folder that match {self.namespace_selector}"


def first_scan(settings: DirectorySettings, wall: Callable[[], float] = SYSTEM.wall) -> Scan:
    """Return what is in the folder; blocks while its files are read.

    Raises:
        FolderError: it cannot be listed
    """
    scanned = scan(settings.path, Scan(), wall)
    if scanned.problem is not None:
        raise FolderError(f"POLICY_DIRECTORY {settings.path} {scanned.problem}")
    return scanned


def documents_of(
    scanned: Scan, settings: DirectorySettings, limits: NamespaceLimits, unknown: Mapping[str, str]
) -> dict[Source, DocumentText]:
    """Return the active documents. Each file of ``unknown`` content, with the reason, is one that closes everything."""
    documents = select(scanned.manifests(), settings.namespace_selector, settings.configmap_selector, limits)
    files = dict(scanned.files)
    return documents | {Source(UNKNOWN_NAMESPACE, name): _unknown(files[name], reason) for name, reason in unknown.items()}


def _unknown(file: File, reason: str) -> UnknownText:
    found = file.unreadable
    if found is None or found.line is None:
        return UnknownText(f"the file {reason}", code=UNREADABLE_FILE if found is None else found.code)
    return UnknownText(f"the file {reason.removesuffix(f', line {found.line}')}", code=found.code, line=found.line)


@final
@attrs.frozen
class _State:
    """What a scan has found: documents, and the labels of their namespaces.

    ``unknown`` are the files that have never been readable since the first scan, ``problems`` is why files cannot be read as they are now,
    and ``notices`` are by ``grants``. ``whole`` is the last scan that was not in the middle of a change. ``differs``: the scan before found
    other files; ``is_edit``: it differs by the edit of one of them.
    """

    scanned: Scan
    texts: dict[Source, DocumentText]
    labels: dict[str, tuple[Labels, ...]]
    unknown: frozenset[str]
    problems: dict[str, str]
    whole: Scan
    notices: Notices = NO_NOTICES
    grants: Grants = NO_GRANTS
    differs: bool = False
    is_edit: bool = False


@final
@attrs.define(eq=False)
class DirectorySource:
    """Publishes complete snapshots. ``issuers`` are the profiles that entries may refer to, ``grants`` those that restrict documents.

    ``on_notices`` gets the probable mistakes whenever they may have changed, and ``on_published`` each version that differs. Neither may
    block or raise. ``watch`` tells when to look at the folder again. ``unreadable`` are the names of files that cannot be read as they are
    now, and ``FOLDER`` if the folder cannot be listed.
    """

    settings: DirectorySettings
    issuers: frozenset[str]
    sink: PolicySink
    on_notices: Callable[[Notices], None] = lambda _notices: None
    grants: Grants = NO_GRANTS
    on_published: Callable[[Change], None] = lambda _change: None
    network: Network = SYSTEM
    watch: Watch = watch_folder
    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger)
    _runner: Runner = attrs.field(init=False)
    _snapshot: PolicySnapshot = attrs.field(default=PolicySnapshot.EMPTY, init=False)
    # Documents that were active until all of them went away at once.
    _emptied: int = attrs.field(default=0, init=False)
    _state: _State | None = attrs.field(default=None, init=False)
    _published: trio.Event = attrs.field(factory=trio.Event, init=False)
    # When the folder began to change, and when it changed last.
    _restless_since: float = attrs.field(default=math.inf, init=False)
    _changed_at: float = attrs.field(default=math.inf, init=False)
    unreadable: tuple[str, ...] = attrs.field(default=(), init=False)
    # One thread at a time: a scan starts from the previous result.
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False)

    def __attrs_post_init__(self) -> None:
        machine = Machine((FOLDER,), self.issuers, PolicySnapshot(self.grants))
        self._runner = Runner(machine, self._publish, run_sync=self.network.run_sync, cpu=self.network.cpu)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Publish the folder's policy and each change until cancelled; ``started()`` when the first version is published.

        Raises:
            FolderError: the folder cannot be listed at the start.
        """
        await self._rescan()
        end, runner = trio.Event(), self._runner
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runner.run)
            runner.do(runner.machine.caught_up(FOLDER, trio.current_time()))
            await self._published.wait()
            task_status.started()
            nursery.start_soon(_set_when_cancelled, end)
            async with aclosing(self.watch(self.settings.path, end)) as notifications:
                async for _ in notifications:
                    await self._rescan()

    @property
    def is_listed(self) -> bool:
        """Whether the folder could be listed when it was last looked at."""
        return FOLDER not in self.unreadable

    def use_issuers(self, names: frozenset[str]) -> None:
        """Let entries refer to these profiles from now on."""
        self.issuers = names
        self._runner.do(self._runner.machine.use_issuers(names, trio.current_time()))

    def use_grants(self, grants: Grants) -> None:
        """Hold all documents against ``grants`` from now on."""
        self.grants = grants
        self._runner.do(self._runner.machine.granted(grants, trio.current_time()))

    async def _rescan(self) -> None:
        # Abandoned when cancelled: a scan only reads, and its result is dropped.
        before, run_sync = self._state, self.network.run_sync
        after, texts, labels = await run_sync(self._scan, before, abandon_on_cancel=True, limiter=self._limiter)
        self._state = after
        self._report(before, after)
        now, machine = trio.current_time(), self._runner.machine
        # An edit of one file shows at once: authors try their policies in a folder.
        if after.differs and not (after.is_edit and self._restless_since == math.inf):
            self._changed_at, self._restless_since = now, min(now, self._restless_since)
            self._runner.do(machine.fell_behind(CHANGES, -math.inf, now))
        elif after.differs:
            self._state = attrs.evolve(after, whole=after.scanned)
        if texts or labels:
            self._runner.do(machine.applied(texts, now, labels))
        if now >= min(self._changed_at + QUIET_S, self._restless_since + RESTLESS_S):
            self._changed_at = self._restless_since = math.inf
            self._state = attrs.evolve(after, whole=after.scanned)
            self._runner.do(machine.caught_up(CHANGES, now))
        if self._published.is_set() and (before is None or before.notices != after.notices):
            self._send_notices()

    def _publish(self, change: Change, _reopens: bool) -> None:  # noqa: FBT001 - the runner's signature
        self._snapshot = change.snapshot
        self.sink.publish(change.snapshot)
        if self._published.is_set() and not (change.documents or change.removed):
            return
        self._emptied = 0 if change.documents else self._emptied + len(change.removed)
        self.on_published(change)
        self._send_notices()
        self._published.set()

    def _scan(self, before: _State | None) -> tuple[_State, dict[Source, DocumentText | None], dict[str, tuple[Labels, ...] | None]]:
        """Return the new state, and how its documents and labels differ. Runs in a thread."""
        settings, grants = self.settings, self.grants
        known = Scan() if before is None else before.scanned
        wall = self.network.wall
        scanned = first_scan(settings, wall) if before is None else scan(settings.path, known, wall, before.whole)
        problems, differs = scanned.problems(), before is not None and not scanned.has_same_files(known)
        if before is not None and before.grants is grants and not differs:
            return attrs.evolve(before, scanned=scanned, problems=problems, differs=False, is_edit=False), {}, {}
        # After a restart the previous content of an unreadable file is unknown, so until it can be read it closes everything. A file that
        # appears unreadable later has never been active under this name: it closes nothing, and what is deleted meanwhile stays.
        unknown = {name: reason for name, reason in scanned.unknown().items() if before is None or name in before.unknown}
        documents = documents_of(scanned, settings, grants.limits, unknown)
        texts = {source: attrs.evolve(document, namespace_labels=()) for source, document in documents.items()}
        labels = {source.namespace: document.namespace_labels for source, document in documents.items() if source.namespace}
        old_texts, old_labels = ({}, {}) if before is None else (before.texts, before.labels)
        changed: dict[Source, DocumentText | None] = {source: text for source, text in texts.items() if old_texts.get(source) != text}
        changed |= dict.fromkeys(source for source in old_texts if source not in texts)
        described: dict[str, tuple[Labels, ...] | None] = {name: own for name, own in labels.items() if old_labels.get(name) != own}
        described |= dict.fromkeys(name for name in old_labels if name not in labels)
        found = notices_of(scanned, settings.namespace_selector, settings.configmap_selector)
        ungranted = [notice for name, own in sorted(labels.items()) for notice in of_allowance(grants, name, own)]
        notices = Notices.of(chain(ungranted, found.listed), len(ungranted) + found.count)
        whole = scanned if before is None else before.whole
        is_edit = differs and scanned.is_edit_of(known)
        return _State(scanned, texts, labels, frozenset(unknown), problems, whole, notices, grants, differs, is_edit), changed, described

    def _send_notices(self) -> None:
        """Report the probable mistakes in the folder and in the active version."""
        settings, found = self.settings, NO_NOTICES if self._state is None else self._state.notices
        nothing = tuple(of_snapshot(self._snapshot, settings.where, settings.configmap_selector, emptied=self._emptied))
        self.on_notices(Notices.of(chain(nothing, found.listed), len(nothing) + found.count))

    def _report(self, before: _State | None, after: _State) -> None:
        old, new = {} if before is None else before.problems, after.problems
        self.unreadable = tuple(new)
        found = [(name, reason) for name, reason in new.items() if old.get(name) != reason]
        repaired = [name for name in old if name not in new]
        for name, reason in found[:MAX_LINES]:
            self._log.error("policy.file_unreadable", file=name, reason=reason)
        if len(found) > MAX_LINES:
            self._log.error("policy.file_unreadable", file=FOLDER, reason=f"{len(found) - MAX_LINES} more files cannot be read")
        for name in repaired[:MAX_LINES]:
            self._log.info("policy.file_repaired", file=name)
        if len(repaired) > MAX_LINES:
            self._log.info("policy.file_repaired", file=FOLDER, more=len(repaired) - MAX_LINES)


async def _set_when_cancelled(event: trio.Event) -> None:
    try:
        await trio.sleep_forever()
    finally:
        event.set()
