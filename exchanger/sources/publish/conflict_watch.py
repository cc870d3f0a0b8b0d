"""Follows which documents have conflicts, from version to version, without holding the event loop for long.

Must not know: who learns of it, or where documents come from.
"""

from collections.abc import Collection, Iterator
from itertools import chain, islice
from typing import Final, Protocol, final

import attrs
import trio

from exchanger.model.entry import Source
from exchanger.policy.conflicts import STEP, Conflict, conflicts_of
from exchanger.policy.selection import Change
from exchanger.policy.snapshot import PolicySnapshot

# Sources that are hashed in one step: half a millisecond.
SLICE: Final = 1000

Conflicts = tuple[Conflict, ...]


class ConflictObserver(Protocol):
    """Learns of conflicts; must neither block nor raise."""

    def conflicts_changed(self, source: Source, before: Conflicts, after: Conflicts, /) -> None:
        """A document has other conflicts than before."""

    def looked(self) -> None:
        """The conflicts of all versions so far were looked for."""


@final
@attrs.define(eq=False)
class ConflictIndex:
    """Which documents have conflicts. ``known`` has them by document."""

    known: dict[Source, Conflicts] = attrs.field(factory=dict, init=False, repr=False)

    def look(self, snapshot: PolicySnapshot, changed: Collection[Source]) -> Iterator[tuple[Source, Conflicts] | None]:
        """Yield each document whose conflicts are others than before, with those, and ``None`` between steps of bounded work.

        ``changed`` are the sources of documents that are new, changed or gone since the last look.
        """
        pending = dict.fromkeys(changed)
        for number, (source, conflicts) in enumerate(self.known.items(), 1):  # which changes only below
            if number % STEP == 0:
                yield None
            if any(other.source in changed for conflict in conflicts for other in conflict.rivals):
                pending[source] = None
        done: set[Source] = set()
        while pending:
            source = next(iter(pending))
            del pending[source]
            done.add(source)
            found: list[Conflict] = []
            for conflict in conflicts_of(snapshot.document(source), snapshot):
                if conflict is None:
                    yield None
                    continue
                found.append(conflict)
                # The other side of a new conflict has it too.
                pending.update(dict.fromkeys(other.source for other in conflict.rivals if other.source not in done))
            before = self.known.pop(source, ())
            if found:
                self.known[source] = tuple(found)
            if tuple(found) != before:
                yield source, before


@final
@attrs.define(eq=False)
class ConflictWatch:
    """Tells ``observers`` of conflicts, in order. ``published`` may be called before ``run``."""

    observers: tuple[ConflictObserver, ...] = ()
    _index: ConflictIndex = attrs.field(factory=ConflictIndex, init=False)
    _snapshot: PolicySnapshot = attrs.field(default=PolicySnapshot.EMPTY, init=False)
    # Versions that were not looked at yet.
    _versions: list[Change] = attrs.field(factory=list, init=False, repr=False)
    _news: trio.Event = attrs.field(factory=trio.Event, init=False)

    def published(self, change: Change) -> None:
        """Take note of a version."""
        self._snapshot = change.snapshot
        self._versions.append(change)
        self._news.set()

    async def run(self) -> None:
        """Look for conflicts in each version until cancelled."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            for found in self._index.look(self._snapshot, await self._take()):
                if found is None:
                    await trio.lowlevel.checkpoint()
                    continue
                source, before = found
                for observer in self.observers:
                    observer.conflicts_changed(source, before, self._index.known.get(source, ()))
            for observer in self.observers:
                observer.looked()

    async def _take(self) -> dict[Source, None]:
        """Return what differs in the versions up to the present one, in their order.

        Hashing 10,000 sources takes milliseconds, hence the pauses.
        """
        changed = dict[Source, None]()
        while self._versions:
            change = self._versions.pop(0)
            sources = chain(change.removed, (document.source for document in change.documents))
            while some := tuple(islice(sources, SLICE)):
                changed.update(dict.fromkeys(some))
                if len(some) == SLICE:
                    await trio.lowlevel.checkpoint()
        return changed
