"""Objects of the API as the objects that policy is made of."""

import pytest

from exchanger.policy.selection import ConfigMap, Namespace
from exchanger.sources.kube.api.decoding import CONFIG_MAP, decode_config_map, decode_namespace, read_page
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind, Page

IDENTITY = {"name": "policy", "namespace": "team"}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"metadata": IDENTITY}, ConfigMap("team", "policy", (), None)),
        ({"metadata": IDENTITY, "data": None}, ConfigMap("team", "policy", (), None)),
        ({"metadata": IDENTITY, "data": {"other": "x"}}, ConfigMap("team", "policy", (), None)),
        ({"metadata": IDENTITY, "data": {"config.yaml": "x"}}, ConfigMap("team", "policy", (), "x")),
        ({"metadata": IDENTITY, "data": {"config.yaml": 1}}, ConfigMap("team", "policy", (), None)),
        ({"metadata": {**IDENTITY, "labels": {"b": "2", "a": "1"}}}, ConfigMap("team", "policy", (("a", "1"), ("b", "2")), None)),
        ({"metadata": {**IDENTITY, "labels": None}}, ConfigMap("team", "policy", (), None)),
        ({"metadata": {**IDENTITY, "labels": {"a": 1}}}, None),
        ({"metadata": {**IDENTITY, "labels": []}}, None),
        ({"metadata": {"name": "policy"}}, None),
        ({"metadata": {"name": "policy", "namespace": ""}}, None),
        ({"metadata": {"name": 1, "namespace": "team"}}, None),
        ({"metadata": IDENTITY, "data": []}, None),
        ({"metadata": []}, None),
        ({}, None),
    ],
)
def test_a_config_map_is_decoded(found: dict[str, object], expected: ConfigMap | None) -> None:
    assert decode_config_map(found) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"metadata": {"name": "team"}}, Namespace("team", (("kubernetes.io/metadata.name", "team"),))),
        (
            {"metadata": {"name": "team", "labels": {"a": "1", "kubernetes.io/metadata.name": "forged"}}},
            Namespace("team", (("a", "1"), ("kubernetes.io/metadata.name", "team"))),
        ),
        ({"metadata": {"name": "team", "labels": {"a": None}}}, None),
        ({"metadata": {"name": ""}}, None),
        ({"metadata": {"name": "team", "namespace": "team"}}, None),
        ({"metadata": {}}, None),
        ({}, None),
    ],
)
def test_a_namespace_is_decoded(found: dict[str, object], expected: Namespace | None) -> None:
    assert decode_namespace(found) == expected


LIST = {"kind": "ConfigMapList", "apiVersion": "v1"}
META = {"metadata": {"resourceVersion": "9"}}
ITEM = {"name": "a", "namespace": "b", "resourceVersion": "1"}


@pytest.mark.parametrize(
    "body",
    [
        LIST,
        {**LIST, "items": []},
        {**LIST, "metadata": {}, "items": []},
        {**LIST, "metadata": {"resourceVersion": ""}, "items": []},
        {**LIST, "metadata": {"resourceVersion": 9}, "items": []},
        {**LIST, "metadata": {"resourceVersion": "9"}},
        {**LIST, **META, "items": {}},
        {**LIST, **META, "items": None},
        {**LIST, **META, "items": [{}]},
        {**LIST, **META, "items": [1]},
        {**LIST, "metadata": {"resourceVersion": "9", "continue": 1}, "items": []},
        {**LIST, **META, "items": [{"metadata": {"name": "a", "namespace": "b"}}]},
        {**LIST, **META, "items": [{"metadata": {**ITEM, "name": ""}}]},
        {**LIST, **META, "items": [{"metadata": {**ITEM, "labels": 1}}]},
        {**LIST, **META, "items": [{"metadata": ITEM, "data": 1}]},
        *({**LIST, **META, "items": [{"metadata": ITEM, **said}]} for said in ({"kind": "Pod"}, {"apiVersion": "v2"}, {"kind": ""})),
        {**LIST, **META, "items": [{"metadata": {**ITEM, "namespace": "another"}}]},
        *({**META, "items": [], **said} for said in ({}, {"kind": "ConfigMapList"}, {"apiVersion": "v1"})),
        *({**LIST, **META, "items": [], "kind": kind} for kind in ("PodList", "ConfigMap", "Status")),
        {**LIST, **META, "items": [], "apiVersion": "example.com/v1"},
        {"kind": "Table", "apiVersion": "meta.k8s.io/v1", **META, "items": [], "rows": []},
    ],
)
def test_an_invalid_list_is_malformed(body: dict[str, object]) -> None:
    failure = read_page(body, CONFIG_MAP, "b")
    assert isinstance(failure, ApiFailure)
    assert failure.kind is FailureKind.MALFORMED


@pytest.mark.parametrize("said", [{}, {"kind": "ConfigMap", "apiVersion": "v1"}])
def test_an_item_may_name_its_kind(said: dict[str, object]) -> None:
    assert isinstance(read_page({**LIST, **META, "items": [{"metadata": ITEM, **said}]}, CONFIG_MAP, "b"), Page)
