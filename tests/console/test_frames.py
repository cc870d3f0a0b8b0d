from hypothesis import given
from hypothesis import strategies as st

from exchanger.console.frames import FrameLengths
from tests.console.running import BINARY, CONTINUATION, PING, PONG, TEXT, frame

FRAMES = st.tuples(
    st.sampled_from([TEXT, BINARY, CONTINUATION, PING, PONG]),
    st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536, 70_000]),
    st.booleans(),
)


@given(st.lists(FRAMES, max_size=6), st.lists(st.integers(1, 70_010), max_size=12))
def test_the_longest_frame_is_known_however_the_bytes_come(frames: list[tuple[int, int, bool]], pieces: list[int]) -> None:
    data = b"".join(frame(opcode, bytes(length), masked=masked) for opcode, length, masked in frames)
    lengths, told = FrameLengths(), [0]
    for piece in [*pieces, len(data)]:
        told.append(lengths.longest(data[:piece]))
        data = data[piece:]

    assert max(told) == max([length for opcode, length, _ in frames if opcode < PING - 1], default=0)
    assert lengths.statistics() == 0


def test_a_length_is_known_before_anything_of_the_content_is_there() -> None:
    lengths = FrameLengths()

    assert [lengths.longest(bytes([byte])) for byte in (0x82, 0xFF, 0, 0, 1, 0, 0, 0, 0, 0)] == [0] * 9 + [2**40]
    assert lengths.statistics() == 2**40 + 4
