"""Makes environments with other Pythons than that of ``.venv``, and runs tests in them.

    pythons.py distribution    makes one with the distribution's own Python, and prints the folder of its programs, or that of .venv
    pythons.py                 runs the tests of some rooms with each other supported Python that is at hand, and says which are not

The supported Pythons are the classifiers of ``pyproject.toml``. One is at hand if it is on the PATH or among pyenv's, if uv has or fetches
it, or if a Debian has it that debootstrap makes in the user's cache folder, which takes root and mount namespaces. The script needs the
``.venv`` that the README's command makes, for its uv.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import tools  # beside this file

ROOT: Final = Path(__file__).resolve().parent.parent
UV: Final = ROOT / ".venv" / "bin" / "uv"
DISTRIBUTION: Final = Path("/usr/bin/python3")
# Below a hidden folder, since some tests read the checkout as a folder of policies; the site's build empties .cache.
ENVIRONMENTS: Final = Path(".venv") / "pythons"
# What reads texts of others, and what decides. All tests take too long for each version. Laws would draw other examples with each, so
# they run only where all tests without real parts do. Of the patterns, only their matches come from the interpreter: the other tests count
# the steps of the tests' own matcher, or read the source.
PATHS: Final = (
    *(f"tests/{room}" for room in ("policy", "model", "formats", "authz/decision", "exchange/oauth", "net")),
    "tests/test_patterns.py::test_interpreter_matches_as_plain_backtracking_does",
    "tests/test_supported_pythons.py",
)
# What the tests of rooms without real parts need besides Python.
PACKAGES: Final = "python3,python3-venv,ca-certificates,git"
# Debian's releases by the Python that they have. The last one moves on, and then has another.
SUITES: Final = {"3.13": "trixie", "3.14": "sid"}
# Seconds to install packages, or to make a Debian: two minutes on idle cores.
INSTALL_S: Final = 900.0
# Seconds for the tests of one version: they take some 25 s of CPU time.
TESTS_S: Final = 2400.0
# Seconds for a question that a program answers at once.
ASK_S: Final = 60.0
# The home folder in such a Debian.
_HOME: Final = "/root"
# Mounts of the private namespace in which a Debian's programs run: what they are, and where.
_ENTER: Final = """
mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && mount --rbind /sys "$0/sys" &&
mount --bind "$1" "$0$1" && mount --bind "$2" "$0$3/.cache" && shift 3 &&
cd / && exec chroot "$0" sh -c 'cd "$0" && exec "$@"' "$@"
"""


class NotAtHandError(Exception):
    """This machine has no such Python; the message says why."""


def supported() -> list[str]:
    """Return the supported versions, oldest first."""
    names = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    return [found[1] for name in names if (found := re.fullmatch(r"Programming Language :: Python :: (3\.[0-9]+)", name))]


def version_of(*command: str | Path) -> str | None:
    """Return the version of the Python that ``command`` starts, such as 3.13.1; ``None`` if it starts none."""
    try:
        done = subprocess.run(
            (*command, "-c", "import platform; print(platform.python_version())"),
            capture_output=True,
            text=True,
            check=False,
            timeout=ASK_S,
        )
    except OSError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def is_of(version: str, found: str | None) -> bool:
    """Return whether ``found`` is a patch version of ``version``."""
    return found is not None and found.rpartition(".")[0] == version


def candidates(version: str) -> Iterator[Path]:
    """Yield programs that may be that Python: the distribution's, those of the PATH, pyenv's, and uv's, which it may fetch."""
    yield DISTRIBUTION
    yield Path(shutil.which(f"python{version}") or DISTRIBUTION)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    yield from sorted(pyenv.glob(f"{version}.*/bin/python3"), reverse=True)
    subprocess.run((UV, "python", "install", "--quiet", version), stderr=subprocess.DEVNULL, check=False, timeout=INSTALL_S)
    found = subprocess.run((UV, "python", "find", "--managed-python", version), capture_output=True, text=True, check=False, timeout=ASK_S)
    if found.returncode == 0:
        yield Path(found.stdout.strip())


