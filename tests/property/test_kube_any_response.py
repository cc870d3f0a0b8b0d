"""Law: whatever bytes a server answers with, a request and a watch end with values, and neither a thread nor a socket is left."""

import attrs
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exchanger.kube.api.decoding import CONFIG_MAP
from exchanger.kube.api.resource import Resource
from exchanger.kube.list_watch import ApiFailure
from tests.examples import examples
from tests.kube.leftovers import nothing_left, open_sockets
from tests.kube.scripted_server import FAST, LAST_CHUNK, WATCH_HEAD, answer, chunk, connected, event, says

BOUNDS = attrs.evolve(FAST, read=2, watch_read=2)
parts = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.0 200\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 401 Unauthorized\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: -5\r\n",
        b"Content-Length: 5, 6\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Location: http://127.0.0.1:1/\r\n",
        b"Retry-After: \xff\r\n",
        b"\r\n",
        b"-3\r\nabc\r\n",
        b"ffffffffffffffffffff\r\n",
        b"{}",
        WATCH_HEAD,
        LAST_CHUNK,
        answer({}),
        event("ADDED"),
        chunk(event("ADDED")),
        chunk(event("ADDED")[:30]),
        chunk(b"\xff\n"),
    ]
)
responses = st.lists(parts | st.binary(max_size=30), max_size=8).map(b"".join)


async def _answered(said: bytes) -> None:
    sockets = open_sockets()
    with trio.fail_after(60):
        async with connected(says(said), BOUNDS) as connection:
            assert isinstance(await connection.get("/"), dict | ApiFailure)
            resource = Resource(connection, "/api/v1/configmaps", CONFIG_MAP)
            page = await resource.list_page(limit=1)
            assert isinstance(page, ApiFailure) or page.resource_version
            async with resource.watch(resource_version="1", timeout=60) as events:
                found = [event async for event in events]
            assert not any(isinstance(event, ApiFailure) for event in found[:-1])
        await nothing_left(sockets)


# A response that urllib3 logs with its traceback, whose frames hold the pool: what is kept there must be closed all the same.
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
@settings(max_examples=examples(200))
@given(responses)
def test_any_bytes(said: bytes) -> None:
    trio.run(_answered, said)
