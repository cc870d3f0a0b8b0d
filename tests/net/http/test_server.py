"""The HTTP server's bounds, once for all of its users: the metrics port, the console and the demo."""

import contextlib

import attrs
import h11
import pytest
import trio
import trio.testing

from exchanger.net.http.limits import HttpLimits
from exchanger.net.http.message import Handler, Request, Response
from exchanger.net.http.names import Authority, is_loopback, names_of, read_host
from exchanger.net.http.server import LARGE_BODY, LINGER_S, HttpServer, Route, Upgrade
from tests.steps import MOST_CALLS, counted_steps

CANARY = "canary-7f3d"
GET = b"GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"
LIMITS = HttpLimits(connections=4, head_bytes=512, head_lines=8, body_bytes=100, idle_s=30.0, arrival_s=10.0, answer_s=20.0, handler_s=5.0)
FAILURES = {431: Response(431, body=b"head too large")}
Clock = trio.testing.MockClock


def post(length: int, body: bytes = b"", *headers: str, path: str = "/echo") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: h", f"Content-Length: {length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def echo(request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    return Response(200, (("X-Method", request.method),), request.body or request.target.encode())


async def broken(_request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    raise RuntimeError(CANARY)


async def stuck(_request: Request) -> Response:
    await trio.sleep_forever()
    raise AssertionError


async def large(_request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    return Response(200, body=b"x" * (2 * LARGE_BODY))


async def hello(stream: trio.abc.Stream, early: bytes) -> Response | None:
    if early == b"refuse":
        return Response(409)
    await stream.send_all(b"switched:" + early)
    return None


async def route(request: Request) -> Response | Handler | Upgrade:
    await trio.lowlevel.checkpoint()
    if request.path == "/switch":
        return Upgrade(hello)
    found: dict[str, Handler] = {"/echo": echo, "/broken": broken, "/stuck": stuck, "/large": large}
    return found.get(request.path, Response(404))


@attrs.define(eq=False)
class Served:
    limits: HttpLimits = LIMITS
    of: Route = route
    faults: list[BaseException] = attrs.field(factory=list)
    server: HttpServer = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.server = HttpServer(self.of, self.limits, (("X-Always", "1"),), FAILURES, self.faults.append)

    async def talk(self, data: bytes, *, cut: int = 0, eof: bool = True) -> bytes:
        """Return all that is sent back to ``data``, which comes in two pieces."""
        client, served = trio.testing.memory_stream_pair()
        received, before = bytearray(), self.server.slots.taken
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve, served)
            with contextlib.suppress(trio.BrokenResourceError):
                for part in (data[:cut], data[cut:]):
                    await client.send_all(part)
                    await trio.testing.wait_all_tasks_blocked()
                if eof:
                    await client.send_eof()
            async for chunk in client:
                received += chunk
        assert self.server.slots.taken == before
        return bytes(received)

    async def _serve(self, stream: trio.abc.Stream) -> None:
        async with stream:
            await self.server.serve(stream)


def statuses(answer: bytes) -> list[int]:
    return [int(line.split()[1]) for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ") or b"\nHTTP/1.1 " in line]


async def test_requests_are_answered_in_order_with_length_and_common_headers() -> None:
    answer = await Served().talk(GET + post(2, b"ok") + b"GET /nothing HTTP/1.0\r\n\r\n", cut=70)

    assert statuses(answer.replace(b"okHTTP", b"ok\r\nHTTP").replace(b"echoHTTP", b"echo\r\nHTTP")) == [200, 200, 404]
    assert answer.count(b"X-Always: 1\r\n") == 3
    assert b"Content-Length: 2\r\n" in answer


@pytest.mark.parametrize("cut", [0, 5, len(GET) - 1])
async def test_head_has_the_length_and_no_body(cut: int) -> None:
    head, _, body = (await Served().talk(GET.replace(b"GET", b"HEAD"), cut=cut)).partition(b"\r\n\r\n")

    assert b"Content-Length: 5" in head
    assert body == b""


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("asked", [GET, GET.replace(b"Host", b"Connection: keep-alive\r\nHost")], ids=["usual", "another"])
async def test_a_status_without_content_has_no_length(status: int, asked: bytes) -> None:
    async def empty(_request: Request) -> Response:
        return Response(status)

    assert b"Content-Length" not in await Served(of=empty).talk(asked)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"nonsense\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: " + CANARY.encode() + b"\x00\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.2\r\nHost: h\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        post(10, b"half"),
    ],
)
async def test_malformed_http_is_refused_without_an_echo_and_closes_the_connection(data: bytes) -> None:
    answer = await Served().talk(data)

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Connection: close" in answer
    assert CANARY.encode() not in answer


async def test_connect_is_refused_before_any_route() -> None:
    at = Served()
    assert (await at.talk(b"CONNECT /echo HTTP/1.1\r\nHost: h\r\n\r\n")).startswith(b"HTTP/1.1 501 ")


@pytest.mark.parametrize(
    ("extra", "status"),
    [
        (b"X: " + b"a" * (LIMITS.head_bytes - len(GET) - 5), 200),
        (b"X: " + b"a" * (LIMITS.head_bytes - len(GET) - 4), 431),
        (b"\r\n".join([b"X: y"] * (LIMITS.head_lines - 2)), 200),
        (b"\r\n".join([b"X: y"] * (LIMITS.head_lines - 1)), 431),
    ],
)
@pytest.mark.parametrize("cut", [0, 30])
async def test_heads_are_bounded_in_bytes_and_lines_whole_or_in_pieces(extra: bytes, status: int, cut: int) -> None:
    data = GET[:-2] + extra + b"\r\n\r\n"
    answer = await Served().talk(data * 2 if status == 200 else data, cut=cut)

    assert answer.count(f"HTTP/1.1 {status} ".encode()) == (2 if status == 200 else 1)
    assert answer.endswith(b"/echo" if status == 200 else b"head too large")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (post(100, b"x" * 100), 200),
        (post(101, b"x" * 101), 413),
        (post(101), 413),
        (b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n" + b"x" * 100 + b"\r\n0\r\n\r\n", 200),
        (b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n", 413),
    ],
)
async def test_bodies_are_bounded(data: bytes, status: int, autojump_clock: Clock) -> None:
    answer = await Served().talk(data, eof=status == 200)

    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert (b"x" * 100 in answer) == (status == 200)


async def test_a_body_that_nobody_wants_is_not_read_and_no_request(autojump_clock: Clock) -> None:
    answer = await Served().talk(post(len(GET), GET, path="/nothing") + GET)

    assert (answer.count(b"HTTP/1.1 "), answer.count(b"Connection: close")) == (1, 1)


async def test_a_client_that_waits_for_leave_to_send_gets_it() -> None:
    data = post(2, b"", "Expect: 100-continue")
    assert (await Served().talk(data + b"ok", cut=len(data))).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("sent", "after"),
    [
        (b"", LIMITS.idle_s),
        (GET[:-1], LIMITS.arrival_s),
        (post(5, b"half"), LIMITS.arrival_s),
        (GET, LIMITS.idle_s),
        (post(101), LINGER_S),
    ],
)
async def test_a_silent_peer_is_waited_for_only_so_long(sent: bytes, after: float, autojump_clock: Clock) -> None:
    began = trio.current_time()
    answer = await Served().talk(sent, eof=False)

    assert trio.current_time() - began == pytest.approx(after)
    assert answer.count(b"HTTP/1.1 ") == (sent in {GET, post(101)})


async def test_a_slow_head_has_its_time_from_its_first_byte_on(autojump_clock: Clock) -> None:
    client, served = trio.testing.memory_stream_pair()
    at = Served()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(at.server.serve, served)
        await trio.sleep(LIMITS.idle_s - 1)
        for _ in range(3):
            await client.send_all(b"G")
            await trio.sleep(LIMITS.arrival_s / 4)
        assert at.server.slots.taken == 1
    assert trio.current_time() == pytest.approx(LIMITS.idle_s - 1 + LIMITS.arrival_s)


@pytest.mark.parametrize("path", ["/echo", "/large"])
async def test_a_peer_that_reads_no_response_is_disconnected_and_its_bytes_freed(path: str, autojump_clock: Clock) -> None:
    client, served = trio.testing.lockstep_stream_pair()
    at = Served()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, GET.replace(b"/echo", path.encode()))
        await at.server.serve(served)
    assert trio.current_time() == pytest.approx(LIMITS.answer_s)
    assert (at.server.slots.taken, at.server.unsent, at.faults) == (0, 0, [])


