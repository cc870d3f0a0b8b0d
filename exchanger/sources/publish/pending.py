"""The texts that wait to be read, in turns that are fair between namespaces, and the documents that wait to be removed.

A text waits for those of its own namespace, and for as many characters of each other namespace as it has itself. So however many or
however large texts a team has, another team's edit does not wait for them. A removal waits only for earlier texts of its own namespace that
are not removed themselves: an entry that moves within a namespace is in effect throughout.

Must not know: time, tasks, threads, or what a text says.
"""

import enum
import math
from collections.abc import Collection, Iterable, Iterator
from heapq import heappop, heappush
from itertools import chain, count, takewhile
from typing import Final, TypeAlias, final

import attrs

from exchanger.model.entry import Source
from exchanger.policy.selection import DocumentText, Text

# Characters of a light text, and of all light texts that are read at once: about 40 ms, and 150 for the worst that an author can write.
LIGHT_WORK: Final = 8 * 1024
# Characters that a text costs in addition to its own, however short it is.
CHANGE_WORK: Final = 64
# Outdated turns that are kept before they are dropped.
_MANY: Final = 1024


@enum.unique
class Lane(enum.Enum):
    """Light texts never wait for a heavy one, which takes up to a few seconds."""

    LIGHT = "light"
    HEAVY = "heavy"


# Characters that are read at once: heavy texts are read one by one.
_MOST: Final = {Lane.LIGHT: LIGHT_WORK, Lane.HEAVY: math.inf}


@final
@attrs.frozen
class Waiting:
    """The newest text of ``source``. ``number`` is that of the first text of this source that has waited since.

    ``again``: the text is not new, so new texts of its namespace do not wait for it.
    """

    source: Source
    text: DocumentText
    number: int
    again: bool

    @property
    def work(self) -> int:
        """The cost of reading it, in characters."""
        text = self.text.text if isinstance(self.text, Text) else None
        return CHANGE_WORK + len(text or "")

    @property
    def lane(self) -> Lane:
        """The lane in which it is read."""
        return Lane.LIGHT if self.work <= LIGHT_WORK else Lane.HEAVY

    @property
    def flow(self) -> tuple[str, bool]:
        """All that takes turns together: the new texts of a namespace, or those that are read again."""
        return self.source.namespace, self.again


# The finish of a text, a number that breaks ties, and the text.
_Turn: TypeAlias = tuple[int, int, Waiting]


@final
@attrs.define(eq=False)
class _Queue:
    """The texts that wait in a lane, by their finish: that of the previous text of their flow, plus their own work.

    A flow without waiting texts starts at the start of the last one taken (start-time fair queueing, https://doi.org/10.1109/90.649569).
    """

    turns: list[_Turn] = attrs.field(factory=list, init=False)
    _current: dict[Source, _Turn] = attrs.field(factory=dict, init=False)
    _finishes: dict[tuple[str, bool], int] = attrs.field(factory=dict, init=False)
    _start: int = attrs.field(default=0, init=False)
    _numbers: Iterator[int] = attrs.field(factory=count, init=False)

    def put(self, waiting: Waiting) -> None:
        """Let a text wait; one that replaces another of its source and flow pays the difference."""
        before, last = self._current.get(waiting.source), self._finishes.get(waiting.flow, self._start)
        begins = last - before[2].work if before is not None and before[2].flow == waiting.flow else max(self._start, last)
        finish = begins + waiting.work
        self._finishes[waiting.flow] = finish
        self._current[waiting.source] = turn = (finish, next(self._numbers), waiting)
        heappush(self.turns, turn)
        if len(self.turns) - len(self._current) > _MANY:
            self.turns = sorted(self._current.values())

    def drop(self, source: Source) -> None:
        """Forget the text of ``source``, if there is one."""
        self._current.pop(source, None)

    def take(self, most: float) -> Waiting | None:
        """Take the next text, unless it costs more than ``most`` characters."""
        while self.turns:
            finish, _, waiting = turn = self.turns[0]
            is_current = self._current.get(waiting.source) is turn
            if is_current and waiting.work > most:
                return None
            heappop(self.turns)
            if is_current:
                del self._current[waiting.source]
                self._start = max(self._start, finish - waiting.work)
                return waiting
        self._finishes, self._start = {}, 0  # nothing waits, so nothing has to be shared fairly
        return None


