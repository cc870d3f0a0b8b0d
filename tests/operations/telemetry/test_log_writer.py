import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import attrs
import pytest
import trio
import trio.testing

from exchanger.net.network import SYSTEM
from exchanger.operations.telemetry import log_writer
from exchanger.operations.telemetry.log_writer import BATCH_S, FLUSH_S, NOTICE_S, LogWriter
from exchanger.util.output import Descriptor

T = TypeVar("T")


@attrs.define(eq=False)
class FakeOutput:
    """Remembers what was written; ``gate`` holds a write until it is set, ``losing`` loses every line.

    ``busy`` counts the writes whose result the task has not received yet.
    """

    written: list[bytes] = attrs.field(factory=list)
    gate: threading.Event | None = None
    entered: threading.Event = attrs.field(factory=threading.Event)
    losing: bool = False
    problem: str = ""
    busy: int = 0

    async def run_sync(self, sync_fn: Callable[..., T], /, *args: Any, **options: Any) -> T:
        self.busy += 1
        try:
            return await trio.to_thread.run_sync(sync_fn, *args, **options)
        finally:
            self.busy -= 1

    def write(self, data: bytes, /, *, patience: float, at_once: int) -> int:
        assert patience > 0
        assert at_once > 0
        self.entered.set()
        if self.gate is not None:
            assert self.gate.wait(30)
        if self.losing:
            return data.count(b"\n")
        self.written.append(data)
        return 0


