"""What is legal or nearly so in itself, over and over: nothing is left of it, its work is bounded, or it ends the connection."""

from collections.abc import Callable

import pytest

from tests.net.grpc.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    raw,
    request,
    reset,
    word,
)
from tests.net.grpc.peer import ECHO, Pair, framed, head, pair
from tests.net.grpc.test_connection import STREAM, table

# RFC 9218 section 7.1.
PRIORITY_UPDATE = 0x10

# Somewhat more than the burst of glitches that is forgiven.
COUNT = 12_000

# Enough to come in one read, and fewer than may be open at once.
PER_READ = 40


def open_request(stream: int) -> bytes:
    return request(stream, head(), end=False)


def flood(unit: Callable[[int], bytes], before: bytes = b"", count: int = COUNT) -> tuple[Pair, int]:
    """Send ``unit`` of stream 1, 3, 5 and so on, and answer what is a call; return how many were taken."""
    joined = pair(table())
    joined.to_server(before)
    joined.connection.data_to_send()
    sent = 0
    while sent < count and not joined.connection.closed:
        joined.to_server(b"".join(unit(2 * number + 1) for number in range(sent, sent + PER_READ)))
        for call in joined.calls:
            if call.messages is None:
                joined.connection.respond(call, b"")
        joined.calls.clear()
        joined.connection.data_to_send()
        joined.events()
        sent += PER_READ
    return joined, sent


def works(joined: Pair) -> bool:
    stream = 2 * COUNT + 1001
    joined.to_server(request(stream, head(), framed(b"x")))
    return [call.stream_id for call in joined.calls] == [stream]


@pytest.mark.parametrize(
    ("unit", "before"),
    [
        (lambda stream: open_request(stream) + reset(stream), b""),
        (lambda stream: open_request(stream) + raw(DATA, 0, stream, framed(bytes(3000))[:1500]) + reset(stream), b""),
        (lambda stream: request(stream, head(), framed(b"x")) + reset(stream), b""),
        (lambda stream: request(stream, head(STREAM), end=False) + reset(stream), b""),
        (lambda stream: request(stream, head(STREAM), framed(b"x") * 10, end=False) + reset(stream), b""),
        (lambda stream: request(stream, head(b"/unknown"), end=False) + reset(stream), b""),
        (lambda stream: request(stream, head(), b"\0\xff\xff\xff\xff", end=False) + reset(stream), b""),
        (lambda stream: request(stream, head(b"/unknown"), end=False), b""),
        (lambda stream: request(stream, head(), framed(b"1") * 2, end=False), b""),
        (lambda stream: request(stream, head(), b"\0\xff\xff\xff\xff", end=False), b""),
        (lambda stream: request(stream, head(ECHO, (b"grpc-timeout", b"x")), end=False), b""),
        (lambda _stream: raw(PING, 0, 0, bytes(8)), b""),
        (lambda _stream: raw(PING, ACK, 0, bytes(8)), b""),
        (lambda _stream: raw(SETTINGS, 0, 0, b"\0\4\0\0\xff\xff"), b""),
        (lambda stream: raw(SETTINGS, 0, 0, b"\0\1\0\0" + (b"\x10\0" if stream % 4 == 1 else b"\0\0")), b""),
        (lambda _stream: raw(WINDOW_UPDATE, 0, 0, word(1)), b""),
        (lambda _stream: reset(1), open_request(1) + reset(1)),
        (lambda _stream: raw(DATA, 0, 1, bytes(1000)), open_request(1) + reset(1)),
        (lambda _stream: raw(DATA, PADDED, 1, b"\x09" + bytes(9)), open_request(1) + reset(1)),
    ],
    ids=[
        *("headers", "part", "complete", "stream", "messages", "unknown", "too large"),
        *("refused: unknown", "refused: two messages", "refused: too large", "refused: timeout"),
        *("pings", "acknowledged pings", "settings", "table sizes", "windows", "resets", "data on a closed stream", "padding"),
    ],
)
def test_resets_and_frames_that_are_forgotten_leave_nothing_behind(unit: Callable[[int], bytes], before: bytes) -> None:
    """Resets, after our own refusals too, and frames that are read and forgotten: replies go out with each batch, the window comes back."""
    joined, sent = flood(unit, before)
    assert sent == COUNT
    assert joined.at_rest()
    assert joined.connection.http.local_window_size > 8 * 1024 * 1024
    assert works(joined)


