import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.policy.selection import ConfigMap, Namespace, PolicyObject
from exchanger.sources.directory.manifest import MAX_FILE_BYTES, PassedOver, UnreadableFile, objects_of, read_manifests

NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: team, labels: {a: b}}\n"
METADATA = "metadata: {name: policy, namespace: team, labels: {c: d}}"
CONFIG_MAP = f"apiVersion: v1\nkind: ConfigMap\n{METADATA}\ndata: {{config.yaml: text, other: x}}\n"
TEAM = Namespace("team", (("a", "b"), ("kubernetes.io/metadata.name", "team")))
POLICY = ConfigMap("team", "policy", (("c", "d"),), "text")


def read(text: str, *, is_json: bool = False) -> tuple[PolicyObject, ...] | UnreadableFile:
    found = read_manifests(text.encode(), is_json=is_json)
    return found if isinstance(found, UnreadableFile) else tuple(objects_of(found))


def passed_over(text: str, *, is_json: bool = False) -> list[str]:
    found = read_manifests(text.encode(), is_json=is_json)
    assert not isinstance(found, UnreadableFile)
    return [f"{item.reason}; {item.remedy}" for item in found if isinstance(item, PassedOver)]


def test_each_document_of_a_manifest_file_is_read() -> None:
    assert read(f"{NAMESPACE}---\n{CONFIG_MAP}---\n") == (TEAM, POLICY)


@pytest.mark.parametrize("is_json", [False, True])
def test_items_of_a_list_manifest_are_read(is_json: bool) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team", "labels": {"a": "b"}}}
    metadata = {"name": "policy", "namespace": "team", "labels": {"c": "d"}}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"config.yaml": "text"}}
    document = {"apiVersion": "v1", "kind": "List", "items": [namespace, config_map]}
    assert read(json.dumps(document), is_json=is_json) == (TEAM, POLICY)
    del config_map["kind"], config_map["apiVersion"]  # which items of a typed list have from it
    assert read(json.dumps({"apiVersion": "v1", "kind": "ConfigMapList", "items": [config_map]}), is_json=is_json) == (POLICY,)
    assert read(json.dumps({"apiVersion": "v1", "kind": "ConfigMapList", "items": None}), is_json=is_json) == ()


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: v1\nkind: Secret\nmetadata: {name: x}",
        "apiVersion: apps/v1\nkind: Deployment\nspec: !custom {a: [1, 2.5, true]}",
        "apiVersion: example.com/v1\nkind: ConfigMap\nmetadata: 5",
        "resources: [a.yaml]",
    ],
)
def test_other_kinds_are_skipped(text: str) -> None:
    assert read(text) == ()


def test_a_namespace_is_the_default_one_where_none_is_given() -> None:
    assert read("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}") == (ConfigMap("default", "x", (), None),)


@pytest.mark.parametrize(
    ("data", "instead"),
    [
        ("data: {}", ""),
        ("data: {config.yaml: 5}", ""),
        ("data: {config.yaml: [a], config.yml: x}", ""),
        ("binaryData: {config.yaml: eA==}", "binaryData.config.yaml"),
        ("data: {a: x, config.yml: x}", "config.yml"),
    ],
)
def test_a_config_map_without_text_names_the_key_that_was_probably_meant(data: str, instead: str) -> None:
    found = read(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x, namespace: y}}\n{data}")
    assert found == (ConfigMap("y", "x", (), None),)
    assert isinstance(found[0], ConfigMap)
    assert found[0].instead == instead


# tests/attack/test_silence.py has what was probably meant to count, one mistake after the other.
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: Configmap\napiVersion: v1", ["document 0 is of the kind 'Configmap', and is skipped; write kind: ConfigMap"]),
        ("kind: ConfigMap\napiVersion: core/v1", ["document 0 is a ConfigMap of 'core/v1', and is skipped; write apiVersion: v1"]),
        ("kind: List\napiVersion: v1\nitems: [{metadata: {}}]", ["document 0, item 0 has no kind, and is skipped; write kind: ConfigMap"]),
        ("kind: List\napiVersion: v1\nitems: []", ["document 0 is a List without items; add objects to it, or delete it"]),
        ("version: v1\nentries: []", ["document 0 is a policy that is not in a ConfigMap; put it under data, config.yaml, of a ConfigMap"]),
        (
            "metadata: {}\ndata: {}",
            ["document 0 has neither apiVersion nor kind, and is skipped; write apiVersion: v1 and kind: ConfigMap"],
        ),
        ("  \n", ["is empty; add manifests to it, or delete it"]),
        (f"{NAMESPACE}---\n{CONFIG_MAP}---\nkind: Secret\napiVersion: v1\n---\nresources: []", []),
        ("kind: DeploymentList\napiVersion: apps/v1\nitems: []", []),
    ],
)
def test_skipped_manifests_that_look_like_policy_say_what_to_write(text: str, said: list[str]) -> None:
    assert passed_over(text) == said
    assert passed_over(" ", is_json=True) == ["is empty; add manifests to it, or delete it"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "not YAML"),
        ("a: 1\na: 2", "duplicate keys"),
        ("[a]", "document 0 is not a mapping"),
        (f"{NAMESPACE}---\ntext", "document 1 is not a mapping"),
        ("kind: ConfigMap", "apiVersion and kind"),
        ("apiVersion: v1\nkind: 5", "apiVersion and kind"),
        ("apiVersion: v1\nkind: ConfigMap", "metadata is missing"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: x}", "metadata.name"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, labels: {enabled: true}}", "in quotes"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, labels: [a]}", "metadata.labels"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: 5}", "metadata.namespace"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: [a]", "data is not a mapping"),
        ("apiVersion: v1\nkind: List\nitems: 5", "items are not a list"),
        ("apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: List, items: []}]", "items are not a list"),
        ("- " * 1000, "nest"),
        ("- &a0 [x]\n" + "".join(f"- &a{number} [*a{number - 1}]\n" for number in range(1, 1900)), "nest"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {<<: {labels: {a: b}}, name: x}\n", "merge keys"),
        ("<<: {metadata: {labels: {a: b}}}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n", "merge keys"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, labels: {<<: {a: b}}}\n", "metadata.labels"),
    ],
)
def test_unreadable_files_say_why(text: str, reason: str) -> None:
    found = read(text)
    assert isinstance(found, UnreadableFile)
    assert reason in found.reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "not JSON"),
        (b'{"a": 1, "a": 2}', "duplicate keys"),
        (b"[" * 100_000, "not readable JSON"),
        (b"1" * 5000, "not readable JSON"),
        (b"\xff", "not UTF-8"),
        (b" " * (MAX_FILE_BYTES + 1), "larger than"),
    ],
)
def test_unreadable_json_files_say_why(data: bytes, reason: str) -> None:
    found = read_manifests(data, is_json=True)
    assert isinstance(found, UnreadableFile)
    assert reason in found.reason


@given(st.one_of(st.binary(), st.text().map(str.encode)), st.booleans())
def test_any_bytes_are_manifests_or_a_reason(data: bytes, is_json: bool) -> None:
    assert isinstance(read_manifests(data, is_json=is_json), tuple | UnreadableFile)
