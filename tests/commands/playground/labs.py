"""A playground over the sample policy, with a stand-in for service and Envoy; its handlers are called without a server."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs

from exchanger.commands.demo.service import own_issuers, sample_policy
from exchanger.commands.demo.setup import DemoPorts, demo_target
from exchanger.commands.offline.rules import PolicyRules
from exchanger.commands.playground.handlers import Playground, PlaygroundSettings
from exchanger.commands.playground.policy_files import PolicyFiles, Revision
from exchanger.commands.playground.results import Verify
from exchanger.commands.scenarios.builtin import SCENARIOS
from exchanger.commands.scenarios.scenario import Scenario
from exchanger.model.selector import parse_selector
from exchanger.net.http.message import Handler, Request
from tests.commands.scenarios.stand_in import demo

SAMPLE: Final = {file.name: file.read_text("utf-8") for file in sample_policy()}
YELLOW: Final = SAMPLE["yellow.yaml"]
# What the service selects unless it is told otherwise. The demo's own rules come from the service's settings.
RULES: Final = PolicyRules(
    parse_selector("ext-authz-token-exchange.magneticflux.net/policy=enabled"),
    parse_selector("ext-authz-token-exchange.magneticflux.net/enabled=true"),
    frozenset(profile["name"] for profile in own_issuers(1)),
    complete=True,
)


@attrs.frozen
class Answered:
    status: int
    json: Any


@attrs.frozen
class Bench:
    """A playground, the demo that it works on, and the way to ask it."""

    lab: Playground
    site: DemoPorts

    async def ask(self, method: str, path: str, body: object = None) -> Answered:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = await self.lab.routes()[method, path](Request(method, path, body=data))
        return Answered(response.status, json.loads(response.body))


@asynccontextmanager
async def bench(
    folder: Path,
    gateway: Handler,
    scenarios: tuple[Scenario, ...] = SCENARIOS,
    verify: Verify | None = None,
    revision: Revision | None = None,
) -> AsyncIterator[Bench]:
    async with demo(folder, gateway) as where:
        files = PolicyFiles(where.policy, SAMPLE)
        settings = PlaygroundSettings(demo_target(where), scenarios, files, RULES, revision, verify, keycloak=verify is not None)
        yield Bench(Playground(settings), where)
