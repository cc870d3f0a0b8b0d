import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import h11
import pytest
import trio
import trio.testing

from exchanger.console.access import Access, ConsoleSettings
from exchanger.console.message import json_response
from exchanger.console.server import LIMITS, Server, ServerSettings
from exchanger.console.token_file import MAX_BYTES
from exchanger.console.websocket import Handshake
from exchanger.http.message import Request, Response
from tests.console.records import CANARY
from tests.console.running import CLOSE, PAGE, PATIENCE_S, Peer, frame, opening, request, running, until

TOKEN = "a-token-of-some-length"


async def test_the_page_is_served_from_memory_with_its_protection() -> None:
    async with running() as console:
        answer = await console.get("/")
        script = await console.get("/assets/app.js")

    assert (answer.status, answer.body) == (200, b"<!doctype html>")
    assert answer.header("content-type") == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.header("content-security-policy")
    assert "frame-ancestors 'none'" in answer.header("content-security-policy")
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("referrer-policy") == "no-referrer"
    assert answer.header("cross-origin-opener-policy") == "same-origin"
    assert answer.header("cross-origin-resource-policy") == "same-origin"
    assert script.header("content-type") == "text/javascript; charset=utf-8"


async def test_a_file_that_the_browser_has_is_not_sent_again() -> None:
    async with running() as console:
        for known in ('"2"', 'W/"2"', '"1", "2"'):
            answer = await console.get("/assets/app.js", f"If-None-Match: {known}")
            assert (answer.status, answer.body, answer.header("etag")) == (304, b"", '"2"')
        assert (await console.get("/assets/app.js", 'If-None-Match: "3"')).status == 200


@pytest.mark.parametrize(
    "target",
    [
        "/nothing",
        "/assets/",
        "/assets/index.html",
        "/assets/../server.py",
        "/assets/%2e%2e/server.py",
        "//",
        "/assets/app.js/",
        "/index.html",
    ],
)
async def test_what_is_not_there_is_not_found(target: str) -> None:
    async with running() as console:
        answer = await console.get(target)

    assert answer.status == 404
    assert answer.json == {"error": "there is nothing here"}
    assert "'none'" in answer.header("content-security-policy")
    assert answer.header("cache-control") == "no-store"


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("DELETE", "/", "GET, HEAD"),
        ("POST", "/api/policy", "GET, HEAD"),
        ("GET", "/session", "DELETE, POST"),
        ("PUT", "/assets/app.js", "GET, HEAD"),
    ],
)
async def test_a_method_that_is_not_done_is_told_what_is(method: str, target: str, allowed: str) -> None:
    async with running() as console:
        answer = await console.ask(request(method, target))

    assert (answer.status, answer.header("allow")) == (405, allowed)


async def test_head_has_the_headers_alone() -> None:
    async with running() as console, console.peer() as peer:
        await peer.send(request("HEAD", "/") + request("GET", "/assets/app.js"))
        assert (await peer.answer(head_only=True)).header("content-length") == "15"
        assert (await peer.answer()).body == b"// page"


async def test_a_connection_serves_many_requests_also_refused_ones() -> None:
    async with running() as console, console.peer() as peer:
        for target, host, status in (
            ("/", "localhost", 200),
            ("/", "evil.example", 421),
            ("/none", "localhost", 404),
            ("/", "localhost", 200),
        ):
            await peer.send(request("GET", target, host=host))
            assert (await peer.answer()).status == status


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"nonsense\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + CANARY.encode() + b"\x00\r\n\r\n",
        b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.2\r\nHost: localhost\r\n\r\n",
        b"POST /session HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST /session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_what_is_not_understood_is_answered_in_words_and_nothing_of_it_comes_back(data: bytes) -> None:
    async with running() as console:
        async with console.peer() as peer:
            await peer.send(data)
            answer = await peer.answer()
            assert answer.status in {400, 405}
            assert "error" in answer.json
            assert CANARY.encode() not in peer.received
        assert (await console.get("/")).status == 200


