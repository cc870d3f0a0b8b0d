"""What runs the check elsewhere: the action for GitHub, and the hook for pre-commit."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.check.checking import config_map, entries

ROOT: Final = Path(__file__).resolve().parents[2]
DENY = "{match: {host: api.example.com, pathPrefix: /orders}, action: deny}"


def action() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
    return found


def run(tmp_path: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run the last step of the action as a runner would, in ``tmp_path``."""
    program = tmp_path / "runner" / "exchanger" / "bin" / "exchanger"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m exchanger "$@"\n')
    program.chmod(0o755)
    step, known = action()["runs"]["steps"][-1], action()["inputs"]
    given = {name: inputs.get(name, value["default"]) for name, value in known.items()}
    variables = {name: given[text.removeprefix("${{ inputs.").removesuffix(" }}")] for name, text in step["env"].items()}
    environment = {**os.environ, **variables, "RUNNER_TEMP": str(tmp_path / "runner"), "PYTHONPATH": str(ROOT)}
    command = ["/bin/bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_the_action_annotates_and_fails(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(config_map(entries(DENY)))
    (tmp_path / "two words.yaml").write_text(config_map(entries(DENY.replace("action", "acton")), "b"))
    assert run(tmp_path, paths="one.yaml").returncode == 0
    done = run(tmp_path, paths="one.yaml\n\ntwo words.yaml\n")
    assert done.returncode == 1
    assert "::error file=two words.yaml,line=12," in done.stdout
    assert run(tmp_path, paths="none.yaml").returncode == 2


def test_the_action_writes_a_file_and_runs_no_input(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(config_map(entries(DENY)))
    done = run(tmp_path, paths="one.yaml", format="sarif", output="found.sarif")
    assert (done.returncode, done.stdout) == (0, "")
    assert '"version": "2.1.0"' in (tmp_path / "found.sarif").read_text()
    run(tmp_path, paths="$(touch ran)\n`touch ran`", issuers="$(touch ran)")
    assert not (tmp_path / "ran").exists()


def test_the_action_installs_what_is_locked() -> None:
    words = action()["runs"]["steps"][1]["run"].replace('"', " ").split()
    paths = [word.removeprefix("$GITHUB_ACTION_PATH/") for word in words if word.startswith("$GITHUB_ACTION_PATH/")]
    assert paths
    assert all((ROOT / path).exists() for path in paths)


def test_the_hook_names_a_command_that_there_is() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    program, *arguments = hook["entry"].split()
    assert (program, hook["language"]) == ("exchanger", "python")
    done = subprocess.run([sys.executable, "-m", program, *arguments, "--help"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0


def test_the_hook_lets_a_change_without_policies_pass(tmp_path: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    (tmp_path / "mkdocs.yml").write_text("site_name: docs\n")
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: shop\nversion: 1.0.0\n")
    command = [sys.executable, "-m", *hook["entry"].split()]
    for name in ("mkdocs.yml", "Chart.yaml"):
        done = subprocess.run([*command, name], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "policy.yaml").write_text(config_map(entries(DENY.replace("acton", "action").replace("deny", "dny"))))
    done = subprocess.run([*command, "mkdocs.yml", "policy.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1


def test_the_action_fails_where_there_is_nothing_to_check(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    assert run(tmp_path, paths="policies").returncode == 2


@pytest.mark.parametrize("name", ["issuers", "grants"])
def test_the_action_passes_files(tmp_path: Path, name: str) -> None:
    (tmp_path / "one.yaml").write_text(config_map(entries(DENY)))
    (tmp_path / "file.yml").write_text("a: [")
    assert "file=file.yml" in run(tmp_path, paths="one.yaml", **{name: "file.yml"}).stdout
