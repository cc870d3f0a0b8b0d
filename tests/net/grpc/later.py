"""An answer that a coroutine makes: what waits in a task here waits for somebody else's turn of the reactor in the service."""

from collections.abc import Awaitable, Callable
from typing import final

import attrs
import trio

from exchanger.net.deferred import Deferred
from exchanger.net.grpc.routes import StreamContinuation


@final
@attrs.define(eq=False)
class Pending(Deferred):
    """Runs ``run`` until it has the answer or the call is over."""

    run: Callable[[], Awaitable[bytes]]
    ready: Callable[[Callable[[], bytes | StreamContinuation]], None] = lambda _make_response: None
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    def __attrs_post_init__(self) -> None:
        trio.lowlevel.spawn_system_task(self._work)

    async def _work(self) -> None:
        answer: bytes | Exception
        with self._scope:
            try:
                answer = await self.run()
            except Exception as error:  # noqa: BLE001 - whatever it is, making the response raises it
                answer = error

            def make_response() -> bytes:
                if isinstance(answer, Exception):
                    raise answer
                return answer

            if not self._scope.cancel_called:
                self.ready(make_response)

    def leave(self) -> None:
        self._scope.cancel()