@pytest.mark.parametrize("length", ["", "Content-Length: 5\r\n"])
async def test_a_body_of_unknown_length_is_refused_and_nothing_after_it_is_a_request(length: str) -> None:
    head = f"POST /session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{length}Transfer-Encoding: chunked\r\n\r\n"
    async with running() as console, console.peer() as peer:
        await peer.send(head.encode() + b"0\r\n\r\n" + request("GET", "/"))
        assert (await peer.answer()).status == 411
        assert (await peer.rest()).count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("extra", [b"Content-Length: 6\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_a_body_is_not_taken_for_frames(extra: bytes) -> None:
    async with running() as console, console.peer() as peer:
        await peer.send(opening()[:-2] + extra + b"\r\n" + frame(CLOSE))
        assert (await peer.answer()).status in {400, 411}
        assert b" 101 " not in await peer.rest()


async def test_a_websocket_is_opened_over_no_older_version() -> None:
    async with running() as console:
        assert (await console.ask(opening().replace(b"HTTP/1.1", b"HTTP/1.0"))).status == 400


async def test_as_many_header_lines_as_there_may_be_are_read() -> None:
    async with running() as console, console.peer() as peer:
        fields = ["X: y"] * (LIMITS.head_lines - 2)  # the request line, and Host
        await peer.send(request("GET", "/", *fields) + request("GET", "/", *fields))
        assert [(await peer.answer()).status for _ in range(2)] == [200, 200]
        await peer.send(request("GET", "/", *fields, "X: y"))
        assert (await peer.answer()).status == 431


async def test_heads_are_read_one_in_a_round_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
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

    async with running() as console, contextlib.AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(console.peer()) for _ in range(20)]
        await trio.testing.wait_all_tasks_blocked(0.05)
        monkeypatch.setattr(h11.Connection, "next_event", next_event)
        trio.lowlevel.add_instrument(counting := Rounds())
        for peer in peers:
            peer.stream.socket._sock.send(request("GET", "/"))  # type: ignore[attr-defined]  # all of them before the loop goes on
        for peer in peers:
            assert (await peer.answer()).status == 200
        trio.lowlevel.remove_instrument(counting)
    assert len(reads) == len(set(reads)) == 20


@pytest.mark.parametrize("extra", [b"X: " + b"a" * 2 * LIMITS.head_bytes, b"X: y\r\n" * LIMITS.head_bytes, b"X: y\r\n" * LIMITS.head_lines])
async def test_headers_that_are_too_large_are_refused(extra: bytes) -> None:
    async with running() as console, console.peer() as peer:
        with contextlib.suppress(trio.BrokenResourceError):
            await peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + extra)
        assert (await peer.answer()).status == 431


@pytest.mark.parametrize(("over", "status"), [(0, 200), (1, 431)])
async def test_a_head_that_came_whole_is_measured_as_well(over: int, status: int) -> None:
    begin, end = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b"\r\n\r\n"
    async with running() as console, console.peer() as peer:
        await peer.send(begin + b"a" * (LIMITS.head_bytes - len(begin) - len(end) + over) + end)
        assert (await peer.answer()).status == status


async def test_a_body_that_is_too_large_is_refused_before_it_is_there() -> None:
    async with running() as console, console.peer() as peer:
        await peer.send(request("POST", "/session", "Content-Type: application/json", f"Content-Length: {10 * LIMITS.body_bytes}"))
        assert (await peer.answer()).status == 413


async def test_a_client_that_still_sends_gets_its_answer(mock_clock: trio.testing.MockClock) -> None:
    mock_clock.rate = 0.1  # so that a stall of the machine is not longer than what is still sent is waited for
    async with running() as console, console.peer() as peer:
        await peer.send(request("POST", "/session", "Content-Type: text/plain", "Content-Length: 600000"))
        for _ in range(30):
            await peer.send(bytes(20_000))
            await trio.sleep(0.002)
        assert (await peer.answer()).status == 415


async def test_a_body_that_is_no_json_is_refused_unread() -> None:
    async with running() as console:
        answer = await console.ask(request("POST", "/session", "Content-Type: text/plain", "Content-Length: 100"))

    assert answer.status == 415


async def test_a_client_that_waits_for_leave_to_send_gets_it() -> None:
    async with running() as console, console.peer() as peer:
        await peer.send(request("POST", "/session", "Content-Type: application/json", "Content-Length: 2", "Expect: 100-continue"))
        assert (await peer.head()).startswith(b"HTTP/1.1 100 ")
        await peer.send(b"{}")
        assert (await peer.answer()).status == 404  # this console has no token


async def test_a_foreign_name_is_misdirected_also_for_the_stream() -> None:
    async with running() as console:
        for data in (request("GET", "/", host="evil.example"), opening(host="evil.example"), opening(host="localhost.evil.example:80")):
            answer = await console.ask(data)
            assert answer.status == 421
            assert "evil" not in answer.body.decode()


async def test_a_name_that_operators_add_is_ours() -> None:
    async with running(ConsoleSettings(port=0, hosts=frozenset({"console.example.com"}))) as console:
        assert (await console.ask(request("GET", "/", host="console.example.com:8443"))).status == 200


