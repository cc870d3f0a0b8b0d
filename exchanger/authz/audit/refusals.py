"""Refused exchanges on their way into the audit log. Callers can cause any number of them, so only some get a line each.

The others are counted by reason, code, issuer and namespace, and the counts become lines. So what a flood of made-up tokens adds to the
file is bounded, and so is what it costs: of those tokens nothing is read.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, final

import attrs

from exchanger.authz.audit.line import Group, LineWriter, group_of
from exchanger.authz.decision.outcome import DecisionRecord

# Refusals in a second that get a line each.
MAX_A_SECOND: Final = 10
# Bytes of these, and one more line. Usual lines have 700; callers can make some of 25,000, of which ten a second would be 20 GB a day.
MAX_BYTES_A_SECOND: Final = 16 * 1024
# Groups that are told apart; further ones are counted together. Few profiles fail at a time, for few reasons, and in few namespaces.
MAX_GROUPS: Final = 64
OTHERS: Final[Group] = ("others", None, "", None)
# Lines that wait while the log cannot be written: those of a minute. After that, refusals are only counted, so none is lost.
MAX_WAITING: Final = 600


@final
@attrs.frozen
class RefusalLine:
    """A line about ``count`` refusals."""

    text: bytes
    count: int = 1


@final
@attrs.define(eq=False)
class Refusals:
    """Takes refusals, and gives lines. ``now`` returns seconds of a clock that does not jump."""

    _lines: LineWriter
    _now: Callable[[], float]
    _waiting: deque[RefusalLine] = attrs.field(factory=deque, init=False)
    _taken: int = attrs.field(default=0, init=False)
    _groups: dict[Group, int] = attrs.field(factory=dict, init=False)
    _since: str = attrs.field(default="", init=False)
    _counted_in: int = attrs.field(default=-1, init=False)
    _second: int = attrs.field(default=-1, init=False)
    _single: int = attrs.field(default=0, init=False)
    _bytes: int = attrs.field(default=0, init=False)

    @property
    def unwritten(self) -> int:
        """The refusals that no written line is about."""
        return sum(line.count for line in self._waiting) + sum(self._groups.values())

    @property
    def has_lines(self) -> bool:
        """Whether there are lines of single refusals."""
        return bool(self._waiting)

    def add(self, record: DecisionRecord) -> None:
        """Take note of a refusal."""
        second = int(self._now())
        if second != self._second:
            self._second, self._single, self._bytes = second, 0, 0
        if self._single < MAX_A_SECOND and self._bytes < MAX_BYTES_A_SECOND and len(self._waiting) + self._taken < MAX_WAITING:
            line = self._lines.line(record)
            self._single, self._bytes = self._single + 1, self._bytes + len(line)
            self._waiting.append(RefusalLine(line))
            return
        group = group_of(record)
        if group not in self._groups:
            if not self._groups:
                self._since, self._counted_in = self._lines.stamp(), second
            elif len(self._groups) >= MAX_GROUPS:
                group = OTHERS
        self._groups[group] = self._groups.get(group, 0) + 1

    def take(self, *, counted: bool, last: bool = False) -> list[RefusalLine]:
        """Return the lines that are to be written; with ``counted``, also those about refusals that were only counted, once a second.

        The ``last`` time, these are due in any case. ``put_back`` must be called next.
        """
        lines = [*self._waiting]
        self._waiting.clear()
        if last or (counted and int(self._now()) != self._counted_in):
            lines += [RefusalLine(self._lines.summary(group, count, self._since), count) for group, count in self._groups.items()]
            self._groups.clear()
        self._taken = len(lines)
        return lines

    def put_back(self, lines: list[RefusalLine]) -> None:
        """Take back those of the lines that could not be written; they come first the next time."""
        self._taken = 0
        self._waiting.extendleft(reversed(lines))
