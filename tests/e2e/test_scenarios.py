"""``python -m exchanger scenarios`` as users run it, against a real Envoy and the service."""

import json
import signal
import subprocess
import sys
from functools import partial

import pytest
import trio

from exchanger.commands.scenarios.builtin import SCENARIOS
from exchanger.commands.scenarios.scenario import PolicyEdit
from exchanger.commands.scenarios.tokens import make_subjects
from tests.e2e.conftest import SharedDemo

pytestmark = pytest.mark.envoy

# Seconds for one run, which takes about two.
BOUND_S = 60.0


async def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    command = (sys.executable, "-m", "exchanger", "scenarios", *arguments)
    with trio.fail_after(BOUND_S):
        return await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False, env=variables or None)


async def test_every_scenario_that_can_be_run_from_outside_is_as_expected(each_demo: SharedDemo) -> None:
    done = await run("--base-url", f"http://127.0.0.1:{each_demo.gateway}", "--stats-url", each_demo.stats, "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, b""), report
    assert [each["name"] for each in report["scenarios"]] == [scenario.name for scenario in SCENARIOS]
    skipped = [scenario.name for scenario in SCENARIOS if scenario.call.grants or isinstance(scenario, PolicyEdit)]
    assert [each["name"] for each in report["scenarios"] if each["ok"] is None] == skipped
    assert report["as_expected"] == len(SCENARIOS) - len(skipped)


async def test_a_users_own_token_is_never_shown(ext_authz_demo: SharedDemo) -> None:
    token = make_subjects("somebody").valid
    gateway = f"http://gateway.example.com:{ext_authz_demo.gateway}"
    done = await run("--base-url", gateway, "--resolve", "127.0.0.1", "--token-env", "TOKEN", TOKEN=token)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    assert f"{3 + sum(scenario.call.grants for scenario in SCENARIOS)} skipped" in said
    assert "200 exchanged: differs from what was sent" in said
    assert token.split(".")[1] not in said


async def test_ctrl_c_ends_it_as_shells_expect() -> None:
    """Nobody answers on this listener, so that the first request waits."""
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    base_url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    command = (sys.executable, "-m", "exchanger", "scenarios", "--base-url", base_url, "--timeout", f"{BOUND_S}")
    with trio.fail_after(BOUND_S):
        async with listener, trio.open_nursery() as nursery:
            started = partial(trio.run_process, command, capture_stdout=True, capture_stderr=True, check=False)
            process: trio.Process = await nursery.start(started)
            stream = await listener.accept()  # the request is under way
            async with stream:
                process.send_signal(signal.SIGINT)
                assert await process.wait() == 128 + signal.SIGINT
