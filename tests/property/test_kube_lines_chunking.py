"""Law: the lines of a watch do not depend on the pieces in which they come, and none is longer than allowed."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from exchanger.kube.api.decoding import Lines

LIMIT = 12
text = st.lists(st.sampled_from([b"\n", b"a", b"bb", b" ", b"\r", b"{}", b"ccccccc"]), max_size=40).map(b"".join)


def fed(pieces: list[bytes]) -> tuple[list[bytes], bool, bool]:
    """Return the lines, whether one was too long, and whether one is pending."""
    lines = Lines(LIMIT)
    found: list[bytes] = []
    for piece in pieces:
        complete = lines.feed(piece)
        if complete is None:
            return found, True, False
        found += complete
    return found, False, lines.pending


@given(text, st.lists(st.integers(0, 100), max_size=20))
def test_pieces(whole: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    pieces = [whole[start:end] for start, end in pairwise(places)]
    *expected, rest = whole.split(b"\n")
    lines, too_long, pending = fed(pieces)
    assert too_long == any(len(line) > LIMIT for line in (*expected, rest))
    assert all(len(line) <= LIMIT for line in lines)
    if not too_long:
        assert lines == [line for line in expected if line.strip()]
        assert pending == bool(rest.strip())
