"""``python -m exchanger demo`` as users run it: the service, a real Envoy, and everything gone afterwards."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
import trio

from exchanger.commands.demo.envoy import FilterMode
from exchanger.commands.demo.gateways.kinds import GatewayKind
from exchanger.commands.demo.reference.setup import reference_setup
from exchanger.commands.scenarios.builtin import SCENARIOS
from tests.tiers import mostly_full
from tests.tools import find_tool

if TYPE_CHECKING:
    from tests.e2e.conftest import SharedDemo

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for left-over processes in /proc"),
]

ROOT = Path(__file__).parents[2]
WHOLE_RUN = 120.0  # seconds for anything the demo does in these tests: it takes about six on an idle machine
# What the demo waits for is measured for people who watch: half a second for a token, one for an edit. A machine that stalls for as long
# gets another try; what is wrong is wrong each time.
TRIES = 3
ENDING = 40.0  # seconds from a signal to the end: the demo's own bounds are 10 s to ask and 5 s to kill


AS_USERS_DO = ("-m", "exchanger", "demo")


@attrs.define(eq=False)
class Demo:
    """A demo in a process of its own; all of its files, and those of its children, are below ``folder``."""

    process: trio.Process
    folder: Path
    text: str = ""

    @property
    def console(self) -> int:
        (port,) = re.findall(r"^Console: http://127\.0\.0\.1:(\d+) ", self.text, re.MULTILINE)
        return int(port)

    async def until(self, pattern: str) -> None:
        """Read until ``pattern`` was said."""
        assert self.process.stdout is not None
        with trio.fail_after(WHOLE_RUN):
            while not re.search(pattern, self.text):
                chunk = await self.process.stdout.receive_some()
                assert chunk, f"ended without {pattern!r}:\n{self.text}"
                self.text += chunk.decode()

    async def end(self, bound: float) -> int:
        """Read the rest, and return the exit status."""
        assert self.process.stdout is not None
        with trio.fail_after(bound):
            async for chunk in self.process.stdout:
                self.text += chunk.decode()
            return await self.process.wait()

    def assert_nothing_is_left(self) -> None:
        assert processes_with(self.folder) == []
        assert list(self.folder.iterdir()) == []


def processes_with(folder: Path) -> list[int]:
    """The processes whose environment names ``folder``: the demo's own, for it hands on TMPDIR."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue  # it has ended, or belongs to someone else
            if os.fsencode(folder) in environment:
                found.append(int(entry.name))
    return found


