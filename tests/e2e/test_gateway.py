"""The service behind a real Envoy under load: no wrong answer, and nothing lost when it is told to stop."""

import copy
import io
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from exchanger.demo.answer import Answer, answer_of
from exchanger.demo.client import fetch
from exchanger.demo.display import Progress
from exchanger.demo.envoy import bootstrap, envoy_command, find_envoy
from exchanger.demo.faults import NoAnswerError
from exchanger.demo.options import DemoOptions
from exchanger.demo.processes import Child
from exchanger.demo.runner import ask, run_scenario
from exchanger.demo.scenarios import READINESS, SCENARIOS, EqualRequests, OneRequest
from exchanger.demo.service import SERVICE_COMMAND, base_environment, service_environment
from exchanger.demo.site import free_ports, make_subjects, request_of
from exchanger.demo.stage import Programs, Stage, set_up, wait_ready

pytestmark = pytest.mark.envoy

AT_ONCE = 50
REQUESTS = 1000


@asynccontextmanager
async def staged(folder: Path) -> AsyncGenerator[tuple[Stage, trio.Nursery]]:
    """The demo's stage, ready, in a nursery of its own."""
    progress = Progress(io.StringIO())
    async with trio.open_nursery() as nursery:
        stage = await set_up(nursery, DemoOptions(), Programs(SERVICE_COMMAND, find_envoy()), folder, progress)
        await wait_ready(stage, progress, 60)
        yield stage, nursery
        nursery.cancel_scope.cancel()


async def test_a_thousand_requests_at_fifty_at_once_get_the_right_answer(tmp_path: Path) -> None:
    scenarios = [scenario for scenario in SCENARIOS if isinstance(scenario, OneRequest) and scenario.name != "timeout"]
    limit, wrong, asked = trio.CapacityLimiter(AT_ONCE), [], 0

    async def one(scenario: OneRequest, stage: Stage) -> None:
        nonlocal asked
        async with limit:
            finding = await run_scenario(scenario, stage.site)
        asked += 1
        if not finding.ok:
            wrong.append(finding)

    async with staged(tmp_path) as (stage, _), trio.open_nursery() as requests:
        for index in range(REQUESTS):
            requests.start_soon(one, scenarios[index % len(scenarios)], stage)
    assert asked == REQUESTS
    assert wrong == []


async def test_what_was_asked_before_sigterm_is_answered(tmp_path: Path) -> None:
    slow = next(scenario for scenario in SCENARIOS if isinstance(scenario, EqualRequests))
    answers: list[Answer | str] = []

    async def one(stage: Stage, number: int) -> None:
        token = make_subjects(f"user-{number}").token(slow.call.subject)
        answers.append(await ask(slow.call, stage.site, token))

    async with staged(tmp_path) as (stage, _), trio.open_nursery() as requests:
        for number in range(20):
            requests.start_soon(one, stage, number)
        await trio.sleep(0.1)  # the exchange takes 0.3 s, so all of them are under way
        assert await stage.service.stop() == 0
    assert answers == [slow.expected] * 20


async def test_one_of_two_stops_under_load_and_no_request_is_lost(tmp_path: Path) -> None:
    """A gateway with two instances and health checks, as in any cluster; the stopped one drains while the other takes over."""
    async with staged(tmp_path) as (stage, nursery):
        grpc_port, envoy_port, metrics_port = free_ports(3)
        issuers, policy = tmp_path / "issuers.json", stage.site.policy
        environment = service_environment(grpc_port=grpc_port, metrics_port=metrics_port, policy=policy, issuers=issuers)
        second = Child("second service", SERVICE_COMMAND, environment, tmp_path / "second.log")
        await nursery.start(second.run)
        config = tmp_path / "two.json"
        config.write_text(json.dumps(_two_instances(envoy_port, stage.site.upstream_port, stage.site.grpc_port, grpc_port)))
        await nursery.start(Child("Envoy", envoy_command(find_envoy(), config), base_environment(), tmp_path / "two.log").run)
        await _until_both_serve(envoy_port, grpc_port, stage)

        lost: list[Answer | str] = []
        asked = 0

        async def load(stop: trio.Event) -> None:
            nonlocal asked
            while not stop.is_set():
                asked += 1
                token = stage.site.subjects.valid
                try:
                    answer: Answer | str = answer_of(await fetch(envoy_port, request_of(READINESS.call, token), timeout=5), token)
                except NoAnswerError as error:
                    answer = str(error)
                if answer != READINESS.expected:
                    lost.append(answer)

        async with trio.open_nursery() as requests:
            stop = trio.Event()
            for _ in range(8):
                requests.start_soon(load, stop)
            await trio.sleep(1)
            assert await stage.service.stop() == 0
            await trio.sleep(1)
            stop.set()
        assert asked > 100
        assert lost == []


def _two_instances(envoy_port: int, upstream_port: int, first: int, second: int) -> dict[str, Any]:
    config: dict[str, Any] = copy.deepcopy(bootstrap(listen=envoy_port, ext_authz=first, upstream=upstream_port))
    cluster = config["static_resources"]["clusters"][0]
    endpoints = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    endpoints.append(copy.deepcopy(endpoints[0]))
    endpoints[1]["endpoint"]["address"]["socket_address"]["port_value"] = second
    cluster["common_lb_config"] = {"healthy_panic_threshold": {"value": 0}}
    cluster["health_checks"] = [
        {
            "timeout": "1s",
            "interval": "0.1s",
            "no_traffic_interval": "0.1s",
            "unhealthy_threshold": 1,
            "healthy_threshold": 1,
            "grpc_health_check": {},
        }
    ]
    return config


async def _until_both_serve(envoy_port: int, second_port: int, stage: Stage) -> None:
    token = stage.site.subjects.valid
    with trio.fail_after(60):
        good = 0
        while good < 20:
            try:
                await (await trio.open_tcp_stream("127.0.0.1", second_port)).aclose()
                answer = answer_of(await fetch(envoy_port, request_of(READINESS.call, token), timeout=2), token)
            except (NoAnswerError, OSError):
                good = 0
            else:
                good = good + 1 if answer == READINESS.expected else 0
            await trio.sleep(0.05)
