"""The endpoint that Prometheus scrapes: a small HTTP/1.1 server that knows one resource and believes nobody.

GET and HEAD of one path; no query is read, nothing of a request is echoed or logged. The protocol is h11's, the metrics' form is the
Prometheus text format (https://prometheus.io/docs/instrumenting/exposition_formats/).
"""

from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address
from typing import Final, final

import attrs
import h11
import trio
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from exchanger.http.connection import HeadLimits, linger, new_connection, receive_head, send_bounded
from exchanger.http.names import is_loopback, is_ours, names_of, read_host
from exchanger.http.seats import Seat, Seats
from exchanger.telemetry.metrics import Metrics, MetricsSettings
from exchanger.telemetry.process import process_metrics

MAX_CONNECTIONS: Final = 64
"""Some Prometheus replicas with one connection each, and room for people who look; who is silent longest gives place to newcomers."""
MAX_HEADER_BYTES: Final = 8 * 1024
"""Of a request line and its headers; a scrape has less than 1 KiB."""
MAX_LINES: Final = 64
"""Lines of a head; a scrape has about ten."""
REQUEST_S: Final = 10.0
"""To receive a request and to send its answer; Prometheus itself gives up after 10 s (scrape_timeout)."""
IDLE_S: Final = 150.0
"""Between requests of one connection: two scrape intervals of one minute and some more."""

_JOINED: Final = 64 * 1024
"""Bytes of a page that goes out with its head; a larger one is not copied for that."""
_HEAD_LIMITS: Final = HeadLimits(MAX_HEADER_BYTES, MAX_LINES, IDLE_S, REQUEST_S)
_OK, _NOT_FOUND, _NOT_ALLOWED, _BAD_REQUEST, _MISDIRECTED = 200, 404, 405, 400, 421
_REASONS: Final = {
    _OK: b"OK",
    _NOT_FOUND: b"Not Found",
    _NOT_ALLOWED: b"Method Not Allowed",
    _BAD_REQUEST: b"Bad Request",
    _MISDIRECTED: b"Misdirected Request",
}


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
    """``connections`` are open now; the others count since the start: requests ``answered``, connections ``refused`` and ``displaced``."""

    connections: int
    answered: int
    refused: int
    displaced: int


@final
@attrs.define(eq=False)
class MetricsServer:
    """Serves the metrics until cancelled."""

    _settings: MetricsSettings
    _metrics: Metrics
    _names: frozenset[str] | None = attrs.field(init=False)
    """What it may be asked for as, ``None`` where any name is right."""
    _seats: Seats = attrs.field(factory=lambda: Seats(MAX_CONNECTIONS), init=False, repr=False)
    _turn: trio.Lock = attrs.field(factory=trio.Lock, init=False, repr=False)
    _answered: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._names = _known_names(self._settings.host)

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
        seats = self._seats.statistics()
        return ServerStatistics(seats.taken, self._answered, seats.refused, seats.displaced)

    async def _serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection; ``serve_listeners`` closes it."""
        with self._seats.taken() as seat:
            if seat is None:
                return
            with suppress(trio.BrokenResourceError):  # the peer left, or does not read; there is nobody to answer
                await self._converse(stream, seat)

    async def _converse(self, stream: trio.SocketStream, seat: Seat) -> None:
        protocol = new_connection(_HEAD_LIMITS)
        while True:
            try:
                with seat.silent():
                    head = await receive_head(stream, protocol, self._turn, _HEAD_LIMITS)
                if head is None:
                    return
                protocol.next_event()  # the end of the message; a body is not for us, and ends the connection after the answer
                async with self._turn:  # one page in a round of the event loop
                    answer = self._answer(head)
            except h11.RemoteProtocolError:
                answer = _Answer(_BAD_REQUEST, headers=((b"Connection", b"close"),))
            with seat.slow():
                await send_bounded(stream, *_encoded(protocol, answer), seconds=REQUEST_S)
                self._answered += answer.status != _BAD_REQUEST
                if protocol.our_state is not h11.DONE or protocol.their_state is not h11.DONE:
                    await linger(stream)
                    return
            protocol.start_next_cycle()

    def _answer(self, request: h11.Request) -> "_Answer":
        if self._names is not None and not _is_for(request, self._names):
            return _Answer(_MISDIRECTED)
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


def _known_names(host: str | None) -> frozenset[str] | None:
    """Return the names that a server on ``host`` may be asked for as, ``None`` where any is right.

    Prometheus asks for addresses of pods and for whatever else leads to them. Where only this machine can ask, or where there is a name, a
    browser is who else might: any page can have it ask here, under a name of its own (DNS rebinding).
    """
    if not host:
        return None
    try:
        ip_address(host)
    except ValueError:
        return names_of(host, frozenset())
    return frozenset() if is_loopback(host) else None


def _is_for(request: h11.Request, names: frozenset[str]) -> bool:
    hosts = [value for name, value in request.headers if name == b"host"]
    host = read_host(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
    return host is not None and is_ours(host.host, names)


def _encoded(protocol: h11.Connection, answer: _Answer) -> tuple[bytes, ...]:
    headers = [*answer.headers, (b"Content-Length", str(len(answer.body)).encode())]
    events: list[h11.Event] = [h11.Response(status_code=answer.status, headers=headers, reason=_REASONS[answer.status])]
    if answer.body and answer.send_body:
        events.append(h11.Data(data=answer.body))
    events.append(h11.EndOfMessage())
    parts = [protocol.send(event) or b"" for event in events]
    return (b"".join(parts),) if len(answer.body) <= _JOINED else tuple(filter(None, parts))
