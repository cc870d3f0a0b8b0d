"""What became of one message of OTLP, whichever protocol carried it."""

from typing import final

import attrs


@final
@attrs.frozen
class Accepted:
    """The collector took it; ``body`` may say that it did not take all."""

    body: bytes


@final
@attrs.frozen
class Refused:
    """It was not taken. ``reason`` is for operators and has nothing of what was sent; ``retry_after`` is in seconds, if it was told."""

    reason: str
    retryable: bool
    retry_after: float | None = None


Answer = Accepted | Refused
