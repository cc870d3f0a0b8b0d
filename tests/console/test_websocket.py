import contextlib
import struct
from collections.abc import Callable

import pytest
import trio
import trio.testing

from exchanger.console import websocket
from exchanger.console.broadcast import MAX_SUBSCRIBERS
from exchanger.console.console import ConsoleStatistics
from exchanger.console.handshake import Handshake
from exchanger.console.peer import ALLOWANCE, PeerStream, TooMuchError
from exchanger.console.websocket import CLOSE_S, MAX_MESSAGE, PING_S, PONG_S, send_messages
from tests.console.records import record
from tests.console.running import (
    BINARY,
    CLOSE,
    CONTINUATION,
    KEY,
    PING,
    PONG,
    TEXT,
    Peer,
    frame,
    opening,
    request,
    running,
    until,
)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(TEXT, b"hello"), 1008),
        (frame(BINARY, b"hello"), 1008),
        (frame(TEXT, b"hel", fin=False) + frame(CONTINUATION, b"lo"), 1008),
        (frame(TEXT), 1008),
        (frame(TEXT, b"x" * MAX_MESSAGE), 1008),
        (frame(TEXT, b"x" * (MAX_MESSAGE + 1)), 1009),
        (frame(BINARY, b"x" * 100_000), 1009),
        (b"\x81\xff" + (2**40).to_bytes(8, "big") + bytes(4), 1009),
        (frame(PING) + b"\x82\xfe" + (MAX_MESSAGE + 1).to_bytes(2, "big"), 1009),
        (b"\x89\xff" + (2**40).to_bytes(8, "big") + bytes(4), 1002),
        (frame(TEXT, b"x" * 3000, fin=False) + frame(CONTINUATION, b"x" * 3000), 1009),
        (frame(TEXT, b"hello", masked=False), 1002),
        (frame(TEXT, b"hello", rsv=0x40), 1002),
        (frame(3), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(PING, b"x", fin=False), 1002),
        (frame(CONTINUATION, b"x"), 1002),
        (frame(CLOSE, b"x"), 1002),
        (frame(CLOSE, struct.pack("!H", 999)), 1002),
        (frame(CLOSE, struct.pack("!H", 1006)), 1002),
        (frame(TEXT, b"\xff"), 1007),
        (b"GET / HTTP/1.1\r\n\r\n", 1002),
        (frame(CLOSE, struct.pack("!H", 1000)), 1000),
        (frame(CLOSE, struct.pack("!H", 1001) + b"bye"), 1001),
    ],
)
async def test_a_client_that_says_something_is_cut_off_with_the_reason(sent: bytes, code: int) -> None:
    async with running() as console:
        async with console.watching() as peer, console.watching() as other:
            await peer.send(sent)
            assert await peer.closing() == code
            console.console.feed.decided(record())
            assert (await other.message("decisions"))["items"]
        await _settled(console.console.statistics)


async def _settled(statistics: Callable[[], ConsoleStatistics]) -> None:
    await until(lambda: not statistics().server.connections)


@pytest.mark.parametrize(
    "sent",
    [
        frame(TEXT, b"hello") + frame(PING, b"after the end") * 20,
        frame(BINARY, b"x" * (MAX_MESSAGE + 1)) * 3,
        frame(CLOSE, struct.pack("!H", 1000)) + frame(PING, b"after the end") + frame(TEXT, b"x"),
        frame(TEXT, b"hello", masked=False) + frame(PING, b"after the end"),
        frame(CLOSE) + frame(CLOSE),
        frame(PONG, b"for no ping") * 50 + frame(CLOSE),
        frame(PING, b"x" * 125)[:20],
        b"",
    ],
)
async def test_whatever_follows_the_end_ends_nothing_else(sent: bytes) -> None:
    async with running() as console:
        async with console.watching() as peer:
            await peer.send(sent) if sent else None
            await trio.sleep(0.05)
        await _settled(console.console.statistics)
        assert (await console.get("/")).status == 200


async def test_pings_are_answered() -> None:
    async with running() as console, console.watching() as peer:
        await peer.message("hello")
        await peer.send(frame(PING, b"are you there"))
        while (got := await peer.frame())[0] == TEXT:
            pass
        assert got == (PONG, b"are you there")


