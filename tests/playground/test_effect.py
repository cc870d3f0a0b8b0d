"""Whoever saves is answered when what was saved is in force, and not much later when it never will be."""

import trio
import trio.testing

from exchanger.console.proxy import LoopbackProxy
from exchanger.playground.policy_files import EFFECT_S, in_force, revision_of
from exchanger.policy.snapshot import PolicySnapshot
from tests.console.running import dead_port, running


async def test_the_service_s_console_tells_the_version() -> None:
    async with running() as console:
        revision = revision_of(LoopbackProxy(console.port))
        before = await revision()
        assert before is not None
        console.policy.publish(PolicySnapshot.EMPTY)
        assert await revision() == before + 1
        assert await in_force(before, revision)


async def test_a_console_that_is_not_there_tells_none() -> None:
    with dead_port() as port:
        assert await revision_of(LoopbackProxy(port))() is None


async def test_a_version_is_waited_for_and_not_longer_than_one_takes(autojump_clock: trio.testing.MockClock) -> None:
    begun = trio.current_time()

    async def after_half_a_second() -> int | None:
        await trio.lowlevel.checkpoint()
        return 8 if trio.current_time() - begun >= 0.5 else 7

    async def never() -> int | None:
        await trio.lowlevel.checkpoint()
        return 7

    async def hangs() -> int | None:
        await trio.sleep_forever()
        raise AssertionError

    assert await in_force(7, after_half_a_second)
    assert 0.5 <= trio.current_time() - begun < 0.6
    for revision in (never, hangs):
        begun = trio.current_time()
        assert not await in_force(7, revision)
        assert trio.current_time() - begun < EFFECT_S + 0.1


async def test_without_a_version_before_there_is_nothing_to_wait_for() -> None:
    async def unknown() -> int | None:
        await trio.sleep_forever()
        raise AssertionError

    assert not await in_force(None, unknown)
