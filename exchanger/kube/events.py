"""Pages of a list and events of a watch, from JSON to the vocabulary. Total.

Must not know: sockets, threads, or what objects are for: ``decode`` reads one object, or returns ``None`` for what is no such object.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar, final

import attrs

from exchanger.kube.answers import failure_of_status, read_object
from exchanger.kube.list_watch import ApiFailure, Bookmark, Deleted, FailureKind, Item, Key, Page, Put, WatchEvent

T = TypeVar("T")
Decode = Callable[[Mapping[str, object]], T | None]
INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"
"""The annotation of the bookmark after the initial objects: https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists."""


def _malformed(what: str) -> ApiFailure:
    return ApiFailure(FailureKind.MALFORMED, message=what)


def read_item(found: object, decode: Decode[T]) -> Item[T] | None:
    """Return an object, ``None`` when it is none."""
    if not isinstance(found, dict):
        return None
    identity = _identity(found)
    if identity is None:
        return None
    value = decode(found)
    return None if value is None else Item(*identity, value)


def _identity(found: Mapping[str, object]) -> tuple[Key, str] | None:
    """Return which object it is, and its version."""
    metadata = found.get("metadata")
    if not isinstance(metadata, dict):
        return None
    namespace, name, version = metadata.get("namespace", ""), metadata.get("name"), metadata.get("resourceVersion")
    if not (isinstance(namespace, str) and isinstance(name, str) and isinstance(version, str) and name and version):
        return None
    return Key(namespace, name), version


def read_page(found: Mapping[str, object], decode: Decode[T]) -> Page[T] | ApiFailure:
    """Return a page of a list; one object that cannot be read spoils it, since nobody knows what it would have said."""
    metadata, entries = found.get("metadata"), found.get("items", 0)
    if not isinstance(metadata, dict) or not isinstance(entries, list | None):
        return _malformed("a list without metadata or items")
    version, token = metadata.get("resourceVersion"), metadata.get("continue", "")
    if not isinstance(version, str) or not version or not isinstance(token, str):
        return _malformed("a list without a resourceVersion")
    items: list[Item[T]] = []
    for entry in entries or ():
        item = read_item(entry, decode)
        if item is None:
            return _malformed("a list with an object that cannot be read")
        items.append(item)
    return Page(tuple(items), version, token)


def read_event(line: bytes, decode: Decode[T]) -> WatchEvent[T]:
    """Return the event that a line of a watch is."""
    found = read_object(line)
    if isinstance(found, ApiFailure):
        return _malformed("an event that is not JSON")
    kind, body = found.get("type"), found.get("object")
    if not isinstance(body, dict):
        return _malformed("an event without an object")
    match kind:
        case "ADDED" | "MODIFIED":
            item = read_item(body, decode)
            return _malformed("an event with an object that cannot be read") if item is None else Put(item)
        case "DELETED":
            identity = _identity(body)
            return _malformed("an event with an object that cannot be read") if identity is None else Deleted(*identity)
        case "BOOKMARK":
            return _bookmark(body)
        case "ERROR":
            return failure_of_status(body)
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
