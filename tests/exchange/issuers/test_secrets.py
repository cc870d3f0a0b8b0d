import base64
import itertools
from collections.abc import Callable
from random import Random

import attrs
import pytest
import trio
from trio.testing import MockClock

from exchanger.exchange.issuers.secrets import (
    FIRST_RETRY_S,
    JITTER,
    POLL_S,
    READ_S,
    RETRY_CAP_S,
    PollingSecrets,
    SecretData,
    SecretFault,
    SecretProblem,
    secret_data,
)
from tests.exchange.issuers.fakes import FORBIDDEN, MISSING, OAUTH, MemorySecrets, data


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        (base64.b64encode("\u00e4\n".encode()).decode(), "\u00e4"),
        (base64.b64encode(b" canary \r\n").decode(), " canary "),
        ("", ""),
        ("Cg==", ""),
        ("/w==", None),
        ("canary!", None),
        ("Y2Fu!YXJ5", None),
        ("YQ", None),
        ("\u00e4", None),
    ],
    ids=["line end", "spaces", "empty", "empty line", "binary", "not base64", "another character within", "no padding", "not ASCII"],
)
def test_values_are_base64_of_text_without_the_last_line_end(encoded: str, value: str | None) -> None:
    found = secret_data("7", {"key": encoded})
    assert found.version == "7"
    assert {key: secret.reveal() for key, secret in found.values.items()} == ({} if value is None else {"key": value})
    assert found.undecodable == ({"key"} if value is None else frozenset())
    assert "canary" not in repr(found)


@attrs.define(eq=False)
class Follower:
    reader: MemorySecrets
    polling: PollingSecrets
    learned: list[SecretData | SecretProblem] = attrs.field(factory=list)

    def waits(self) -> list[float]:
        times = [time for time, _ in self.reader.reads]
        return [later - earlier for earlier, later in itertools.pairwise(times)]

    async def run(self) -> None:
        await self.polling.follow(OAUTH, self.learned.append)


def follower(*, seed: int = 1) -> Follower:
    reader = MemorySecrets({OAUTH: data(1)})
    return Follower(reader, PollingSecrets(reader.read, Random(seed)))


@pytest.fixture
def it() -> Follower:
    return follower()


async def run_for(it: Follower, seconds: float, change: Callable[[], None] = lambda: None) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.run)
        await trio.sleep(seconds)
        change()
        await trio.sleep(seconds)
        nursery.cancel_scope.cancel()


async def test_each_version_comes_once_within_an_interval(it: Follower, autojump_clock: MockClock) -> None:
    await run_for(it, 100, lambda: it.reader.known.update({OAUTH: data(2)}))
    assert it.reader.reads[0] == (0.0, OAUTH)
    assert it.learned == [data(1), data(2)]
    assert all(POLL_S <= wait <= POLL_S * (1 + JITTER) for wait in it.waits())
    assert len(set(it.waits())) > 1


async def test_failures_are_reported_once_and_repeated_with_growing_waits(it: Follower, autojump_clock: MockClock) -> None:
    it.reader.known[OAUTH] = MISSING
    await run_for(it, 150, lambda: it.reader.known.update({OAUTH: FORBIDDEN}))
    assert it.learned == [MISSING, FORBIDDEN]
    bases = [min(FIRST_RETRY_S * 2**number, RETRY_CAP_S) for number in range(len(it.waits()))]
    assert all(base <= wait <= 2 * base for base, wait in zip(bases, it.waits(), strict=True))


async def test_waits_start_again_from_the_first_after_a_success(it: Follower, autojump_clock: MockClock) -> None:
    it.reader.known[OAUTH] = MISSING
    before = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.run)
        for found in (data(1), MISSING):
            await trio.sleep(200)
            before = len(it.reader.reads)
            it.reader.known[OAUTH] = found
        await trio.sleep(30)
        nursery.cancel_scope.cancel()
    assert FIRST_RETRY_S <= it.waits()[before] <= 2 * FIRST_RETRY_S
    assert it.learned == [MISSING, data(1), MISSING]


async def test_a_read_that_hangs_is_given_up(it: Follower, autojump_clock: MockClock) -> None:
    it.reader.hangs = True
    await run_for(it, READ_S)
    (problem,) = it.learned
    assert isinstance(problem, SecretProblem)
    assert problem.fault is SecretFault.UNREACHABLE
    assert it.reader.reads[1][0] >= READ_S + FIRST_RETRY_S


async def test_instances_do_not_read_together(autojump_clock: MockClock) -> None:
    one, other = follower(), follower(seed=2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_for, one, 50)
        nursery.start_soon(run_for, other, 50)
    assert not set(one.reader.reads[1:]) & set(other.reader.reads[1:])
