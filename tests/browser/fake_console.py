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
from urllib.parse import parse_qsl

import attrs
import trio

from exchanger.net.http.message import Handler, Request, Response
from exchanger.net.http.server import HttpServer, Upgrade
from exchanger.operations.console.message import PROTECTION
from exchanger.operations.console.message import json_response as said
from exchanger.operations.console.server import LIMITS
from exchanger.operations.console.websocket import Handshake, read_handshake, send_messages
from tests.browser import made_up
from tests.browser.made_up import Json

PAGE: Final = Path(__file__).parents[2] / "exchanger/operations/console/page"
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".woff2": "font/woff2",
}
BOUNDS: Final = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5]
COOKIE: Final = "exchanger_console"
ORIGINALS: Final = {"yellow.yaml": made_up.FILE_TEXT, "red.yaml": made_up.FILE_HEAD}


def query_of(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.query))


def wrong(status: int, text: str) -> Response:
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
    files: dict[str, str] = attrs.field(factory=lambda: dict(ORIGINALS))
    watchers: dict[trio.MemorySendChannel[str], trio.CancelScope] = attrs.field(factory=dict)
    sessions: set[str] = attrs.field(factory=set)
    counts: dict[str, int] = attrs.field(factory=lambda: dict.fromkeys(made_up.KINDS, 0))
    lint_delay: float = 0.0
    bad: set[str] = attrs.field(factory=set)  # scenarios that do not come out as expected
    full: bool = False
    silent: bool = False  # tells no totals of its own
    health: Json = attrs.field(factory=lambda: dict(made_up.HEALTHY))
    issuers: Json = attrs.field(factory=lambda: {"listed": [], "more": 0})
    history: list[Json] = attrs.field(factory=list)

    def allowed(self, question: Request) -> bool:
        cookie = question.value("cookie").removeprefix(f"{COOKIE}=")
        return not self.token or cookie in self.sessions

    async def answer(self, question: Request) -> Response:
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
        handlers: dict[str, Callable[[Request], Response]] = {
            "/api/policy": self.policy,
            "/api/policy/document": self.document,
            "/api/explain": self.explain,
            "/api/hosts": lambda _question: said({"listed": ["blue.example.com", "yellow.example.com"], "more": 0}),
            "/api/issuers": lambda _question: said(made_up.PROFILES),
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

    def session(self, question: Request) -> Response:
        if question.method == "DELETE":
            self.sessions.clear()
            return Response(204, (("Set-Cookie", f"{COOKIE}=; Max-Age=0; Path=/"),))
        if json.loads(question.body).get("token") != self.token:
            return wrong(401, "wrong token")
        session = secrets.token_hex(8)
        self.sessions.add(session)
        return Response(204, (("Set-Cookie", f"{COOKIE}={session}; HttpOnly; SameSite=Strict; Path=/"),))

    def policy(self, _question: Request) -> Response:
        return said(made_up.overview(self.documents, self.revision))

    def document(self, question: Request) -> Response:
        found = self.documents.get((query_of(question).get("namespace", ""), query_of(question).get("name", "")))
        return wrong(404, "no such document") if found is None else said(found | {"revision": self.revision})

    def explain(self, question: Request) -> Response:
        query = query_of(question)
        return said(made_up.candidates(query["method"], query["host"], query["path"]) | {"revision": self.revision})

    async def lab(self, question: Request) -> Response:
        body: Json = json.loads(question.body) if question.body else {}
        match question.method, question.path:
            case "GET", "/lab/scenarios":
                return said({"gateway": "http://127.0.0.1:10000", "keycloak": False, "scenarios": made_up.SCENARIOS})
            case "POST", "/lab/run":
                return said(await self.run(body["name"]))
            case "POST", "/lab/request":
                return said(made_up.result(None, [], ok=None) | {"got": f"200 for {body['method']} {body['path']}", "expected": ""})
            case "POST", "/lab/policy/lint":
                # The first answer is the slow one, so that it would come last if it were not dropped.
                delay, self.lint_delay = self.lint_delay, 0.0
                await trio.sleep(delay)
                compared = {"compared": made_up.COMPARED} if body.get("compare") else {}
                return said({"documents": 1, "problems": made_up.lint(body["text"]), **compared})
        return self.policy_files(question, body)

    def policy_files(self, question: Request, body: Json) -> Response:
        match question.method, question.path:
            case "GET", "/lab/policy":
                listed: list[Json] = [{"name": name, "text": text, "version": version(text)} for name, text in self.files.items()]
                return said({"files": [file if file["name"] in ORIGINALS else file | {"added": True} for file in listed]})
            case "POST", "/lab/policy":
                if "/" in body["name"]:
                    return wrong(400, "the name must begin with a letter or digit")
                self.files[body["name"]] = made_up.FILE_TEXT
                self.revision += 1
                return said({"text": made_up.FILE_TEXT, "version": version(made_up.FILE_TEXT), "active": True})
            case "PUT", "/lab/policy":
                name, text = body["name"], body["text"]
                if name not in self.files:
                    return wrong(404, "the demo has no such policy file")
                if body.get("version", version(self.files[name])) != version(self.files[name]):
                    return wrong(409, "the file was changed elsewhere meanwhile")
                self.files[name] = text
                problems = made_up.lint(text)
                self.revision += not problems
                return said({"saved": True, "active": not problems, "version": version(text), "problems": problems})
            case "POST", "/lab/policy/reset" if body["name"] not in ORIGINALS:
                del self.files[body["name"]]
                return said({"removed": True})
            case "POST", "/lab/policy/reset":
                self.files[body["name"]] = made_up.FILE_TEXT
                return said({"text": made_up.FILE_TEXT, "version": version(made_up.FILE_TEXT)})
        return wrong(404, "there is nothing here")

    async def run(self, name: str) -> Json:
        trace = secrets.token_hex(16)
        await self.emit([made_up.item(self.items[-1]["seq"] + 1, trace_id=trace)])
        return made_up.result(name, [trace], ok=name not in self.bad)

    async def told(self, what: str, body: Any) -> Response:
        """Do what a test asks for."""
        told: dict[str, Callable[[Any], Awaitable[None]]] = {
            "emit": self.emit,
            "kinds": lambda _: self.emit(made_up.all_kinds(self.items[-1]["seq"] + 1)),
            "lost": lambda lost: self.send({"type": "decisions", "items": [], "lost": lost}),
            "totals": self.tell_samples,
            "drop": self.drop,
            "set": self.change,
            "reset": self.reset,
            "document": self.replace,
        }
        await told[what](body)
        return Response(204)

    async def tell_samples(self, samples: list[Json]) -> None:
        for sample in samples:
            await self.send({"type": "totals", **sample})

    async def drop(self, _body: object) -> None:
        for scope in self.watchers.values():
            scope.cancel()

    async def change(self, values: Json) -> None:
        for name, value in values.items():
            setattr(self, name, set(value) if isinstance(getattr(self, name), set) else value)

    async def reset(self, _body: object) -> None:
        """Forget what other tests have made of it."""
        await self.drop(None)
        new = FakeConsole(token=self.token, demo=self.demo)
        for field in attrs.fields(FakeConsole):
            if field.name != "watchers":
                setattr(self, field.name, getattr(new, field.name))

    async def replace(self, document: Json) -> None:
        self.documents[document["namespace"], document["name"]] = document

    async def emit(self, items: list[Json]) -> None:
        self.items = [*self.items, *items][-200:]
        for item in items:
            self.counts[item["decision"]] = self.counts.get(item["decision"], 0) + 1
        await self.send({"type": "decisions", "items": items, "lost": 0})

    async def send(self, message: Json) -> None:
        for watcher in self.watchers:
            watcher.send_nowait(json.dumps(message))

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
            "errors": sum(self.counts.get(label, 0) for label, kind in made_up.KINDS.items() if kind[0] == "system_error"),
            "latency": {"bounds": BOUNDS, "counts": [total, 0, 0, exchanges, *([0] * (len(BOUNDS) - 3))]},
            "policy": self.health,
            "issuers": self.issuers,
            "subscribers": len(self.watchers),
        }

    async def stream(self, stream: trio.abc.Stream, handshake: Handshake) -> None:
        """Serve one that watches until it leaves, or is dropped."""
        hello = {
            "type": "hello",
            "version": self.release,
            "time": self.items[-1]["time"] if self.items else made_up.START.isoformat(),
            "revision": self.revision,
            "history": self.history,
            "items": self.items,
        }
        told, messages = trio.open_memory_channel[str](math.inf)
        told.send_nowait(json.dumps(hello))
        async with trio.open_nursery() as nursery:
            self.watchers[told] = nursery.cancel_scope
            nursery.start_soon(self.tell_totals, told)
            try:
                await send_messages(stream, handshake, messages.receive, trio.sleep_forever)
            finally:
                del self.watchers[told]
            nursery.cancel_scope.cancel()

    async def tell_totals(self, watcher: trio.MemorySendChannel[str]) -> None:
        while True:
            if not self.silent:
                watcher.send_nowait(json.dumps(self.totals()))
            await trio.sleep(1)


def page_file(path: str) -> Response:
    name = "index.html" if path == "/" else path.removeprefix("/assets/")
    file = PAGE / name
    if ".." in name or not file.is_file() or file.suffix not in TYPES:
        return wrong(404, "there is no such file")
    return Response(200, (("Content-Type", TYPES[file.suffix]), ("Cache-Control", "no-store")), file.read_bytes())


async def serve(console: FakeConsole, port: int) -> None:
    """Serve until the process ends; the port is printed first."""

    async def route(request: Request) -> Response | Handler | Upgrade:
        if request.path != "/stream" or not console.allowed(request):
            return console.answer
        handshake = read_handshake(request)
        if console.full or isinstance(handshake, Response):
            return wrong(503, "too many")

        async def run(stream: trio.abc.Stream, _early: bytes) -> None:
            await console.stream(stream, handshake)

        return Upgrade(run)

    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    print(listeners[0].socket.getsockname()[1], flush=True)  # noqa: T201 - the parent reads it
    await HttpServer(route, attrs.evolve(LIMITS, body_bytes=2**20), PROTECTION).run(listeners)


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
