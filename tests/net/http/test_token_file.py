import functools
from itertools import groupby
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from exchanger.model.secret import Secret
from exchanger.net.http.token_file import MAX_BYTES, TokenFile, TokenFileError, check_token_file, read_token
from exchanger.util.follow_file import POLL_S, SETTLE_S
from exchanger.util.regular_file import UnusableFile
from tests.lines import Lines
from tests.waiting import at_once

TOKEN = "a-token-of-some-length"


follow = functools.partial(TokenFile, variable="CONSOLE_TOKEN_FILE", event="console.token_file_unusable")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


def test_the_token_is_the_only_word_in_the_file(path: Path) -> None:
    assert read_token(path) == Secret(TOKEN)
    assert check_token_file(path) is None


@pytest.mark.parametrize(
    "content", [b"", b"short", b"   \n", b"two words of length", b"caf\xc3\xa9-token-of-length", b"x" * (MAX_BYTES + 1), b"\0" * 20]
)
def test_a_file_without_a_valid_token_is_unusable_and_not_quoted(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    found = read_token(path)

    assert isinstance(found, UnusableFile)
    assert not content.strip() or content.decode("latin-1") not in found.reason
    assert check_token_file(path) == found.reason


def test_a_file_that_cannot_be_read_is_unusable(tmp_path: Path) -> None:
    assert check_token_file(tmp_path / "none") == "cannot be read: No such file or directory"


async def test_a_start_without_a_token_fails_in_words(tmp_path: Path) -> None:
    with pytest.raises(TokenFileError, match="CONSOLE_TOKEN_FILE cannot be read"):
        await follow(tmp_path / "none").start()


def test_there_is_no_token_before_the_start(path: Path) -> None:
    with pytest.raises(TokenFileError):
        _ = follow(path).token


async def test_a_settled_token_replaces_the_last_and_broken_files_are_reported_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    first, half, other, gone, worse = (
        Secret(TOKEN),
        Secret("another-"),
        Secret("another-token"),
        UnusableFile("gone"),
        UnusableFile("worse"),
    )
    written = (first, first, first, gone, gone, gone, worse, worse, half, other, other, other, gone, first, gone, gone, other, other)
    reads = iter((first, *written))
    monkeypatch.setattr("exchanger.net.http.token_file.read_token", lambda _path: next(reads, other))
    lines = Lines()
    file = follow(path, log=lines.logger, run_sync=at_once)
    await file.start()
    replaced = file.replaced
    seen: list[tuple[Secret, bool]] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.run)
        while trio.current_time() < len(written) * POLL_S:
            seen.append((file.token, bool(file.unreadable)))
            assert replaced.is_set() is (file.token == other)
            await trio.sleep(SETTLE_S / 10)
        nursery.cancel_scope.cancel()
    assert [state for state, _ in groupby(seen)] == [(first, False), (first, True), (other, False), (other, True), (other, False)]
    assert [reason for _, reason in lines.taken()] == ["gone", "worse", "gone"]
