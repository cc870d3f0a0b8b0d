"""The documents that wait to be read, in order: fair between namespaces, cheap ones first.

A namespace pays for the time that its documents take. One that has used up a budget waits behind those that have used less, so however many
expensive documents a team has, another team's edit does not wait for them. Budgets refill over time. A withdrawal only waits for
earlier documents of its own namespace that are not withdrawn themselves.

Must not know: tasks, threads, or what a document says.
"""

import enum
from collections.abc import Callable, Iterable, Mapping
from heapq import heapify, heappop, heappush
from itertools import islice, takewhile
from typing import Final, final

import attrs

from exchanger.policy.selection import Document, Text
from exchanger.values.entry import Source

# Seconds of CPU: a hundred ordinary documents. Each further one of these puts a namespace behind those that have used one less.
BUDGET_S: Final = 0.1
# Seconds of CPU that a namespace gets back per second: twenty namespaces that never stop use up one core.
REFILL: Final = 0.05
# Characters that a light document has at most, and so has a batch of them: some 40 ms, and 150 for the worst that an author can write.
LIGHT_WORK: Final = 8 * 1024
# Characters that a change costs on top of its documents, however short they are.
CHANGE_WORK: Final = 64
# The same for a claim that is not in the text, but made from it by grants: 15 µs.
CLAIM_WORK: Final = 3
# The same for each claim that the namespace has, since its share is divided again: 4 µs.
SHARE_WORK: Final = 1
# Withdrawals that are taken, or applied, in one step: 2 ms.
WITHDRAWN_SLICE: Final = 128
# Stale turns, or full budgets, that are kept before they are dropped.
_MANY: Final = 1024


@enum.unique
class Lane(enum.Enum):
    """Light documents never wait for a heavy one, which takes up to a second or two."""

    LIGHT = "light"
    HEAVY = "heavy"


@final
@attrs.frozen
class Pending:
    """A change that waits: the ``document`` for ``source``, ``None`` for none.

    ``again``: the document is not new, so it comes after those that are. ``work`` measures the cost. ``early``: a withdrawal while an older
    change of its source is under way, after which it comes once more.
    """

    source: Source
    document: Document | None
    again: bool = False
    work: int = 0
    early: bool = False


@final
@attrs.define(eq=False)
class _Budget:
    """The CPU time in seconds that a namespace has used at the time ``at``, less what it got back."""

    used: float
    at: float

    def left_at(self, now: float) -> float:
        return max(0.0, self.used - REFILL * (now - self.at))


# Budgets used, work, number of the change: the smallest is next. A source without a name is the turn of all withdrawals of its namespace.
_Turn = tuple[int, int, int, Source]


def _is_of_namespace(source: Source) -> bool:
    return not source.name


