"""Law: whatever a server sends, in whatever pieces, ends in a reply or in waiting for more: never in an exception."""

from hypothesis import given
from hypothesis import strategies as st

from exchanger.grpc.client import UnaryCall
from tests.grpc.frames import DATA, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, raw
from tests.grpc.peer import framed

FIELDS = st.lists(
    st.tuples(
        st.sampled_from([b":status", b"grpc-status", b"grpc-message", b"content-type", b"x", b"X", b""]),
        st.sampled_from([b"200", b"0", b"12", b"-1", b"\xff", b"application/grpc", b"%zz", b"a\r\nb"]),
    ),
    max_size=5,
)
PAYLOADS = st.one_of(st.binary(max_size=30), FIELDS.map(block), st.binary(max_size=9).map(framed))
FRAMES = st.builds(
    raw,
    st.sampled_from([DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE]),
    st.sampled_from([0, 1, 4, 5]),
    st.sampled_from([0, 1, 2, 3]),
    PAYLOADS,
)
ANSWERS = st.one_of(
    st.binary(max_size=200), st.lists(FRAMES, max_size=8).map(lambda frames: raw(SETTINGS, 0, 0) + b"".join(frames)), FRAMES
)


@given(ANSWERS, st.lists(st.integers(1, 40), max_size=20))
def test_any_bytes(answer: bytes, sizes: list[int]) -> None:
    call = UnaryCall("/a.B/C", b"m", "test:1", "http", 1.0)
    call.data_to_send()
    for size in sizes:
        call.receive(answer[:size] or b"\0")
        call.data_to_send()
        answer = answer[size:]
    if answer:
        call.receive(answer)
    call.data_to_send()
    call.receive(b"")
    call.data_to_send()
    assert call.reply is not None