async def test_large_responses_that_nobody_takes_are_bounded_together(autojump_clock: Clock) -> None:
    at = Served(attrs.evolve(LIMITS, unsent_bytes=3 * LARGE_BODY))
    request = GET.replace(b"/echo", b"/large")
    slow_client, slow = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(at.server.serve, slow)
        await slow_client.send_all(request)
        await trio.testing.wait_all_tasks_blocked()
        assert (await at.talk(request)).startswith(b"HTTP/1.1 503 ")
        assert (await at.talk(GET)).startswith(b"HTTP/1.1 200 ")
    assert (await at.talk(request)).startswith(b"HTTP/1.1 200 ")
    assert (await Served(attrs.evolve(LIMITS, unsent_bytes=1)).talk(request)).startswith(b"HTTP/1.1 200 "), "a single one may be larger"


async def test_a_fault_is_reported_and_ends_nothing_else() -> None:
    at = Served()
    answer = await at.talk(GET.replace(b"/echo", b"/broken") + GET)

    assert (answer.count(b"HTTP/1.1 500 "), answer.count(b"HTTP/1.1 200 ")) == (1, 1)
    assert CANARY.encode() not in answer
    assert ([type(fault) for fault in at.faults], at.server.faults) == ([RuntimeError], 1)


async def test_a_routes_fault_ends_its_connection_or_without_a_handler_the_server() -> None:
    async def faulty(_request: Request) -> Response:
        raise RuntimeError(CANARY)

    at = Served(of=faulty)
    assert await at.talk(GET) == b""
    assert len(at.faults) == 1
    client, served = trio.testing.memory_stream_pair()
    await client.send_all(GET)
    with pytest.RaisesGroup(RuntimeError, flatten_subgroups=True):
        await HttpServer(faulty, LIMITS).serve(served)


