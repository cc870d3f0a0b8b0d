"""The reflector as a task: how it ends, cancelled or by a fault, and what its statistics say.

Names in docstrings are those of client-go's cases (tools/cache/reflector_test.go and others).
"""

import pytest
import trio
from trio.testing import MockClock

from tests.kube.reflecting import BROKEN, Scene


@pytest.mark.parametrize("moment", [0.0, 0.01, 0.5, 1.0, 3.0, 7.0, 9.9, 10.5, 11.0, 90.0, 200.0, 500.0, 777.0])
async def test_cancellation_at_any_moment_leaves_nothing(scene: Scene, autojump_clock: MockClock, moment: float) -> None:
    """TestRunUntil, TestReflectorWatchStoppedBefore, ...StoppedAfter, TestReflectorStopWatch; ``starting`` looks for what is left."""
    scene.server.latency = 0.4
    scene.server.bookmarks = False
    for number in range(3):
        scene.server.fail(BROKEN, skip=number)
    async with scene.starting():
        await trio.sleep(moment)


async def test_a_fault_of_the_sink_is_a_fault(scene: Scene, autojump_clock: MockClock) -> None:
    async def run() -> None:
        async with scene.running():
            scene.sink.fault = ZeroDivisionError()
            scene.maps.put("b", "1")
            await trio.sleep(1.0)

    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        await run()
    assert scene.server.watchers == []
