"""The file that is followed, on a real file system."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from exchanger.issuers import file as module
from exchanger.issuers.file import ProfilesFile, check_file
from exchanger.issuers.plan import Plan, ProfileRules, Rejected
from exchanger.issuers.profiles import MAX_FILE_BYTES, read_bytes
from tests.issuers.fakes import check_endpoint, inline, profiles

ONE, TWO, BAD = profiles(inline("one")), profiles(inline("two")), profiles("  - {}\n")


def names(found: Plan | Rejected | None) -> list[str] | None:
    return [draft.name for draft in found.drafts] if isinstance(found, Plan) else None


def watched(path: Path) -> ProfilesFile:
    return ProfilesFile(path, ProfileRules(), check_endpoint)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "issuers.yaml"
    path.write_text(ONE)
    return path


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def renamed_over(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


def moved(path: Path, to: Path) -> None:
    path.rename(to)


async def test_the_first_version_counts_at_once_and_once(path: Path) -> None:
    it = watched(path)
    assert names(await it.look()) == ["one"]
    assert await it.look() is None
    assert await it.look() is None
    assert it.statistics().looks == 3
    assert "canary" not in repr(it)


async def test_another_version_counts_when_it_stands(path: Path) -> None:
    it = watched(path)
    await it.look()
    in_place(path, TWO)
    assert await it.look() is None
    assert names(await it.look()) == ["two"]
    assert await it.look() is None


async def test_half_a_file_does_not_count(path: Path) -> None:
    whole = profiles(inline("one"), inline("two"))
    it = watched(path)
    await it.look()
    in_place(path, profiles(inline("two")))
    assert await it.look() is None
    in_place(path, whole)
    assert await it.look() is None
    assert names(await it.look()) == ["one", "two"]


async def test_back_again(path: Path) -> None:
    it = watched(path)
    await it.look()
    in_place(path, TWO)
    await it.look()
    in_place(path, ONE)
    assert await it.look() is None
    assert names(await it.look()) == ["one"]


@pytest.mark.parametrize("replace", [renamed_over, in_place])
async def test_ways_to_replace_it(path: Path, replace: Callable[[Path, str], None]) -> None:
    it = watched(path)
    await it.look()
    replace(path, TWO)
    assert [names(await it.look()) for _ in range(3)] == [None, ["two"], None]


async def test_a_mounted_config_map(tmp_path: Path) -> None:
    """Kubernetes swaps one symlink for all files of a volume."""

    def publish(version: str, text: str) -> None:
        (tmp_path / version).mkdir()
        (tmp_path / version / "issuers.yaml").write_text(text)
        (tmp_path / "..new").symlink_to(version)
        (tmp_path / "..new").rename(tmp_path / "..data")

    publish("..1", ONE)
    (tmp_path / "issuers.yaml").symlink_to("..data/issuers.yaml")
    it = watched(tmp_path / "issuers.yaml")
    assert names(await it.look()) == ["one"]
    publish("..2", TWO)
    assert [names(await it.look()) for _ in range(3)] == [None, ["two"], None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BAD, "issuers[0].name is required"),
        ("", "is empty"),
        (profiles(inline(host="")), "tokenEndpoint must be an absolute https URL"),
        ("#" * (MAX_FILE_BYTES + 1), "larger than"),
    ],
)
async def test_a_bad_version_is_returned_once(path: Path, text: str, expected: str) -> None:
    it = watched(path)
    await it.look()
    in_place(path, text)
    assert await it.look() is None
    found = await it.look()
    assert isinstance(found, Rejected)
    assert expected in found.problems[0]
    assert "canary" not in repr(found)
    assert await it.look() is None


async def test_a_file_that_is_gone_and_comes_again(path: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    it = watched(path)
    await it.look()
    moved(path, gone)
    assert await it.look() is None
    assert isinstance(await it.look(), Rejected)
    assert await it.look() is None
    moved(gone, path)
    assert [names(await it.look()) for _ in range(3)] == [None, ["one"], None]


async def test_a_file_system_that_hangs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    healthy, release = read_bytes, threading.Event()

    def hanging(path: Path) -> bytes | str:
        release.wait(30)
        return healthy(path)

    it = watched(path)
    assert names(await it.look()) == ["one"]
    monkeypatch.setattr(module, "read_bytes", hanging)
    monkeypatch.setattr(module, "_READ_S", 0.01)
    try:
        assert await it.look() is None
        found = await it.look()
        assert isinstance(found, Rejected)
        assert "could not be read within" in found.problems[0]
        assert await it.look() is None
    finally:
        release.set()
    monkeypatch.setattr(module, "read_bytes", healthy)
    monkeypatch.setattr(module, "_READ_S", 10.0)
    assert [names(await it.look()) for _ in range(2)] == [None, ["one"]]


async def test_it_can_be_left_while_it_hangs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, release = threading.Event(), threading.Event()

    def hanging(_path: Path) -> bytes | str:
        entered.set()
        release.wait(30)
        return ""

    monkeypatch.setattr(module, "read_bytes", hanging)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watched(path).look)
            await trio.to_thread.run_sync(entered.wait, 30)
            nursery.cancel_scope.cancel()
    finally:
        release.set()


def test_the_check_at_the_start(path: Path) -> None:
    assert check_file(path, ProfileRules(), check_endpoint) == ()
    path.write_text(profiles(inline(host=""), inline()))
    assert check_file(path, ProfileRules(), check_endpoint) == (
        'issuer profile "primary" tokenEndpoint must be an absolute https URL',
        'issuer profile "primary" is defined twice',
    )
    path.write_text(BAD)
    assert "is required" in check_file(path, ProfileRules(), check_endpoint)[0]
    path.unlink()
    assert "cannot be read" in check_file(path, ProfileRules(), check_endpoint)[0]
