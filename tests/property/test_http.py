"""Laws of the HTTP servers: both answer alike however the bytes arrive, and read a request themselves only as h11 would read it."""

import contextlib

import attrs
import h11
import pytest
import trio
import trio.testing
from hypothesis import event, given
from hypothesis import strategies as st

from exchanger.net.http.fast_path import UnsendableError, read_request, response_head
from exchanger.net.http.message import Handler, Request, Response
from exchanger.net.http.server import HttpServer
from tests.net.http.test_reactor_server import LIMITS, Served, rest, serving

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


# Law: both servers answer alike, and as if all bytes had come at once.

bodies = st.sampled_from(
    [
        b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n" + b"x" * 101,
        b"POST /nothing HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        b"HEAD /echo HTTP/1.1\r\nHost: h\r\n\r\n",
        b"HEAD /nothing HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n",
        b"GET /broken HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: h\r\nX: " + b"x" * LIMITS.head_bytes + b"\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * LIMITS.head_lines + b"\r\n",
        b"GET /echo HTTP/1.0\r\n\r\n",
        b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]
)
usual = st.sampled_from([b"GET /echo HTTP/1.1\r\nHost: h\r\n\r\n", b"GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n"])


async def route(request: Request) -> Response | Handler:
    async def handle(asked: Request) -> Response:
        if asked.path == "/broken":
            raise RuntimeError
        return Response(200, body=asked.target.encode())

    return Response(404) if request.path == "/nothing" else handle


async def by_tasks(sent: list[bytes]) -> bytes:
    """Return what the server answers whose connections are tasks."""
    client, served = trio.testing.memory_stream_pair()
    server = HttpServer(route, attrs.evolve(LIMITS), (), {500: Response(500, body=b"instead")}, lambda _fault: None)

    async def serve() -> None:
        async with served:
            await server.serve(served)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await _send(client, sent)
        return await rest(client)


async def by_reactor(sent: list[bytes]) -> bytes:
    """Return what the server answers whose connections the reactor serves."""
    served = Served()
    async with serving(served), served.connect() as client:
        await _send(client, sent)
        received = await rest(client)
        await trio.testing.wait_all_tasks_blocked()
        assert served.open == 0
    return received


async def _send(client: trio.abc.HalfCloseableStream, sent: list[bytes]) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        for piece in sent:
            await client.send_all(piece)
            if len(sent) > 1:
                await trio.testing.wait_all_tasks_blocked()
        await client.send_eof()


@given(st.lists(st.one_of(usual, bodies, messages), min_size=1, max_size=5), st.lists(st.integers(0, 10**6), max_size=6), st.booleans())
async def test_both_servers_answer_alike_however_the_bytes_arrive(asked: list[bytes], cuts: list[int], bytewise: bool) -> None:
    data = b"".join(asked)
    ends = range(1, min(len(data), 60)) if bytewise else sorted({cut % len(data) for cut in cuts} - {0})
    sent = [data[start:end] for start, end in zip((0, *ends), (*ends, len(data)), strict=True)]

    whole = known(await by_reactor([data]))

    event(f"{whole.count(b'HTTP/1.1 2')} allowed")
    assert known(await by_tasks([data])) == whole
    assert known(await by_reactor(sent)) == whole
    assert known(await by_tasks(sent)) == whole


def known(received: bytes) -> bytes:
    """Leave out what depends on how much has arrived: whether leave to send is given, and for which of two faults a head is refused."""
    return received.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"").replace(b"431 Request Header Fields Too Large", b"400 Bad Request")
