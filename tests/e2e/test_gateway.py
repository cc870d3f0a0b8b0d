"""The service behind a real Envoy under load, by either of its filters: no wrong answer, and nothing lost when it is told to stop."""

from pathlib import Path

import pytest
import trio

from exchanger.commands.demo.envoy import FilterMode
from exchanger.commands.scenarios.builtin import SCENARIOS
from exchanger.commands.scenarios.runner import Finding, run_scenario
from exchanger.commands.scenarios.scenario import OneRequest
from tests.e2e.churn import restarts_under_load
from tests.e2e.conftest import SharedDemo

pytestmark = pytest.mark.envoy

AT_ONCE = 50
REQUESTS = 500
# Of each of two instances, one with requests and one in a silence; ``bench/restarts.py`` makes twenty.
RESTARTS = 4


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


@pytest.mark.slow
@pytest.mark.parametrize("mode", FilterMode)
async def test_restarts_under_load_lose_no_request(mode: FilterMode, tmp_path: Path) -> None:
    load = await restarts_under_load(tmp_path, mode, RESTARTS)
    assert load.summary() == ""
