import contextlib
import struct
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from exchanger.operations.console import websocket
from exchanger.operations.console.websocket import (
    ALLOWANCE,
    ALLOWANCE_PER_S,
    CLOSE_S,
    MAX_MESSAGE,
    PING_S,
    PONG_S,
    Handshake,
    send_messages,
)
from tests.operations.console.records import record
from tests.operations.console.running import CLOSE, CONTINUATION, KEY, PING, PONG, TEXT, Peer, frame, opening, request, running
from tests.waiting import until

# The library closes with a code or, where it does not, the connection just ends.
BROKEN = {1002, 1007, 1009, 1006}


@pytest.mark.parametrize(
    ("sent", "codes"),
    [
        (frame(TEXT, b"hello"), {1008}),
        (frame(TEXT, b"hel", fin=False) + frame(CONTINUATION, b"lo"), {1008}),
        (frame(TEXT, b"x" * MAX_MESSAGE), {1008}),
        (frame(TEXT, b"hello") + frame(PING, b"after the end") * 20, {1008}),
        (frame(CLOSE, struct.pack("!H", 1000)), {1000}),
        (frame(CLOSE, struct.pack("!H", 1001) + b"bye") + frame(PING) + frame(TEXT, b"x"), {1001, 1006}),
        (frame(TEXT, b"x" * (MAX_MESSAGE + 1)), BROKEN),
        (b"\x89\xff" + (2**40).to_bytes(8, "big") + bytes(4), BROKEN),
        (frame(TEXT, b"x" * 3000, fin=False) + frame(CONTINUATION, b"x" * 3000), BROKEN),
        (frame(TEXT, b"hello", masked=False) + frame(PING), BROKEN),
        (frame(TEXT, b"\xff"), BROKEN),
        (b"GET / HTTP/1.1\r\n\r\n", BROKEN),
        (frame(PING, b"x" * 125) * (2 * ALLOWANCE // 131), {1008, 1006}),
        (frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"", fin=False) * ALLOWANCE, {1008, 1006}),
    ],
)
async def test_a_client_that_sends_anything_is_cut_off_and_nobody_else(sent: bytes, codes: set[int]) -> None:
    async with running() as console:
        async with console.watching() as peer, console.watching() as other:
            with contextlib.suppress(trio.BrokenResourceError):
                await peer.send(sent)
            assert await peer.closing() in codes
            console.console.feed.decided(record())
            assert (await other.message("decisions"))["items"]
        await until(lambda: not console.console.server.http.slots.taken)


@pytest.mark.parametrize("sent", [b"", frame(PING, b"x" * 125)[:20], frame(PONG, b"for no ping") * 50 + frame(CLOSE)])
async def test_a_client_that_leaves_ends_nothing_else(sent: bytes) -> None:
    async with running() as console:
        async with console.watching() as peer:
            await peer.send(sent) if sent else None
        await until(lambda: not console.console.server.http.slots.taken)
        assert (await console.get("/")).status == 200


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
async def test_an_incomplete_opening_request_is_answered_as_http(headers: tuple[str, ...], status: int) -> None:
    async with running() as console, console.peer() as peer:
        await peer.send(request("GET", "/stream", *headers))
        assert (await peer.answer()).status == status
        await peer.send(opening().replace(b"/stream", b"/", 1))  # an upgrade elsewhere is ignored
        assert (await peer.answer()).status == 200


async def test_a_subscriber_gets_past_and_new_decisions_also_after_an_absence() -> None:
    async with running() as console:
        console.console.feed.decided(record())
        async with console.watching() as peer:
            hello = await peer.message()
            assert (hello["type"], hello["version"], [item["seq"] for item in hello["items"]]) == ("hello", "1.2.3", [1])
            console.console.feed.decided(record())
            message = await peer.message("decisions")
            assert (message["lost"], [item["seq"] for item in message["items"]]) == (0, [2])
        await until(lambda: not console.console.broadcast.subscribers)
        console.console.feed.decided(record())
        async with console.watching() as peer:
            assert [item["seq"] for item in (await peer.message("hello"))["items"]] == [1, 2, 3]


async def test_clients_are_told_when_the_service_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CLOSE_S", 0.2)
    codes: list[int] = []

    async def until_closed(peer: Peer) -> None:
        async with peer.stream:
            codes.append(await peer.closing())

    async with trio.open_nursery() as nursery, running() as console:
        peer = Peer(await trio.open_tcp_stream("127.0.0.1", console.port))
        await peer.send(opening())
        await peer.head()
        nursery.start_soon(until_closed, peer)
        await until(lambda: console.console.broadcast.subscribers == 1)
    assert codes == [1001]


# The rest runs on a pair of streams and a clock that is moved.


async def silent() -> str:
    await trio.sleep_forever()
    raise AssertionError


async def drain(client: trio.abc.ReceiveStream) -> None:
    while await client.receive_some(65536):
        pass


async def serve(server: trio.abc.Stream, take: Callable[[], Awaitable[str]] = silent) -> None:
    await send_messages(server, Handshake(KEY), take, trio.sleep_forever)


@pytest.mark.parametrize("sent", [b"", b"\x81\xff" + (2**40).to_bytes(8, "big") + bytes(4)])
async def test_a_client_that_answers_no_ping_is_closed_after_a_minute(sent: bytes, autojump_clock: trio.testing.MockClock) -> None:
    client, server = trio.testing.memory_stream_pair()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain, client)
        nursery.start_soon(client.send_all, sent)
        await serve(server)
        assert PING_S + PONG_S <= trio.current_time() - began <= 60 + CLOSE_S
        nursery.cancel_scope.cancel()


