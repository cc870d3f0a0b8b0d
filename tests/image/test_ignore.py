"""What is kept from a build: Podman and Buildah read ``.containerignore``, Docker only ``.dockerignore``."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]


def test_docker_is_kept_from_the_same_files() -> None:
    """A working copy may hold credentials and gigabytes, none of which a build is to be sent."""
    ignored = (ROOT / ".containerignore").read_bytes()
    assert (ROOT / ".dockerignore").read_bytes() == ignored
    assert ignored.splitlines()[1] == b"*"  # all but what is named
