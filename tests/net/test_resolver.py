"""Names are resolved in threads of each host's own: one that hangs holds up no other host, and no other blocking work."""

import socket
import threading
from collections.abc import Iterator
from typing import Any, Final

import pytest
import trio

from exchanger.net.network import SYSTEM
from exchanger.net.resolver import MAX_LOOK_UPS
from tests.waiting import until

HUNG: Final = "hung.example.com"
OTHER: Final = "issuer.example.com"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Have a system's resolver that does not answer for one host, and the hosts that it was asked for."""
    hosts, over, resolve = list[str](), threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: bytes | str | None, port: Any, *more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if threading.current_thread() is threading.main_thread() or name not in {HUNG, OTHER}:
            return resolve(host, port, *more)  # trio asks for addresses in digits first
        hosts.append(name)
        if name == HUNG:
            over.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return resolve("127.0.0.1", port, *more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield hosts
    over.set()


async def test_a_host_whose_resolver_hangs_holds_up_no_other(asked: list[str]) -> None:
    (listener, *_) = await SYSTEM.listen("127.0.0.1", 0)
    async with listener, trio.open_nursery() as callers:
        for _ in range(64):
            callers.start_soon(SYSTEM.connect, HUNG, 80)
        await until(lambda: len(asked) == MAX_LOOK_UPS)
        async with await SYSTEM.connect(OTHER, listener.socket.getsockname()[1]):
            assert asked.count(OTHER) == 1
        assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        callers.cancel_scope.cancel()
    assert asked.count(HUNG) == MAX_LOOK_UPS
