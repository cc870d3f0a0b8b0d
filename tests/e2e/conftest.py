"""What several tests share: demos, and a service for those that leave no state in it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Final

import attrs
import pytest

from exchanger.commands.demo.envoy import FilterMode
from exchanger.commands.scenarios.target import UNSIGNED_SUBJECTS, Gateway, ScenarioTarget
from exchanger.commands.scenarios.tokens import make_subjects
from tests.e2e.gateway import PATIENT_DEMO
from tests.e2e.service import DOCUMENT, Service, serving
from tests.e2e.test_demo import ENDING, ROOT, WHOLE_RUN, processes_with

HOST: Final = "127.0.0.1"


@attrs.frozen
class SharedDemo:
    """A demo that is up in a process of its own; ``text`` is what it printed, ``folder`` has all of its files."""

    mode: FilterMode
    folder: Path
    text: str

    def port(self, pattern: str) -> int:
        (found,) = re.findall(rf"{pattern}http://{HOST}:(\d+)", self.text)
        return int(found)

    @property
    def gateway(self) -> int:
        return self.port("export GATEWAY=")

    @property
    def console(self) -> int:
        return self.port("Console: ")

    @property
    def stats(self) -> str:
        return f"http://{HOST}:{self.port('Token counts:  ')}/stats"

    def target(self) -> ScenarioTarget:
        """The demo as a target from outside: its token endpoint accepts any user's tokens."""
        return ScenarioTarget(Gateway(HOST, self.gateway), make_subjects().token, UNSIGNED_SUBJECTS, timeout=WHOLE_RUN)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Generator[Service]:
    """A service that ends cleanly, whatever it was asked."""
    with serving(tmp_path_factory.mktemp("service"), DOCUMENT, LOG_DECISIONS="all", CONSOLE_ADDRESS="127.0.0.1:0") as running:
        yield running
        assert running.stop() == 0
        assert "grpc.handler_failed" not in running.lines()


@pytest.fixture(scope="session")
def ext_authz_demo(tmp_path_factory: pytest.TempPathFactory) -> Generator[SharedDemo]:
    yield from _running(FilterMode.EXT_AUTHZ, tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="session")
def ext_proc_demo(tmp_path_factory: pytest.TempPathFactory) -> Generator[SharedDemo]:
    yield from _running(FilterMode.EXT_PROC, tmp_path_factory.mktemp("demo"))


@pytest.fixture(params=[mode.value for mode in FilterMode])
def each_demo(request: pytest.FixtureRequest) -> SharedDemo:
    """The demo by either filter."""
    found: SharedDemo = request.getfixturevalue(f"{request.param}_demo")
    return found


def _running(mode: FilterMode, folder: Path) -> Generator[SharedDemo]:
    """Run a demo; in the end it must leave nothing behind, whatever the tests did to it."""
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        (sys.executable, *PATIENT_DEMO, "--mode", mode.value),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd=ROOT,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        lines: list[str] = []
        begun = time.monotonic()
        while not lines or "Ctrl-C stops everything" not in lines[-1]:
            line = process.stdout.readline().decode()
            assert line, f"ended:\n{''.join(lines)}"
            assert time.monotonic() - begun < WHOLE_RUN
            lines.append(line)
        yield SharedDemo(mode, folder, "".join(lines))
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=ENDING)
        assert process.returncode == 0, rest.decode()
        assert processes_with(folder) == []
        assert list(folder.iterdir()) == []
    finally:
        for pid in processes_with(folder):  # only after a failure
            os.kill(pid, signal.SIGKILL)
        process.stdout.close()
        process.wait(ENDING)