async def test_a_client_that_answers_pings_stays(autojump_clock: trio.testing.MockClock) -> None:
    client, server = trio.testing.memory_stream_pair()

    async def answer() -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await client.receive_some(1)
        while True:
            data = await client.receive_some()
            if data[0] & 15 == PING:
                await client.send_all(frame(PONG, bytes(data[2:])))

    with trio.move_on_after(1000) as patience:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            await serve(server)
    assert patience.cancelled_caught


async def test_a_client_that_reads_nothing_is_closed_in_a_bounded_time(autojump_clock: trio.testing.MockClock) -> None:
    client, server = trio.testing.lockstep_stream_pair()

    async def take() -> str:
        return "x" * 1000

    async def first() -> None:
        await client.receive_some(1)
        await trio.sleep_forever()

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await serve(server, take)
        nursery.cancel_scope.cancel()
    assert trio.current_time() - began <= 60 + CLOSE_S + 1


async def test_a_fault_of_ours_comes_out(autojump_clock: trio.testing.MockClock) -> None:
    client, server = trio.testing.memory_stream_pair()

    async def broken() -> str:
        await trio.lowlevel.checkpoint()
        raise RuntimeError

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain, client)
        with pytest.raises(ExceptionGroup) as caught:
            await serve(server, broken)
        nursery.cancel_scope.cancel()
    assert caught.value.split(RuntimeError)[1] is None


async def test_a_library_that_does_not_answer_is_given_up(autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stuck(*_arguments: object, **_options: object) -> object:
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(websocket, "wrap_server_stream", stuck)
    _, server = trio.testing.memory_stream_pair()
    with trio.fail_after(60):
        await serve(server)


@pytest.mark.parametrize(("waited", "stays"), [(1.0, True), (0.0, False)])
async def test_a_client_may_send_only_so_much_at_once_and_per_second(
    waited: float, stays: bool, autojump_clock: trio.testing.MockClock
) -> None:
    client, server = trio.testing.memory_stream_pair()
    ping = frame(PING, b"x" * 100)

    async def flood() -> None:
        await trio.sleep(1)
        await client.send_all(ping * (ALLOWANCE // len(ping)))
        await trio.sleep(waited)
        await client.send_all(ping * (ALLOWANCE_PER_S // len(ping)))
        await trio.sleep(1)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain, client)
        nursery.start_soon(flood)
        await serve(server)
        nursery.cancel_scope.cancel()
    assert (trio.current_time() >= 2 + waited) == stays
