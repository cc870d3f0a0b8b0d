"""Law: messages come out as they were framed, however their bytes are cut, and no more than one incomplete message is ever held."""

from hypothesis import given
from hypothesis import strategies as st

from exchanger.grpc.framing import Deframer, frame
from tests.property.strategies_grpc import chunks, cuts


@given(st.lists(st.binary(max_size=100), max_size=10), cuts)
def test_any_cut(messages: list[bytes], places: list[int]) -> None:
    deframer = Deframer(100)
    found = []
    for chunk in chunks(b"".join(map(frame, messages)), places):
        found += deframer.feed(chunk)
        assert deframer.held < 105
    assert found == messages
    assert deframer.held == 0
