"""Who reads what the service says of itself: log, spans, metrics and console. Each reader may be slow, stop, or be gone."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, final

import attrs
import trio

from exchanger._proto.opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from exchanger._proto.opentelemetry.proto.trace.v1.trace_pb2 import Span
from exchanger.app.supervisor import Supervisor
from exchanger.operations.telemetry import metrics_server
from exchanger.operations.telemetry.log_writer import PATIENCE_S
from exchanger.util.output import MANY_BYTES
from tests.simulation.kernel import START, Kernel
from tests.simulation.network import Conversation, HttpConversation, Peer, Remote
from tests.simulation.part import CANARY, SECRET, Every, Part

COLLECTOR: Final = "collector.example.com"
METRICS_PORT: Final = 9100
CONSOLE_PORT: Final = 9200

LOG_FAULTS: Final = ("log stops", "log stops for ever")
# What a collector may do with spans, beside taking them.
POST_FAULTS: Final = ("503", "429", "400", "garbage", "cut", "reset", "mute", "late", "rejected")
CONNECT_FAULTS: Final = ("refused", "silent")
# What somebody who asks for metrics or the console may do, beside reading.
CLIENT_FAULTS: Final = ("stalls", "half a request", "no request", "nonsense", "leaves", "talks")
READER_FAULTS: Final = (*LOG_FAULTS, *POST_FAULTS, *CONNECT_FAULTS, *CLIENT_FAULTS)

# Spans that wait at most, and those of a batch: few, so that some are lost.
_QUEUE: Final = 100
_BATCH: Final = 20
# A second: how often somebody asks for metrics or the console, and how often the log's reader stops.
_ASKING: Final = 0.5
_STOPPING: Final = 0.05
# Clients that are connected at a time, fewer than the service takes.
_CLIENTS: Final = 20
# What a client that reads nothing has room for.
_NARROW: Final = 1024
_SECRET: Final = re.compile(SECRET)
_SAMPLE: Final = re.compile(r"^([a-z_]+_(?:total|count|bucket|sum)(?:\{.*\})?) (\S+)$", re.MULTILINE)
_DECISIONS: Final = "ext_authz_check_requests_total{"
_PATHS: Final = ("/stream", "/stream", "/", "/api/about", "/api/policy", "/nothing")


@final
@attrs.define(eq=False)
class Lines:
    """Takes the log, but nothing before ``stopped_until`` (seconds).

    ``folder`` has another name in each run, which the trace does not show. ``told`` is how many lines the service says that it has dropped,
    ``abandoned`` are those of a write that had not returned when it ended.
    """

    kernel: Kernel
    folder: Path
    lines: list[dict[str, Any]] = attrs.field(factory=list)
    wrong: list[str] = attrs.field(factory=list)
    stopped_until: float = attrs.field(default=0.0, init=False)
    problem: str = attrs.field(default="", init=False)
    abandoned: list[bytes] = attrs.field(factory=list, init=False)
    told: int = attrs.field(default=0, init=False)
    _in_thread: bool = attrs.field(default=False, init=False)

    @property
    def stopped(self) -> bool:
        return self.kernel.now < self.stopped_until

    @property
    def lost(self) -> int:
        """The lines that were abandoned, without those about others."""
        return sum(b'"log.dropped"' not in line for line in self.abandoned)

    async def run_sync(self, work: Callable[[list[bytes]], Any], lines: list[bytes], **options: Any) -> Any:
        """Write in a thread, which waits for as long as nobody reads, or until it has no patience any more."""

        def write() -> Any:
            self._in_thread = True
            try:
                return work(lines)
            finally:
                self._in_thread = False

        try:
            with trio.move_on_after(PATIENCE_S):
                while self.stopped:  # noqa: ASYNC110 - the time may be moved meanwhile
                    await trio.sleep_until(self.stopped_until)
            return await self.kernel.run_sync(write, **options)
        except trio.Cancelled:
            self.abandoned += lines
            raise

    def write(self, data: bytes, /, *, patience: float, at_once: int) -> int:
        lines = data.splitlines()
        if at_once == MANY_BYTES and not self._in_thread:
            self.wrong.append("the log is written where everything else waits for it")
        if self.stopped:
            self.kernel.tell("log", "is not read", len(lines))
            return len(lines)
        for line in lines:
            fields = json.loads(line)
            # Which of many entries that tie are named is up to the order of persistent maps, which differs between processes.
            told = {name: "…" if name in {"rivals", "detail"} and " entries[" in str(value) else value for name, value in fields.items()}
            self.kernel.tell("log", json.dumps(told, ensure_ascii=False).replace(str(self.folder), "…"))
            if _SECRET.search(line):
                self.wrong.append(f"a secret is logged: {line.decode()}")
            if fields["event"] == "log.dropped":
                self.told += fields["lines"]
            else:
                self.lines.append(fields)
        return 0


@final
@attrs.define(eq=False)
class Readers(Part):
    """Everybody who reads, but for the log, and what they do to it.

    ``spans`` are those of decisions that the collector has taken, by their id.
    """

    needs = "readers"
    spans: set[bytes] = attrs.field(factory=set, init=False)
    clients: list["_Client"] = attrs.field(factory=list, init=False)
    pages: dict[int, tuple[float, dict[str, float]]] = attrs.field(factory=dict, init=False)
    _count: int = attrs.field(default=0, init=False)

    # What the world asks of a part.

    def environment(self) -> dict[str, str]:
        self.world.network.hosts[COLLECTOR] = self
        metrics_server.process_metrics = tuple  # what /proc says of this process follows from no seed
        return {
            "METRICS_ENABLED": "true",
            "METRICS_PORT": str(METRICS_PORT),
            "CONSOLE_ADDRESS": f"127.0.0.1:{CONSOLE_PORT}",
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{COLLECTOR}:4318",
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{CANARY}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2000",
            "OTEL_BSP_SCHEDULE_DELAY": "1000",
            "OTEL_BSP_MAX_QUEUE_SIZE": str(_QUEUE),
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": str(_BATCH),
            "OTEL_METRIC_EXPORT_INTERVAL": "7000",
        }

    def storm(self, every: Every) -> None:
        every(_ASKING, self._ask, "readers")
        every(_STOPPING, self._stop_reading, "the log's reader")

    def heal(self) -> None:
        for client in self.clients:
            client.leave()
        if self.world.lines.stopped_until < float("inf"):
            self.world.lines.stopped_until = 0.0
        self.kernel.after(_LEFT, self._look)

    def complaints(self) -> Iterator[str]:
        yield from super().complaints()
        lines, writers = self.world.lines, [supervisor.logging.writer for supervisor in self.world.supervisors]
        accepted, dropped = sum(writer.accepted for writer in writers), sum(writer.dropped for writer in writers)
        if accepted != len(lines.lines) + lines.lost:
            yield f"{accepted} lines accepted, {len(lines.lines)} written, {lines.lost} abandoned"
        if lines.told > dropped or (lines.told < dropped and not lines.abandoned):
            yield f"{dropped} lines dropped, {lines.told} of them told"
        decided = sum(sum(supervisor.metrics.overview().decisions.values()) for supervisor in self.world.supervisors)
        lost = sum(self._lost(supervisor) for supervisor in self.world.supervisors)
        if not decided - lost <= len(self.spans) <= decided:
            yield f"{decided} decisions, {len(self.spans)} spans of them taken, {lost} spans lost"

    def _lost(self, supervisor: Supervisor) -> int:
        """Return how many spans are counted as lost, or may still have been on their way at the end."""
        exports = supervisor.exports
        assert exports.traces is not None
        assert exports.tracing is not None
        return exports.traces.lost + exports.tracing.queue.waiting + _BATCH * (not self.quiet)

    def _look(self) -> None:
        """Those who have left leave nothing behind."""
        left = sorted(socket.name for socket in self.world.network.sockets.values() if socket.name.startswith("reader-"))
        if left:
            self.complain(f"connections of readers that left long ago: {left}")
        for supervisor in self.world.supervisors:
            if supervisor.console is not None and supervisor.console.broadcast.subscribers:
                self.complain("a subscription of a reader that left long ago")

    # What happens.

    def strikes(self, kinds: tuple[str, ...], often: float) -> str:
        """Return the fault of these that strikes now, or ""."""
        return self.kernel.strike("a reader", [kind for kind in kinds if kind in self.plan.reader_faults and not self.quiet], often)

    def _stop_reading(self) -> None:
        kind = self.strikes(LOG_FAULTS, 4 * self.plan.badly_read)
        if kind:
            seconds = (
                float("inf") if kind == "log stops for ever" and self.chance.random() < 0.2 else self.chance.choice([0.5, 3.0, 8.0, 20.0])
            )
            self.world.lines.stopped_until = max(self.world.lines.stopped_until, self.kernel.now + seconds)

    def _ask(self) -> None:
        """Somebody asks for metrics, or for something of the console."""
        self.clients = [client for client in self.clients if not client.over]
        if len(self.clients) >= _CLIENTS:
            return
        replica, of_metrics = self.chance.randrange(len(self.world.supervisors)), self.chance.random() < 0.5
        self._count += 1
        port = (METRICS_PORT if of_metrics else CONSOLE_PORT) + replica
        remote = self.world.network.enter(port, None, f"reader-{self._count}")
        client = _Client(
            remote,
            self,
            replica,
            "/metrics" if of_metrics else self.chance.choice(_PATHS),
            self.strikes(CLIENT_FAULTS, 4 * self.plan.badly_read),
        )
        remote.peer = client
        if client.fault == "stalls":
            remote.stall(_NARROW)
        self.clients.append(client)
        client.begin()

    def decided(self, replica: int) -> int:
        """Return how many decisions a replica has counted."""
        return sum(self.world.supervisors[replica].metrics.overview().decisions.values())

    def scraped(self, replica: int, page: str, since: float, before: int) -> None:
        """Judge a page of metrics that was asked for at ``since``, after ``before`` decisions."""
        samples = {name: float(value) for name, value in _SAMPLE.findall(page)}
        decided = sum(value for name, value in samples.items() if name.startswith(_DECISIONS))
        if not before <= decided <= self.decided(replica):
            self.complain(f"{decided:.0f} decisions scraped, between {before} and {self.decided(replica)} counted")
        when, known = self.pages.get(replica, (0.0, {}))
        if since >= when:
            fallen = [name for name, value in known.items() if samples.get(name, -1.0) < value]
            if fallen:
                self.complain(f"metrics fall: {fallen[:3]} at {self.kernel.now - START:.3f}")
            self.pages[replica] = self.kernel.now, samples

    # The collector.

    def refuses(self) -> str:
        return self.strikes(CONNECT_FAULTS, self.plan.badly_read)

    def connected(self, remote: Remote) -> Peer:
        return _Collector(remote, self)


# Seconds after which nothing is left of a reader that has gone: what a server still takes from one, and what it may be busy with.
_LEFT: Final = 30.0


@final
@attrs.define(eq=False)
class _Collector(HttpConversation):
    """One connection to the collector, for one message."""

    readers: Readers

    def asked(self) -> None:
        readers = self.readers
        fault = readers.strikes(POST_FAULTS, readers.plan.badly_read)
        wait = readers.chance.uniform(0.5, 4.0) if fault == "late" else readers.chance.uniform(0.001, 0.05)
        readers.kernel.after(wait, self._answer, fault)

    def _answer(self, fault: str) -> None:
        readers = self.readers
        if _SECRET.search(self.body):
            readers.complain(f"a secret is exported to {self.target}")
        if self.over or fault == "mute":
            return
        if fault == "reset":
            self.end(abort=True)
            return
        if fault == "garbage":
            self.remote.write(readers.chance.randbytes(100))
            self.end()
            return
        answer = self._take(rejected=fault == "rejected") if fault in {"", "late", "rejected", "cut"} else b""
        status = int(fault) if fault in {"503", "429", "400"} else 200
        fields = [("Content-Length", str(len(answer)))] + ([("Retry-After", "1")] if fault == "429" else [])
        said = self.response(status, fields, answer)
        self.remote.write(said[: readers.chance.randrange(len(said))] if fault == "cut" else said)
        self.end()

    def _take(self, *, rejected: bool) -> bytes:
        """Take spans, or all but one of them, and return what the answer says."""
        if self.target != "/v1/traces":
            return b""
        request = ExportTraceServiceRequest.FromString(self.body)
        spans = [span for one in request.resource_spans for scope in one.scope_spans for span in scope.spans]
        self.readers.spans.update(span.span_id for span in spans[rejected:] if span.kind == Span.SPAN_KIND_SERVER)
        answer = ExportTraceServiceResponse()
        answer.partial_success.rejected_spans = int(rejected)
        return answer.SerializeToString()


@final
@attrs.define(eq=False)
class _Client(Conversation):
    """Asks a replica for ``path``, and reads; ``fault`` is what it does otherwise."""

    readers: Readers
    replica: int
    path: str
    fault: str
    heard: bytearray = attrs.field(factory=bytearray, init=False)
    _since: float = attrs.field(default=0.0, init=False)
    _before: int = attrs.field(default=0, init=False)

    def begin(self) -> None:
        """Say what there is to say."""
        readers, chance = self.readers, self.readers.chance
        self._since, self._before = readers.kernel.now, readers.decided(self.replica)
        said = f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        if self.path == "/stream":
            said += (
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            )
        asked = said.encode() + b"\r\n"
        match self.fault:
            case "half a request":
                asked = asked[: chance.randrange(len(asked))]
            case "no request":
                asked = b""
            case "nonsense":
                asked = chance.randbytes(chance.choice([10, 1000, 20_000]))
            case "talks":
                readers.kernel.after(chance.uniform(0.0, 5.0), self._talk)
        self.remote.write(asked)
        leaves = self.fault == "leaves"
        readers.kernel.after(chance.uniform(0.0, 0.05) if leaves else chance.choice([5.0, 30.0, 200.0]), self.leave)

    def _talk(self) -> None:
        if not self.over:
            self.remote.write(self.readers.chance.randbytes(500))

    def leave(self) -> None:
        """Leave; what was not read is lost, which the service is told by a reset."""
        self.end(abort=self.fault in {"stalls", "leaves"})

    def received(self, data: bytes) -> None:
        if self.over:
            return
        begins = max(0, len(self.heard) - 200)
        self.heard += data
        if _SECRET.search(self.heard, begins):
            self.readers.complain(f"a secret is shown at {self.path}")
        if self.path == "/metrics":
            head, found, page = bytes(self.heard).partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: ([0-9]+)", head)
            if found and length is not None and len(page) >= int(length[1]):
                if head.startswith(b"HTTP/1.1 200") and len(page) == int(length[1]):
                    self.readers.scraped(self.replica, page.decode(), self._since, self._before)
                self.end()
