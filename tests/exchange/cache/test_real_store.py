"""The shared level with a real server, in every state that one can be in: misses, never an error, and never a long wait."""

import tempfile
from collections.abc import Generator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import pytest
import trio
import trustme

from exchanger.exchange.cache.settings import SharedSettings, parse_store_url
from exchanger.exchange.cache.token_cache import TokenCache
from exchanger.model.issuer import CachePolicy, Issuer
from exchanger.model.secret import Secret
from exchanger.model.token import TokenRequest
from tests.exchange.cache import examples
from tests.exchange.cache.examples import PATIENCE_S, POLICY, issuer, refusal, request, running, token, until
from tests.exchange.cache.fake_store import key_line
from tests.exchange.cache.redis_server import RedisServer, redis_server
from tests.lines import Lines
from tests.net.certificates import write_certificate

pytestmark = pytest.mark.redis

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


def replica(
    settings: SharedSettings, of: Issuer | None = None, lines: Lines | None = None, *, wait: bool = True
) -> AbstractAsyncContextManager[TokenCache]:
    one = TokenCache(shared=settings)
    assert one.level is not None
    one.level.log = (lines or Lines()).logger
    return running(one, of or issuer(), wait=wait)


def told(lines: Lines, text: str) -> bool:
    return any(text in " ".join(event) for event in lines.events)


async def found(one: TokenCache, asked: TokenRequest) -> str | None:
    """Return what a look-up finds, which takes no long time."""
    began = trio.current_time()
    text = await examples.found(one, asked)
    assert trio.current_time() - began < NOT_LONG_S
    return text


async def found_in_time(one: TokenCache, asked: TokenRequest) -> str:
    """Return what a look-up finds at last. Busy machines may make single ones time out, so a miss is tried again, for a short while."""
    with trio.fail_after(PATIENCE_S):
        while (text := await found(one, asked)) is None:  # noqa: ASYNC110 - what is waited for sets no event
            await trio.sleep(0.05)
    return text


async def stored(server: RedisServer, count: int = 1) -> list[bytes]:
    await until(lambda: server.ask("DBSIZE") == count)
    keys = server.ask("KEYS", "*")
    assert isinstance(keys, list)
    return keys


async def test_two_replicas_share_tokens_in_a_real_store(server: RedisServer) -> None:
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


@pytest.mark.parametrize("allowed", [True, False])
async def test_exactly_the_refused_token_is_removed_from_the_store(server: RedisServer, allowed: bool) -> None:
    rights = ("+getrange", "+pttl", "+set", "+unlink", "+hello", "+client", "+select", *(["+eval"] if allowed else []))
    server.ask("ACL", "SETUSER", "default", "-@all", "+dbsize", "+keys", "+acl", *rights)
    of, lines = issuer(cache=attrs.evolve(POLICY, evict_rejected=True)), Lines()
    asked, settings = request(of=of), settings_of(server)
    async with replica(settings, of) as one, replica(settings, of, lines) as other:
        one.keep(asked, token("old"))
        await stored(server)
        assert await found_in_time(other, asked) == "old"
        other.upstream_answered(asked, Secret("old"), refused=True)
        if not allowed:
            await until(partial(told, lines, "EVAL"))
            assert server.ask("DBSIZE") == 1
            return
        await stored(server, 0)
        other.keep(asked, token("new"))
        await stored(server)
        one.upstream_answered(asked, Secret("old"), refused=True)
        await until(lambda: one.level is not None and not one.level.queued)
        assert await found_in_time(one, asked) == "new"
        assert server.ask("DBSIZE") == 1


GARBAGE: Final[dict[str, list[tuple[str | bytes, ...]]]] = {
    "huge": [("SET", b"KEY", b"\x01" * 20_000_000, "PX", "60000")],
    "a list": [("DEL", b"KEY"), ("RPUSH", b"KEY", "a", "b")],
    "a hash": [("DEL", b"KEY"), ("HSET", b"KEY", "a", "b")],
    "no limit": [("PERSIST", b"KEY")],
    "half": [("SETRANGE", b"KEY", "3", "xxx")],
}


@pytest.mark.parametrize("commands", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_under_the_cache_s_names_is_no_token(server: RedisServer, commands: list[tuple[str | bytes, ...]]) -> None:
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


async def test_a_real_store_is_reached_over_tls(folder: Path) -> None:
    write_certificate(folder, "127.0.0.1")
    trustme.CA().cert_pem.write_to_path(folder / "other-ca.pem")
    files = (("cert", "cert"), ("key", "key"), ("ca-cert", "ca"))
    options = [word for option, name in files for word in (f"--tls-{option}-file", f"{folder}/{name}.pem")]
    with redis_server(folder, *options, tls=True) as server:
        settings = attrs.evolve(settings_of(server, scheme="valkeys"), ca_file=folder / "ca.pem")
        async with replica(settings) as one, replica(settings) as other:
            one.keep(request(), token("issued"))
            assert await found_in_time(other, request()) == "issued"
        for wrong, reason in (
            (attrs.evolve(settings, ca_file=folder / "other-ca.pem"), "has a certificate that is not trusted"),
            (attrs.evolve(settings, ca_file=None), "has a certificate that is not trusted"),
            (attrs.evolve(settings_of(server), ca_file=None), None),  # plain text
        ):
            lines = Lines()
            async with replica(wrong, lines=lines, wait=False) as one:
                await until(partial(told, lines, "store_lost"))
                assert not one.asks_shared(request())
            assert reason is None or lines.events[1] == ("store_lost", reason)


async def test_a_real_store_checks_passwords_and_users(server: RedisServer) -> None:
    password = server.folder / "password"
    password.write_text("canary wrong\n")
    server.ask("ACL", "SETUSER", "app", "on", ">right", "~exchanger:token:*", "+getrange", "+pttl", "+set", "+unlink", "+hello", "+client")
    server.ask("CONFIG", "SET", "requirepass", "general")
    server.password = "general"
    settings = attrs.evolve(settings_of(server), username="app", password_file=password)
    lines = Lines()
    async with replica(settings, lines=lines, wait=False) as one:
        await until(lambda: ("store_lost", "refuses the user or password") in lines.events)
        assert await found(one, request()) is None
        password.write_text("right\n")  # followed: no restart
        await until(lambda: one.asks_shared(request()))
        one.keep(request(), token("issued"))
        async with replica(settings) as other:
            assert await found_in_time(other, request()) == "issued"
        async with replica(attrs.evolve(settings, username="", password_file=None), lines=lines, wait=False):
            await until(lambda: lines.events[-1][0] == "store_lost")
        for names in (("~other:*",), ("resetkeys", "~exchanger:token:*", "-getrange")):
            server.ask("ACL", "SETUSER", "app", "resetkeys", *names)
            poor = Lines()
            async with replica(settings, lines=poor, wait=False):
                await until(partial(told, poor, "does not allow this user"))
    assert "canary" not in str(lines.entries)


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
