import pytest

from exchanger.grpc.framing import CompressedMessage, Deframer, frame, goaway
from exchanger.grpc.status import GrpcError, StatusCode


def test_frame_is_prefix_and_message() -> None:
    assert frame(b"abc") == b"\0\0\0\0\3abc"
    assert frame(b"") == b"\0\0\0\0\0"


def test_messages_come_out_as_they_complete() -> None:
    deframer = Deframer(100)
    data = frame(b"one") + frame(b"") + frame(b"three")
    assert deframer.feed(data[:4]) == []
    assert deframer.feed(data[4:15]) == [b"one", b""]
    assert deframer.held == 2
    assert deframer.feed(data[15:]) == [b"three"]
    assert deframer.held == 0


@pytest.mark.parametrize(
    ("prefix", "status"),
    [
        (b"\2\0\0\0\1", StatusCode.INTERNAL),
        (b"\0\0\0\0\x65", StatusCode.RESOURCE_EXHAUSTED),
        (b"\0\xff\xff\xff\xff", StatusCode.RESOURCE_EXHAUSTED),
    ],
)
def test_a_bad_prefix_is_refused_as_soon_as_it_is_there(prefix: bytes, status: StatusCode) -> None:
    deframer = Deframer(100)
    assert deframer.feed(frame(b"good") + prefix[:4]) == [b"good"]
    with pytest.raises(GrpcError) as caught:
        deframer.feed(prefix[4:])
    assert caught.value.status is status
    assert deframer.held == 0


def test_a_compressed_message_is_told_from_a_bad_prefix() -> None:
    deframer = Deframer(100)
    with pytest.raises(CompressedMessage):
        deframer.feed(b"\1\0\0\0\1x")
    assert deframer.held == 0


@pytest.mark.parametrize("flag", range(2, 256))
def test_flags_without_a_meaning(flag: int) -> None:
    with pytest.raises(GrpcError) as caught:
        Deframer(100).feed(bytes((flag, 0, 0, 0, 0)))
    assert caught.value.status is StatusCode.INTERNAL


def test_the_limit_itself_is_allowed() -> None:
    assert Deframer(3).feed(frame(b"abc")) == [b"abc"]


def test_goaway() -> None:
    assert goaway(0x01020304, 11) == b"\0\0\x08\7\0\0\0\0\0\1\2\3\4\0\0\0\x0b"
