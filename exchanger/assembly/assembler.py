"""Builds versions of the policy from documents as they are added and removed.

Documents are read in the order of the ``Backlog``, in two lanes, so cheap ones never wait for expensive ones. Each lane applies what it has
read to the newest policy, and a version has whatever is ready: until a new text is read, the previous one stays in force.

Withdrawals come first, and those of one namespace are in one version.

So a version is not a consistent state of the source while anything is unread: a denial that moves to a large document of another namespace
is gone from one place and not yet in the other. Until everything is read, such a version loosens nothing that the ones before it do not
(see ``held_versions``), for a bounded time.

Must not know: where documents come from, or who reads the policy.
"""

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Final, TypeAlias, TypeVar, final

import attrs
import trio
from rpds import HashTrieMap

from exchanger.assembly.background import Background
from exchanger.assembly.backlog import WITHDRAWN_SLICE, Backlog, Lane, Pending
from exchanger.assembly.held_versions import HeldVersions
from exchanger.net.network import SYSTEM, RunSync
from exchanger.policy.documents.document import Labels, PolicyDocument
from exchanger.policy.grants.allowance import NO_GRANTS, Allowance, Grants
from exchanger.policy.namespace import EffectiveDocument
from exchanger.policy.revocation import Revocation
from exchanger.policy.selection import Change, DocumentText, Text, UnknownText, known_document, read
from exchanger.policy.snapshot import PolicySnapshot, changed_documents
from exchanger.values.entry import Source

T = TypeVar("T")

# Seconds for which a version may wait for more, while there is more of the same lane.
GATHER_S: Final = 0.03
# Granted areas of a namespace that are computed on the event loop, in 1 ms; more of them in a thread.
INLINE_AREAS: Final = 100
# Seconds of CPU for one namespace that the first version waits for: ten of the most expensive documents. The rest is closed until it is
# read, so that nobody keeps the service from starting.
FIRST_BUDGET_S: Final = 10.0
# Seconds for which a version is held while anything is unread: a withdrawal takes effect within two seconds, whatever other namespaces do.
# A document of 5,000 entries is read within one.
HOLD_S: Final = 1.5
# Seconds between two held versions, so that a request is decided by at most six. A denial that arrived between them, and has moved since,
# may be missing; an older one cannot, and is held for as long as the difference.
APART_S: Final = 0.3
# Seconds between checks whether the time of a version is up.
EXPIRY_LOOK_S: Final = 0.1

# The document for each source from now on, ``None`` for none.
Documents = Mapping[Source, PolicyDocument | None]

_NOT_READ: Final = f"the document has not been read yet: others of its namespace took more than {FIRST_BUDGET_S:.0f} s"


@final
@attrs.frozen
class Made:
    """The policy with some documents and labels applied, and the seconds of CPU that each namespace cost.

    ``namespaces`` are those of which other documents may differ, too.
    """

    snapshot: PolicySnapshot
    documents: Documents = attrs.field(factory=dict, repr=False)
    labels: "NamespaceLabels" = attrs.field(factory=dict, repr=False)
    namespaces: frozenset[str] = frozenset()
    costs: Mapping[str, float] = attrs.field(factory=dict, repr=False)

    def with_later(self, documents: Documents, labels: "NamespaceLabels") -> "Made":
        """Apply ``documents`` and ``labels``, too; nothing is read again."""
        snapshot = self.snapshot.changed(documents, labels)
        return attrs.evolve(self, snapshot=snapshot, documents={**self.documents, **documents}, labels={**self.labels, **labels})


# The newest labels of namespaces, several descriptions of one if files disagree.
NamespaceLabels: TypeAlias = Mapping[str, tuple[Labels, ...]]
# What each namespace may do.
Allowances: TypeAlias = "HashTrieMap[str, tuple[Allowance, ...]]"


def changed_allowances(snapshot: PolicySnapshot, grants: Grants) -> dict[str, tuple[Allowance, ...]]:
    """Return the allowances of ``snapshot``'s namespaces that are others under ``grants``. Blocking code for a thread."""
    all_differ = (snapshot.grants.enforced, snapshot.grants.limited) != (grants.enforced, grants.limited)
    found: dict[str, tuple[Allowance, ...]] = {}
    for name, namespace in sorted(snapshot.namespaces.items()):
        now = grants.allowances(name, namespace.labels)
        if all_differ or now != namespace.allowances:
            found[name] = now
    return found


