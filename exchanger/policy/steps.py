"""A budget that the searches of one request share.

Must not know: what is searched.
"""

from typing import final

import attrs


@final
@attrs.define(eq=False)
class Steps:
    """How many nodes, characters or paths may still be looked at."""

    left: int

    def take(self, steps: int) -> bool:
        """Take ``steps``; return whether there were enough."""
        self.left -= steps
        return self.left >= 0
