import gc
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.util.follow_file import HANGS, POLL_S, READ_S, SETTLE_S, FileFollower
from exchanger.util.regular_file import NotRegularError, UnusableFile, open_regular, read_regular
from tests.waiting import at_once

LIMIT = 100


def descriptors() -> int:
    gc.collect()  # or files that other tests have forgotten are closed between two looks
    return len(list(Path("/dev/fd").iterdir()))


class TestReading:
    def test_a_file_is_read_to_one_byte_beyond_the_limit(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        for size, read in ((0, 0), (LIMIT, LIMIT), (LIMIT + 1, LIMIT + 1), (10 * LIMIT, LIMIT + 1)):
            path.write_bytes(b"x" * size)
            assert read_regular(path, LIMIT) == b"x" * read

    def test_anything_else_is_unusable_and_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        assert read_regular(tmp_path / "none", LIMIT) == UnusableFile("cannot be read: No such file or directory")
        assert read_regular(tmp_path, LIMIT) == UnusableFile("cannot be read: Is a directory")
        assert read_regular(tmp_path / "pipe", LIMIT) == UnusableFile("must be a file, not a folder or a pipe")

    def test_nothing_stays_open_of_what_is_not_a_file(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        before = descriptors()
        for _ in range(3):
            with pytest.raises(NotRegularError):
                open_regular(tmp_path / "pipe")
            with pytest.raises(IsADirectoryError):
                open_regular(tmp_path)
        assert descriptors() == before


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def renamed_over(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


def of_the_same_size_and_time(path: Path, text: str) -> None:
    """Those who look at times and sizes would miss it."""
    before = path.stat()
    assert len(text) == before.st_size
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def mounted(path: Path, text: str) -> None:
    """Kubernetes swaps one symlink for all files of a volume."""
    version = path.with_name(f"..{text}")
    version.mkdir()
    (version / path.name).write_text(text)
    (path.parent / "..new").symlink_to(version)
    (path.parent / "..new").rename(path.parent / "..data")
    if not path.is_symlink():
        path.unlink(missing_ok=True)
        path.symlink_to(f"..data/{path.name}")


@pytest.mark.parametrize("replace", [in_place, renamed_over, of_the_same_size_and_time, mounted])
async def test_every_way_to_replace_a_file_is_seen(tmp_path: Path, autojump_clock: MockClock, replace: Callable[[Path, str], None]) -> None:
    path = tmp_path / "file"
    path.write_text("zero")
    follower = FileFollower(path.read_text, "", at_once)
    for text in ("one1", "two2"):
        replace(path, text)
        assert [await follower.look_settled() for _ in range(2)] == [text, None]


def scripted(*versions: str) -> Callable[[], str]:
    """Return what reads one version after the other."""
    left: Iterator[str] = iter(versions)
    return lambda: next(left)


@pytest.mark.parametrize(
    ("versions", "returned"),
    [
        ("aaa", ["a", None]),
        ("abcdee", [None, None, "e"]),  # being written
        ("aabbaa", ["a", "b", "a"]),
        ("aaba", ["a", None]),  # there and back between two reads
        ("aabaabb", ["a", None, None, "b"]),
    ],
)
async def test_a_version_settles_when_two_reads_find_it(versions: str, returned: list[str | None], autojump_clock: MockClock) -> None:
    follower = FileFollower(scripted(*versions), "", at_once)
    assert [await follower.look_settled() for _ in returned] == returned


async def test_the_first_version_may_settle_at_once(autojump_clock: MockClock) -> None:
    follower = FileFollower(scripted(*"abb"), "", at_once, first_at_once=True)
    assert [await follower.look_settled() for _ in range(2)] == ["a", "b"]


async def test_a_new_version_settles_long_before_the_next_poll(autojump_clock: MockClock) -> None:
    follower = FileFollower(scripted(*"aabb"), "", at_once)
    for text in "ab":
        began = trio.current_time()
        assert await follower.look_settled() == text
        assert trio.current_time() - began == pytest.approx(SETTLE_S)
    assert SETTLE_S < POLL_S / 3


async def test_each_settled_file_version_is_learnt_once_and_the_first_at_once(autojump_clock: MockClock) -> None:
    learnt: list[tuple[str, float]] = []
    began = trio.current_time()
    follower = FileFollower(scripted(*"aaabcbbb", *"b" * 9), "", at_once)
    with trio.move_on_after(7 * POLL_S):
        await follower.run_settled(lambda found: learnt.append((found, trio.current_time() - began)))
    assert [found for found, _ in learnt] == ["a", "b"]
    assert [when for _, when in learnt] == pytest.approx([SETTLE_S, 3 * POLL_S + 3 * SETTLE_S])


async def test_looks_come_at_an_interval(mock_clock: MockClock) -> None:
    reads: list[str] = []
    learn, learned = trio.open_memory_channel[str](1)

    def read() -> str:
        reads.append("read")
        return "found"

    follower = FileFollower(read, "", trio.to_thread.run_sync)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follower.run, learn.send_nowait)
        for looks in (1, 2):
            await wait_all_tasks_blocked()
            mock_clock.jump(POLL_S * 0.99)
            await wait_all_tasks_blocked()
            assert len(reads) == looks - 1
            mock_clock.jump(POLL_S * 0.02)
            assert await learned.receive() == "found"
            assert len(reads) == looks
        nursery.cancel_scope.cancel()


class Hanging:
    """Reads until released, and counts the threads that do."""

    def __init__(self) -> None:
        self.entered, self.release, self.threads = threading.Event(), threading.Event(), 0

    def read(self) -> str:
        self.threads += 1
        self.entered.set()
        self.release.wait(60)
        return "read"

    async def wait(self) -> None:
        await trio.to_thread.run_sync(self.entered.wait, 30)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    it = Hanging()
    yield it
    it.release.set()


async def test_a_file_system_that_hangs_is_reported_and_holds_one_thread(hanging: Hanging, mock_clock: MockClock) -> None:
    follower = FileFollower(hanging.read, HANGS, trio.to_thread.run_sync)
    found: list[str] = []

    async def look() -> None:
        found.append(await follower.look())

    for looks in (1, 2):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await wait_all_tasks_blocked()
            mock_clock.jump(READ_S)
        assert found == [HANGS] * looks
    await hanging.wait()
    assert hanging.threads == 1
    hanging.release.set()
    assert await follower.look() == "read"


async def test_cancellation_does_not_wait_for_the_thread(hanging: Hanging) -> None:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(FileFollower(hanging.read, "", trio.to_thread.run_sync).look)
            await hanging.wait()
            nursery.cancel_scope.cancel()
