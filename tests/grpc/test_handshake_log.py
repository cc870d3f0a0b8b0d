import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.grpc.tls import LINES_PER_WINDOW, HandshakeLog
from tests.grpc.authority import Observed


async def test_a_flood_makes_few_lines(mock_clock: MockClock) -> None:
    observed = Observed()
    log = HandshakeLog(observed)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        await wait_all_tasks_blocked()
        for number in range(1000):
            log.on_failed(f"192.0.2.1:{number}", "timeout")
        assert observed.failed == [(f"192.0.2.1:{number}", "timeout") for number in range(LINES_PER_WINDOW)]
        assert log.failed == 1000
        mock_clock.jump(61)
        await wait_all_tasks_blocked()
        assert observed.failed[LINES_PER_WINDOW:] == [("several peers", "990 more in the last minute, not reported one by one")]
        log.on_failed("192.0.2.2:1", "NO_SHARED_CIPHER")
        assert observed.failed[-1] == ("192.0.2.2:1", "NO_SHARED_CIPHER")
        mock_clock.jump(61)
        await wait_all_tasks_blocked()
        assert len(observed.failed) == LINES_PER_WINDOW + 2
        nursery.cancel_scope.cancel()


def test_what_went_well_is_only_counted() -> None:
    observed = Observed()
    log = HandshakeLog(observed)
    log.on_completed()
    assert log.completed == 1
    assert observed.failed == []