@pytest.mark.parametrize(
    ("unit", "before", "least"),
    [
        (lambda stream: open_request(stream) + raw(HEADERS, END_STREAM | END_HEADERS, stream, block([(b":path", b"/")])), b"", 9_000),
        (lambda stream: open_request(stream) + raw(HEADERS, END_HEADERS, stream, block([(b"x", b"1")])), b"", 9_000),
        (lambda stream: request(stream, head(ECHO, (b"content-length", b"3")), framed(b"x")), b"", 9_000),
        (lambda stream: request(stream, head(ECHO, (b"connection", b"x"))), b"", 9_000),
        (
            lambda stream: (
                request(stream, head(STREAM), end=False) + raw(HEADERS, END_STREAM | END_HEADERS, stream, block([(b"te", b"x")]))
            ),
            b"",
            9_000,
        ),
        (lambda _stream: raw(DATA, 0, 1), open_request(1), 0),
        (lambda _stream: raw(DATA, 0, 1), request(1, head(STREAM), end=False), 0),
        (lambda stream: raw(PRIORITY, 0, stream, word(0) + b"\x10"), b"", 0),
        (lambda stream: raw(PRIORITY, 0, stream, word(stream) + b"\x10"), b"", 0),
        (lambda stream: raw(PRIORITY, 0, stream + 2, word(0x8000_0000 | stream) + b"\xff"), b"", 0),
        (lambda stream: raw(PRIORITY_UPDATE, 0, 0, word(stream) + b"u=1"), b"", 0),
        (lambda _stream: raw(PRIORITY_UPDATE, 0, 0, word(1) + b"u=1"), open_request(1), 0),
        (lambda _stream: raw(0xFA, 0, 0, b"unheard of"), b"", 0),
        (lambda _stream: open_request(1), open_request(1) + reset(1), 0),
        (lambda _stream: raw(CONTINUATION, 0, 1), raw(HEADERS, 0, 1, block(head())), 0),
    ],
    ids=[
        *("trailers", "no end", "content length", "connection header", "trailers of a stream"),
        *("empty data", "empty data of a stream", "priority", "priority of itself", "priority chain", "priority update"),
        *("one's priority", "unknown frames", "headers on a closed stream", "continuations"),
    ],
)
def test_provoked_resets_and_frames_without_a_purpose_are_rationed(unit: Callable[[int], bytes], before: bytes, least: int) -> None:
    """CVE-2025-8671: a peer that is not allowed to reset streams without limit could make the server do it."""
    # The codec forgives more as real time passes, so a slow machine sends more before the end.
    joined, sent = flood(unit, before, 20 * COUNT)
    assert least < sent < 20 * COUNT
    assert joined.connection.closed
    assert joined.at_rest()


@pytest.mark.parametrize(
    "unit",
    [
        lambda stream: open_request(stream) + raw(WINDOW_UPDATE, 0, stream, word(0)),
        lambda stream: open_request(stream) + raw(WINDOW_UPDATE, 0, stream, word(2**31 - 1)),
        lambda stream: raw(WINDOW_UPDATE, 0, 0, word(0)),
        lambda stream: raw(WINDOW_UPDATE, 0, 0, word(2**31 - 1)),
        lambda stream: request(stream, head(), framed(b"x")) + raw(DATA, 0, stream, b"x"),
        lambda stream: request(stream, head(), framed(b"x")) + raw(HEADERS, END_STREAM | END_HEADERS, stream, block([(b"x", b"1")])),
        lambda stream: raw(SETTINGS, ACK, 0),
        lambda stream: raw(SETTINGS, 0, 0, b"\0\4\xff\xff\xff\xff"),
        lambda stream: raw(PUSH_PROMISE, END_HEADERS, 1, word(2) + block(head())),
        lambda stream: raw(DATA, 0, 0, b"x"),
        lambda stream: raw(PING, 0, 0, bytes(7)),
        lambda stream: raw(RST_STREAM, 0, stream + 2, word(8)),
    ],
)
def test_violations_that_end_the_connection_at_once(unit: Callable[[int], bytes]) -> None:
    joined, sent = flood(unit)
    assert sent == PER_READ
    assert joined.connection.closed
    assert joined.at_rest()


def test_a_peer_that_goes_away_still_gets_its_answers() -> None:
    joined = pair(table())
    stream = joined.peer.call(b"last")
    joined.to_server()
    joined.to_server(raw(GOAWAY, 0, 0, word(0) + word(0)))
    assert not joined.connection.closed
    joined.connection.respond(joined.calls[0], b"answer")
    joined.to_peer()
    assert joined.peer.answers[stream].messages == [b"answer"]
    assert joined.connection.closed
