"""What a release is made of, by its tag: versions, the packaged chart and the notes. The release workflow calls it, and so can anybody.

    release.py stamp v1.2.0                              writes the version into the package
    release.py notes v1.2.0                              prints the changelog's section
    release.py charts v1.2.0 IMAGE FOLDER                packages both charts, which name the images of this release: IMAGE, and
                                                         IMAGE-demo for the demo

Tags are semantic versions with a ``v``, as ``v1.2.0`` or ``v1.2.0-rc.1``. The tag is the only place where a version is decided.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, NoReturn

import tools

ROOT: Final = Path(__file__).resolve().parent.parent
TAG: Final = re.compile(r"v((0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-(alpha|beta|rc)\.(0|[1-9]\d*))?)")
PYTHON_PRE: Final = {"alpha": "a", "beta": "b", "rc": "rc"}
IMAGE: Final = re.compile(r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+")
PACKAGE_S: Final = 60.0


def fail(text: str) -> NoReturn:
    """End with ``text`` for whoever made the tag."""
    sys.exit(f"release.py: {text}")


def version_of(tag: str) -> str:
    """Return the semantic version that ``tag`` names."""
    found = TAG.fullmatch(tag)
    if found is None:
        fail(f"{tag!r} is not a release tag; write v1.2.0 or v1.2.0-rc.1")
    return found[1]


def python_version_of(tag: str) -> str:
    """Return the same version as Python writes it (https://packaging.python.org/en/latest/specifications/version-specifiers/)."""
    release, _, pre = version_of(tag).partition("-")
    name, _, number = pre.partition(".")
    return f"{release}{PYTHON_PRE[name]}{number}" if pre else release


def stamp(tag: str, root: Path = ROOT) -> None:
    """Write the version of ``tag`` into the package, where the wheel and ``exchanger --version`` take it from."""
    file = root / "exchanger" / "__init__.py"
    text, count = re.subn(r'(?m)^__version__ = "[^"]*"$', f'__version__ = "{python_version_of(tag)}"', file.read_text())
    if count != 1:
        fail(f"{file} does not say __version__ exactly once")
    file.write_text(text)


def notes(tag: str, root: Path = ROOT) -> str:
    """Return the section of CHANGELOG.md for ``tag``, without its heading."""
    version = re.escape(version_of(tag))
    found = re.search(rf"(?ms)^## \[{version}\][^\n]*\n(.*?)(?=^## |^\[[^\]]+\]: |\Z)", (root / "CHANGELOG.md").read_text())
    if found is None or not found[1].strip():
        fail(f"CHANGELOG.md has no section for {version_of(tag)}: move what is under Unreleased there")
    return found[1].strip()


def charts(tag: str, image: str, folder: Path, root: Path = ROOT) -> list[Path]:
    """Package the charts into ``folder`` under the version of ``tag``; their ``image.repository`` is ``image``, or ``image-demo``.

    No digest is put in: it would win over an ``image.tag`` that somebody sets later.
    """
    version = version_of(tag)
    if IMAGE.fullmatch(image) is None:
        fail(f"{image!r} is not an image's name without tag, such as registry.example.com/owner/exchanger")
    helm = shutil.which("helm") or tools.KUBECTL_LAYER.path("helm")  # that of the tests
    with tempfile.TemporaryDirectory() as copied:
        packaged = []
        for chart, named in (("exchanger", image), ("exchanger-demo", f"{image}-demo")):
            source = Path(copied) / chart
            shutil.copytree(root / "helm" / chart, source)
            name_image(source / "values.yaml", named)
            command = (helm, "package", source, "--version", version, "--app-version", version, "--destination", folder)
            subprocess.run(command, check=True, timeout=PACKAGE_S, stdout=sys.stderr)
            packaged.append(folder / f"{chart}-{version}.tgz")
    return packaged


def name_image(values: Path, image: str) -> None:
    """Put ``image`` into the top-level ``image`` block of a chart's values, comments untouched."""
    head, mark, rest = values.read_text().partition("\nimage:\n")
    block = re.match(r"(?:(?:  [^\n]*)?\n)*", rest)
    named, count = re.subn(r"(?m)^  repository: .*$", f"  repository: {image}", block[0] if block else "")
    if not mark or block is None or count != 1:
        fail(f"{values} does not say image.repository exactly once")
    values.write_text(head + mark + named + rest[block.end() :])


def main(arguments: list[str]) -> int:
    """Return the exit status."""
    match arguments:
        case ["stamp", tag]:
            stamp(tag)
        case ["notes", tag]:
            print(notes(tag))
        case ["charts", tag, image, folder]:
            for file in charts(tag, image, Path(folder)):
                print(file)
        case _:
            fail("usage: stamp TAG | notes TAG | charts TAG IMAGE FOLDER")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
