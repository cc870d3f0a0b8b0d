"""Builds the container images of this checkout, where no image can be pulled and no engine runs; prints their names and sizes.

The base is a Debian with its own Python, made by debootstrap, and the builder is buildah with chroot isolation. Both need root, or sudo
that does not ask, and both are installed as system packages where they are missing. Base and image are kept in ``exchanger/image/`` of the
user's cache folder. An image is named by a digest of everything that it is made from, so that what was built already is not built again.

    build.py [--suite bookworm]     builds, and prints what came of it as JSON
    build.py --where                builds nothing; prints the same when it is built, and ends with 1 otherwise
    build.py --twice                builds the production image again, from where our own files come in, and ends with 1 when the layer with
                                    them differs; prints the digests of all layers

There are two images: the production image, and under ``demo`` the one that has the demo's commands besides.

Status 75 (EX_TEMPFAIL of sysexits.h) says that this machine cannot build images, and why. pip's settings of this machine, with the
authority that it trusts, are lent to the build as secrets, of which nothing is left in the image.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
# What the image is made from.
SOURCES: Final = (
    "Containerfile",
    "image/minimal_root.py",
    ".containerignore",
    ".vex",
    "LICENSE",
    "README.md",
    "exchanger",
    "pyproject.toml",
    "requirements",
)
# Debian's release with the oldest Python that the project supports, 3.11.
SUITE: Final = "bookworm"
BASE_PACKAGES: Final = "python3,python3-venv,ca-certificates"
NAME: Final = "localhost/exchanger"
CANNOT: Final = 75
# Seconds for the longest step: a base takes two minutes, an image another two, on two cores that do nothing else.
STEP_S: Final = 1800.0
# Seconds for what the builder knows already.
ASK_S: Final = 60.0
# Those that a build somewhere else can use; folders of this machine are not there.
PIP_SETTINGS: Final = ("index-url", "extra-index-url", "no-index", "trusted-host", "cert", "proxy", "timeout", "default-timeout", "retries")
# What the demo image's tag ends with.
DEMO: Final = "-demo"
# Versions that are kept, two images each; older ones make room.
KEPT: Final = 3
# Results of single steps that are kept, so that only what has changed is built again; more are some gigabytes, and all of them go.
KEPT_STEPS: Final = 120


class CannotBuildError(Exception):
    """This machine cannot build images; the message says why."""


def privileged() -> tuple[str, ...]:
    """Return what has to stand before a command for root.

    Raises:
        CannotBuildError: there is no way to be root.
    """
    if os.geteuid() == 0:
        return ()
    sudo = shutil.which("sudo")
    if sudo and subprocess.run((sudo, "-n", "true"), capture_output=True, check=False, timeout=ASK_S).returncode == 0:
        return ("sudo", "-n", "-E")
    raise CannotBuildError("images are built by root, or by somebody with sudo that does not ask")


def install_missing() -> None:
    """Install buildah and debootstrap as system packages.

    Raises:
        CannotBuildError: there is no apt, or it does not know them.
    """
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [program for program in ("buildah", "debootstrap") if shutil.which(program, path=path) is None]
    if not missing:
        return
    apt = (*privileged(), "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "-o", f"DPkg::Lock::Timeout={ASK_S * 10:.0f}")
    try:
        for arguments in (("update",), ("install", "--no-install-recommends", *missing)):
            subprocess.run((*apt, *arguments), check=True, timeout=STEP_S, stdout=sys.stderr)
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotBuildError(f"there is no {' and no '.join(missing)}, and no system package of it can be installed: {error}") from error


class Builder:
    """buildah with a storage of its own, out of the way of other engines."""

    def __init__(self, folder: Path) -> None:
        """Keep everything below ``folder``."""
        self.folder = folder
        self._command = (
            *privileged(),
            *("env", "BUILDAH_ISOLATION=chroot", "buildah", "--storage-driver", self._driver()),
            *("--root", str(folder / "storage"), "--runroot", str(folder / "run")),
        )

    def run(self, *arguments: str | Path, timeout: float = STEP_S) -> str:
        """Return what buildah prints."""
        done = subprocess.run((*self._command, *map(str, arguments)), check=True, timeout=timeout, stdout=subprocess.PIPE, text=True)
        return done.stdout.strip()

    def has(self, image: str) -> bool:
        """Whether ``image`` is there."""
        command = (*self._command, "inspect", "--type", "image", image)
        return subprocess.run(command, capture_output=True, check=False, timeout=ASK_S).returncode == 0

    @staticmethod
    def _driver() -> str:
        # Layers that lie upon each other need the kernel's help; the other way is to copy them, which is slow and works everywhere.
        filesystems = Path("/proc/filesystems")
        return "overlay" if filesystems.exists() and "\toverlay\n" in filesystems.read_text() else "vfs"


def base_of(builder: Builder, suite: str) -> str:
    """Return the name of a base, which is made if it is not there yet."""
    name = f"{NAME}-base:{suite}"
    if builder.has(name):
        return name
    print(f"making a base of Debian {suite}, which takes two minutes", file=sys.stderr, flush=True)
    work = builder.folder / f"debootstrap-{os.getpid()}"
    command = ("debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", suite, str(work))
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    try:
        done = subprocess.run((*privileged(), *command), env=environment, capture_output=True, text=True, check=False, timeout=STEP_S)
        if done.returncode:
            raise CannotBuildError(f"debootstrap cannot make a base: {done.stdout[-500:]}{done.stderr[-500:]}")
        container = builder.run("from", "scratch")
        builder.run("add", "--quiet", container, work, "/")
        builder.run("commit", "--quiet", container, name)
        builder.run("rm", container)
    finally:
        subprocess.run((*privileged(), "rm", "-rf", str(work)), check=False, timeout=ASK_S * 5)
    return name


def files_of(source: Path) -> Iterator[Path]:
    """Yield the files of ``source``, in order, without bytecode."""
    if source.is_file():
        yield source
    else:
        yield from sorted(path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def copy_sources(folder: Path) -> None:
    """Copy all that the image is made from, so that what is edited meanwhile belongs to the next one."""
    for file in (file for source in SOURCES for file in files_of(ROOT / source)):
        place = folder / file.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)


def digest_of(sources: Path, suite: str) -> str:
    """Return a digest of all that the image is made from."""
    digest = hashlib.sha256(suite.encode())
    for file in (file for source in SOURCES for file in files_of(sources / source)):
        content = file.read_bytes()
        digest.update(f"\0{file.relative_to(sources)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def pip_settings() -> dict[str, str]:
    """Return pip's settings of this machine that say where packages come from; what comes later wins, and the environment is last."""
    done = subprocess.run((sys.executable, "-m", "pip", "config", "list"), capture_output=True, text=True, check=False, timeout=ASK_S)
    settings: dict[str, str] = {}
    for line in done.stdout.splitlines():  # nothing, where this Python has no pip
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in {"global", "install"} and key in PIP_SETTINGS:
            settings[key] = value.strip("'\"").replace("\\n", "\n    ")
    settings |= {key: value for key in PIP_SETTINGS if (value := os.environ.get(f"PIP_{key.upper().replace('-', '_')}", ""))}
    if authority := os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE"):
        settings.setdefault("cert", authority)
    return settings


