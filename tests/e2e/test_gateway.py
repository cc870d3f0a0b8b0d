"""The service behind a real Envoy under load, by either of its filters: no wrong answer, and nothing lost when it is told to stop."""

import json
from pathlib import Path

import pytest
import trio

from exchanger.demo.envoy import FilterMode
from exchanger.demo.running import RunningDemo
from exchanger.demo.setup import demo_target
from exchanger.http.message import Request
from exchanger.scenarios.answer import ScenarioAnswer
from exchanger.scenarios.builtin import SCENARIOS
from exchanger.scenarios.client import fetch
from exchanger.scenarios.runner import Finding, run_scenario
from exchanger.scenarios.scenario import EqualRequests, OneRequest
from exchanger.scenarios.tokens import make_subjects
from tests.e2e.churn import restarts_under_load
from tests.e2e.conftest import SharedDemo
from tests.e2e.gateway import READY_S, staged

pytestmark = pytest.mark.envoy

AT_ONCE = 50
REQUESTS = 500
# Of each of two instances, one with requests and one in a silence; ``bench/restarts.py`` makes twenty.
RESTARTS = 4

each_mode = pytest.mark.parametrize("mode", list(FilterMode))


async def test_five_hundred_requests_at_fifty_at_once_get_the_right_answer(each_demo: SharedDemo) -> None:
    scenarios = [scenario for scenario in SCENARIOS if isinstance(scenario, OneRequest) and scenario.name != "timeout"]
    target, limit, findings = each_demo.target(), trio.CapacityLimiter(AT_ONCE), list[Finding]()

    async def one(scenario: OneRequest) -> None:
        async with limit:
            findings.append(await run_scenario(scenario, target))

    async with trio.open_nursery() as requests:
        for index in range(REQUESTS):
            requests.start_soon(one, scenarios[index % len(scenarios)])
    assert len(findings) == REQUESTS
    wrong = [f"{finding.name}: {finding.details}" for finding in findings if not finding.ok]
    assert not wrong, f"{len(wrong)} of {REQUESTS} are wrong: {wrong[:3]}"


@each_mode
async def test_what_was_asked_before_sigterm_is_answered(mode: FilterMode, tmp_path: Path) -> None:
    slow = next(scenario for scenario in SCENARIOS if isinstance(scenario, EqualRequests))
    answers: list[ScenarioAnswer | str] = []

    async def one(stage: RunningDemo, number: int) -> None:
        token = make_subjects(f"user-{number}").token(slow.call.subject)
        answers.append(demo_target(stage.ports).judge(await demo_target(stage.ports).send(slow.call, token)))

    async with staged(tmp_path, mode) as (stage, _), trio.open_nursery() as requests:
        for number in range(20):
            requests.start_soon(one, stage, number)
        with trio.fail_after(READY_S):
            while await exchanges(stage) < 20:  # noqa: ASYNC110 - the endpoint counts, and tells nobody
                await trio.sleep(0.01)
        # The last of them take 0.3 s, so that they are under way.
        assert await stage.service.stop() == 0
    assert answers == [slow.expected] * 20


async def exchanges(stage: RunningDemo) -> int:
    """How many exchanges the token endpoint has been asked for by the users of the test above."""
    told = await fetch(stage.ports.token_port, Request("GET", "/stats", (("Host", "stats"),)), timeout=READY_S)
    return sum(int(count["requests"]) for count in json.loads(told.body) if count["subject"].startswith("user-"))


@pytest.mark.slow
@each_mode
async def test_restarts_under_load_lose_no_request(mode: FilterMode, tmp_path: Path) -> None:
    load = await restarts_under_load(tmp_path, mode, RESTARTS)
    assert load.summary() == ""
