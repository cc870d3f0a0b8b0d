"""Two clocks of a machine that a test moves, and that go on by themselves while they are read."""

from collections.abc import Iterator

import attrs


@attrs.define(eq=False)
class Machine:
    """``steady`` and ``wall`` show seconds; ``now``, ``distance`` and ``pauses`` are nanoseconds. Before a reading passes the next
    of ``pauses``, and nothing when none is left.
    """

    pauses: Iterator[int] = attrs.field(factory=lambda: iter(()))
    now: int = 5_000_000_000
    distance: int = 1_800_000_000_000_000_000

    def steady(self) -> float:
        self.now += next(self.pauses, 0)
        return self.now / 1e9

    def wall(self) -> float:
        self.now += next(self.pauses, 0)
        return (self.now + self.distance) / 1e9
