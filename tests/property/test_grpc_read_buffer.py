"""Pieces are whole frames, each of bounded cost, and together they are what was read."""

from itertools import accumulate
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from exchanger.grpc.read_buffer import ReadBuffer
from tests.grpc.frames import CONTINUATION, DATA, HEADERS, PING, raw

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
BLOCKS: Final = {HEADERS, CONTINUATION}
GREATEST: Final = 9 + 16 * 1024

frames = st.lists(
    st.builds(
        lambda kind, size: raw(kind, 0, 1, bytes(size)),
        st.sampled_from([DATA, HEADERS, PING, CONTINUATION]),
        st.one_of(st.integers(0, 40), st.integers(0, 2000), st.sampled_from([16 * 1024])),
    ),
    max_size=60,
)
reads = st.lists(st.one_of(st.integers(1, 30), st.integers(1, 64 * 1024)), max_size=40)


def block_bytes(found: list[bytes]) -> int:
    return sum(min(512, len(frame) - 9) for frame in found if frame[3] in BLOCKS)


@given(frames, reads, st.integers(1, 40))
def test_pieces_are_what_was_read_and_end_between_frames(sent: list[bytes], sizes: list[int], most: int) -> None:
    data = PREFACE + b"".join(sent)
    starts = list(accumulate(map(len, sent), initial=len(PREFACE)))
    placed, boundaries = list(zip(sent, starts, strict=False)), {0, *starts}
    buffer, taken, read = ReadBuffer(), 0, 0
    for size in [*sizes, len(data)]:
        buffer.feed(data[read : read + size])
        read = min(len(data), read + size)
        while buffer.pending:
            piece = buffer.take(most)
            assert piece
            assert data[taken : taken + len(piece)] == piece
            begun = [frame for frame, at in placed if taken <= at < taken + len(piece)]
            taken += len(piece)
            assert taken in boundaries or taken == read
            assert buffer.cost == max(len(begun), block_bytes(begun) // 12)
            assert len(begun) <= most
            assert block_bytes(begun[:-1]) < 12 * most
            assert len(piece) <= GREATEST
        assert taken in boundaries or taken == read
        assert read - taken < 4
    assert taken == len(data)


def test_the_end_of_a_frame_is_not_kept_back() -> None:
    buffer, last = ReadBuffer(), b""
    for byte in PREFACE + raw(DATA, 0, 1, b"abc"):
        buffer.feed(bytes((byte,)))
        while buffer.pending:
            last = buffer.take(1)
    assert last == b"c"
    assert not buffer.pending
