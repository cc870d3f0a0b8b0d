"""The demo's console: the service's own page with the lab, and what the service's console knows, passed on from where it listens.

On the loopback address, and without a token: whoever is on this machine may try the demo. Must not know: how the lab works, or how the
service answers.
"""

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import trio

from exchanger import __version__
from exchanger.console.access import Access
from exchanger.console.message import json_response
from exchanger.console.page import Page, load_page
from exchanger.console.proxy import LoopbackProxy
from exchanger.console.server import SESSION, Server, ServerSettings
from exchanger.demo.envoy import LOOPBACK
from exchanger.demo.lab_policy import MAX_TEXT
from exchanger.http.message import Handler, Request, Response

MAX_BODY: Final = 2 * MAX_TEXT + 4096
"""Bytes of a request's body: a policy file in an editor, in JSON, which writes a line's end as two."""
HANDLER_S: Final = 60.0
"""Seconds for a handler: a run of the lab, and the wait for another one that edits."""

_PASSED_ON: Final = ("/api/policy", "/api/policy/document", "/api/explain")
_ABOUT: Final = {
    "version": __version__,
    "mode": "demo",
    "shows_tokens": True,
    "lab": True,
    "token_required": False,
    "policy_source": "directory",
}


def make_front(
    port: int,
    service_console: int,
    lab: Mapping[tuple[str, str], Handler],
    on_fault: Callable[[BaseException], None],
    page: Page | None = None,
) -> Server:
    """Return the console on ``port`` (0: a free one), with the handlers of the ``lab``, before the console on port ``service_console``."""
    proxy, access = LoopbackProxy(service_console), Access()
    routes: dict[tuple[str, str], Handler] = {
        **lab,
        **{("GET", path): proxy.forward for path in _PASSED_ON},
        ("GET", "/api/about"): _about,
        ("POST", SESSION): access.open_session,
        ("DELETE", SESSION): access.close_session,
    }
    settings = ServerSettings(LOOPBACK, port, max_body=MAX_BODY, handler_timeout=HANDLER_S)
    return Server(settings, access, load_page() if page is None else page, routes, proxy.pipe, on_fault)


def fault_log(file: Path) -> Callable[[BaseException], None]:
    """Return what writes faults of ours to ``file``: type and place, since a message may hold anything."""

    def write(fault: BaseException) -> None:
        try:
            with file.open("a", encoding="utf-8") as log:
                log.writelines(f"{line}\n" for leaf in _leaves(fault) for line in _lines(leaf))
        except OSError:
            pass  # the disk is full, or the folder is being removed; the answer has told that there was a fault

    return write


async def _about(_request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    return json_response(_ABOUT)


def _lines(fault: BaseException) -> list[str]:
    frames = traceback.extract_tb(fault.__traceback__)
    return [type(fault).__qualname__, *(f"  {frame.filename}:{frame.lineno} {frame.name}" for frame in frames)]


def _leaves(fault: BaseException) -> list[BaseException]:
    if isinstance(fault, BaseExceptionGroup):
        return [leaf for member in fault.exceptions for leaf in _leaves(member)]
    return [fault]