@final
@attrs.define(eq=False)
class Backlog:
    """Keeps the newest change of each source.

    ``in_force`` returns the work of taking away the document that a change of a source replaces, and ``beside`` what a new document may
    cost beside its text, both in characters.
    """

    in_force: Callable[[Source], int]
    beside: Callable[[Source, Document], int] = lambda _source, _document: 0
    _pending: dict[Source, tuple[int, Pending]] = attrs.field(factory=dict, init=False, repr=False)
    _turns: dict[Lane, list[_Turn]] = attrs.field(factory=lambda: {lane: [] for lane in Lane}, init=False, repr=False)
    # Sources with a change under way, and its document: a newer document waits for it, so that the newest wins.
    _under_way: dict[Source, Document | None] = attrs.field(factory=dict, init=False, repr=False)
    # Sources with a change under way that were withdrawn meanwhile.
    _early: set[Source] = attrs.field(factory=set, init=False, repr=False)
    # Documents that wait or are under way, with their numbers, by namespace, and these again in order, some of them stale. And the
    # withdrawals that wait for them, so that an entry moved from one ConfigMap to another is never missing.
    _documents: dict[str, dict[Source, int]] = attrs.field(factory=dict, init=False, repr=False)
    _oldest: dict[str, list[tuple[int, Source]]] = attrs.field(factory=dict, init=False, repr=False)
    _withdrawals: dict[str, dict[Source, int]] = attrs.field(factory=dict, init=False, repr=False)
    # The withdrawals that wait for nothing, with their numbers, by namespace: all of one have one turn. No namespace is in it without any.
    _leaving: dict[str, dict[Source, int]] = attrs.field(factory=dict, init=False, repr=False)
    _budgets: dict[str, _Budget] = attrs.field(factory=dict, init=False, repr=False)
    _forget_at: int = attrs.field(default=_MANY, init=False)
    _numbers: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._pending) + len(self._under_way.keys() - self._pending.keys())

    @property
    def is_read(self) -> bool:
        """Whether nothing waits or is under way but documents that were withdrawn meanwhile, and are dropped."""
        return len(self) == sum(self.document(source) is None for source in self._early)

    def sources(self) -> dict[Source, int]:
        """Return the sources of all changes that wait or are under way, and after how many ``done`` these are.

        Two where there are both, unless one is a withdrawal, which may be taken before the other is done.
        """
        once = dict.fromkeys(self._under_way.keys() | self._pending.keys(), 1)
        twice = (source for source in self._under_way.keys() & self._pending.keys() if self._pending[source][1].document is not None)
        return {**once, **dict.fromkeys(twice, 2)}

    def under_way(self, source: Source) -> Document | None:
        """Return the document of the source that was taken and is not done, if there is one."""
        return self._under_way.get(source)

    def is_under_way(self, source: Source) -> bool:
        """Tell whether a change of the source was taken and is not done."""
        return source in self._under_way

    def is_withdrawn(self, source: Source) -> bool:
        """Tell whether a source that is under way was withdrawn meanwhile."""
        return source in self._early

    def documents(self, namespace: str) -> tuple[Source, ...]:
        """Return the sources of the namespace whose documents wait or are under way, and are not withdrawn."""
        return tuple(self._documents.get(namespace, ()))

    def concerns(self, source: Source) -> bool:
        """Tell whether a change of the source waits or is under way."""
        return source in self._pending or source in self._under_way

    def document(self, source: Source) -> Document | None:
        """Return the newest document of the source that waits or is under way."""
        return self._pending[source][1].document if source in self._pending else self._under_way.get(source)

    def put(self, source: Source, document: Document | None, now: float, *, again: bool = False) -> None:
        """Take a change, in the place of an older one that waits."""
        if again and source in self._pending:
            return  # the newest document waits already
        self._numbers += 1
        self._pending[source] = (self._numbers, Pending(source, document, again))
        if source not in self._under_way or document is None:
            self._queue(source, now)
        else:
            self._wait_for(source, self._numbers)

    def take(self, lane: Lane, now: float) -> tuple[Pending, ...]:
        """Return the next changes: one, or light ones of ``LIGHT_WORK`` characters, or ``WITHDRAWN_SLICE`` withdrawals.

        The namespace of the last withdrawal may have more, see ``take_withdrawals``. Call ``done`` when the changes are, except for those
        that are ``early``.
        """
        turns, taken, work = self._turns[lane], list[Pending](), 0
        while turns:
            used, cost, number, source = turns[0]
            if not self._is_next(turns[0]):
                heappop(turns)
                continue
            withdraws = _is_of_namespace(source)
            if taken and (lane is Lane.HEAVY or withdraws != (taken[-1].document is None) or work + cost > LIGHT_WORK):
                break
            if withdraws:
                if len(taken) == WITHDRAWN_SLICE:
                    break
                taken += self.take_withdrawals(source.namespace, WITHDRAWN_SLICE - len(taken))
                continue
            _, pending = self._pending[source]
            level = self._level(pending, now)
            if level > used:
                heappop(turns)
                heappush(turns, (level, cost, number, source))
                continue
            heappop(turns)
            del self._pending[source]
            self._under_way[source] = pending.document
            taken.append(attrs.evolve(pending, work=cost))
            work += cost
        return tuple(taken)

    def take_withdrawals(self, namespace: str, most: int) -> tuple[Pending, ...]:
        """Return at most so many withdrawals of a namespace that wait for nothing; empty when there are no more."""
        leaving, taken = self._leaving.get(namespace, {}), list[Pending]()
        while leaving and len(taken) < most:
            for source in tuple(islice(leaving, most - len(taken))):
                number = leaving.pop(source)
                if self._pending.get(source, (0,))[0] != number:
                    continue  # it was replaced
                early = source in self._under_way
                if early:
                    self._early.add(source)
                else:
                    del self._pending[source]
                    self._under_way[source] = None
                taken.append(Pending(source, None, work=CHANGE_WORK, early=early))
        if not leaving:
            self._leaving.pop(namespace, None)
        return tuple(taken)

    def done(self, sources: Iterable[Source], costs: Mapping[str, float], now: float) -> None:
        """Queue newer changes of ``sources``, and charge namespaces for the seconds of CPU that they cost."""
        for namespace, seconds in costs.items():
            self._charge(namespace, seconds, now)
        namespaces: dict[str, None] = {}
        for source in sources:
            namespaces[source.namespace] = None
            self._under_way.pop(source, None)
            self._early.discard(source)
            if source in self._pending:
                self._queue(source, now)
            else:
                self._forget_document(source)
        for namespace in namespaces:
            self._release(namespace)

    def used(self, namespace: str, now: float) -> float:
        """Return the seconds of CPU that a namespace has used and not got back."""
        budget = self._budgets.get(namespace)
        return 0.0 if budget is None else budget.left_at(now)

    def _queue(self, source: Source, now: float) -> None:
        number, pending = self._pending[source]
        if pending.document is not None:
            self._wait_for(source, number)
            self._queue_document(source, pending.document, now)
        else:
            self._forget_document(source)
            withdrawals = self._withdrawals.setdefault(source.namespace, {})
            withdrawals.pop(source, None)
            withdrawals[source] = number
        self._release(source.namespace)

    def _wait_for(self, source: Source, number: int) -> None:
        """Let withdrawals that come later wait for the document of ``source``."""
        documents = self._documents.setdefault(source.namespace, {})
        documents[source] = number
        oldest = self._oldest.setdefault(source.namespace, [])
        if len(oldest) > 2 * len(documents) + _MANY:
            oldest[:] = ((number, source) for source, number in documents.items())
            heapify(oldest)
        else:
            heappush(oldest, (number, source))

    def _forget_document(self, source: Source) -> None:
        documents = self._documents.get(source.namespace, {})
        documents.pop(source, None)
        if not documents:
            self._documents.pop(source.namespace, None)
            self._oldest.pop(source.namespace, None)

    def _oldest_document(self, namespace: str) -> int:
        documents, oldest = self._documents.get(namespace, {}), self._oldest.get(namespace, [])
        while oldest and documents.get(oldest[0][1]) != oldest[0][0]:
            heappop(oldest)
        return oldest[0][0] if oldest else self._numbers + 1

    def _release(self, namespace: str) -> None:
        """Queue withdrawals that no longer wait for an older document of their namespace."""
        withdrawals = self._withdrawals.get(namespace)
        if withdrawals is None:
            return
        oldest = self._oldest_document(namespace)
        if next(reversed(withdrawals.values())) < oldest:
            released = self._withdrawals.pop(namespace)  # all of them, in one short step
        else:
            released = dict(takewhile(lambda withdrawal: withdrawal[1] < oldest, withdrawals.items()))
            for source in released:
                del withdrawals[source]
        if namespace in self._leaving:
            self._leaving[namespace].update(released)
        elif released:
            self._leaving[namespace] = released
            self._push(Lane.LIGHT, (0, CHANGE_WORK, next(iter(released.values())), Source(namespace, "")))

    def _queue_document(self, source: Source, document: Document, now: float) -> None:
        number, pending = self._pending[source]
        text = document.text if isinstance(document, Text) else None
        work = CHANGE_WORK + len(text or "") + self.beside(source, document) + self.in_force(source)
        self._push(Lane.LIGHT if work <= LIGHT_WORK else Lane.HEAVY, (self._level(pending, now), work, number, source))

    def _push(self, lane: Lane, turn: _Turn) -> None:
        turns = self._turns[lane]
        if len(turns) > 2 * len(self._pending) + _MANY:
            turns[:] = (known for known in turns if self._is_next(known))
            heapify(turns)
        heappush(turns, turn)

    def _is_next(self, turn: _Turn) -> bool:
        """Tell whether no newer change has replaced this one."""
        *_, number, source = turn
        if _is_of_namespace(source):
            return source.namespace in self._leaving
        known = self._pending.get(source)
        return known is not None and known[0] == number

    def _level(self, pending: Pending, now: float) -> int:
        """Return how many budgets the namespace has used; that of a withdrawal, which costs nearly nothing and waits for nobody, is 0."""
        return int(self.used(pending.source.namespace, now) / BUDGET_S) + pending.again

    def _charge(self, namespace: str, seconds: float, now: float) -> None:
        if len(self._budgets) >= self._forget_at:
            self._budgets = {other: budget for other, budget in self._budgets.items() if budget.left_at(now) > 0.0}
            self._forget_at = max(_MANY, 2 * len(self._budgets))
        self._budgets[namespace] = _Budget(self.used(namespace, now) + seconds, now)
