"""Servers that others wrote, many of them in Java, each in a process of its own: started, and ended by its process id. Blocking code."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.tools import find_tool

# Seconds until a server is ready. Keycloak takes fifteen on an idle machine for its first start.
READY_S: Final = 240.0
# Seconds until it has ended after SIGTERM; it takes one, and ten where it archives its classes.
ENDING_S: Final = 90.0
# Seconds between two looks.
POLL_S: Final = 0.2


def find_java_tool(name: str) -> Path:
    """Return a tool's folder; skip the test when it or Java is not there."""
    found = find_tool(name)
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip(f"{name} needs Java")
    return found


@contextlib.contextmanager
def running_server(name: str, command: tuple[str, ...], environment: Mapping[str, str], log: Path, ready: str) -> Generator[None]:
    """Run a server, whose output goes to ``log``, once ``ready`` (a URL) answers with 200, until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a script and the Java that it starts are one group
        )
    try:
        _wait_ready(name, process, ready, log)
        yield
    finally:
        _end(process)


def _wait_ready(name: str, process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    end = time.monotonic() + READY_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < end:
        assert process.poll() is None, f"{name} has ended:\n{log.read_text(errors='replace')[-4000:]}"
        try:
            with opener.open(url, timeout=5) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass  # not yet
        time.sleep(POLL_S)
    pytest.fail(f"{name} was not ready within {READY_S:g} s:\n{log.read_text(errors='replace')[-4000:]}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the server, or the script that hands SIGTERM on to it and waits; what is left of their group is killed."""
    process.terminate()
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):  # killed below
            process.wait(ENDING_S)
    finally:
        with contextlib.suppress(ProcessLookupError):  # nothing is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(ENDING_S)