def entering(version: str) -> Sequence[str | Path]:
    """Return what has to stand before a command so that it runs in a Debian with that Python, and make that Debian if it is not there.

    Raises:
        NotAtHandError: there is no such Debian, and none can be made.
    """
    suite = SUITES.get(version)
    if suite is None or platform.system() != "Linux" or os.geteuid() != 0 or shutil.which("unshare") is None:
        raise NotAtHandError("neither installed nor provided by uv, and a Debian with it takes root on Linux")
    root = tools.cache_folder().parent / "pythons" / f"{suite}-{platform.machine()}"
    if not root.exists():
        try:
            if shutil.which("debootstrap", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
                tools.install("debootstrap")
            with tools.placing(root) as made:
                command = ("debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, made)
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=INSTALL_S)
        except (OSError, subprocess.SubprocessError, tools.ToolError) as error:
            raise NotAtHandError(f"debootstrap makes no Debian {suite}: {error}") from error
    caches = tools.cache_folder().parent / "pythons" / "cache"
    for folder in (caches, root / _HOME[1:] / ".cache", root / str(ROOT)[1:]):
        folder.mkdir(parents=True, exist_ok=True)
    # Names, and the authorities that this machine trusts, which may have some of its own.
    for file in map(Path, ("/etc/hosts", "/etc/resolv.conf", os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt")):
        if file.exists():
            (root / str(file)[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, root / str(file)[1:])
    environment = ("env", f"HOME={_HOME}", "PATH=/usr/local/bin:/usr/bin:/bin")
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER, root, ROOT, caches, _HOME, ROOT, *environment)


def python_of(version: str) -> tuple[Sequence[str | Path], Path]:
    """Return a Python of ``version``, and what has to stand before its command.

    Raises:
        NotAtHandError: there is none.
    """
    for python in candidates(version):
        if is_of(version, version_of(python)):
            return (), python
    before = entering(version)
    if not is_of(version, version_of(*before, DISTRIBUTION)):
        raise NotAtHandError(f"Debian {SUITES[version]} has another one")
    return before, DISTRIBUTION


def install(before: Sequence[str | Path], python: Path, name: str) -> Path:
    """Return the folder of the programs of an environment with the tests' packages, made anew; it is relative to the checkout."""
    folder = ENVIRONMENTS / name
    uv = (*before, UV)
    for command in (
        (*uv, "venv", "--quiet", "--clear", "--python", python, folder),
        (*uv, "pip", "install", "--quiet", "--python", folder, "--require-hashes", "-r", "requirements/dev.txt"),
        (*uv, "pip", "install", "--quiet", "--python", folder, "--no-deps", "--no-build-isolation", "-e", "."),
    ):
        subprocess.run(command, cwd=ROOT, check=True, timeout=INSTALL_S)
    return folder / "bin"


def distribution() -> Path:
    """Return the folder of an environment's programs with the distribution's Python, or that of ``.venv`` if there is no supported one."""
    found, usual = version_of(DISTRIBUTION), Path(".venv") / "bin"
    if found is None or found.rpartition(".")[0] not in supported():
        print(f"not at hand: a supported Python of the distribution ({DISTRIBUTION} is {found or 'not there'})", file=sys.stderr)
        return usual
    if found == version_of(ROOT / usual / "python"):
        return usual
    return install((), DISTRIBUTION, "distribution")


def test(version: str) -> bool:
    """Return whether the rooms' tests pass with that version, or it is not at hand."""
    try:
        before, python = python_of(version)
    except NotAtHandError as error:
        print(f"not at hand: {version} ({error})", flush=True)
        return True
    print(f"{version_of(*before, python)}, {'in a Debian' if before else python}:", flush=True)
    programs = install(before, python, version)
    command = (*before, programs / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tier", "quick", "-m", "not real", *PATHS)
    return subprocess.run(command, cwd=ROOT, check=False, timeout=TESTS_S).returncode == 0


def main(arguments: Sequence[str]) -> int:
    """Return the exit status."""
    if arguments == ["distribution"]:
        print(distribution())
        return 0
    tested = {version_of(ROOT / ".venv" / "bin" / "python"), version_of(DISTRIBUTION)}
    others = [version for version in supported() if not any(is_of(version, found) for found in tested)]
    failed = [version for version in others if not test(version)]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
