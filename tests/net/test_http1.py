"""The reading of responses: the usual ones, which take no library, and any other."""

import itertools

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exchanger.net.answer import MAX_RESPONSE_BYTES, TooLarge
from exchanger.net.http1 import Http1Response

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def fed(*pieces: bytes) -> Http1Response:
    response = Http1Response()
    for piece in pieces:
        if not response.is_over:
            response.feed(piece)
    return response


def seen(response: Http1Response) -> tuple[object, ...]:
    return response.status, response.seen, response.answer, response.is_over, response.clean


@pytest.mark.parametrize(
    ("data", "body", "clean"),
    [
        (OK, b"ok", True),
        (OK.replace(b"OK\r\n", b"\r\nConnection: Keep-Alive\r\n"), b"ok", True),
        (OK.replace(b" OK", b""), b"ok", True),
        (OK.replace(b"h: 2", b"h:2\t "), b"ok", True),
        (OK.replace(b"2\r\n\r\nok", b"0\r\n\r\n"), b"", True),
        (OK + b"x", b"ok", False),
        (OK + OK, b"ok", False),
        (OK.replace(b"OK\r\n", b"OK\r\nconnection: close\r\n"), b"ok", False),
        (OK.replace(b"HTTP/1.1", b"HTTP/1.0"), b"ok", False),
        (OK.replace(b"OK\r\n", b"OK\r\nContent-Length: 2\r\n"), b"ok", True),  # twice the same (RFC 9112 section 6.3)
        (OK.replace(b"200", b"408"), b"ok", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"ok", False),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", b"", True),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 5\r\n\r\nmoved", b"", False),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_RESPONSE_BYTES + 1) + b" " * (MAX_RESPONSE_BYTES + 1),
            TooLarge.TOO_LARGE,
            False,
        ),
    ],
)
def test_a_response_and_whether_another_may_follow(data: bytes, body: object, clean: bool) -> None:
    response = fed(data)
    assert response.answer is not None
    assert (response.is_over, response.answer.body, response.clean) == (True, body, clean)


def test_challenges_and_retry_after() -> None:
    fields = b"WWW-Authenticate: Basic realm=\xe9\r\nretry-after: 7 \r\nwww-authenticate:\tBearer\r\nRetry-After: 8\r\n"
    for head in (b"HTTP/1.1 401 No\r\n", b"HTTP/1.1 401 No\r\nConnection: close\r\n"):
        answer = fed(head + fields + b"Content-Length: 0\r\n\r\n").answer
        assert answer is not None
        assert (answer.challenges, answer.retry_after) == (("Basic realm=\xe9", "Bearer"), "7")


def test_cache_control_is_one_list_within_bounds() -> None:
    fields = b"Cache-Control: no-cache\r\ncache-control: %b\r\nCACHE-CONTROL:\tmax-age=7 \r\n" % (b"x" * 256)
    for head in (b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n"):
        answer = fed(head + fields + b"Content-Length: 0\r\n\r\n").answer
        assert answer is not None
        assert answer.cache_control == "no-cache, max-age=7"
        answer = fed(head + fields * 100 + b"Content-Length: 0\r\n\r\n").answer
        assert answer is not None
        assert len(answer.cache_control) < 300


# A response of parts that are usual, unusual or wrong.
lines = st.sampled_from(
    [
        b"Content-Length: 2",
        b"content-length:2",
        b"Content-Length: 3",
        b"Content-Length: +2",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"Connection: keep-alive",
        b"X: y",
        b"X : y",
        b" folded",
        b"X: \x00",
        b"Retry-After: 1",
        b"Upgrade: h2c",
        b"Content-Length:",
        b": x",
        b"X",
    ]
)
heads = st.builds(
    lambda status, fields, end: b"HTTP/1.1 %b\r\n%b%b" % (status, b"".join(field + b"\r\n" for field in fields), end),
    st.sampled_from([b"200 OK", b"200", b"400 Bad", b"099 x", b"204 x", b"304 x", b"100 Continue", b"20 x", b"200 \x00"]),
    st.lists(lines, max_size=4),
    st.sampled_from([b"\r\n", b"\n", b""]),
)
responses = st.builds(lambda head, body: head + body, heads, st.sampled_from([b"ok", b"okx", b"", b"2\r\nok\r\n0\r\n\r\n", OK]))


def by_h11(data: bytes) -> tuple[int, bytes] | None:
    """Return status and body of the first response in ``data`` as h11 alone reads it, ``None`` without a whole one."""
    codec = h11.Connection(h11.CLIENT)
    codec.send(h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
    codec.send(h11.EndOfMessage())
    codec.receive_data(data)
    status, body = 0, b""
    try:
        while (event := codec.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return status, body
            elif not isinstance(event, h11.InformationalResponse):
                return None
    except h11.RemoteProtocolError:
        pass
    return None


@given(responses)
@example(OK)
def test_what_is_read_is_what_h11_reads(data: bytes) -> None:
    response = fed(data)
    found = by_h11(data)
    if found is not None and not 300 <= found[0] < 400:
        assert response.answer is not None
        assert (response.answer.status, response.answer.body) == found
    elif found is None:
        assert response.answer is None or response.answer.body is None or 300 <= response.answer.status < 400


@given(responses, st.lists(st.integers(1, 60), max_size=5))
@example(OK, [10])
@example(OK, [38])
def test_it_does_not_matter_in_which_pieces_a_response_comes(data: bytes, cuts: list[int]) -> None:
    places = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    pieces = [data[start:end] for start, end in itertools.pairwise(places)]
    whole, cut = fed(data, b""), fed(*pieces, b"")
    # What comes behind an answer may not be seen any more.
    assert seen(cut)[:4] == seen(whole)[:4]
    assert whole.clean <= cut.clean
