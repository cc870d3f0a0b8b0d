"""A console with made-up data, as a process: serves the page and speaks its interface, and does at ``/fake/*`` what a test asks for.

The real service is another program; this one can be told to lose items, to ask for a token, to be slow, or to say anything at all.
"""

import argparse
import hashlib
import json
import math
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, final
from urllib.parse import parse_qsl, urlsplit

import attrs
import h11
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from tests.browser import made_up
from tests.browser.made_up import Json

PAGE: Final = Path(__file__).parents[2] / "exchanger" / "console" / "page"
TYPES: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; font-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
BOUNDS: Final = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5]
COOKIE: Final = "exchanger_console"


@final
@attrs.define
class Question:
    """One request, read."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))


@final
@attrs.define
class Answer:
    """One answer: JSON, or a file."""

    status: int
    body: bytes = b""
    kind: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def said(content: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(content).encode())


def wrong(status: int, text: str) -> Answer:
    return said({"error": text}, status)


def version(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@final
@attrs.define(eq=False)
class FakeConsole:
    """What the console knows, and who watches it."""

    token: str = ""
    demo: bool = True
    release: str = made_up.VERSION
    items: list[Json] = attrs.field(factory=made_up.all_kinds)
    documents: dict[tuple[str, str], Json] = attrs.field(factory=made_up.documents)
    revision: int = 7
    files: dict[str, str] = attrs.field(factory=lambda: {"yellow.yaml": made_up.FILE_TEXT, "red.yaml": made_up.FILE_HEAD})
    sockets: set[WebSocketConnection] = attrs.field(factory=set)
    sessions: set[str] = attrs.field(factory=set)
    counts: dict[str, int] = attrs.field(factory=lambda: dict.fromkeys(made_up.KINDS, 0))
    lint_delay: float = 0.0
    bad: set[str] = attrs.field(factory=set)  # scenarios that do not come out as expected
    full: bool = False
    silent: bool = False  # tells no totals of its own

    def allowed(self, question: Question) -> bool:
        cookie = question.headers.get("cookie", "").removeprefix(f"{COOKIE}=")
        return not self.token or cookie in self.sessions

    async def answer(self, question: Question) -> Answer:
        path = question.path
        if path.startswith("/fake/"):
            return await self.told(path.removeprefix("/fake/"), json.loads(question.body or b"{}"))
        if path == "/" or path.startswith("/assets/"):
            return page_file(path)
        if path == "/session":
            return self.session(question)
        if path == "/api/about":
            return said(self.about(authorized=self.allowed(question)))
        if not self.allowed(question):
            return wrong(401, "sign in first")
        handlers: dict[str, Callable[[Question], Answer]] = {
            "/api/policy": self.policy,
            "/api/policy/document": self.document,
            "/api/explain": self.explain,
        }
        if path in handlers:
            return handlers[path](question)
        if path.startswith("/lab/") and self.demo:
            return await self.lab(question)
        return wrong(404, "there is nothing here")

    def about(self, *, authorized: bool) -> Json:
        return {
            "version": self.release if authorized else None,
            "mode": "demo" if self.demo else "service",
            "shows_tokens": self.demo,
            "lab": self.demo,
            "token_required": bool(self.token),
            "policy_source": "directory",
        }

    def session(self, question: Question) -> Answer:
        if question.method == "DELETE":
            self.sessions.clear()
            return Answer(204, headers=(("Set-Cookie", f"{COOKIE}=; Max-Age=0; Path=/"),))
        if json.loads(question.body).get("token") != self.token:
            return wrong(401, "wrong token")
        session = secrets.token_hex(8)
        self.sessions.add(session)
        return Answer(204, headers=(("Set-Cookie", f"{COOKIE}={session}; HttpOnly; SameSite=Strict; Path=/"),))

    def policy(self, _question: Question) -> Answer:
        return said(made_up.overview(self.documents, self.revision))

    def document(self, question: Question) -> Answer:
        found = self.documents.get((question.query.get("namespace", ""), question.query.get("name", "")))
        return wrong(404, "no such document") if found is None else said(found | {"revision": self.revision})

    def explain(self, question: Question) -> Answer:
        query = question.query
        return said(made_up.candidates(query["method"], query["host"], query["path"]) | {"revision": self.revision})

    async def lab(self, question: Question) -> Answer:
        body: Json = json.loads(question.body) if question.body else {}
        match question.method, question.path:
            case "GET", "/lab/scenarios":
                return said({"gateway": "http://127.0.0.1:10000", "keycloak": False, "scenarios": made_up.SCENARIOS})
            case "POST", "/lab/run":
                return said(await self.run(body["name"]))
            case "POST", "/lab/request":
                return said(made_up.result(None, [], ok=None) | {"got": f"200 for {body['method']} {body['path']}", "expected": ""})
            case "GET", "/lab/policy":
                return said({"files": [{"name": name, "text": text, "version": version(text)} for name, text in self.files.items()]})
            case "POST", "/lab/policy/lint":
                # The first answer is the slow one, so that it would come last if it were not dropped.
                delay, self.lint_delay = self.lint_delay, 0.0
                await trio.sleep(delay)
                return said({"documents": 1, "problems": made_up.lint(body["text"])})
            case "PUT", "/lab/policy":
                name, text = body["name"], body["text"]
                if body.get("version", version(self.files[name])) != version(self.files[name]):
                    return wrong(409, "the file was changed elsewhere meanwhile")
                self.files[name] = text
                problems = made_up.lint(text)
                self.revision += not problems
                return said({"saved": True, "in_force": not problems, "version": version(text), "problems": problems})
            case "POST", "/lab/policy/reset":
                self.files[body["name"]] = made_up.FILE_TEXT
                return said({"text": made_up.FILE_TEXT, "version": version(made_up.FILE_TEXT)})
        return wrong(404, "there is nothing here")

    async def run(self, name: str) -> Json:
        trace = secrets.token_hex(16)
        await self.emit([made_up.item(self.items[-1]["seq"] + 1, trace_id=trace)])
        return made_up.result(name, [trace], ok=name not in self.bad)

    async def told(self, what: str, body: Any) -> Answer:
        """Do what a test asks for."""
        told: dict[str, Callable[[Any], Awaitable[None]]] = {
            "emit": self.emit,
            "kinds": lambda _: self.emit(made_up.all_kinds(self.items[-1]["seq"] + 1)),
            "lost": lambda lost: self.send({"type": "decisions", "items": [], "lost": lost}),
            "totals": self.tell_samples,
            "drop": self.drop,
            "set": self.change,
            "document": self.replace,
        }
        await told[what](body)
        return Answer(204)

    async def tell_samples(self, samples: list[Json]) -> None:
        for sample in samples:
            await self.send({"type": "totals", **sample})

    async def drop(self, _body: object) -> None:
        for socket in list(self.sockets):
            await socket.aclose(1001)

    async def change(self, values: Json) -> None:
        for name, value in values.items():
            setattr(self, name, set(value) if isinstance(getattr(self, name), set) else value)

    async def replace(self, document: Json) -> None:
        self.documents[document["namespace"], document["name"]] = document

    async def emit(self, items: list[Json]) -> None:
        self.items = [*self.items, *items][-200:]
        for item in items:
            self.counts[item["decision"]] = self.counts.get(item["decision"], 0) + 1
        await self.send({"type": "decisions", "items": items, "lost": 0})

    async def send(self, message: Json) -> None:
        for socket in list(self.sockets):
            await self.send_to(socket, message)

    async def send_to(self, socket: WebSocketConnection, message: Json) -> None:
        try:
            await socket.send_message(json.dumps(message))
        except ConnectionClosed:
            self.sockets.discard(socket)

    def totals(self) -> Json:
        exchanges = self.counts["allow_exchange"] + self.counts["deny_exchange_error"]
        total = sum(self.counts.values())
        return {
            "type": "totals",
            "time": math.floor(trio.current_time() * 1000) + 1_769_860_000_000,
            "revision": self.revision,
            "decisions": dict(self.counts),
            "exchanges": exchanges,
            "coalesced": exchanges // 3,
            "latency": {"bounds": BOUNDS, "counts": [total, 0, 0, exchanges, *([0] * (len(BOUNDS) - 3))]},
            "subscribers": len(self.sockets),
        }

    async def stream(self, socket: WebSocketConnection) -> None:
        """Serve one that watches until it leaves."""
        hello = {
            "type": "hello",
            "version": self.release,
            "time": self.items[-1]["time"],
            "revision": self.revision,
            "items": self.items,
        }
        # From here on it is told what is new, which the connection keeps behind what it is told first.
        self.sockets.add(socket)
        await self.send_to(socket, hello)
        with trio.CancelScope() as gone:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.tell_totals, socket)
                try:
                    await socket.get_message()
                except ConnectionClosed:
                    self.sockets.discard(socket)
                gone.cancel()

    async def tell_totals(self, socket: WebSocketConnection) -> None:
        while True:
            if not self.silent:
                await self.send_to(socket, self.totals())
            await trio.sleep(1)


def page_file(path: str) -> Answer:
    name = "index.html" if path == "/" else path.removeprefix("/assets/")
    file = PAGE / name
    if ".." in name or not file.is_file() or file.suffix not in TYPES:
        return wrong(404, "there is no such file")
    return Answer(200, file.read_bytes(), f"{TYPES[file.suffix]}; charset=utf-8")


@final
@attrs.define(eq=False)
class Replayed(trio.abc.HalfCloseableStream):
    """A stream of which something was read already."""

    stream: trio.SocketStream
    before: bytes

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self.before:
            data, self.before = self.before, b""
            return data
        return bytes(await self.stream.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def aclose(self) -> None:
        await self.stream.aclose()


async def serve_connection(console: FakeConsole, stream: trio.SocketStream) -> None:
    """Serve HTTP on ``stream``, or hand it to the WebSocket."""
    protocol = h11.Connection(h11.SERVER)
    received = b""
    async with stream:
        while True:
            head: h11.Request | None = None
            body = b""
            while True:
                event = protocol.next_event()
                if event is h11.NEED_DATA:
                    data = bytes(await stream.receive_some(65_536))
                    received += data
                    protocol.receive_data(data)
                elif isinstance(event, h11.Request):
                    head = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage) and head is not None:
                    break
                elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                    return
            headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
            question = Question(head.method.decode(), head.target.decode(), headers, body)
            if question.path == "/stream" and console.allowed(question) and not console.full:
                await upgrade(console, Replayed(stream, received))
                return
            answer = wrong(503, "too many") if question.path == "/stream" else await console.answer(question)
            received = b""
            fields = [
                ("Content-Type", answer.kind),
                ("Content-Length", str(len(answer.body))),
                ("Content-Security-Policy", POLICY),
                ("X-Content-Type-Options", "nosniff"),
                ("Referrer-Policy", "no-referrer"),
                ("Cache-Control", "no-store"),
                *answer.headers,
            ]
            if answer.status == 204:
                fields = [field for field in fields if field[0] not in {"Content-Type", "Content-Length"}]
            sent = protocol.send(h11.Response(status_code=answer.status, headers=fields)) or b""
            sent += (protocol.send(h11.Data(data=answer.body)) or b"") if answer.body else b""
            sent += protocol.send(h11.EndOfMessage()) or b""
            await stream.send_all(sent)
            if protocol.our_state is not h11.DONE or protocol.their_state is not h11.DONE:
                return
            protocol.start_next_cycle()


async def upgrade(console: FakeConsole, stream: Replayed) -> None:
    async with trio.open_nursery() as nursery:
        request = await wrap_server_stream(nursery, stream)
        async with await request.accept() as socket:
            await console.stream(socket)


async def serve(console: FakeConsole, port: int) -> None:
    """Serve until the process ends; the port is printed first."""

    async def connection(stream: trio.SocketStream) -> None:
        try:
            await serve_connection(console, stream)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass  # the browser left

    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    print(listeners[0].socket.getsockname()[1], flush=True)  # noqa: T201 - the parent reads it
    await trio.serve_listeners(connection, listeners)


def main() -> None:
    """Run with the options of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", default="")
    parser.add_argument("--service", action="store_true", help="as the service does it: no tokens, no lab")
    options = parser.parse_args()
    trio.run(serve, FakeConsole(token=options.token, demo=not options.service), options.port)


if __name__ == "__main__":
    main()
