"""The policy in force: the one place where a version is replaced by the next.

Must not know: who publishes, or who reads.
"""

from collections.abc import Callable
from typing import final

import attrs

from exchanger.policy.lookup import UnreadableReach
from exchanger.policy.snapshot import PolicySnapshot


@final
@attrs.define(eq=False)
class CurrentPolicy:
    """Holds the newest snapshot, ``None`` until there is a complete one. A request reads it once and keeps what it read.

    ``reach`` is the operator's, and every snapshot that is published gets it.
    """

    snapshot: PolicySnapshot | None = None
    _on_change: tuple[Callable[[PolicySnapshot], None], ...] = ()
    reach: UnreadableReach = UnreadableReach.UNMATCHED

    def publish(self, snapshot: PolicySnapshot, /) -> None:
        """Put ``snapshot`` in force for every request that begins from now on."""
        self.snapshot = snapshot = snapshot.reaching(self.reach)
        for callback in self._on_change:
            callback(snapshot)

    def withdraw(self) -> None:
        """Have nothing in force any more: what was published last is no longer to be gone by."""
        self.snapshot = None

    def on_change(self, callback: Callable[[PolicySnapshot], None]) -> None:
        """Have ``callback`` called with each snapshot that is published from now on; it must neither block nor raise."""
        self._on_change = (*self._on_change, callback)
