"""The documents that wait to be read, in order: withdrawals first, then fair between namespaces, the cheaper first.

A document waits for those of its own namespace, and for as many characters of each other one. So however many or however large documents a
team has, another team's edit does not wait for them. A withdrawal only waits for earlier documents of its own namespace that are not
withdrawn themselves.

Must not know: tasks, threads, or what a document says.
"""

import enum
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from itertools import islice, takewhile
from typing import Final, final

import attrs

from exchanger.policy.selection import DocumentText, Text
from exchanger.values.entry import Source

# Characters of a light document, and of a batch of them, at most: about 40 ms, and 150 for the worst that an author can write.
LIGHT_WORK: Final = 8 * 1024
# Characters that a change costs in addition to its documents, however short they are.
CHANGE_WORK: Final = 64
# Withdrawals that are taken, or applied, in one step: 2 ms.
WITHDRAWN_SLICE: Final = 128


@enum.unique
class Lane(enum.Enum):
    """Light documents never wait for a heavy one, which takes up to a few seconds."""

    LIGHT = "light"
    HEAVY = "heavy"


# Stale turns that are kept before they are dropped.
_MANY: Final = 1024
# Characters that are taken at once, if the first document has no more: heavy ones are taken one by one.
MOST: Final = {Lane.LIGHT: LIGHT_WORK, Lane.HEAVY: 2**31}


@final
@attrs.frozen
class Pending:
    """A change that waits: the ``document`` for ``source``, ``None`` to remove it.

    ``reread``: the document is not new, so it comes after new ones. ``work`` measures the cost. ``early``: a withdrawal while an older
    change of its source is in progress, whose document is dropped.
    """

    source: Source
    document: DocumentText | None
    reread: bool = False
    work: int = 0
    early: bool = False

    @property
    def lane(self) -> Lane:
        """The lane of a document."""
        return Lane.LIGHT if self.work <= LIGHT_WORK else Lane.HEAVY


# The finish of a document, a number that breaks ties, and the document.
_Turn = tuple[int, int, Pending]


@final
@attrs.define(eq=False)
class _Queue:
    """The documents that wait in a lane, by their finish: that of the previous document in their namespace, plus their work.

    A namespace without waiting documents starts at the start of the last one taken (start-time fair queueing,
    https://doi.org/10.1109/90.649569).
    """

    _turns: list[_Turn] = attrs.field(factory=list, init=False)
    _waiting: dict[Source, _Turn] = attrs.field(factory=dict, init=False)
    _finishes: dict[str, int] = attrs.field(factory=dict, init=False)
    _start: int = attrs.field(default=0, init=False)
    _numbers: int = attrs.field(default=0, init=False)

    def put(self, pending: Pending) -> None:
        """Let a document wait; one that replaces another of its source pays the difference."""
        source, before = pending.source, self._waiting.get(pending.source)
        last = self._finishes.get(source.namespace, 0)
        finish = pending.work + (max(self._start, last) if before is None else last - before[2].work)
        self._finishes[source.namespace] = finish
        self._numbers += 1
        self._waiting[source] = turn = (finish, self._numbers, pending)
        heappush(self._turns, turn)
        if len(self._turns) > 2 * len(self._waiting) + _MANY:
            self._turns = sorted(self._waiting.values())

    def drop(self, source: Source) -> None:
        """Forget the document of ``source``, if there is one."""
        self._waiting.pop(source, None)

    def take(self, most: int) -> Pending | None:
        """Take the next document, unless it costs more than ``most`` characters."""
        while self._turns:
            finish, _, pending = turn = self._turns[0]
            if pending.work > most:
                return None
            heappop(self._turns)
            if self._waiting.get(pending.source) is turn:
                del self._waiting[pending.source]
                self._start = max(self._start, finish - pending.work)
                return pending
        self._finishes, self._start = {}, 0  # nothing waits, so nothing has to be shared fairly
        return None


