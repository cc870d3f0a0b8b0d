"""Strategies for the gRPC laws: what a well-behaved client sends on one connection, and what becomes of it on a bad line."""

import itertools

import attrs
from hypothesis import strategies as st

from exchanger.net.grpc.routes import Immediate, ImmediateStream, Route, Streaming, StreamMethod
from tests.net.grpc.peer import ECHO, Pair, Peer, echo, framed, head, pair

STREAM = b"/test.Echo/Stream"
LISTEN = b"/test.Echo/Listen"
CHAT = b"/test.Echo/Chat"


class Bytes:
    """A message type whose values are their own wire format."""

    @staticmethod
    def FromString(data: bytes) -> "Bytes":  # noqa: N802 - protobuf's name
        raise AssertionError(data)

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        raise AssertionError


TABLE: dict[bytes, Route] = {
    ECHO: Immediate(echo),
    STREAM: StreamMethod(lambda _a, _c: None, Bytes, Streaming.STREAM_STREAM),
    LISTEN: StreamMethod(lambda _a, _c: None, Bytes, Streaming.UNARY_STREAM),
    CHAT: ImmediateStream(lambda message, _c: message),
}


@attrs.frozen
class Request:
    """One request: its body goes out in pieces, between those of others, and ``end`` says what comes after the last one."""

    path: bytes
    pieces: tuple[bytes, ...]
    timeout: bytes | None
    end: str
    # What the client says of the connection, after each piece.
    aside: str = ""


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

ENDS = ("end", "end", "trailers", "reset", "nothing")

requests = st.builds(
    Request,
    path=st.sampled_from([ECHO, ECHO, STREAM, LISTEN, CHAT, b"/test.Echo/Unknown"]),
    pieces=st.builds(_cut, bodies, st.lists(st.integers(0, 1000), max_size=3)),
    timeout=st.sampled_from([None, b"200m", b"bad"]),
    end=st.sampled_from(ENDS),
    aside=st.sampled_from(["", "", "ping", "settings"]),
)

# Requests whose answers can be understood by a peer that did not send them itself.
answered_requests = requests.filter(lambda request: request.end != "reset" and request.aside != "settings")


def _conclude(peer: Peer, stream: int, end: str) -> None:
    if end == "reset":
        peer.http.reset_stream(stream)
    elif end == "trailers":
        peer.http.send_trailers(stream, [(b"x-trailer", b"1")])
    elif end == "end":
        peer.http.end_stream(stream)


def _digress(peer: Peer, aside: str) -> None:
    if aside == "ping":
        peer.http.ping(b"12345678")
    elif aside == "settings":
        peer.http.update_settings({4: 65_535})


def conversation(wanted: list[Request]) -> bytes:
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
            if turn < len(request.pieces):
                whole = turn == len(request.pieces) - 1
                peer.http.send_data(stream, request.pieces[turn], end_stream=whole and request.end == "end")
                sent += peer.send()
                if whole and request.end != "end":
                    _conclude(peer, stream, request.end)
                    sent += peer.send()
                _digress(peer, request.aside)
                sent += peer.send()
    return sent


conversations = st.lists(requests, min_size=1, max_size=6)

answered_conversations = st.lists(answered_requests, min_size=1, max_size=6)

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
            case "cut":
                return data[:at]
            case _:
                return self._to_frames(split(data))

    def _to_frames(self, found: list[bytes]) -> bytes:
        one, other = self.place % len(found), self.data[0] % len(found)
        match self.kind:
            case "swap frames":
                found[one], found[other] = found[other], found[one]
            case "repeat a frame":
                found.insert(other, found[one])
            case "lose a frame":
                del found[one]
        return b"".join(found)


def split(data: bytes) -> list[bytes]:
    """Return the frames of ``data``, the last of which may be a part of one."""
    found, start = [], 0
    while start < len(data):
        end = start + 9 + int.from_bytes(data[start : start + 3], "big")
        found.append(data[start:end])
        start = end
    return found or [b""]


damages = st.lists(
    st.builds(
        Damage,
        st.sampled_from(["flip", "flip", "insert", "delete", "repeat", "cut", "swap frames", "repeat a frame", "lose a frame"]),
        st.integers(0, 100_000),
        st.binary(min_size=1, max_size=20),
    ),
    min_size=1,
    max_size=4,
)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


# The header block of a valid request, for frames that are made by hand.
_REQUEST = conversation([Request(ECHO, (), None, "nothing")])[9:]

# Frames of every type, on few streams, with payloads of which some are right for their type.
frames = st.builds(
    _frame,
    st.integers(0, 11),
    st.sampled_from([0, 1, 4, 5, 8, 0x20, 0xFF]),
    st.integers(0, 9),
    st.one_of(
        st.just(_REQUEST), st.binary(max_size=24), st.sampled_from([bytes(4), bytes(8), b"\x7f\xff\xff\xff", b"\0\4\0\0\0\0", framed(b"x")])
    ),
)


def fresh() -> Pair:
    """Return a pair whose peer has been heard of; what the peer itself says is thrown away."""
    return pair(TABLE)
