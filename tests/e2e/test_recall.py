"""A real Envoy whose upstream begins to refuse a cached token: the next request gets a new one, and retries in a gateway help."""

import copy
import itertools
import json
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio

from exchanger.commands.demo.envoy import FilterMode, bootstrap
from exchanger.commands.demo.servers import serve_http
from exchanger.commands.scenarios.client import LOOPBACK, fetch
from exchanger.net.http.message import Request, Response
from tests.e2e.collector import recording
from tests.e2e.gateway import PATIENCE, READY_S, patient_gateways, start_gateway, until_listening, with_admin
from tests.e2e.service import DOCUMENT, Service, serving
from tests.ports import free_port

pytestmark = pytest.mark.envoy

CACHE: Final = "{maxTTL: 5m, maxEntries: 100, evictRejected: true}"
METRIC: Final = 'ext_authz_token_cache_rejected_total{endpoint_host="127.0.0.1"}'
RETRY: Final = {
    "retry_on": "retriable-headers",
    "retriable_headers": [{"name": "www-authenticate", "string_match": {"contains": "invalid_token"}}],
    "num_retries": 1,
}
# All that the service may ask for, as the chart has it.
MODES: Final = [
    {"response_header_mode": mode, "request_trailer_mode": "SKIP", "response_trailer_mode": "SKIP"} for mode in ("SKIP", "SEND")
]


@attrs.define(eq=False)
class Upstream:
    """Refuses tokens; ``held`` requests are answered when they are let go."""

    refused: set[str] = attrs.field(factory=set)
    seen: list[str] = attrs.field(factory=list)
    let_go: trio.Event = attrs.field(factory=trio.Event)

    async def __call__(self, request: Request) -> Response:
        token = next(iter(request.values("authorization")), "").removeprefix("Bearer ")
        self.seen.append(token)
        if request.target.endswith("/held"):
            await self.let_go.wait()
        if token in self.refused:
            return Response(401, (("WWW-Authenticate", 'Basic realm="a, b", Bearer error="invalid_token"'),), b"refused by the upstream")
        return Response(200, (("Content-Type", "text/plain"),), token.encode())


@attrs.frozen
class Gateways:
    """Ports of one Envoy: with the filter, with it and retries, and one in front of the first that retries; and its admin port."""

    plain: int
    retrying: int
    in_front: int
    admin: int