@final
@attrs.define(eq=False)
class Pending:
    """The newest text of each source that waits, those that are being read, and the documents to remove. ``count`` numbers all changes.

    A text waits while an older one of its source is being read, so that the newest wins.
    """

    count: int = attrs.field(default=0, init=False)
    # By namespace, those that have waited longest first.
    _waiting: dict[str, dict[Source, Waiting]] = attrs.field(factory=dict, init=False, repr=False)
    _reading: dict[Source, Waiting] = attrs.field(factory=dict, init=False, repr=False)
    # Sources that have been removed since the text that is being read.
    _read_in_vain: set[Source] = attrs.field(factory=set, init=False, repr=False)
    # By namespace, with their numbers, the oldest first; and those that ``take_blocked`` has not returned yet.
    _removals: dict[str, dict[Source, int]] = attrs.field(factory=dict, init=False, repr=False)
    _new_removals: dict[Source, None] = attrs.field(factory=dict, init=False, repr=False)
    # The oldest text of a source that was removed before it had been read, or removal that was replaced before its document was gone, by
    # number, until the source has a newer document or none.
    _owed: dict[Source, int] = attrs.field(factory=dict, init=False, repr=False)
    queues: dict[Lane, _Queue] = attrs.field(factory=lambda: {lane: _Queue() for lane in Lane}, init=False, repr=False)

    def __len__(self) -> int:
        """Return how many texts and removals there are, including what is being read."""
        return sum(map(len, self._waiting.values())) + len(self._reading) + sum(map(len, self._removals.values()))

    @property
    def is_read(self) -> bool:
        """Whether nothing waits, and nothing is being read but what has been removed since."""
        return not (self._waiting or self._removals) and len(self._reading) == len(self._read_in_vain)

    def concerns(self, source: Source) -> bool:
        """Return whether a text or removal of ``source`` waits, or a text is being read."""
        own = self._waiting.get(source.namespace, {}), self._removals.get(source.namespace, {})
        return source in self._reading or any(source in table for table in own)

    def text(self, source: Source) -> DocumentText | None:
        """Return the newest text of ``source`` that waits or is being read."""
        waiting = self._waiting.get(source.namespace, {}).get(source)
        if waiting is None and source not in self._read_in_vain:
            waiting = self._reading.get(source)
        return None if waiting is None else waiting.text

    def put(self, source: Source, text: DocumentText | None, *, again: bool = False) -> None:
        """Let the newest text of ``source`` wait, ``None`` to remove its document. ``again``: only if nothing newer waits."""
        if again and self.concerns(source):
            return
        before = self._waiting.get(source.namespace, {}).get(source)
        removal = self._removals.get(source.namespace, {}).get(source)
        if removal is not None:
            self._owed.setdefault(source, removal)  # the document of before is still there
            _discard(self._removals, source)
        self._new_removals.pop(source, None)
        self.count += 1
        if text is None:
            reading = None if source in self._read_in_vain else self._reading.get(source)
            for one in (reading, before):
                if one is not None and not one.again:
                    self._owed.setdefault(source, one.number)
            if before is not None:
                _discard(self._waiting, source)
                self.queues[before.lane].drop(source)
            if source in self._reading:
                self._read_in_vain.add(source)
            self._removals.setdefault(source.namespace, {})[source] = self.count
            self._new_removals[source] = None
            return
        if before is not None and before.again:
            _discard(self._waiting, source)  # nothing new has waited so far
        number = self.count if before is None or before.again else before.number
        self._waiting.setdefault(source.namespace, {})[source] = waiting = Waiting(source, text, number, again)
        if source not in self._reading:
            if before is not None and before.lane is not waiting.lane:
                self.queues[before.lane].drop(source)
            self.queues[waiting.lane].put(waiting)

    def take(self, lane: Lane) -> dict[Source, DocumentText]:
        """Take the next texts to read: one, or light ones of ``LIGHT_WORK`` characters. Call ``done`` when they have been read."""
        taken: dict[Source, DocumentText] = {}
        room = _MOST[lane]
        while (waiting := self.queues[lane].take(room)) is not None:
            _discard(self._waiting, waiting.source)
            self._reading[waiting.source] = waiting
            taken[waiting.source] = waiting.text
            if lane is Lane.HEAVY:
                break
            room -= waiting.work
        return taken

    def done(self, sources: Iterable[Source]) -> list[Source]:
        """Let newer texts of ``sources`` take their turns; return the sources that have not been removed since."""
        kept: list[Source] = []
        for source in sources:
            del self._reading[source]
            if source in self._read_in_vain:
                self._read_in_vain.remove(source)
            else:
                kept.append(source)
                self._owed.pop(source, None)
            waiting = self._waiting.get(source.namespace, {}).get(source)
            if waiting is not None:
                self.queues[waiting.lane].put(waiting)
        return kept

    @property
    def removals(self) -> list[Source]:
        """The sources whose documents wait to be removed."""
        return list(chain.from_iterable(self._removals.values()))

    def take_removals(self) -> dict[Source, None]:
        """Take the removals that need not wait for an older text of their namespace."""
        if not self._removals:
            return {}
        reading: dict[str, int] = {}
        for source, one in self._reading.items():
            if not one.again and source not in self._read_in_vain:
                reading[source.namespace] = min(one.number, reading.get(source.namespace, one.number))
        taken: dict[Source, None] = {}
        for namespace, own in tuple(self._removals.items()):
            waiting = (one.number for one in self._waiting.get(namespace, {}).values() if not one.again)
            oldest = min(reading.get(namespace, math.inf), next(waiting, math.inf))
            free = own if oldest == math.inf else dict(takewhile(lambda removal: removal[1] < oldest, own.items()))  # noqa: B023 - used at once
            taken.update(dict.fromkeys(free))
            for source in free:
                self._owed.pop(source, None)
            if len(free) == len(own):
                del self._removals[namespace]
            else:
                for source in free:
                    del own[source]
        if self._removals:
            for source in taken:
                self._new_removals.pop(source, None)
        else:
            self._new_removals = {}
        return taken

    def take_blocked(self) -> dict[Source, None]:
        """Return the removals that have come since the last call and have to wait; call ``take_removals`` first."""
        blocked, self._new_removals = self._new_removals, {}
        return blocked

    def is_read_until(self, number: float, excused: Collection[str]) -> bool:
        """Return whether every text that came up to ``number`` has been read or removed, except those of ``excused`` namespaces."""
        oldest = (next(iter(own.values())) for name, own in self._waiting.items() if name not in excused)
        reading = (one for source, one in self._reading.items() if source not in self._read_in_vain and source.namespace not in excused)
        removed = (own for source, own in self._owed.items() if source.namespace not in excused)
        return all(one.number > number for one in chain(oldest, reading)) and all(own > number for own in removed)

    def unread_in(self, namespace: str, number: float) -> dict[Source, None]:
        """Return the sources in ``namespace`` whose texts came up to ``number`` and have not been read."""
        found = [source for source, one in self._reading.items() if source.namespace == namespace and source not in self._read_in_vain]
        return dict.fromkeys([*found, *(source for source, one in self._waiting.get(namespace, {}).items() if one.number <= number)])


def _discard(table: dict[str, dict[Source, Waiting]] | dict[str, dict[Source, int]], source: Source) -> None:
    """Remove ``source`` from those of its namespace in ``table``; namespaces without any are removed too."""
    own = table.get(source.namespace)
    if own is not None and own.pop(source, None) is not None and not own:
        del table[source.namespace]
