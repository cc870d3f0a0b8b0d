import os
import threading
from collections.abc import Generator

import pytest

from exchanger.util.output import MANY_BYTES, SURE_BYTES, Descriptor


@pytest.fixture
def pipe() -> Generator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def _fill(writer: int) -> None:
    os.set_blocking(writer, False)
    try:
        while os.write(writer, b"x" * 4096):
            pass
    except BlockingIOError:
        os.set_blocking(writer, True)


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("line", [b"x" * 10, b"x" * 200_000], ids=["short lines", "long lines"])
def test_a_large_batch_reaches_a_reader_who_reads(pipe: tuple[int, int], line: bytes, blocking: bool) -> None:
    reader, writer = pipe
    os.set_blocking(writer, blocking)
    data = (line + b"\n") * (500_000 // len(line))
    received: list[bytes] = []

    def read() -> None:
        while sum(map(len, received)) < len(data):
            received.append(os.read(reader, 65536))

    thread = threading.Thread(target=read)
    thread.start()
    lost = Descriptor(writer).write(data, patience=10, at_once=MANY_BYTES)
    thread.join(10)

    assert (lost, b"".join(received)) == (0, data)


def test_nobody_reads_and_the_lines_are_counted_as_lost(pipe: tuple[int, int]) -> None:
    _, writer = pipe
    _fill(writer)

    output = Descriptor(writer)
    assert output.write(b"one\ntwo\n", patience=0, at_once=SURE_BYTES) == 2


def test_after_a_torn_line_the_next_one_starts_anew(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    _fill(writer)
    os.read(reader, 4096)
    output = Descriptor(writer)

    assert output.write(b"a" * 5000 + b"\nb\n", patience=0, at_once=SURE_BYTES) == 2
    while os.read(reader, 65536)[-1:] != b"a":
        pass
    assert output.write(b"c\n", patience=0, at_once=SURE_BYTES) == 0
    assert output.write(b"d\n", patience=0, at_once=SURE_BYTES) == 0
    assert os.read(reader, 100) == b"\nc\nd\n"


def test_a_reader_that_left_costs_the_lines_and_nothing_else() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert Descriptor(writer).write(b"one\ntwo\n", patience=1, at_once=SURE_BYTES) == 2
    finally:
        os.close(writer)