async def start(nursery: trio.Nursery, folder: Path, service: Service, upstream: Upstream) -> Gateways:
    port = await nursery.start(serve_http, upstream, LOOPBACK, 0)
    with patient_gateways():
        config: dict[str, Any] = copy.deepcopy(bootstrap(listen=free_port(), service=service.port, upstream=port, mode=FilterMode.EXT_PROC))
    resources = config["static_resources"]
    plain, upstream_cluster = resources["listeners"][0], resources["clusters"][1]
    manager_of(plain)["http_filters"][0]["typed_config"]["allowed_override_modes"] = MODES
    retrying, in_front = another(plain, "retrying"), another(plain, "in-front")
    del manager_of(in_front)["http_filters"][0]
    route_of(in_front)["cluster"] = "plain"
    for listener in (retrying, in_front):
        route_of(listener)["retry_policy"] = RETRY
    behind = copy.deepcopy(upstream_cluster)
    behind["name"] = behind["load_assignment"]["cluster_name"] = "plain"
    behind["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] = plain["address"]
    resources["listeners"] += [retrying, in_front]
    resources["clusters"].append(behind)
    admin = with_admin(config)
    await start_gateway(nursery, folder, config)
    gateways = Gateways(port_of(plain), port_of(retrying), port_of(in_front), admin)
    for listening in (gateways.plain, gateways.retrying, gateways.in_front):
        await until_listening(listening)
    return gateways


def another(listener: dict[str, Any], name: str) -> dict[str, Any]:
    made = copy.deepcopy(listener)
    made["name"], made["address"]["socket_address"]["port_value"] = name, free_port()
    return made


def port_of(listener: dict[str, Any]) -> int:
    port: int = listener["address"]["socket_address"]["port_value"]
    return port


def manager_of(listener: dict[str, Any]) -> dict[str, Any]:
    manager: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return manager


def route_of(listener: dict[str, Any]) -> dict[str, Any]:
    route: dict[str, Any] = manager_of(listener)["route_config"]["virtual_hosts"][0]["routes"][0]["route"]
    return route


async def ask(port: int, user: str, path: str = "/orders/1") -> tuple[int, str]:
    headers = (("Host", "api.example.com"), ("Authorization", f"Bearer {user}"))
    answer = await fetch(port, Request("GET", path, headers), timeout=READY_S)
    return answer.status, answer.body.decode()


async def failed_streams(admin: int) -> list[str]:
    told = await fetch(admin, Request("GET", "/stats?filter=ext_proc.streams_failed", (("Host", "admin"),)), timeout=READY_S)
    return [line.rpartition(" ")[2] for line in told.body.decode().splitlines()]


@pytest.mark.full
async def test_the_request_after_a_refusal_gets_a_new_token(tmp_path: Path) -> None:
    numbers, upstream = itertools.count(1), Upstream()

    def issued(_got: object) -> tuple[int, str, bytes]:
        answer = {
            "access_token": f"issued-{next(numbers)}",
            "token_type": "Bearer",
            "expires_in": 3600,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        }
        return 200, "application/json", json.dumps(answer).encode()

    variables = {**PATIENCE, "TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT": "true", "METRICS_ENABLED": "true"}
    with recording(issued) as tokens:
        profile = f'{{name: primary, tokenEndpoint: "{tokens.url}/token", clientID: client, clientSecret: secret, cache: {CACHE}}}'
        (tmp_path / "issuers.yaml").write_text(f"issuers: [{profile}]")
        with serving(tmp_path, DOCUMENT, **variables) as service:
            async with trio.open_nursery() as nursery:
                gateways = await start(nursery, tmp_path, service, upstream)
                accepted = (200, "issued-1")
                assert [await ask(gateways.plain, "ann") for _ in range(2)] == [accepted, accepted]

                upstream.refused.add("issued-1")
                assert await ask(gateways.plain, "ann") == (401, "refused by the upstream")
                assert [await ask(gateways.plain, "ann") for _ in range(2)] == [(200, "issued-2")] * 2
                assert service.metric(METRIC) == 1

                # A retry of the route does not run the filter again, so it sends the same token.
                assert await ask(gateways.plain, "bob") == (200, "issued-3")
                upstream.refused.add("issued-3")
                upstream.seen.clear()
                assert (await ask(gateways.retrying, "bob"))[0] == 401
                assert upstream.seen == ["issued-3", "issued-3"]
                assert await ask(gateways.retrying, "bob") == (200, "issued-4")

                # One of a hop before it does.
                assert await ask(gateways.in_front, "eve") == (200, "issued-5")
                upstream.refused.add("issued-5")
                upstream.seen.clear()
                assert await ask(gateways.in_front, "eve") == (200, "issued-6")
                assert upstream.seen == ["issued-5", "issued-6"]
                assert service.metric(METRIC) == 3

                # Streams that wait for their responses end well, and the responses come.
                answers: list[tuple[int, str]] = []
                upstream.seen.clear()

                async def one() -> None:
                    answers.append(await ask(gateways.plain, "ann", "/orders/held"))

                async with trio.open_nursery() as held:
                    for _ in range(5):
                        held.start_soon(one)
                    with trio.fail_after(READY_S):
                        while len(upstream.seen) < 5:  # noqa: ASYNC110 - nothing tells
                            await trio.sleep(0.05)
                    assert await trio.to_thread.run_sync(service.stop) == 0
                    upstream.let_go.set()
                assert answers == [(200, "issued-2")] * 5
                assert set(await failed_streams(gateways.admin)) == {"0"}
                nursery.cancel_scope.cancel()
