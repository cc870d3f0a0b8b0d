"""A token endpoint that answers once too often, so that every later answer on that connection would be another caller's.

The endpoint is honest but for one surplus answer: a proxy that sent a request twice, or a thread that lost its connection, does the same.
HTTP/1.1 has nothing that says which request an answer belongs to (RFC 9112 section 9.3,
https://www.rfc-editor.org/rfc/rfc9112#section-9.3).
"""

import contextlib
import hashlib
import re
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, final

import attrs
import pytest
import trio
import trustme

from exchanger.exchange.pipeline import ExchangePipeline
from exchanger.oauth.settings import TokenClientSettings
from exchanger.values.secret import Secret
from exchanger.values.token import ExchangedToken
from tests.oauth.fakes import HTTP, ClientGoneError, Observer, Peer, client_of, exchange, response, running, serve, success, token_request

USERS: Final = 8
EXCHANGES: Final = 480
# How long the endpoint takes. Its callers never pause, so without a rest a connection is used again at once.
ANSWER_S: Final = 0.01
# How long its first answers take: what is late comes well within that, also where the machine is busy.
SLOW_ANSWER_S: Final = 0.2
PATIENCE_S: Final = 30.0
_subject_of: Final = re.compile(rb"subject_token=([^&]+)").search


def issued_for(subject: str) -> str:
    """Return the token that only ``subject`` may get."""
    return hashlib.sha256(subject.encode()).hexdigest()


@final
@attrs.define(eq=False)
class Desyncing:
    """Answers each request with its own token, and sends one answer a second time, ``late`` seconds after the first."""

    late: float
    twice: int
    context: ssl.SSLContext | None = None
    connections: int = 0
    requests: int = 0
    answers: int = 0
    surplus: int = 0

    async def script(self, peer: Peer) -> None:
        self.connections += 1
        async with trio.open_nursery() as nursery:
            with contextlib.suppress(ClientGoneError, trio.BrokenResourceError):
                await self._answer(peer, nursery)

    async def _answer(self, peer: Peer, nursery: trio.Nursery) -> None:
        while True:
            _, body = await peer.request()
            found = _subject_of(body)
            assert found is not None
            self.requests += 1
            await trio.sleep(ANSWER_S if self.requests > USERS else SLOW_ANSWER_S)
            answer = response(success(issued_for(found[1].decode())))
            await peer.send(answer)
            self.answers += 1
            if self.answers == self.twice:
                nursery.start_soon(self._again, peer, answer)

    async def _again(self, peer: Peer, answer: bytes) -> None:
        await trio.sleep(self.late)
        self.surplus += 1
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await peer.send(answer)

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[int]:
        async def handle(stream: trio.SocketStream) -> None:
            secured = stream if self.context is None else trio.SSLStream(stream, self.context, server_side=True, https_compatible=True)
            await serve(self.script, secured)

        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, handle, [listener])
            yield listener.socket.getsockname()[1]
            nursery.cancel_scope.cancel()


async def wrong_tokens(it: Desyncing, tls: ssl.SSLContext, settings: TokenClientSettings = HTTP) -> int:
    """Return how many of the exchanges ended with a token that is not the caller's own; none may fail."""
    wrong = 0

    async def user(client: ExchangePipeline, name: str, endpoint: str) -> None:
        nonlocal wrong
        for _ in range(EXCHANGES // USERS):
            outcome = await exchange(client, token_request(name, endpoint))
            assert isinstance(outcome, ExchangedToken)
            wrong += outcome != ExchangedToken(Secret(issued_for(name)))

    scheme = "http" if it.context is None else "https"
    with trio.fail_after(PATIENCE_S):
        async with it.listening() as port, running(client_of(settings, Observer(), tls=tls)) as client, trio.open_nursery() as users:
            for number in range(USERS):
                users.start_soon(user, client, f"user-{number}", f"{scheme}://127.0.0.1:{port}/token")
    assert it.surplus == 1
    return wrong


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client


@pytest.mark.parametrize(
    ("over_tls", "late", "twice"),
    [(False, 0.002, 40), (False, 0.002, 240), (False, 0.02, 40), (False, 0.02, 240), (True, 0.02, 240)],
    ids=["2 ms, early", "2 ms, in the middle", "20 ms, early", "20 ms, in the middle", "over TLS"],
)
async def test_one_surplus_answer_gives_nobody_anothers_token(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], over_tls: bool, late: float, twice: int
) -> None:
    it = Desyncing(late, twice, contexts[0] if over_tls else None)
    assert await wrong_tokens(it, contexts[1]) == 0


async def test_an_answer_however_late_finds_nobody_where_connections_are_not_reused(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """The endpoint says more on every connection while it may."""
    it = Desyncing(0.3, 40)
    assert await wrong_tokens(it, contexts[1], attrs.evolve(HTTP, connection_reuse=False)) == 0
    assert it.connections == EXCHANGES
