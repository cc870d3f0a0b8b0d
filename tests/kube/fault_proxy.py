"""A proxy on loopback between a client and an API server, with a certificate of its own and whatever fault a test wants.

It ends TLS and reads HTTP/1.1, so that a fault can be meant for lists or for watches, or for one kind of event. It counts requests.
"""

import contextlib
import enum
import json
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, assert_never
from urllib.parse import parse_qs, urlsplit

import attrs
import h11
import trio
import trustme

from tests.kube.control_plane import write_kubeconfig

PIECE_BYTES: Final = 64 * 1024
# What reading and writing raise when one of the two sides is gone.
BROKEN: Final = (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError, OSError)
HOP_BY_HOP: Final = frozenset({b"connection", b"transfer-encoding", b"keep-alive"})

_Stream = trio.SSLStream[trio.SocketStream]

# Returns the lines that take the place of a line of a watch; each has its newline.
Editor = Callable[[bytes], tuple[bytes, ...]]


@enum.unique
class Kind(enum.Enum):
    """What is asked for."""

    LIST = "list"
    WATCH = "watch"
    OTHER = "other"


@attrs.frozen
class Seen:
    """A request, and the Trio clock's time when it came."""

    kind: Kind
    at: float


@attrs.frozen
class Pass:
    """No fault."""


@attrs.frozen
class Refuse:
    """Nobody listens on the port, and the connections there are break off."""


@attrs.frozen
class Stall:
    """Connections stay and new ones are accepted, and not a byte comes or goes."""


@attrs.frozen
class Delay:
    """Each piece of an answer comes ``seconds`` late."""

    seconds: float


@attrs.frozen
class Cut:
    """Each answer breaks off ``after`` so many bytes of its body, counted from the moment at which the fault begins."""

    after: int


@attrs.frozen
class Answer:
    """Requests of these kinds are answered with ``status`` here; watches that are open go on. ``resource`` "" means each."""

    status: int
    kinds: frozenset[Kind] = frozenset({Kind.LIST, Kind.WATCH})
    retry_after: str = ""
    resource: str = ""

    def is_meant_for(self, target: str) -> bool:
        """Return whether a request for ``target`` is answered so."""
        return kind_of(target) in self.kinds and urlsplit(target).path.endswith(f"/{self.resource}" if self.resource else "")


@attrs.frozen(eq=False)
class Edit:
    """The lines of each watch pass an editor of its own."""

    editor: Callable[[], Editor]


Fault = Pass | Refuse | Stall | Delay | Cut | Answer | Edit


def status_object(code: int) -> dict[str, Any]:
    """Return a Status as API servers send it."""
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "a fault of the test", "reason": "Test", "code": code}


def kind_of(target: str) -> Kind:
    parts = urlsplit(target)
    if "watch" in parse_qs(parts.query):
        return Kind.WATCH
    return Kind.LIST if parts.path.endswith(("/namespaces", "/configmaps")) else Kind.OTHER


