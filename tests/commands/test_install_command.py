"""The wheel of the page on installing the command has all that the command needs."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
TOOL, FIRST, WHEEL = re.findall(
    r"^```sh\n(.*?)^```", (ROOT / "docs" / "how-to" / "install-command.md").read_text(), re.MULTILINE | re.DOTALL
)
UV: Final = Path(sys.executable).with_name("uv")
# Seconds for a command.
COMMAND_S: Final = 120.0
# Nothing is fetched: the wheel's dependencies, and what builds it, are those of the tests.
BUILD: Final = ("--no-build-isolation", "--offline")
INSTALL: Final = ("pip", "install", "--offline", "--no-deps", "--python", sys.executable)


def run(folder: Path, *words: str | Path, **variables: str) -> str:
    environment = {**os.environ, **variables}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.full
def test_command_from_a_wheel_checks_and_tests_its_first_policy(tmp_path: Path) -> None:
    program, *options = shlex.split(WHEEL.splitlines()[0])
    assert program == "uv"
    run(ROOT, UV, *options, *BUILD, "--out-dir", tmp_path)
    (wheel,) = tmp_path.glob("exchanger-*.whl")
    run(tmp_path, UV, *INSTALL, "--target", tmp_path / "installed", wheel)
    installed = {"PYTHONPATH": str(tmp_path / "installed")}
    assert run(tmp_path, sys.executable, "-c", "import exchanger; print(exchanger.__file__)", **installed).startswith(str(tmp_path))
    for line in FIRST.splitlines():
        program, *options = shlex.split(line)
        assert program == "exchanger"
        run(tmp_path, sys.executable, "-P", "-m", program, *options, **installed)


def test_tools_know_the_options_of_the_page() -> None:
    for block in (TOOL, WHEEL):
        for line in block.splitlines():
            program, *words = shlex.split(line, comments=True)
            if program == "uv":
                verbs = words[: 2 if words[0] == "tool" else 1]
                said = run(ROOT, UV, *verbs, "--help")
                assert [word for word in words if word.startswith("--") and word not in said] == []
