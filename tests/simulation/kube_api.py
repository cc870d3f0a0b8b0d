"""The API server of a cluster in JSON, as the service's client gets it: pages of lists, lines of watches, and what no server should say.

It stands for ``ApiConnection``: its threads, TLS and HTTP/1.1 are not simulated. What reads an answer is the service's own code.
"""

import json
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import Any, Final, TypeVar, final
from urllib.parse import unquote

import attrs
import trio

from exchanger.policy.selection import DOCUMENT_KEY, ConfigMap, Namespace
from exchanger.sources.kube.api.decoding import (
    CONFIG_MAP,
    CONFIG_MAP_VERSION,
    INITIAL_EVENTS_END,
    METADATA,
    NAMESPACE,
    Kind,
    Lines,
    failure_of_response,
    read_object,
)
from exchanger.sources.kube.api.transport import MAX_BODY_BYTES, ApiRequest
from exchanger.sources.kube.list_watch import ApiFailure, Bookmark, Deleted, FailureKind, Item, Key, Opened, Page, Put, WatchEvent
from tests.simulation.kernel import Kernel
from tests.sources.kube.fake_api_server import FakeListWatch

R = TypeVar("R")
B = TypeVar("B")

# What comes in place of a list, with status 200 but for the last, and what comes in the middle of a watch.
STRANGE_LISTS: Final = ("another kind", "no kind", "null items", "status", "half a list", "stranger inside", "expired pages")
STRANGE_EVENTS: Final = ("stranger deleted", "unknown type", "half a line", "bookmark without version", "expired watch")
STRANGE: Final = (*STRANGE_LISTS, *STRANGE_EVENTS)
# The share of answers that are strange while any are.
_OFTEN: Final = 0.5
# Seconds between two parts of a line: so few that one feed is not behind the other by more than the service waits for both.
_PAUSE: Final = 0.002

Said = dict[str, Any]


@final
@attrs.define(eq=False)
class KubeApi:
    """Answers from ``views``, by resource and namespace. Until ``strange_until`` (seconds), what it says may be one of the ``strange``."""

    kernel: Kernel
    views: Callable[[str, str], FakeListWatch[Any]]
    strange: frozenset[str]
    strange_until: float = 0.0
    chance: Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.chance = self.kernel.random("API server")

    def _some(self, kinds: tuple[str, ...]) -> str:
        able = [kind for kind in kinds if kind in self.strange]
        if self.kernel.now >= self.strange_until or not able or self.chance.random() >= _OFTEN:
            return ""
        kind = self.chance.choice(able)
        self.kernel.tell("API server", "answers strangely", kind)
        return kind

    def _asked(self, request: ApiRequest) -> tuple[Kind[Any], FakeListWatch[Any], dict[str, str]]:
        *_, parent, name, resource = ("", *request.path.split("/"))
        within, query = unquote(name) if parent == "namespaces" else "", dict(request.query)
        view = self.views(resource, within)
        view = attrs.evolve(view, only=query.get("fieldSelector", "").removeprefix("metadata.name="))
        kind = CONFIG_MAP if resource == "configmaps" else NAMESPACE
        return CONFIG_MAP_VERSION if request.accept == CONFIG_MAP_VERSION.accept else kind, view, query

    async def ask(self, request: ApiRequest, read: Callable[[dict[str, object]], R]) -> R | ApiFailure:
        """Answer a list."""
        kind, view, query = self._asked(request)
        strange = self._some(STRANGE_LISTS)
        limit = 1 if strange == "expired pages" else int(query["limit"])
        token = query.get("continue", "")
        found = await view.list_page(limit=limit, continue_token=token, resource_version=query.get("resourceVersion", ""))
        if isinstance(found, Page) and strange == "expired pages" and token:
            found = ApiFailure(FailureKind.GONE, 410, "The provided continue parameter is too old")
        if isinstance(found, ApiFailure):
            return _response(found)
        said = read_object(_list(kind, found, strange))
        return said if isinstance(said, ApiFailure) else read(said)

    async def follow(
        self, request: ApiRequest, seconds: float, read: Callable[[list[bytes]], B], take: Callable[[B], Awaitable[bool]]
    ) -> ApiFailure | None:
        """Answer a watch."""
        kind, view, query = self._asked(request)
        lines, version, initial = Lines(MAX_BODY_BYTES), query.get("resourceVersion", ""), "sendInitialEvents" in query
        async with view.watch(resource_version=version, timeout=seconds, initial_events=initial) as events:
            is_open = False
            async for event in events:
                if isinstance(event, ApiFailure) and not (is_open and event.status):
                    return event if is_open else _response(event)
                is_open = True
                strange = "" if isinstance(event, ApiFailure) else self._some(STRANGE_EVENTS)
                said = b"".join(_lines(kind, event, strange, view))
                if isinstance(event, Opened) and not await take(read([])):
                    return None
                for piece in self._pieces(said):
                    await trio.sleep(self.chance.uniform(0.0, _PAUSE) if piece is not said else 0.0)
                    complete = lines.feed(piece)
                    assert complete is not None
                    if complete and not await take(read(complete)):
                        return None
                if strange == "half a line":
                    break
        return ApiFailure(FailureKind.UNREACHABLE, 200, "the watch ended inside an event") if lines.pending else None

    def _pieces(self, said: bytes) -> list[bytes]:
        if not self.strange or len(said) < 2 or self.chance.random() < 0.5:
            return [said] if said else []
        cut = self.chance.randrange(1, len(said))
        return [said[:cut], said[cut:]]


