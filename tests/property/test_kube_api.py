"""Laws of the API server's answers: any bytes, in any pieces."""

from itertools import pairwise

import attrs
import orjson
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exchanger.policy.selection import ConfigMap, Namespace
from exchanger.sources.kube.api.decoding import (
    CONFIG_MAP,
    MAX_MESSAGE_CHARS,
    MAX_RETRY_AFTER_S,
    NAMESPACE,
    Lines,
    failure_of_response,
    read_event,
    read_object,
    read_page,
)
from exchanger.sources.kube.api.resource import Resource
from exchanger.sources.kube.list_watch import ApiFailure, Bookmark, Deleted, Item, Key, Page, Put
from tests.examples import examples
from tests.sources.kube.leftovers import nothing_left, open_sockets
from tests.sources.kube.scripted_server import FAST, LAST_CHUNK, WATCH_HEAD, answer, chunk, connected, event, says

# Law: whatever bytes an API server sends as a body, a page, an event or a failure is what comes of them, and nothing is raised.
#
# What is a page or an event has names and versions, so that nothing without them is ever taken for an object
# (https://kubernetes.io/docs/reference/using-api/api-concepts/#standard-api-terminology).


scalars = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
FIELDS = (
    *(
        "metadata",
        "items",
        "name",
        "namespace",
        "labels",
        "data",
        "config.yaml",
        "resourceVersion",
        "continue",
        "annotations",
        "kind",
        "apiVersion",
    ),
    *("type", "object", "code", "message", "reason", "details", "retryAfterSeconds", "k8s.io/initial-events-end"),
)
names = st.sampled_from(FIELDS)
words = st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR", "Status", "Expired", "7", "team", "true", ""])
values = st.recursive(scalars | words, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6), max_leaves=25)
bodies = st.binary(max_size=200) | values.map(orjson.dumps) | st.dictionaries(names, values, max_size=6).map(orjson.dumps)


def usable(key: Key, version: str) -> bool:
    return bool(key.name and version)


kinds = st.sampled_from(["ConfigMap", "Namespace", "Pod"])
versions = st.sampled_from(["v1", "v1", "v2"])
items = st.fixed_dictionaries(
    {"metadata": st.fixed_dictionaries({"name": words, "resourceVersion": words}, optional={"namespace": words, "labels": values})},
    optional={"data": values},
)
pages = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries({"resourceVersion": words}, optional={"continue": values}),
        "kind": kinds.map(lambda kind: f"{kind}List"),
        "apiVersion": versions,
    },
    optional={"items": st.lists(items) | values},
)
events = st.fixed_dictionaries(
    {"type": words, "object": st.tuples(items, kinds, versions).map(lambda parts: {**parts[0], "kind": parts[1], "apiVersion": parts[2]})}
)


@given(bodies | pages.map(orjson.dumps))
def test_any_page_is_read_or_refused(body: bytes) -> None:
    found = read_object(body)
    if isinstance(found, ApiFailure):
        return
    config_maps, namespaces = read_page(found, CONFIG_MAP), read_page(found, NAMESPACE)
    for page in (config_maps, namespaces):
        assert isinstance(page, ApiFailure) or page.resource_version
    assert isinstance(config_maps, ApiFailure) or (found["kind"], found["apiVersion"]) == ("ConfigMapList", "v1")
    assert isinstance(namespaces, ApiFailure) or (found["kind"], found["apiVersion"]) == ("NamespaceList", "v1")
    if isinstance(config_maps, Page):
        assert all(usable(item.key, item.resource_version) and item.key.namespace for item in config_maps.items)
        for item in config_maps.items:
            assert item.value == ConfigMap(item.key.namespace, item.key.name, item.value.labels, item.value.document)
    if isinstance(namespaces, Page):
        assert all(item.value == Namespace(item.key.name, item.value.labels) for item in namespaces.items)


@given(bodies | events.map(orjson.dumps))
def test_any_event_is_read_or_refused(body: bytes) -> None:
    event = read_event(body, CONFIG_MAP)
    if not isinstance(event, ApiFailure):
        about = orjson.loads(body)["object"]
        assert (about["kind"], about["apiVersion"]) == ("ConfigMap", "v1")
    match event:
        case Put(Item(key, version, value)):
            assert usable(key, version)
            assert (value.namespace, value.name) == (key.namespace, key.name)
        case Deleted(key, version):
            assert usable(key, version)
        case Bookmark(version):
            assert version
        case ApiFailure():
            pass


@given(bodies, st.integers(100, 999), st.none() | st.text(max_size=12))
def test_any_failure_is_read(body: bytes, status: int, retry_after: str | None) -> None:
    failure = failure_of_response(status, body, retry_after)
    assert failure.status == status
    assert len(failure.message) <= MAX_MESSAGE_CHARS
    assert failure.message.isprintable()
    assert failure.retry_after is None or 0 <= failure.retry_after <= MAX_RETRY_AFTER_S


# Law: whatever bytes a server answers with, a request and a watch end with values, and neither a thread nor a socket is left.


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
def test_any_response_ends_a_request_and_a_watch(said: bytes) -> None:
    trio.run(_answered, said)


# Law: the lines of a watch do not depend on the pieces in which they come, and none is longer than allowed.


LIMIT = 12
text = st.lists(st.sampled_from([b"\n", b"a", b"bb", b" ", b"\r", b"{}", b"ccccccc"]), max_size=40).map(b"".join)


def fed(pieces: list[bytes]) -> tuple[list[bytes], bool, bool]:
    """Return the lines, whether one was too long, and whether one is pending."""
    lines = Lines(LIMIT)
    found: list[bytes] = []
    for piece in pieces:
        complete = lines.feed(piece)
        if complete is None:
            return found, True, False
        found += complete
    return found, False, lines.pending


@given(text, st.lists(st.integers(0, 100), max_size=20))
def test_lines_do_not_depend_on_pieces(whole: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    pieces = [whole[start:end] for start, end in pairwise(places)]
    *expected, rest = whole.split(b"\n")
    lines, too_long, pending = fed(pieces)
    assert too_long == any(len(line) > LIMIT for line in (*expected, rest))
    assert all(len(line) <= LIMIT for line in lines)
    if not too_long:
        assert lines == [line for line in expected if line.strip()]
        assert pending == bool(rest.strip())
