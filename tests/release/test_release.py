"""``.ci/release.py`` as the release workflow calls it, and the workflows themselves as actionlint reads them."""

import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from tests.tools import find_tool

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "registry.example.com/owner/exchanger"
CHANGELOG = """# Changelog

## [Unreleased]

## [1.2.0] - 2026-12-01

### Added

- A feature.

## [1.1.0] - 2026-11-01

- Older.

[1.2.0]: https://example.com/compare
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder with all that the script reads, so that nothing is written into this one."""
    for folder in (".ci", "helm"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "exchanger").mkdir()
    shutil.copy(ROOT / "exchanger" / "__init__.py", tmp_path / "exchanger")
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    return tmp_path


def run(checkout: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, checkout / ".ci" / "release.py", *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("tag", "version"), [("v1.2.0", "1.2.0"), ("v0.10.0-rc.1", "0.10.0rc1"), ("v2.0.0-alpha.0", "2.0.0a0"), ("v2.0.0-beta.12", "2.0.0b12")]
)
def test_the_tag_is_the_version_of_the_package(checkout: Path, tag: str, version: str) -> None:
    assert run(checkout, "stamp", tag).returncode == 0
    text = (checkout / "exchanger" / "__init__.py").read_text()
    assert f'__version__ = "{version}"\n' in text
    assert text.startswith('"""')


@pytest.mark.parametrize("tag", ["1.2.0", "v1.2", "v1.2.0.1", "v01.2.0", "v1.2.0-rc1", "v1.2.0+build", "v1.2.0\n", "vX", ""])
def test_another_tag_makes_no_release(checkout: Path, tag: str) -> None:
    done = run(checkout, "stamp", tag)
    assert done.returncode == 1
    assert "is not a release tag" in done.stderr


def test_release_notes_are_the_section_of_the_changelog(checkout: Path) -> None:
    assert run(checkout, "notes", "v1.2.0").stdout == "### Added\n\n- A feature.\n"
    assert run(checkout, "notes", "v1.1.0").stdout == "- Older.\n"
    done = run(checkout, "notes", "v9.9.9")
    assert (done.returncode, "CHANGELOG.md has no section for 9.9.9" in done.stderr) == (1, True)


def test_the_changelog_here_has_a_place_for_what_comes_next() -> None:
    assert "\n## [Unreleased]\n" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.helm
def test_released_charts_name_the_image_of_the_release(checkout: Path, tmp_path: Path) -> None:
    if shutil.which("helm") is None:  # the script's first choice
        find_tool("helm")
    done = run(checkout, "charts", "v1.2.0-rc.1", IMAGE, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    for file in map(Path, done.stdout.split()):
        with tarfile.open(file) as package:
            name = file.name.removesuffix("-1.2.0-rc.1.tgz")
            values, chart = (yaml.safe_load(_member(package, f"{name}/{part}.yaml")) for part in ("values", "Chart"))
        assert (chart["version"], chart["appVersion"]) == ("1.2.0-rc.1", "1.2.0-rc.1")
        image = f"{IMAGE}-demo" if name == "exchanger-demo" else IMAGE
        assert (values["image"]["repository"], values["image"]["tag"], values["image"]["digest"]) == (image, "", "")
        original = yaml.safe_load((ROOT / "helm" / name / "values.yaml").read_text())
        assert original["image"]["repository"] == ""
        original["image"]["repository"] = image
        assert values == original


def _member(package: tarfile.TarFile, name: str) -> bytes:
    member = package.extractfile(name)
    assert member is not None
    return member.read()


@pytest.mark.parametrize("image", ["exchanger", "Registry/X/y", "a/b:tag", "a/b@sha256:1", "https://a/b", ""])
def test_a_name_that_is_no_image_s_is_refused(checkout: Path, tmp_path: Path, image: str) -> None:
    done = run(checkout, "charts", "v1.2.0", image, tmp_path / "out")
    assert done.returncode == 1
    assert "is not an image's name" in done.stderr


@pytest.mark.go
def test_workflows_are_in_order() -> None:
    done = subprocess.run((find_tool("actionlint"), "-no-color"), cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda file: file.stem)
def test_every_job_has_a_timeout_least_rights_and_pinned_actions(file: Path) -> None:
    workflow = yaml.safe_load(file.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "uses" in job or job["timeout-minutes"] <= 90
        actions = [step["uses"] for step in job.get("steps", ()) if "uses" in step]
        assert all(len(action.rpartition("@v")[2].split(".")) == 3 for action in actions), actions


def test_renovate_has_rules_for_packages_that_are_locked() -> None:
    rules = json.loads((ROOT / "renovate.json").read_text())["packageRules"]
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE))
    assert {name for rule in rules for name in rule.get("matchPackageNames", ())} <= locked
