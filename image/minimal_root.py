"""Puts together the image's file system: this interpreter, the libraries that it loads, certificates, and an environment of packages.

Nothing else of the base is taken: no shell, package manager, pip, compiler, or setuid program. It runs in the image's build stage, on the
base's own Python, and works on any base with glibc. Where the base is Debian's kind, the packages of what was taken are listed in
``/var/lib/dpkg/status.d``, where vulnerability scanners look for them in images without a package manager, and their copyright files come
along.

    minimal_root.py ENVIRONMENT TARGET DOCUMENTS

``ENVIRONMENT`` is a virtual environment of this Python. The files in ``DOCUMENTS`` go to ``/usr/share/doc/exchanger``.
``TARGET/system``, ``TARGET/dependencies`` and ``TARGET/application`` are the image's layers, from what changes rarely to what changes with
each version. ``TARGET/demo`` is one more layer, with the demo's packages, which the production image does not have. ``TARGET`` must not
exist. Times of files are those of SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/source-date-epoch/).

Must not know: a registry, or where the base comes from.
"""

import compileall
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

# Name of the distribution that changes with each version.
APPLICATION: Final = "exchanger"
# The packages of that distribution that only the demo's commands use. Without them, the program does not offer these commands.
DEMO: Final = ("exchanger/commands/demo", "exchanger/commands/playground", "exchanger/commands/scenarios")
# User and group that images without a shell use by custom; any other works too.
USER: Final = 65532