def _writer(output: FakeOutput | Descriptor, **limits: Any) -> LogWriter:
    run_sync = output.run_sync if isinstance(output, FakeOutput) else SYSTEM.run_sync
    return LogWriter(output, lambda lines: b"dropped %d" % lines, run_sync, **limits)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end has all the time that it needs, for tests in real time on a slow machine."""
    monkeypatch.setattr(log_writer, "FLUSH_S", 30.0)


async def _entered(output: FakeOutput) -> None:
    await trio.to_thread.run_sync(output.entered.wait, abandon_on_cancel=True)


async def _batch(clock: trio.testing.MockClock, output: FakeOutput) -> None:
    """Let the lines that are waiting go out."""
    while output.busy:  # the batch before has been written, but the task does not know yet
        await trio.lowlevel.checkpoint()
    await trio.testing.wait_all_tasks_blocked()
    output.entered.clear()
    clock.jump(BATCH_S)
    await _entered(output)


@contextlib.asynccontextmanager
async def running(writer: LogWriter) -> AsyncIterator[trio.CancelScope]:
    """Run ``writer`` while open."""

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        await writer.run(task_status=task_status)

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        yield nursery.cancel_scope
        nursery.cancel_scope.cancel()


async def test_lines_are_written_at_once_before_the_task_runs_and_then_gathered(mock_clock: trio.testing.MockClock) -> None:
    output = FakeOutput()
    writer = _writer(output)
    writer.put(b"zero")
    assert (output.written, writer.accepted) == ([b"zero\n"], 1)
    async with running(writer):
        for line in (b"one", b"two", b"three"):
            writer.put(line)
        assert output.written == [b"zero\n"]
        await _batch(mock_clock, output)

    assert (output.written, writer.accepted) == ([b"zero\n", b"one\ntwo\nthree\n"], 4)


@pytest.mark.parametrize("limits", [{"max_lines": 2}, {"max_bytes": 8}])
@pytest.mark.parametrize(
    "put", [LogWriter.put, lambda writer, *lines: [writer.put(line) for line in lines]], ids=["together", "one by one"]
)
async def test_lines_without_room_are_dropped_counted_and_reported(
    put: Callable[..., object], limits: dict[str, int], mock_clock: trio.testing.MockClock
) -> None:
    output = FakeOutput()
    writer = _writer(output, **limits)
    async with running(writer):
        put(writer, b"one", b"two", b"three", b"four")
        await _batch(mock_clock, output)
        writer.put(b"five")

    assert b"".join(output.written) == b"one\ntwo\ndropped 2\nfive\n"
    assert (writer.dropped, writer.accepted) == (2, 3)


async def test_lines_that_the_output_loses_are_counted(mock_clock: trio.testing.MockClock) -> None:
    writer = _writer(FakeOutput(losing=True))
    async with running(writer):
        writer.put(b"one")
        writer.put(b"two")

    assert (writer.dropped, writer.accepted) == (2, 0)


async def test_a_report_that_the_output_loses_is_repeated(mock_clock: trio.testing.MockClock) -> None:
    output = FakeOutput()
    writer = _writer(output, max_lines=2)
    async with running(writer):
        output.losing = True
        for line in (b"one", b"two", b"three"):
            writer.put(line)
        await _batch(mock_clock, output)
        while writer.dropped == 1:  # the task does not know yet
            await trio.lowlevel.checkpoint()
        output.losing = False
        writer.put(b"four")

    assert b"".join(output.written) == b"four\ndropped 3\n"
    assert (writer.dropped, writer.accepted) == (3, 1)


async def test_dropped_lines_are_reported_once_in_a_while(mock_clock: trio.testing.MockClock) -> None:
    output = FakeOutput()
    writer = _writer(output, max_lines=1)
    async with running(writer):
        for _ in range(10):
            writer.put(b"kept")
            writer.put(b"dropped")
            await _batch(mock_clock, output)

    assert 10 * BATCH_S <= NOTICE_S
    assert b"".join(output.written).count(b"dropped") == 2  # with the first batch, and at the end for all the others
    assert writer.dropped == 10


@pytest.mark.usefixtures("unhurried")
async def test_dropped_lines_are_reported_at_the_end_despite_a_pending_batch(mock_clock: trio.testing.MockClock) -> None:
    output = FakeOutput()
    writer = _writer(output, max_lines=1)
    async with running(writer) as scope:
        writer.put(b"kept")
        writer.put(b"dropped")
        await _batch(mock_clock, output)  # it tells of the first
        writer.put(b"kept")
        writer.put(b"dropped")
        while output.busy:
            await trio.lowlevel.checkpoint()
        output.gate = threading.Event()
        await _batch(mock_clock, output)  # too soon to tell of the second, and not written yet
        scope.cancel()
        output.gate.set()
    assert b"".join(output.written) == b"kept\ndropped 1\nkept\ndropped 1\n"


@pytest.mark.usefixtures("unhurried")
async def test_a_hanging_log_output_fills_only_the_buffer_and_blocks_no_loop() -> None:
    output = FakeOutput(gate=threading.Event())
    assert output.gate is not None
    writer = _writer(output, max_lines=3)
    with trio.fail_after(30):
        async with running(writer):
            await trio.to_thread.run_sync(writer.put, b"from another thread")
            await _entered(output)
            for _ in range(10):
                writer.put(b"more")
            assert writer.dropped == 7
            output.gate.set()

    assert b"".join(output.written) == b"from another thread\nmore\nmore\nmore\ndropped 7\n"


@pytest.mark.usefixtures("unhurried")
async def test_log_shutdown_writes_pending_batches_and_later_lines_go_out_directly() -> None:
    output = FakeOutput(gate=threading.Event())
    assert output.gate is not None
    writer = _writer(output)
    with trio.fail_after(30):
        async with running(writer) as scope:
            writer.put(b"first")
            await _entered(output)
            scope.cancel()
            writer.put(b"second")
            output.gate.set()

    assert b"".join(output.written) == b"first\nsecond\n"
    writer.put(b"after")
    assert output.written[-1] == b"after\n"


async def test_the_end_does_not_wait_for_an_output_that_hangs(mock_clock: trio.testing.MockClock) -> None:
    output = FakeOutput(gate=threading.Event())
    assert output.gate is not None
    writer = _writer(output)
    ended = trio.Event()
    scopes: list[trio.CancelScope] = []

    async def run_to_the_end() -> None:
        try:
            async with running(writer) as scope:
                scopes.append(scope)
                await trio.sleep_forever()
        finally:
            ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_to_the_end)
        await trio.testing.wait_all_tasks_blocked()
        writer.put(b"stuck")
        await _batch(mock_clock, output)
        scopes[0].cancel()
        writer.put(b"too late")
        await trio.testing.wait_all_tasks_blocked()
        assert not ended.is_set()
        mock_clock.jump(FLUSH_S)
        await ended.wait()

    writer.put(b"nowhere")
    assert (writer.dropped, writer.accepted) == (2, 1)  # what the thread still has may be written
    output.gate.set()