@pytest.mark.parametrize(
    "header", ["Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"]
)
async def test_another_site_opens_no_stream_and_reads_nothing(header: str) -> None:
    async with running() as console:
        assert (await console.ask(opening(header))).status == 403
        assert (await console.get("/api/policy", header)).status == 403
        assert (await console.ask(request("POST", "/session", header, body=b"{}"))).status == 403


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    return path


async def test_without_the_token_only_the_page_is_open(token_file: Path) -> None:
    async with running(ConsoleSettings(port=0, token_file=token_file)) as console:
        for target in ("/api/policy", "/api/policy/document?namespace=a&name=b", "/api/explain", "/stream", "/lab/scenarios", "/nothing"):
            answer = await console.get(target)
            assert answer.status == 401, target
        assert (await console.ask(opening())).status == 401
        assert (await console.get("/")).status == 200
        assert (await console.get("/assets/app.js")).status == 200
        about = (await console.get("/api/about")).json
        assert about["token_required"] is True
        assert about["version"] is None


async def test_with_the_token_or_a_session_everything_is(token_file: Path) -> None:
    async with running(ConsoleSettings(port=0, token_file=token_file)) as console:
        login = await console.ask(request("POST", "/session", body=json.dumps({"token": TOKEN}).encode()))
        assert login.status == 204
        cookie = "Cookie: " + login.header("set-cookie").partition(";")[0]
        for header in (cookie, f"Authorization: Bearer {TOKEN}"):
            assert (await console.get("/api/policy", header)).status == 200
            assert (await console.get("/api/about", header)).json["version"] == "1.2.3"
            async with console.watching(header) as peer:
                assert (await peer.message())["type"] == "hello"


async def test_the_longest_token_can_sign_in(tmp_path: Path) -> None:
    token = '"' * MAX_BYTES
    (tmp_path / "token").write_text(token)
    async with running(ConsoleSettings(port=0, token_file=tmp_path / "token")) as console:
        assert (await console.ask(request("POST", "/session", body=json.dumps({"token": token}).encode()))).status == 204


async def test_a_wrong_token_opens_nothing(token_file: Path) -> None:
    async with running(ConsoleSettings(port=0, token_file=token_file)) as console:
        assert (await console.get("/api/policy", f"Authorization: Bearer {TOKEN}x")).status == 401
        assert (await console.ask(opening("Cookie: exchanger_console=0"))).status == 401
        assert (await console.get("/api/about", f"Authorization: Bearer {TOKEN}x")).json["version"] is None


async def test_a_replaced_token_ends_sessions_and_streams(token_file: Path) -> None:
    async with running(ConsoleSettings(port=0, token_file=token_file)) as console:
        async with console.watching(f"Authorization: Bearer {TOKEN}") as peer:
            await trio.Path(token_file).write_text("another-token-of-length")
            assert await peer.closing() == 1008
        assert (await console.get("/api/policy", f"Authorization: Bearer {TOKEN}")).status == 401
        assert (await console.get("/api/policy", "Authorization: Bearer another-token-of-length")).status == 200


async def test_half_a_request_is_waited_for_only_so_long(mock_clock: trio.testing.MockClock) -> None:
    for sent, after in (
        (b"", LIMITS.idle_s),
        (b"GET / HTTP/1.1\r\nHost:", LIMITS.arrival_s),
        (request("POST", "/session", body=b"{}")[:-1], LIMITS.arrival_s),
    ):
        server = Server(ServerSettings("", 0), Access(), PAGE, {("POST", "/session"): _echo}, _no_stream, _no_fault)
        client, served = await _pair()
        async with client, served, trio.open_nursery() as nursery:
            nursery.start_soon(server.http.serve, served)
            await client.send_all(sent) if sent else None
            await trio.testing.wait_all_tasks_blocked(0.05)
            mock_clock.jump(after - 0.1)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert server.http.slots.taken == 1
            mock_clock.jump(0.2)
            with trio.fail_after(PATIENCE_S):
                await trio.testing.wait_all_tasks_blocked(0.05)
        assert server.http.slots.taken == 0


async def _pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    first, second = trio.socket.socketpair()
    return trio.SocketStream(first), trio.SocketStream(second)


