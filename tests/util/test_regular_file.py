import gc
import os
from pathlib import Path

import pytest

from exchanger.util.regular_file import NotRegularError, open_regular


def descriptors() -> int:
    gc.collect()  # or files that other tests have forgotten are closed between two looks
    return len(list(Path("/dev/fd").iterdir()))


def test_a_file_is_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with open_regular(tmp_path / "file") as file:
        assert file.read() == b"content"


def test_a_pipe_is_not_waited_for_and_nothing_stays_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = descriptors()
    for _ in range(3):
        with pytest.raises(NotRegularError):
            open_regular(tmp_path / "pipe")
    assert descriptors() == before


def test_of_a_folder_nothing_stays_open(tmp_path: Path) -> None:
    before = descriptors()
    for _ in range(3):
        with pytest.raises(IsADirectoryError):
            open_regular(tmp_path)
    assert descriptors() == before