# Of the standard library: what installs packages, draws, and tests.
LEFT_OUT: Final = frozenset(
    {"distutils", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tests", "tkinter", "turtle.py", "turtledemo", "venv"}
    | {"__pycache__", "site-packages", "dist-packages", "EXTERNALLY-MANAGED", "sitecustomize.py"}
)
# Each brings a library of the system that nothing here loads.
LEFT_OUT_EXTENSIONS: Final = re.compile(
    r"(_sqlite3|_dbm|_gdbm|_curses\w*|readline|_tkinter|nis|ossaudiodev|_test\w*|_ctypes_test|_xxtestfuzz|xx\w*)\."
)
# Of the data: keys, and OpenSSL's scripts.
LEFT_OUT_FOLDERS: Final = frozenset({"private", "misc"})
# Of the packages: the asyncio half of the Kubernetes client, half of all there is; what it requires is not in the image either.
UNUSED: Final = ("kubernetes/aio",)
# Libraries that no file names: glibc opens this one when a thread ends early.
LOADED_LATER: Final = ("libgcc_s.so.1",)
# Certificate authorities and OpenSSL's configuration where distributions have them, and what tells scanners which one this is.
DATA: Final = ("/etc/ssl", "/usr/lib/ssl", "/usr/share/ca-certificates", "/etc/pki/tls/certs", "/etc/os-release", "/usr/lib/os-release")
LIBRARY: Final = re.compile(r"\.so(\.[0-9.]+)?$")
# Seconds for one of the system's small programs.
COMMAND_S: Final = 60.0


def output_of(*command: str | Path) -> str:
    """Return what ``command`` prints, "" when it is not there or does not like what it was asked."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMMAND_S).stdout
    except FileNotFoundError:
        return ""


class System:
    """The base's files that are taken; each with its place, and with every symbolic link on the way to it."""

    def __init__(self, target: Path) -> None:
        """Take files into ``target``."""
        self._target = target
        self.taken: set[Path] = set()

    def take(self, path: Path) -> None:
        """Copy the file, or the link and what it leads to, at the absolute ``path``; a folder with all that is in it."""
        place = Path(os.path.realpath(path.parent)) / path.name
        if place in self.taken:
            return
        self._folder(path.parent)
        target = self._target / place.relative_to("/")
        if place.is_symlink():
            self.taken.add(place)
            if place.exists():
                target.symlink_to(place.readlink())
                self.take(place.parent / place.readlink())
        elif place.is_dir():
            if place.name in LEFT_OUT_FOLDERS:
                return
            self._folder(place)
            for entry in sorted(place.iterdir()):
                self.take(entry)
        elif place.is_file():
            self.taken.add(place)
            shutil.copyfile(place, target)

    def _folder(self, path: Path) -> None:
        """Make the folder that ``path`` is, and the links through which it is reached, such as ``/lib``."""
        current = Path("/")
        for part in path.parts[1:]:
            current /= part
            target = self._target / current.relative_to("/")
            if current.is_symlink():
                if not target.is_symlink():
                    self._folder(Path(os.path.realpath(current)))
                    target.symlink_to(current.readlink())
                current = Path(os.path.realpath(current))
            elif not target.exists():
                target.mkdir(mode=0o755)

    def write(self, path: str, text: str) -> None:
        """Write a file of our own."""
        target = self._target / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")


def standard_library() -> Iterator[Path]:
    """Yield the files of the standard library that are taken."""
    for root in dict.fromkeys(sysconfig.get_path(name) for name in ("stdlib", "platstdlib")):
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(name for name in folders if name not in LEFT_OUT and not name.startswith("config-"))
            yield from (Path(folder) / name for name in sorted(files) if name not in LEFT_OUT and not LEFT_OUT_EXTENSIONS.match(name))


def libraries_of(files: Iterable[Path]) -> set[Path]:
    """Return the shared libraries that the dynamic loader finds for ``files``, and the loader itself."""
    binaries = [file for file in files if file.is_file() and _is_elf(file)]
    said = "\n".join(output_of("ldd", *binaries[start : start + 64]) for start in range(0, len(binaries), 64))
    return {Path(found) for found in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", said, re.MULTILINE)}


def _is_elf(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(4) == b"\x7fELF"


def debian_packages(files: Iterable[Path]) -> dict[str, str]:
    """Return the entries of the packages that own ``files``, by name; none where there is no dpkg."""
    # A package may name /lib/x where links have made it /usr/lib/x.
    asked = sorted({name for file in files for name in (str(file), str(file).removeprefix("/usr"))})
    owners = "".join(output_of("dpkg-query", "--search", *asked[start : start + 256]) for start in range(0, len(asked), 256))
    names = {match for line in owners.splitlines() for match in re.findall(r"([a-z0-9][\w.+-]*)(?::\w+)?(?:, |: /)", line)}
    return {name: entry for name in sorted(names) if (entry := output_of("dpkg-query", "--status", name))}


def take_system(environment: Path, target: Path) -> None:
    """Fill ``target`` with what the environment's packages need of the base."""
    system = System(target)
    interpreter = Path(os.path.realpath(sys.executable))
    system.take(interpreter)
    for file in standard_library():
        system.take(file)
    binaries = [*system.taken, *(file for file in environment.rglob("*.so*") if not file.is_symlink())]
    libraries = libraries_of(binaries)
    if not libraries:
        raise SystemExit("ldd does not say which libraries Python needs: the base must have it")
    libraries |= {library.with_name(name) for library in libraries for name in LOADED_LATER if library.with_name(name).exists()}
    for library in sorted(libraries):
        if not library.is_relative_to(environment):
            system.take(library)
    for name in DATA:
        if Path(name).exists():
            system.take(Path(name))
    _describe(system)
    for configuration in (Path("/etc/ld.so.conf"), Path("/etc/ld.so.conf.d")):
        if configuration.exists():
            system.take(configuration)
    output_of("ldconfig", "-r", target)  # libraries outside of the loader's own folders are found by its cache
    (target / "var/cache/ldconfig/aux-cache").unlink(missing_ok=True)


def _describe(system: System) -> None:
    """Write what programs ask the system for, and what the system's packages are."""
    system.write("/etc/passwd", f"root:x:0:0:root:/:/nonexistent\nnonroot:x:{USER}:{USER}:nonroot:/:/nonexistent\n")
    system.write("/etc/group", f"root:x:0:\nnonroot:x:{USER}:\n")
    system.write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    for name, entry in debian_packages(system.taken).items():
        system.write(f"/var/lib/dpkg/status.d/{name}", entry)
        copyright_file = Path("/usr/share/doc", name, "copyright")
        if copyright_file.exists():
            system.write(str(copyright_file), copyright_file.read_text("utf-8", "replace"))


def take_environment(environment: Path, dependencies: Path, application: Path, demo: Path) -> None:
    """Copy ``environment`` to its place below ``dependencies``, and what is this project's own to its place below ``application``.

    The demo's packages go to their places below ``demo``.
    """
    place = dependencies / environment.relative_to("/")
    shutil.copytree(environment, place, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "include"))
    programs = place / "bin"
    for program in programs.iterdir():  # what packages install for developers, and ways to activate an environment
        if program.name != APPLICATION:
            program.unlink()
    (programs / "python").symlink_to(os.path.realpath(sys.executable))
    packages = next(place.glob("lib/python*/site-packages"))
    for name in UNUSED:
        shutil.rmtree(packages / name)
    ours = (programs / APPLICATION, packages / APPLICATION, *packages.glob(f"{APPLICATION}-*.dist-info"))
    for path, layer in (*((packages / name, demo) for name in DEMO), *((path, application) for path in ours)):
        goal = layer / path.relative_to(dependencies)
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, goal)


def compile_all(root: Path) -> None:
    """Compile every module below ``root``, each for its place in the image; the interpreter is told not to look at the sources again."""
    checked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(root, maxlevels=50, stripdir=str(root), prependdir="/", quiet=2, invalidation_mode=checked):
        # Packages carry templates and tests of syntax errors under names of modules; what is imported would fail in the tests.
        print(f"some modules below {root} cannot be compiled")


def settle(root: Path, epoch: int) -> None:
    """Give everything below ``root`` the rights of its kind, wherever it was built, and one time."""
    for path in sorted(root.rglob("*"), reverse=True):
        if not path.is_symlink():
            # Modules that can be run as scripts too are not programs here; whatever loads libraries wants them to be executable, by custom.
            program = path.is_dir() or path.parent.name == "bin" or LIBRARY.search(path.name)
            path.chmod(0o755 if program else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def main(arguments: list[str]) -> int:
    """Return the exit status."""
    environment, target, documents = (Path(argument).resolve() for argument in arguments)
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or 0)
    system, dependencies, application, demo = (target / name for name in ("system", "dependencies", "application", "demo"))
    system.mkdir(parents=True)
    take_system(environment, system)
    take_environment(environment, dependencies, application, demo)
    shutil.copytree(documents, application / "usr/share/doc" / APPLICATION)
    for root in (system, dependencies, application, demo):
        compile_all(root)
        settle(root, epoch)
    (system / "tmp").mkdir()
    (system / "tmp").chmod(0o1777)  # mkdir's own mode is masked
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
