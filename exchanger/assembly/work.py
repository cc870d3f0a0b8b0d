"""One piece of work on the policy: documents read and taken in. Blocking code, for a worker thread or in small pieces for the event loop.

Must not know: tasks, or whose turn it is.
"""

import time
from collections.abc import Iterable, Mapping
from typing import final

import attrs

from exchanger.assembly.backlog import Pending
from exchanger.policy.document import PolicyDocument
from exchanger.policy.selection import read
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import Source

Documents = Mapping[Source, PolicyDocument | None]
"""What is to be in force for each source, ``None`` for nothing."""


@final
@attrs.frozen
class Made:
    """The policy with some documents taken in, those of them that made a difference, and the seconds of CPU that each namespace cost."""

    snapshot: PolicySnapshot
    documents: Documents = attrs.field(factory=dict, repr=False)
    costs: Mapping[str, float] = attrs.field(factory=dict, repr=False)

    def moved_to(self, snapshot: PolicySnapshot) -> "Made":
        """Return the same with ``snapshot`` as the policy before; nothing is read again."""
        return attrs.evolve(self, snapshot=taken_in(snapshot, self.documents))


def make(snapshot: PolicySnapshot, changes: Iterable[Pending], issuers: frozenset[str]) -> Made:
    """Read what is pending, and take it into ``snapshot``."""
    documents: dict[Source, PolicyDocument | None] = {}
    costs: dict[str, float] = {}
    for change in changes:
        began, source = time.thread_time(), change.source
        document = None if change.document is None else read(source, change.document, issuers)
        before, snapshot = snapshot, snapshot.withdraw(source) if document is None else snapshot.apply(document)
        if snapshot is not before:
            documents[source] = document
        costs[source.namespace] = costs.get(source.namespace, 0.0) + time.thread_time() - began
    return Made(snapshot, documents, costs)


def taken_in(snapshot: PolicySnapshot, documents: Documents) -> PolicySnapshot:
    """Return ``snapshot`` with these documents in it."""
    for source, document in documents.items():
        snapshot = snapshot.withdraw(source) if document is None else snapshot.apply(document)
    return snapshot
