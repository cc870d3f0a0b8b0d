import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.net.tls.handshake_log import LINES_PER_WINDOW, HandshakeLog
from tests.lines import Lines


async def test_a_flood_of_failed_handshakes_makes_few_lines(mock_clock: MockClock) -> None:
    lines = Lines()
    log = HandshakeLog(lines.logger)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        await wait_all_tasks_blocked()
        for number in range(1000):
            log.on_failed(f"192.0.2.1:{number}", "timeout")
        expected = [("handshake_failed", f"192.0.2.1:{number}", "timeout") for number in range(LINES_PER_WINDOW)]
        assert (lines.events, log.failed) == (expected, 1000)
        mock_clock.jump(60)
        await wait_all_tasks_blocked()
        log.on_failed("192.0.2.2:1", "NO_SHARED_CIPHER")
        mock_clock.jump(60)
        await wait_all_tasks_blocked()
        expected += [
            ("handshake_failed", "several peers", "990 more in the last minute, not reported one by one"),
            ("handshake_failed", "192.0.2.2:1", "NO_SHARED_CIPHER"),
        ]
        assert lines.events == expected
        nursery.cancel_scope.cancel()
