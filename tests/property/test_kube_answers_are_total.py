"""Law: whatever bytes an API server sends as a body, a page, an event or a failure is what comes of them, and nothing is raised.

What is a page or an event has names and versions, so that nothing without them is ever taken for an object
(https://kubernetes.io/docs/reference/using-api/api-concepts/#standard-api-terminology).
"""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from exchanger.kube.api.decoding import (
    CONFIG_MAP,
    MAX_MESSAGE_CHARS,
    MAX_RETRY_AFTER_S,
    NAMESPACE,
    failure_of_response,
    read_event,
    read_object,
    read_page,
)
from exchanger.kube.list_watch import ApiFailure, Bookmark, Deleted, Item, Key, Page, Put
from exchanger.policy.selection import ConfigMap, Namespace

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
def test_a_page(body: bytes) -> None:
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
def test_an_event(body: bytes) -> None:
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
def test_a_failure(body: bytes, status: int, retry_after: str | None) -> None:
    failure = failure_of_response(status, body, retry_after)
    assert failure.status == status
    assert len(failure.message) <= MAX_MESSAGE_CHARS
    assert failure.message.isprintable()
    assert failure.retry_after is None or 0 <= failure.retry_after <= MAX_RETRY_AFTER_S
