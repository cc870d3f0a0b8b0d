"""An answer that a coroutine makes: what waits in a task here waits for somebody else's turn of the reactor in the service."""

from collections.abc import Awaitable, Callable
from typing import final

import attrs
import trio

from exchanger.grpc.routes import Deferred


@final
@attrs.define(eq=False)
class Pending(Deferred):
    """Runs ``run`` until it has the answer or the call is over."""

    run: Callable[[], Awaitable[bytes]]
    ready: Callable[[], None] = lambda: None
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _answer: bytes | Exception = attrs.field(default=b"", init=False)

    def __attrs_post_init__(self) -> None:
        trio.lowlevel.spawn_system_task(self._work)

    async def _work(self) -> None:
        with self._scope:
            try:
                self._answer = await self.run()
            except Exception as error:  # noqa: BLE001 - whatever it is, the answer raises it
                self._answer = error
            if not self._scope.cancel_called:
                self.ready()

    def answer(self) -> bytes:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def leave(self) -> None:
        self._scope.cancel()
