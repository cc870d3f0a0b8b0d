"""One HTTP/2 connection to a token endpoint: answers, what breaks off, what may be sent again, and every bound."""

from collections.abc import Mapping

import attrs
import ngh2
import pytest

from exchanger.net.answer import MAX_RESPONSE_BYTES, EndpointResponse, TooLarge
from exchanger.net.http2.client import NEVER, Http2Client
from exchanger.net.http2.head import header_fields, request_head
from exchanger.net.http2.limits import MAX_STREAMS
from exchanger.net.http2.response import Lost
from tests.net.grpc.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    raw,
    word,
)
from tests.net.http2_peer import Pair, Server, pair, usual_head

SECRET = b"Basic Y2xpZW50OnNlY3JldA=="


def started(count: int = 1, window: int | None = None, body: bytes = b"grant_type=x") -> tuple[Pair, list[int]]:
    joined = pair() if window is None else pair({0x4: window}, reads=False)
    streams = [joined.request(body) for _ in range(count)]
    joined.exchange()
    return joined, streams


def response(stream: int, *fields: tuple[bytes, bytes], status: bytes = b"200", end: bool = False) -> bytes:
    return raw(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block([(b":status", status), *fields]))


# Requests and answers.


def test_a_request_is_a_post_with_its_length_and_further_fields() -> None:
    joined = pair()
    stream = joined.request(extra=((b"traceparent", b"00-1-2-01"),))
    joined.exchange()
    request = joined.server.requests[stream]
    assert request.headers == {
        b":method": b"POST",
        b":scheme": b"https",
        b":authority": b"issuer.example.com",
        b":path": b"/token",
        b"accept": b"application/json",
        b"authorization": SECRET,
        b"user-agent": b"exchanger",
        b"content-length": b"12",
        b"traceparent": b"00-1-2-01",
    }
    assert (request.body, request.ended) == (b"grant_type=x", True)


# What the peer says, and what comes of it.


@attrs.frozen
class Row:
    """The peer has ``settings`` and says ``said`` of ``count`` requests; those in ``ends`` end, and it gets ``resets``."""

    said: bytes | tuple[bytes, ...]
    ends: Mapping[int, EndpointResponse | Lost] = attrs.field(factory=dict)
    count: int = 2
    heads: list[int] = attrs.field(factory=list)
    resets: Mapping[int, int] = attrs.field(factory=dict)
    room: int | None = None
    drains: bool = False
    requires_http1: bool = False
    settings: dict[int, int] = attrs.field(factory=dict)


def data(stream: int, part: bytes, *, end: bool = False) -> bytes:
    return raw(DATA, END_STREAM if end else 0, stream, part)


def reset(stream: int, code: int) -> bytes:
    return raw(RST_STREAM, 0, stream, word(code))


def goaway(last: int, code: int = 0) -> bytes:
    return raw(GOAWAY, 0, 0, word(last) + word(code))


EARLY, BROKEN = response(1, status=b"103"), Lost(1, seen=True, safe=False)
CHALLENGES = [(b"www-authenticate", b"Bearer realm=x"), (b"www-authenticate", b"Basic\xe9"), (b"retry-after", b"3"), (b"retry-after", b"4")]
TRAILERS = raw(HEADERS, END_HEADERS | END_STREAM, 1, block([(b"www-authenticate", b"Bearer"), (b"retry-after", b"3")]))
MALFORMED = {
    "no status": [(b"content-type", b"a")],
    "two": [(b":status", b"200"), (b":status", b"200")],
    "late": [(b"content-type", b"a"), (b":status", b"200")],
    "letters": [(b":status", b"2OO")],
    "short": [(b":status", b"20")],
    "signed": [(b":status", b"+20")],
    "101": [(b":status", b"101")],
    "interim": [(b":status", b"103")],
    "a request": [(b":status", b"200"), (b":path", b"/")],
    "upper case": [(b":status", b"200"), (b"X-A", b"1")],
    "line end": [(b":status", b"200"), (b"x-a", b"1\r\nx-b: 2")],
    "connection": [(b":status", b"200"), (b"transfer-encoding", b"chunked")],
    "lengths": [(b":status", b"200"), (b"content-length", b"1"), (b"content-length", b"2")],
    "length": [(b":status", b"200"), (b"content-length", b"-1")],
}
HALF = {
    "nothing of three bytes": response(1, (b"content-length", b"3")) + raw(DATA, END_STREAM, 1),
    "two of three bytes": response(1, (b"content-length", b"3")) + raw(DATA, END_STREAM, 1, b"ab"),
    "four of three bytes": response(1, (b"content-length", b"3")) + raw(DATA, END_STREAM, 1, b"abcd"),
    "a second head": response(1) + response(1, end=True),
}
CANCELLED, REFUSED = {1: ngh2.ErrorCode.CANCEL}, {1: ngh2.ErrorCode.PROTOCOL_ERROR}


