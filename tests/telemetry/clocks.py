"""Two clocks of a machine that a test moves, and that go on by themselves while they are read."""

from collections.abc import Iterator

import attrs


@attrs.define(eq=False)
class Machine:
    """``monotonic`` and ``wall`` show nanoseconds; before a reading passes the next of ``pauses``, and nothing when none is left."""

    pauses: Iterator[int] = attrs.field(factory=lambda: iter(()))
    now: int = 5_000_000_000
    distance: int = 1_800_000_000_000_000_000

    def monotonic(self) -> int:
        self.now += next(self.pauses, 0)
        return self.now

    def wall(self) -> int:
        return self.monotonic() + self.distance