async def test_what_comes_with_the_opening_request_is_not_lost() -> None:
    async with running() as console, console.peer() as peer:
        await peer.send(opening() + frame(TEXT, b"early"))
        assert (await peer.head()).startswith(b"HTTP/1.1 101 ")
        assert await peer.closing() == 1008


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((), 426),
        (("Upgrade: websocket", "Connection: Upgrade"), 426),
        (("Upgrade: h2c", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13"), 426),
        (("Upgrade: websocket", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13"), 426),
        (("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 8"), 426),
        (("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"), 400),
        (("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: short", "Sec-WebSocket-Version: 13"), 400),
        (("Upgrade: websocket", "Connection: Upgrade", *[f"Sec-WebSocket-Key: {KEY}"] * 2, "Sec-WebSocket-Version: 13"), 400),
    ],
)
async def test_what_is_no_opening_request_is_answered_as_http(headers: tuple[str, ...], status: int) -> None:
    async with running() as console, console.peer() as peer:
        await peer.send(request("GET", "/stream", *headers))
        assert (await peer.answer()).status == status
        await peer.send(request("GET", "/"))
        assert (await peer.answer()).status == 200


async def test_an_upgrade_elsewhere_is_not_taken_up() -> None:
    async with running() as console, console.peer() as peer:
        await peer.send(opening().replace(b"/stream", b"/", 1))
        assert (await peer.answer()).status == 200


async def test_there_may_be_so_many_subscribers_and_no_more() -> None:
    async with running() as console, contextlib.AsyncExitStack() as stack:
        for _ in range(MAX_SUBSCRIBERS):
            await stack.enter_async_context(console.watching())
        answer = await console.ask(opening())
        assert answer.status == 503
        assert answer.header("retry-after")


async def test_who_comes_back_sees_what_happened_meanwhile() -> None:
    async with running() as console:
        async with console.watching() as peer:
            console.console.feed.decided(record())
            await peer.message("decisions")
        await until(lambda: not console.console.statistics().broadcast.subscribers)
        console.console.feed.decided(record())
        async with console.watching() as peer:
            assert [item["seq"] for item in (await peer.message("hello"))["items"]] == [1, 2]


async def test_at_the_end_of_the_service_clients_are_told() -> None:
    codes: list[int] = []

    async def until_closed(peer: Peer) -> None:
        async with peer.stream:
            codes.append(await peer.closing())

    async with trio.open_nursery() as nursery, running() as console:
        peer = Peer(await trio.open_tcp_stream("127.0.0.1", console.port))
        await peer.send(opening())
        await peer.head()
        nursery.start_soon(until_closed, peer)
        await until(lambda: console.console.statistics().broadcast.subscribers == 1)
    assert codes == [1001]


# The rest is on a pair of streams and a clock that is moved.


async def silent() -> str:
    await trio.sleep_forever()
    raise AssertionError


async def test_a_client_that_answers_no_ping_is_closed_after_a_minute(autojump_clock: trio.testing.MockClock) -> None:
    client, server = trio.testing.memory_stream_pair()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_drain, client)
        await send_messages(PeerStream(server), Handshake(KEY).request("/stream", "console"), silent, trio.sleep_forever)
        assert PING_S + PONG_S <= trio.current_time() - began <= 60 + CLOSE_S
        nursery.cancel_scope.cancel()


async def test_a_client_that_answers_pings_stays(autojump_clock: trio.testing.MockClock) -> None:
    client, server = trio.testing.memory_stream_pair()

    async def answer() -> None:
        peer = Peer(client)  # type: ignore[arg-type]
        await peer.take(len(await _head(peer)) - len(peer.received))
        while True:
            data = b""
            while len(data) < 2:
                data += await client.receive_some()
            if data[0] & 15 == PING:
                await client.send_all(frame(PONG, data[2:]))

    with trio.move_on_after(1000) as patience:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            await send_messages(PeerStream(server), Handshake(KEY).request("/stream", "console"), silent, trio.sleep_forever)
    assert patience.cancelled_caught


async def _head(peer: Peer) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = await peer.stream.receive_some()
        peer.received += data
        head += data
    return head


async def _drain(client: trio.abc.ReceiveStream) -> None:
    while await client.receive_some(65536):
        pass


async def test_a_client_that_reads_nothing_is_closed_in_a_bounded_time(autojump_clock: trio.testing.MockClock) -> None:
    client, server = trio.testing.lockstep_stream_pair()

    async def take() -> str:
        return "x" * 1000

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_first, client)
        await send_messages(PeerStream(server), Handshake(KEY).request("/stream", "console"), take, trio.sleep_forever)
        nursery.cancel_scope.cancel()
    assert trio.current_time() - began <= 60 + CLOSE_S + 1