@asynccontextmanager
async def demo(folder: Path, *arguments: str, program: Sequence[str] = AS_USERS_DO) -> AsyncIterator[Demo]:
    process = await trio.lowlevel.open_process(
        [sys.executable, *program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(folder)},
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        yield Demo(process, folder)
    finally:
        for pid in processes_with(folder):  # only after a failed test: nothing of it may stay for the next one
            os.kill(pid, signal.SIGKILL)
        with trio.CancelScope(shield=True):
            await process.wait()
        if process.stdout is not None:
            with trio.CancelScope(shield=True):
                await process.stdout.aclose()


async def assert_all_is_as_expected(names: Sequence[str], folder: Path, *arguments: str, bound: float = WHOLE_RUN) -> None:
    """Check the demo, at most ``TRIES`` times, and that nothing is left of it whatever came of that."""
    rows: list[tuple[str, str]] = []
    text, expected = "", [("ok", name) for name in (*names, "service-stop")]
    for _ in range(TRIES):
        async with demo(folder, "--check", *arguments) as checked:
            status, text = await checked.end(bound), checked.text
            rows = re.findall(r"^(ok|FAIL) +([a-z-]+) ", text, re.MULTILINE)
            checked.assert_nothing_is_left()
        assert (status == 0) == (rows == expected), text
        if status == 0:
            return
    raise AssertionError(text)


@pytest.mark.parametrize("mode", mostly_full([mode.value for mode in FilterMode], [FilterMode.EXT_PROC.value]))
async def test_every_check_is_as_expected(mode: str, tmp_path: Path) -> None:
    await assert_all_is_as_expected([scenario.name for scenario in SCENARIOS], tmp_path, "--mode", mode)


def needed(kind: GatewayKind) -> str:
    """Return the option's value; skip the test if the gateway is not there."""
    if kind in {GatewayKind.NGINX, GatewayKind.CADDY}:
        find_tool(kind.value)
    return kind.value


NGINX = pytest.param(GatewayKind.NGINX, marks=pytest.mark.nginx)
CADDY = pytest.param(GatewayKind.CADDY, marks=pytest.mark.caddy)


TRAEFIK = [pytest.param(GatewayKind.TRAEFIK, marks=pytest.mark.traefik)] if shutil.which("traefik") else []


@pytest.mark.parametrize("kind", [GatewayKind.ENVOY_HTTP, NGINX, CADDY, *TRAEFIK])
async def test_every_check_is_as_expected_through_gateways_that_ask_over_http(kind: GatewayKind, tmp_path: Path) -> None:
    await assert_all_is_as_expected([scenario.name for scenario in SCENARIOS], tmp_path, "--gateway-kind", needed(kind))


@pytest.mark.parametrize("mode", mostly_full([mode.value for mode in FilterMode], [FilterMode.EXT_AUTHZ.value]))
async def test_reference_scenarios_that_need_no_keycloak_give_the_expected_results(mode: str, tmp_path: Path) -> None:
    scenarios = reference_setup(1).scenarios
    assert (len(scenarios), sum(scenario.call.signed for scenario in scenarios)) == (23, 8)
    names = [scenario.name for scenario in scenarios if not scenario.call.signed]
    await assert_all_is_as_expected(names, tmp_path, "--scenarios", "reference", "--mode", mode)


@pytest.mark.parametrize(
    ("moment", "number", "status"),
    [
        ("token endpoint", signal.SIGINT, 130),
        ("service …", signal.SIGTERM, 143),
        ("Envoy …", signal.SIGINT, 130),
        ("readiness …", signal.SIGTERM, 143),
    ],
)
async def test_a_signal_during_the_start_leaves_nothing(moment: str, number: signal.Signals, status: int, tmp_path: Path) -> None:
    async with demo(tmp_path) as started:
        await started.until(moment)
        started.process.send_signal(number)
        assert await started.end(ENDING) == status, started.text
        started.assert_nothing_is_left()


@pytest.mark.parametrize("kind", [GatewayKind.ENVOY, NGINX, CADDY])
async def test_sigterm_while_it_runs_ends_everything_cleanly(kind: GatewayKind, tmp_path: Path) -> None:
    """The demos that tests share end by SIGINT."""
    async with demo(tmp_path, "--gateway-kind", needed(kind)) as running:
        await running.until("Ctrl-C stops everything")
        assert len(processes_with(tmp_path)) == 3
        running.process.send_signal(signal.SIGTERM)
        assert await running.end(ENDING) == 0, running.text
        assert "ended: service exit status 0" in running.text
        running.assert_nothing_is_left()


async def test_a_killed_service_ends_the_demo(tmp_path: Path) -> None:
    async with demo(tmp_path) as running:
        await running.until("Ctrl-C stops everything")
        pids = re.findall(r"service: process (\d+)", running.text)
        os.kill(int(pids[0]), signal.SIGKILL)
        assert await running.end(ENDING) == 1, running.text
        assert "service exited unexpectedly (signal 9)" in running.text
        running.assert_nothing_is_left()


@pytest.mark.skipif(shutil.which("curl") is None, reason="the lines to try are curl's")
async def test_the_lines_to_try_can_be_tried(ext_authz_demo: "SharedDemo") -> None:
    text = ext_authz_demo.text
    exports = re.findall(r"^  (export .*)$", text, re.MULTILINE)
    lines = dict(re.findall(r"^  # ([a-z-]+): .*\n  # => .*\n  (.*)$", text, re.MULTILINE))
    assert len(exports) == 6
    assert list(lines) == [scenario.name for scenario in SCENARIOS]

    async def tried(name: str) -> str:
        script = "; ".join((*exports, lines[name]))
        return (await trio.run_process(["sh", "-c", script], capture_stdout=True)).stdout.decode()

    with trio.fail_after(WHOLE_RUN):
        success = await tried("yellow-success")
        assert '"scope": "read:orders"' in success
        assert '"azp": "exchanger-demo"' in success
        assert "login.example.com" not in success
        assert (await tried("explicit-deny")).startswith("HTTP/1.1 403")
        assert 'www-authenticate: Bearer realm="exchanger-demo"' in await tried("missing-bearer")
        assert "TXE-2001" in await tried("expired-subject-token")
        while '"scope": "read:orders:edited"' not in await tried("policy-edit"):
            pass  # the line waits for a second, and a machine may be busy
        while '"scope": "read:orders"' not in await tried("yellow-success"):  # the same request: the file was put back
            pass
        (folder,) = re.findall(r"^Policy folder: (.*)$", text, re.MULTILINE)
        assert all(path.suffix == ".yaml" for path in await trio.Path(folder).iterdir())