@attrs.define(eq=False)
class FaultProxy:
    """``run`` is its life; ``become`` and ``disconnect`` are for tests, in the same Trio run."""

    port_behind: int
    ca_behind: Path
    requests: list[Seen] = attrs.field(factory=list, init=False)
    # How often a fault other than ``Refuse`` and ``Stall`` did something.
    strikes: int = attrs.field(default=0, init=False)
    _fault: Fault = attrs.field(factory=Pass, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)
    _struck: trio.Event = attrs.field(factory=trio.Event, init=False)
    _authority: trustme.CA = attrs.field(factory=trustme.CA, init=False)
    _inward: ssl.SSLContext = attrs.field(init=False)
    _outward: ssl.SSLContext = attrs.field(init=False)
    # Bound but not listening: it keeps the port for the next listener while connections are refused.
    _holder: socket.socket = attrs.field(init=False)
    _listening: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _connections: set[trio.CancelScope] = attrs.field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        self._inward = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert("127.0.0.1").configure_cert(self._inward)
        self._outward = ssl.create_default_context(cafile=str(self.ca_behind))
        self._holder = _bound(0)

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1."""
        return int(self._holder.getsockname()[1])

    def kubeconfig(self, path: Path, user: str) -> Path:
        """Write a kubeconfig file that leads to the proxy."""
        return write_kubeconfig(path, self.port, self._authority.cert_pem.bytes(), user)

    def count(self, *kinds: Kind) -> int:
        """Return how many requests of these kinds came so far."""
        return sum(seen.kind in kinds for seen in self.requests)

    def become(self, fault: Fault) -> None:
        """Have ``fault`` instead of the present one from now on."""
        self._fault = fault
        self._changed.set()
        self._changed = trio.Event()
        if isinstance(fault, Refuse):
            self._listening.cancel()
            self.disconnect()

    def disconnect(self) -> None:
        """Break off the connections there are."""
        for scope in self._connections:
            scope.cancel()

    async def until_struck(self, times: int) -> None:
        """Wait until faults did something ``times`` times in all."""
        while self.strikes < times:
            await self._struck.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, once; ``started()`` when it listens for the first time."""
        with self._holder:
            async with trio.open_nursery() as nursery:
                while True:
                    while isinstance(self._fault, Refuse):
                        await self._changed.wait()
                    with trio.CancelScope() as self._listening:
                        async with trio.SocketListener(_listening_on(self.port)) as listener:
                            task_status.started()
                            task_status = trio.TASK_STATUS_IGNORED
                            await trio.serve_listeners(self._serve, [listener], handler_nursery=nursery)

    async def _serve(self, transport: trio.SocketStream) -> None:
        with trio.CancelScope() as scope:
            self._connections.add(scope)
            try:
                async with transport:
                    stream = trio.SSLStream(transport, self._inward, server_side=True, https_compatible=True)
                    with contextlib.suppress(*BROKEN):
                        await self._flowing()
                        await stream.do_handshake()
                        await self._converse(stream)
            finally:
                self._connections.discard(scope)

    async def _converse(self, stream: _Stream) -> None:
        """Answer one request after the other, as long as answers are complete."""
        connection = h11.Connection(h11.SERVER)
        while isinstance(request := await _next_event(connection, stream), h11.Request):
            while not isinstance(await _next_event(connection, stream), h11.EndOfMessage):
                pass
            target = request.target.decode()
            kind = kind_of(target)
            self.requests.append(Seen(kind, trio.current_time()))
            await self._flowing()
            fault = self._fault
            if isinstance(fault, Answer) and fault.is_meant_for(target):
                await _answer(connection, stream, fault)
                self._strike()
            else:
                await self._forward(connection, stream, request, kind)
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()

    async def _forward(self, connection: h11.Connection, stream: _Stream, request: h11.Request, kind: Kind) -> None:
        """Pass on one request and its answer, until that ends or either side is gone."""

        async def until_the_client_leaves() -> None:
            with contextlib.suppress(*BROKEN):
                while found := await stream.receive_some(PIECE_BYTES):
                    connection.receive_data(bytes(found))
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_the_client_leaves)
            with contextlib.suppress(*BROKEN):
                await self._pass_on(connection, stream, request, kind)
            nursery.cancel_scope.cancel()

    async def _pass_on(self, connection: h11.Connection, stream: _Stream, request: h11.Request, kind: Kind) -> None:
        async with await trio.open_tcp_stream("127.0.0.1", self.port_behind) as transport:
            behind = trio.SSLStream(transport, self._outward, server_hostname="127.0.0.1", https_compatible=True)
            server = h11.Connection(h11.CLIENT)
            headers = [*_end_to_end(request.headers), (b"connection", b"close")]
            asked = server.send(h11.Request(method=request.method, target=request.target, headers=headers))
            await behind.send_all((asked or b"") + (server.send(h11.EndOfMessage()) or b""))
            body = _Body(in_lines=kind is Kind.WATCH)
            while True:
                event = await _next_event(server, behind)
                if isinstance(event, h11.Response):
                    await self._flowing()
                    await _send(connection, stream, h11.Response(status_code=event.status_code, headers=_end_to_end(event.headers)))
                elif isinstance(event, h11.Data):
                    for piece in body.pieces(bytes(event.data)):
                        if not await self._send_piece(connection, stream, piece, body):
                            return
                else:
                    if isinstance(event, h11.EndOfMessage):
                        await self._flowing()
                        await _send(connection, stream, h11.EndOfMessage())
                    return

    async def _send_piece(self, connection: h11.Connection, stream: _Stream, piece: bytes, body: "_Body") -> bool:
        """Send a piece of an answer's body; return whether the answer goes on."""
        await self._flowing()
        fault = self._fault
        sent: tuple[bytes, ...] = (piece,)
        match fault:
            case Delay(seconds):
                self._strike()
                await trio.sleep(seconds)
            case Cut():
                sent = (body.cut(fault, piece),)
            case Edit() if body.in_lines:
                sent = body.edited(fault, piece)
            case Pass() | Refuse() | Stall() | Answer() | Edit():
                pass
            case _:
                assert_never(fault)
        for part in sent:
            if part:
                await _send(connection, stream, h11.Data(data=part))
        if sent != (piece,):
            self._strike()
        return not (isinstance(fault, Cut) and sent != (piece,))

    async def _flowing(self) -> None:
        """Wait while nothing may come or go."""
        while isinstance(self._fault, Stall):
            await self._changed.wait()

    def _strike(self) -> None:
        self.strikes += 1
        self._struck.set()
        self._struck = trio.Event()


