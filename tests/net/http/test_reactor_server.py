"""The HTTP server in the reactor: its bounds in time, space and turns. What it answers is that of the other one, by a law."""

import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import attrs
import pytest
import trio
import trio.testing

from exchanger.net.deferred import Deferred
from exchanger.net.http.limits import HttpLimits
from exchanger.net.http.message import Request, Response
from exchanger.net.http.reactor_server import HANDSHAKE_S, ImmediateHandler, ReactorHttpServer
from exchanger.net.http.server import LINGER_BYTES, LINGER_S, SETTLE_S
from exchanger.net.reactor import Reactor
from exchanger.net.tcp import SocketTransport
from exchanger.net.tls.certificates import load
from exchanger.net.tls.listener import TlsListener
from tests.net.grpc.authority import Site

CANARY = "canary-7f3d"
GET = b"GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"
LIMITS = HttpLimits(connections=4, head_bytes=512, head_lines=8, body_bytes=100, idle_s=30.0, arrival_s=10.0, answer_s=20.0, handler_s=5.0)
INSTEAD = Response(500, body=b"instead")
Clock = trio.testing.MockClock


def get(path: str) -> bytes:
    return GET.replace(b"/echo", path.encode())


def post(length: int, body: bytes = b"", path: str = "/echo") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n".encode() + body


class Later(Deferred):
    left = 0

    def leave(self) -> None:
        self.left += 1


@attrs.define(eq=False)
class Served:
    limits: HttpLimits = LIMITS
    tls: Callable[[Reactor], TlsListener] | None = None
    deferred: type[Later] = Later
    reactor: Reactor = attrs.field(factory=Reactor)
    later: list[Later] = attrs.field(factory=list)
    handled: list[str] = attrs.field(factory=list)
    faults: list[str] = attrs.field(factory=list)
    server: ReactorHttpServer = attrs.field(init=False)
    tls_listener: TlsListener | None = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tls_listener = None if self.tls is None else self.tls(self.reactor)
        self.server = ReactorHttpServer(
            self.route, self.limits, self.reactor, lambda fault: self.faults.append(type(fault).__name__), tls=self.tls_listener
        )

    def route(self, request: Request) -> Response | ImmediateHandler:
        if request.path == "/fault":
            raise KeyError(CANARY)
        return Response(404) if request.path == "/nothing" else ImmediateHandler(self.handle, INSTEAD)

    def handle(self, request: Request) -> Response | Deferred:
        self.handled.append(request.target)
        if request.path == "/broken":
            raise RuntimeError(CANARY)
        if request.path == "/later":
            self.later.append(self.deferred())
            return self.later[-1]
        bodies = {"/large": b"x" * 4_000_000, "/part": b"y" * 4000}
        return Response(200, body=bodies.get(request.path) or request.target.encode())

    def connect(self, **buffers: int) -> trio.SocketStream:
        near, far = socket.socketpair()
        for name, size in buffers.items():
            near.setsockopt(socket.SOL_SOCKET, getattr(socket, name), size)
        assert self.server.slots.has_room()
        self.server.serve(SocketTransport(near))
        return trio.SocketStream(trio.socket.from_stdlib_socket(far))

    @property
    def open(self) -> int:
        return self.server.slots.taken


@asynccontextmanager
async def serving(served: Served) -> AsyncGenerator[trio.Nursery]:
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.reactor.run)
            yield nursery
            nursery.cancel_scope.cancel()
    finally:
        for session in tuple(served.server.sessions):
            session.close()
        served.reactor.close()


def statuses(answers: bytes) -> list[int]:
    return [int(line[:3]) for line in answers.split(b"HTTP/1.1 ")[1:]]


async def rest(stream: trio.abc.Stream) -> bytes:
    """Return everything up to the end, or to a break."""
    received = bytearray()
    with contextlib.suppress(trio.BrokenResourceError):
        while data := await stream.receive_some():
            received += data
    return bytes(received)