def pip_secrets(folder: Path) -> tuple[str, ...]:
    """Write pip's settings of this machine to ``folder``; return the arguments that lend them to a build."""
    settings = pip_settings()
    arguments: list[str] = []
    authority = settings.pop("cert", "")
    if authority and Path(authority).is_file():
        shutil.copyfile(authority, folder / "ca.pem")
        settings["cert"] = "/run/secrets/ca.pem"
        arguments += ["--secret", f"id=ca.pem,src={folder / 'ca.pem'}"]
    (folder / "pip.conf").write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items()))
    return (*arguments, "--secret", f"id=pip.conf,src={folder / 'pip.conf'}")


def git(*arguments: str, default: str) -> str:
    """Return what git says of this checkout, ``default`` where there is no git."""
    program = shutil.which("git")
    if program is None:
        return default
    done = subprocess.run((program, *arguments), cwd=ROOT, capture_output=True, text=True, check=False, timeout=ASK_S)
    return done.stdout.strip() or default


def epoch_of_sources() -> str:
    """Return the last commit's time, in seconds since 1970."""
    return os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct", default="0")


def build(builder: Builder, sources: Path, image: str, suite: str, epoch: str, *options: str) -> None:
    """Build ``image`` from ``sources``, with ``epoch`` as the time of everything in it."""
    base = base_of(builder, suite)
    version = (sources / "exchanger" / "__init__.py").read_text().partition('__version__ = "')[2].partition('"')[0]
    values = {"BASE": base, "SOURCE_DATE_EPOCH": epoch, "VERSION": version, "REVISION": git("rev-parse", "HEAD", default="unknown")}
    arguments = [argument for name, value in values.items() for argument in ("--build-arg", f"{name}={value}")]
    with tempfile.TemporaryDirectory() as folder:
        secrets = pip_secrets(Path(folder))
        file = ("--ignorefile", str(sources / ".containerignore"), "--file", str(sources / "Containerfile"))
        fixed = ("--quiet", "--pull=never", "--network", "host", "--layers", "--timestamp", epoch, "--tag", image)
        builder.run("bud", *fixed, *options, *arguments, *secrets, *file, sources)


def told_of(builder: Builder, image: str) -> dict[str, Any]:
    """Return what ``image`` says of itself (https://github.com/opencontainers/image-spec/blob/main/config.md)."""
    found: dict[str, Any] = json.loads(builder.run("inspect", "--type", "image", image, timeout=ASK_S))["OCIv1"]
    return found


