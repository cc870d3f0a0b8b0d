import pytest
import trio
import trio.testing
from trio.testing import MockClock

from exchanger.grpc.limits import NO_DESCRIPTORS, REPORT_INTERVAL, Admission
from tests.grpc.peer import routes
from tests.grpc.serving import serving


async def test_whoever_finds_no_room_is_counted_and_told_of_once_a_minute(autojump_clock: MockClock) -> None:
    told: list[tuple[float, str]] = []
    start = trio.current_time()
    admission = Admission(2, lambda reason: told.append((trio.current_time() - start, reason)))

    assert [admission.admit(connections) for connections in (0, 1, 2, 3)] == [True, True, False, False]
    await trio.sleep(REPORT_INTERVAL / 2)
    admission.exhausted()
    assert told == [(0.0, "there are 2 connections already")]
    await trio.sleep(REPORT_INTERVAL / 2)
    admission.exhausted()
    assert [reason for _, reason in told[1:]] == [NO_DESCRIPTORS]
    assert told[1][0] == pytest.approx(REPORT_INTERVAL)
    assert (admission.accepted, admission.refused) == (2, 4)


async def test_a_full_server_refuses_and_says_so() -> None:
    async with serving(routes(), max_connections=2) as served:
        first, second = await served.connect(), await served.connect()
        assert (await first.ask(b"1")).messages == [b"echo 1"]
        assert (await second.ask(b"2")).messages == [b"echo 2"]
        third = await served.connect()
        await third.settle()
        assert third.eof
        assert (served.server.connections, served.server.refused) == (2, 1)
        assert served.refusals == ["there are 2 connections already"]
        first.socket.close()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (await (await served.connect()).ask(b"4")).messages == [b"echo 4"]
