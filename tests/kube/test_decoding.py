"""Objects of the API as the objects that policy is made of."""

import pytest

from exchanger.kube.decoding import decode_config_map, decode_namespace
from exchanger.policy.objects import ConfigMap, Namespace

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
def test_a_config_map(found: dict[str, object], expected: ConfigMap | None) -> None:
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
def test_a_namespace(found: dict[str, object], expected: Namespace | None) -> None:
    assert decode_namespace(found) == expected
