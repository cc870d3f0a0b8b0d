"""What components log, for tests that wait for lines and for those that read them afterwards."""

from collections.abc import Callable, MutableMapping
from typing import Any, Never, cast, final

import attrs
import structlog


def logger_to(take: Callable[[structlog.typing.EventDict], None]) -> structlog.stdlib.BoundLogger:
    """Return a logger that hands each line to ``take``."""

    def hand_over(_logger: object, _method: str, line: structlog.typing.EventDict) -> Never:
        take(line)
        raise structlog.DropEvent

    made = structlog.wrap_logger(None, processors=[hand_over], wrapper_class=structlog.make_filtering_bound_logger(0))
    return cast("structlog.stdlib.BoundLogger", made)


@final
@attrs.define(eq=False)
class Lines:
    """What is written to ``logger``, or what ``structlog.testing.capture_logs`` yields."""

    entries: list[MutableMapping[str, Any]] = attrs.field(factory=list)

    @property
    def logger(self) -> structlog.stdlib.BoundLogger:
        return logger_to(self.entries.append)

    @property
    def events(self) -> list[tuple[str, ...]]:
        """Each event without its room, and the values of its fields."""
        return [
            (line["event"].partition(".")[2], *(_text(line[name]) for name in line if name not in {"event", "log_level", "text"}))
            for line in self.entries
        ]

    def taken(self) -> list[tuple[str, ...]]:
        """Return the events since the last time."""
        events = self.events
        self.entries.clear()
        return events


def _text(value: object) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)
