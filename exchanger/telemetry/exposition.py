"""The endpoint that Prometheus scrapes: a small HTTP/1.1 server that knows one resource and believes nobody.

GET and HEAD of one path; no query is read, nothing of a request is echoed or logged. The protocol is h11's, the metrics' form is the
Prometheus text format (https://prometheus.io/docs/instrumenting/exposition_formats/).
"""

from collections.abc import Iterable
from typing import Final, final

import attrs
import h11
import trio
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from exchanger.telemetry.metrics import Metrics, MetricsSettings
from exchanger.telemetry.process import process_metrics

MAX_CONNECTIONS: Final = 32
"""Some Prometheus replicas with one connection each, and room for people who look."""
MAX_HEADER_BYTES: Final = 8 * 1024
"""Of a request line and its headers; a scrape has less than 1 KiB."""
REQUEST_S: Final = 10.0
"""To receive a request and to send its answer; Prometheus itself gives up after 10 s (scrape_timeout)."""
IDLE_S: Final = 150.0
"""Between requests of one connection: two scrape intervals of one minute and some more."""
RECEIVE_BYTES: Final = 4096
"""Of one read; a request fits."""

_OK, _NOT_FOUND, _NOT_ALLOWED, _BAD_REQUEST = 200, 404, 405, 400
_REASONS: Final = {_OK: b"OK", _NOT_FOUND: b"Not Found", _NOT_ALLOWED: b"Method Not Allowed", _BAD_REQUEST: b"Bad Request"}


@final
@attrs.frozen
class Exposed:
    """What is scraped: the service's metrics and those of its process. A collector in the sense of ``prometheus_client``."""

    _metrics: Metrics

    def collect(self) -> Iterable[Metric]:
        """Return every metric as it is now."""
        return (*self._metrics.collect(), *process_metrics())


@final
@attrs.frozen
class ServerStatistics:
    """``connections`` are open now; ``answered`` and ``refused`` count requests and connections since the start."""

    connections: int
    answered: int
    refused: int


@final
@attrs.define(eq=False)
class MetricsServer:
    """Serves the metrics until cancelled."""

    _settings: MetricsSettings
    _metrics: Metrics
    _connections: int = attrs.field(default=0, init=False)
    _answered: int = attrs.field(default=0, init=False)
    _refused: int = attrs.field(default=0, init=False)

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen; ``started(port)`` with the port that is bound.

        Raises:
            OSError: the address cannot be bound.
        """
        listeners = await trio.open_tcp_listeners(self._settings.port, host=self._settings.host)
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._serve, listeners)
            task_status.started(listeners[0].socket.getsockname()[1])

    def statistics(self) -> ServerStatistics:
        """Tell how much was served."""
        return ServerStatistics(self._connections, self._answered, self._refused)

    async def _serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection; ``serve_listeners`` closes it."""
        if self._connections >= MAX_CONNECTIONS:
            self._refused += 1
            return
        self._connections += 1
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER_BYTES)
        try:
            while await self._serve_request(stream, connection):
                connection.start_next_cycle()
        except trio.BrokenResourceError:
            pass  # the peer left; there is nobody to answer
        finally:
            self._connections -= 1

    async def _serve_request(self, stream: trio.SocketStream, connection: h11.Connection) -> bool:
        """Answer the next request; return whether another one may follow."""
        try:
            request = await _receive(stream, connection)
        except h11.RemoteProtocolError:
            await _send(stream, connection, _Answer(_BAD_REQUEST, headers=((b"Connection", b"close"),)))
            return False
        if request is None:
            return False
        await _send(stream, connection, self._answer(request))
        self._answered += 1
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE

    def _answer(self, request: h11.Request) -> "_Answer":
        if request.target.partition(b"?")[0] != self._settings.path.encode():
            return _Answer(_NOT_FOUND)
        if request.method not in {b"GET", b"HEAD"}:
            return _Answer(_NOT_ALLOWED, headers=((b"Allow", b"GET, HEAD"),))
        body = generate_latest(Exposed(self._metrics))
        return _Answer(_OK, body, ((b"Content-Type", CONTENT_TYPE_PLAIN_0_0_4.encode()),), send_body=request.method == b"GET")


@final
@attrs.frozen
class _Answer:
    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    send_body: bool = True


async def _receive(stream: trio.SocketStream, connection: h11.Connection) -> h11.Request | None:
    """Return the next request, complete unless it has a body; ``None`` when the peer left or took too long.

    Raises:
        h11.RemoteProtocolError: what was received is no HTTP, or too large.
    """
    with trio.move_on_after(IDLE_S) as patience:
        silent = True
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(RECEIVE_BYTES))
            if silent:
                silent = False
                patience.deadline = trio.current_time() + REQUEST_S
        if isinstance(event, h11.Request):
            connection.next_event()  # the end of the message; a body is not for us, and ends the connection after the answer
            return event
    return None


async def _send(stream: trio.SocketStream, connection: h11.Connection, answer: _Answer) -> None:
    headers = [*answer.headers, (b"Content-Length", str(len(answer.body)).encode())]
    events: list[h11.Event] = [h11.Response(status_code=answer.status, headers=headers, reason=_REASONS[answer.status])]
    if answer.body and answer.send_body:
        events.append(h11.Data(data=answer.body))
    events.append(h11.EndOfMessage())
    data = b"".join(connection.send(event) or b"" for event in events)
    with trio.move_on_after(REQUEST_S) as patience:
        await stream.send_all(data)
    if patience.cancelled_caught:
        raise trio.BrokenResourceError("the peer does not read")