async def test_a_handler_that_takes_too_long_is_given_up(autojump_clock: Clock) -> None:
    assert (await Served().talk(GET.replace(b"/echo", b"/stuck"))).startswith(b"HTTP/1.1 504 ")
    assert trio.current_time() == pytest.approx(LIMITS.handler_s)


@pytest.mark.parametrize(("early", "answer"), [(b"", b"switched:"), (b"more", b"switched:more"), (b"refuse", b"HTTP/1.1 409 Conflict\r\n")])
async def test_an_upgrade_gets_the_stream_and_what_came_with_the_request(early: bytes, answer: bytes, autojump_clock: Clock) -> None:
    data = b"GET /switch HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"
    assert (await Served().talk(data + early)).startswith(answer)


async def test_heads_are_parsed_one_in_a_round_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds, reads = [0], list[int]()
    original = h11.Connection.next_event

    def next_event(connection: h11.Connection) -> object:
        event = original(connection)
        if isinstance(event, h11.Request):
            reads.append(rounds[0])
        return event

    class Rounds(trio.abc.Instrument):
        def before_io_wait(self, timeout: float) -> None:
            rounds[0] += 1

    monkeypatch.setattr(h11.Connection, "next_event", next_event)
    at = Served(attrs.evolve(LIMITS, connections=20))
    trio.lowlevel.add_instrument(counting := Rounds())
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            client, served = trio.testing.memory_stream_pair()
            await client.send_all(GET.replace(b"Host", b"Connection: keep-alive\r\nHost"))  # which is not usual, so h11 reads it
            await client.send_eof()
            nursery.start_soon(at.server.serve, served)
    trio.lowlevel.remove_instrument(counting)
    assert len(reads) == len(set(reads)) == 20


async def test_silent_connections_make_room_and_served_ones_do_not(autojump_clock: Clock) -> None:
    at = Served(attrs.evolve(LIMITS, handler_s=1000.0))
    async with trio.open_nursery() as nursery:
        for data in (GET.replace(b"/echo", b"/stuck"), b"", b"G", post(9)):
            client, served = trio.testing.memory_stream_pair()
            nursery.start_soon(at.server.serve, served)
            await client.send_all(data)
            await trio.testing.wait_all_tasks_blocked()
        for displaced in (1, 2, 3, 4):
            _, served = trio.testing.memory_stream_pair()
            nursery.start_soon(at.server.serve, served)
            await trio.testing.wait_all_tasks_blocked()
            assert (at.server.slots.taken, at.server.slots.displaced, at.server.slots.refused) == (4, displaced, 0)
        nursery.cancel_scope.cancel()


def test_messages_hide_what_may_be_secret() -> None:
    hidden = (("authorization", CANARY),)
    request, response = Request("GET", f"/?token={CANARY}", hidden, CANARY.encode()), Response(200, hidden, CANARY.encode())
    assert CANARY not in repr(request) + repr(response)


@pytest.mark.parametrize(
    ("loopback", "hosts"),
    [
        (True, ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1"]),
        (False, ["", "0.0.0.0", "::", "10.0.0.1", "example.com", "localhost.example.com", "127.1", "[::1]", "::ffff:10.0.0.1"]),
    ],
    ids=["loopback", "others"],
)
def test_only_this_machine_reaches_loopback_addresses(loopback: bool, hosts: list[str]) -> None:
    assert [host for host in hosts if is_loopback(host) != loopback] == []


def test_read_host_splits_the_port_and_names_include_the_listen_address() -> None:
    assert [read_host(text) for text in ("A.example:80", "[::1]", "a:")] == [
        Authority("a.example", "80"),
        Authority("[::1]", ""),
        Authority("a", ""),
    ]
    assert names_of("Console.Example.com", frozenset({"other"})) == {"console.example.com", "other"}
    assert names_of("", frozenset()) == frozenset()


async def test_a_body_in_many_small_chunks_lets_others_have_their_turns() -> None:
    """One read of it holds thousands of chunks."""
    server = HttpServer(route, attrs.evolve(LIMITS, body_bytes=16_384))
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(server.run, listeners)
        client = await trio.open_tcp_stream(*listeners[0].socket.getsockname()[:2])
        await client.send_all(b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        with counted_steps() as steps:
            await client.send_all(b"1\r\nx\r\n" * 8000 + b"0\r\n\r\n")
            assert (await client.receive_some(200)).startswith(b"HTTP/1.1 200")
        assert max(steps.most.values()) < MOST_CALLS, steps.most
        await client.aclose()
        nursery.cancel_scope.cancel()
