"""The upstream that echoes."""

import json

import trio

from exchanger.demo.servers import echo, run_echo
from exchanger.http.message import Request
from exchanger.scenarios.client import fetch
from exchanger.scenarios.tokens import encode
from tests.console.running import PATIENCE_S


async def test_the_request_comes_back_as_received() -> None:
    response = await echo(Request("PUT", "/a?b=c", (("host", "h"), ("x-a", "1"), ("x-b", "2"), ("x-a", "3"))))
    assert response.status == 200
    assert json.loads(response.body) == {"method": "PUT", "path": "/a?b=c", "headers": {"host": "h", "x-a": ["1", "3"], "x-b": "2"}}


async def test_the_claims_of_a_bearer_token_are_shown() -> None:
    response = await echo(Request("GET", "/", (("authorization", f"Bearer {encode({'sub': 'alice'})}"),)))
    assert json.loads(response.body)["token_claims"] == {"sub": "alice"}


async def test_a_token_that_is_no_jwt_has_no_claims_to_show() -> None:
    response = await echo(Request("GET", "/", (("authorization", "Bearer abc"),)))
    assert "token_claims" not in json.loads(response.body)


async def test_it_runs_alone() -> None:
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(run_echo, "127.0.0.1", 0)
        response = await fetch(port, Request("GET", "/x", (("Host", "h"),)), timeout=PATIENCE_S)
        nursery.cancel_scope.cancel()
    assert json.loads(response.body)["path"] == "/x"
