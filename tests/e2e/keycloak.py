"""A real Keycloak on loopback, in a process of its own: started, and ended by its process id. Blocking code."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from exchanger.demo.keycloak.realm import KeycloakAddress
from tests.e2e.java import find_java_tool, running_java
from tests.ports import free_port

ADMIN_PASSWORD: Final = "admin-of-the-lab"
JAVA: Final = {
    # A third less to start with than the defaults, which are for servers that run long.
    "JAVA_OPTS_KC_HEAP": "-Xms32m -Xmx256m",
    "JAVA_OPTS_APPEND": "-XX:-UseG1GC -XX:+UseSerialGC -XX:TieredStopAtLevel=1",
}


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
    home, log = find_java_tool("keycloak"), folder / "keycloak.log"
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
    command = (str(home / "bin" / "kc.sh"), *arguments)
    # It opens its ports early; the management port tells when it means it.
    with running_java("Keycloak", command, {**variables, **JAVA, **administrator}, log, f"http://127.0.0.1:{management}/health/ready"):
        yield keycloak
