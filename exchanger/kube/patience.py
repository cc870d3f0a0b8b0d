"""Bounds a watch from this side, where the server would let it go on in silence for ever."""

from typing import final

import attrs
import trio


@final
@attrs.define(eq=False)
class Patience:
    """Bounds a watch from this side: it ends at a time, and before that when nothing was heard for long."""

    silence: float
    until: float
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    def __attrs_post_init__(self) -> None:
        self.heard()

    @property
    def is_silence(self) -> bool:
        """Whether it is silence that ends the watch next, and not the time."""
        return self.scope.deadline < self.until

    def heard(self) -> None:
        """Begin to wait anew."""
        self.scope.deadline = min(self.until, trio.current_time() + self.silence)

    def begin(self, silence: float, until: float) -> None:
        """Begin to wait anew, within other bounds."""
        self.silence, self.until = silence, until
        self.heard()
