"""Whatever a client sends, with a WebSocket or without: its connection ends or is answered, and nothing is a fault of the service."""

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchanger.console.access import ConsoleAccess
from exchanger.console.server import ConsoleServerSettings, Server
from exchanger.console.websocket import Handshake, send_messages
from exchanger.http.message import Response
from tests.console.running import PAGE, frame, opening, request

FRAMES = st.builds(
    frame,
    st.integers(0, 15),
    st.binary(max_size=200),
    fin=st.booleans(),
    masked=st.sampled_from([True, True, True, False]),
    rsv=st.sampled_from([0, 0, 0, 0x40, 0x70]),
)
PIECES = st.one_of(
    FRAMES, FRAMES, st.binary(max_size=40), st.just(frame(9, b"ping")), st.just(frame(8, b"\x03\xe8")), st.just(frame(1, b"text"))
)
HEADS = st.one_of(
    st.binary(max_size=200),
    st.just(request("GET", "/")),
    st.builds(
        request,
        st.from_regex(r"[A-Z]{1,8}", fullmatch=True),
        st.from_regex(r"[!-~]{1,30}", fullmatch=True),
    ),
    st.just(opening()),
)


async def _messages(stream: trio.abc.Stream, handshake: Handshake) -> None:
    async def take() -> str:
        await trio.sleep(0.001)
        return "message"

    await send_messages(stream, handshake, take, trio.sleep_forever)


async def _talk(data: bytes, cut: int) -> None:
    faults: list[BaseException] = []

    async def upgrade(handshake: Handshake, stream: trio.abc.Stream) -> Response | None:
        await _messages(stream, handshake)
        return None

    server = Server(ConsoleServerSettings("", 0, frozenset({"localhost"})), ConsoleAccess(), PAGE, {}, upgrade, faults.append)
    first, second = trio.socket.socketpair()
    client, served = trio.SocketStream(first), trio.SocketStream(second)

    async def read() -> None:
        try:
            while await client.receive_some():
                pass
        except trio.BrokenResourceError:
            pass

    async def serve() -> None:
        async with served:
            await server.http.serve(served)

    async with client:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve)
                nursery.start_soon(read)
                try:
                    for part in (data[:cut], data[cut:]):
                        await client.send_all(part)
                    await client.send_eof()
                except trio.BrokenResourceError:
                    pass
    assert faults == []
    assert server.http.slots.taken == 0


class TestAnyBytes:
    @settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(st.lists(PIECES, max_size=8), st.integers(0, 400))
    def test_after_the_opening_request(self, pieces: list[bytes], cut: int) -> None:
        trio.run(_talk, opening() + b"".join(pieces), cut)

    @settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(st.lists(HEADS, max_size=3), st.integers(0, 400))
    def test_as_requests(self, heads: list[bytes], cut: int) -> None:
        trio.run(_talk, b"".join(heads), cut)
