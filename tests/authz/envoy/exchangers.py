"""Token exchangers of the tests: outcomes at once, after a while, or when they are let go."""

from collections.abc import Awaitable, Callable
from functools import partial

import attrs
import trio

from exchanger.model.secret import Secret
from exchanger.model.token import ExchangedToken, TokenOutcome, TokenRequest
from exchanger.net.deferred import Deferred
from exchanger.net.grpc.routes import StreamContinuation
from tests.net.grpc.later import Pending

Done = Callable[[TokenOutcome], None]


def ticket(wait: Callable[[], Awaitable[object]], outcome: TokenOutcome, done: Done, on_end: Callable[[], None] = lambda: None) -> Pending:
    """Say ``outcome`` after ``wait``, unless the ticket's owner leaves."""

    async def work() -> bytes:
        try:
            await wait()
        finally:
            on_end()
        return b""

    return Pending(work, lambda _make_response: done(outcome))


@attrs.define(eq=False)
class FakeExchanger:
    outcome: TokenOutcome = attrs.Factory(lambda: ExchangedToken(Secret("new")))
    delay: float = 0.0
    requests: list[TokenRequest] = attrs.Factory(list)
    deadlines: list[float] = attrs.Factory(list)

    def begin(self, request: TokenRequest, deadline: float, done: Done, /) -> TokenOutcome | Pending:
        self.requests.append(request)
        self.deadlines.append(deadline)
        return ticket(partial(trio.sleep, self.delay), self.outcome, done) if self.delay else self.outcome


@attrs.define(eq=False)
class WaitingExchanger:
    """Answers at once, but for the subject token "wait": that one waits to be let go."""

    waiting: int = 0
    let_go: trio.Event = attrs.field(factory=trio.Event)

    def begin(self, request: TokenRequest, _deadline: float, done: Done, /) -> TokenOutcome | Pending:
        token = request.subject_token.reveal()
        outcome = ExchangedToken(Secret(f"new-{token}"))
        if token != "wait":
            return outcome
        self.waiting += 1
        return ticket(self.let_go.wait, outcome, done, self._ended)

    def _ended(self) -> None:
        self.waiting -= 1


@attrs.define(eq=False)
class BrokenExchanger:
    """Breaks when it is asked."""

    def begin(self, request: TokenRequest, _due: float, _done: Done, /) -> TokenOutcome:
        raise RuntimeError(request.subject_token.reveal())


async def answered(answer: bytes | Deferred | StreamContinuation) -> bytes:
    """Return the answer when it is there; leave when cancelled."""
    if not isinstance(answer, Deferred):
        return answer if isinstance(answer, bytes) else answer.response
    ready = trio.Event()
    made: list[Callable[[], bytes | StreamContinuation]] = []

    def on_ready(make_response: Callable[[], bytes | StreamContinuation]) -> None:
        made.append(make_response)
        ready.set()

    answer.ready = on_ready
    try:
        await ready.wait()
    except trio.Cancelled:
        answer.leave()
        raise
    (make_response,) = made
    return await answered(make_response())
