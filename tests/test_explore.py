"""Every run tries the same examples; ``tests.explore`` tries others, and says how to replay what fails."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.examples import FULL, USUAL
from tests.explore import EXPLORE

ROOT: Final = Path(__file__).resolve().parents[1]
TRIED: Final = """
from hypothesis import given, strategies
from tests.examples import register_profiles
register_profiles()
@given(strategies.integers())
def law(number):
    print(number)
law()
"""
LAWS: Final = """
from hypothesis import given, strategies
@given(strategies.integers(0, 300))
def test_seldom_fails(number):
    print("tried", number)
    assert number != 217
@given(strategies.integers())
def test_holds(number):
    pass
def test_is_no_law():
    raise AssertionError
"""


def python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"CI", EXPLORE} and not name.startswith("PYTEST_")}
    command = (sys.executable, *arguments)
    return subprocess.run(command, cwd=ROOT, env={**kept, **variables}, capture_output=True, text=True, check=False, timeout=300)


def tried(**variables: str) -> list[str]:
    done = python("-c", TRIED, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_every_run_tries_the_same_examples_unless_others_are_asked_for() -> None:
    here = tried()
    assert tried(CI="true") == here
    assert len(here) == FULL
    others = tried(**{EXPLORE: "3"})
    assert len(others) == 3 * USUAL
    assert others[:FULL] != here


@pytest.fixture
def laws(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["tests.conftest"]\n')
    (tmp_path / "pytest.ini").touch()  # so that laws have the same names wherever this checkout is
    file = tmp_path / "test_laws.py"
    file.write_text(LAWS)
    return file


def explore(laws: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "tests.explore", "--processes=1", "--seed=1", *options, str(laws))


@pytest.mark.full
def test_explore_leaves_out_a_failed_law_and_prints_a_replaying_command(laws: Path) -> None:
    found = explore(laws, "--rounds=2", "--times=10")
    assert found.returncode == 1, found.stdout + found.stderr
    assert "1 failed, 1 passed" in found.stdout
    assert "\n1 passed" in found.stdout  # in the second round
    assert "laws that failed: 1\n" in found.stdout
    blob = re.search(r"@reproduce_failure\(.*\)", found.stdout)
    command = re.search(rf"\n    {EXPLORE}=10 (.*) test_laws\.py::test_seldom_fails\n", found.stdout)
    assert blob is not None
    assert command is not None
    interpreter, *options = command[1].split()
    assert interpreter == sys.executable
    again = python(*options, f"{laws}::test_seldom_fails", **{EXPLORE: "10"})
    assert again.returncode == 1, again.stdout + again.stderr
    assert blob[0] in again.stdout


def test_time_that_is_over_is_no_failure(laws: Path) -> None:
    laws.write_text(LAWS.replace("assert number != 217", "__import__('time').sleep(3600)"))
    found = explore(laws, "--minutes=0.001")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "== rounds: 1 (the last one was cut off); laws that failed: 0\n" in found.stdout