def built_twice(builder: Builder, sources: Path, image: str, suite: str) -> bool:
    """Build our own files into ``image`` once more; print the layers of both, and return whether the last one, with them, is equal.

    What comes before them may have been kept from an earlier commit. A line that says nothing makes the builder look at them anew.
    """
    again = f"{image}-again"
    made = datetime.fromisoformat(told_of(builder, image)["created"])  # maybe before the last commit
    with (sources / "pyproject.toml").open("a") as project:
        project.write("# again\n")
    build(builder, sources, again, suite, f"{made.timestamp():.0f}")
    try:
        # Digests of what is in the layers, before they are compressed.
        layers = {which: told_of(builder, name)["rootfs"]["diff_ids"] for which, name in (("first", image), ("second", again))}
    finally:
        builder.run("rmi", again)
    print(json.dumps(layers, indent=2))
    return bool(layers["first"][-1] == layers["second"][-1])


def described(builder: Builder, image: str) -> dict[str, object]:
    """Return name, configuration, place and sizes of ``image``; its archive and its files are unpacked beside it once."""
    place = builder.folder / image.rpartition(":")[2]
    archive, root = place / "image.tar", place / "root"
    if not root.exists():
        place.mkdir(parents=True, exist_ok=True)
        builder.run("push", "--quiet", image, f"oci-archive:{archive}:{image}")  # its layers are compressed, as a registry has them
        container = builder.run("from", "--pull=never", image)
        try:
            mounted = builder.run("mount", container)
            partial = place / f"root-{os.getpid()}"
            subprocess.run((*privileged(), "cp", "-a", mounted, str(partial)), check=True, timeout=STEP_S)
            subprocess.run((*privileged(), "mv", "-T", str(partial), str(root)), check=True, timeout=ASK_S)
        finally:
            builder.run("rm", container)
    configuration = told_of(builder, image)["config"]
    size = sum(path.lstat().st_size for path in root.rglob("*") if not path.is_symlink() and path.is_file())
    return {
        "image": image,
        "root": str(root),
        "archive": str(archive),
        "bytes": size,
        "compressed_bytes": archive.stat().st_size,
        "config": configuration,
    }


def forget_old(builder: Builder, *kept: str) -> None:
    """Remove the images that were not used for longest, but those with the tags ``kept``."""
    places = sorted((path for path in builder.folder.glob("*") if (path / "root").exists()), key=lambda path: path.stat().st_mtime)
    for place in [place for place in places if place.name not in kept][: -(KEPT - 1) * len(kept)]:
        subprocess.run((*privileged(), "rm", "-rf", str(place)), check=False, timeout=ASK_S * 5)
        if builder.has(f"{NAME}:{place.name}"):
            builder.run("rmi", f"{NAME}:{place.name}")
    if len(builder.run("images", "--all", "--quiet").split()) > KEPT_STEPS:
        try:
            builder.run("rmi", "--prune")
        except subprocess.CalledProcessError:  # containers of builds that were killed keep images in use
            builder.run("rm", "--all")
            builder.run("rmi", "--prune")


def main(arguments: list[str]) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description="Builds the container image of this checkout.")
    parser.add_argument(
        "--suite",
        default=os.environ.get("EXCHANGER_IMAGE_SUITE", SUITE),
        help="Debian's release that the base is made of (default: EXCHANGER_IMAGE_SUITE, else %(default)s)",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--where", action="store_true", help="build nothing")
    what.add_argument("--twice", action="store_true", help="build again, and compare the layers")
    options = parser.parse_args(arguments)
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "exchanger" / "image"
    try:
        if not options.where:
            install_missing()
        folder.mkdir(parents=True, exist_ok=True)
        builder = Builder(folder)
        with tempfile.TemporaryDirectory() as copied:
            sources = Path(copied)
            copy_sources(sources)
            tag = digest_of(sources, options.suite)
            image = f"{NAME}:{tag}"
            for name, target in ((image, "production"), (f"{image}{DEMO}", "demo")):
                if not builder.has(name):
                    if options.where:
                        print("the image is not built: run python image/build.py", file=sys.stderr)
                        return 1
                    build(builder, sources, name, options.suite, epoch_of_sources(), "--target", target)
            if options.twice:
                return 0 if built_twice(builder, sources, image, options.suite) else 1
        print(json.dumps({**described(builder, image), "demo": described(builder, f"{image}{DEMO}")}, indent=2))
        forget_old(builder, tag, f"{tag}{DEMO}")
    except CannotBuildError as error:
        print(f"no image can be built here: {error}", file=sys.stderr)
        return CANNOT
    except (OSError, subprocess.SubprocessError) as error:
        print(f"the image cannot be built: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
