"""Law: whatever keeps the news away, nothing is in force that was last known to be right longer ago than the limit and a moment.

And once it is over, the service is open again within seconds. A sign of life is an event, a bookmark, the end of a watch in good order or a
complete list, never the answer to another question.
"""

import trio
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from exchanger.kube.list_watch import ApiFailure, FailureKind
from exchanger.kube.source import LOOK_S
from tests.examples import examples
from tests.kube.cluster import Cluster, Record, deny, source
from tests.kube.fake_api_server import FakeApiServer, Verb

LIMITS = st.sampled_from([10.0, 15.0, 30.0, 60.0, 100.0, 200.0, 225.0, 300.0])
FAULTS = (
    *("refused", "error", "busy", "forbidden", "gone", "malformed"),
    *("black hole", "black hole, and cut", "frozen", "buffered", "lists fail"),
)
# Seconds after the limit: the age is looked at every second.
BOUND_S = LOOK_S + 0.5
# Seconds until it is open again: a wait of three or a probe of ten, a watch of three that ends, and two looks.
OPEN_S = 20.0


def befall(fault: str, server: FakeApiServer) -> None:
    match fault:
        case "refused":
            server.stop()
        case "error":
            server.stop(ApiFailure(FailureKind.SERVER_ERROR, 503))
        case "busy":
            server.stop(ApiFailure(FailureKind.TOO_MANY_REQUESTS, 429, retry_after=3600.0))
        case "forbidden":
            server.stop(ApiFailure(FailureKind.FORBIDDEN, 403))
        case "gone":
            server.stop(ApiFailure(FailureKind.GONE, 410))
        case "malformed":
            server.stop(ApiFailure(FailureKind.MALFORMED))
        case "black hole":
            server.pause()
        case "black hole, and cut":
            server.cut(ApiFailure(FailureKind.UNREACHABLE))
            server.pause()
        case "frozen":
            server.frozen = True
        case "buffered":
            server.buffers = True
        case "lists fail":
            server.frozen = True
            server.fail_for_ever(ApiFailure(FailureKind.SERVER_ERROR, 500), verb=Verb.LIST)


async def suffer(fault: str, limit: float, calm: float, seed: int) -> None:
    cluster, record = Cluster(), Record()
    cluster.put_namespace("a")
    cluster.put("a", "p")
    followed = source(cluster, record, max_staleness=limit, seed=seed)
    async with trio.open_nursery() as nursery:
        await nursery.start(followed.run)
        await trio.sleep(calm)
        assert record.is_open()
        befall(fault, cluster.server)
        began = trio.current_time()
        cluster.put("a", "q", deny("/new"))
        while trio.current_time() < began + 2 * limit + 60:
            await trio.sleep(LOOK_S / 4)
            late = trio.current_time() - began > limit + BOUND_S
            assert not (late and record.is_open() and not record.denies("/new")), "an old policy is in force"
        event(f"{fault}: {'open' if record.is_open() else 'closed'}")
        cluster.server.heal()
        await record.until(record.is_open, OPEN_S)
        await record.until(lambda: record.denies("/new"), OPEN_S)
        await trio.sleep(2 * limit)
        assert record.is_open()
        assert record.said.count("close") <= 1
        assert followed.snapshot_age() is not None
        nursery.cancel_scope.cancel()


@settings(max_examples=examples(60))
@example(fault="frozen", limit=30.0, calm=20.0, seed=0)
@given(st.sampled_from(FAULTS), LIMITS, st.floats(0.0, 400.0), st.integers(0, 1000))
def test_nothing_is_in_force_for_longer_than_the_limit(fault: str, limit: float, calm: float, seed: int) -> None:
    trio.run(suffer, fault, limit, calm, seed, clock=MockClock(autojump_threshold=0))