def _response(failure: ApiFailure) -> ApiFailure:
    """Let ``failure`` go by an HTTP answer, if it is one."""
    if not failure.status:
        return failure
    seconds = None if failure.retry_after is None else str(round(failure.retry_after))
    return failure_of_response(failure.status, json.dumps(_status(failure)).encode(), seconds)


def _status(failure: ApiFailure) -> Said:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": failure.message, "code": failure.status}


def _list(kind: Kind[Any], page: Page[Any], strange: str) -> bytes:
    found = map(_object, page.items)
    items: list[Said] | None = [{"metadata": item["metadata"]} for item in found] if kind.is_metadata else list(found)
    name, version = METADATA if kind.is_metadata else (kind.name, kind.api_version)
    said: Said = {
        "kind": f"{name}List",
        "apiVersion": version,
        "metadata": {"resourceVersion": page.resource_version, "continue": page.continue_token},
        "items": items,
    }
    match strange:
        case "another kind":
            said |= {"kind": "PodList", "items": []}
        case "no kind":
            said = {"metadata": said["metadata"], "items": []}
        case "null items":
            said["items"] = None
        case "status":
            said = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        case "stranger inside":
            said["items"] = [{"kind": "Pod", "metadata": {"name": "stranger", "namespace": "x", "resourceVersion": "1"}}]
    text = json.dumps(said).encode()
    return text[: len(text) // 2] if strange == "half a list" else text


def _object(item: Item[Any]) -> Said:
    """Return an object as it is in a list; a watch says its kind, too."""
    value, key = item.value, item.key
    metadata: Said = {"name": key.name, "resourceVersion": item.resource_version, "labels": dict(value.labels)}
    if isinstance(value, Namespace):
        return {"metadata": metadata}
    assert isinstance(value, ConfigMap)
    return {"metadata": {**metadata, "namespace": key.namespace}, "data": {DOCUMENT_KEY: value.document}}


def _lines(kind: Kind[Any], event: WatchEvent[Any], strange: str, view: FakeListWatch[Any]) -> Iterator[bytes]:
    """Yield the lines of an event, after something strange."""
    here = {"kind": kind.name, "apiVersion": kind.api_version}
    match strange:
        case "stranger deleted":  # and has the name of an object that is there
            key = next(iter(view.view()), Key("x" if kind is CONFIG_MAP else "", "x"))
            named = {"namespace": key.namespace, "name": key.name, "resourceVersion": str(view.server.version)}
            yield _line("DELETED", {"kind": "Pod", "apiVersion": "v1", "metadata": named})
        case "unknown type":
            yield _line("RENAMED", {**here, "metadata": {"resourceVersion": str(view.server.version)}})
        case "bookmark without version":
            yield _line("BOOKMARK", {**here, "metadata": {"annotations": {INITIAL_EVENTS_END: "true"}}})
        case "expired watch":
            yield _line("ERROR", {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "message": "too old"})
        case "half a line":
            yield b'{"type":"DELETED","object":{"kind":"'
            return
    match event:
        case Put(item):
            yield _line("ADDED", {**here, **_object(item)})
        case Deleted(key, version):
            metadata = {"name": key.name, "resourceVersion": version, **({"namespace": key.namespace} if key.namespace else {})}
            yield _line("DELETED", {**here, "metadata": metadata})
        case Bookmark(version, initial_events_end):
            annotations = {"annotations": {INITIAL_EVENTS_END: "true"}} if initial_events_end else {}
            yield _line("BOOKMARK", {**here, "metadata": {"resourceVersion": version, **annotations}})
        case ApiFailure():
            yield _line("ERROR", _status(event))


def _line(what: str, said: Said) -> bytes:
    return json.dumps({"type": what, "object": said}).encode() + b"\n"
