"""One call, for a task that waits for it. Exchanges do without: their callers are not tasks."""

import trio

from exchanger.net.answer import EndpointResponse
from exchanger.net.call import EndpointCall, NoAnswer
from exchanger.net.endpoint import Endpoint, PreparedHead
from exchanger.net.pool import Connections
from exchanger.net.reactor import Reactor


async def round_trip(
    connections: Connections,
    reactor: Reactor,
    endpoint: Endpoint,
    head: PreparedHead,
    body: bytes,
    seconds: float,
    *,
    header_timeout: float | None = None,
) -> tuple[EndpointResponse | NoAnswer, bool]:
    """Return the answer, or why there is none, within ``seconds``; and whether the time was up."""
    answers: list[EndpointResponse | NoAnswer] = []
    landed = trio.Event()

    def land(answer: EndpointResponse | NoAnswer) -> None:
        answers.append(answer)
        landed.set()

    call = EndpointCall(endpoint, head, (), body, trio.current_time() + seconds, land, header_timeout=header_timeout)
    reactor.turn(lambda: connections.begin(call))
    try:
        await landed.wait()  # the call's own time is its bound
    finally:
        reactor.turn(call.give_up)  # nothing, once it has landed
    (answer,) = answers
    return answer, trio.current_time() >= call.deadline