async def _first(client: trio.abc.ReceiveStream) -> None:
    await client.receive_some(1)
    await trio.sleep_forever()


async def test_a_fault_of_ours_comes_out(autojump_clock: trio.testing.MockClock) -> None:
    client, server = trio.testing.memory_stream_pair()

    async def broken() -> str:
        await trio.lowlevel.checkpoint()
        raise RuntimeError

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_drain, client)
        with pytest.raises(ExceptionGroup) as caught:
            await send_messages(PeerStream(server), Handshake(KEY).request("/stream", "console"), broken, trio.sleep_forever)
        nursery.cancel_scope.cancel()
    assert caught.value.split(RuntimeError)[1] is None


async def test_a_library_that_does_not_answer_is_given_up(autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stuck(*_arguments: object, **_options: object) -> object:
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(websocket, "wrap_server_stream", stuck)
    _, server = trio.testing.memory_stream_pair()
    with trio.fail_after(60):
        await send_messages(PeerStream(server), b"", silent, trio.sleep_forever)


async def test_a_client_may_send_only_so_much(autojump_clock: trio.testing.MockClock) -> None:
    client, server = trio.testing.memory_stream_pair()
    stream = PeerStream(server, b"first")
    assert await stream.receive_some() == b"first"
    await client.send_all(bytes(ALLOWANCE - 5))
    await stream.receive_some()
    assert stream.statistics().allowance < 1
    await trio.sleep(1)
    await client.send_all(bytes(1000))
    await stream.receive_some()
    await client.send_all(bytes(1000))
    with pytest.raises(TooMuchError):
        await stream.receive_some()


async def test_a_closed_side_passes_nothing() -> None:
    client, server = trio.testing.memory_stream_pair()
    stream = PeerStream(server)
    await stream.wait_send_all_might_not_block()
    await stream.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_all(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive_some()
    await server.send_all(b"the socket itself is open")
    assert await client.receive_some()


@pytest.mark.parametrize("pieces", [1, 10])
async def test_who_sends_more_than_it_has_a_reason_to_is_told(pieces: int) -> None:
    pings = frame(PING, b"x" * 100)
    number = 2 * ALLOWANCE // len(pings) // pieces  # twice as much, since the allowance grows while a slow machine reads
    async with running() as console:
        async with console.watching() as peer:
            with contextlib.suppress(trio.BrokenResourceError):
                for _ in range(pieces):
                    await peer.send(pings * number)
            assert await peer.closing() == 1008
        await _settled(console.console.statistics)


async def test_a_flood_of_pings_ends_the_connection() -> None:
    async with running() as console:
        async with console.watching() as peer:
            with contextlib.suppress(trio.BrokenResourceError):
                for _ in range(100):
                    await peer.send(frame(PING, b"x" * 125) * 10)
            assert await peer.closing() in {1008, 1006}  # what is still on its way when the end is told may take the telling away
        await _settled(console.console.statistics)


async def test_pieces_of_a_message_that_never_ends_end_the_connection() -> None:
    async with running() as console:
        async with console.watching() as peer:
            with contextlib.suppress(trio.BrokenResourceError):
                await peer.send(frame(TEXT, b"x", fin=False))
                for _ in range(100):
                    await peer.send(frame(CONTINUATION, b"", fin=False) * 100)
            await peer.closing()
        await _settled(console.console.statistics)


async def test_what_follows_the_opening_request_waits_for_its_answer(autojump_clock: trio.testing.MockClock) -> None:
    client, server = trio.testing.memory_stream_pair()
    side = websocket._LibrarySide(b"opening", server)
    await client.send_all(b"early")

    assert await side.receive_some() == b"opening"
    with trio.move_on_after(1) as patience:
        await side.receive_some()
    assert patience.cancelled_caught
    await side.send_all(b"answer")
    assert await side.receive_some() == b"early"
    assert side.statistics() == (False, False, 0)
    await side.wait_send_all_might_not_block()
    await side.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await side.receive_some()
    with pytest.raises(trio.ClosedResourceError):
        await side.send_all(b"x")
