"""A simulated API server for benchmarks: Namespaces and ConfigMaps, listed and watched over HTTP, as fast as the client reads.

It knows no selectors and no rights: every object is selected. A watch from a version that is not the newest is too old. Events that are
posted are forgotten.
"""

import contextlib
import json
import queue
import select
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, final
from urllib.parse import parse_qs, urlsplit

import attrs
from service_load import manifest  # beside this file

# Events that are sent at once.
BATCH: Final = 1_000
# Seconds without an event until a bookmark.
BOOKMARK_S: Final = 30.0
# Seconds between looks whether a client that is told nothing is still there.
LOOK_S: Final = 0.2
KINDS: Final = {"namespaces": "Namespace", "configmaps": "ConfigMap"}


@final
@attrs.define(eq=False)
class Objects:
    """What there is, by kind, namespace and name, and who watches: a queue for each watch of one kind in one namespace ("" for all)."""

    by_key: dict[tuple[str, str, str], dict[str, Any]] = attrs.field(factory=dict)
    version: int = 1
    _watches: dict[queue.SimpleQueue[bytes], tuple[str, str]] = attrs.field(factory=dict)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def put(self, name: str, namespace: str = "", data: Mapping[str, str] | None = None) -> None:
        """Create or change a Namespace, or a ConfigMap in one."""
        resource = "configmaps" if namespace else "namespaces"
        value: dict[str, Any] = manifest(KINDS[resource], name, namespace, data)
        with self._lock:
            self.version += 1
            value["metadata"] |= {"resourceVersion": str(self.version), "uid": f"{namespace}/{name}"}
            kind = "MODIFIED" if (resource, namespace, name) in self.by_key else "ADDED"
            self.by_key[resource, namespace, name] = value
            for waiting, watched in self._watches.items():
                if watched in {(resource, ""), (resource, namespace)}:
                    waiting.put(event(kind, value))

    def remove_all(self) -> None:
        """Forget everything. Nobody may watch."""
        self.by_key.clear()

    def found(self, resource: str, namespace: str) -> list[dict[str, Any]]:
        """Return the objects of a kind in a namespace, or in all with ""."""
        return [value for (kind, within, _), value in self.by_key.items() if kind == resource and namespace in {"", within}]

    @contextlib.contextmanager
    def watch(self, resource: str, namespace: str) -> Iterator[tuple[str, list[dict[str, Any]], "queue.SimpleQueue[bytes]"]]:
        """Give version and objects of this moment, and a queue of the events after it, until the block ends."""
        waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        with self._lock:
            self._watches[waiting] = resource, namespace
            version, present = str(self.version), self.found(resource, namespace)
        try:
            yield version, present, waiting
        finally:
            with self._lock:
                del self._watches[waiting]


def event(kind: str, value: Mapping[str, Any]) -> bytes:
    """Return a line of a watch."""
    return json.dumps({"type": kind, "object": value}, separators=(",", ":")).encode() + b"\n"


def bookmark(resource: str, version: str, more: Mapping[str, Any] | None = None) -> bytes:
    """Return the line of a bookmark."""
    metadata = {"resourceVersion": version, **(more or {})}
    return event("BOOKMARK", {"kind": KINDS[resource], "apiVersion": "v1", "metadata": metadata})


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    objects: Objects

    def do_GET(self) -> None:
        """List or watch."""
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match url.path.strip("/").split("/"):
            case ["api", "v1", ("namespaces" | "configmaps") as resource]:
                namespace = ""
            case ["api", "v1", "namespaces", namespace, "configmaps" as resource]:
                pass
            case _:
                self.say(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404})
                return
        if query.get("watch") in {"true", "1"}:
            with contextlib.suppress(OSError):
                self.follow(resource, namespace, query)
            self.close_connection = True
        else:
            first = int(query.get("continue", "0"))
            items = self.objects.found(resource, namespace)[first:]
            page = items[: int(query.get("limit", "0")) or None]
            left = {"continue": str(first + len(page))} if len(page) < len(items) else {}
            metadata = {"resourceVersion": str(self.objects.version), **left}
            self.say(200, {"kind": f"{KINDS[resource]}List", "apiVersion": "v1", "metadata": metadata, "items": page})

    def do_POST(self) -> None:
        """Take an Event."""
        self.say(201, json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def say(self, status: int, content: object) -> None:
        """Answer."""
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def follow(self, resource: str, namespace: str, query: Mapping[str, str]) -> None:
        """Send what there is, if it is wanted, and what is changed until the client leaves."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        ends = time.monotonic() + int(query.get("timeoutSeconds", "300"))
        with self.objects.watch(resource, namespace) as (version, present, waiting):
            if query.get("sendInitialEvents") == "true":
                for first in range(0, len(present), BATCH):
                    self.send(b"".join(event("ADDED", value) for value in present[first : first + BATCH]))
                self.send(bookmark(resource, version, {"annotations": {"k8s.io/initial-events-end": "true"}}))
            elif query.get("resourceVersion") != version:
                self.send(event("ERROR", {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired"}))
                ends = 0
            said = time.monotonic()
            while time.monotonic() < ends:
                try:
                    self.send(waiting.get(timeout=LOOK_S))
                    said = time.monotonic()
                except queue.Empty:
                    if select.select([self.connection], [], [], 0)[0]:
                        return  # it has left: a watch is the last request of a connection
                    if time.monotonic() > said + BOOKMARK_S:
                        said = time.monotonic()
                        self.send(bookmark(resource, str(self.objects.version)))
            self.wfile.write(b"0\r\n\r\n")

    def send(self, chunk: bytes) -> None:
        """Send one chunk."""
        self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))

    def log_message(self, *_: object) -> None:
        """Be silent."""


@contextlib.contextmanager
def listening(objects: Objects, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve ``objects`` until the block ends; give the port."""
    handler = type("BoundHandler", (Handler,), {"objects": objects})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def api_server(folder: Path) -> Iterator[tuple[Objects, Path]]:
    """Run a server until the block ends; give its objects, and a kubeconfig for it in ``folder``."""
    objects = Objects()
    with listening(objects) as port:
        kubeconfig = folder / "kubeconfig"
        cluster = {"name": "bench", "cluster": {"server": f"http://127.0.0.1:{port}"}}
        context = {"name": "bench", "context": {"cluster": "bench", "user": "bench"}}
        user = {"name": "bench", "user": {"token": "bench"}}
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "bench"}
        kubeconfig.write_text(json.dumps({**config, "clusters": [cluster], "contexts": [context], "users": [user]}))
        yield objects, kubeconfig
