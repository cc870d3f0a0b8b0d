"""Answers of an API server, from JSON to the vocabulary of ``list_watch``: pages, events, objects, and failures. Total.

Nothing is taken on trust: an answer about another kind of object, or another namespace, says nothing about the requested objects. Otherwise
an empty list of something else would remove every policy.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/, and for the objects
https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/,
https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/namespace-v1/ and
https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/config-map-v1/.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar, final

import attrs
import orjson

from exchanger.policy.documents.document import Labels
from exchanger.policy.selection import DOCUMENT_KEY, NAME_LABEL, ConfigMap, Namespace, key_meant
from exchanger.sources.kube.list_watch import ApiFailure, Bookmark, Deleted, FailureKind, Item, Key, Page, Put, WatchEvent

T = TypeVar("T")
Decode = Callable[[Mapping[str, object]], T | None]
# The annotation of the bookmark after the initial objects: https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists.
INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"
# Characters of a server's message that are kept; the longest that names a missing right is about as long.
MAX_MESSAGE_CHARS: Final = 200
# Seconds: a longer Retry-After is reduced to this; client-go's own back-off ends at 30.
MAX_RETRY_AFTER_S: Final = 300.0
# API servers send seconds (https://kubernetes.io/docs/concepts/cluster-administration/flow-control/); a date is ignored.
RETRY_AFTER: Final = re.compile(r"[0-9]{1,9}")
# The message for a version that the server has not reached:
# https://kubernetes.io/docs/reference/using-api/api-concepts/#unavailable-resource-versions.
TOO_LARGE_VERSION: Final = "too large resource version"

# The kind and API version of an object's metadata alone.
METADATA: Final = ("PartialObjectMetadata", "meta.k8s.io/v1")

_KINDS: Final = {
    400: FailureKind.UNSUPPORTED,
    401: FailureKind.UNAUTHORIZED,
    403: FailureKind.FORBIDDEN,
    404: FailureKind.NOT_FOUND,
    410: FailureKind.GONE,
    422: FailureKind.UNSUPPORTED,
    429: FailureKind.TOO_MANY_REQUESTS,
}


def read_object(body: bytes | bytearray) -> dict[str, object] | ApiFailure:
    """Parse ``body`` as a JSON object."""
    try:
        found: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ApiFailure(FailureKind.MALFORMED, message="an answer that is not JSON")
    return found if isinstance(found, dict) else ApiFailure(FailureKind.MALFORMED, message="an answer that is not a JSON object")


def failure_of_response(status: int, body: bytes | bytearray, retry_after: str | None) -> ApiFailure:
    """Return the failure that an error answer means; ``retry_after`` is the header of that name."""
    seconds = _seconds(retry_after)
    found = read_object(body)
    if isinstance(found, ApiFailure) or found.get("kind") != "Status":
        # Something in between answered, such as a proxy with its own error page, whose text does not help.
        return ApiFailure(_kind(status, ""), status, f"HTTP {status}, and no Kubernetes Status with it", seconds)
    failure = failure_of_status({**found, "code": status})
    return failure if seconds is None else ApiFailure(failure.kind, status, failure.message, seconds)


def failure_of_status(status: Mapping[str, object]) -> ApiFailure:
    """Return the failure in a watch's ERROR event; the ``code`` of its Status is the HTTP status it would have had."""
    code = status.get("code")
    if isinstance(code, bool) or not isinstance(code, int) or not 0 <= code < 1000:  # noqa: PLR2004 - three digits, RFC 9110 section 15
        code = 0
    message = status.get("message")
    details = status.get("details")
    seconds = details.get("retryAfterSeconds") if isinstance(details, dict) else None
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds <= 0:
        seconds = None
    text = message if isinstance(message, str) else ""
    reason = status.get("reason")
    if code == 0 and reason == "Expired":
        return ApiFailure(FailureKind.GONE, 0, printable(text))
    return ApiFailure(_kind(code, text), code, printable(text), None if seconds is None else min(float(seconds), MAX_RETRY_AFTER_S))


def printable(text: str) -> str:
    """Return the beginning of a foreign text as one line that is fit for a log."""
    cut = text[:MAX_MESSAGE_CHARS]
    return "".join(character if character.isprintable() else " " for character in cut)


def _kind(status: int, message: str) -> FailureKind:
    known = _KINDS.get(status)
    if known is not None:
        return known
    if status == 504 and TOO_LARGE_VERSION in message.lower():  # noqa: PLR2004 - Gateway Timeout, RFC 9110 section 15.6.5
        return FailureKind.GONE
    # 405, 406, 409, 415 and so on: this server cannot serve the request; ``status`` tells them apart.
    return FailureKind.UNSUPPORTED if 400 <= status < 500 else FailureKind.SERVER_ERROR  # noqa: PLR2004 - RFC 9110 section 15.5


def _seconds(header: str | None) -> float | None:
    text = "" if header is None else header.strip()
    return min(float(text), MAX_RETRY_AFTER_S) if RETRY_AFTER.fullmatch(text) else None


