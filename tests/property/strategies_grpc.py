"""Strategies for the gRPC laws: what a well-behaved client sends on one connection, and what becomes of it on a bad line."""

import itertools

import attrs
from hypothesis import strategies as st

from exchanger.grpc.routes import Immediate, Route, Streaming, StreamMethod
from tests.grpc.peer import ECHO, Pair, echo, framed, head, pair

STREAM = b"/test.Echo/Stream"


class Bytes:
    """A message type whose values are their own wire format."""

    @staticmethod
    def FromString(data: bytes) -> "Bytes":  # noqa: N802 - protobuf's name
        raise AssertionError(data)

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        raise AssertionError


TABLE: dict[bytes, Route] = {ECHO: Immediate(echo), STREAM: StreamMethod(lambda _a, _c: None, Bytes, Streaming.STREAM_STREAM)}


@attrs.frozen
class Request:
    """One request: its body goes out in pieces, between those of others."""

    path: bytes
    pieces: tuple[bytes, ...]
    timeout: bytes | None
    reset: bool


def _cut(data: bytes, places: list[int]) -> tuple[bytes, ...]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return tuple(data[start:end] for start, end in itertools.pairwise(edges))


messages = st.binary(max_size=300)

bodies = st.one_of(
    messages.map(framed),
    st.lists(messages, max_size=4).map(lambda parts: b"".join(map(framed, parts))),
    st.binary(max_size=50),
    messages.map(lambda message: framed(message, flag=1)),
)

requests = st.builds(
    Request,
    path=st.sampled_from([ECHO, ECHO, STREAM, b"/test.Echo/Unknown"]),
    pieces=st.builds(_cut, bodies, st.lists(st.integers(0, 1000), max_size=3)),
    timeout=st.sampled_from([None, b"200m", b"bad"]),
    reset=st.booleans(),
)


def conversation(wanted: list[Request], *, resets: bool = True) -> bytes:
    """Return all bytes that a client sends for ``wanted``, interleaved piece by piece."""
    peer = pair(TABLE).peer
    streams = []
    sent = b""
    for request in wanted:
        extra = () if request.timeout is None else ((b"grpc-timeout", request.timeout),)
        streams.append(peer.http.send_request(head(request.path, *extra)))
        sent += peer.send()
    for turn in range(max((len(request.pieces) for request in wanted), default=0)):
        for stream, request in zip(streams, wanted, strict=True):
            last = turn == len(request.pieces) - 1
            if turn < len(request.pieces):
                peer.http.send_data(stream, request.pieces[turn], end_stream=last and not (resets and request.reset))
                sent += peer.send()
            if last and resets and request.reset:
                peer.http.reset_stream(stream)
                sent += peer.send()
    return sent


conversations = st.lists(requests, min_size=1, max_size=6)

cuts = st.lists(st.integers(0, 100_000), max_size=8)


def chunks(data: bytes, places: list[int]) -> tuple[bytes, ...]:
    """Return ``data`` cut at ``places``."""
    return tuple(chunk for chunk in _cut(data, places) if chunk)


@attrs.frozen
class Damage:
    """One thing that happens to a byte stream, at ``place`` modulo its length."""

    kind: str
    place: int
    data: bytes

    def apply(self, data: bytes) -> bytes:
        at = self.place % (len(data) + 1)
        match self.kind:
            case "flip":
                return data[:at] + bytes(byte ^ (self.data[0] | 1) for byte in data[at : at + 1]) + data[at + 1 :]
            case "insert":
                return data[:at] + self.data + data[at:]
            case "delete":
                return data[:at] + data[at + len(self.data) :]
            case "repeat":
                return data[:at] + data[max(0, at - 64) : at] + data[at:]
            case _:
                return data[:at]


damages = st.lists(
    st.builds(
        Damage,
        st.sampled_from(["flip", "flip", "insert", "delete", "repeat", "cut"]),
        st.integers(0, 100_000),
        st.binary(min_size=1, max_size=20),
    ),
    min_size=1,
    max_size=4,
)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


_REQUEST = conversation([Request(ECHO, (), None, reset=False)])[9:]
"""The header block of a valid request, for frames that are made by hand."""

frames = st.builds(
    _frame,
    st.integers(0, 11),
    st.sampled_from([0, 1, 4, 5, 8, 0x20, 0xFF]),
    st.integers(0, 9),
    st.one_of(
        st.just(_REQUEST), st.binary(max_size=24), st.sampled_from([bytes(4), bytes(8), b"\x7f\xff\xff\xff", b"\0\4\0\0\0\0", framed(b"x")])
    ),
)
"""Frames of every type, on few streams, with payloads of which some are right for their type."""


def fresh() -> Pair:
    """Return a pair whose peer has been heard of; what the peer itself says is thrown away."""
    return pair(TABLE)
