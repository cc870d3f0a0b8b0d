"""What runs the check elsewhere: the action for GitHub, and the hook for pre-commit."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from exchanger import cli
from tests.commands.check.checking import config_map, entries

ROOT: Final = Path(__file__).resolve().parents[3]
DENY = "{match: {host: api.example.com, pathPrefix: /orders}, action: deny}"
WRONG = DENY.replace("action", "acton")
REAL: Final = f'exec {sys.executable} -m exchanger "$@"'
# Prints its arguments, one a line.
STAND_IN: Final = "printf '%s\\n' \"$@\""


def action() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
    return found


def run(tmp_path: Path, script: str, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run the last step of the action as a runner would, in ``tmp_path``, with ``script`` in the place of the installed program."""
    program = tmp_path / "runner" / "exchanger" / "bin" / "exchanger"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    step, known = action()["runs"]["steps"][-1], action()["inputs"]
    given = {name: inputs.get(name, value["default"]) for name, value in known.items()}
    variables = {name: given[text.removeprefix("${{ inputs.").removesuffix(" }}")] for name, text in step["env"].items()}
    environment = {**os.environ, **variables, "RUNNER_TEMP": str(tmp_path / "runner"), "PYTHONPATH": str(ROOT)}
    command = ["/bin/bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_action_annotates_the_line_of_a_problem_and_fails(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(config_map(entries(DENY)))
    (tmp_path / "two words.yaml").write_text(config_map(entries(WRONG), "b"))
    done = run(tmp_path, REAL, paths="one.yaml\n\ntwo words.yaml\n")
    assert done.returncode == 1
    assert "::error file=two words.yaml,line=12," in done.stdout


def test_action_ends_with_the_status_of_the_check(tmp_path: Path) -> None:
    assert [run(tmp_path, f"exit {status}").returncode for status in (0, 1, 2)] == [0, 1, 2]


def test_action_passes_its_inputs_as_arguments(tmp_path: Path) -> None:
    given = {"paths": "a.yaml\nb c.yaml", "issuers": "i.yaml", "grants": "g.yaml", "format": "sarif", "output": "found.sarif"}
    assert run(tmp_path, STAND_IN, **given).stdout == ""
    passed = ["check", "--format", "sarif", "--issuers", "i.yaml", "--grants", "g.yaml", "--", "a.yaml", "b c.yaml"]
    assert (tmp_path / "found.sarif").read_text().splitlines() == passed
    assert run(tmp_path, STAND_IN).stdout.splitlines() == ["check", "--format", "github", "--", "."]


def test_action_does_not_run_the_text_of_an_input(tmp_path: Path) -> None:
    run(tmp_path, STAND_IN, paths="$(touch ran)\n`touch ran`", issuers="$(touch ran)")
    assert not (tmp_path / "ran").exists()


def test_action_installs_from_files_of_the_repository() -> None:
    words = action()["runs"]["steps"][1]["run"].replace('"', " ").split()
    paths = [word.removeprefix("$GITHUB_ACTION_PATH/") for word in words if word.startswith("$GITHUB_ACTION_PATH/")]
    assert paths
    assert all((ROOT / path).exists() for path in paths)


@pytest.mark.parametrize(
    ("names", "status"), [(["mkdocs.yml"], 0), (["Chart.yaml"], 0), (["mkdocs.yml", "policy.yaml"], 1)], ids=["docs", "chart", "policy"]
)
def test_hook_fails_only_for_policies(names: list[str], status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    (tmp_path / "mkdocs.yml").write_text("site_name: docs\n")
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: shop\nversion: 1.0.0\n")
    (tmp_path / "policy.yaml").write_text(config_map(entries(WRONG)))
    program, *arguments = hook["entry"].split()
    assert (program, hook["language"]) == ("exchanger", "python")
    monkeypatch.chdir(tmp_path)
    assert cli.main([*arguments, *names]) == status
