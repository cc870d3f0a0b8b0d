"""Builds versions of the policy from documents as they are added and removed.

Documents are read in the order of the ``Backlog``, in two lanes, so cheap ones never wait for expensive ones. Each lane applies what it has
read to the newest policy, and a version has whatever is ready: until a new text is read, the previous one stays in force.

Withdrawals come first. A withdrawn document leaves the policy at once, whatever its size, and those of one namespace in one version, which
is made in slices. The heavy lane sweeps what they leave behind.

So a version is not a consistent state of the source while anything is unread: a denial that moves to a large document of another namespace
is gone from one place and not yet in the other. Until everything is read, such a version loosens nothing that the ones before it do not
(see ``held_versions``), for a bounded time.

Must not know: where documents come from, or who reads the policy.
"""

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeAlias, TypeVar, final

import attrs
import trio
from rpds import HashTrieMap

from exchanger.assembly.background import Background
from exchanger.assembly.backlog import CHANGE_WORK, CLAIM_WORK, SHARE_WORK, WITHDRAWN_SLICE, Backlog, Lane, Pending
from exchanger.assembly.held_versions import HeldVersions
from exchanger.net.network import SYSTEM, RunSync
from exchanger.policy.documents.document import Labels, PolicyDocument
from exchanger.policy.grants.allowance import NO_GRANTS, Allowance, Grants
from exchanger.policy.grants.restriction import Cut, restrict_again
from exchanger.policy.selection import Change, DocumentText, Text, UnknownText, read
from exchanger.policy.shares import MAX_LOOKUPS
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import Source

T = TypeVar("T")

# Characters of a change that runs on the event loop: 1 ms, and 5 for the worst that an author can write. A thread costs requests just as
# much (https://docs.python.org/3/library/sys.html#sys.setswitchinterval).
INLINE_WORK: Final = 384
# Characters of changes that run there in a row, with a pause after each.
INLINE_BATCH: Final = 2048
# Seconds for which a version may wait for more, while there is more of the same lane.
GATHER_S: Final = 0.03
# Documents of one region that are applied without a pause, in 2 ms.
SLICE: Final = 100
# Granted areas of a namespace that are computed on the event loop, in 1 ms; more of them in a thread.
INLINE_AREAS: Final = 100
# Claims of leaving documents that are swept in one step, whatever else there is to do: 0.1 s of a thread. The memory of a version is also
# returned to the system when its predecessor goes, in 5 ms during which nothing else runs.
SWEPT_CLAIMS: Final = 4_000
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
    """The policy with some documents applied, those that made a difference, and the seconds of CPU that each namespace cost.

    ``grants`` are those that the documents were checked against, ``namespaces`` those of which other documents may differ, too.
    """

    snapshot: PolicySnapshot
    grants: Grants = attrs.field(repr=False)
    documents: Documents = attrs.field(factory=dict, repr=False)
    costs: Mapping[str, float] = attrs.field(factory=dict, repr=False)
    namespaces: frozenset[str] = attrs.field(default=frozenset(), repr=False)

    def with_later(self, documents: Documents, grants: Grants) -> "Made":
        """Apply ``documents``, which were checked against ``grants``, too; nothing is read again."""
        if grants is not self.grants:
            documents = {source: document and restrict_again(document, self.grants) for source, document in documents.items()}
        # Withdrawals in the meantime have been reported already, and may be a namespace of 10,000 documents.
        new = {source: left for source, left in documents.items() if left is not None or source in self.documents}
        return attrs.evolve(
            self,
            snapshot=with_documents(self.snapshot, documents, self.grants),
            documents={**self.documents, **new},
            namespaces=self.namespaces.union(source.namespace for source in documents),
        )


# What each namespace may do.
Allowances: TypeAlias = "HashTrieMap[str, tuple[Allowance, ...]]"


def changed_allowances(
    snapshot: PolicySnapshot, relabelled: Mapping[str, tuple[Labels, ...]], before: Grants, after: Grants
) -> dict[str, tuple[Allowance, ...]]:
    """Return the allowances of ``snapshot``'s namespaces that differ from the previous ones. Blocking code for a thread.

    ``before`` is what the documents were checked against, ``after`` the current grants, with the labels of ``relabelled`` namespaces.
    """
    all_differ = (before.enforced, before.limited) != (after.enforced, after.limited)
    found: dict[str, tuple[Allowance, ...]] = {}
    for namespace, labels in sorted({(source.namespace, document.namespace_labels) for source, document in snapshot.documents.items()}):
        now = after.allowances(namespace, relabelled.get(namespace, labels))
        if all_differ or now != before.allowances(namespace, labels):
            found[namespace] = now
    return found


