"""Children end with the task that runs them, whatever ends it."""

import os
import sys
from pathlib import Path

import pytest
import trio

from exchanger.commands.demo import DemoError
from exchanger.commands.demo.processes import TAIL_BYTES, Child, ChildEndedError, describe_exit, tail_of

SLEEPS = "import time; print('up', flush=True); time.sleep(600)"
CLEAN = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(0)); print('up', flush=True); time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
UP_BOUND = 30.0  # seconds for an interpreter to print one line, on a machine that is busy with other tests


def child(code: str, folder: Path, *, grace: float = 10.0) -> Child:
    return Child("stand-in", (sys.executable, "-c", code), tuple(os.environ.items()), folder / "log", grace=grace)


async def start(nursery: trio.Nursery, started: Child) -> int:
    """Start it, wait until its program has come to where it sleeps, and return its process id."""
    await nursery.start(started.run)
    with trio.fail_after(UP_BOUND):
        while "up" not in tail_of(started.log):  # noqa: ASYNC110 - what is waited for happens in another process
            await trio.sleep(0.01)
    pid = started.pid
    assert pid is not None
    return pid


def assert_gone(pid: int) -> None:
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    ("code", "grace", "status"), [(SLEEPS, 10.0, -15), (CLEAN, 10.0, 0), (STUBBORN, 0.1, -9)], ids=["sleeps", "clean", "stubborn"]
)
async def test_cancellation_ends_the_child_and_kills_one_that_ignores_it(code: str, grace: float, status: int, tmp_path: Path) -> None:
    stand_in = child(code, tmp_path, grace=grace)
    async with trio.open_nursery() as nursery:
        pid = await start(nursery, stand_in)
        nursery.cancel_scope.cancel()
    assert (stand_in.pid, stand_in.exit_status) == (pid, status)
    assert_gone(pid)


async def test_an_exception_beside_it_ends_the_child(tmp_path: Path) -> None:
    stand_in = child(CLEAN, tmp_path)
    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="beside")):
        async with trio.open_nursery() as nursery:
            pid = await start(nursery, stand_in)
            raise RuntimeError("beside")
    assert_gone(pid)


async def test_cancellation_while_it_is_being_started_leaves_nothing(tmp_path: Path) -> None:
    stand_in = child(SLEEPS, tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stand_in.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    pid = stand_in.pid
    assert pid is not None
    assert_gone(pid)


async def test_stop_ends_it_without_a_fault_and_before_the_start_does_nothing(tmp_path: Path) -> None:
    stand_in = child(CLEAN, tmp_path)
    assert await stand_in.stop() is None
    assert (stand_in.pid, stand_in.exit_status) == (None, None)
    stand_in = child(CLEAN, tmp_path)
    async with trio.open_nursery() as nursery:
        pid = await start(nursery, stand_in)
        assert await stand_in.stop() == 0
    assert_gone(pid)


async def test_child_that_exits_is_reported_with_its_last_output(tmp_path: Path) -> None:
    stand_in = child("import sys; sys.exit('no such setting')", tmp_path)
    with pytest.raises(ChildEndedError, match=r"stand-in exited unexpectedly \(exit status 1\)\n    no such setting"):
        await stand_in.run()


async def test_a_program_that_does_not_exist_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="nothing cannot be started: No such file or directory: /nowhere/nothing"):
        await Child("nothing", ("/nowhere/nothing",), (), tmp_path / "log").run()


async def test_a_child_has_its_own_process_group_and_environment(tmp_path: Path) -> None:
    code = "import os; print(os.getpgid(0) == os.getpid(), os.environ.get('MARK'), os.environ.get('HOME'), os.read(0, 1))"
    stand_in = Child("stand-in", (sys.executable, "-c", code), (("MARK", "m"),), tmp_path / "log")
    with pytest.raises(ChildEndedError):
        await stand_in.run()
    assert stand_in.log_tail() == "    True m None b''"


def test_the_tail_of_a_log_is_bounded_and_printable(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert "nothing in" in tail_of(log)
    log.write_bytes(b"a" * TAIL_BYTES + b"\n\x1b[31m\xff\n" + b"last\n")
    assert len(tail_of(log)) < TAIL_BYTES + 100
    assert tail_of(log).splitlines()[1:] == ["    \ufffd[31m\ufffd", "    last"]


@pytest.mark.parametrize(("status", "words"), [(None, "still running"), (0, "exit status 0"), (1, "exit status 1"), (-9, "signal 9")])
def test_exit_statuses_in_words(status: int | None, words: str) -> None:
    assert describe_exit(status) == words
