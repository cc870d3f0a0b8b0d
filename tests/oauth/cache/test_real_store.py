"""The shared level with a real server, in every state that one can be in: misses, never an error, and never a long wait."""

import os
import socket
import tempfile
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import pytest
import trio
import trustme

from exchanger.oauth.cache.settings import SharedSettings, parse_store_url
from exchanger.oauth.cache.shared_level import FIND_S
from exchanger.oauth.cache.token_cache import TokenCache
from exchanger.values.issuer import CachePolicy, Issuer
from exchanger.values.token import TokenRequest
from tests.oauth.cache.examples import issuer, refusal, request, token
from tests.oauth.cache.fake_store import Seen, key_line
from tests.oauth.cache.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.redis

# Seconds in which everything here happens, on the slowest machine.
PATIENCE_S: Final = 60.0
# Far above the 20 ms of a look-up and far below what a wait without a limit would take.
NOT_LONG_S: Final = 5.0


@pytest.fixture
def folder() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="rs-") as path:  # pytest's own are too long for a socket
        yield Path(path)


@pytest.fixture
def server(folder: Path) -> Generator[RedisServer]:
    with redis_server(folder) as running:
        yield running


def settings_of(server: RedisServer, *keys: str, scheme: str = "redis", name: str = "keys") -> SharedSettings:
    file = server.folder / name
    file.write_text("".join(map(key_line, keys or ("one",))))
    return SharedSettings(parse_store_url(f"{scheme}://127.0.0.1:{server.port}"), file)


@asynccontextmanager
async def replica(
    settings: SharedSettings, of: Issuer | None = None, seen: Seen | None = None, *, wait: bool = True
) -> AsyncGenerator[TokenCache]:
    one = TokenCache(shared=settings, observer=seen or Seen())
    of = of or issuer()
    one.use_issuers({of.name: of})
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        if wait:
            await until(lambda: one.asks_shared(request(of=of)))
        yield one
        nursery.cancel_scope.cancel()


