"""Questions to the authorization port, over a pair of sockets."""

import contextlib
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import h11
import trio
import trio.testing

from exchanger.authz.evaluation.evaluator import Evaluator
from exchanger.authz.http_authz.server import HttpAuthz
from exchanger.authz.http_authz.settings import HttpAuthzSettings
from exchanger.exchange.interfaces import TokenExchanger
from exchanger.net.reactor import Reactor
from exchanger.net.tcp import SocketTransport
from exchanger.policy.current import CurrentPolicy
from tests.authz.decision.examples import RULES, snapshot
from tests.authz.envoy.exchangers import FakeExchanger
from tests.authz.envoy.test_authorization import Records

Field = tuple[bytes, bytes]
HOST = b"api.example.com"
STATING = {"/forward-auth": b"X-Forwarded-", "/auth-request": b"X-Original-"}


@attrs.frozen
class Answered:
    """One response. Names are in lower case."""

    status: int
    headers: tuple[Field, ...]
    body: bytes

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]


def port(
    exchanger: TokenExchanger | None = None,
    records: Records | None = None,
    settings: HttpAuthzSettings | None = None,
    *,
    serving: bool = True,
    told: list[bool] | None = None,
) -> HttpAuthz:
    """Return a port that decides by the policy of ``tests.authz.decision.examples``, and adds to ``told`` what it says about health."""
    policy = CurrentPolicy()
    policy.publish(snapshot())
    evaluator = Evaluator(policy, RULES, exchanger or FakeExchanger(), (records or Records(),))
    return HttpAuthz(settings or HttpAuthzSettings(), evaluator, Reactor(), lambda: serving, ([] if told is None else told).append)


def question(dialect: str, path: bytes, *fields: Field, method: bytes = b"GET", host: bytes = HOST) -> bytes:
    """Return the question about a request in one of the three forms: ``/envoy``, ``/forward-auth`` or ``/auth-request``."""
    if dialect == "/envoy":
        return message(b"/envoy" + path, (b"Host", host), *fields, method=method)
    prefix = STATING[dialect]
    stated = ((prefix + b"Method", method), (prefix + b"Host", host), (prefix + b"Uri", path))
    return message(dialect.encode(), (b"Host", b"exchanger:3003"), *stated, *fields)


def message(target: bytes, *fields: Field, method: bytes = b"GET") -> bytes:
    head = b"".join(b"%b: %b\r\n" % field for field in fields)
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, head)


def connect(of: HttpAuthz) -> trio.SocketStream:
    """Return the client's side of a new connection."""
    near, far = socket.socketpair()
    assert of.http.slots.has_room()
    of.http.serve(SocketTransport(near))
    return trio.SocketStream(trio.socket.from_stdlib_socket(far))


@asynccontextmanager
async def running(of: HttpAuthz) -> AsyncGenerator[trio.Nursery]:
    """Serve the connections while open."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(of.reactor.run)
        yield nursery
        nursery.cancel_scope.cancel()


async def raw_answer(of: HttpAuthz, *pieces: bytes) -> bytes:
    """Return all that the port sends until it closes. The ``pieces`` arrive one after the other."""
    async with running(of), connect(of) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send, client, pieces)
            received = b"".join([bytes(chunk) async for chunk in client])
        await trio.testing.wait_all_tasks_blocked()
        assert of.connections == 0
    return received


async def _send(client: trio.SocketStream, pieces: tuple[bytes, ...]) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        for piece in pieces:
            await client.send_all(piece)
            if len(pieces) > 1:
                await trio.testing.wait_all_tasks_blocked()
        await client.send_eof()


def responses(data: bytes, methods: tuple[bytes, ...] = (b"GET",)) -> list[Answered]:
    """Return the responses in ``data`` to requests with ``methods``, the last one repeated."""
    found: list[Answered] = []
    while data:
        reader = h11.Connection(h11.CLIENT)
        reader.send(h11.Request(method=methods[min(len(found), len(methods) - 1)], target="/", headers=[("Host", "h")]))
        reader.send(h11.EndOfMessage())
        reader.receive_data(data)
        head, body = reader.next_event(), b""
        if isinstance(head, h11.InformationalResponse):
            head = reader.next_event()
        assert isinstance(head, h11.Response)
        while isinstance(event := reader.next_event(), h11.Data):
            body += bytes(event.data)
        assert isinstance(event, h11.EndOfMessage)
        found.append(Answered(head.status_code, tuple((bytes(name), bytes(value)) for name, value in head.headers), body))
        data = bytes(reader.trailing_data[0])
    return found


async def ask(of: HttpAuthz, data: bytes, method: bytes = b"GET") -> Answered:
    """Return the only response to ``data``."""
    (found,) = responses(await raw_answer(of, data), (method,))
    return found