@attrs.define(eq=False)
class _Body:
    """The body of one answer, and how far faults have come with it."""

    in_lines: bool
    _rest: bytes = attrs.field(default=b"", init=False)
    _fault: Fault | None = attrs.field(default=None, init=False)
    _sent: int = attrs.field(default=0, init=False)
    _editor: Editor | None = attrs.field(default=None, init=False)

    def pieces(self, data: bytes) -> list[bytes]:
        """Return what can be sent of ``data`` and what came before: complete lines, or all."""
        if not self.in_lines:
            return [data]
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line + b"\n" for line in lines]

    def cut(self, fault: Cut, piece: bytes) -> bytes:
        """Return as much of ``piece`` as may be sent."""
        if self._fault is not fault:
            self._fault, self._sent = fault, 0
        kept = piece[: fault.after - self._sent]
        self._sent += len(kept)
        return kept

    def edited(self, fault: Edit, line: bytes) -> tuple[bytes, ...]:
        """Return the lines that are sent instead of ``line``."""
        if self._fault is not fault or self._editor is None:
            self._fault, self._editor = fault, fault.editor()
        return self._editor(line)


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def _listening_on(port: int) -> trio.socket.SocketType:
    listening = trio.socket.from_stdlib_socket(_bound(port))
    listening.listen(64)
    return listening


def _end_to_end(headers: Any) -> list[tuple[bytes, bytes]]:
    return [(bytes(name), bytes(text)) for name, text in headers if name not in HOP_BY_HOP]


async def _next_event(connection: h11.Connection, stream: _Stream) -> h11.Event:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(bytes(await stream.receive_some(PIECE_BYTES)))
    assert isinstance(event, h11.Event), event
    return event


async def _send(connection: h11.Connection, stream: _Stream, event: h11.Event) -> None:
    if data := connection.send(event):
        await stream.send_all(data)


async def _answer(connection: h11.Connection, stream: _Stream, answer: Answer) -> None:
    body = json.dumps(status_object(answer.status)).encode()
    headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
    if answer.retry_after:
        headers.append(("retry-after", answer.retry_after))
    await _send(connection, stream, h11.Response(status_code=answer.status, headers=headers))
    await _send(connection, stream, h11.Data(data=body))
    await _send(connection, stream, h11.EndOfMessage())
