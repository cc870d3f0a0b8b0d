"""Token exchangers of the tests: outcomes at once, after a while, or when they are let go."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import final

import attrs
import trio

from exchanger.grpc.routes import Deferred
from exchanger.values.secret import Secret
from exchanger.values.token import ExchangedToken, TokenOutcome, TokenRequest

Done = Callable[[TokenOutcome], None]


@final
@attrs.define(eq=False)
class Waiter:
    """A ticket: says ``outcome`` after ``wait``, unless its owner leaves."""

    wait: Callable[[], Awaitable[object]]
    outcome: TokenOutcome
    done: Done
    on_end: Callable[[], None] = lambda: None
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    def __attrs_post_init__(self) -> None:
        trio.lowlevel.spawn_system_task(self._work)

    async def _work(self) -> None:
        with self._scope:
            await self.wait()
        self.on_end()
        if not self._scope.cancel_called:
            self.done(self.outcome)

    def leave(self) -> None:
        self._scope.cancel()


@attrs.define(eq=False)
class FakeExchanger:
    outcome: TokenOutcome = attrs.Factory(lambda: ExchangedToken(Secret("new")))
    delay: float = 0.0
    requests: list[TokenRequest] = attrs.Factory(list)
    dues: list[float] = attrs.Factory(list)

    def begin(self, request: TokenRequest, due: float, done: Done, /) -> TokenOutcome | Waiter:
        self.requests.append(request)
        self.dues.append(due)
        return Waiter(partial(trio.sleep, self.delay), self.outcome, done) if self.delay else self.outcome


@attrs.define(eq=False)
class WaitingExchanger:
    """Answers at once, but for the subject token "wait": that one waits to be let go."""

    waiting: int = 0
    let_go: trio.Event = attrs.field(factory=trio.Event)

    def begin(self, request: TokenRequest, _due: float, done: Done, /) -> TokenOutcome | Waiter:
        token = request.subject_token.reveal()
        outcome = ExchangedToken(Secret(f"new-{token}"))
        if token != "wait":
            return outcome
        self.waiting += 1
        return Waiter(self.let_go.wait, outcome, done, self._ended)

    def _ended(self) -> None:
        self.waiting -= 1


@attrs.define(eq=False)
class BrokenExchanger:
    """Breaks when it is asked."""

    def begin(self, request: TokenRequest, _due: float, _done: Done, /) -> TokenOutcome:
        raise RuntimeError(request.subject_token.reveal())


async def answered(answer: bytes | Deferred) -> bytes:
    """Return the answer when it is there; leave when cancelled."""
    if isinstance(answer, bytes):
        return answer
    ready = trio.Event()
    answer.ready = ready.set
    try:
        await ready.wait()
    except trio.Cancelled:
        answer.leave()
        raise
    return answer.answer()