def granted(snapshot: PolicySnapshot, before: Grants, grants: Grants) -> Made:
    """Check the documents of ``snapshot`` against ``grants``, which replace ``before``. Blocking code for a thread.

    The cost depends on the documents of namespaces whose rights differ.
    """
    documents: dict[Source, PolicyDocument | None] = {}
    changed = changed_allowances(snapshot, {}, before, grants)
    for source, document in snapshot.documents.items():
        if source.namespace not in changed:
            continue
        left = restrict_again(document, grants)
        part = snapshot.namespaces.get(source.namespace)
        if left != (document.alone or document) or (part is not None and part.exceeds):
            documents[source] = left
    documents = {source: documents[source] for source in sorted(documents)}  # persistent maps have another order in each process
    return Made(with_documents(snapshot, documents, grants).with_baseline(grants.denials), grants, documents)


def make(
    snapshot: PolicySnapshot,
    changes: Iterable[Pending],
    issuers: frozenset[str],
    grants: Grants = NO_GRANTS,
    cpu: Callable[[], float] = SYSTEM.cpu,
) -> Made:
    """Read pending documents, and apply them to ``snapshot``. Blocking code for a thread, or in small pieces for the event loop."""
    namespaces: dict[str, list[Pending]] = {}
    for change in changes:
        namespaces.setdefault(change.source.namespace, []).append(change)
    documents: dict[Source, PolicyDocument | None] = {}
    costs: dict[str, float] = {}
    for namespace, own in namespaces.items():
        began, before = cpu(), snapshot
        found = {change.source: _read(change, snapshot, issuers, grants) for change in own}
        snapshot = snapshot.changed(found, grants)
        changed = [source for source in found if snapshot.documents.get(source) is not before.documents.get(source)]
        documents.update((source, _kept(found[source], snapshot)) for source in changed)
        costs[namespace] = cpu() - began
    return Made(snapshot, grants, documents, costs)


def _kept(document: PolicyDocument | None, snapshot: PolicySnapshot) -> PolicyDocument | None:
    """Return ``document``, or what is kept of it if it was set aside: freeing the rest takes 20 ms, which belong in the thread."""
    known = None if document is None else snapshot.documents.get(document.source)
    alone = None if known is None else known.alone
    return document if alone is None or alone.aside is None else alone


def _read(change: Pending, snapshot: PolicySnapshot, issuers: frozenset[str], grants: Grants) -> PolicyDocument | None:
    if change.document is None:
        return None
    return read(change.source, change.document, issuers, grants, snapshot.documents.get(change.source))


def with_documents(snapshot: PolicySnapshot, documents: Documents, grants: Grants) -> PolicySnapshot:
    """Return ``snapshot`` with ``documents`` applied."""
    snapshot = snapshot.leave(*(source for source, document in documents.items() if document is None))
    return snapshot.changed({source: document for source, document in documents.items() if document is not None}, grants)