@final
@attrs.define(eq=False)
class Backlog:
    """Keeps the newest change of each source.

    ``in_force`` returns the work of removing the document that a change of a source replaces, in characters.
    """

    in_force: Callable[[Source], int]
    _pending: dict[Source, Pending] = attrs.field(factory=dict, init=False, repr=False)
    # New ones, and those that are only read again.
    _queues: dict[tuple[Lane, bool], _Queue] = attrs.field(init=False, repr=False)
    # Sources with a change in progress, and its document: a newer document waits for it, so that the newest wins.
    _under_way: dict[Source, DocumentText | None] = attrs.field(factory=dict, init=False, repr=False)
    # Sources with a change in progress that were withdrawn meanwhile.
    _dropped: set[Source] = attrs.field(factory=set, init=False, repr=False)
    # By namespace, each with the numbers of their changes, in their order: documents that wait or are being read; the withdrawals that wait
    # for them, so that an entry moved from one ConfigMap to another is never missing; and those that wait for nothing.
    _documents: dict[str, dict[Source, int]] = attrs.field(factory=dict, init=False, repr=False)
    _withdrawals: dict[str, dict[Source, int]] = attrs.field(factory=dict, init=False, repr=False)
    _leaving: dict[str, dict[Source, int]] = attrs.field(factory=dict, init=False, repr=False)
    _numbers: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._queues = {(lane, reread): _Queue() for lane in Lane for reread in (False, True)}

    def __len__(self) -> int:
        return len(self._pending) + len(self._under_way.keys() - self._pending.keys())

    @property
    def is_read(self) -> bool:
        """Whether nothing waits or is being read except documents that were withdrawn meanwhile, and are dropped."""
        return not self._pending and self._under_way.keys() <= self._dropped

    def sources(self) -> dict[Source, int]:
        """Return the sources of all changes that wait or are in progress, and how many these are: two if a source has both."""
        return {source: (source in self._under_way) + (source in self._pending) for source in {**self._under_way, **self._pending}}

    def is_under_way(self, source: Source) -> bool:
        """Return whether a change of the source was taken and is not done."""
        return source in self._under_way

    def is_withdrawn(self, source: Source) -> bool:
        """Return whether a source with a change in progress was withdrawn meanwhile."""
        return source in self._dropped

    def documents(self, namespace: str) -> tuple[Source, ...]:
        """Return the sources of the namespace whose documents wait or are being read, and are not withdrawn."""
        return tuple(self._documents.get(namespace, ()))

    def concerns(self, source: Source) -> bool:
        """Return whether a change of the source waits or is in progress."""
        return source in self._pending or source in self._under_way

    def document(self, source: Source) -> DocumentText | None:
        """Return the newest document of the source that waits or is being read."""
        pending = self._pending.get(source)
        return self._under_way.get(source) if pending is None else pending.document

    def under_way(self, source: Source) -> DocumentText | None:
        """Return the document of the source that was taken and is not done, if there is one."""
        return self._under_way.get(source)

    def put(self, source: Source, document: DocumentText | None, *, reread: bool = False) -> None:
        """Take a change, replacing an older one that waits."""
        before = self._pending.get(source)
        if reread and before is not None:
            return  # the newest document waits already
        self._numbers += 1
        _discard(self._withdrawals, source)
        _discard(self._leaving, source)
        _discard(self._documents, source)
        self._pending[source] = Pending(source, document, reread)
        if document is None:
            if before is not None:
                self._queues[before.lane, before.reread].drop(source)
            self._withdrawals.setdefault(source.namespace, {})[source] = self._numbers
            self._release(source.namespace)
        else:
            self._documents.setdefault(source.namespace, {})[source] = self._numbers
            if source not in self._under_way:
                self._queue(source, document, before)

    def take(self, lane: Lane) -> tuple[Pending, ...]:
        """Return the next changes: one, or light ones of ``LIGHT_WORK`` characters, or ``WITHDRAWN_SLICE`` withdrawals.

        The namespace of the last withdrawal may have more, see ``take_withdrawals``. Call ``done`` when the changes are, except for those
        that are ``early``.
        """
        taken = list[Pending]()
        while lane is Lane.LIGHT and self._leaving and len(taken) < WITHDRAWN_SLICE:
            taken += self.take_withdrawals(next(iter(self._leaving)), WITHDRAWN_SLICE - len(taken))
        room = 0 if taken else MOST[lane]
        for queue in (self._queues[lane, False], self._queues[lane, True]):
            while (pending := queue.take(room)) is not None:
                del self._pending[pending.source]
                self._under_way[pending.source] = pending.document
                taken.append(pending)
                room = room - pending.work if lane is Lane.LIGHT else 0
        return tuple(taken)

    def take_withdrawals(self, namespace: str, most: int) -> tuple[Pending, ...]:
        """Return at most so many withdrawals of a namespace that wait for nothing; empty when there are no more."""
        taken = list[Pending]()
        for source in tuple(islice(self._leaving.get(namespace, ()), most)):
            _discard(self._leaving, source)
            del self._pending[source]
            taken.append(Pending(source, None, work=CHANGE_WORK, early=source in self._under_way))
            if taken[-1].early:
                self._dropped.add(source)
            self._under_way[source] = None
        return tuple(taken)

    def done(self, sources: Iterable[Source]) -> None:
        """Queue newer changes of ``sources``."""
        for source in sources:
            self._under_way.pop(source, None)
            self._dropped.discard(source)
            pending = self._pending.get(source)
            if pending is None:
                _discard(self._documents, source)
            elif pending.document is not None:
                self._queue(source, pending.document, None)
        for namespace in {source.namespace: None for source in sources}:
            self._release(namespace)

    def _queue(self, source: Source, document: DocumentText, before: Pending | None) -> None:
        text = document.text if isinstance(document, Text) else None
        work = CHANGE_WORK + len(text or "") + self.in_force(source)
        pending = self._pending[source] = attrs.evolve(self._pending[source], work=work)
        if before is not None and (before.lane, before.reread) != (pending.lane, pending.reread):
            self._queues[before.lane, before.reread].drop(source)
        self._queues[pending.lane, pending.reread].put(pending)

    def _release(self, namespace: str) -> None:
        """Allow withdrawals that no longer wait for an older document of their namespace."""
        withdrawals = self._withdrawals.get(namespace, {})
        oldest = next(iter(self._documents.get(namespace, {}).values()), self._numbers + 1)
        released = dict(takewhile(lambda withdrawal: withdrawal[1] < oldest, withdrawals.items()))
        for source in released:
            _discard(self._withdrawals, source)
        if released:
            self._leaving.setdefault(namespace, {}).update(released)


def _discard(table: dict[str, dict[Source, int]], source: Source) -> None:
    """Remove ``source`` from the sources of its namespace in ``table``; namespaces without any are removed too."""
    own = table.get(source.namespace)
    if own is not None and own.pop(source, None) is not None and not own:
        del table[source.namespace]
