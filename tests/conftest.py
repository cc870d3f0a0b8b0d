"""Shared by all tests: how they are split over processes, which of them need a real part, and a switch that forbids skips.

``tests/tiers.py`` has what the README's command leaves to ``.ci/run``, and ``tests/examples.py`` the examples of laws.
EXCHANGER_TESTS_NO_SKIP turns every skip into a failure, for machines that have every real part; EXCHANGER_TESTS_LEFT_OUT lists the markers
of tests that may be skipped all the same.
"""

import functools
import gc
import os
import re
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import trustme
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.scheduler.protocol import Scheduling
from xdist.workermanage import WorkerController

from tests import tiers
from tests.examples import register_profiles
from tests.tools import what_tools_would_add

if TYPE_CHECKING:
    from tests.sources.kube.control_plane import ControlPlane

# What the tests' environment does not bring. Tests with such a part are also marked ``tool``: without it, they are skipped.
TOOL: Final = frozenset(
    {
        "browser",
        "caddy",
        "fastmcp",
        "go",
        "h2load",
        "helm",
        "image",
        "keycloak",
        "kubernetes",
        "mock_oauth2",
        "mounts",
        "nginx",
        "redis",
        "traefik",
    }
)
# Tests with a real part are also marked ``real``: they run another program or the service as a process, or attack it in real time.
REAL: Final = TOOL | {"envoy", "protoc"}
REAL_FOLDERS: Final = tuple(Path(__file__).parent / name for name in ("attack", "e2e"))

register_profiles()

# Without bytecode, each of four processes rewrites the assertions of all files again, and each of the hundreds that tests start has to
# compile the service first.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_addoption(parser: pytest.Parser) -> None:
    tiers.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    # In the background of a script, this signal is ignored, and so it would be by the programs that tests start and interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    tiers.load_tier(config)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process more than there are cores for ``-n auto``, and two a core where tests of real parts run, which mostly wait."""
    cores = os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count() or 1
    return cores + 1 if "not real" in config.option.markexpr else 2 * cores


# Files that run in one process for what they share: the builder of an image, or a control plane. Those that end or restart its server take
# long, and have a process of their own.
SHARING: Final = {
    "image": re.compile(r"tests/image/"),
    "outages": re.compile(r"tests/sources/kube/test_service\.py"),
    "control plane": re.compile(r"tests/(.*_control_plane|helm/test_rendered_service)\.py"),
}


# Files of laws, and seeds of the simulation, which share nothing and compute for up to a minute a file: each law is on its own, and each
# seed.
LAWS: Final = "tests/property/"
SEEDS: Final = "tests/simulation/test_seeds.py"


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # which has no types
    """Runs the tests of a file in one process, since they share what its fixtures start, and so some files."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(LAWS):
            return nodeid.partition("[")[0]
        if nodeid.startswith(SEEDS):
            return nodeid
        file = nodeid.partition("::")[0]
        return next((scope for scope, files in SHARING.items() if files.match(file)), file)

    def remove_node(self, node: WorkerController) -> str | None:
        """Return the test that ended its process, as one that hangs does. xdist would run it again, and wait for it again."""
        workload = self.assigned_work[node]
        for scope, tests in list(workload.items()):
            crashed: str | None = next((test for test, is_done in tests.items() if not is_done), None)
            if crashed is not None:
                tests[crashed] = True
                super().remove_node(node)
                return crashed
            del workload[scope]
        super().remove_node(node)
        return None


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return ByFile(config, log)


@pytest.fixture(scope="session")
def shared_control_plane(tmp_path_factory: pytest.TempPathFactory) -> "Generator[ControlPlane]":
    """One control plane for all tests of a process. Tests take the fixture ``control_plane`` of ``tests/sources/kube``."""
    from tests.sources.kube.control_plane import find_programs, running

    programs = find_programs()
    if programs is None:
        pytest.skip("etcd and kube-apiserver are not built: run python3 .ci/tools.py etcd kube-apiserver")
    with running(tmp_path_factory.mktemp("control_plane"), programs=programs) as plane:
        yield plane


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    is_real = functools.cache(lambda path: any(map(path.is_relative_to, REAL_FOLDERS)))  # asked for each of many tests of a file
    for item in items:
        marks = frozenset(mark.name for mark in item.iter_markers())
        if is_real(item.path) or marks & REAL:
            item.add_marker("real")
        if marks & TOOL:
            item.add_marker("tool")
    if hasattr(config, "workerinput"):
        in_good_order(items)


def in_good_order(items: list[pytest.Item]) -> None:
    """Put slow files first, so that no process ends with one while others idle; then alternate files that wait and files that compute."""
    weights: dict[Path, int] = {}
    for item in items:
        weight = 2 if item.get_closest_marker("slow") else 1 if item.get_closest_marker("real") else 0
        weights[item.path] = max(weight, weights.get(item.path, 0))
    places: dict[Path, float] = {}
    for weight in (0, 1, 2):
        files = [path for path, found in weights.items() if found == weight]
        places |= {path: -1.0 if weight == 2 else number / len(files) for number, path in enumerate(files)}
    items.sort(key=lambda item: (places[item.path], weights[item.path]))


def pytest_collection() -> None:
    """Look for no garbage among what is collected, nearly all of which stays."""
    gc.disable()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """An authority that clients may be told to trust."""
    return trustme.CA()


def pytest_collection_finish() -> None:
    """Leave what was collected, and the little garbage in it, out of each garbage collection to come: a tenth of a process's time."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and call.excinfo is not None:
        group = call.excinfo.value.__context__
        while isinstance(group, BaseExceptionGroup):  # pytest-trio skips without the reason
            group = group.exceptions[0]
        if isinstance(group, pytest.skip.Exception) and isinstance(report.longrepr, tuple):
            report.longrepr = (*report.longrepr[:2], f"Skipped: {group.msg}")
    if report.skipped and os.environ.get("EXCHANGER_TESTS_NO_SKIP"):
        left_out = os.environ.get("EXCHANGER_TESTS_LEFT_OUT", "").split()
        if not any(item.get_closest_marker(marker) for marker in left_out):
            report.outcome = "failed"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)  # below the list of skips
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    yield
    line = what_tools_would_add(str(report.longrepr) for report in terminalreporter.getreports("skipped"))
    if line is not None:
        terminalreporter.write_line(line)
