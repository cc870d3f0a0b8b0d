"""A real Envoy that speaks TLS and mTLS to the service, by either of its filters, while certificates change."""

from pathlib import Path
from typing import Final

import attrs
import pytest

from exchanger.commands.demo.envoy import FilterMode
from exchanger.commands.demo.setup import demo_target
from exchanger.commands.scenarios.builtin import SCENARIOS
from exchanger.commands.scenarios.runner import run_scenario
from exchanger.commands.scenarios.scenario import OneRequest
from tests.e2e.churn import secured
from tests.e2e.gateway import until_serving

pytestmark = pytest.mark.envoy

# Two by either way; ``bench/restarts.py`` makes twenty.
ROTATIONS: Final = 4
each_way = pytest.mark.parametrize(
    ("mode", "mutual"), [(FilterMode.EXT_AUTHZ, True), (FilterMode.EXT_PROC, False)], ids=["ext_authz-mtls", "ext_proc-tls"]
)


@each_way
async def test_every_scenario_is_as_expected(mode: FilterMode, mutual: bool, tmp_path: Path) -> None:
    async with secured(tmp_path, mode, mutual=mutual) as here:
        await until_serving(here.envoy_port, here.stage)
        site = attrs.evolve(here.stage.ports, envoy_port=here.envoy_port)
        findings = [await run_scenario(scenario, demo_target(site)) for scenario in SCENARIOS if isinstance(scenario, OneRequest)]
        assert [finding for finding in findings if not finding.ok] == []


async def test_a_gateway_without_a_certificate_gets_nothing_through(tmp_path: Path) -> None:
    async with secured(tmp_path, FilterMode.EXT_AUTHZ, mutual=True, certified=False) as here:
        site = attrs.evolve(here.stage.ports, envoy_port=here.envoy_port)
        for scenario in SCENARIOS:
            if isinstance(scenario, OneRequest):
                finding = await run_scenario(scenario, demo_target(site))
                assert not finding.ok
                assert finding.got.startswith("503"), finding
