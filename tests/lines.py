"""A logger for a test that waits for lines; ``structlog.testing.capture_logs`` is for those that read them afterwards."""

from collections.abc import Callable
from typing import Never, cast

import structlog


def logger_to(take: Callable[[structlog.typing.EventDict], None]) -> structlog.stdlib.BoundLogger:
    """Return a logger that hands each line to ``take``."""

    def hand_over(_logger: object, _method: str, line: structlog.typing.EventDict) -> Never:
        take(line)
        raise structlog.DropEvent

    made = structlog.wrap_logger(None, processors=[hand_over], wrapper_class=structlog.make_filtering_bound_logger(0))
    return cast("structlog.stdlib.BoundLogger", made)
