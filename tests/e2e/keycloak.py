"""A real Keycloak on loopback, in a process of its own: started, and ended by its process id. Blocking code."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs
import pytest

from exchanger.demo.keycloak.realm import KeycloakAddress
from tests.ports import free_port
from tests.tools import find_tool

# Seconds until it is ready; it takes fifteen on an idle machine, with a new database in memory.
READY_S: Final = 240.0
# Seconds until it has ended after SIGTERM; it takes one.
ENDING_S: Final = 30.0
# Seconds between two looks.
POLL_S: Final = 0.2
ADMIN_PASSWORD: Final = "admin-of-the-lab"
JAVA: Final = {
    # A third less to start with than the defaults, which are for servers that run long.
    "JAVA_OPTS_KC_HEAP": "-Xms32m -Xmx256m",
    "JAVA_OPTS_APPEND": "-XX:-UseG1GC -XX:+UseSerialGC -XX:TieredStopAtLevel=1",
}


def find_keycloak() -> Path:
    """Return Keycloak's folder; skip the test when it or Java is not there."""
    home = find_tool("keycloak")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("Keycloak needs Java")
    return home


@attrs.frozen
class Keycloak:
    """A Keycloak that is ready. Its administrator's password is in ``password_file``."""

    address: KeycloakAddress
    password_file: Path
    log: Path


@attrs.frozen
class ServerTls:
    """Files for https: the certificate and its key, and the authorities of clients' certificates, which it asks for."""

    certificate: Path
    key: Path
    clients: Path

    @property
    def settings(self) -> tuple[str, ...]:
        """Keycloak's settings. That it asks for certificates is decided when it is built."""
        return (
            f"--https-certificate-file={self.certificate}",
            f"--https-certificate-key-file={self.key}",
            f"--truststore-paths={self.clients}",
        )


@contextmanager
def running_keycloak(folder: Path, *settings: str, hostname: str = "", tls: ServerTls | None = None) -> Generator[Keycloak]:
    """Run a Keycloak with an administrator and no realm but its own; its log is in ``folder``.

    ``hostname``: what it calls itself, by default its address.
    """
    home, log = find_keycloak(), folder / "keycloak.log"
    port, management = (free_port() for _ in range(2))
    keycloak = Keycloak(KeycloakAddress(tls is not None, "127.0.0.1", port), folder / "admin-password", log)
    listener = ("--http-enabled=true", f"--http-port={port}") if tls is None else (f"--https-port={port}", *tls.settings)
    keycloak.password_file.write_text(f"{ADMIN_PASSWORD}\n")
    arguments = (
        "start",
        "--optimized",
        "--cache=local",  # else it opens ports for other members, on all interfaces
        f"--hostname={hostname or keycloak.address}",
        "--http-host=127.0.0.1",
        *listener,
        f"--http-management-port={management}",
        "--http-management-scheme=http",
        *settings,
    )
    variables = {name: value for name, value in os.environ.items() if not name.startswith("KC_")}
    administrator = {"KC_BOOTSTRAP_ADMIN_USERNAME": "admin", "KC_BOOTSTRAP_ADMIN_PASSWORD": ADMIN_PASSWORD}
    with log.open("wb") as output:
        process = subprocess.Popen(
            (home / "bin" / "kc.sh", *arguments),
            cwd=folder,
            env={**variables, **JAVA, **administrator},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the script and the Java that it starts are one group
        )
    try:
        # It opens its ports early; the management port tells when it means it.
        _wait_ready(process, f"http://127.0.0.1:{management}/health/ready", log)
        yield keycloak
    finally:
        _end(process)


def _wait_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    end = time.monotonic() + READY_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < end:
        assert process.poll() is None, f"Keycloak has ended:\n{log.read_text(errors='replace')[-4000:]}"
        try:
            with opener.open(url, timeout=5) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass  # not yet
        time.sleep(POLL_S)
    pytest.fail(f"Keycloak was not ready within {READY_S:g} s:\n{log.read_text(errors='replace')[-4000:]}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the script, which hands SIGTERM on to Java and waits for it; what is left of their group is killed."""
    process.terminate()
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):  # killed below
            process.wait(ENDING_S)
    finally:
        with contextlib.suppress(ProcessLookupError):  # nothing is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(ENDING_S)
