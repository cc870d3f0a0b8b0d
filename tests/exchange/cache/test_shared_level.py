from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from exchanger.exchange.cache import token_cache
from exchanger.exchange.cache.files import StoreFiles
from exchanger.exchange.cache.keys import derive
from exchanger.exchange.cache.sealed_token import StoredToken
from exchanger.exchange.cache.settings import SharedSettings
from exchanger.exchange.cache.shared_level import FIND_S, HURRY_S
from exchanger.exchange.cache.token_cache import SWEEP_S, TokenCache
from exchanger.exchange.cache.write_queue import MAX_QUEUED, Job, WriteQueue
from exchanger.model.issuer import CachePolicy, Credentials, Issuer
from exchanger.model.secret import Secret
from exchanger.net.network import SYSTEM
from tests.exchange.cache.examples import HOST, POLICY, START, found, issuer, refusal, request, running, token, until
from tests.exchange.cache.fake_store import Server, key_line, shared_settings
from tests.lines import Lines
from tests.waiting import at_once

SOON: Final = 0.1


def replica(
    server: Server, settings: SharedSettings, of: Issuer | None = None, *, offset: float = 0.0, lines: Lines | None = None
) -> AbstractAsyncContextManager[TokenCache]:
    """Run a replica whose wall clock is ``offset`` seconds ahead of the truth."""
    wall = lambda: START + offset + trio.current_time()  # noqa: E731 - short
    network = attrs.evolve(SYSTEM, steady=trio.current_time, wall=wall, run_sync=at_once)
    one = TokenCache(shared=settings, network=network)
    assert one.level is not None
    one.level.open_store = server.open
    if lines is not None:
        one.level.log = lines.logger
    return running(one, of or issuer())


@asynccontextmanager
async def two(folder: Path, of: Issuer | None = None, *, offset: float = 0.0) -> AsyncGenerator[tuple[Server, TokenCache, TokenCache]]:
    """Run two replicas and their server; the second may know another issuer, or another time."""
    server, settings = Server(), shared_settings(folder)
    async with replica(server, settings) as one, replica(server, settings, of, offset=offset) as other:
        yield server, one, other


