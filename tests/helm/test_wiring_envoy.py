"""The filters of the EnvoyFilter in a real Envoy: it accepts them, and behind them every request gets the demo's answer or none."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from exchanger.commands.demo.envoy import FilterMode, bootstrap
from exchanger.commands.demo.running import RunningDemo
from exchanger.commands.scenarios.answer import ScenarioAnswer
from exchanger.commands.scenarios.builtin import SCENARIOS
from exchanger.commands.scenarios.client import fetch
from exchanger.commands.scenarios.scenario import OneRequest
from exchanger.commands.scenarios.target import request_of
from tests.e2e.gateway import CHECK_TIMEOUT, asked, gateway_config, service_cluster, staged, start_gateway, until_listening, until_serving
from tests.helm.cases import PROFILE
from tests.helm.chart import only, render
from tests.helm.guides import complaint, manager

pytestmark = [pytest.mark.envoy, pytest.mark.helm]

# Seconds for one answer, on a busy machine too.
PATIENCE_S: Final = 20.0
HOST: Final = "exchanger.edge.svc.cluster.local"
# The name that Istio gives the cluster of the chart's Service (port and host) in a gateway.
CLUSTER: Final = f"outbound|3001||{HOST}"

each_mode = pytest.mark.parametrize("mode", list(FilterMode))


def rendered_patches(mode: FilterMode, **section: Any) -> list[dict[str, Any]]:
    """Return what the EnvoyFilter brings: the filter, and what it changes in the connection manager, unless ``normalizePaths`` is off."""
    values = {"extensionMode": mode.value, "envoyFilter": {"enabled": True, **section}}
    return [patch["patch"]["value"] for patch in only(render(values), "EnvoyFilter")["spec"]["configPatches"]]


def rendered_filter(mode: FilterMode, **section: Any) -> dict[str, Any]:
    return rendered_patches(mode, **section)[0]


def with_filter(config: dict[str, Any], rendered: dict[str, Any]) -> dict[str, Any]:
    """Put ``rendered`` where the demo's own filter is, and call the service's cluster as Istio does."""
    manager(config)["http_filters"][0] = rendered
    cluster = service_cluster(config)
    cluster["name"] = cluster["load_assignment"]["cluster_name"] = CLUSTER
    for check in cluster.get("health_checks", ()):
        check["grpc_health_check"] = {"authority": HOST}  # Envoy's default is the cluster's name
    return config


def objection(folder: Path, rendered: dict[str, Any]) -> str:
    return complaint(with_filter(bootstrap(listen=1, service=2, upstream=3), rendered), folder)


@each_mode
@pytest.mark.parametrize(
    "section",
    [
        {"statusOnError": 0, "timeout": "1m30s"},
        {"timeout": "2500ms", "extAuthz": {"clearRouteCache": False}, "extProc": {"clearRouteCache": False}},
    ],
    ids=["envoys_own_status", "route_kept"],
)
def test_envoy_accepts_what_is_rendered(mode: FilterMode, section: dict[str, Any], tmp_path: Path) -> None:
    assert objection(tmp_path, rendered_filter(mode, **section)) == ""


def test_paths_are_normalised_as_in_the_demo(tmp_path: Path) -> None:
    """The demo's gateway runs with these settings, and this Envoy accepts them in whatever connection manager they are merged into."""
    changed = dict(rendered_patches(FilterMode.EXT_AUTHZ)[1]["typed_config"])
    demo = manager(bootstrap(listen=1, service=2, upstream=3))
    assert changed.pop("@type") == demo["@type"]
    assert changed == {"normalize_path": True, "merge_slashes": True, "path_with_escaped_slashes_action": "REJECT_REQUEST"}
    assert changed.items() <= demo.items()


@asynccontextmanager
async def behind(mode: FilterMode, folder: Path, authority: str = "", **section: Any) -> AsyncGenerator[tuple[int, RunningDemo]]:
    """Run the demo behind a gateway with the rendered filter; yield the gateway's port when it gives right answers."""
    rendered = await trio.to_thread.run_sync(lambda: rendered_filter(mode, **section))
    if authority:
        rendered["typed_config"]["grpc_service"]["envoy_grpc"]["authority"] = authority
    async with staged(folder, mode) as (stage, nursery):
        port = await start_gateway(nursery, folder, with_filter(gateway_config(stage, mode, stage.ports.grpc_port), rendered))
        await until_serving(port, stage)
        yield port, stage


@each_mode
async def test_behind_the_rendered_filter_every_request_gets_the_demos_answer(mode: FilterMode, tmp_path: Path) -> None:
    scenarios = [scenario for scenario in SCENARIOS if isinstance(scenario, OneRequest)]
    async with behind(mode, tmp_path, timeout=CHECK_TIMEOUT) as (port, stage):
        found = {scenario.name: await asked(port, scenario, stage, timeout=PATIENCE_S) for scenario in scenarios}
    assert found == {scenario.name: scenario.expected for scenario in scenarios}


@each_mode
async def test_istio_provider_name_is_served_and_fails_closed_without_the_service(mode: FilterMode, tmp_path: Path) -> None:
    """Istio makes it of the cluster's name, with `_.` for each `|`, which no authority may have (RFC 3986 section 3.2.2)."""
    unmatched = next(scenario for scenario in SCENARIOS if isinstance(scenario, OneRequest) and scenario.name == "unmatched")
    async with behind(mode, tmp_path, CLUSTER.replace("|", "_.")) as (port, stage):
        assert await stage.service.stop() == 0
        for scenario in (SCENARIOS[0], unmatched):
            answer = await asked(port, scenario, stage, timeout=PATIENCE_S)
            assert isinstance(answer, ScenarioAnswer), answer
            assert (answer.status, answer.upstream) == (503, ScenarioAnswer(503).upstream)


@each_mode
async def test_silent_service_delays_a_request_only_until_the_timeout(mode: FilterMode, tmp_path: Path) -> None:
    rendered = await trio.to_thread.run_sync(lambda: rendered_filter(mode, timeout="800ms"))
    async with staged(tmp_path, mode) as (stage, nursery):
        silent = await trio.open_tcp_listeners(0, host="127.0.0.1")  # connections are accepted by the kernel, and nothing is said
        config = gateway_config(stage, mode, silent[0].socket.getsockname()[1])
        del service_cluster(config)["health_checks"]
        port = await start_gateway(nursery, tmp_path, with_filter(config, rendered))
        await until_listening(port)
        token = stage.ports.subjects.token(SCENARIOS[0].call.subject)
        answer = await fetch(port, request_of(SCENARIOS[0].call, token), timeout=PATIENCE_S)
        await silent[0].aclose()
    assert answer.status in {503, 504}


@each_mode
def test_headers_of_callers_tokens_may_be_removed(mode: FilterMode) -> None:
    subject = {"from": [{"header": "X-Forwarded-Access-Token"}, {"header": "Authorization"}, {"header": "x.token"}]}
    profiles = {"issuerProfiles": {"profiles": [{**PROFILE, "subjectToken": subject}]}}
    values = {"extensionMode": mode.value, "envoyFilter": {"enabled": True}, **profiles}
    patch = only(render(values), "EnvoyFilter")["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]
    name, own = {
        FilterMode.EXT_AUTHZ: ("decoder_header_mutation_rules", ""),
        FilterMode.EXT_PROC: ("mutation_rules", "content-type|retry-after|www-authenticate|"),
    }[mode]
    assert patch[name]["allow_expression"]["regex"] == rf"^(authorization|{own}x[-_]forwarded[-_]access[-_]token|x\.token)$"
