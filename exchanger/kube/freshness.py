"""How old what is known of one resource may be.

What is known is current while changes are followed and the server gives signs of life. When the watch breaks it was current up to then;
when the server falls silent it was current for as long as silence is usual. So the age that is told is never further than that below the
time since the last sign of life, and a watch that is opened again at once never makes what is known look old.

Must not know: tasks, clocks (times are handed in), or what the resource is.
"""

from typing import final

import attrs


@final
@attrs.define(eq=False)
class Freshness:
    """Follows the watch of one resource; times are seconds of one clock. ``silence`` is for how long a healthy server may say nothing."""

    silence: float
    _opened_at: float = attrs.field(default=0.0, init=False)
    _lost_at: float | None = attrs.field(default=0.0, init=False)

    def opened(self, now: float) -> None:
        """Changes are followed from ``now`` on, and those that were missed are arriving."""
        self._opened_at, self._lost_at = now, None

    def lost(self, now: float) -> None:
        """Changes are no longer followed."""
        self._lost_at = now

    def current_until(self, now: float, last_contact: float) -> float:
        """Return the last moment up to which what is known was current: ``now`` when it still is."""
        return min(now if self._lost_at is None else self._lost_at, max(last_contact, self._opened_at) + self.silence)
