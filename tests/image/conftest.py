"""The image as a fixture, built once: by whoever runs ``.ci/image.py``, or here where nothing may be skipped."""

import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest

from tests.image.container import Image

BUILDER: Final = Path(__file__).resolve().parents[2] / ".ci" / "image.py"
BUILD_S: Final = 3600.0
CANNOT: Final = 75
"""The builder's status on a machine that cannot build images."""


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Generator[Image]:
    if os.geteuid() != 0:
        pytest.skip("running what is in the image without an engine takes root")
    # Packages of the system are only installed where somebody has asked for everything.
    mode = () if os.environ.get("EXCHANGER_TESTS_NO_SKIP") else ("--where",)
    done = subprocess.run((sys.executable, str(BUILDER), *mode), capture_output=True, text=True, check=False, timeout=BUILD_S)
    if done.returncode == CANNOT or (done.returncode and mode):
        pytest.skip(done.stderr.strip().rpartition("\n")[2])
    assert done.returncode == 0, done.stderr
    folder = tmp_path_factory.mktemp("image")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)  # pytest makes them for this user alone, and containers have another
    yield Image.copied(done.stdout, folder)
    shutil.rmtree(folder)
