"""Follows which documents have entries that tie with others, from version to version: what is new of it or has ended, in bounded steps.

Must not know: tasks, clocks, or how a tie is told.
"""

from collections.abc import Collection, Iterator
from typing import final

import attrs

from exchanger.policy.conflicts import STEP, Conflict, conflicts_of
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import Source


@final
@attrs.frozen
class TieNews:
    """The ties of one document are others than before; there are none when the last one has ended, as also when the document is gone."""

    source: Source
    ties: tuple[Conflict, ...]


@final
@attrs.frozen
class TieStatistics:
    """How many documents have ties."""

    documents: int


@final
@attrs.define(eq=False)
class TieWatch:
    """Remembers the ties that are known, by document."""

    _known: dict[Source, tuple[Conflict, ...]] = attrs.field(factory=dict, init=False, repr=False)

    def look(self, snapshot: PolicySnapshot, changed: Collection[Source]) -> Iterator[TieNews | None]:
        """Yield what is new of each document's ties, and ``None`` between steps of bounded work.

        ``changed`` are the sources of documents that are new, changed or gone since the last look.
        """
        pending = dict.fromkeys(changed)
        for number, (source, ties) in enumerate(self._known.items(), 1):  # which only changes below
            if number % STEP == 0:
                yield None
            if any(rival.source in changed for tie in ties for rival in tie.rivals):
                pending[source] = None
        done: set[Source] = set()
        while pending:
            source = next(iter(pending))
            del pending[source]
            done.add(source)
            found: list[Conflict] = []
            for tie in conflicts_of(snapshot.documents.get(source), snapshot):
                if tie is None:
                    yield None
                    continue
                found.append(tie)
                # Whoever is on the other side of a new tie learns of it too.
                pending.update(dict.fromkeys(rival.source for rival in tie.rivals if rival.source not in done))
            if self._note(source, tuple(found)):
                yield TieNews(source, tuple(found))

    def knows(self, source: Source) -> bool:
        """Tell whether the document has ties, as far as the last look has come."""
        return source in self._known

    def statistics(self) -> TieStatistics:
        """Return what is known."""
        return TieStatistics(len(self._known))

    def _note(self, source: Source, ties: tuple[Conflict, ...]) -> bool:
        """Remember the ties of a document, and tell whether they are news."""
        before = self._known.pop(source, ())
        if ties:
            self._known[source] = ties
        return ties != before
