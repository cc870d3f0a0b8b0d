"""Law of the HTTP server: it reads a request itself only as h11 would read it, and not where readers may differ."""

import h11
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from exchanger.http.message import Response
from exchanger.http.usual import UnsendableError, read_request, response_head

starts = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"POST /a?b HTTP/1.1",
        b"get / HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.0",
        b"CONNECT h:1 HTTP/1.1",
        b"GET /\xff HTTP/1.1",
    ]
)
lines = st.one_of(
    st.sampled_from(
        [
            b"Host: h",
            b"host:\th ",
            b"X: a\xe9b",
            b"X:",
            b"X-1:a:b",
            b"Content-Length: 0",
            b"Content-Length: 1",
            b"Content-Length: 00",
            b"Transfer-Encoding: chunked",
            b"Connection: close",
            b"Expect: 100-continue",
            b"Upgrade: x",
            b" folded",
            b"X : a",
            b": a",
            b"X: a\nY: b",
            b"X: a\rY: b",
            b"X: a\0",
            b"no colon",
        ]
    ),
    st.binary(max_size=4),
)
ends = st.sampled_from([b"\r\n\r\n", b"\r\n\r\nGET / HTTP/1.1\r\n", b"\n\n", b"\r\n"])
messages = st.builds(
    lambda start, host, more, end: b"\r\n".join([start, *host, *more]) + end,
    starts,
    st.sampled_from([[b"Host: h"], [b"Host: h"], []]),
    st.lists(lines, max_size=3),
    ends,
)


@given(messages)
def test_what_is_usual_is_what_h11_reads(data: bytes) -> None:
    found = read_request(data, 1000, 100)
    event("usual" if found else "another")
    if found is None:
        return
    request, size = found
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(data)
    head = reader.next_event()
    assert isinstance(head, h11.Request)
    assert (request.method, request.target) == (head.method.decode(), head.target.decode())
    assert request.headers == tuple((name.decode(), value.decode("latin-1")) for name, value in head.headers)
    assert isinstance(reader.next_event(), h11.EndOfMessage)
    assert bytes(reader.trailing_data[0]) == data[size:]
    assert not reader.client_is_waiting_for_100_continue
    assert not reader.they_are_waiting_for_100_continue
    assert reader.their_state is h11.DONE  # and so the connection may go on


@pytest.mark.parametrize(("most_bytes", "most_lines", "is_read"), [(28, 2, True), (27, 2, False), (28, 1, False)])
def test_what_is_too_large_is_left_to_those_who_refuse_it(most_bytes: int, most_lines: int, is_read: bool) -> None:
    assert (read_request(b"GET / HTTP/1.1\r\nHost: hh\r\n\r\n", most_bytes, most_lines) is not None) == is_read


names = st.sampled_from(["X", "x-y", "X Y", "X:", ""])
values = st.text(st.characters(max_codepoint=0x17F), max_size=4)


@given(st.sampled_from([200, 204, 401, 599]), st.lists(st.tuples(names, values), max_size=3), st.binary(max_size=3), st.booleans())
def test_a_response_is_sent_as_h11_reads_it_or_not_at_all(status: int, headers: list[tuple[str, str]], body: bytes, close: bool) -> None:
    try:
        head = response_head(Response(status, tuple(headers), body), (("X-Always", "1"),), ends=close)
    except UnsendableError:
        event("unsendable")
        return
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(head + (b"" if status == 204 else body))
    found = reader.next_event()
    assert isinstance(found, h11.Response)
    sent = [(name.lower().encode(), value.strip(" \t").encode("latin-1")) for name, value in headers]
    assert found.status_code == status
    assert [(bytes(name), bytes(value)) for name, value in found.headers][: len(sent)] == sent
    assert (b"connection", b"close") in [(bytes(name), bytes(value)) for name, value in found.headers] or not close
