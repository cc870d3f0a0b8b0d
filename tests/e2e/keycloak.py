"""A real Keycloak on loopback, in a process of its own: started, and ended by its process id. Blocking code.

Half of a first start goes to the tables, the keys of Keycloak's own realm, and loading classes. The first test on a machine does it once.
What it leaves stays in Keycloak's folder: a database, of which each Keycloak gets a copy, and an archive of classes.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from exchanger.commands.demo.keycloak.realm import KeycloakAddress
from tests.e2e.java import find_java_tool, running_server
from tests.ports import free_port
from tests.tools import provider

ADMIN_PASSWORD: Final = "admin-of-the-lab"
# A third less to start with than the defaults, which are for servers that run long.
HEAP: Final = "-Xms32m -Xmx256m"
JAVA: Final = "-XX:-UseG1GC -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xlog:cds=off -Xlog:cds+dynamic=off"
DATABASE: Final = "keycloak.mv.db"
# An archive of another Java is left alone by the one that runs.
CLASSES: Final = "classes.jsa"


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
    """Run a Keycloak with an administrator and no realm but its own; its database and its log are in ``folder``.

    ``hostname``: what it calls itself, by default its address.
    """
    home = find_java_tool("keycloak")
    started_before = _started_before(home)
    shutil.copyfile(started_before / DATABASE, folder / DATABASE)
    with _running(home, folder, f"-XX:SharedArchiveFile={started_before / CLASSES}", *settings, hostname=hostname, tls=tls) as keycloak:
        yield keycloak


def _started_before(home: Path) -> Path:
    """Return the folder with what a Keycloak's first start has left."""
    digest = hashlib.sha256(f"{ADMIN_PASSWORD} {JAVA}".encode()).hexdigest()[:12]
    found = home / "data" / f"started-{digest}"
    found.parent.mkdir(exist_ok=True)
    with found.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            with provider().placing(found) as made:
                made.mkdir()
                with _running(home, made, f"-XX:ArchiveClassesAtExit={made / CLASSES}"):
                    pass
    return found


@contextmanager
def _running(
    home: Path, folder: Path, archive: str, *settings: str, hostname: str = "", tls: ServerTls | None = None
) -> Generator[Keycloak]:
    log = folder / "keycloak.log"
    port, management = (free_port() for _ in range(2))
    keycloak = Keycloak(KeycloakAddress(tls is not None, "127.0.0.1", port), folder / "admin-password", log)
    listener = ("--http-enabled=true", f"--http-port={port}") if tls is None else (f"--https-port={port}", *tls.settings)
    keycloak.password_file.write_text(f"{ADMIN_PASSWORD}\n")
    arguments = (
        "start",
        "--optimized",
        "--cache=local",  # else it opens ports for other members, on all interfaces
        # One of Keycloak's columns is called VALUE, which it allows for in addresses of its own making.
        f"--db-url=jdbc:h2:file:{folder / DATABASE.removesuffix('.mv.db')};NON_KEYWORDS=VALUE",
        f"--hostname={hostname or keycloak.address}",
        "--http-host=127.0.0.1",
        *listener,
        f"--http-management-port={management}",
        "--http-management-scheme=http",
        *settings,
    )
    variables = {name: value for name, value in os.environ.items() if not name.startswith("KC_")}
    variables |= {"JAVA_OPTS_KC_HEAP": HEAP, "JAVA_OPTS_APPEND": f"{JAVA} {archive}"}
    # Only the first start makes the administrator.
    administrator = {"KC_BOOTSTRAP_ADMIN_USERNAME": "admin", "KC_BOOTSTRAP_ADMIN_PASSWORD": ADMIN_PASSWORD}
    command = (str(home / "bin" / "kc.sh"), *arguments)
    # It opens its ports early; the management port tells when it means it.
    with running_server("Keycloak", command, {**variables, **administrator}, log, f"http://127.0.0.1:{management}/health/ready"):
        yield keycloak