@final
@attrs.frozen
class Kind(Generic[T]):
    """A kind of object: ``name`` is its ``kind``, such as ``ConfigMap``, and ``decode`` reads one, or returns ``None``.

    With ``is_metadata``, servers are asked for the metadata of each object alone; those that do not know this send whole objects. Such a
    kind cannot be watched.

    Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#collections, and for metadata
    https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables and its examples of ``as=``.
    """

    name: str
    decode: Decode[T]
    api_version: str = "v1"
    is_metadata: bool = False

    @property
    def accept(self) -> str:
        """The Accept header of a request for a list."""
        return f"application/json;as={METADATA[0]}List;g=meta.k8s.io;v=v1,application/json" if self.is_metadata else "application/json"

    def is_object(self, found: Mapping[str, object]) -> bool:
        """Return whether ``found`` declares this kind, as everything but the items of a list does."""
        return (found.get("kind"), found.get("apiVersion")) == (self.name, self.api_version)

    def is_list(self, found: Mapping[str, object]) -> bool:
        """Return whether ``found`` declares that it is a list of this kind."""
        return (found.get("kind"), found.get("apiVersion")) in [(f"{name}List", version) for name, version in self._forms]

    def read(self, found: object, namespace: str) -> Item[T] | None:
        """Read an item of a list; ``None`` if it is no such object, or is not in ``namespace`` ("" is any).

        API servers omit the kind of items, since the list has it; an item that has one must have the right one.
        """
        if not isinstance(found, dict):
            return None
        if not any((found.get("kind", name), found.get("apiVersion", version)) == (name, version) for name, version in self._forms):
            return None
        identity = _identity(found, namespace)
        if identity is None:
            return None
        value = self.decode(found)
        return None if value is None else Item(*identity, value)

    @property
    def _forms(self) -> tuple[tuple[str, str], ...]:
        """The kinds and API versions in which objects may come."""
        return ((self.name, self.api_version), *((METADATA,) if self.is_metadata else ()))


def _malformed(what: str) -> ApiFailure:
    return ApiFailure(FailureKind.MALFORMED, message=what)


def _identity(found: Mapping[str, object], within: str) -> tuple[Key, str] | None:
    """Return the object's key and version."""
    metadata = found.get("metadata")
    if not isinstance(metadata, dict):
        return None
    namespace, name, version = metadata.get("namespace", ""), metadata.get("name"), metadata.get("resourceVersion")
    if not (isinstance(namespace, str) and isinstance(name, str) and isinstance(version, str) and name and version):
        return None
    return (Key(namespace, name), version) if within in {"", namespace} else None


def read_page(found: Mapping[str, object], kind: Kind[T], namespace: str = "") -> Page[T] | ApiFailure:
    """Read a page of a list of ``kind`` in ``namespace`` ("" is all).

    One unreadable object makes it unusable, since that object's content is unknown.
    """
    if not kind.is_list(found):
        return _malformed(f"an answer that is not a {kind.name}List of {kind.api_version}")
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
    """Read a line of a watch of ``kind`` in ``namespace`` ("" is all)."""
    found = read_object(line)
    if isinstance(found, ApiFailure):
        return _malformed("an event that is not JSON")
    what, body = found.get("type"), found.get("object")
    if not isinstance(body, dict):
        return _malformed("an event without an object")
    if what == "ERROR":
        return failure_of_status(body)
    if not kind.is_object(body):
        return _malformed(f"an event about something that is not a {kind.name} of {kind.api_version}")
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
            # As in client-go: it may have been a change, so the watch is no longer trustworthy.
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
        """Return the lines that ``piece`` completes, without blank ones; ``None`` if one exceeds the limit."""
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
        """Whether a line has begun and not ended."""
        return any(part and not part.isspace() for part in self._parts)


def decode_namespace(found: Mapping[str, object]) -> Namespace | None:
    """Read a Namespace; ``None`` if ``found`` is not one."""
    metadata = found.get("metadata")
    labels = _labels(metadata)
    if not isinstance(metadata, dict) or labels is None:
        return None
    name, uid = metadata.get("name"), metadata.get("uid")
    if not isinstance(name, str) or not name or metadata.get("namespace"):
        return None
    return Namespace(name, tuple(sorted({**dict(labels), NAME_LABEL: name}.items())), uid if isinstance(uid, str) else "")


def decode_config_map(found: Mapping[str, object]) -> ConfigMap | None:
    """Read a ConfigMap; ``None`` if ``found`` is not one. Only the document and what names it is kept."""
    metadata = found.get("metadata")
    labels = _labels(metadata)
    if not isinstance(metadata, dict) or labels is None:
        return None
    namespace, name, data = metadata.get("namespace"), metadata.get("name"), found.get("data")
    if not (isinstance(namespace, str) and isinstance(name, str) and namespace and name and isinstance(data, dict | None)):
        return None
    document, uid = (data or {}).get(DOCUMENT_KEY), metadata.get("uid")
    return ConfigMap(
        namespace,
        name,
        labels,
        document if isinstance(document, str) else None,
        uid if isinstance(uid, str) else "",
        key_meant(data or {}, found.get("binaryData")),
    )


def _labels(metadata: object) -> Labels | None:
    labels = metadata.get("labels") if isinstance(metadata, dict) else ()
    if labels is None:
        return ()
    if not isinstance(labels, dict) or not all(isinstance(text, str) for text in labels.values()):
        return None
    return tuple(sorted(labels.items()))


NAMESPACE: Final = Kind("Namespace", decode_namespace)
CONFIG_MAP: Final = Kind("ConfigMap", decode_config_map)
# The names and versions of ConfigMaps alone.
CONFIG_MAP_VERSION: Final = Kind("ConfigMap", lambda _found: True, is_metadata=True)
