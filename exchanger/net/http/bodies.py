"""The request bodies that a server holds: their bytes are counted as they arrive, and if there are too many, the slowest is cancelled.

Announcing a length costs a peer nothing: one that announces much and sends little must not keep others out.

Must not know: HTTP, or how bytes arrive.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, final

import attrs
import trio

# Seconds of an interval. The speed of a body is measured over the current interval and the previous one, so that earlier bytes do not
# count.
SPAN_S: Final = 1.0


@final
@attrs.define(eq=False)
class Body:
    """One body. Its receiver runs in ``scope``, which is cancelled to make room; ``size`` is what it has received."""

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False, repr=False)
    size: int = attrs.field(default=0, init=False)
    _since: float = attrs.field(factory=trio.current_time, init=False)
    _span_began: float = attrs.field(factory=trio.current_time, init=False)
    _in_span: int = attrs.field(default=0, init=False)
    _in_span_before: int = attrs.field(default=0, init=False)

    def add(self, size: int, now: float) -> None:
        """Count ``size`` more bytes."""
        self._turn(now)
        self.size += size
        self._in_span += size

    def speed(self, now: float) -> float:
        """Return its bytes a second of late."""
        self._turn(now)
        seconds = now - self._since
        return (self._in_span + self._in_span_before) / seconds if seconds > 0 else math.inf

    def _turn(self, now: float) -> None:
        if now < self._span_began + SPAN_S:
            return
        follows = now < self._span_began + 2 * SPAN_S
        self._in_span_before, self._in_span = self._in_span if follows else 0, 0
        self._since = self._span_began if follows else now - SPAN_S
        self._span_began = now


@final
@attrs.define(eq=False)
class Bodies:
    """``limit`` bytes of bodies that arrive or are being handled, ``taken`` of them now. A single one may be larger.

    ``gave_way`` counts bodies since the start.
    """

    limit: float
    taken: int = attrs.field(default=0, init=False)
    gave_way: int = attrs.field(default=0, init=False)
    _arriving: dict[Body, None] = attrs.field(factory=dict, init=False, repr=False)

    @contextmanager
    def hold(self) -> Iterator[Body]:
        """While open, a body arrives, or is being handled once ``arrived`` was called."""
        body = Body()
        self._arriving[body] = None
        try:
            yield body
        finally:
            self._arriving.pop(body, None)
            self._release(body)

    def grow(self, body: Body, size: int) -> None:
        """Count ``size`` more bytes of ``body``. Without room, the slowest of those that arrive are cancelled, ``body`` among them."""
        now = trio.current_time()
        body.add(size, now)
        self.taken += size
        while self.taken > max(self.limit, body.size) and self._arriving:
            slowest = min(self._arriving, key=lambda one: one.speed(now))
            del self._arriving[slowest]
            self._release(slowest)
            slowest.scope.cancel()
            self.gave_way += 1
            if slowest is body:
                return

    def arrived(self, body: Body) -> None:
        """``body`` is complete, and gives way no more."""
        self._arriving.pop(body, None)

    def _release(self, body: Body) -> None:
        self.taken -= body.size
        body.size = 0
