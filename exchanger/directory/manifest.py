"""The bytes of a manifest file as the Namespaces and ConfigMaps in it, or why they cannot be read. Total.

Must not know: files, selectors, or what a policy document says.
"""

import json
from collections.abc import Iterator
from typing import Final, assert_never, final

import attrs

from exchanger.policy import yaml_nodes as nodes
from exchanger.policy.objects import DOCUMENT_KEY, NAME_LABEL, ConfigMap, Namespace, PolicyObject

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
"""Bytes: a file may hold a list of many ConfigMaps, each of at most 1 MiB; more than this is no folder to edit by hand."""
MAX_VALUES: Final = 2_000_000
"""Values of a file, all documents together."""


@final
@attrs.frozen
class UnreadableFile:
    """Why a file cannot be understood, in words for whoever edits it."""

    reason: str


class _WrongError(Exception):
    """Inside this module only: the file is unreadable for the reason that is the message."""


def read_manifests(data: bytes, *, is_json: bool) -> tuple[PolicyObject, ...] | UnreadableFile:
    """Return the Namespaces and ConfigMaps in the file's bytes; objects of other kinds are skipped. Never raises."""
    if len(data) > MAX_FILE_BYTES:
        return UnreadableFile(f"is larger than {MAX_FILE_BYTES} bytes")
    try:
        text = data.decode()
        documents = _json(text) if is_json else _yaml(text)
        return tuple(manifest for index, document in enumerate(documents) for manifest in _manifests(document, f"document {index}", None))
    except UnicodeDecodeError:
        return UnreadableFile("is not UTF-8")
    except _WrongError as wrong:
        return UnreadableFile(str(wrong))


def _json(text: str) -> tuple[object, ...]:
    try:
        return (json.loads(text, object_pairs_hook=_unique),) if text.strip() else ()
    except json.JSONDecodeError as error:
        raise _WrongError(f"is not JSON: {error.msg}, line {error.lineno}") from None
    except (ValueError, RecursionError):  # a number of too many digits, or a nesting too deep
        raise _WrongError("is not JSON that can be read") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _WrongError("has an object with duplicate keys")
    return fields


def _yaml(text: str) -> tuple[object, ...]:
    found = nodes.read_stream(text, nodes.Limits(size=MAX_FILE_BYTES, values=MAX_VALUES, depth=64))
    if isinstance(found, nodes.Unreadable):
        raise _WrongError(found.reason if found.line is None else f"{found.reason}, line {found.line}")
    return tuple(map(_plain, found))


def _plain(node: nodes.Node) -> object:
    """Return mappings, lists, texts and ``None`` as Python has them, anything else as a number, which nothing here asks for."""
    match node:
        case nodes.Mapping():
            return {key.text: _plain(value) for key, value in node.pairs if isinstance(key, nodes.Scalar)}
        case nodes.Sequence():
            return [_plain(item) for item in node.items]
        case nodes.Scalar():
            if node.kind is nodes.Kind.TEXT:
                return node.text
            return None if node.kind is nodes.Kind.NULL else 0
        case _:
            assert_never(node)


def _manifests(document: object, place: str, kind_of_list: str | None) -> Iterator[PolicyObject]:
    if document is None:
        return
    if not isinstance(document, dict):
        raise _WrongError(f"{place} is not a mapping")
    kind, version = document.get("kind", kind_of_list), document.get("apiVersion", None if kind_of_list is None else "v1")
    if kind is None and version is None:
        return  # no Kubernetes object at all, such as a kustomization or chart values
    if not isinstance(kind, str) or not isinstance(version, str):
        raise _WrongError(f"{place} needs apiVersion and kind, both as text")
    if version != "v1":
        return
    if kind.endswith("List"):
        items = document.get("items")
        if kind_of_list is not None or not isinstance(items, list | None):
            raise _WrongError(f"{place} is a {kind} whose items are not a list of objects")
        for index, item in enumerate(items or ()):
            yield from _manifests(item, f"{place}, item {index}", kind.removesuffix("List"))
    elif kind in {"Namespace", "ConfigMap"}:
        yield _manifest(kind, document, place)


def _manifest(kind: str, document: dict[str, object], place: str) -> PolicyObject:
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        raise _WrongError(f"{place}: metadata is missing or no mapping")
    if "<<" in document or "<<" in metadata:
        # What is merged (https://yaml.org/type/merge.html) may be the labels, and without them a policy would not be in force.
        raise _WrongError(f"{place}: merge keys (<<) are not read; write out what they stand for")
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        raise _WrongError(f"{place}: metadata.name is missing or no text")
    labels = metadata.get("labels")
    if labels is None:
        labels = {}
    if not isinstance(labels, dict) or not all(isinstance(key, str) and isinstance(value, str) for key, value in labels.items()):
        raise _WrongError(f"{place}: metadata.labels must be texts; put numbers and true/false in quotes")
    if kind == "Namespace":
        return Namespace(name, tuple(sorted({**labels, NAME_LABEL: name}.items())))
    namespace = metadata.get("namespace")
    if namespace is None:
        namespace = "default"
    if not isinstance(namespace, str) or not namespace:
        raise _WrongError(f"{place}: metadata.namespace is no text")
    data = document.get("data")
    if data is not None and not isinstance(data, dict):
        raise _WrongError(f"{place}: data is no mapping")
    text = (data or {}).get(DOCUMENT_KEY)
    return ConfigMap(namespace, name, tuple(sorted(labels.items())), text if isinstance(text, str) else None)
