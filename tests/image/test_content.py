"""What is in the image, and what is not."""

import json
import os
import re
import stat
from pathlib import Path
from typing import Final

import pytest

from exchanger import __version__
from tests.image.container import Image

pytestmark = [pytest.mark.full, pytest.mark.image]

ROOT: Final = Path(__file__).resolve().parents[2]
LOCK: Final = ROOT / "requirements" / "image.txt"
# The rooms that production does without.
DEMO: Final = ("demo", "playground", "scenarios")
VEX: Final = ROOT / ".vex" / "exchanger.openvex.json"


def packages(image: Image) -> Path:
    (found,) = image.pristine.glob("opt/exchanger/lib/python3.*/site-packages")
    return found


def locked() -> set[str]:
    return {f"{name}=={version}" for name, version in re.findall(r"^([a-z0-9.-]+)==([^ ;]+)", LOCK.read_text(), re.MULTILINE)}


def test_its_configuration_is_what_clusters_look_at(image: Image) -> None:
    config = image.config
    assert config["User"] == "65532:65532"  # numbers: a cluster cannot tell whether a name is root
    assert config["Entrypoint"] == ["exchanger"]
    assert config["Cmd"] == ["serve"]
    assert config["StopSignal"] == "SIGTERM"
    assert set(config["ExposedPorts"]) == {"3000/tcp", "3001/tcp", "3002/tcp"}
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert labels["version"] == __version__
    assert labels["title"] == "exchanger"
    assert labels["licenses"] == "Apache-2.0 AND OFL-1.1"
    assert labels["revision"]


def test_its_packages_are_those_of_the_lock(image: Image) -> None:
    installed = set()
    for metadata in packages(image).glob("*.dist-info/METADATA"):
        fields = dict(
            line.split(": ", 1) for line in metadata.read_text().partition("\n\n")[0].splitlines() if re.match(r"(Name|Version): ", line)
        )
        installed.add(f"{re.sub(r'[-_.]+', '-', fields['Name']).lower()}=={fields['Version']}")
    assert {entry.partition("==")[0] for entry in locked() - installed} <= {
        "async-timeout",
        "colorama",
        "deprecated",
        "exceptiongroup",
    }  # of other systems, other Pythons
    assert installed - locked() == {f"exchanger=={__version__}"}


def test_there_is_no_program_but_python_and_ours(image: Image) -> None:
    programs = {
        path.relative_to(image.pristine)
        for path in image.pristine.rglob("*")
        if path.is_file() and os.access(path, os.X_OK) and not re.search(r"\.so(\.[0-9.]+)?$", path.name) and not path.is_symlink()
    }
    names = {path.name for path in programs if "site-packages" not in path.parts and not re.match(r"ld-(linux|musl)", path.name)}
    assert len(names) == 2
    assert "exchanger" in names
    assert re.fullmatch(r"python3\.\d+", (names - {"exchanger"}).pop())


@pytest.mark.parametrize(
    "name", ["pip", "setuptools", "wheel", "ensurepip", "_distutils_hack", "distutils", "idlelib", "tkinter", "aiohttp", "rich"]
)
def test_what_installs_or_is_not_used_is_not_there(image: Image, name: str) -> None:
    # The metrics library has a module for users of aiohttp, of that name.
    assert [path for path in image.pristine.rglob(name) if path.parent.name != "prometheus_client"] == []


def test_nobody_becomes_root_or_writes(image: Image) -> None:
    for path in image.pristine.rglob("*"):
        mode = path.lstat().st_mode
        assert not mode & (stat.S_ISUID | stat.S_ISGID), path
        assert path.is_symlink() or not mode & stat.S_IWOTH or path == image.pristine / "tmp", path
        assert path.lstat().st_uid == 0, path


def test_nothing_of_the_machine_that_built_it_is_left(image: Image) -> None:
    for name in ("etc/pip.conf", "run/secrets", "root", "build", "etc/resolv.conf", "etc/hostname"):
        assert not (image.pristine / name).exists()
    assert sorted(path.name for path in image.pristine.iterdir() if not path.is_symlink()) == ["etc", "opt", "tmp", "usr", "var"]


def test_every_module_is_compiled_and_not_compared_with_its_source(image: Image) -> None:
    modules = [*packages(image).glob("exchanger/**/*.py"), *packages(image).glob("trio/**/*.py")]
    assert modules
    for module in modules:
        (compiled,) = module.parent.glob(f"__pycache__/{module.stem}.cpython-3*.pyc")
        assert compiled.read_bytes()[4:8] == b"\1\0\0\0"  # PEP 552: by hash, unchecked


def test_only_the_demo_image_has_the_demo(image: Image, demo_image: Image) -> None:
    assert not [room for room in DEMO if (packages(image) / "exchanger" / "commands" / room).exists()]
    assert (packages(demo_image) / "exchanger" / "commands" / "demo" / "token_endpoint" / "fake.py").exists()
    production, demo = ({path.relative_to(each.pristine) for path in each.pristine.rglob("*")} for each in (image, demo_image))
    assert production < demo
    assert {path.parts[path.parts.index("exchanger", 3) + 1 :][:2] for path in demo - production} == {("commands", room) for room in DEMO}


def test_everything_that_the_program_reads_is_in_it(image: Image, demo_image: Image) -> None:
    source = ROOT / "exchanger"
    data = [path for path in source.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"} and path.name != "py.typed"]
    assert source / "operations" / "console" / "page" / "index.html" in data
    assert source / "commands" / "scenarios" / "builtin.yaml" in data
    for path in data:
        holder = demo_image if path.relative_to(source).parts[:2] in {("commands", room) for room in DEMO} else image
        assert (packages(holder) / "exchanger" / path.relative_to(source)).read_bytes() == path.read_bytes()


def test_scanners_find_the_systems_packages(image: Image) -> None:
    entries = {path.name: path.read_text() for path in (image.pristine / "var/lib/dpkg/status.d").iterdir()}
    assert "libc6" in entries
    for name, entry in entries.items():
        assert entry.startswith(f"Package: {name}\n")
        assert re.search(r"^Version: ", entry, re.MULTILINE)
        assert (image.pristine / "usr/share/doc" / name / "copyright").exists()
    assert "\nID=" in "\n" + (image.pristine / "etc/os-release").read_text()


def test_the_statement_about_h2_comes_along_and_is_about_what_is_installed(image: Image) -> None:
    assert (image.pristine / "usr/share/doc/exchanger/exchanger.openvex.json").read_bytes() == VEX.read_bytes()
    statements = json.loads(VEX.read_text())["statements"]
    named = {
        component["@id"].removeprefix("pkg:pypi/").replace("@", "==")
        for statement in statements
        for product in statement["products"]
        for component in product["subcomponents"]
    }
    assert named
    assert named <= locked()
