"""Which Pythons are supported: named once, in pyproject.toml, and the same wherever one is chosen or refused."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())
START: Final = ROOT / "exchanger" / "__init__.py"
_CLASSIFIER: Final = "Programming Language :: Python :: "
# By age; the last is the newest.
SUPPORTED: Final = [
    name.removeprefix(_CLASSIFIER)
    for name in PROJECT["project"]["classifiers"]
    if re.fullmatch(r"3\.[0-9]+", name.removeprefix(_CLASSIFIER))
]


def test_oldest_supported_python_is_the_one_that_tools_are_told() -> None:
    oldest = SUPPORTED[0]
    assert PROJECT["project"]["requires-python"] == f">={oldest}"
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    assert PROJECT["tool"]["mypy"]["python_version"] == oldest


def test_image_has_a_supported_python() -> None:
    found = re.search(r"^ARG BASE=\S*/python:(3\.[0-9]+)-slim$", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    assert found is not None
    assert found[1] in SUPPORTED


def test_documentation_names_the_supported_pythons() -> None:
    assert f"CPython {SUPPORTED[0]} to {SUPPORTED[-1]}" in (ROOT / "CONTRIBUTING.md").read_text()


def started(change: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-c", f"import sys; {change}; import exchanger; print('imported')")
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("change", ["sys.version_info = (3, 10, 13)", "sys.version_info = (2, 7, 18)", "sys.implementation.name = 'pypy'"])
def test_unsupported_python_ends_at_start_with_one_sentence(change: str) -> None:
    done = started(change)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf"exchanger needs CPython {SUPPORTED[0]} or newer\. This is \S+ \S+\.\n", done.stderr)


def test_this_python_starts() -> None:
    assert started("pass").stdout == "imported\n"


def test_what_refuses_an_old_python_can_be_read_by_it() -> None:
    ast.parse(START.read_text(), feature_version=(3, 4))