async def test_what_one_replica_learned_another_finds(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with two(tmp_path) as (server, one, other):
        await trio.sleep(100)
        one.keep(request(), token("issued", 120, expires_at=1_800_000_125))
        await trio.sleep(SOON)
        assert other.find(request()) is None
        assert [until - trio.current_time() for _, until in server.values.values()] == [pytest.approx(120, abs=1)]
        kept = await other.find_shared(request())
        assert kept is not None
        assert (kept.token.access_token.reveal(), kept.token.expires_in, kept.token.expires_at) == ("issued", 120, 1_800_000_125)
        assert other.find(request()) is not None
        assert await found(other, request("another")) is None
        assert other.requests == {
            (HOST, "memory", "hit"): 1,
            (HOST, "memory", "miss"): 1,
            (HOST, "shared", "hit"): 1,
            (HOST, "shared", "miss"): 1,
            (HOST, "shared", "error"): 0,
        }
        (key,) = server.values
        assert key.startswith(b"exchanger:token:")
        assert key.decode().isprintable()
        assert b"issued" not in server.values[key][0]


@pytest.mark.parametrize("difference", ["key", "namespace", "secret"])
async def test_replicas_that_differ_share_nothing(tmp_path: Path, autojump_clock: MockClock, difference: str) -> None:
    server, folder = Server(), tmp_path / "other"
    folder.mkdir()
    settings = shared_settings(folder, "two" if difference == "key" else "one", namespace="b" if difference == "namespace" else "exchanger")
    of = issuer(secret="rotated") if difference == "secret" else issuer()
    async with replica(server, shared_settings(tmp_path)) as one, replica(server, settings, of) as other:
        one.keep(request(), token())
        await trio.sleep(SOON)
        assert server.values
        assert await found(other, request(of=of)) is None


@pytest.mark.parametrize("before", [None, "secret 2", "secret 3"])
async def test_replicas_share_after_a_rotation_whichever_secret_they_had_before(
    tmp_path: Path, autojump_clock: MockClock, before: str | None
) -> None:
    previous = None if before is None else Credentials("client", Secret(before), 2)
    of = issuer(secret="secret 4", previous=Credentials("client", Secret("secret 3"), 3))
    as_other_has_it = issuer(secret="secret 4", previous=previous)
    server, settings = Server(), shared_settings(tmp_path)
    async with replica(server, settings, of) as one, replica(server, settings, as_other_has_it) as other:
        one.keep(request(of=of), token())
        await trio.sleep(SOON)
        assert await found(other, request(of=as_other_has_it)) == "issued"
        over = attrs.evolve(of, previous=None)
        one.use_issuers({"primary": over})
        assert one.find(request(of=over)) is not None


async def test_rotating_cache_keys_reads_with_both_and_writes_with_the_first(tmp_path: Path, autojump_clock: MockClock) -> None:
    server = Server()
    folders = [tmp_path / name for name in ("old", "both", "new")]
    for folder in folders:
        folder.mkdir()
    old, both, new = (shared_settings(folder, *keys) for folder, keys in zip(folders, (["1"], ["2", "1"], ["2"]), strict=True))
    async with replica(server, old) as a, replica(server, both) as b, replica(server, new) as c:
        a.keep(request("from a"), token("a"))
        b.keep(request("from b"), token("b"))
        await trio.sleep(SOON)
        assert [await found(one, request("from a")) for one in (b, c)] == ["a", None]
        assert [await found(one, request("from b")) for one in (a, c)] == [None, "b"]


async def test_a_key_that_is_taken_out_takes_what_it_wrote(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, settings, lines = Server(), shared_settings(tmp_path, "new", "old"), Lines()
    other = tmp_path / "other"
    other.mkdir()
    async with replica(server, shared_settings(other, "old")) as writer, replica(server, settings, lines=lines) as reader:
        writer.keep(request(), token("old"))
        await trio.sleep(SOON)
        assert await found(reader, request()) == "old"
        settings.key_file.write_text(key_line("new"))
        await until(lambda: ("files_loaded", "1") in lines.events)
        assert reader.find(request()) is None
        await until(lambda: reader.asks_shared(request()))
        assert await found(reader, request()) is None


@pytest.mark.parametrize("content", ["", "canary\n", None])
async def test_an_unusable_cache_key_stops_sharing_until_the_file_is_repaired(
    tmp_path: Path, autojump_clock: MockClock, content: str | None
) -> None:
    server, settings, lines = Server(), shared_settings(tmp_path), Lines()
    async with replica(server, settings, lines=lines) as one:
        one.keep(request(), token())
        if content is None:
            settings.key_file.unlink()
        else:
            settings.key_file.write_text(content)
        await until(lambda: lines.events[-1][0] == "files_unusable")
        assert lines.events[-1][1].startswith("TOKEN_CACHE_KEY_FILE")
        assert "canary" not in str(lines.entries)
        assert one.find(request()) is None
        assert not one.asks_shared(request())
        assert await found(one, request()) is None
        one.keep(request(), token("kept in memory"))
        assert one.find(request()) is not None
        settings.key_file.write_text(key_line("one"))
        await until(lambda: one.asks_shared(request()))


async def test_a_slow_store_costs_three_look_ups(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, lines = Server(), Lines()
    async with replica(server, shared_settings(tmp_path), lines=lines) as one:
        server.delay = 1.5 * FIND_S
        took = []
        for _ in range(10):
            began = trio.current_time()
            assert await found(one, request()) is None
            took.append(trio.current_time() - began)
            await trio.lowlevel.checkpoint()
        assert max(took) <= FIND_S + 1e-6
        assert sum(time > 0 for time in took) == 3
        assert one.requests[HOST, "shared", "error"] == 3
        await trio.sleep(60)
        assert not one.asks_shared(request())
        assert lines.events[2:] == [("store_lost", "did not answer within 20 ms")]
        server.delay = 0.0
        began = trio.current_time()
        await until(lambda: one.asks_shared(request()))
        assert trio.current_time() - began < 31


async def test_single_failures_among_many_answers_change_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    server = Server()
    async with replica(server, shared_settings(tmp_path)) as one:
        for _ in range(20):
            server.delay = 2 * FIND_S
            await found(one, request())
            server.delay = 0.0
            for _ in range(5):
                await found(one, request())
        assert one.asks_shared(request())
        assert server.opened == 1


async def test_a_server_that_dies_is_connected_to_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, lines = Server(), Lines()
    async with replica(server, shared_settings(tmp_path), lines=lines) as one:
        server.refuses = "cannot be reached"
        server.kill()
        await trio.sleep(SOON)
        assert not one.asks_shared(request())
        one.keep(request(), token())
        assert one.find(request()) is not None
        await trio.sleep(60)
        assert server.opened < 20
        server.refuses = ""
        await until(lambda: one.asks_shared(request()))
    assert lines.events == [
        ("files_loaded", "1"),
        ("store_ready",),
        ("store_lost", "closed the connection"),
        ("store_lost", "cannot be reached"),
        ("store_restored",),
    ]


@pytest.mark.parametrize("pause", [0.3, 3.0, 20.0])
@pytest.mark.parametrize("fault", ["slow", "refusing"])
async def test_requests_hurry_the_return_of_a_lost_store(tmp_path: Path, autojump_clock: MockClock, pause: float, fault: str) -> None:
    server = Server()
    async with replica(server, shared_settings(tmp_path)) as one:
        for _ in range(5):  # outages in a row wait no longer than the first one
            server.delay = 2.0 if fault == "slow" else 0.0
            server.refuses = "" if fault == "slow" else "cannot be reached"
            server.kill()
            began, opened = trio.current_time(), server.opened
            while trio.current_time() < began + pause:
                await found(one, request()) if one.asks_shared(request()) else await trio.sleep(0.05)
            assert server.opened - opened <= pause / HURRY_S + 2
            server.delay, server.refuses, back = 0.0, "", trio.current_time()
            while not one.asks_shared(request()):  # noqa: ASYNC110 - each look is a request
                await trio.sleep(0.05)
            assert trio.current_time() - back < HURRY_S + 2.1  # an attempt that has begun is slow to its end


async def test_a_full_store_is_told_once_and_read_on(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, lines = Server(), Lines()
    settings = shared_settings(tmp_path)
    async with replica(server, settings, lines=lines) as one, replica(server, settings) as other:
        one.keep(request("before"), token("before"))
        await trio.sleep(SOON)
        server.full = True
        for number in range(5):
            one.keep(request(str(number)), token())
            await trio.sleep(SOON)
        assert await found(other, request("before")) == "before"
        assert await found(other, request("1")) is None
        assert lines.events.count(("store_write_failed", "is full")) == 1
        assert one.asks_shared(request())
        server.full = False
        one.keep(request("after"), token("after"))
        await trio.sleep(SOON)
        assert await found(other, request("after")) == "after"


async def test_writes_are_bounded_and_removals_go_last(tmp_path: Path, autojump_clock: MockClock) -> None:
    server = Server()
    of = issuer(cache=CachePolicy(300.0, 10 * MAX_QUEUED))
    async with replica(server, shared_settings(tmp_path), of) as one:
        assert one.level is not None
        one.keep(request("refused", of=of), token())
        await trio.sleep(SOON)
        (kept,) = server.values
        one.refused(request("refused", of=of), refusal())
        for number in range(2 * MAX_QUEUED):
            one.keep(request(str(number), of=of), token())
        assert one.level.queued == MAX_QUEUED
        await trio.sleep(SOON)
        assert one.level.queued == 0
        assert [write.key for write in server.writes if write.value is None] == [kept]
        for number in range(200):
            one.keep(request(f"large {number}", of=of), token("x" * 60_000))
        assert one.level.queued < 200


def test_the_bytes_of_writes_that_wait_are_bounded() -> None:
    queue = WriteQueue()
    for number in range(9):
        queue.put(Job((), (), StoredToken(Secret(str(number) * 1024 * 1024), 60.0, 0.0, 60, None)))
    assert [job.token.access_token.reveal()[0] for job in queue.take() if job.token is not None] == list("12345678")
    for number in range(MAX_QUEUED + 1):
        queue.put(Job((), (b"%d" % number,)))
    assert [*queue.take()[0].digests] == [b"1"]  # of removals alone, the oldest


async def test_a_lost_store_queues_removals_and_no_values(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with two(tmp_path) as (server, one, other):
        one.keep(request(), token("old"))
        await trio.sleep(SOON)
        server.refuses = "cannot be reached"
        server.kill()
        await trio.sleep(SOON)
        one.keep(request("lost"), token())
        one.refused(request(), refusal())
        server.refuses = ""
        await until(lambda: one.asks_shared(request()) and other.asks_shared(request()))
        await trio.sleep(SOON)
        assert server.values == {}
        assert await found(other, request()) is None


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_refused_token_is_gone_even_if_its_removal_is_lost(tmp_path: Path, autojump_clock: MockClock, status: int) -> None:
    server = Server()
    async with replica(server, shared_settings(tmp_path)) as one:
        one.keep(request(), token("revoked"))
        await trio.sleep(SOON)
        values = dict(server.values)
        one.refused(request(), refusal(status))
        assert one.find(request()) is None
        await trio.sleep(SOON)
        assert server.values == {}
        server.values.update(values)  # as if it had not arrived, or another replica had been late
        assert await found(one, request()) is None
        one.keep(request(), token("new"))
        await trio.sleep(SOON)
        one.memory.clear()
        assert await found(one, request()) == "new"


@pytest.mark.parametrize("out_of_use", [False, True])
async def test_refusals_of_tokens_that_were_never_kept_bring_none_back(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, out_of_use: bool
) -> None:
    monkeypatch.setattr(token_cache, "MAX_REFUSED", 100)  # ten thousand names take a quarter of a minute
    async with two(tmp_path) as (server, one, other):
        one.keep(request(), token("revoked"))
        await trio.sleep(SOON)
        values = dict(server.values)
        assert await found(other, request()) == "revoked"
        if out_of_use:
            server.refuses = "cannot be reached"
            server.kill()
            await trio.sleep(SOON)
        for replica_ in (one, other):
            replica_.refused(request(), refusal())
            for number in range(token_cache.MAX_REFUSED + 1):
                replica_.refused(request(f"made up {number}"), refusal())
            assert replica_.level is not None
            assert replica_.level.queued <= 1
        server.refuses = ""
        await until(lambda: one.asks_shared(request()) and other.asks_shared(request()))
        await trio.sleep(SOON)
        assert server.values == {}
        server.values.update(values)  # as if a removal had come late
        for replica_ in (one, other):
            assert await found(replica_, request()) is None


async def test_a_refusal_outlives_an_earlier_one(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with two(tmp_path) as (server, one, _):
        values = dict(server.values)
        for subject, seconds in (("early", POLICY.max_ttl - 10), ("late", SWEEP_S + 15)):
            one.keep(request(subject), token())
            await trio.sleep(SOON)
            values = dict(server.values)
            one.refused(request(subject), refusal())
            await trio.sleep(seconds)
        server.values.update(values)  # as if a removal had come late
        assert await found(one, request("late")) is None


def forget_the_key(cache: TokenCache) -> None:
    assert cache.level is not None
    cache.level.learn(StoreFiles((derive(b"another key of some 32 bytes....", "exchanger"),)))


@pytest.mark.parametrize(
    ("change", "finds"),
    [
        (lambda _: None, "issued"),
        (lambda cache: cache.refused(request(), refusal()), None),
        (lambda cache: cache.use_issuers({}), None),
        (lambda cache: cache.use_issuers({"primary": issuer(secret="x")}), None),
        (lambda cache: cache.use_issuers({"primary": issuer(cache=None)}), None),
        (forget_the_key, None),
    ],
    ids=["nothing", "a refusal", "the issuer goes", "its secret is rotated", "it keeps nothing", "the key goes"],
)
async def test_what_changes_during_a_look_up_wins(
    tmp_path: Path, autojump_clock: MockClock, change: Callable[[TokenCache], None], finds: str | None
) -> None:
    async with two(tmp_path) as (server, one, other):
        one.keep(request(), token())
        await trio.sleep(SOON)
        server.delay = FIND_S / 2
        results: list[str | None] = []

        async def look() -> None:
            results.append(await found(other, request()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await trio.sleep(FIND_S / 4)
            change(other)
        assert results == [finds]
        assert (other.find(request()) is not None, other.entries) == (bool(finds), int(bool(finds)))


async def test_a_removed_key_writes_nothing_and_still_removes(tmp_path: Path, autojump_clock: MockClock) -> None:
    server = Server()
    async with replica(server, shared_settings(tmp_path, "one", "two")) as one:
        assert one.level is not None
        first, second = one.level.keys
        one.keep(request("before"), token())
        await trio.sleep(SOON)
        one.refused(request("before"), refusal())
        one.keep(request(), token())  # both wait still
        one.level.learn(StoreFiles((second,)))
        await until(lambda: one.asks_shared(request()))
        await trio.sleep(SOON)
        assert server.values == {}
        one.keep(request(), token())
        one.level.learn(StoreFiles((first, second)))
        await until(lambda: len(server.values) == 1)


@pytest.mark.parametrize("offset", [-3600.0, -60.0, 60.0, 3600.0])
async def test_clocks_that_disagree_never_make_a_life_longer(tmp_path: Path, autojump_clock: MockClock, offset: float) -> None:
    async with two(tmp_path, offset=offset) as (_, one, other):
        one.keep(request(), token("issued", 100))
        began = trio.current_time()
        await trio.sleep(SOON)
        last = began
        while trio.current_time() < began + 150:
            if await found(other, request()) is not None or other.find(request()) is not None:
                last = trio.current_time()
            await trio.sleep(1.0)
        assert last < began + 95


async def test_a_smaller_max_ttl_holds_for_what_others_kept(tmp_path: Path, autojump_clock: MockClock) -> None:
    short = issuer(cache=CachePolicy(30.0, 10))
    async with two(tmp_path, short) as (_, one, other):
        one.keep(request(), token("issued", 200))
        await trio.sleep(20)
        assert await found(other, request(of=short)) == "issued"
        await trio.sleep(10)
        assert other.find(request(of=short)) is None
        assert await found(other, request(of=short)) is None
        assert one.find(request()) is not None


async def test_a_value_that_lost_its_limit_is_not_believed(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with two(tmp_path) as (server, one, other):
        one.keep(request(), token())
        await trio.sleep(SOON)
        (key,) = server.values
        value, _ = server.values[key]
        server.values[key] = (value, trio.current_time() + 1e6)  # somebody made it live longer
        await trio.sleep(121)
        assert await found(other, request()) is None


async def test_look_ups_at_a_time_are_bounded(tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(delay=FIND_S / 2)
    monkeypatch.setattr("exchanger.exchange.cache.shared_level.MAX_FINDS", 2)
    async with replica(server, shared_settings(tmp_path)) as one:
        server.reads = 0
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(partial(found, one, request(str(number))))
            await trio.sleep(FIND_S / 4)
            assert not one.asks_shared(request())
        assert server.reads == 2
        assert one.asks_shared(request())
