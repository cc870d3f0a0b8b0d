"""The two images as fixtures, built once: by whoever runs ``image/build.py``, or here where nothing may be skipped."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.image.container import Image

BUILDER: Final = Path(__file__).resolve().parents[2] / "image" / "build.py"
BUILD_S: Final = 3600.0
# The builder's status on a machine that cannot build images.
CANNOT: Final = 75


def run_builder(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, str(BUILDER), *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=BUILD_S)


@pytest.fixture(scope="session")
def described() -> dict[str, Any]:
    """What the builder says of both images."""
    if os.geteuid() != 0:
        pytest.skip("running what is in the image without an engine takes root")
    # Packages of the system are only installed where somebody has asked for everything.
    mode = () if os.environ.get("EXCHANGER_TESTS_NO_SKIP") else ("--where",)
    done = run_builder(*mode)
    if done.returncode == CANNOT or (done.returncode and mode):
        pytest.skip(done.stderr.strip().rpartition("\n")[2])
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def copied(told: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Generator[Image]:
    folder = tmp_path_factory.mktemp("image")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)  # pytest makes them for this user alone, and containers have another
    yield Image.copied(told, folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def image(described: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Generator[Image]:
    """The production image."""
    yield from copied(described, tmp_path_factory)


@pytest.fixture(scope="session")
def demo_image(described: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Generator[Image]:
    """The image with the demo's commands."""
    yield from copied(described["demo"], tmp_path_factory)