@pytest.mark.parametrize(
    ("sent", "after", "answers"),
    [
        (b"", LIMITS.idle_s, 0),
        (GET[:-1], LIMITS.arrival_s, 0),
        (post(5, b"half"), LIMITS.arrival_s, 0),
        (GET, LIMITS.idle_s, 1),
        (GET + GET[:-1], LIMITS.arrival_s, 1),
        (post(101), LINGER_S, 1),
        (get("/later"), LIMITS.handler_s + LIMITS.idle_s, 1),
    ],
    ids=["nothing", "half a head", "half a body", "one request", "one and a half", "too much", "an answer that never comes"],
)
async def test_a_silent_peer_is_waited_for_only_so_long(sent: bytes, after: float, answers: int, autojump_clock: Clock) -> None:
    served = Served()
    async with serving(served), served.connect() as client:
        await client.send_all(sent)
        await trio.sleep(after - 0.1)
        assert served.open == 1
        await trio.sleep(0.2)
        assert served.open == 0
        assert (await rest(client)).count(b"HTTP/1.1 ") == answers


async def test_a_slow_head_has_its_time_from_its_first_byte_on(autojump_clock: Clock) -> None:
    served = Served()
    async with serving(served), served.connect() as client:
        await trio.sleep(LIMITS.idle_s - 1)
        for _ in range(3):
            await client.send_all(b"G")
            await trio.sleep(LIMITS.arrival_s / 4)
        assert served.open == 1
        await trio.sleep(LIMITS.arrival_s / 4 + 0.1)
        assert served.open == 0


async def test_a_handler_that_never_responds_gets_504_and_the_connection_survives(autojump_clock: Clock) -> None:
    served = Served()
    async with serving(served), served.connect() as client:
        await client.send_all(get("/later") + GET)
        await trio.sleep(LIMITS.handler_s + 0.1)
        assert served.later[0].left == 1
        served.later[0].ready(lambda: Response(200, body=b"too late"))
        await client.send_eof()
        assert statuses(await rest(client)) == [504, 200]


@pytest.mark.parametrize("framing", ["Content-Length: 2", "Transfer-Encoding: chunked"])
async def test_a_client_that_waits_for_leave_to_send_gets_it(framing: str) -> None:
    served = Served()
    async with serving(served), served.connect() as client:
        await client.send_all(f"POST /echo HTTP/1.1\r\nHost: h\r\n{framing}\r\nExpect: 100-continue\r\n\r\n".encode())
        assert await client.receive_some() == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert served.handled == []
        await client.send_all(b"ok" if framing.endswith("2") else b"2\r\nok\r\n0\r\n\r\n")
        assert bytes(await client.receive_some()).endswith(b"/echo")


@pytest.mark.parametrize("in_turn", [True, False])
async def test_a_deferred_answer_may_come_at_any_time_and_keeps_its_place(in_turn: bool) -> None:
    served = Served()
    async with serving(served), served.connect() as client:
        await client.send_all(get("/later") + get("/echo/2") + get("/later"))
        await trio.testing.wait_all_tasks_blocked()
        await client.send_all(get("/echo/4"))
        await trio.testing.wait_all_tasks_blocked()
        received = b""
        for number in (1, 3):
            assert len(served.later) == (number + 1) // 2
            answer = Response(200, body=b"answer %d" % number)
            ready = served.later[-1].ready
            if in_turn:
                served.reactor.turn(lambda ready=ready, answer=answer: ready(lambda: answer))  # type: ignore[misc]
            else:
                ready(lambda answer=answer: answer)  # type: ignore[misc]
            await trio.testing.wait_all_tasks_blocked()
            received += await client.receive_some()
        bodies = [part.partition(b"\r\n\r\n")[2] for part in received.split(b"HTTP/1.1 200 OK\r\n")[1:]]
        assert bodies == [b"answer 1", b"/echo/2", b"answer 3", b"/echo/4"]