def answered(body: bytes | TooLarge | None, status: int = 200) -> dict[int, EndpointResponse | Lost]:
    return {1: EndpointResponse(status, (), "", body)}


def rows_of_resets(code: ngh2.ErrorCode) -> dict[str, Row]:
    """Only a refusal is safe to send again, and not if the endpoint has said something of an answer before."""
    http1 = code == ngh2.ErrorCode.HTTP_1_1_REQUIRED
    lost = Lost(1, seen=False, safe=http1 or code == ngh2.ErrorCode.REFUSED_STREAM)
    half = (response(1, status=b"503"), data(1, b"half"), reset(1, code))
    return {
        f"{code.name}": Row(reset(1, code), {1: lost}, requires_http1=http1),
        f"{code.name} after an interim response": Row(EARLY + reset(1, code), {1: BROKEN}, requires_http1=http1),
        f"{code.name} after a head": Row(half, answered(None, 503), heads=[1], requires_http1=http1),
    }


def redirect(status: int) -> Row:
    """Return the row of a redirect, of which nothing is read."""
    head = response(1, (b"location", b"https://a.example/"), status=b"%d" % status)
    return Row(head + data(1, b"moved"), answered(b"", status), resets=CANCELLED)


ROWS = {
    "an answer": Row(
        response(1, *CHALLENGES, status=b"401") + data(1, b"{}", end=True),
        {1: EndpointResponse(401, ("Bearer realm=x", "Basic\xe9"), "3", b"{}")},
    ),
    "parts, and trailers that are not read": Row(
        (response(1), data(1, b"a"), data(1, b""), data(1, b"b"), TRAILERS), answered(b"ab"), heads=[1]
    ),
    **{f"{status}": redirect(status) for status in (301, 302, 303, 307, 308, 399)},
    **{name: row for code in ngh2.ErrorCode for name, row in rows_of_resets(code).items()},
    **{
        f"a malformed head: {name}": Row(raw(HEADERS, END_HEADERS | END_STREAM, 1, block(fields)), {1: BROKEN}, resets=REFUSED)
        for name, fields in MALFORMED.items()
    },
    **{f"a malformed body: {name}": Row(said, answered(None), heads=[1], resets=REFUSED) for name, said in HALF.items()},
    "a body in many pieces": Row((response(1), *[data(1, b"x")] * 4096), heads=[1]),
    "too many pieces": Row((response(1), *[data(1, b"x")] * 4097), answered(TooLarge.TOO_LARGE), heads=[1], resets=CANCELLED),
    "many interim responses": Row(EARLY * 8),
    "too many interim responses": Row(EARLY * 9 + response(3, status=b"103"), {1: BROKEN}, resets=CANCELLED),
    "no requests any more": Row(b"", room=0, drains=True, settings={3: 0}),
    "fewer requests than there are": Row(b"", count=5, room=0, settings={3: 2}),
    "fewer requests, most of which have ended": Row(
        b"".join(response(stream, end=True) for stream in (1, 3, 5, 7)),
        dict.fromkeys((1, 3, 5, 7), *answered(b"").values()),
        count=5,
        room=1,
        settings={3: 2, 4: 70_000},
    ),
    # The graceful way (RFC 9113 section 6.8): first a notice, then the last stream.
    "a notice": Row(goaway(2**31 - 1), room=0, drains=True),
    "a notice, and the last stream": Row((goaway(2**31 - 1), goaway(3)), {5: Lost(5, seen=False, safe=True)}, count=3, room=0, drains=True),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_what_comes_of_what_the_peer_says_and_other_requests_are_answered(row: Row) -> None:
    joined, streams = started(row.count)
    joined.server.http.update_settings(row.settings)
    joined.exchange()
    for part in (row.said,) if isinstance(row.said, bytes) else row.said:
        joined.to_client(part)
    joined.exchange()
    assert {**joined.lost, **{stream: found.answer for stream, found in joined.answers.items()}} == row.ends
    assert joined.heads == row.heads
    others = [stream for stream in streams if stream not in row.ends]
    assert {stream: one.reset for stream, one in joined.server.requests.items() if one.reset is not None} == row.resets
    assert joined.client.room == (MAX_STREAMS - len(others) if row.room is None else row.room)
    assert (joined.client.draining, joined.client.requires_http1) == (row.drains, row.requires_http1)
    for stream in others:
        assert not joined.client.closed
        joined.to_client(data(stream, b"", end=True) if stream in row.heads else response(stream, end=True))
        assert joined.answers[stream].answer.status == 200
    joined.exchange()
    assert (joined.client.waiting, joined.client.held, joined.client.interim) == (0, 0, {})
    assert (joined.client.closed, joined.client.failure) == (row.drains, "")
    assert (joined.client.next_due == NEVER) is row.drains


# How many.


def test_room_before_the_peer_says_how_many() -> None:
    assert Http2Client(600.0, 0.5).room == MAX_STREAMS
    joined = Pair(Http2Client(600.0, 0.5, limit=7), Server())
    assert joined.client.room == 7
    joined.exchange()
    assert joined.client.room == MAX_STREAMS  # it names no limit


# The end of a connection.


def test_requests_are_lost_when_the_transport_ends() -> None:
    joined, (early, headed, waiting) = started(3)
    joined.server.http.send_informational_response(early, [(b":status", b"103")])
    joined.server.head(headed)
    joined.exchange()
    sent = joined.request()
    joined.client.data_to_send()
    unsent = joined.request()
    joined.client.lose()
    joined.client.lose()
    joined.take(joined.client.events())
    assert joined.lost == {
        early: Lost(early, seen=True, safe=False),
        waiting: Lost(waiting, seen=False, safe=False),
        sent: Lost(sent, seen=False, safe=False, unheard=True),
        unsent: Lost(unsent, seen=False, safe=True, unheard=True),
    }
    assert joined.body(headed) is None
    assert (joined.client.closed, joined.client.room, joined.client.waiting) == (True, 0, 0)
    assert joined.client.failure == "the connection ended"
    assert joined.client.data_to_send() == b""
    joined.client.receive(b"\0", 1.0)
    joined.client.tick(1000.0)
    joined.client.close()
    assert joined.client.events() == []


# Time.


def test_an_http2_connection_drains_at_its_maximum_age() -> None:
    joined, (stream,) = started()
    assert joined.client.next_due == 0.5
    joined.server.answer(stream, b"{}")
    joined.exchange()
    joined.client.tick(0.5)
    assert joined.client.next_due == 600.0
    joined.client.tick(599.9)
    assert joined.client.room == MAX_STREAMS
    stream = joined.request()
    joined.exchange()
    joined.client.tick(600.0)
    assert (joined.client.draining, joined.client.closed, joined.client.room) == (True, False, 0)
    joined.now = 600.0
    joined.server.answer(stream, b"{}")
    joined.exchange()
    assert joined.body(stream) == b"{}"
    assert (joined.client.closed, joined.client.failure) == (True, "")
    assert joined.server.goaways == [ngh2.ErrorCode.NO_ERROR]


def test_a_dead_peer_is_found_out() -> None:
    joined, (stream,) = started()
    joined.client.tick(0.49)
    assert joined.client.next_due == 0.5
    assert joined.client.data_to_send() == b""
    joined.client.tick(0.5)
    assert joined.client.room == 0  # it may be gone
    assert raw(PING, 0, 0, bytes(8)) in joined.client.data_to_send()
    assert joined.client.next_due == 1.0
    joined.client.tick(0.9)
    assert joined.client.data_to_send() == b""
    joined.client.tick(1.0)
    joined.take(joined.client.events())
    assert joined.lost == {stream: Lost(stream, seen=False, safe=False)}
    assert (joined.client.closed, joined.client.failure) == (True, "the token endpoint stopped responding")


def test_a_slow_peer_is_asked_now_and_then() -> None:
    joined = Pair(Http2Client(600.0, 1.0, silence=0.1), Server())
    stream = joined.request()
    joined.exchange()
    for step in range(1, 100):
        joined.now = step / 20
        if joined.now >= joined.client.next_due:
            joined.client.tick(joined.now)
            assert joined.client.room == 0
            assert joined.client.next_due == joined.now + 1.0
        joined.exchange()
        assert joined.client.room == MAX_STREAMS - 1
    assert joined.server.pings == 5
    joined.server.answer(stream, b"slow")
    joined.exchange()
    joined.request()
    assert joined.client.next_due == 5.1
    joined.now = 5.0
    joined.client.tick(joined.now)
    assert joined.client.room == MAX_STREAMS - 1


@pytest.mark.parametrize("come", [True, False], ids=["more come", "all leave"])
def test_callers_do_not_hide_that_the_peer_is_silent(come: bool) -> None:
    joined, (stream,) = started()
    for step in range(1, 5):
        joined.now = step / 10
        if come:
            joined.request()
        else:
            joined.client.cancel(stream)
        joined.client.data_to_send()
    assert joined.client.next_due == 0.5
    joined.client.tick(0.5)
    assert joined.client.room == 0
    joined.client.tick(1.0)
    assert joined.client.closed


# Bounds.


def test_the_connection_window_holds_all_answers_and_push_is_off() -> None:
    server = pair().server.http
    assert (server.remote_window_size, server.remote_settings[2]) == (1024 * 1024, 0)


def test_bodies_of_all_streams_together() -> None:
    """Beyond eight times the longest, what has used up its first window is too large; a usual answer still passes."""
    joined, streams = started(20)
    for stream in streams[:12]:
        joined.server.head(stream)
        joined.server.data(stream, b"x" * (MAX_RESPONSE_BYTES - 1), end=False)
        joined.exchange()
    assert joined.client.held <= 8 * MAX_RESPONSE_BYTES
    assert [stream for stream in streams if stream in joined.answers] == streams[8:12]
    for stream in streams[12:]:
        joined.server.head(stream)
        joined.server.data(stream, b"y" * 60_000, end=False)
        joined.exchange()
    for stream in streams[12:]:
        joined.server.data(stream, b"y")
        joined.exchange()
    for stream in streams[:8]:
        joined.server.data(stream, b"x")
    joined.exchange()
    assert [len(body) for stream in streams[:8] if isinstance(body := joined.body(stream), bytes)] == 8 * [MAX_RESPONSE_BYTES]
    assert [len(body) for stream in streams[12:] if isinstance(body := joined.body(stream), bytes)] == 8 * [60_001]
    assert joined.client.held == 0


REQUEST = block([(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a"), (b":path", b"/")])
HOSTILE = {
    "pings": raw(PING, ACK, 0, bytes(8)) * 10_000,
    "settings": raw(SETTINGS, 0, 0) * 10_000,
    "windows": raw(WINDOW_UPDATE, 0, 0, word(1)) * 10_000,
    "windows of a stream": raw(WINDOW_UPDATE, 0, 1, word(1)) * 10_000,
    "alternatives": raw(0xA, 0, 0, b"\0\1ah2=x") * 10_000,
    "goaways": raw(GOAWAY, 0, 0, word(2**31 - 1) + word(0)) * 10_000,
    "origins": raw(0xC, 0, 0, b"\0\1a") * 10_000,
    "continuations without end": raw(HEADERS, 0, 1, block([(b":status", b"200")])) + raw(9, 0, 1) * 20,
    "a push": raw(5, END_HEADERS, 1, word(2) + REQUEST),
    "no window": raw(WINDOW_UPDATE, 0, 0, word(0)),
    "too wide a window": raw(WINDOW_UPDATE, 0, 0, word(2**31 - 1)),
    "a GOAWAY that takes back what it said": raw(GOAWAY, 0, 0, word(1) + word(0)) + raw(GOAWAY, 0, 0, word(3) + word(0)),
    "HTTP/1.1": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x28" * 2,
    "zeros": bytes(100),
}


@pytest.mark.parametrize("begun", [True, False], ids=["after its settings", "instead of them"])
@pytest.mark.parametrize("said", HOSTILE.values(), ids=HOSTILE)
def test_hostile_frames_end_the_http2_connection(said: bytes, begun: bool) -> None:
    joined = pair() if begun else Pair(Http2Client(600.0, 0.5), Server())
    stream = joined.request()
    joined.client.data_to_send()
    for at in range(0, len(said), 1000):
        joined.to_client(said[at : at + 1000])
        joined.client.data_to_send()
    joined.take(joined.client.events())
    assert joined.client.closed
    assert joined.lost == {stream: Lost(stream, seen=False, safe=False)}
    assert joined.client.failure in {"the token endpoint violated the HTTP/2 protocol", "the token endpoint sends too many frames"}


@pytest.mark.parametrize(
    "frame", [raw(0xFF, 0, 0, b"x"), raw(DATA, 0, 1, b"x"), raw(2, 0, 1, bytes(5))], ids=["unknown", "late", "priority"]
)
def test_a_flood_that_nobody_waits_for_ends_the_connection(frame: bytes) -> None:
    joined, (stream,) = started()
    joined.client.cancel(stream)
    joined.exchange()
    for byte in frame * 300:
        joined.to_client(bytes((byte,)))
    joined.exchange()
    assert joined.client.closed
    assert joined.server.goaways == [ngh2.ErrorCode.ENHANCE_YOUR_CALM]


def test_what_usual_servers_send_beside_answers_is_no_flood() -> None:
    joined = pair()
    for _ in range(1000):
        stream = joined.request()
        joined.to_server()
        joined.server.requests.clear()
        joined.server.http.ping()
        joined.server.http.update_settings({0x3: 100})
        joined.server.answer(stream, b"{}")
        beside = raw(WINDOW_UPDATE, 0, 0, word(1)) + raw(WINDOW_UPDATE, 0, stream, word(1))
        joined.to_client(beside + joined.server.send())
        assert joined.body(stream) == b"{}"
        joined.to_server()
    assert not joined.client.closed


@pytest.mark.parametrize(("size", "alive"), [(60_000, True), (140_000, False)])
def test_a_response_head_over_the_limit_ends_the_connection(size: int, alive: bool) -> None:
    joined, (stream,) = started()
    fields = block([(b":status", b"200"), (b"x-long", b"x" * size)])
    parts = [fields[at : at + 16_384] for at in range(0, len(fields), 16_384)]
    frames = raw(HEADERS, END_STREAM, stream, parts[0])
    frames += b"".join(raw(9, END_HEADERS if part is parts[-1] else 0, stream, part) for part in parts[1:])
    joined.to_client(frames)
    joined.exchange()
    assert joined.client.closed is not alive
    assert (stream in joined.answers) is alive


def test_a_peer_that_opens_its_window_byte_by_byte() -> None:
    joined, (stream,) = started(window=0, body=b"x" * 70_000)
    for _ in range(3000):
        joined.to_client(raw(WINDOW_UPDATE, 0, stream, word(1)))
        joined.to_server()
    assert joined.client.closed
    assert list(joined.lost) == [stream]


# Secrets.


def test_credentials_enter_no_table() -> None:
    """HPACK's table would let whoever shares it, or sees lengths, test guesses (RFC 7541 section 7.1)."""
    joined = pair()
    extra = header_fields((("traceparent", "00-1-2-01"), ("Baggage", "user=canary")))
    assert extra is not None
    for _ in range(2):
        stream = joined.request(b"subject_token=canary", extra)
        joined.to_server()
        assert joined.server.requests[stream].never_indexed == {b"authorization", b"traceparent", b"baggage"}


def test_no_secret_is_shown() -> None:
    joined, (first, second) = started(2, body=b"subject_token=canary")
    joined.server.answer(first, b"issued-canary", (b"www-authenticate", b"challenge-canary"), (b"retry-after", b"canary"))
    joined.server.head(second, (b"www-authenticate", b"challenge-canary"))
    joined.server.data(second, b"issued-canary", end=False)
    joined.exchange()
    assert joined.client.held == len(b"issued-canary")
    for shown in (joined.client, usual_head(), joined.answers, joined.client.streams):  # also of answers that are not complete
        assert "canary" not in repr(shown)
        assert "Basic" not in repr(shown)


# Heads.


@pytest.mark.parametrize("name", ["", "a b", "a:", ":path", "é", "a\n", "Host", "content-length", "Connection", "TE", "Transfer-Encoding"])
def test_names_that_no_request_may_have(name: str) -> None:
    assert header_fields(((name, "x"),)) is None


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\0", " a", "a ", "\ta", "a\x7f", "\u20ac", "a\n"])
def test_values_that_no_request_may_have(value: str) -> None:
    assert header_fields((("a", value),)) is None
    assert request_head(secure=True, authority="a", target="/", headers=(("a", value),)) is None


@pytest.mark.parametrize(("authority", "target"), [("", "/"), ("a", ""), ("a\n", "/"), ("a", "/\r\n")])
def test_addresses_that_no_request_may_have(authority: str, target: str) -> None:
    assert request_head(secure=True, authority=authority, target=target, headers=()) is None


def test_a_head_without_tls() -> None:
    head = request_head(secure=False, authority="[::1]:8080", target="/token?a=b", headers=(("Accept", ""), ("X-Text", "a \xe9\tb")))
    assert head is not None
    assert head.fields == (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", b"[::1]:8080"),
        (b":path", b"/token?a=b"),
        (b"accept", b""),
        (b"x-text", b"a \xe9\tb"),
    )
