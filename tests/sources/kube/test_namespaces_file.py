from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from exchanger.sources.kube.api.connection import MAX_WATCHES
from exchanger.sources.kube.namespaces_file import MAX_BYTES, MAX_NAMESPACES, NamespacesFile, read_namespaces
from exchanger.sources.kube.settings import parse_namespaces
from exchanger.util.regular_file import UnusableFile
from tests.waiting import at_once


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
def test_an_invalid_list_is_unusable_and_not_quoted(path: Path, content: bytes, reason: str) -> None:
    path.write_bytes(content)
    found = read_namespaces(path)
    assert isinstance(found, UnusableFile)
    assert reason in found.reason
    assert "CANARY" not in found.reason


def test_a_file_that_cannot_be_read_is_unusable(tmp_path: Path) -> None:
    assert read_namespaces(tmp_path / "none") == UnusableFile("cannot be read: No such file or directory")


def test_there_are_watches_left_for_secrets() -> None:
    assert MAX_NAMESPACES <= MAX_WATCHES - 100


async def test_lists_that_stand_are_used_and_bad_ones_reported_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    gone, names = UnusableFile("gone"), ("a", "b", "c")
    looks: Iterator[tuple[str, ...] | UnusableFile] = iter(
        (("b", "a"), ("b", "a"), gone, gone, gone, ("a",), names, names, names, names[::-1], names, gone, gone, names, names)
    )
    over = trio.Event()
    used: list[tuple[str, ...]] = []

    def read(_path: Path) -> tuple[str, ...] | UnusableFile:
        found = next(looks, None)
        if found is None:
            over.set()
            return gone
        return found

    monkeypatch.setattr("exchanger.sources.kube.namespaces_file.read_namespaces", read)
    file = NamespacesFile(path, ("a", "b"), used.append, at_once)
    with capture_logs() as lines:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(file.run)
            await over.wait()
            nursery.cancel_scope.cancel()
    said = [(line["event"], line.get("reason", line.get("namespaces"))) for line in lines]
    assert said == [("policy.namespaces_rejected", "gone"), ("policy.namespaces_loaded", list(names))] * 2
    assert used == [names]
    assert file.names == names


@pytest.mark.parametrize(
    ("text", "names"),
    [("", ()), (" ", ()), ("a", ("a",)), ("team-a,team-b", ("team-a", "team-b")), (" b , a1 ", ("b", "a1")), ("a" * 63, ("a" * 63,))],
)
def test_names_in_a_variable_are_separated_by_commas(text: str, names: tuple[str, ...]) -> None:
    assert parse_namespaces(text) == names


@pytest.mark.parametrize("text", ["a,", ",", "a,,b", "A", "a b", "../a", "a/b", "a.b", "-a", "a-", "a" * 64, "ä", "a\n,b\nc", "a,b,a"])
def test_an_invalid_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="twice" if text == "a,b,a" else "is not one"):
        parse_namespaces(text)
