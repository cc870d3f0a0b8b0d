"""The policy in force: the one place where a version is replaced by the next.

Must not know: who publishes, or who reads.
"""

from collections.abc import Callable
from typing import final

import attrs

from exchanger.policy.lookup import UnreadableReach
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.notice import NO_NOTICES, Notices


@final
@attrs.define(eq=False)
class CurrentPolicy:
    """Holds the newest snapshot. A request reads ``snapshot`` once and keeps what it read.

    ``snapshot`` is what requests are decided by, ``None`` while all of them are refused: until there is a complete version, and with
    ``required`` while the newest one has no entry in force. ``newest`` is that one. ``notices`` is what was probably meant to be policy and
    has no effect.

    ``reach`` is the operator's, and every snapshot that is published gets it.
    """

    snapshot: PolicySnapshot | None = None
    _on_change: tuple[Callable[[PolicySnapshot], None], ...] = ()
    required: bool = attrs.field(default=False, kw_only=True)
    reach: UnreadableReach = attrs.field(default=UnreadableReach.UNMATCHED, kw_only=True)
    newest: PolicySnapshot | None = attrs.field(default=None, init=False)
    notices: Notices = attrs.field(default=NO_NOTICES, init=False)

    @property
    def is_missing(self) -> bool:
        """Tell whether there is a version, and it is not gone by since a policy is required."""
        return self.newest is not None and self.snapshot is None

    def publish(self, snapshot: PolicySnapshot, /) -> None:
        """Put ``snapshot`` in force for every request that begins from now on."""
        self.newest = snapshot = snapshot.reaching(self.reach)
        self.snapshot = None if self.required and not snapshot.entry_count else snapshot
        for callback in self._on_change:
            callback(snapshot)

    def withdraw(self) -> None:
        """Have nothing in force any more: what was published last is no longer to be gone by."""
        self.newest = self.snapshot = None

    def on_change(self, callback: Callable[[PolicySnapshot], None]) -> None:
        """Have ``callback`` called with each snapshot that is published from now on; it must neither block nor raise."""
        self._on_change = (*self._on_change, callback)