async def test_requests_received_during_a_wait_are_buffered_up_to_a_limit() -> None:
    served = Served()
    async with serving(served) as nursery, served.connect() as client:
        await client.send_all(get("/later"))
        await trio.testing.wait_all_tasks_blocked()
        sent: list[int] = []

        async def send() -> None:
            for number in range(2000):
                await client.send_all(GET.replace(b"h\r\n", b"h\r\nX: %b\r\n" % (b"x" * 450)))
                sent.append(number)

        nursery.start_soon(send)  # more than all buffers hold
        await trio.testing.wait_all_tasks_blocked()  # which is never, if the reactor were woken again and again
        assert len(sent) < 2000
        served.later[0].ready(lambda: Response(200))
        received = 0
        while received < 2001:
            received += bytes(await client.receive_some()).count(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("leaves", ["half", "whole"])
async def test_a_half_closed_peer_gets_its_response_and_a_reset_cancels_it(leaves: str) -> None:
    served = Served()
    async with serving(served):
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
        listener.close()
        served.server.serve(SocketTransport(near))
        client.sendall(get("/later"))
        await trio.testing.wait_all_tasks_blocked()
        if leaves == "half":
            client.shutdown(socket.SHUT_WR)
            await trio.testing.wait_all_tasks_blocked()
            assert served.later[0].left == 0
            served.later[0].ready(lambda: Response(200, body=b"for you"))
            await trio.testing.wait_all_tasks_blocked()
            assert client.recv(1000).endswith(b"for you")
            assert client.recv(1000) == b""
        else:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        await trio.testing.wait_all_tasks_blocked()
        assert (served.open, served.later[0].left) == (0, leaves == "whole")


async def test_requests_of_many_peers_leave_other_tasks_their_turns() -> None:
    served, most = Served(attrs.evolve(LIMITS, connections=20)), 0
    async with serving(served), contextlib.AsyncExitStack() as clients, trio.open_nursery() as readers:
        for _ in range(20):
            client = await clients.enter_async_context(served.connect())
            await client.send_all(GET * 50)
            readers.start_soon(rest, client)
        while len(served.handled) < 1000:
            before = len(served.handled)
            await trio.lowlevel.checkpoint()
            most = max(most, len(served.handled) - before)
        readers.cancel_scope.cancel()
    # At four units a request, 128 units and what one peer may have in addition; two times, since Trio wakes tasks in any order.
    assert most <= 2 * 48


async def test_a_body_in_many_small_chunks_leaves_others_their_turns() -> None:
    served = Served(attrs.evolve(LIMITS, body_bytes=10_000))
    async with serving(served), served.connect() as greedy, served.connect() as modest:
        head = b"POST /greedy HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        await greedy.send_all(head + b"1\r\nx\r\n" * 8000 + b"0\r\n\r\n")
        await modest.send_all(get("/modest"))
        await trio.testing.wait_all_tasks_blocked()
        assert served.handled == ["/modest", "/greedy"]


async def test_a_peer_that_does_not_read_is_left(autojump_clock: Clock) -> None:
    served = Served()
    async with serving(served), served.connect(SO_SNDBUF=4096) as client:
        await client.send_all(get("/large") + get("/echo"))
        await trio.sleep(LIMITS.answer_s - 0.1)
        assert (served.open, served.handled) == (1, ["/large"])
        await trio.sleep(0.2)
        assert served.open == 0


@pytest.mark.parametrize("reads", ["before", "after", "never"])
async def test_a_pipelined_response_waits_behind_an_unread_one_within_the_timeout(reads: str, autojump_clock: Clock) -> None:
    served = Served(attrs.evolve(LIMITS, handler_s=100.0))
    async with serving(served), served.connect(SO_SNDBUF=4096) as client:
        await client.send_all(get("/part") * 6 + get("/later"))
        await trio.testing.wait_all_tasks_blocked()
        assert len(served.later) == 1
        await trio.sleep(50.0)
        received = b""
        while reads == "before" and received.count(b"y") < 24_000:
            received += await client.receive_some()
        served.later[0].ready(lambda: Response(200, body=b"last"))
        await trio.sleep(LIMITS.answer_s - 0.1)
        while reads != "never" and not received.endswith(b"last"):
            received += await client.receive_some()
        if reads != "never":
            await client.aclose()
        await trio.sleep(0.2)
        assert served.open == 0


async def test_a_handlers_fault_fails_only_its_request_without_details() -> None:
    served = Served()
    async with serving(served), served.connect() as client:
        await client.send_all(get("/broken") + get("/later"))
        await trio.testing.wait_all_tasks_blocked()
        served.later[0].ready(lambda: cast("dict[str, Response]", {})[CANARY])
        await client.send_all(GET)
        await client.send_eof()
        received = await rest(client)
        assert (received.count(b"HTTP/1.1 500 "), received.count(b"instead"), received.count(b"HTTP/1.1 200 ")) == (2, 2, 1)
        assert CANARY.encode() not in received
        assert served.faults == ["RuntimeError", "KeyError"]


@pytest.mark.parametrize("path", ["/fault", "/later"], ids=["of a route", "an answer that cannot be sent"])
async def test_a_fault_of_ours_ends_only_its_connection(path: str) -> None:
    served = Served()
    async with serving(served), served.connect() as other, served.connect() as client:
        await client.send_all(get(path))
        await trio.testing.wait_all_tasks_blocked()
        for deferred in served.later:
            deferred.ready(lambda: Response(200, (("X", "a\r\nY: b"),)))
        assert await rest(client) == b""
        assert (len(served.faults), served.open) == (1, 1)
        await other.send_all(GET)
        assert bytes(await other.receive_some()).startswith(b"HTTP/1.1 200 ")


async def test_a_fault_of_one_who_leaves_is_reported(autojump_clock: Clock) -> None:
    class Faulty(Later):
        def leave(self) -> None:
            raise RuntimeError(CANARY)

    served = Served(deferred=Faulty)
    async with serving(served), served.connect() as client:
        await client.send_all(get("/later"))
        assert bytes(await client.receive_some()).startswith(b"HTTP/1.1 504 ")
    assert served.faults == ["RuntimeError"]


async def test_a_peer_that_sends_on_after_the_last_response_is_cut_off() -> None:
    served = Served()
    async with serving(served), served.connect() as client:
        await client.send_all(post(101))
        assert bytes(await client.receive_some()).startswith(b"HTTP/1.1 413 ")
        with pytest.raises(trio.BrokenResourceError):
            await client.send_all(bytes(LINGER_BYTES + 1_000_000))
        assert served.open == 0


async def test_silent_connections_make_room_then_slow_ones_and_served_ones_do_not(autojump_clock: Clock) -> None:
    served = Served(attrs.evolve(LIMITS, handler_s=1000.0))
    async with serving(served):
        streams = [served.connect(SO_SNDBUF=4096) for _ in range(4)]
        for stream, data in zip(streams, (get("/later"), get("/large"), GET, post(9)), strict=True):
            await stream.send_all(data)
            await trio.testing.wait_all_tasks_blocked()
        slots = served.server.slots
        for displaced, ended in ((1, streams[2]), (2, streams[3])):
            streams.append(served.connect())
            await streams[-1].send_all(get("/later"))
            await trio.testing.wait_all_tasks_blocked()
            assert (slots.taken, slots.displaced, slots.refused) == (4, displaced, 0)
            assert (await rest(ended)).count(b"HTTP/1.1 ") == (ended is streams[2])
        streams.append(served.connect())
        await streams[-1].send_all(get("/later"))
        await trio.testing.wait_all_tasks_blocked()
        assert b"HTTP/1.1 200 " in await rest(streams[1])
        assert not slots.has_room()
        assert (slots.taken, slots.displaced, slots.refused) == (4, 3, 1)
        for stream in streams:
            await stream.aclose()


async def test_a_drain_answers_what_is_under_way_and_ends_who_stays_silent(autojump_clock: Clock) -> None:
    served, began = Served(attrs.evolve(LIMITS, handler_s=100.0)), trio.current_time()
    async with serving(served) as nursery:
        held, idle, silent = (served.connect() for _ in range(3))
        await held.send_all(get("/later"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(served.server.drain, 30.0)
        await trio.testing.wait_all_tasks_blocked()
        await idle.send_all(GET)
        last = await rest(idle)
        assert last.startswith(b"HTTP/1.1 200 ")
        assert b"Connection: close" in last
        assert await rest(silent) == b""
        assert trio.current_time() - began == pytest.approx(SETTLE_S, abs=0.1)
        served.later[0].ready(lambda: Response(200))
        assert b"Connection: close" in await rest(held)
        for stream in (held, idle, silent):
            await stream.aclose()
        await served.server.drain(30.0)
        assert served.open == 0


async def test_a_drain_waits_no_longer_than_it_may(autojump_clock: Clock) -> None:
    served, began = Served(attrs.evolve(LIMITS, handler_s=100.0)), trio.current_time()
    async with serving(served), served.connect() as client:
        await client.send_all(get("/later"))
        await trio.testing.wait_all_tasks_blocked()
        await served.server.drain(5.0)
        assert trio.current_time() - began == pytest.approx(5.0, abs=0.1)
        assert served.open == 1


@asynccontextmanager
async def listening(served: Served) -> AsyncGenerator[int]:
    async with serving(served) as nursery:
        if served.tls_listener is not None:
            await served.tls_listener.start()
            nursery.start_soon(served.tls_listener.run)
        listeners = await served.reactor.network.listen("127.0.0.1", 0)
        yield await nursery.start(served.server.run, listeners)


# TLS. What the transport itself does is tested in tests/net/test_server_tls.py.


def secured(site: Site, **options: Any) -> Served:
    settings = attrs.evolve(site.files.settings(**options), protocols=("http/1.1",))
    return Served(tls=lambda reactor: TlsListener(settings, reactor))


async def connected(port: int, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    return trio.SSLStream(stream, context, server_hostname="localhost", https_compatible=True)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
@pytest.mark.parametrize("protocols", [(), ("http/1.1",), ("h2", "http/1.1")], ids=str)
async def test_requests_are_answered_over_tls_and_the_end_is_said(site: Site, version: ssl.TLSVersion, protocols: tuple[str, ...]) -> None:
    served = secured(site)
    async with listening(served) as port:
        stream = await connected(port, site.client(protocols=protocols, version=version))
        for _ in range(2):
            await stream.send_all(GET)
            assert bytes(await stream.receive_some()).endswith(b"/echo")
        await stream.send_all(get("/large").replace(b"1.1", b"1.0"))
        assert (await rest(stream)).count(b"x") >= 4_000_000  # and then close_notify, not a broken connection
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert served.open == 0
    assert served.tls_listener is not None
    assert (served.tls_listener.handshakes.completed, served.tls_listener.handshakes.failed) == (1, 0)


async def test_who_breaks_tls_during_a_wait_is_left(site: Site) -> None:
    served = secured(site)
    async with listening(served) as port:
        stream = await connected(port, site.client(protocols=("http/1.1",)))
        await stream.send_all(get("/later"))
        while not served.later:
            await trio.testing.wait_all_tasks_blocked(0.01)
        await stream.transport_stream.send_all(b"garbage" * 10)
        await trio.testing.wait_all_tasks_blocked()
        assert (served.open, served.later[0].left) == (1, 1)  # it still has an alert to read
        await trio.aclose_forcefully(stream)


@pytest.mark.parametrize("heard", [b"", b"\x16"])
async def test_a_handshake_takes_no_longer_than_it_may(site: Site, heard: bytes, autojump_clock: Clock) -> None:
    served = secured(site)
    assert served.tls_listener is not None
    served.tls_listener.rotation.check(load(site.files.settings()), 0.0)
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    near, _ = listener.accept()
    listener.close()
    async with serving(served):
        served.server.serve(served.tls_listener.secure(near))
        client.sendall(heard)
        await trio.sleep(HANDSHAKE_S - 0.1)
        assert served.open == 1
        await trio.sleep(0.2)
        assert (served.open, served.tls_listener.handshakes.failed) == (0, 1)
    client.close()


async def test_without_a_certificate_nobody_is_served_where_mtls_is_wanted(site: Site) -> None:
    served = secured(site, mutual=True)
    async with listening(served) as port:
        for data in (None, GET):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            if data is None:
                client = trio.SSLStream(stream, site.client(protocols=("http/1.1",)), server_hostname="localhost", https_compatible=True)
                with contextlib.suppress(trio.BrokenResourceError):
                    await client.send_all(GET)  # in TLS 1.3, the client is done before its certificate is missed
                assert await rest(client) == b""
                await trio.aclose_forcefully(client)
            else:
                await stream.send_all(data)
                assert b"HTTP/1.1" not in await rest(stream)
                await stream.aclose()
        while served.open:
            await trio.testing.wait_all_tasks_blocked(0.01)
    assert (served.handled, cast("TlsListener", served.tls_listener).handshakes.failed) == ([], 2)
