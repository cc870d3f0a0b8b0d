"""A lab over the sample policy, with a stand-in for service and Envoy; and its handlers asked without a server."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from exchanger.console.message import Request
from exchanger.demo.ground import ground_of
from exchanger.demo.http import Handler, serve_http
from exchanger.demo.lab import Lab, LabSettings
from exchanger.demo.lab_effect import Revision
from exchanger.demo.lab_lint import LintRules
from exchanger.demo.lab_policy import PolicyFiles
from exchanger.demo.lab_results import Verify
from exchanger.demo.scenario import Scenario
from exchanger.demo.scenarios import SCENARIOS
from exchanger.demo.service import own_issuers, sample_policy, write_sample_policy
from exchanger.demo.site import Site, make_subjects
from exchanger.demo.token_endpoint import TokenEndpoint
from exchanger.values.selector import parse_selector

SAMPLE: Final = {file.name: file.read_text("utf-8") for file in sample_policy()}
YELLOW: Final = SAMPLE["yellow.yaml"]
# What the service selects unless it is told otherwise. The demo's own rules come from the service's settings.
RULES: Final = LintRules(
    parse_selector("ext-authz-token-exchange.magneticflux.net/policy=enabled"),
    parse_selector("ext-authz-token-exchange.magneticflux.net/enabled=true"),
    frozenset(profile["name"] for profile in own_issuers(1)),
)


@attrs.frozen
class Answered:
    status: int
    json: Any


@attrs.frozen
class Bench:
    """A lab, the site that it works on, and the way to ask it."""

    lab: Lab
    site: Site

    async def ask(self, method: str, path: str, body: object = None) -> Answered:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = await self.lab.routes()[method, path](Request(method, path, body=data))
        return Answered(response.status, json.loads(response.body))


@asynccontextmanager
async def bench(
    folder: Path,
    gateway: Handler,
    scenarios: tuple[Scenario, ...] = SCENARIOS,
    issuer: TokenEndpoint | None = None,
    verify: Verify | None = None,
    revision: Revision | None = None,
) -> AsyncIterator[Bench]:
    write_sample_policy(folder / "policy")
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(serve_http, gateway, "127.0.0.1", 0)
        token_port: int = await nursery.start(serve_http, (issuer or TokenEndpoint()).answer, "127.0.0.1", 0)
        site = Site(
            envoy_port=port,
            grpc_port=1,
            metrics_port=1,
            token_port=token_port,
            upstream_port=1,
            policy=folder / "policy",
            subjects=make_subjects(),
        )
        files = PolicyFiles(site.policy, SAMPLE)
        yield Bench(Lab(LabSettings(ground_of(site), scenarios, files, RULES, revision, verify, keycloak=verify is not None)), site)
        nursery.cancel_scope.cancel()