async def until(holds: Callable[[], object]) -> None:
    with trio.fail_after(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - what is waited for sets no event
            await trio.sleep(0.01)


def told(seen: Seen, text: str) -> bool:
    return any(text in one for one in seen.told)


async def found(one: TokenCache, asked: TokenRequest) -> str | None:
    """Return what a look-up finds. Busy machines may make single look-ups time out, so a miss is tried again, for a short while."""
    began = trio.current_time()
    kept = await one.find_shared(asked)
    assert trio.current_time() - began < NOT_LONG_S
    return None if kept is None else kept.token.access_token.reveal()


async def found_in_time(one: TokenCache, asked: TokenRequest) -> str:
    with trio.fail_after(PATIENCE_S):
        while (text := await found(one, asked)) is None:  # noqa: ASYNC110 - what is waited for sets no event
            await trio.sleep(0.05)
    return text


async def stored(server: RedisServer, count: int = 1) -> list[bytes]:
    await until(lambda: server.ask("DBSIZE") == count)
    keys = server.ask("KEYS", "*")
    assert isinstance(keys, list)
    return keys


async def test_two_replicas(server: RedisServer) -> None:
    settings = settings_of(server)
    async with replica(settings) as one, replica(settings) as other:
        one.keep(request(), token("issued", 100, expires_at=1_900_000_000))
        (key,) = await stored(server)
        assert key.decode().isprintable()
        assert key.startswith(b"exchanger:token:")
        left = server.ask("PTTL", key)
        assert isinstance(left, int)
        assert 0 < left <= 100_000
        assert await found_in_time(other, request()) == "issued"
        kept = other.find(request())
        assert kept is not None
        assert kept.token.expires_at == 1_900_000_000
        assert await found(other, request("another")) is None
        one.refused(request(), refusal())
        await stored(server, 0)
    await until(lambda: len(str(server.ask("CLIENT", "LIST")).split("id=")) == 2)  # whoever asks


async def test_a_server_that_is_killed_and_comes_back_empty(server: RedisServer) -> None:
    settings, seen = settings_of(server), Seen()
    async with replica(settings, seen=seen) as one, replica(settings) as other:
        one.keep(request(), token("issued"))
        await stored(server)
        server.kill()
        for number in range(20):
            assert await found(other, request(str(number))) is None
            one.keep(request(str(number)), token())
            assert one.find(request(str(number))) is not None
        await until(lambda: not one.asks_shared(request()) and not other.asks_shared(request()))
        server.start()
        await until(lambda: one.asks_shared(request()) and other.asks_shared(request()))
        assert await found(other, request()) is None
        one.keep(request(), token("again"))
        assert await found_in_time(other, request()) == "again"
    assert seen.told[:2] == ["keys: 1", "ready"]
    assert seen.told[2] in {"lost: closed the connection", "lost: cannot be reached"}


async def test_a_server_that_is_paused(server: RedisServer) -> None:
    settings, seen = settings_of(server), Seen()
    async with replica(settings, seen=seen) as one:
        one.keep(request(), token("issued"))
        await stored(server)
        server.pause()
        waited = 0
        for _ in range(50):
            waited += one.asks_shared(request())
            assert await found(one, request()) is None
        assert waited <= 4
        assert not one.asks_shared(request())
        await until(lambda: any(text.startswith("lost") for text in seen.told))
        server.resume()
        await until(lambda: one.asks_shared(request()))
        assert await found_in_time(one, request()) == "issued"
    assert seen.told[2] == f"lost: did not answer within {1000 * FIND_S:.0f} ms"


async def test_a_server_that_is_slow(server: RedisServer) -> None:
    async with replica(settings_of(server)) as one:
        server.ask("CLIENT", "PAUSE", "3000", "ALL")
        for _ in range(10):
            assert await found(one, request()) is None
        assert not one.asks_shared(request())
        await until(lambda: one.asks_shared(request()))


async def test_a_server_that_is_full(server: RedisServer) -> None:
    settings, seen = settings_of(server), Seen()
    async with replica(settings, seen=seen) as one, replica(settings) as other:
        one.keep(request("before"), token("before"))
        await stored(server)
        server.ask("CONFIG", "SET", "maxmemory", "1")
        server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        one.keep(request("later"), token("later"))
        await until(lambda: "refuses: is full" in seen.told)
        assert await found_in_time(other, request("before")) == "before"
        assert await found(other, request("later")) is None
        assert one.find(request("later")) is not None
        server.ask("CONFIG", "SET", "maxmemory", "0")
        one.keep(request("after"), token("after"))
        assert await found_in_time(other, request("after")) == "after"


async def test_a_server_that_is_flushed(server: RedisServer) -> None:
    settings = settings_of(server)
    async with replica(settings) as one, replica(settings) as other:
        one.keep(request(), token("issued"))
        await stored(server)
        server.ask("FLUSHALL")
        assert await found(other, request()) is None
        one.keep(request(), token("again"))
        assert await found_in_time(other, request()) == "again"


async def test_another_key_reads_nothing(server: RedisServer) -> None:
    async with replica(settings_of(server)) as one, replica(settings_of(server, "two", name="other")) as other:
        one.keep(request(), token("issued"))
        (key,) = await stored(server)
        other.keep(request(), token("other"))
        keys = await stored(server, 2)
        # Not even where its value lies under the name that this one looks for.
        (others,) = set(keys) - {key}
        value = server.ask("GET", others)
        assert isinstance(value, bytes)
        server.ask("SET", key, value, "PX", "60000")
        one._shelves.clear()
        assert await found(one, request()) is None


async def test_two_versions_of_the_key(server: RedisServer) -> None:
    old, both, new = (settings_of(server, *keys, name="-".join(keys)) for keys in (["1"], ["2", "1"], ["2"]))
    async with replica(old) as a, replica(both) as b, replica(new) as c:
        a.keep(request("a"), token("a"))
        b.keep(request("b"), token("b"))
        await stored(server, 2)
        assert await found_in_time(b, request("a")) == "a"
        assert await found_in_time(c, request("b")) == "b"
        assert await found(c, request("a")) is None
        assert await found(a, request("b")) is None
        b.refused(request("a"), refusal())
        await stored(server, 1)


GARBAGE: Final[dict[str, list[tuple[str | bytes, ...]]]] = {
    "text": [("SET", b"KEY", "garbage", "PX", "60000")],
    "bytes": [("SET", b"KEY", b"\x01" + os.urandom(200), "PX", "60000")],
    "huge": [("SET", b"KEY", b"\x01" * 20_000_000, "PX", "60000")],
    "a list": [("DEL", b"KEY"), ("RPUSH", b"KEY", "a", "b")],
    "a hash": [("DEL", b"KEY"), ("HSET", b"KEY", "a", "b")],
    "no limit": [("PERSIST", b"KEY")],
    "an end": [("APPEND", b"KEY", "x")],
    "half": [("SETRANGE", b"KEY", "3", "xxx")],
}


@pytest.mark.parametrize("commands", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_under_our_names(server: RedisServer, commands: list[tuple[str | bytes, ...]]) -> None:
    settings = settings_of(server)
    async with replica(settings) as one, replica(settings) as other:
        one.keep(request(), token("issued"))
        (key,) = await stored(server)
        for command in commands:
            server.ask(*(key if word == b"KEY" else word for word in command))
        for _ in range(10):
            assert await found(other, request()) is None
        assert other.requests["issuer.example.com", "shared", "hit"] == 0
        one.keep(request(), token("again"))
        if "list" in str(commands) or "RPUSH" in str(commands) or "HSET" in str(commands):
            await until(lambda: server.ask("TYPE", key) == b"string")  # SET replaces any type
        assert await found_in_time(other, request()) == "again"


async def test_an_older_value_is_no_longer_than_its_life(server: RedisServer) -> None:
    settings = settings_of(server)
    async with replica(settings) as one, replica(settings) as other:
        one.keep(request(), token("short", 2))
        (key,) = await stored(server)
        value = server.ask("GET", key)
        assert isinstance(value, bytes)
        await trio.sleep(2.1)
        server.ask("SET", key, value, "PX", "60000")  # somebody recorded it
        assert await found(other, request()) is None


async def test_tls(folder: Path) -> None:
    authority, other_authority = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert")
    certificate.private_key_pem.write_to_path(folder / "key")
    authority.cert_pem.write_to_path(folder / "ca")
    other_authority.cert_pem.write_to_path(folder / "other-ca")
    options = ("--tls-cert-file", str(folder / "cert"), "--tls-key-file", str(folder / "key"), "--tls-ca-cert-file", str(folder / "ca"))
    with redis_server(folder, *options, tls=True) as server:
        settings = attrs.evolve(settings_of(server, scheme="valkeys"), ca_file=folder / "ca")
        async with replica(settings) as one, replica(settings) as other:
            one.keep(request(), token("issued"))
            assert await found_in_time(other, request()) == "issued"
        for wrong, reason in (
            (attrs.evolve(settings, ca_file=folder / "other-ca"), "lost: has a certificate that is not trusted"),
            (attrs.evolve(settings, ca_file=None), "lost: has a certificate that is not trusted"),
            (attrs.evolve(settings_of(server), ca_file=None), None),  # plain text
        ):
            seen = Seen()
            async with replica(wrong, seen=seen, wait=False) as one:
                await until(partial(told, seen, "lost"))
                assert not one.asks_shared(request())
            assert reason is None or seen.told[1] == reason


async def test_a_certificate_for_another_name(folder: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("store.example.com")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert")
    certificate.private_key_pem.write_to_path(folder / "key")
    authority.cert_pem.write_to_path(folder / "ca")
    options = ("--tls-cert-file", str(folder / "cert"), "--tls-key-file", str(folder / "key"), "--tls-ca-cert-file", str(folder / "ca"))
    with redis_server(folder, *options, tls=True) as server:
        seen = Seen()
        async with replica(attrs.evolve(settings_of(server, scheme="rediss"), ca_file=folder / "ca"), seen=seen, wait=False):
            await until(lambda: any(text.startswith("lost") for text in seen.told))
        assert seen.told[1] == "lost: has a certificate that is not trusted"


async def test_passwords_and_users(server: RedisServer) -> None:
    password = server.folder / "password"
    password.write_text("canary wrong\n")
    server.ask("ACL", "SETUSER", "app", "on", ">right", "~exchanger:token:*", "+getrange", "+pttl", "+set", "+unlink", "+hello", "+client")
    server.ask("CONFIG", "SET", "requirepass", "general")
    server.password = "general"
    settings = attrs.evolve(settings_of(server), username="app", password_file=password)
    seen = Seen()
    async with replica(settings, seen=seen, wait=False) as one:
        await until(lambda: "lost: refuses the user or password" in seen.told)
        assert await found(one, request()) is None
        password.write_text("right\n")  # followed: no restart
        await until(lambda: one.asks_shared(request()))
        one.keep(request(), token("issued"))
        async with replica(settings) as other:
            assert await found_in_time(other, request()) == "issued"
        async with replica(attrs.evolve(settings, username="", password_file=None), seen=seen, wait=False):
            await until(lambda: seen.told[-1].startswith("lost"))
        for names in (("~other:*",), ("resetkeys", "~exchanger:token:*", "-getrange")):
            server.ask("ACL", "SETUSER", "app", "resetkeys", *names)
            poor = Seen()
            async with replica(settings, seen=poor, wait=False):
                await until(partial(told, poor, "does not allow this user"))
    assert "canary" not in str(seen.told)


async def test_an_address_where_something_else_answers(folder: Path) -> None:
    """HTTP, silence, a flood without end, and a connection that is closed at once."""
    listener = socket.create_server(("127.0.0.1", 0))
    behaviours = iter([b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"$", b"+OK\r\n" * 1000, b"*" + b"9" * 100])
    stop = threading.Event()

    def serve() -> None:
        for said in behaviours:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(said)
                stop.wait(0.2)

    thread = threading.Thread(target=serve)
    thread.start()
    file = folder / "keys"
    file.write_text(key_line("one"))
    seen = Seen()
    settings = SharedSettings(parse_store_url(f"redis://127.0.0.1:{listener.getsockname()[1]}"), file)
    try:
        async with replica(settings, seen=seen, wait=False) as one:
            await until(lambda: not thread.is_alive())
            assert await found(one, request()) is None
            assert "ready" not in seen.told
    finally:
        stop.set()
        listener.close()
        thread.join()


async def test_the_store_s_memory_and_its_file_tell_no_secret(server: RedisServer) -> None:
    canaries = ["canary-subject", "canary-token", "canary-secret", "canary-client", "canary-scope"]
    of = issuer(secret="canary-secret", cache=CachePolicy(300.0, 1000))
    settings = settings_of(server)
    async with replica(settings, of) as one, replica(settings, of) as other:
        for number in range(50):
            one.keep(request(f"canary-subject-{number}", of=of), token(f"canary-token-{number}" * 20))
        for key in await stored(server, 50):
            dump, value = server.ask("DUMP", key), server.ask("GET", key)
            assert isinstance(dump, bytes)
            assert isinstance(value, bytes)
            assert not any(canary.encode() in dump + value + key for canary in canaries)
        assert await found_in_time(other, request("canary-subject-7", of=of)) == "canary-token-7" * 20
        server.ask("SAVE")
        file = (server.folder / "dump.rdb").read_bytes()
        assert len(file) > 50 * 200
        assert not any(canary.encode() in file for canary in canaries)
        written = str(server.ask("SLOWLOG", "GET", "-1")) + str(server.ask("CLIENT", "LIST"))
        assert "canary" not in written
        assert "canary" not in repr(one) + repr(other)