async def _echo(request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    return json_response({"length": len(request.body)})


async def _no_stream(_handshake: Handshake, _stream: trio.abc.Stream) -> Response | None:
    raise AssertionError


def _no_fault(fault: BaseException) -> None:
    raise AssertionError(fault)


async def test_the_number_of_connections_is_bounded() -> None:
    async with running() as console, contextlib.AsyncExitStack() as stack:
        peers: list[Peer] = []
        for _ in range(LIMITS.connections):
            peer = await stack.enter_async_context(console.peer())
            await peer.send(request("GET", "/"))
            assert (await peer.answer()).status == 200
            peers.append(peer)
        assert (await console.get("/")).status == 200
        assert console.console.server.http.slots.taken <= LIMITS.connections
        assert await peers[0].rest() == bytes(peers[0].received)
        await peers[1].send(request("GET", "/"))
        assert (await peers[1].answer()).status == 200


async def test_silent_connections_keep_nobody_out() -> None:
    async with running() as console, contextlib.AsyncExitStack() as stack:
        for first in (b"", b"G", request("POST", "/session", "Content-Type: application/json", "Content-Length: 9")):
            for _ in range(LIMITS.connections):
                await (await stack.enter_async_context(console.peer())).send(first)
            assert (await console.get("/api/policy")).status == 200
        assert console.console.server.http.slots.displaced > 2 * LIMITS.connections


async def test_whoever_watches_does_not_give_place() -> None:
    async with running() as console, console.watching() as watching, contextlib.AsyncExitStack() as stack:
        for _ in range(3 * LIMITS.connections):
            await stack.enter_async_context(console.peer())
        await until(lambda: console.console.server.http.slots.displaced > LIMITS.connections)
        assert (await watching.message("totals"))["subscribers"] == 1
        assert (await watching.message("totals"))["subscribers"] == 1


async def test_large_answers_that_nobody_takes_are_bounded() -> None:
    body = b"x" * int(LIMITS.unsent_bytes // 4)

    async def large(_request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return Response(200, body=body)

    async with serving(large=large) as (port, _, server), contextlib.AsyncExitStack() as stack:
        for _ in range(4):
            stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
            await stream.send_all(request("GET", "/api/large"))
        await until(lambda: server.http.answered == 4)
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            peer = Peer(stream)
            await peer.send(request("GET", "/api/large"))
            assert (await peer.answer()).status == 503
            await peer.send(request("GET", "/"))
            assert (await peer.answer()).status == 200
        await stack.aclose()
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            peer = Peer(stream)
            await peer.send(request("GET", "/api/large"))
            assert (await peer.answer()).body == body


@contextlib.asynccontextmanager
async def serving(*, patience: float = LIMITS.handler_s, **routes: object) -> AsyncIterator[tuple[int, list[BaseException], Server]]:
    faults: list[BaseException] = []
    handlers = {("GET", f"/api/{name}"): handler for name, handler in routes.items()}

    async def upgrade(_handshake: Handshake, _stream: trio.abc.Stream) -> Response | None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError(CANARY)

    server = Server(
        ServerSettings("127.0.0.1", 0, handler_timeout=patience),
        Access(),
        PAGE,
        handlers,  # type: ignore[arg-type]
        upgrade,
        faults.append,
    )
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(_run, server)
        yield port, faults, server
        nursery.cancel_scope.cancel()


async def _run(server: Server, *, task_status: trio.TaskStatus[int]) -> None:
    await server.run(task_status=task_status)


async def test_a_handlers_fault_is_reported_and_ends_nothing_else() -> None:
    async def broken(_request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        raise RuntimeError(CANARY)

    async with serving(broken=broken) as (port, faults, server):
        for _ in range(2):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                peer = Peer(stream)
                await peer.send(request("GET", "/api/broken"))
                answer = await peer.answer()
                assert answer.status == 500
                assert CANARY not in answer.body.decode()
        assert [type(fault) for fault in faults] == [RuntimeError] * 2
        assert server.http.faults == 2


async def test_a_fault_on_a_stream_is_reported_and_ends_nothing_else() -> None:
    async with serving() as (port, faults, _):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            peer = Peer(stream)
            await peer.send(opening())
            assert CANARY.encode() not in await peer.rest()
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            peer = Peer(stream)
            await peer.send(request("GET", "/"))
            assert (await peer.answer()).status == 200
        assert len(faults) == 1


async def test_a_handler_that_takes_too_long_is_given_up() -> None:
    async def slow(_request: Request) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    async with serving(patience=0.2, slow=slow) as (port, _, _server), await trio.open_tcp_stream("127.0.0.1", port) as stream:
        peer = Peer(stream)
        await peer.send(request("GET", "/api/slow"))
        assert (await peer.answer()).status == 504
