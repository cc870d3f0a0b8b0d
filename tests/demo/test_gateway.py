"""A request through a gateway: what is sent, and what is kept of it."""

import re

import attrs
import pytest
import trio

from exchanger.demo.answer import Answer, Reached
from exchanger.demo.echo import echo
from exchanger.demo.gateway import Asked, Gateway, send
from exchanger.demo.http import Request, Response, serve_http
from exchanger.demo.scenario import Call
from tests.console.running import PATIENCE_S
from tests.demo.test_client import client_context

CALL = Call("h.example.com", "/a?b", headers=(("X-A", "1"),))
VALID = f"00-{'ab' * 16}-{'cd' * 8}-01"
TOKEN = "a-token-of-somebody"


async def sent_to_a_server(call: Call) -> tuple[Asked, Request]:
    got: list[Request] = []

    async def remember(request: Request) -> Response:
        got.append(request)
        return await echo(request)

    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(serve_http, remember, "127.0.0.1", 0)
        asked = await send(Gateway("127.0.0.1", port), call, TOKEN, timeout=PATIENCE_S)
        nursery.cancel_scope.cancel()
    return asked, got[0]


async def test_a_request_has_a_trace_of_its_own_and_says_which() -> None:
    (first, got), (second, _) = await sent_to_a_server(CALL), await sent_to_a_server(CALL)
    assert re.fullmatch(rf"00-{first.trace_id}-[0-9a-f]{{16}}-00", got.header("traceparent"))
    assert re.fullmatch(r"[0-9a-f]{32}", first.trace_id)
    assert first.trace_id != second.trace_id
    assert (got.header("host"), got.header("x-a"), got.header("authorization")) == ("h.example.com", "1", f"Bearer {TOKEN}")
    assert first.answer() == Answer(200, upstream=Reached.WITH_ORIGINAL)
    assert first.elapsed > 0
    assert first.call == CALL


@pytest.mark.parametrize(("own", "trace_id"), [(VALID, "ab" * 16), ("nonsense", ""), (f"{VALID}-more", ""), (f"{VALID},{VALID}", "")])
async def test_a_trace_that_the_call_brings_is_kept(own: str, trace_id: str) -> None:
    asked, got = await sent_to_a_server(attrs.evolve(CALL, headers=(("Traceparent", own),)))
    assert got.header("traceparent") == own
    assert len([name for name, _ in got.headers if name == "traceparent"]) == 1
    assert asked.trace_id == trace_id


async def test_two_traces_are_none() -> None:
    asked, _ = await sent_to_a_server(attrs.evolve(CALL, headers=(("Traceparent", VALID), ("traceparent", VALID))))
    assert asked.trace_id == ""


async def test_that_there_was_no_answer_is_kept_as_well() -> None:
    asked = await send(Gateway("127.0.0.1", 1), CALL, TOKEN, timeout=PATIENCE_S)
    assert asked.response is None
    assert asked.answer() == asked.problem == "no answer: connection refused"


async def test_tokens_are_in_no_repr() -> None:
    asked, _ = await sent_to_a_server(CALL)
    assert asked.response is not None
    assert TOKEN.encode() in asked.response.body
    assert TOKEN not in repr(asked)


def test_a_gateway_has_an_url_for_people() -> None:
    assert Gateway("127.0.0.1", 80).base_url == "http://127.0.0.1:80"
    assert Gateway("::1", 8443, client_context()).base_url == "https://[::1]:8443"
    assert Gateway("127.0.0.1", 443, client_context(), "gateway.example.com").base_url == "https://gateway.example.com:443"
