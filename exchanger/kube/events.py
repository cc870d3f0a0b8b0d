"""Pages of a list and events of a watch, from JSON to the vocabulary. Total.

Nothing is taken on trust: an answer about another kind of object, or about another namespace, says nothing about the objects asked for. An
empty list of something else would otherwise withdraw every policy.

Must not know: sockets, threads, or what objects are for: a ``Kind`` reads one object, or returns ``None`` for what is no such object.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes.
"""

from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar, final

import attrs

from exchanger.kube.answers import failure_of_status, read_object
from exchanger.kube.list_watch import ApiFailure, Bookmark, Deleted, FailureKind, Item, Key, Page, Put, WatchEvent

T = TypeVar("T")
Decode = Callable[[Mapping[str, object]], T | None]
INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"
"""The annotation of the bookmark after the initial objects: https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists."""


@final
@attrs.frozen
class Kind(Generic[T]):
    """What a resource consists of: ``name`` is the ``kind`` of its objects, such as ``ConfigMap``, and ``decode`` reads one.

    Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#collections.
    """

    name: str
    decode: Decode[T]
    api_version: str = "v1"

    def is_object(self, found: Mapping[str, object]) -> bool:
        """Tell whether ``found`` says that it is one of these objects, as everything but the items of a list does."""
        return found.get("kind") == self.name and found.get("apiVersion") == self.api_version

    def is_list(self, found: Mapping[str, object]) -> bool:
        """Tell whether ``found`` says that it is a list of these objects."""
        return found.get("kind") == f"{self.name}List" and found.get("apiVersion") == self.api_version

    def read(self, found: object, namespace: str) -> Item[T] | None:
        """Return the object that an item of a list is, ``None`` when it is none, or is not in ``namespace`` ("" is any).

        API servers leave the kind of items out, since the list has said it; an item that has one must have the right one.
        """
        if not isinstance(found, dict):
            return None
        if found.get("kind", self.name) != self.name or found.get("apiVersion", self.api_version) != self.api_version:
            return None
        identity = _identity(found, namespace)
        if identity is None:
            return None
        value = self.decode(found)
        return None if value is None else Item(*identity, value)


def _malformed(what: str) -> ApiFailure:
    return ApiFailure(FailureKind.MALFORMED, message=what)


def _identity(found: Mapping[str, object], within: str) -> tuple[Key, str] | None:
    """Return which object it is, and its version."""
    metadata = found.get("metadata")
    if not isinstance(metadata, dict):
        return None
    namespace, name, version = metadata.get("namespace", ""), metadata.get("name"), metadata.get("resourceVersion")
    if not (isinstance(namespace, str) and isinstance(name, str) and isinstance(version, str) and name and version):
        return None
    return (Key(namespace, name), version) if within in {"", namespace} else None


def read_page(found: Mapping[str, object], kind: Kind[T], namespace: str = "") -> Page[T] | ApiFailure:
    """Return a page of a list of ``kind`` in ``namespace`` ("" is all).

    One object that cannot be read spoils it, since nobody knows what it would have said.
    """
    if not kind.is_list(found):
        return _malformed(f"an answer that is no {kind.name}List of {kind.api_version}")
    metadata, entries = found.get("metadata"), found.get("items")
    if not isinstance(metadata, dict) or not isinstance(entries, list):
        return _malformed("a list without metadata or items")
    version, token = metadata.get("resourceVersion"), metadata.get("continue", "")
    if not isinstance(version, str) or not version or not isinstance(token, str):
        return _malformed("a list without a resourceVersion")
    items: list[Item[T]] = []
    for entry in entries:
        item = kind.read(entry, namespace)
        if item is None:
            return _malformed("a list with an object that cannot be read")
        items.append(item)
    return Page(tuple(items), version, token)


def read_event(line: bytes, kind: Kind[T], namespace: str = "") -> WatchEvent[T]:
    """Return the event that a line of a watch of ``kind`` in ``namespace`` ("" is all) is."""
    found = read_object(line)
    if isinstance(found, ApiFailure):
        return _malformed("an event that is not JSON")
    what, body = found.get("type"), found.get("object")
    if not isinstance(body, dict):
        return _malformed("an event without an object")
    if what == "ERROR":
        return failure_of_status(body)  # whatever it is, it is no object
    if not kind.is_object(body):
        return _malformed(f"an event about something that is no {kind.name} of {kind.api_version}")
    match what:
        case "ADDED" | "MODIFIED":
            item = kind.read(body, namespace)
            return _malformed("an event with an object that cannot be read") if item is None else Put(item)
        case "DELETED":
            identity = _identity(body, namespace)
            return _malformed("an event with an object that cannot be read") if identity is None else Deleted(*identity)
        case "BOOKMARK":
            return _bookmark(body)
        case _:
            # As client-go's decoder has it: what is not understood may have been a change, so the watch is not to be trusted any more.
            return _malformed("an event of an unknown type")


def _bookmark(body: Mapping[str, object]) -> Bookmark | ApiFailure:
    metadata = body.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(version, str) or not version:
        return _malformed("a bookmark without a resourceVersion")
    annotations = metadata.get("annotations")
    return Bookmark(version, isinstance(annotations, dict) and annotations.get(INITIAL_EVENTS_END) == "true")


@final
@attrs.define(eq=False)
class Lines:
    """Cuts a stream into lines, none longer than ``limit`` bytes."""

    limit: int
    _parts: list[bytes] = attrs.field(factory=list, init=False, repr=False)
    _length: int = attrs.field(default=0, init=False)

    def feed(self, piece: bytes) -> list[bytes] | None:
        """Return the lines that ``piece`` completes, without empty ones; ``None`` when there is one beyond the limit."""
        *complete, rest = piece.split(b"\n")
        if complete:
            complete[0] = b"".join((*self._parts, complete[0]))
            self._parts, self._length = [], 0
        self._parts.append(rest)
        self._length += len(rest)
        if self._length > self.limit or any(len(line) > self.limit for line in complete):
            return None
        return [line for line in complete if line and not line.isspace()]

    @property
    def pending(self) -> bool:
        """Whether there is a line that has begun and not ended."""
        return any(part and not part.isspace() for part in self._parts)