def make(
    snapshot: PolicySnapshot,
    changes: Iterable[Pending],
    labels: NamespaceLabels,
    issuers: frozenset[str],
    cpu: Callable[[], float] = SYSTEM.cpu,
) -> Made:
    """Read pending documents, and apply them to ``snapshot``, in namespaces with ``labels``. Blocking code for a thread."""
    namespaces: dict[str, list[Pending]] = {name: [] for name in labels}
    for change in changes:
        namespaces.setdefault(change.source.namespace, []).append(change)
    documents: dict[Source, PolicyDocument | None] = {}
    costs: dict[str, float] = {}
    for namespace, own in namespaces.items():
        began = cpu()
        found = {change.source: _read(change, snapshot, issuers) for change in own}
        snapshot = snapshot.changed(found, {namespace: labels[namespace]} if namespace in labels else {})
        documents.update((source, _kept(document, snapshot)) for source, document in found.items())
        costs[namespace] = cpu() - began
    return Made(snapshot, documents, labels, costs=costs)


def granted(snapshot: PolicySnapshot, grants: Grants) -> Made:
    """Hold the documents of ``snapshot`` against ``grants``. Blocking code for a thread."""
    after = snapshot.with_grants(grants)
    differ = (name for name, namespace in after.namespaces.items() if namespace is not snapshot.namespaces.get(name))
    return Made(after, namespaces=frozenset(differ))


def _kept(document: PolicyDocument | None, snapshot: PolicySnapshot) -> PolicyDocument | None:
    """Return ``document``, or what is kept of it if it is over quota: freeing the rest takes 20 ms, which belong in the thread."""
    known = None if document is None else snapshot.document(document.source)
    return document if known is None or not known.is_over_quota else known.document


def _read(change: Pending, snapshot: PolicySnapshot, issuers: frozenset[str]) -> PolicyDocument | None:
    if change.document is None:
        return None
    known = known_document(snapshot, change.source)
    found = read(change.source, change.document, issuers, known)
    # Where other issuers make no difference, nothing does: otherwise, each of 10,000 documents would be told of again.
    return known if known is not None and (known, known.text) == (found, found.text) else found


