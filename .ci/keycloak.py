"""Fetches Keycloak, whose token exchange the demo is tried with, by Maven, checks it against its sum, and builds its optimised server.

It is kept in ``exchanger/tools/keycloak-VERSION/`` of the user's cache folder, as ``go_tools.py`` does; the archive (190 MB) stays in
Maven's own repository, as everything that Maven fetches. Java (17 or newer) and Maven are those on the PATH; where one is missing, it is
installed as a system package, which takes root or sudo that does not ask. ``keycloak.py --where`` fetches nothing and prints where the
folder is.

What is built has its database in memory and answers questions about its health; everything else is said when it is started.
https://www.keycloak.org/server/configuration
"""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

import go_tools

VERSION: Final = "26.7.3"
"""Standard token exchange is in Keycloak since 26.2; the demo's chart names the same version."""
SHA256: Final = "77657f30b7e90d70f727712ce1c967f430fd6a5e9f458d32d8c6df0635345f47"
ARTIFACT: Final = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:tar.gz"
PLUGIN: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
"""What copies an artefact out of Maven's repository into a folder."""
BUILD: Final = ("build", "--db=dev-mem", "--health-enabled=true", "--cache=local")
OLDEST_JAVA: Final = 17
"""What Keycloak's classes are compiled for."""
SYSTEM_PACKAGES: Final = {"java": "default-jre-headless", "mvn": "maven"}
"""By command: Debian's package. The default Java is 17 in Debian 12, and newer in what came after."""
FETCH_S: Final = 900.0
"""Seconds for the download of 190 MB."""
BUILD_S: Final = 600.0
"""Seconds: building takes half a minute on two idle cores."""
ASK_S: Final = 60.0
"""Seconds for a program to say its version."""
CHUNK: Final = 1 << 20
"""Bytes that are read at once for the sum."""


def folder() -> Path:
    """Return where Keycloak is when it was fetched and built."""
    return go_tools.cache_folder() / f"keycloak-{VERSION}"


def launcher() -> Path:
    """Return the command that starts it."""
    return folder() / "bin" / "kc.sh"


def java_version() -> int:
    """Return the version of the Java that Keycloak would be run by, 0 when there is none."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None:
        return 0
    try:
        said = subprocess.run((java, "-version"), capture_output=True, text=True, check=True, timeout=ASK_S).stderr
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r'version "(\d+)', said)
    return int(found.group(1)) if found else 0


def have_programs() -> None:
    """Have Java and Maven, installed if need be.

    Raises:
        ToolError: one is missing and cannot be installed, or Java is too old.
    """
    missing = [package for command, package in SYSTEM_PACKAGES.items() if shutil.which(command) is None]
    if missing:
        import system_packages  # which is only found when this is run, and not when tests ask where a tool is

        try:
            system_packages.install(*missing)
        except system_packages.PackageError as error:
            raise go_tools.ToolError(f"Keycloak needs Java and Maven: {error}") from error
    found = java_version()
    if found < OLDEST_JAVA:
        raise go_tools.ToolError(f"Keycloak needs Java {OLDEST_JAVA} or newer, and {f'this is {found}' if found else 'there is none'}")


def fetch(target: Path) -> Path:
    """Return Keycloak's archive, copied into ``target``.

    Raises:
        ToolError: it cannot be had, or is not the one that is meant.
    """
    command = ("mvn", "-B", "-q", f"{PLUGIN}:copy", f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={target}")
    try:
        # What Maven says belongs to the log, not to those who read where Keycloak is from standard output.
        subprocess.run(command, cwd=target, check=True, timeout=FETCH_S, stdout=2)
    except (OSError, subprocess.SubprocessError) as error:
        raise go_tools.ToolError(f"{ARTIFACT} cannot be fetched: {error}") from error
    (archive,) = target.glob("*.tar.gz")
    digest = hashlib.sha256()
    with archive.open("rb") as data:
        while chunk := data.read(CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != SHA256:
        raise go_tools.ToolError(f"{archive.name} has the sha256 sum {digest.hexdigest()}, not {SHA256}")
    return archive


def unpack(archive: Path, target: Path) -> Path:
    """Unpack ``archive`` in ``target`` and return Keycloak's folder in it."""
    with tarfile.open(archive) as packed:
        packed.extractall(target, filter="data")
    return target / f"keycloak-{VERSION}"


def build(home: Path) -> None:
    """Build the server in the folder ``home``, so that starting it takes no longer than it has to.

    Raises:
        ToolError: it cannot be built.
    """
    done = subprocess.run(
        (home / "bin" / "kc.sh", *BUILD), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=BUILD_S, check=False
    )
    # It ends with 0 after some errors.
    if done.returncode != 0 or re.search("^ERROR", done.stdout, re.MULTILINE):
        raise go_tools.ToolError(f"Keycloak cannot be built:\n{done.stdout}")


def install() -> None:
    """Put Keycloak in its place in one step, so that two of this at once do no harm.

    Raises:
        ToolError: it cannot be done.
    """
    folder().parent.mkdir(parents=True, exist_ok=True)
    have_programs()
    with tempfile.TemporaryDirectory(dir=folder().parent) as temporary:
        home = unpack(fetch(Path(temporary)), Path(temporary))
        build(home)
        with contextlib.suppress(OSError):  # somebody else was faster, or something is in the way
            home.rename(folder())
    if not launcher().exists():
        raise go_tools.ToolError(f"{folder()} is not Keycloak's, and in its way")


def main() -> int:
    """Return the exit status."""
    if sys.argv[1:] not in ([], ["--where"]):
        print(__doc__, file=sys.stderr)
        return 2
    if not sys.argv[1:] and not launcher().exists():
        try:
            install()
        except (go_tools.ToolError, OSError, subprocess.SubprocessError, tarfile.TarError) as error:
            print(error, file=sys.stderr)
            return 1
    print(folder())
    return 0


if __name__ == "__main__":
    sys.exit(main())
