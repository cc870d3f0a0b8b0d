"""The health of the policy for the console's banner: active or not, how current, and which documents are unhealthy.

Must not know: who watches, or how the policy is kept current.
"""

from collections.abc import Callable
from typing import Final, final

import attrs
import trio

from exchanger.model.entry import Source
from exchanger.operations.console.message import TimeSlice
from exchanger.policy.conflicts import documents_in_conflict
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.util.text import printable

# Seconds between two counts of conflicts: counting those of 100,000 entries takes a part of a second.
RECOUNT_S: Final = 5.0
# Names of unreadable Namespaces, or of files: operators name a handful, and the rest is counted.
MAX_NAMES: Final = 5
_NAME_LIMIT: Final = 64


@final
@attrs.frozen
class Freshness:
    """``age``: seconds since the policy was last known to be current, ``None`` before the first version.

    ``unreadable``: the Namespaces configured by name that the service may not read. ``objects``: files that cannot be read as they are now.
    """

    age: float | None = None
    unreadable: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()


@final
@attrs.define(eq=False)
class PolicyHealth:
    """The policy's part of ``totals``. ``newest``, ``is_missing`` and ``freshness`` are as in ``console.Sources``."""

    _newest: Callable[[], PolicySnapshot | None] = lambda: None
    _is_missing: Callable[[], bool] = lambda: False
    _freshness: Callable[[], Freshness] = Freshness
    _counted: PolicySnapshot | None = attrs.field(default=None, init=False, repr=False)
    _conflicts: int = attrs.field(default=0, init=False)
    _next_count: float = attrs.field(default=0.0, init=False)

    def shown(self) -> dict[str, object]:
        """Return the health as JSON. ``problems`` and ``conflicts`` are numbers of documents; one with both has ``problems``.

        ``state``: ``active``, or why every request is refused: ``loading``, ``too_old`` or ``missing``.
        """
        snapshot, freshness = self._newest(), self._freshness()
        state = "active"
        if snapshot is None:
            state = "loading" if freshness.age is None else "too_old"
        elif self._is_missing():
            state = "missing"
        return {
            "state": state,
            "age_s": None if freshness.age is None else round(freshness.age),
            "problems": 0 if snapshot is None else snapshot.invalid_documents,
            "conflicts": 0 if snapshot is None else self._conflicts,
            "unreadable": _named(freshness.unreadable),
            "unreadable_objects": _named(freshness.objects),
        }

    async def count_conflicts(self) -> None:
        """Count the documents in conflict again if the policy has changed, in slices. Until then the count before holds."""
        snapshot = self._newest()
        if snapshot is None or snapshot is self._counted or trio.current_time() < self._next_count:
            return
        time_slice, found = TimeSlice(), set[Source]()
        for source in documents_in_conflict(snapshot):
            document = None if source is None else snapshot.document(source)
            if document is not None and not document.problems:
                found.add(document.source)
            await time_slice.step()
        self._counted, self._conflicts, self._next_count = snapshot, len(found), trio.current_time() + RECOUNT_S


def _named(names: tuple[str, ...]) -> dict[str, object]:
    return {"listed": [printable(name, _NAME_LIMIT) for name in names[:MAX_NAMES]], "more": max(0, len(names) - MAX_NAMES)}