@final
@attrs.define(eq=False)
class Assembler:
    """``issuers`` are the profiles that entries may refer to; after changing them, have all documents ``reread``.

    ``grants`` restrict documents; call ``use_grants`` to change them. All methods but ``run`` and ``news`` return at once, and belong to
    the event loop's thread. ``run_sync`` runs a function in a thread, and ``cpu`` returns the seconds of CPU that a thread has used.
    """

    issuers: frozenset[str]
    grants: Grants = NO_GRANTS
    clock: Callable[[], float] = trio.current_time
    run_sync: RunSync = SYSTEM.run_sync
    cpu: Callable[[], float] = SYSTEM.cpu
    _snapshot: PolicySnapshot = attrs.field(default=PolicySnapshot.EMPTY, init=False)
    # How the next version differs. Kept separately, so that a version of 10,000 documents is published in one short step.
    _differs: dict[Source, EffectiveDocument | None] = attrs.field(factory=dict, init=False, repr=False)
    # Sources that the next version must wait for, with the number of their pending changes: a required change may wait for an older one.
    # Later changes are not required, or endless edits would keep everything closed.
    _required: dict[Source, int] = attrs.field(factory=dict, init=False, repr=False)
    # The next grants: all documents must be checked against them.
    _next_grants: Grants | None = attrs.field(default=None, init=False)
    # The newest labels of namespaces, and of those that have others in the newest policy.
    _labels: dict[str, tuple[Labels, ...]] = attrs.field(factory=dict, init=False, repr=False)
    _relabelled: dict[str, tuple[Labels, ...]] = attrs.field(factory=dict, init=False, repr=False)
    # What entries are checked against at each look-up until all documents are held against the next grants: the allowances of their
    # namespaces under these. Outdated until ``_cut`` has run.
    _allowances: Allowances = attrs.field(factory=HashTrieMap, init=False, repr=False)
    _cut_grants: Grants | None = attrs.field(default=None, init=False, repr=False)
    _cut_is_behind: bool = attrs.field(default=False, init=False)
    # A version is wanted although no document differs.
    _anyway: bool = attrs.field(default=False, init=False)
    # The policy means the same as in the last version that was taken, in another form.
    _refreshed: bool = attrs.field(default=False, init=False)
    _taken: trio.Event = attrs.field(factory=trio.Event, init=False)
    # The last version that was taken, or a later state of the source; those that the next one may not loosen; and whether one state is
    # being put in parts.
    _before: PolicySnapshot | None = attrs.field(default=None, init=False, repr=False)
    _held_while_unread: HeldVersions = attrs.field(factory=lambda: HeldVersions(HOLD_S, APART_S), init=False)
    _held_some: trio.Event = attrs.field(factory=trio.Event, init=False)
    _is_putting: bool = attrs.field(default=False, init=False)
    # The same for each ``until_read``.
    _awaited: list[tuple[dict[Source, int], trio.Event]] = attrs.field(factory=list, init=False, repr=False)
    # Seconds of CPU that each namespace has cost the first version.
    _spent: dict[str, float] = attrs.field(factory=dict, init=False, repr=False)
    _backlog: Backlog = attrs.field(init=False)
    # What the light lane applied while the heavy one was working.
    _meanwhile: dict[Source, PolicyDocument | None] = attrs.field(factory=dict, init=False, repr=False)
    _relabelled_meanwhile: dict[str, tuple[Labels, ...]] = attrs.field(factory=dict, init=False, repr=False)
    _background: Background = attrs.field(factory=Background, init=False)
    _news: trio.Event = attrs.field(factory=trio.Event, init=False)
    # When each lane first finished something that it has not announced yet.
    _ready: dict[Lane, float] = attrs.field(factory=dict, init=False)
    # Held while withdrawals are passed on.
    _putting_withdrawals: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    # Locked while the light lane changes the newest policy, and when the heavy one replaces it.
    _changing: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _work: trio.Event = attrs.field(factory=trio.Event, init=False)
    # A thread that outlives a cancellation ends before another one begins.
    _limiters: dict[Lane, trio.CapacityLimiter] = attrs.field(factory=lambda: {lane: trio.CapacityLimiter(1) for lane in Lane}, init=False)

    def __attrs_post_init__(self) -> None:
        self._backlog = Backlog(self._work_in_force)
        self._snapshot = PolicySnapshot(self.grants)

    async def run(self) -> None:
        """Read the documents that are put, until cancelled."""
        with self._background.watched():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._begin)
                nursery.start_soon(self._light)
                nursery.start_soon(self._heavy)
                nursery.start_soon(self._expire)

    def put(self, source: Source, document: DocumentText | None, *, reread: bool = False) -> None:
        """Set the document of a source, ``None`` to remove it; the last call for a source counts.

        ``reread``: the document is not new, only to be read again, and comes after new ones.
        """
        self._backlog.put(source, document, reread=reread)
        if document is not None:
            self._labels[source.namespace] = document.namespace_labels
            namespace = self._snapshot.namespace(source.namespace)
            if namespace is not None and namespace.labels != document.namespace_labels:
                self._relabelled[source.namespace] = document.namespace_labels
        self._work.set()

    def sources(self, namespace: str = "") -> Iterator[Source]:
        """Yield the sources of a namespace, or of all, that have a document, or may have one once everything is read."""
        for name in (namespace,) if namespace else self._snapshot.namespaces:
            known = self._snapshot.namespace(name)
            yield from () if known is None else known.documents
        yield from self._backlog.documents(namespace) if namespace else self._backlog.sources()

    def has(self, source: Source) -> bool:
        """Return whether a source has a document, or will have once everything is read."""
        waits = self._backlog.concerns(source)
        return self._backlog.document(source) is not None if waits else self._snapshot.document(source) is not None

    def says(self, source: Source, document: DocumentText) -> bool:
        """Return whether ``document`` is the current or pending one of a source; in doubt it is not."""
        if self._backlog.concerns(source):
            return self._backlog.document(source) == document
        known = self._snapshot.document(source)
        text = document.text if isinstance(document, Text) else None
        labels = self._labels.get(source.namespace)
        return known is not None and text is not None and (known.text, labels) == (text, document.namespace_labels)

    async def withdraw(self, sources: Iterable[Source]) -> None:
        """Put ``None`` for each of ``sources``, with pauses. Those of one namespace still leave in one version."""
        async with self._putting_withdrawals:
            for number, source in enumerate(sources, 1):
                self.put(source, None)
                if number % WITHDRAWN_SLICE == 0:
                    await trio.lowlevel.checkpoint()

    @contextmanager
    def putting(self) -> Generator[None]:
        """Within the block, changes are added with pauses in between; together they make one moment of the source."""
        self._is_putting = True
        try:
            yield
        finally:
            self._is_putting = False
            self._let_go_if_read()

    def use_grants(self, grants: Grants) -> None:
        """Check all documents against ``grants``, and change to them in one version: in between, a host might belong to no team."""
        self._next_grants, self._cut_is_behind = grants, True
        self._work.set()

    def require(self) -> None:
        """Publish no version until everything that is waiting now is in it."""
        self._required.update(self._backlog.sources())
        self.wake()

    async def until_read(self) -> None:
        """Wait until everything that is waiting now has been read."""
        waiting, done = self._backlog.sources(), trio.Event()
        if waiting:
            self._awaited.append((waiting, done))
            await done.wait()

    def take(self, *, anyway: bool = False) -> Change | None:
        """Return the current version and how it differs from the last one, ``None`` if it is not complete yet.

        Also ``None`` if nothing changed, unless the version is wanted ``anyway``. While anything is unread, earlier ones are ``held``.
        """
        if self._required:
            return None
        if not (self._differs or self._anyway or anyway):
            return None
        self._taken.set()
        self._anyway = self._refreshed = False
        differs, self._differs = self._differs, {}
        changed = tuple([document for document in differs.values() if document is not None])
        withdrawn = tuple([source for source, document in differs.items() if document is None])
        change = Change(self._cut_by_pending_grants(), changed, withdrawn)
        if self._before is not None and not self._is_read and self._held_while_unread.hold(self._before, change, self.clock()):
            self._held_some.set()
        self._before = change.snapshot
        return attrs.evolve(change, snapshot=self._guarded(change.snapshot))

    def refreshed(self) -> PolicySnapshot | None:
        """Return the current version if it has the same documents as the last one that was taken, and something else is new.

        They were checked against other labels or grants, or leaving documents were swept.
        """
        if self._required or not self._refreshed:
            return None
        self._refreshed = False
        self._before = snapshot = self._cut_by_pending_grants()
        return self._guarded(snapshot)

    def _guarded(self, snapshot: PolicySnapshot) -> PolicySnapshot:
        """Return ``snapshot`` with the versions that it may not loosen."""
        held = self._held_while_unread.snapshots
        return attrs.evolve(snapshot, held=held) if held else snapshot

    @property
    def _is_read(self) -> bool:
        """Whether the newest policy is a moment of the source."""
        return self._backlog.is_read and not self._is_putting

    def _let_go_if_read(self) -> None:
        """Hold no version any longer if the newest policy is a moment of the source, from which later versions start."""
        if not self._is_read:
            return
        if self._before is not None:
            self._before = self._cut_by_pending_grants()
        self._let_go(math.inf)

    def _let_go(self, read_until: float) -> None:
        now = self.clock()
        if self._held_while_unread.is_over(read_until, now):
            self._held_while_unread.release(read_until, now)
            self._refreshed = True
            self.wake()

    async def _expire(self) -> None:
        """Drop versions when their time is up."""
        while True:
            await self._held_some.wait()
            self._held_some = trio.Event()
            while self._held_while_unread:
                await trio.sleep(EXPIRY_LOOK_S)
                self._let_go(-math.inf)

    def _cut_by_pending_grants(self) -> PolicySnapshot:
        """Return the snapshot; entries in it that the next grants revoke are checked at each look-up."""
        if self._cut_grants is None:
            return self._snapshot
        return self._snapshot.revoked_by(Revocation(self._allowances, self._cut_grants.denials, self._cut_grants.enforced))

    @property
    def unread(self) -> int:
        """The number of changes that wait or are being read."""
        return len(self._backlog)

    async def news(self) -> None:
        """Wait until there may be something to take."""
        await self._news.wait()
        self._news = trio.Event()

    def wake(self) -> None:
        """Let ``news`` return."""
        self._news.set()

    async def _begin(self) -> None:
        with self._background.at_work():
            await self._taken.wait()

    async def _light(self) -> None:
        while True:
            changes = await self._next(Lane.LIGHT)
            async with self._changing:
                while self._cut_is_behind:
                    await self._cut()
                if changes or self._relabelled:
                    self._ready.setdefault(Lane.LIGHT, self.clock())
                    await self._apply(changes)

    async def _apply(self, changes: tuple[Pending, ...]) -> None:
        """Apply light changes; with withdrawals, all others of their namespaces: these leave in one version."""
        slices = [changes]
        if changes and changes[0].document is None:
            async with self._putting_withdrawals:
                for namespace in {change.source.namespace: None for change in changes}:
                    while more := self._backlog.take_withdrawals(namespace, WITHDRAWN_SLICE):
                        slices.append(more)
                        await trio.lowlevel.checkpoint()
        relabelled, self._relabelled = self._relabelled, {}
        labels = {**relabelled, **self._labels_of(changes)}
        every = tuple(chain.from_iterable(slices))
        made = await self._in_thread(Lane.LIGHT, make, self._snapshot, every, labels, self.issuers, self.cpu)
        while later := self._later_than(made):
            made = await self._in_thread(Lane.LIGHT, made.with_later, *later)
        self._adopt(made)
        self._meanwhile.update(made.documents)
        self._relabelled_meanwhile.update(labels)
        for taken in slices:
            await self._done(taken, made)
            await trio.lowlevel.checkpoint()

    def _labels_of(self, changes: Iterable[Pending]) -> dict[str, tuple[Labels, ...]]:
        namespaces = {change.source.namespace for change in changes if change.document is not None}
        return {name: self._labels[name] for name in sorted(namespaces) if name in self._labels}

    async def _cut(self) -> None:
        """Check at each look-up what the next grants revoke, before documents are held against them."""
        self._cut_is_behind = False
        grants = self._next_grants
        if grants is not None:
            found = await self._in_thread(Lane.LIGHT, changed_allowances, self._snapshot, grants)
            if grants is self._next_grants:
                self._allowances, self._cut_grants = HashTrieMap(found), grants
                self._refreshed = True
                self.wake()

    def _cut_new(self, namespace: str, grants: Grants) -> None:
        """Check the documents of a new namespace against the next ``grants``; against nothing until these are computed."""
        labels = self._labels.get(namespace, ())
        is_small = grants.area_count(namespace, labels) <= INLINE_AREAS
        self._allowances = self._allowances.insert(namespace, grants.allowances(namespace, labels) if is_small else (Allowance(),))
        self._cut_is_behind = self._cut_is_behind or not is_small

    async def _heavy(self) -> None:
        while True:
            changes = await self._next(Lane.HEAVY)
            if (grants := self._next_grants) is not None:
                await self._merge(await self._in_thread(Lane.HEAVY, granted, self._begun(), grants))
                self.grants, self._anyway = grants, True
                if self._next_grants is grants:
                    self._next_grants = self._cut_grants = None
                    self._allowances, self._refreshed = HashTrieMap(), True
                self.wake()
            if changes:
                self._ready.setdefault(Lane.HEAVY, self.clock())
                labels = self._labels_of(changes)
                made = await self._in_thread(Lane.HEAVY, make, self._begun(), changes, labels, self.issuers, self.cpu)
                await self._merge(made)
                async with self._changing:
                    await self._done(changes, made)

    def _begun(self) -> PolicySnapshot:
        self._meanwhile, self._relabelled_meanwhile = {}, {}
        return self._snapshot

    async def _merge(self, made: Made) -> None:
        """Adopt what the heavy lane made, with what the light lane has applied meanwhile."""
        while True:
            async with self._changing:
                documents, labels = self._later_than(made) or ({}, {})
                documents, labels = {**self._meanwhile, **documents}, {**self._relabelled_meanwhile, **labels}
                self._meanwhile, self._relabelled_meanwhile = {}, {}
                if not (documents or labels):
                    self._adopt(made)
                    return
            made = await self._in_thread(Lane.HEAVY, made.with_later, documents, labels)

    def _later_than(self, made: Made) -> tuple[Documents, NamespaceLabels] | None:
        """Return the documents of ``made`` that were withdrawn while they were read, and newer labels; ``None`` if there are none."""
        withdrawn = [source for source, document in made.documents.items() if document is not None and self._backlog.is_withdrawn(source)]
        names = {source.namespace for source in made.documents} & self._labels.keys()
        known = {name: namespace.labels for name in sorted(names) if (namespace := made.snapshot.namespace(name)) is not None}
        labels = {name: self._labels[name] for name, described in known.items() if self._labels[name] != described}
        return (dict.fromkeys(withdrawn), labels) if withdrawn or labels else None

    async def _next(self, lane: Lane) -> tuple[Pending, ...]:
        while True:
            now = self.clock()
            changes = self._backlog.take(lane)
            if (self._cut_is_behind or self._relabelled) if lane is Lane.LIGHT else self._next_grants is not None:
                return changes
            if lane in self._ready and (not changes or now >= self._ready[lane] + GATHER_S):
                del self._ready[lane]
                self.wake()
            if changes:
                return changes
            self._work = self._work if not self._work.is_set() else trio.Event()
            await self._work.wait()

    async def _in_thread(self, lane: Lane, function: Callable[..., T], *args: object) -> T:
        # Abandoned when cancelled: it only reads, and its result is dropped.
        with self._background.at_work():
            return await self.run_sync(function, *args, abandon_on_cancel=True, limiter=self._limiters[lane])

    def _adopt(self, made: Made) -> None:
        """Make ``made`` the newest policy."""
        before, self._snapshot = self._snapshot, made.snapshot
        namespaces = {*made.namespaces, *made.labels, *(source.namespace for source in made.documents)}
        self._differs.update(changed_documents(before, made.snapshot, made.documents, made.namespaces))
        for name in sorted(namespaces):
            namespace = made.snapshot.namespace(name)
            if namespace is None:
                continue
            if self._next_grants is not None and name not in self._allowances:
                self._cut_new(name, self._next_grants)
            self._read_again(namespace.documents[source] for source in sorted(namespace.to_read_again))

    def _read_again(self, documents: Iterable[EffectiveDocument]) -> None:
        """Read ``documents``, of which nothing but the text was kept, unless something newer is to come for them."""
        for document in documents:
            if not self._backlog.concerns(document.source):
                text = Text(document.text, namespace_labels=self._labels.get(document.source.namespace, ()))
                self._backlog.put(document.source, text, reread=True)
                self._work.set()

    async def _done(self, changes: tuple[Pending, ...], made: Made) -> None:
        sources = [change.source for change in changes]
        self._backlog.done([change.source for change in changes if not change.early])
        for name in {source.namespace for source in sources}:
            if self._snapshot.namespace(name) is None and not self._backlog.documents(name):
                self._labels.pop(name, None)
        self._let_go_if_read()
        self._work.set()  # newer changes of these sources may run now
        required = bool(self._required)
        _count_down(self._required, sources)
        for waiting, done in self._awaited:
            _count_down(waiting, sources)
            if not waiting:
                done.set()
        self._awaited = [awaited for awaited in self._awaited if not awaited[1].is_set()]
        if self._required and not self._taken.is_set():
            for namespace, seconds in made.costs.items():
                self._spent[namespace] = self._spent.get(namespace, 0.0) + seconds
                if self._spent[namespace] > FIRST_BUDGET_S:
                    await self._close_unread(namespace)
        if required and not self._required:
            self.wake()

    async def _close_unread(self, namespace: str) -> None:
        """Stop waiting for the documents of a namespace: until they are read, they close everything that they may concern."""
        unread = [source for source in self._required if source.namespace == namespace]
        closed = {source: read(source, UnknownText(_NOT_READ), self.issuers) for source in unread}
        made = Made(self._snapshot).with_later
        self._adopt(await self._in_thread(Lane.LIGHT, made, closed, {namespace: self._labels.get(namespace, ())}))
        for source in unread:
            self._required.pop(source, None)
            if not self._backlog.is_under_way(source):
                self._meanwhile[source] = closed[source]

    def _work_in_force(self, source: Source) -> int:
        document = self._snapshot.document(source)
        return 0 if document is None else len(document.text or "")


def _count_down(waiting: dict[Source, int], done: Iterable[Source]) -> None:
    """Remove one change of each source in ``done`` from those that are ``waiting``."""
    for source in waiting.keys() & done:
        waiting[source] -= 1
        if not waiting[source]:
            del waiting[source]
