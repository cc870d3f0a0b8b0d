"""The file of the audit log: moved away, missing, torn, full, or a pipe."""

import os
from pathlib import Path

from exchanger.authz.audit.file import AuditFile
from exchanger.util.output import MANY_BYTES


def write(file: AuditFile, data: bytes) -> int:
    return file.write(data, patience=0.1, at_once=MANY_BYTES)


def test_a_file_that_was_moved_away_is_opened_anew(tmp_path: Path) -> None:
    path, moved = tmp_path / "audit.log", tmp_path / "audit.log.1"
    file = AuditFile(path)
    assert write(file, b"one\n") == 0
    path.rename(moved)
    assert write(file, b"two\n") == 0
    path.unlink()
    assert write(file, b"") == 0
    assert (moved.read_bytes(), path.read_bytes()) == (b"one\n", b"")
    assert path.stat().st_mode & 0o777 == 0o640 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_missing_folder_is_a_problem_until_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "later" / "audit.log"
    file = AuditFile(path)
    assert (write(file, b"one\ntwo\n"), file.problem) == (2, "cannot be opened: No such file or directory")
    path.parent.mkdir()
    assert (write(file, b""), file.problem) == (0, "")
    assert write(file, b"three\n") == 0
    assert path.read_bytes() == b"three\n"


def test_a_full_disk_is_a_problem_until_a_line_was_written() -> None:
    file = AuditFile(Path("/dev/full"))
    assert (write(file, b"one\n"), file.problem) == (1, "cannot be written: No space left on device")


def test_a_line_that_another_process_tore_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_bytes(b'{"whole":1}\n{"to')
    assert write(AuditFile(path), b'{"next":1}\n') == 0
    assert path.read_bytes() == b'{"whole":1}\n{"to\n{"next":1}\n'


def test_an_audit_pipe_fails_without_a_reader_and_works_with_one(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    file = AuditFile(path)
    assert write(file, b"one\n") == 1
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert (write(file, b"two\n"), os.read(reader, 100)) == (0, b"two\n")
    os.close(reader)
    assert write(file, b"three\n") == 1
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert (write(file, b"four\n"), os.read(reader, 100)) == (0, b"four\n")
    os.close(reader)
    file.close()
