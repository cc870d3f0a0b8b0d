"""A stand-in for service and Envoy, and a demo around it: what scenarios and the playground are tested against."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from exchanger.commands.demo.servers import echo, serve_http
from exchanger.commands.demo.service import sample_policy
from exchanger.commands.demo.setup import DemoPorts
from exchanger.commands.demo.token_endpoint.fake import TokenEndpoint
from exchanger.commands.scenarios.answer import Exchanged, RequestedTarget, ScenarioAnswer
from exchanger.commands.scenarios.scenario import EqualRequests, GatewayCall, OneRequest, PolicyEdit
from exchanger.commands.scenarios.tokens import bearer_of, make_subjects
from exchanger.net.http.message import Handler, Request, Response
from tests.commands.demo.test_token_endpoint import token_request

CALL = GatewayCall("h.example.com", "/orders")
DENIED = ScenarioAnswer(403, '{"error":"policy_denied"}')
DENIAL = Response(403, (("Content-Type", "application/json"),), b'{"error":"policy_denied"}')
ONE = OneRequest("one", "w", CALL, DENIED)
EQUAL = EqualRequests("equal", "w", CALL, ScenarioAnswer(200, upstream=Exchanged(RequestedTarget("a"))), count=3)
EDIT = PolicyEdit(
    "edit",
    "w",
    CALL,
    ScenarioAnswer(200, upstream=Exchanged(RequestedTarget("read:orders"))),
    ScenarioAnswer(200, upstream=Exchanged(RequestedTarget("edited"))),
    file="yellow.yaml",
    old="read:orders",
    new="edited",
)


async def deny(_request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    return DENIAL


def ports(folder: Path, port: int = 1, token_port: int = 1) -> DemoPorts:
    """A demo whose gateway is at ``port`` and whose files are in ``folder``; whatever is not given is unreachable."""
    return DemoPorts(port, 1, 1, token_port, 1, folder / "policy", make_subjects())


def write_sample_policy(folder: Path) -> None:
    """Write the demo's policy files into the new ``folder``."""
    folder.mkdir()
    for file in sample_policy():
        (folder / file.name).write_text(file.read_text("utf-8"), "utf-8")


@attrs.define(eq=False)
class StandIn:
    """Exchanges every token for ``scope``, or the scope in the policy file; ``shared`` makes one token request for all."""

    policy: Path
    issuer: TokenEndpoint = attrs.field(factory=TokenEndpoint)
    shared: bool = True
    watches: bool = True
    issued: Response | None = None
    flight: trio.Lock = attrs.Factory(trio.Lock)

    async def exchange(self, request: Request) -> Response:
        scope = "edited" if self.watches and "edited" in (self.policy / "yellow.yaml").read_text() else "read:orders"
        subject_token = bearer_of(request.value("authorization"))
        return await self._passed_on(request, await self.issuer.answer(token_request(("scope", scope), subject_token=subject_token)))

    async def equal(self, request: Request) -> Response:
        token = bearer_of(request.value("authorization"))
        async with self.flight:
            if self.issued is None or not self.shared:
                self.issued = await self.issuer.answer(token_request(("scope", "a"), subject_token=token))
            issued = self.issued
        return await self._passed_on(request, issued)

    async def _passed_on(self, request: Request, issued: Response) -> Response:
        token = json.loads(issued.body)["access_token"]
        return await echo(Request(request.method, request.target, (("authorization", f"Bearer {token}"),)))


@asynccontextmanager
async def demo(folder: Path, gateway: Handler, issuer: TokenEndpoint | None = None) -> AsyncIterator[DemoPorts]:
    """A demo with the sample policy, whose gateway answers with ``gateway``."""
    if not (folder / "policy").exists():
        write_sample_policy(folder / "policy")
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(serve_http, gateway, "127.0.0.1", 0)
        token_port: int = await nursery.start(serve_http, (issuer or TokenEndpoint()).answer, "127.0.0.1", 0)
        yield ports(folder, port, token_port)
        nursery.cancel_scope.cancel()
