"""The wall clock, which somebody sets."""

from typing import Final, final

import attrs

from tests.simulation.part import Every, Part

# By how many seconds it is set.
_STEPS: Final = (-100.0, -3.0, 3.0, 100.0)


@final
@attrs.define(eq=False)
class WallClock(Part):
    """Sets the wall clock ``jumps`` times a second, forwards or back."""

    needs = "jumps"

    def storm(self, every: Every) -> None:
        every(self.plan.jumps, self._jump, "jumps")

    def _jump(self) -> None:
        seconds = self.chance.choice(_STEPS)
        self.kernel.offset += seconds
        self.world.jumps.append((self.kernel.now, seconds))
        self.kernel.tell("wall clock", "is set", self.kernel.offset)
