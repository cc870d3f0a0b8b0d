"""A token endpoint that speaks HTTP/2 on connections of Trio's, as tests make them: in memory or on loopback, with TLS or without."""

from collections.abc import Awaitable, Callable
from typing import final

import attrs

from tests.exchange.oauth.fakes import Peer, success
from tests.net.http2_peer import JSON, Server


@final
@attrs.define(eq=False)
class Endpoint:
    """Serves each connection by ``act``, which gets the new streams after each read."""

    act: Callable[["Endpoint", Server, list[int]], Awaitable[None]]
    settings: dict[int, int] = attrs.field(factory=dict)
    servers: list[Server] = attrs.field(factory=list)
    peers: list[Peer] = attrs.field(factory=list)

    async def serve(self, peer: Peer) -> None:
        server = Server(self.settings)
        self.servers.append(server)
        self.peers.append(peer)
        seen = 0
        while not server.closed:
            await self.flush(server)
            data = bytes(await peer.stream.receive_some(65_536))
            if not data:
                return
            server.receive(data)
            whole = [stream for stream, each in server.requests.items() if each.ended][seen:]
            seen += len(whole)
            await self.act(self, server, whole)
        await self.flush(server)

    async def flush(self, server: Server) -> None:
        if data := server.send():
            await self.peers[self.servers.index(server)].stream.send_all(data)


def subject_of(server: Server, stream: int) -> str:
    return server.requests[stream].body.partition(b"subject_token=")[2].partition(b"&")[0].decode()


async def own(_endpoint: Endpoint, server: Server, streams: list[int]) -> None:
    """Answer each with a token of its own subject, the last one first."""
    for stream in reversed(streams):
        server.answer(stream, success(f"token-of-{subject_of(server, stream)}"), JSON)


async def silent(_endpoint: Endpoint, _server: Server, _streams: list[int]) -> None:
    pass
