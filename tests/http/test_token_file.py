import functools
from pathlib import Path

import pytest
import trio

from exchanger.http.token_file import MAX_BYTES, TokenFile, TokenFileError, check_token_file, read_token
from exchanger.util.regular_file import UnusableFile
from exchanger.values.secret import Secret
from tests.lines import Lines
from tests.waiting import until

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
def test_a_file_without_a_token_is_unusable_and_its_content_is_not_told(path: Path, content: bytes) -> None:
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


async def test_a_replaced_file_is_followed_and_a_broken_one_is_reported_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Looks come sooner, and may take as long as ever: a clock that runs faster would leave a thread on a busy machine too little.
    lines = Lines()
    file = follow(path, log=lines.logger)
    looks = 0

    def look(path: Path) -> Secret | UnusableFile:
        nonlocal looks
        looks += 1
        return read_token(path)

    monkeypatch.setattr("exchanger.http.token_file.read_token", look)
    monkeypatch.setattr(file._file, "_interval", 0.02)
    await file.start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.run)
        replaced = file.replaced
        for content in ("short", "longer and worse"):
            await trio.Path(path).write_text(content)
            due = looks + 3
            await until(lambda due=due: looks >= due)  # type: ignore[misc]  # bound in the loop
            assert file.token == Secret(TOKEN)
            assert not replaced.is_set()
        assert len(lines.entries) == 2
        await trio.Path(path).write_text("another-token-of-length")
        with trio.fail_after(60):
            await replaced.wait()
        assert file.token == Secret("another-token-of-length")
        assert not file.replaced.is_set()
        await trio.Path(path).write_text("short")
        await until(lambda: len(lines.entries) == 3)
        nursery.cancel_scope.cancel()
