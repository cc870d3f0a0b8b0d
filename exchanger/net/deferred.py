"""Answers that come later, in another participant's turn of the reactor."""

from collections.abc import Callable
from typing import Any


class Deferred:
    """An answer that comes later. It waits without a task.

    The server sets ``ready`` when it starts to wait. Call it exactly once, with a function that makes the response (of gRPC
    the serialised one, or on a stream ``StreamContinuation``); that may refuse and fail as the handler may. If the request ends first, by a
    reset, a lost connection, the drain or its deadline, ``leave`` is called instead, once.
    """

    __slots__ = ("ready",)
    ready: Callable[[Callable[[], Any]], None]

    def leave(self) -> None:
        """The request has ended: do not call ``ready`` any more."""
        raise NotImplementedError
