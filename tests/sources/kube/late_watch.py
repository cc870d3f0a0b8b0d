"""A proxy before a real API server that delivers the watch of ConfigMaps late; everything else passes at once."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from tests.sources.kube.control_plane import ControlPlane

PIECE: Final = 65_536


@attrs.define(eq=False)
class LateWatch:
    """``seconds`` are those by which the watch is late; what is on its way keeps its order when they change."""

    control_plane: ControlPlane
    seconds: float = 0.0
    port: int = attrs.field(default=0, init=False)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take connections until cancelled."""
        keys = self.control_plane.folder
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(keys / "server.crt", keys / "server.key")
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._connected, [trio.SSLListener(listener, context)])

    async def _connected(self, client: trio.SSLStream[trio.SocketStream]) -> None:
        context = ssl.create_default_context(cafile=str(self.control_plane.ca_file))
        try:
            async with await trio.open_ssl_over_tcp_stream("127.0.0.1", self.control_plane.port, ssl_context=context) as server:
                await self._pass_on(client, server)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
            pass  # one of them has left
        finally:
            await trio.aclose_forcefully(client)

    async def _pass_on(self, client: trio.SSLStream[trio.SocketStream], server: trio.SSLStream[trio.SocketStream]) -> None:
        is_late = False
        send, receive = trio.open_memory_channel[tuple[float, bytes]](1_000_000)

        async def ask() -> None:
            nonlocal is_late
            while piece := await client.receive_some(PIECE):
                is_late = b"/configmaps?" in piece and b"watch=true" in piece
                await server.send_all(piece)
            nursery.cancel_scope.cancel()

        async def hear() -> None:
            with send:
                while piece := await server.receive_some(PIECE):
                    await send.send((trio.current_time() + (self.seconds if is_late else 0.0), bytes(piece)))

        async def answer() -> None:
            async for due, piece in receive:
                await trio.sleep_until(due)
                await client.send_all(piece)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for task in (ask, hear, answer):
                nursery.start_soon(task)


@asynccontextmanager
async def late_watch(control_plane: ControlPlane, seconds: float) -> AsyncGenerator[LateWatch]:
    """Run such a proxy until the block ends."""
    proxy = LateWatch(control_plane, seconds)
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.serve)
        yield proxy
        nursery.cancel_scope.cancel()
