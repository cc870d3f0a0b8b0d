"""The browser, the fake console as a process of its own, and pages that are watched: what goes wrong in a page fails its test.

Playwright's synchronous interface keeps an event loop between calls: nothing here is asynchronous, and the browser ends with this folder.
"""

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, final

import attrs
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, ViewportSize, expect, sync_playwright

from tests.browser.made_up import Json
from tests.tools import find_tool

ARGUMENTS: Final = [
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP: Final[ViewportSize] = {"width": 1440, "height": 900}
PHONE: Final[ViewportSize] = {"width": 360, "height": 740}
ROOT: Final = Path(__file__).parents[2]
# For whatever is waited for in a page: a busy machine stalls for seconds.
PATIENCE_MS: Final = 30_000

expect.set_options(timeout=PATIENCE_MS)


@final
@attrs.define(eq=False)
class Console:
    """The fake console's process; ``restart`` gives it another life on the same port."""

    options: tuple[str, ...] = ()
    process: subprocess.Popen[str] | None = None
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        command = (sys.executable, "-m", "tests.browser.fake_console", "--port", str(self.port), *self.options)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def tell(self, what: str, body: object = None) -> Any:
        """Have the fake do something; see ``FakeConsole.told``."""
        request = urllib.request.Request(f"{self.url}fake/{what}", data=json.dumps(body).encode(), method="POST")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=PATIENCE_MS / 1000) as response:
            return json.loads(response.read() or b"null")

    def emit(self, *items: Json) -> None:
        self.tell("emit", items)


@final
@attrs.define(eq=False)
class Watch:
    """What a page said and asked that it should not have; ``allowed`` are patterns of what a test expects.

    A test may be over, or load the page anew, before its stream is open.
    """

    wrong: list[str] = attrs.field(factory=list)
    allowed: list[str] = attrs.field(factory=lambda: ["WebSocket is closed before the connection is established"])

    def allow(self, pattern: str) -> None:
        self.allowed.append(pattern)

    def follow(self, page: Page, url: str) -> None:
        def said(message: ConsoleMessage) -> None:
            if message.type in {"error", "warning"}:
                self.wrong.append(message.text)

        def asked(address: str) -> None:
            if not address.startswith((url, url.replace("http", "ws", 1), "data:")):
                self.wrong.append(f"asked {address}")

        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("console", said)
        page.on("request", lambda request: asked(request.url))
        page.on("websocket", lambda socket: asked(socket.url))

    def unexpected(self) -> list[str]:
        return [text for text in self.wrong if not any(re.search(pattern, text) for pattern in self.allowed)]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = find_tool("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def consoles() -> Iterator[dict[tuple[str, ...], Console]]:
    """Fake consoles by their options. Each is a process that serves one test after another."""
    started: dict[tuple[str, ...], Console] = {}
    yield started
    for console in started.values():
        console.stop()


@pytest.fixture
def console(request: pytest.FixtureRequest, consoles: dict[tuple[str, ...], Console]) -> Console:
    """A fake console as new; ``pytest.mark.parametrize("console", [("--service",)], indirect=True)`` gives it options."""
    options = tuple(getattr(request, "param", ()))
    console = consoles.setdefault(options, Console(options))
    if console.process is None:
        console.start()
    else:
        console.tell("reset")
    return console


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch()
    yield watch
    assert watch.unexpected() == []


def bodies_of(page: Page) -> list[str]:
    """Return a list that gets the bodies of the page's requests as they are made."""
    bodies: list[str] = []

    def asked(request: Request) -> None:
        if request.post_data:
            bodies.append(request.post_data)

    page.on("request", asked)
    return bodies


Visit = Callable[..., Page]


@pytest.fixture(scope="package")
def usual_context(browser: Browser) -> Iterator[BrowserContext]:
    """The context of pages without options: Chromium loads the page faster in a process that knows its modules."""
    with browser.new_context(viewport=DESKTOP) as context:
        yield context


@pytest.fixture
def visit(browser: Browser, usual_context: BrowserContext, console: Console, watch: Watch) -> Iterator[Visit]:
    """Open the console's page with these options of a browser context, at this address, and return it once the stream is there and drawn.

    ``prepare`` gets the page before it asks for anything.
    """
    contexts: list[BrowserContext] = []

    def open_page(route: str = "", *, ready: bool = True, prepare: Callable[[Page], object] = lambda _: None, **options: Any) -> Page:
        if options:
            contexts.append(browser.new_context(**({"viewport": DESKTOP} | options)))
        context = contexts[-1] if options else usual_context
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        watch.follow(page, console.url)
        prepare(page)
        page.goto(console.url + route)
        if ready:
            page.wait_for_selector("#state[data-state=connected]")
            page.evaluate("() => new Promise(requestAnimationFrame)")  # the list is drawn in the frame that was asked for before
        return page

    yield open_page
    for context in contexts:
        context.close()
    for page in usual_context.pages:
        if page.url.startswith(console.url):
            page.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
        page.close()
    usual_context.clear_cookies()


@pytest.fixture
def page(visit: Visit) -> Page:
    return visit()
