"""The audit log between decisions and a disk that is slow, full, or dead."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from exchanger.authz.audit import log as module
from exchanger.authz.audit.identities import AuditKey
from exchanger.authz.audit.log import AuditLog
from exchanger.authz.audit.refusals import MAX_A_SECOND, MAX_BYTES_A_SECOND, MAX_GROUPS
from exchanger.util.regular_file import UnusableFile
from tests.authz.audit.outputs import KEY, Disk, HeldThread, SlowThread, audit_log, granted, jwt, refused
from tests.reachable import text_held


@asynccontextmanager
async def running(log: AuditLog) -> AsyncGenerator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(log.run)
        nursery.start_soon(log.reactor.timers.run)
        yield
        nursery.cancel_scope.cancel()


class Answers(list[bool]):
    """What rows were told."""

    def row(self, log: AuditLog, deadline: float = 1e9) -> object:
        """Hand a line over. A row that is not accepted is told so at once."""
        pending = log.write(granted(), deadline, self.append)
        if pending is None:
            self.append(False)
        return pending


async def test_lines_are_written_without_a_request_waiting(autojump_clock: trio.testing.MockClock) -> None:
    disk = Disk()
    log = audit_log(disk, SlowThread(5.0))
    async with running(log):
        for _ in range(3):
            log.decided(granted())
        log.decided(refused())
        await trio.sleep(60)
        assert [line["event"] for line in disk.lines] == ["exchange.granted"] * 3 + ["exchange.denied"]
    assert (log.written, log.lost) == (4, 0)


async def test_a_row_is_told_when_the_write_has_returned(autojump_clock: trio.testing.MockClock) -> None:
    disk, answers = Disk(), Answers()
    log = audit_log(disk, SlowThread(0.1), required=True)
    async with running(log):
        await trio.sleep(1)
        answers.row(log)
        log.decided(granted())  # its line is written already
        await trio.sleep(0.05)
        assert answers == []
        await trio.sleep(0.5)
        assert answers == [True]
        assert len(disk.lines) == 1


async def test_a_row_whose_time_is_up_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    disk, answers = Disk(), Answers()
    log = audit_log(disk, SlowThread(0.9), required=True)
    async with running(log):
        await trio.sleep(1)
        started = trio.current_time()
        answers.row(log, started + 0.2)
        await trio.sleep(0.201)
        assert answers == [False]
        await trio.sleep(10)
        assert answers == [False]


async def test_a_row_without_a_deadline_does_not_wait_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    answers = Answers()
    log = audit_log(Disk(), SlowThread(3600), required=True)
    async with running(log):
        answers.row(log)
        await trio.sleep(module.ROW_S + 0.01)
        assert answers == [False]


async def test_a_cancelled_audit_record_is_neither_written_nor_notified(autojump_clock: trio.testing.MockClock) -> None:
    disk, answers = Disk(), Answers()
    log = audit_log(disk, SlowThread(0.3), required=True)
    async with running(log):
        await trio.sleep(0.1)
        row = log.write(granted(), 1e9, answers.append)
        assert row is not None
        row.leave()
        await trio.sleep(10)
    assert (answers, disk.lines) == ([], [])


async def test_a_full_disk_denies_at_once_until_there_is_space_again(autojump_clock: trio.testing.MockClock) -> None:
    disk, answers = Disk(room=0), Answers()
    log = audit_log(disk, required=True)
    with capture_logs() as logs:
        async with running(log):
            await trio.sleep(1)
            assert not log.is_broken
            answers.row(log)
            await trio.sleep(0.1)
            assert answers == [False]
            log.decided(refused())  # of that request
            for _ in range(20):
                await trio.sleep(1)
                assert log.counts.broken
                assert answers.row(log) is None
            assert answers == [False] * 21
            disk.room = None
            await trio.sleep(module.RETRY_S + 0.1)
            assert not log.counts.broken
            answers.row(log)
            await trio.sleep(0.1)
            assert answers[-1]
    assert [line["event"] for line in disk.lines] == ["exchange.denied", "exchange.granted"]
    assert log.lost == 0
    assert [entry["event"] for entry in logs] == ["audit.unwritable", "audit.writable"]


async def test_rows_of_a_batch_are_told_each_for_its_own_line(autojump_clock: trio.testing.MockClock) -> None:
    disk = Disk()
    log = audit_log(disk, SlowThread(0.1), required=True)
    told: dict[int, bool] = {}
    async with running(log):
        await trio.sleep(0.01)
        for number in range(600):
            log.write(granted(), 1e9, lambda written, number=number: told.__setitem__(number, written))  # type: ignore[misc]
        disk.room = 100_000
        await trio.sleep(0.5)
    written = len(disk.lines)
    assert 0 < written < 600
    assert told == {number: number < written for number in range(600)}


async def test_lines_wait_for_a_full_disk_and_those_without_room_are_counted(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LINES", 50)
    disk = Disk(room=0)
    log = audit_log(disk)
    with capture_logs() as logs:
        async with running(log):
            for count in (60, 5, 5):  # the log says at most once a minute how many lines were lost
                for _ in range(count):
                    log.decided(granted())
                await trio.sleep(10.13)  # not when a write begins, which makes room
            await trio.sleep(270)
            assert (disk.lines, log.lost) == ([], 20)
            disk.room = None
            await trio.sleep(1)
            assert len(disk.lines) == 50
            for _ in range(70):
                log.decided(granted())
            await trio.sleep(600)
    assert (log.written, log.lost) == (100, 40)
    assert [entry["lines"] for entry in logs if entry["event"] == "audit.lines_lost"] == [10, 10, 20]


async def test_a_write_that_hangs_makes_the_log_broken_and_ends_no_turn(autojump_clock: trio.testing.MockClock) -> None:
    disk, thread, answers = Disk(), SlowThread(), Answers()
    log = audit_log(disk, thread, required=True)
    with capture_logs() as logs:
        async with running(log):
            await trio.sleep(1)
            thread.seconds = 100
            answers.row(log)
            await trio.sleep(module.PATIENCE_S * 2.5)
            assert (list(answers), log.is_broken) == ([False], True)
            assert answers.row(log) is None
            thread.seconds = 0
            await trio.sleep(120)
            assert not log.is_broken
    assert [entry["event"] for entry in logs] == ["audit.unwritable", "audit.writable"]
    assert len(disk.lines) == 1  # the one on its way: a line too many, and never one too few


async def test_what_waits_at_the_end_is_written_and_rows_are_told(autojump_clock: trio.testing.MockClock) -> None:
    disk, answers = Disk(), Answers()
    log = audit_log(disk, SlowThread(0.5))
    async with running(log):
        await trio.sleep(0.1)
        log.decided(granted())
        log.decided(refused())
    assert len(disk.lines) == 2
    log.decided(granted())
    assert log.lost == 1
    dead = audit_log(Disk(), SlowThread(100), required=True)
    async with running(dead):
        await trio.sleep(0.1)
        answers.row(dead)
    assert answers == [False]
    assert dead.write(granted(), 1e9, answers.append) is None


async def test_audit_lines_unwritten_at_shutdown_are_counted_and_logged(autojump_clock: trio.testing.MockClock) -> None:
    log = audit_log(Disk(), SlowThread(100))
    with capture_logs() as logs:
        async with running(log):
            log.decided(granted())
            log.decided(refused())
            await trio.sleep(module.BATCH_S + module.LOOK_S + 1)  # these are on their way
            log.decided(granted())
            log.decided(refused())
    assert log.lost == 4
    assert [entry["lines"] for entry in logs if entry["event"] == "audit.lines_lost"] == [4]


@pytest.mark.parametrize("room", [None, 0, 5000])
async def test_each_refusal_is_counted_as_written_or_lost(autojump_clock: trio.testing.MockClock, room: int | None) -> None:
    disk, flood = Disk(room=room), 40
    log = audit_log(disk)
    async with running(log):
        await trio.sleep(0.1)
        for number in range(flood):
            log.decided(refused(namespace=f"team-{number % 3}"))
    log.decided(refused())  # by what ends after the log
    assert sum(line.get("count", 1) for line in disk.lines) + log.lost == flood + 1
    assert log.written == len(disk.lines)
    assert room is not None or log.lost == 1


@pytest.mark.parametrize("returns", [True, False])
async def test_a_process_that_stands_still_takes_no_row_for_unwritten(mock_clock: trio.testing.MockClock, returns: bool) -> None:
    """The write returns meanwhile, or just afterwards."""
    for _ in range(20):  # whether the write or the time comes first is up to chance
        thread, answers = HeldThread(), Answers()
        log = audit_log(Disk(), thread, required=True)
        async with running(log):
            answers.row(log)
            await trio.testing.wait_all_tasks_blocked()
            if returns:
                thread.returned.set()
            mock_clock.jump(1.5)
            answers.row(log)
            await trio.testing.wait_all_tasks_blocked()
            answers.row(log)
            thread.returned.set()
            await trio.testing.wait_all_tasks_blocked()
            assert answers == [True] * 3
            assert not log.counts.broken


async def test_a_flood_of_refusals_is_counted_and_delays_no_row(autojump_clock: trio.testing.MockClock) -> None:
    disk, answers = Disk(), Answers()
    log = audit_log(disk, required=True)
    seconds, flood = 30, 2000
    async with running(log):
        for second in range(seconds):
            for number in range(flood):
                log.decided(refused(namespace=f"team-{number % 3}"))
            answers.row(log)
            await trio.sleep_until(second + 1.0)
        await trio.sleep(3)
    assert answers == [True] * seconds
    refusals = [line for line in disk.lines if line["event"] == "exchange.denied"]
    assert sum(line.get("count", 1) for line in refusals) == seconds * flood
    assert len(refusals) <= seconds * (MAX_A_SECOND + 3) + 3
    assert {line["reason"] for line in refusals} == {"subject_rejected"}


async def test_refusals_of_many_groups_are_counted_together(autojump_clock: trio.testing.MockClock) -> None:
    disk = Disk()
    log = audit_log(disk)
    async with running(log):
        for number in range(MAX_A_SECOND + MAX_GROUPS + 6):
            log.decided(refused(namespace=f"team-{number}"))
        await trio.sleep(3)
    assert sorted(line["count"] for line in disk.lines if "count" in line) == [1] * MAX_GROUPS + [6]


async def test_refusals_with_long_lines_get_few_of_their_own(autojump_clock: trio.testing.MockClock) -> None:
    disk, seconds, flood = Disk(), 30, 50
    log = audit_log(disk, keyed=False)
    party = {"iss": "i" * 500, "sub": "s" * 250, "client_id": "c" * 250}
    long = refused(jwt(act=party | {"act": party | {"act": party}}))
    async with running(log):
        for second in range(seconds):
            for _ in range(flood):
                log.decided(long)
            await trio.sleep_until(second + 1.0)
        await trio.sleep(3)
    assert sum(line.get("count", 1) for line in disk.lines) == seconds * flood
    longest = max(map(len, disk.data.splitlines()))
    assert longest > MAX_BYTES_A_SECOND / MAX_A_SECOND
    assert len(disk.data) <= seconds * (MAX_BYTES_A_SECOND + 2 * longest)


async def test_while_the_disk_is_full_refusals_are_counted_and_none_is_lost(autojump_clock: trio.testing.MockClock) -> None:
    disk = Disk(room=0)
    log = audit_log(disk, required=True)
    total = 0
    held: list[int] = []
    async with running(log):
        for second in range(600):
            for number in range(20):
                log.decided(refused(namespace=f"team-{number + total % 100}"))
            total += 20
            await trio.sleep(1)
            if second in (99, 599):
                held.append(text_held(log))
        assert held[1] < 3 * held[0]  # a write that is under way holds its lines once more
        disk.room = None
        await trio.sleep(5)
    assert sum(line.get("count", 1) for line in disk.lines) == total
    assert log.lost == 0


async def test_keys_that_stand_are_used_and_half_a_file_is_not(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    half, other, gone = AuditKey.of(b"half a key"), AuditKey.of(b"another key"), UnusableFile("gone")
    reads = iter([(KEY,), (KEY,), (half,), (other,), (other,), (other,), gone, (other,), gone, gone])
    monkeypatch.setattr(module, "read_audit_keys", lambda _path: next(reads, (other,)))
    disk = Disk()
    log = audit_log(disk)
    log.settings = attrs.evolve(log.settings, key_file=Path("keys"))
    unreadable = []
    with capture_logs() as lines:
        async with running(log):
            for _ in range(40):
                log.decided(granted())
                unreadable.append(bool(log.unreadable))
                await trio.sleep(0.3)
    assert [key for key, _ in groupby(line["subject"]["sub"].partition(":")[0] for line in disk.lines)] == [KEY.id, other.id]
    assert [(line["event"], line.get("key", line.get("reason"))) for line in lines] == [
        ("audit.keys_loaded", other.id),
        ("audit.keys_unusable", "gone"),
        ("audit.keys_loaded", other.id),
    ]
    assert [state for state, _ in groupby(unreadable)] == [False, True, False]
