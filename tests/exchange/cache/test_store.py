"""The door to the store's client beside a server that says whatever a test tells it to."""

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, final

import attrs
import pytest
import trio
import trio.testing
import trustme

from exchanger.exchange.cache.settings import SharedSettings, StoreAddress
from exchanger.exchange.cache.store import StoreConnection, StoreFailure, Write
from exchanger.model.secret import Secret
from exchanger.net.network import SYSTEM
from exchanger.net.tls.client import client_tls_context
from tests.net.certificates import pem, serving

HELLO: Final = b"%3\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:5\r\n"
# Long enough for any machine, far below the suite's own limits.
PATIENCE_S: Final = 30.0

Answers = Callable[[bytes], bytes | None]


async def serve(answers: Answers, heard: list[bytes], stream: trio.abc.Stream) -> None:
    """Answer the greeting, and then each batch of commands with what ``answers`` says; ``None`` closes."""
    async with stream:
        try:
            while data := await stream.receive_some(65536):
                heard.append(bytes(data))
                said = HELLO if b"HELLO" in data and answers(heard[-1]) == b"" else answers(heard[-1])
                if said is None:
                    return
                await stream.send_all(said)
        except (trio.BrokenResourceError, ssl.SSLError):
            return


@asynccontextmanager
async def connected(
    answers: Answers,
    *,
    password: str = "",
    server_tls: ssl.SSLContext | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[tuple[StoreConnection | StoreFailure, list[bytes]]]:
    heard: list[bytes] = []
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            handler = partial(serve, answers, heard)
            if server_tls is None:
                listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            else:
                listeners = await trio.open_ssl_over_tcp_listeners(0, server_tls, host="127.0.0.1")  # type: ignore[assignment]
            nursery.start_soon(trio.serve_listeners, handler, listeners)
            inner: object = listeners[0]
            port = getattr(inner, "transport_listener", inner).socket.getsockname()[1]  # type: ignore[attr-defined]
            settings = SharedSettings(StoreAddress(tls is not None, "127.0.0.1", port), Path("keys"), username="app" if password else "")
            yield await StoreConnection.open(nursery, SYSTEM.connect, settings, Secret(password) if password else None, tls), heard
            nursery.cancel_scope.cancel()


def then(*said: bytes | None) -> Answers:
    """Return answers that begin with a good greeting."""
    rest = iter(said)

    def answers(data: bytes) -> bytes | None:
        return b"" if b"HELLO" in data else next(rest, b"")

    return answers


def opened(found: StoreConnection | StoreFailure) -> StoreConnection:
    assert isinstance(found, StoreConnection)
    return found


async def test_values_and_their_times_are_read_in_one_go() -> None:
    async with connected(then(b"$11\r\na long text\r\n:1500\r\n$0\r\n\r\n:-2\r\n")) as (found, heard):
        store = opened(found)
        assert await store.read([b"one", b"two"], 10) == [(b"a long text", 1500), (b"", -2)]  # a byte more shows that it is too long
        assert store.in_step
        assert b"GETRANGE" in heard[1]
        assert b"two" in heard[1]


async def test_changes_are_made_in_order_and_one_value_s_removal_by_script() -> None:
    async with connected(then(b"+OK\r\n:0\r\n:1\r\n")) as (found, heard):
        assert await opened(found).write([Write(b"one", b"value", 1500), Write(b"two", only=b"value"), Write(b"three")]) is None
        places = [heard[1].index(part) for part in (b"SET", b"1500", b"EVAL", b"UNLINK\r\n$5\r\nthree")]
        assert places == sorted(places)
        assert b"\r\n$1\r\n1\r\n$3\r\ntwo\r\n$5\r\nvalue\r\n" in heard[1]


NO_REDIS: Final = "does not speak the Redis protocol"
SAID: Final[dict[str, tuple[bytes | None, ...]]] = {
    "refuses the user or password": (b"-WRONGPASS canary\r\n", b"-NOAUTH canary\r\n"),
    "does not allow this user the commands GETRANGE, PTTL, SET, UNLINK and EVAL on the deployment's keys": (b"-NOPERM canary\r\n",),
    "is full": (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",),
    "answers with an error": (b"-ERR canary\r\n",),
    "cannot be reached": (b"-LOADING canary\r\n", b"-ERR max number of clients reached\r\n", None),
    NO_REDIS: (
        *(b"$12\r\na longer one\r\n:1500\r\n", b"$abc\r\n", b"-MOVED\r\n", b"%1\r\n*0\r\n+a\r\n", b"\x00canary\r\n", b"*1\r\n" * 5000),
        *(b"$2147483648\r\n", b">2\r\n+a\r\n+b\r\n", b"_\r\n", b",1.5\r\n", b"+canary\r\n", b"x" * 5000),
    ),
}


@pytest.mark.parametrize(("said", "reason"), [(said, reason) for reason, every in SAID.items() for said in every])
async def test_whatever_a_server_says_is_an_answer_or_a_failure(said: bytes | None, reason: str) -> None:
    """Also where the client's parser raises what it never meant to: that reaches each command that waits."""
    asks: tuple[Callable[[StoreConnection], Awaitable[object]], ...] = (
        lambda store: store.read([b"k"], 10),
        lambda store: store.write([Write(b"k")]),
    )
    for ask in asks:
        async with connected(then(said if said is None else said * 2)) as (found, _):
            result = await ask(opened(found))
            assert isinstance(result, StoreFailure)
            assert "canary" not in result.reason
            assert reason in {result.reason, NO_REDIS}


@final
@attrs.define(eq=False)
class Endless(trio.abc.Stream):
    """A server's end that sends ``greeting`` once it was asked, and then ``flood`` without end; ``taken`` counts its bytes."""

    flood: bytes
    greeting: bytes = HELLO
    floods: trio.Event = attrs.field(factory=trio.Event)
    asked: trio.Event = attrs.field(factory=trio.Event)
    taken: int = 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        (self.floods if self.asked.is_set() else self.asked).set()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        assert max_bytes is not None
        await (self.asked if self.greeting else self.floods).wait()
        await trio.lowlevel.checkpoint()
        source, self.greeting = self.greeting, self.greeting[max_bytes:]
        data = source[:max_bytes] or (self.flood * (max_bytes // len(self.flood) + 1))[:max_bytes]
        self.taken += 0 if source else len(data)
        return data

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


FLOODS: Final = (
    *(b"*1\r\n", b"%1\r\n", b"~1\r\n", b"|1\r\n", b">1\r\n+a\r\n", b"$1\r\na\r\n:5\r\n", b"$16\r\n", b"+x\r\n", b"-ERR\r\n"),
    *(b"x", b"\r\n"),
)


@pytest.mark.parametrize("at", ["greeting", "idle", "read", "write"])
@pytest.mark.parametrize("flood", FLOODS)
async def test_a_store_that_sends_endlessly_is_read_for_at_most_one_piece(flood: bytes, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Endless(flood, b"" if at == "greeting" else HELLO)

    async def connect(_host: str, _port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return stream

    if at in {"greeting", "idle"}:
        stream.floods.set()
    settings = SharedSettings(StoreAddress(False, "127.0.0.1", 1), Path("keys"))
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            found = await StoreConnection.open(nursery, connect, settings, None, None)
            if at == "read":
                await opened(found).read([b"one", b"two"], 10)
            elif at == "write":
                await opened(found).write([Write(b"one", b"value", 5), Write(b"two")])
            if isinstance(found, StoreConnection):
                await found.closed.wait()
            nursery.cancel_scope.cancel()
    assert stream.taken <= (1 if at == "idle" else 2 * 65536)


GREETINGS: Final[dict[str, tuple[bytes | None, ...]]] = {
    "refuses the user or password": (b"-WRONGPASS canary\r\n", b"-NOAUTH canary\r\n"),
    "answers with an error": (b"-ERR unknown command 'HELLO'\r\n",),
    "cannot be reached": (b"HTTP/1.1 400 Bad Request\r\n\r\n", b":5\r\n", b"+OK\r\n" * 1000, b"*" + b"9" * 100, None),
}


@pytest.mark.parametrize(("said", "reason"), [(said, reason) for reason, every in GREETINGS.items() for said in every])
async def test_a_store_with_a_wrong_greeting_is_a_failure(said: bytes | None, reason: str) -> None:
    async with connected(lambda _: said, password="canary") as (found, heard):
        assert isinstance(found, StoreFailure)
        assert found.reason == reason
        assert b"canary" in heard[0]


async def test_tls_and_who_is_trusted() -> None:
    authority, other = trustme.CA(), trustme.CA()
    server = serving(authority, "127.0.0.1")
    trusting, distrusting = (client_tls_context(pem(one)) for one in (authority, other))

    async with connected(then(b"$1\r\na\r\n:5\r\n"), server_tls=server, tls=trusting) as (found, _):
        assert await opened(found).read([b"k"], 10) == [(b"a", 5)]
    async with connected(then(), server_tls=server, tls=distrusting) as (found, _):
        assert found == StoreFailure("has a certificate that is not trusted")
    async with connected(then(), server_tls=serving(authority, "store.example.com"), tls=trusting) as (found, _):
        assert found == StoreFailure("has a certificate that is not trusted")
    async with connected(lambda _: b"plain text", tls=trusting) as (found, _):
        assert found == StoreFailure("does not speak TLS as it should")


def test_nothing_of_a_connection_is_shown() -> None:
    assert "canary" not in repr(Write(b"k", b"canary", 5))
    assert client_tls_context(None).verify_mode is ssl.CERT_REQUIRED
    assert client_tls_context(None).keylog_filename is None