def swept(snapshot: PolicySnapshot, grants: Grants) -> Made:
    """Remove ``SWEPT_CLAIMS`` claims of withdrawn documents, which were checked against ``grants``. Blocking code for a thread."""
    most, namespaces = SWEPT_CLAIMS, set[str]()
    for source, claims in snapshot.trie.leaving.items():
        if most <= 0:
            break
        namespaces.add(source.namespace)
        snapshot = snapshot.swept(source, most, grants)
        most -= len(claims)
    return Made(snapshot, grants, namespaces=frozenset(namespaces))


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
    _differs: dict[Source, PolicyDocument | None] = attrs.field(factory=dict, init=False, repr=False)
    # Sources that the next version must wait for, with the number of their pending changes: a required change may wait for an older one.
    # Later changes are not required, or endless edits would keep everything closed.
    _required: dict[Source, int] = attrs.field(factory=dict, init=False, repr=False)
    # The next grants: all documents must be checked against them.
    _next_grants: Grants | None = attrs.field(default=None, init=False)
    # The newest labels of namespaces that have documents with others.
    _relabelled: dict[str, tuple[Labels, ...]] = attrs.field(factory=dict, init=False, repr=False)
    # What documents in force are checked against at each look-up: the allowances of their namespaces with new labels, and under the next
    # grants. Both are outdated until ``_cut`` has run.
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
        self._backlog = Backlog(self._work_in_force, self._work_beside)
        self._snapshot = PolicySnapshot.EMPTY.with_baseline(self.grants.denials).with_limits(self.grants.limits)

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
        known = self._snapshot.documents.get(source) or self._backlog.under_way(source)
        self._backlog.put(source, document, reread=reread)
        if document is not None and self.grants.limited and known is not None:
            labels, newest = known.namespace_labels, document.namespace_labels
            if self._relabelled.get(source.namespace, labels) != newest:
                self._relabelled[source.namespace] = newest
                self._cut_is_behind = True
        self._work.set()

    def sources(self, namespace: str = "") -> Iterator[Source]:
        """Yield the sources of a namespace, or of all, that have a document, or may have one once everything is read."""
        part = self._snapshot.namespaces.get(namespace)
        yield from (() if part is None else part.sources) if namespace else self._snapshot.documents
        yield from self._backlog.documents(namespace) if namespace else self._backlog.sources()

    def has(self, source: Source) -> bool:
        """Return whether a source has a document, or will have once everything is read."""
        waits = self._backlog.concerns(source)
        return self._backlog.document(source) is not None if waits else source in self._snapshot.documents

    def says(self, source: Source, document: DocumentText) -> bool:
        """Return whether ``document`` is the current or pending one of a source; in doubt it is not."""
        if self._backlog.concerns(source):
            return self._backlog.document(source) == document
        known = self._snapshot.documents.get(source)
        text = document.text if isinstance(document, Text) else None
        return known is not None and text is not None and (known.text, known.namespace_labels) == (text, document.namespace_labels)

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
        """Return the snapshot, with a cut for labels or grants that its documents have not been re-read under yet."""
        if self._cut_grants is None and not self._allowances:
            return self._snapshot
        grants = self._cut_grants or self.grants
        return self._snapshot.cut_by(Cut(self._allowances, self._cut_grants and self._cut_grants.denials, grants.enforced))

    @property
    def unread(self) -> int:
        """The number of changes that wait or are being read, and of withdrawn documents whose claims are not removed yet."""
        return len(self._backlog) + len(self._snapshot.trie.leaving)

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
                if changes:
                    self._ready.setdefault(Lane.LIGHT, self.clock())
                    await self._apply(changes)

    async def _apply(self, changes: tuple[Pending, ...]) -> None:
        if changes[0].document is None:
            await self._apply_withdrawals(changes)
        elif sum(change.work for change in changes) <= INLINE_BATCH and all(map(self._is_small, changes)):
            for change in changes:
                await trio.lowlevel.checkpoint()
                made = make(self._snapshot, (change,), self.issuers, self.grants, self.cpu)
                self._commit_light(made)
                await self._done((change,), made)
        else:
            made = await self._in_thread(Lane.LIGHT, make, self._snapshot, changes, self.issuers, self.grants, self.cpu)
            self._commit_light(made)
            await self._done(changes, made)

    async def _cut(self) -> None:
        """Cut from documents in force what new labels or the next grants revoke, before any of them is restricted."""
        self._cut_is_behind = False
        grants = self._next_grants
        after = self.grants if grants is None else grants
        found = await self._in_thread(Lane.LIGHT, changed_allowances, self._snapshot, dict(self._relabelled), self.grants, after)
        if found or self._allowances or grants is not self._cut_grants:
            self._refreshed = True
            self.wake()
        self._allowances, self._cut_grants = HashTrieMap(found), grants

    def _cut_new(self, namespace: str, labels: tuple[Labels, ...], grants: Grants) -> None:
        """Check a document that comes while ``grants`` or ``labels`` are coming against these; against nothing until they are computed."""
        is_small = grants.area_count(namespace, labels) <= INLINE_AREAS
        self._allowances = self._allowances.insert(namespace, grants.allowances(namespace, labels) if is_small else (Allowance(),))
        self._cut_is_behind = self._cut_is_behind or not is_small

    def _uncut(self, namespaces: Iterable[str]) -> None:
        """Stop checking the documents of ``namespaces`` at look-ups: they are restricted themselves now."""
        left = self._allowances
        for namespace in namespaces:
            left = left.discard(namespace)
        if len(left) != len(self._allowances):
            self._allowances, self._refreshed = left, True
            self.wake()

    async def _apply_withdrawals(self, changes: tuple[Pending, ...]) -> None:
        """Withdraw documents, and all others of their namespaces that are to be withdrawn: in slices, and in effect in one step."""
        slices = [changes]
        async with self._putting_withdrawals:
            for namespace in {change.source.namespace: None for change in changes}:
                while more := self._backlog.take_withdrawals(namespace, WITHDRAWN_SLICE):
                    slices.append(more)
                    await trio.lowlevel.checkpoint()
        if len(slices) == 1 and sum(self._work_in_force(change.source) for change in changes) <= INLINE_WORK:
            gone = {change.source: None for change in changes}
            self._commit_light(Made(self._snapshot.changed(gone, self.grants), self.grants, gone))
        else:
            await self._change_over_without(slices)
        for taken in slices:
            await self._done(tuple(change for change in taken if not change.early), Made(self._snapshot, self.grants))
            await trio.lowlevel.checkpoint()

    async def _change_over_without(self, slices: Iterable[tuple[Pending, ...]]) -> None:
        snapshot, sources, gone = self._snapshot, dict[Source, None](), dict[Source, None]()
        for taken in slices:
            own = dict.fromkeys(change.source for change in taken)
            sources.update(own)
            gone.update((source, None) for source in own if source in snapshot.documents)
            snapshot = snapshot.leave(*own)
            await trio.lowlevel.checkpoint()
        self._snapshot = snapshot
        self._differs.update(gone)
        self._meanwhile.update(sources)

    async def _heavy(self) -> None:
        while True:
            changes = await self._next(Lane.HEAVY)
            if (grants := self._next_grants) is not None:
                made = await self._merged(await self._in_thread(Lane.HEAVY, granted, self._begun(), self.grants, grants))
                self.grants, self._anyway = grants, True
                self._commit(made)
                self._read_again(document for document in made.documents.values() if document is not None and document.aside is not None)
                if self._next_grants is grants:
                    self._next_grants = self._cut_grants = None
                    self._uncut([namespace for namespace in self._allowances if namespace not in self._relabelled])
                self.wake()
            if changes:
                self._ready.setdefault(Lane.HEAVY, self.clock())
                made = await self._merged(
                    await self._in_thread(Lane.HEAVY, make, self._begun(), changes, self.issuers, self.grants, self.cpu)
                )
                self._commit(made)
                async with self._changing:
                    await self._done(changes, made)
            if self._snapshot.trie.leaving:
                made = await self._merged(await self._in_thread(Lane.HEAVY, swept, self._begun(), self.grants))
                self._commit(made)
                self._refreshed = True
                self.wake()

    def _begun(self) -> PolicySnapshot:
        self._meanwhile = {}
        return self._snapshot

    async def _merged(self, made: Made) -> Made:
        """Return ``made`` with what the light lane applied meanwhile, restricted by the grants of ``made``."""
        while True:
            async with self._changing:
                if not self._meanwhile:
                    return made
                meanwhile, self._meanwhile, grants = self._meanwhile, {}, self.grants
            if made.grants is grants and _work(meanwhile) <= INLINE_BATCH:  # others may make many regions of a short text
                made = made.with_later(meanwhile, grants)
            else:
                made = await self._in_thread(Lane.HEAVY, made.with_later, meanwhile, grants)

    async def _next(self, lane: Lane) -> tuple[Pending, ...]:
        while True:
            now = self.clock()
            changes = self._backlog.take(lane)
            if lane is Lane.LIGHT and self._cut_is_behind:
                return changes
            if lane is Lane.HEAVY and (self._next_grants is not None or self._snapshot.trie.leaving):
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

    def _commit_light(self, made: Made) -> None:
        self._meanwhile.update(self._commit(made))

    def _commit(self, made: Made) -> Documents:
        """Adopt ``made``, except for documents that were withdrawn while they were read; return the adopted ones."""
        late = [source for source in made.documents if self._backlog.is_withdrawn(source)]
        before, snapshot = self._snapshot, made.snapshot.leave(*late)
        documents: Documents = {**made.documents, **dict.fromkeys(late)}
        namespaces = made.namespaces.union(source.namespace for source in documents)
        for source in {**documents, **_shared_otherwise(before, snapshot, namespaces)}:
            document = snapshot.documents.get(source)
            if document is before.documents.get(source):
                continue  # the other lane has committed it
            self._differs[source] = document
            if document is not None:
                newest = self._relabelled.get(source.namespace, document.namespace_labels)
                differs = self._next_grants is not None or newest != document.namespace_labels
                if differs and source.namespace not in self._allowances:
                    self._cut_new(source.namespace, newest, self._next_grants or self.grants)
        # Documents that came and left while the heavy lane was working were never in its snapshot, and need not be removed.
        self._refreshed |= len(snapshot.trie.leaving) < len(before.trie.leaving)
        self._snapshot = snapshot
        for namespace in namespaces:
            self._read_again(snapshot.lacking(namespace))
        return documents

    def _read_again(self, documents: Iterable[PolicyDocument]) -> None:
        """Read ``documents``, of which nothing but the text was kept, unless something newer is to come for them."""
        for document in documents:
            if not self._backlog.concerns(document.source):
                text = Text(document.text, namespace_labels=document.namespace_labels)
                self._backlog.put(document.source, text, reread=True)
                self._work.set()

    async def _done(self, changes: tuple[Pending, ...], made: Made) -> None:
        sources = [change.source for change in changes]
        self._backlog.done(sources)
        settled = {source.namespace for source in sources if not self._backlog.documents(source.namespace)} & self._relabelled.keys()
        for namespace in settled:
            del self._relabelled[namespace]
        if self._next_grants is None:
            self._uncut(settled)
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
        for number, source in enumerate([source for source in self._required if source.namespace == namespace]):
            del self._required[source]
            waiting = self._backlog.document(source)
            labels = () if waiting is None else waiting.namespace_labels
            closed = read(source, UnknownText(_NOT_READ, labels), self.issuers, self.grants)
            self._commit(Made(self._snapshot.closed(closed), self.grants, {source: closed}))
            if not self._backlog.is_under_way(source):
                self._meanwhile[source] = closed
            if number % SLICE == SLICE - 1:
                await trio.lowlevel.checkpoint()

    def _is_small(self, change: Pending) -> bool:
        """Return whether a change may run on the event loop: its namespace may have got many claims while it waited."""
        part = self._snapshot.namespaces.get(change.source.namespace)
        divided = 0 if part is None else SHARE_WORK * part.claims
        return max(change.work, self._work_in_force(change.source), divided) <= INLINE_WORK

    def _work_in_force(self, source: Source) -> int:
        document, left = self._snapshot.documents.get(source), self._snapshot.trie.leaving.get(source, ())
        own = 0 if document is None else _work_of(document) + CLAIM_WORK * self._snapshot.closed_alone(document)
        part = self._snapshot.namespaces.get(source.namespace)
        # Within its share, a namespace is divided again with one in so many changes at most.
        divided = 0 if part is None else SHARE_WORK * part.claims // (1 if part.exceeds else MAX_LOOKUPS)
        return own + CLAIM_WORK * len(left) + divided

    def _work_beside(self, source: Source, document: DocumentText) -> int:
        """Return the work of a document that closes all that its namespace is granted, unless another one of it does so already."""
        if source.namespace in self._snapshot.trie.closed:
            return 0
        return CLAIM_WORK * self.grants.area_count(source.namespace, document.namespace_labels)


def _work_of(document: PolicyDocument) -> int:
    return len(document.text or "") + CLAIM_WORK * len(document.regions)


def _count_down(waiting: dict[Source, int], done: Iterable[Source]) -> None:
    """Remove one change of each source in ``done`` from those that are ``waiting``."""
    for source in waiting.keys() & done:
        waiting[source] -= 1
        if not waiting[source]:
            del waiting[source]


def _work(documents: Documents) -> int:
    return sum(CHANGE_WORK + (0 if document is None else _work_of(document)) for document in documents.values())


def _shared_otherwise(before: PolicySnapshot, after: PolicySnapshot, namespaces: Iterable[str]) -> dict[Source, None]:
    """Return the documents that differ because the share of their namespace is divided differently."""
    found: dict[Source, None] = {}
    for namespace in namespaces:
        parts = (before.namespaces.get(namespace), after.namespaces.get(namespace))
        if parts[1] is not None and any(part is not None and part.exceeds for part in parts):
            found.update((source, None) for source in parts[1].sources if after.documents[source] is not before.documents.get(source))
    return found
