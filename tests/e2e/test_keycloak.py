"""The demo with a real Keycloak, as users run it: its checks, and what its keys say of the tokens that the upstream gets."""

import re
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest
import trio

from exchanger.commands.demo.envoy import FilterMode
from exchanger.commands.scenarios.builtin import packaged_scenarios
from exchanger.net.answer import EndpointResponse
from tests.e2e.keycloak import Keycloak, running_keycloak
from tests.e2e.test_console_front import Front
from tests.e2e.test_demo import ENDING, WHOLE_RUN, assert_all_is_as_expected, demo
from tests.net.http2_session import session

pytestmark = [pytest.mark.keycloak, pytest.mark.envoy, pytest.mark.slow]

NAMES: Final = [scenario.name for scenario in packaged_scenarios("exchanger.commands.demo.keycloak", "scenarios.yaml")]
# Times as long as a demo without Keycloak may take: Java has a good part of the machine.
LONGER: Final = 4.0
INVALID_CLIENT: Final = b'{"error":"invalid_client","error_description":"Invalid client or Invalid client credentials"}'


@pytest.fixture(scope="module")
def keycloak(tmp_path_factory: pytest.TempPathFactory) -> Generator[Keycloak]:
    with running_keycloak(tmp_path_factory.mktemp("keycloak")) as started:
        yield started


def flags(keycloak: Keycloak, *, administrator: bool = True) -> tuple[str, ...]:
    found = ("--keycloak", str(keycloak.address), "--start-timeout", "90")
    return (*found, "--keycloak-admin-password-file", str(keycloak.password_file)) if administrator else found


async def test_keycloak_demo_without_realm_or_administrator_says_what_to_import(keycloak: Keycloak, tmp_path: Path) -> None:
    """First of all, for the next test creates the realm."""
    async with demo(tmp_path, "--check", *flags(keycloak, administrator=False)) as failed:
        assert await failed.end(WHOLE_RUN) == 1
        assert "has no realm exchanger-demo: import" in failed.text
        failed.assert_nothing_is_left()


@pytest.mark.parametrize("mode", [mode.value for mode in FilterMode])
async def test_every_check_is_as_expected(mode: str, keycloak: Keycloak, tmp_path: Path) -> None:
    await assert_all_is_as_expected(NAMES, tmp_path, "--mode", mode, *flags(keycloak), bound=LONGER * WHOLE_RUN)


async def test_the_reference_scenarios_are_all_as_expected(keycloak: Keycloak, tmp_path: Path) -> None:
    names = [scenario.name for scenario in packaged_scenarios("exchanger.commands.demo.reference", "scenarios.yaml")]
    await assert_all_is_as_expected(names, tmp_path, "--scenarios", "reference", *flags(keycloak), bound=LONGER * WHOLE_RUN)


async def test_its_token_endpoint_speaks_http2_by_prior_knowledge(keycloak: Keycloak) -> None:
    """It does not know the client; what counts is that it says so, to each of very many requests."""
    target = "/realms/master/protocol/openid-connect/token"
    async with session(keycloak.address.host, keycloak.address.port, None) as used:
        for found in await used.ask_all(*[(target, b"grant_type=client_credentials")] * 100):
            assert isinstance(found, EndpointResponse)
            assert (found.status, found.body) == (401, INVALID_CLIENT)


async def test_the_lab_shows_each_scenario_with_what_the_realms_keys_say(keycloak: Keycloak, tmp_path: Path) -> None:
    issuer = f"{keycloak.address}/realms/exchanger-demo"
    async with demo(tmp_path, *flags(keycloak)) as running:
        await running.until("Ctrl-C stops everything")
        at = Front(running.console)
        _, offered = await at.ask("GET", "/lab/scenarios")
        assert offered["keycloak"] is True
        assert [scenario["name"] for scenario in offered["scenarios"]] == NAMES
        for name in NAMES:
            result = await at.run(name)
            assert result["ok"] is True, result
            verification = result["tokens"]["verification"]
            if result["answer"]["status"] == 200:
                assert verification["verified"] is True
                assert verification["kid"] == result["tokens"]["received"]["header"]["kid"]
                assert f"iss {issuer}, aud orders-api" in verification["text"]
            else:
                assert verification is None
                assert result["tokens"]["received"] is None
        _, policy = await at.ask("GET", "/lab/policy")
        assert [file["name"] for file in policy["files"]] == ["green.yaml"]

        exports = re.findall(r"^  export (TOKEN|GATEWAY)=(.*)$", running.text, re.MULTILINE)
        assert [name for name, _ in exports] == ["GATEWAY", "TOKEN"]
        running.process.terminate()
        with trio.fail_after(ENDING):
            assert await running.end(ENDING) == 0
        running.assert_nothing_is_left()
