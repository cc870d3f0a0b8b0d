"""The active policy: the one place where a version replaces the previous one.

Must not know: where versions come from, or what follows from a decision.
"""

from collections.abc import Callable
from typing import Protocol, final

import attrs

from exchanger.model.notice import NO_NOTICES, Notices
from exchanger.policy.snapshot import PolicySnapshot, UnreadableReach


class PolicySink(Protocol):
    """Takes each new version of the policy."""

    def publish(self, snapshot: PolicySnapshot, /) -> None:
        """Put ``snapshot``active for every request that begins from now on."""


@final
@attrs.define(eq=False)
class CurrentPolicy:
    """The active version. A request reads ``snapshot`` once and keeps it.

    ``snapshot`` is ``None`` while all requests are refused: until there is a complete version, and with ``required`` while ``newest`` has
    no entry. ``notices`` are probable mistakes. ``reach`` is the operator's setting, applied to every version.
    """

    snapshot: PolicySnapshot | None = None
    _on_change: tuple[Callable[[PolicySnapshot], None], ...] = ()
    required: bool = attrs.field(default=False, kw_only=True)
    reach: UnreadableReach = attrs.field(default=UnreadableReach.UNMATCHED, kw_only=True)
    newest: PolicySnapshot | None = attrs.field(default=None, init=False)
    notices: Notices = attrs.field(default=NO_NOTICES, init=False)

    @property
    def is_missing(self) -> bool:
        """Return whether there is a version that does not count because a policy is required."""
        return self.newest is not None and self.snapshot is None

    def publish(self, snapshot: PolicySnapshot, /) -> None:
        """Activate ``snapshot`` for every request that begins from now on."""
        self.newest = snapshot = snapshot.reaching(self.reach)
        self.snapshot = None if self.required and not snapshot.entry_count else snapshot
        for callback in self._on_change:
            callback(snapshot)

    def clear(self) -> None:
        """Refuse all requests until the next version: the last one is too old."""
        self.newest = self.snapshot = None

    def on_change(self, callback: Callable[[PolicySnapshot], None]) -> None:
        """Call ``callback`` with each snapshot published from now on; it must neither block nor raise."""
        self._on_change = (*self._on_change, callback)
