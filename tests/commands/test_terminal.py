"""Standard input and output: bounded, and there or gone."""

import io
import os
import subprocess
import sys

import pytest

from exchanger.commands.terminal import no_room, prepare_output, read_input


@pytest.mark.parametrize(("data", "limit"), [(b"", 5), (b"abc", 5), (b"abcde", 5), (b"abcdef", 5), (b"a" * 200_000, 150_000), (b"abc", 0)])
def test_input_is_read_up_to_a_limit(data: bytes, limit: int) -> None:
    code = f"import sys; from exchanger.commands.terminal import read_input; sys.stdout.buffer.write(read_input({limit}))"
    done = subprocess.run((sys.executable, "-c", code), input=data, capture_output=True, check=True, timeout=60)
    assert done.stdout == data[:limit]


def test_input_may_come_in_pieces_or_from_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, encoding="utf-8") as stream:
        monkeypatch.setattr("sys.stdin", stream)
        for piece in (b"a", b"b", b"c"):
            os.write(writing, piece)
        os.close(writing)
        assert read_input(9) == b"abc"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"abc")))
    assert read_input(2) == b"ab"


def test_what_is_closed_is_empty_and_takes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(f"sys.{name}", None)
    assert read_input(9) == b""
    prepare_output()
    sys.stdout.write("é")
    sys.stdout.close()
    sys.stderr.close()


def test_a_full_disk_is_told_from_other_faults() -> None:
    assert no_room(OSError(28, "No space left on device")) == "No space left on device"
    assert no_room(OSError(28, "No space left on device", "a file")) == ""
    assert no_room(OSError(13, "Permission denied")) == ""
    assert no_room(ValueError("28")) == ""
