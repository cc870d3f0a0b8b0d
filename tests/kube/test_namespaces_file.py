import os
from pathlib import Path

import pytest
import trio

from exchanger.kube.connection import MAX_WATCHES
from exchanger.kube.namespaces_file import MAX_BYTES, MAX_NAMESPACES, NamespacesFile, Unusable, read_namespaces

POLL_S = 0.02
PATIENCE_S = 60.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "namespaces"
    path.write_text("team-a\nteam-b\n")
    return path


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a", ("a",)),
        ("a,b", ("a", "b")),
        ("a b\tc", ("a", "b", "c")),
        ("a\nb\n", ("a", "b")),
        ("b,\r\na,\r\n", ("b", "a")),
        ("# all teams\na # the first\n#b\n\nc", ("a", "c")),
        ("\n" + "a" * 63, ("a" * 63,)),
    ],
)
def test_names_are_separated_by_commas_blanks_or_lines(path: Path, text: str, names: tuple[str, ...]) -> None:
    path.write_bytes(text.encode())
    assert read_namespaces(path) == names


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "at least one"),
        (b"\n,, \n", "at least one"),
        (b"# a\n", "at least one"),
        (b"a\nCANARY\n", "line 2"),
        (b"[a, b]", "line 1"),
        (b"- a\n", "line 1"),
        (b"a,a", "twice"),
        (b"a\n\xff", "UTF-8"),
        (b"a\0", "line 1"),
        (b"a" * (MAX_BYTES + 1), "bytes"),
        (" ".join(f"n{number}" for number in range(MAX_NAMESPACES + 1)).encode(), f"at most {MAX_NAMESPACES}"),
    ],
)
def test_what_is_no_list_of_names_is_unusable_and_not_quoted(path: Path, content: bytes, reason: str) -> None:
    path.write_bytes(content)
    found = read_namespaces(path)
    assert isinstance(found, Unusable)
    assert reason in found.reason
    assert "CANARY" not in found.reason


def test_a_file_that_is_none_is_unusable(path: Path, tmp_path: Path) -> None:
    assert read_namespaces(tmp_path / "none") == Unusable("cannot be read: No such file or directory")
    assert isinstance(read_namespaces(tmp_path), Unusable)
    path.unlink()
    os.mkfifo(path)
    assert isinstance(read_namespaces(path), Unusable)


def test_there_are_watches_left_for_secrets() -> None:
    assert MAX_NAMESPACES <= MAX_WATCHES - 100


class Told:
    """Takes lists, and is told of versions."""

    def __init__(self) -> None:
        self.used: list[tuple[str, ...]] = []
        self.loaded: list[tuple[str, ...]] = []
        self.rejected: list[str] = []

    def use(self, names: tuple[str, ...]) -> None:
        self.used.append(names)

    def namespaces_loaded(self, names: tuple[str, ...], /) -> None:
        self.loaded.append(names)

    def namespaces_rejected(self, reason: str, /) -> None:
        self.rejected.append(reason)


async def test_a_replaced_file_is_followed_and_a_bad_one_is_told_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchanger.kube.namespaces_file.POLL_S", POLL_S)
    told = Told()
    file = NamespacesFile(path, ("team-a", "team-b"), told.use, told)

    async def until_failed(times: int) -> None:
        before = file.statistics().failed
        while file.statistics().failed < before + times:  # noqa: ASYNC110 - looks are counted, and nothing tells of them
            await trio.sleep(POLL_S)

    async def until_loaded(times: int) -> None:
        while file.statistics().loaded < times:  # noqa: ASYNC110 - the same
            await trio.sleep(POLL_S)

    file_path = trio.Path(path)
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(file.run)
            await file_path.write_text("")
            await until_failed(3)
            await file_path.unlink()
            await until_failed(3)
            assert told.used == []
            assert len(told.rejected) == 2
            await file_path.write_text("team-b, team-a\n# the same in another order\n")
            replacement = file_path.with_name("new")
            await replacement.write_text("team-b\n")
            await trio.sleep(5 * POLL_S)
            await replacement.rename(path)
            await until_loaded(1)
            assert told.used == told.loaded == [("team-b",)]
            await file_path.write_text("")
            await until_failed(3)
            assert len(told.rejected) == 3
            assert file.names == ("team-b",)
            nursery.cancel_scope.cancel()


async def test_half_of_a_file_that_is_being_written_does_not_count(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look finds something else, until the writer is done."""
    monkeypatch.setattr("exchanger.kube.namespaces_file.POLL_S", 0.0)
    told = Told()
    versions = iter([("a",), ("a", "b"), ("a", "b", "c")])
    last: tuple[str, ...] = ()

    def grow(_path: Path) -> tuple[str, ...]:
        nonlocal last
        last = next(versions, last)
        return last

    monkeypatch.setattr("exchanger.kube.namespaces_file.read_namespaces", grow)
    file = NamespacesFile(path, ("a", "b", "c", "d"), told.use, told)
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(file.run)
            while not told.used:  # noqa: ASYNC110 - nothing else happens
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
    assert told.used == [("a", "b", "c")]
