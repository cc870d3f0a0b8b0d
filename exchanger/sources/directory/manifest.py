"""Parses the bytes of a manifest file into its Namespaces and ConfigMaps, or says why they cannot be read. Total.

Must not know: files, selectors, or the content of policy documents.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Final, assert_never, final

import attrs

from exchanger.formats.strict_json import DuplicateNameError, unique_names
from exchanger.formats.yaml import nodes
from exchanger.formats.yaml.reader import UnreadableYaml, YamlLimits, read_stream
from exchanger.model.codes import manifests as codes
from exchanger.model.codes.code import Code
from exchanger.model.codes.policy import TOO_LARGE
from exchanger.policy.selection import DOCUMENT_KEY, NAME_LABEL, ConfigMap, Namespace, PolicyObject, key_meant
from exchanger.util.text import closest, printable

# Bytes: a file may hold a list of many ConfigMaps, each of at most 1 MiB; more than this is not a folder to edit by hand.
MAX_FILE_BYTES: Final = 16 * 1024 * 1024
# Values of a file, all documents together.
MAX_VALUES: Final = 2_000_000
LIMITS: Final = YamlLimits(size=MAX_FILE_BYTES, values=MAX_VALUES, depth=64)


@final
@attrs.frozen
class UnreadableFile:
    """Why a file cannot be understood, in words for its author. ``line`` and ``column`` are the place in it, if that is known."""

    reason: str
    code: Code = attrs.field(default=codes.UNREADABLE_FILE, eq=False, repr=False)
    line: int | None = attrs.field(default=None, eq=False, repr=False)
    column: int | None = attrs.field(default=None, eq=False, repr=False)


@final
@attrs.frozen
class PassedOver:
    """Part of a file that was probably meant to count and does not; ``reason`` and ``remedy`` are for its author."""

    reason: str
    remedy: str
    code: Code = attrs.field(default=codes.WRONG_KIND, eq=False, repr=False)


Manifest = PolicyObject | PassedOver

_KINDS: Final = ("ConfigMap", "Namespace", "List", "ConfigMapList", "NamespaceList")
# Characters of a kind or version that are repeated to its author.
_SHOWN: Final = 64


class _UnreadableError(Exception):
    """Inside this module only: the file is unreadable for the reason that is the message."""

    def __init__(self, reason: str, code: Code = codes.UNREADABLE_FILE, line: int | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.line = line


def read_manifests(data: bytes, *, is_json: bool) -> tuple[Manifest, ...] | UnreadableFile:
    """Return the Namespaces and ConfigMaps in the file's bytes, and what was probably meant to be one. Never raises.

    Objects of other kinds are skipped.
    """
    if len(data) > MAX_FILE_BYTES:
        return UnreadableFile(f"is larger than {MAX_FILE_BYTES} bytes", codes.LARGE_FILE)
    try:
        text = data.decode()
        if not text.strip():
            return (_EMPTY_FILE,)
        if is_json:
            content = read_json(text)
            return content if isinstance(content, UnreadableFile) else read_document(content, 0)
        return tuple(manifest for index, root in enumerate(_yaml(text)) for manifest in _of_root(root, index))
    except UnicodeDecodeError as wrong:
        return UnreadableFile("is not UTF-8", line=data.count(b"\n", 0, wrong.start) + 1)
    except _UnreadableError as wrong:
        return UnreadableFile(str(wrong), wrong.code, wrong.line)


def read_document(document: object, index: int) -> tuple[Manifest, ...] | UnreadableFile:
    """Return what one document of a file contains, as ``plain`` or ``read_json`` makes it, or its problem. Never raises."""
    try:
        return tuple(_manifests(document, f"document {index}", None))
    except _UnreadableError as wrong:
        return UnreadableFile(str(wrong), wrong.code)


_EMPTY_FILE: Final = PassedOver("is empty", "add manifests to it, or delete it", codes.EMPTY_FILE)


def objects_of(manifests: Iterable[Manifest]) -> Iterator[PolicyObject]:
    """Return those that are objects."""
    return (found for found in manifests if not isinstance(found, PassedOver))


def read_json(text: str) -> object | UnreadableFile:
    """Return the value of a JSON file, or its problem. Never raises."""
    if text.startswith("\ufeff"):  # RFC 8259 section 8.1 (https://www.rfc-editor.org/rfc/rfc8259#section-8.1)
        return UnreadableFile("is not JSON: it begins with a byte order mark", line=1, column=1)
    try:
        content: object = json.loads(text, object_pairs_hook=unique_names)
    except json.JSONDecodeError as error:
        return UnreadableFile(f"is not JSON: {error.msg}, line {error.lineno}", line=error.lineno, column=error.colno)
    except DuplicateNameError:
        return UnreadableFile("has an object with duplicate keys")
    except (ValueError, RecursionError):  # a number of too many digits, or a nesting too deep
        return UnreadableFile("is not readable JSON")
    return content


def _yaml(text: str) -> tuple[nodes.Node, ...]:
    found = read_stream(text, LIMITS)
    if isinstance(found, UnreadableYaml):
        code = codes.LARGE_FILE if found.code is TOO_LARGE else codes.UNREADABLE_FILE
        raise _UnreadableError(found.reason if found.line is None else f"{found.reason}, line {found.line}", code, found.line)
    return found


def _of_root(root: nodes.Node, index: int) -> Iterator[Manifest]:
    """Return what a document contains.

    Raises:
        _UnreadableError: it has a problem, whose line is that of a label that is not text, or of the document.
    """
    try:
        yield from _manifests(plain(root), f"document {index}", None)
    except _UnreadableError as wrong:
        wrong.line = next(_labels_not_text(root), root.line)
        raise


def _labels_not_text(root: nodes.Node) -> Iterator[int]:
    items = nodes.field(root, "items")
    for item in (root, *(items.items if isinstance(items, nodes.Sequence) else ())):
        labels = nodes.field(nodes.field(item, "metadata"), "labels")
        for _, value in labels.pairs if isinstance(labels, nodes.Mapping) else ():
            if nodes.text_of(value) is None:
                yield value.line


def plain(node: nodes.Node) -> object:
    """Return mappings, lists, texts and ``None`` as Python has them, anything else as 0."""
    match node:
        case nodes.Mapping():
            return {key.text: plain(value) for key, value in node.pairs if isinstance(key, nodes.Scalar)}
        case nodes.Sequence():
            return [plain(item) for item in node.items]
        case nodes.Scalar():
            if node.kind is nodes.ScalarKind.TEXT:
                return node.text
            return None if node.kind is nodes.ScalarKind.NULL else 0
        case _:
            assert_never(node)


def _manifests(document: object, place: str, kind_of_list: str | None) -> Iterator[Manifest]:
    if document is None:
        return
    if not isinstance(document, dict):
        raise _UnreadableError(f"{place} is not a mapping", codes.MALFORMED_OBJECT)
    kind, version = document.get("kind", kind_of_list), document.get("apiVersion", None if kind_of_list is None else "v1")
    if kind is None and (version is None or _is_chart(document)):
        # No Kubernetes object at all, such as a kustomization, a chart or its values
        yield from _without_kind(document, place)
        return
    if not isinstance(kind, str) or not isinstance(version, str):
        raise _UnreadableError(f"{place} needs apiVersion and kind, both as text", codes.MALFORMED_OBJECT)
    yield from _of_another_kind(kind, version, place)
    if version != "v1":
        return
    if kind.endswith("List"):
        items = document.get("items")
        if kind_of_list is not None or not isinstance(items, list | None):
            raise _UnreadableError(f"{place} is a {kind} whose items are not a list of objects", codes.MALFORMED_OBJECT)
        if not items and kind in _KINDS:
            yield PassedOver(f"{place} is a {kind} without items", "add objects to it, or delete it", codes.EMPTY_FILE)
        for index, item in enumerate(items or ()):
            yield from _manifests(item, f"{place}, item {index}", kind.removesuffix("List"))
    elif kind in {"Namespace", "ConfigMap"}:
        yield _manifest(kind, document, place)


def _is_chart(document: dict[object, object]) -> bool:
    """Return whether this is a Chart.yaml (https://helm.sh/docs/topics/charts/#the-chartyaml-file), which has its own apiVersion."""
    return {"name", "version"} <= document.keys() and not {"metadata", "data", "items", "entries"} & document.keys()


def _without_kind(document: dict[object, object], place: str) -> Iterator[PassedOver]:
    if {"version", "entries"} <= document.keys():
        remedy = f"put it under data, {DOCUMENT_KEY}, of a ConfigMap"
        yield PassedOver(f"{place} is a policy that is not in a ConfigMap", remedy, codes.BARE_POLICY)
    elif isinstance(document.get("metadata"), dict) and "data" in document:
        yield PassedOver(f"{place} has neither apiVersion nor kind, and is skipped", "write apiVersion: v1 and kind: ConfigMap")


def _of_another_kind(kind: str, version: str, place: str) -> Iterator[PassedOver]:
    """Yield a hint for a misspelt kind or version, and nothing for other kinds of object."""
    if "." in version.partition("/")[0]:
        return  # a group of the user's, with its own kinds
    if kind in _KINDS:
        if version != "v1":
            yield PassedOver(f"{place} is a {kind} of {printable(version, _SHOWN)!r}, and is skipped", "write apiVersion: v1")
    elif not kind:
        yield PassedOver(f"{place} has no kind, and is skipped", "write kind: ConfigMap")
    elif (meant := closest(kind, _KINDS)) is not None:
        yield PassedOver(f"{place} is of the kind {printable(kind, _SHOWN)!r}, and is skipped", f"write kind: {meant}")


def _manifest(kind: str, document: dict[str, object], place: str) -> PolicyObject:
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        raise _UnreadableError(f"{place}: metadata is missing or not a mapping", codes.MALFORMED_OBJECT)
    if "<<" in document or "<<" in metadata:
        # A merge (https://yaml.org/type/merge.html) may add the labels, and without them a policy would not be active.
        raise _UnreadableError(f"{place}: merge keys (<<) are not supported; write out what they stand for", codes.MALFORMED_OBJECT)
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        raise _UnreadableError(f"{place}: metadata.name is missing or no text", codes.MALFORMED_OBJECT)
    labels = metadata.get("labels")
    if labels is None:
        labels = {}
    if not isinstance(labels, dict) or not all(isinstance(key, str) and isinstance(value, str) for key, value in labels.items()):
        raise _UnreadableError(f"{place}: metadata.labels must be texts; put numbers and true/false in quotes", codes.MALFORMED_OBJECT)
    if kind == "Namespace":
        return Namespace(name, tuple(sorted({**labels, NAME_LABEL: name}.items())))
    namespace = metadata.get("namespace")
    if namespace is None:
        namespace = "default"
    if not isinstance(namespace, str) or not namespace:
        raise _UnreadableError(f"{place}: metadata.namespace is not text", codes.MALFORMED_OBJECT)
    data = document.get("data")
    if data is not None and not isinstance(data, dict):
        raise _UnreadableError(f"{place}: data is not a mapping", codes.MALFORMED_OBJECT)
    text = (data or {}).get(DOCUMENT_KEY)
    instead = key_meant(data or {}, document.get("binaryData"))
    return ConfigMap(namespace, name, tuple(sorted(labels.items())), text if isinstance(text, str) else None, instead=instead)
