"""The demo's console: the service's own page with the playground, in front of a service's console.

It listens on the loopback address and needs no token: anyone on this machine may use the demo.
"""

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import trio

from exchanger import __version__
from exchanger.commands.playground.policy_files import MAX_TEXT
from exchanger.commands.scenarios.client import LOOPBACK
from exchanger.model.errors import leaves
from exchanger.net.http.message import Handler, Request, Response
from exchanger.operations.console.access import ConsoleAccess
from exchanger.operations.console.message import error, json_response
from exchanger.operations.console.page.assets import Page, load_page
from exchanger.operations.console.proxy import ConsoleProxy
from exchanger.operations.console.server import SESSION, ConsoleServerSettings, Server
from exchanger.operations.console.websocket import Handshake

# Bytes of a request's body: a policy file in an editor, in JSON, which writes a line end as two characters.
MAX_BODY: Final = 2 * MAX_TEXT + 4096
# Seconds for a handler: a run, and the wait for another one that edits.
HANDLER_S: Final = 60.0

_PASSED_ON: Final = ("/api/policy", "/api/policy/document", "/api/explain", "/api/hosts", "/api/issuers")
_NOT_KNOWN: Final = error(503, "policies and decisions are not known here: start with --console and the address of the service's console")
_ABOUT: Final = {
    "version": __version__,
    "mode": "demo",
    "shows_tokens": True,
    "lab": True,
    "edit": True,
    "stream": True,
    "token_required": False,
    "policy_source": "directory",
}


def make_console(
    port: int,
    service_console: "int | ConsoleProxy | None",
    playground: Mapping[tuple[str, str], Handler],
    on_fault: Callable[[BaseException], None],
    page: Page | None = None,
    about: Mapping[str, object] = MappingProxyType({}),
) -> Server:
    """Return the console on ``port`` (0: a free one), with the ``playground``'s handlers, in front of the one on ``service_console``.

    Without a console behind it, requests that only a service can answer get an explanation. ``about`` replaces the demo's description of
    itself.
    """
    proxy = ConsoleProxy(service_console) if isinstance(service_console, int) else service_console
    access, described = ConsoleAccess(), json_response({**_ABOUT, **about})

    async def answer_about(_request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return described

    routes: dict[tuple[str, str], Handler] = {
        **playground,
        **{("GET", path): _unknown if proxy is None else proxy.forward for path in _PASSED_ON},
        ("GET", "/api/about"): answer_about,
        ("POST", SESSION): access.open_session,
        ("DELETE", SESSION): access.close_session,
    }
    settings = ConsoleServerSettings(LOOPBACK, port, max_body=MAX_BODY, handler_timeout=HANDLER_S)
    return Server(settings, access, load_page() if page is None else page, routes, _no_stream if proxy is None else proxy.pipe, on_fault)


def fault_log(file: Path) -> Callable[[BaseException], None]:
    """Return a function that writes our own faults to ``file``: type and place, since a message may contain anything."""

    def write(fault: BaseException) -> None:
        try:
            with file.open("a", encoding="utf-8") as log:
                log.writelines(f"{line}\n" for leaf in leaves(fault) for line in _lines(leaf))
        except OSError:
            pass  # the disk is full, or the folder is being removed; the response has said that there was a fault

    return write


async def _unknown(_request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    return _NOT_KNOWN


async def _no_stream(_handshake: Handshake, _stream: trio.abc.Stream) -> Response:
    await trio.lowlevel.checkpoint()
    return _NOT_KNOWN


def _lines(fault: BaseException) -> list[str]:
    frames = traceback.extract_tb(fault.__traceback__)
    return [type(fault).__qualname__, *(f"  {frame.filename}:{frame.lineno} {frame.name}" for frame in frames)]
