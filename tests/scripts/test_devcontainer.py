"""``.devcontainer/`` and the tasks of its editor. No container is built here; what a new one runs first is run."""

import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.helm.chart import ROOT
from tests.scripts.programs import Programs
from tests.tools import find_tool, provider

FOLDER: Final = ROOT / ".devcontainer"
TOOLS: Final = ("helm", "kubectl", "devspace")
# Python in the container: it makes no environment here, and tools are only looked for.
PYTHON: Final = f"""
case "$*" in
    "-m venv .venv") mkdir -p .venv/bin; cp "$HOME/pip" "$HOME/uv" .venv/bin; exit;;
    .ci/tools.py*) set -- "$1" --where "$2";;
esac
exec "{sys.executable}" "$@"
"""


def tasks() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((ROOT / ".vscode" / "tasks.json").read_text())["tasks"]
    return found


def read_command(name: str) -> str:
    command = (sys.executable, ".ci/readme_command.py", name)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


@pytest.mark.go
@pytest.mark.helm
def test_a_new_container_gets_the_environment_of_the_tests_and_the_tools(tmp_path: Path) -> None:
    places = {name: find_tool(name) for name in TOOLS}
    programs = Programs(tmp_path, {"XDG_CACHE_HOME": str(provider().cache_folder().parents[1])})
    programs.add("python3", PYTHON)
    programs.add("pip")
    programs.add("uv")
    done = programs.run("bash", ".devcontainer/setup", cwd=programs.checkout(".ci", "README.md", "requirements", ".devcontainer"))
    assert done.returncode == 0, done.stderr
    assert [call.split(" -r ")[-1] for call in programs.calls("pip", "uv")][:2] == ["requirements/uv.txt", "requirements/dev.txt"]
    assert not programs.calls("coverage", "pytest")
    assert {name: (tmp_path / ".local" / "bin" / name).resolve() for name in TOOLS} == {
        name: place.resolve() for name, place in places.items()
    }


def test_container_has_the_tools_on_its_path_and_the_projects_base() -> None:
    config = json.loads((FOLDER / "devcontainer.json").read_text())
    assert config["postCreateCommand"] == "bash .devcontainer/setup"
    assert config["remoteEnv"]["PATH"].startswith(f"{config['containerEnv']['TOOLS_BIN']}:")
    assert any(f"target={config['containerEnv']['XDG_CACHE_HOME']}," in mount for mount in config["mounts"])
    assert any(f"target={Path(config['containerEnv']['KUBECONFIG']).parent}," in mount for mount in config["mounts"])
    bases = [re.findall("^ARG BASE=(.*)$", place.read_text(), re.MULTILINE) for place in (FOLDER / "Containerfile", ROOT / "Containerfile")]
    assert bases[0] == bases[1]


def test_the_readmes_commands_are_tasks() -> None:
    commands = {task["command"] for task in tasks()}
    names = re.findall(r"<!-- command: (\S+) -->", (ROOT / "README.md").read_text())
    assert names
    assert {read_command(name) for name in names} <= commands


def test_tasks_name_profiles_and_commands_of_devspace_that_exist() -> None:
    config = yaml.safe_load((ROOT / "devspace.yaml").read_text())
    profiles = {profile["name"] for profile in config["profiles"]}
    for task in tasks():
        program, *words = task["command"].split()
        if program == "devspace":
            assert {profile for option, profile in pairwise(words) if option == "-p"} <= profiles
            assert words[0] != "run" or words[1] in config["commands"]
