"""``exchanger init``: what it writes is accepted by check and test, and nothing is overwritten."""

import io
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchanger import cli
from exchanger.commands.check.command import CLEAN, run_check
from exchanger.commands.check.options import CheckOptions
from exchanger.commands.init import USE_CASES, files_for
from tests.commands.examples import written

LABELS = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@pytest.mark.parametrize("use_case", USE_CASES)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(labels=st.lists(LABELS, min_size=1, max_size=4), namespace=LABELS)
def test_check_and_test_accept_it_for_every_host_and_namespace(use_case: str, labels: list[str], namespace: str, tmp_path: Path) -> None:
    files = files_for(use_case, ".".join(labels), namespace)
    policy, issuers, tests = (written(tmp_path, name, text) for name, text in files.items())
    said = io.StringIO()
    assert run_check(CheckOptions((policy,), issuers=Path(issuers)), {}, said) == CLEAN, said.getvalue()
    assert re.fullmatch(r"no problems(, 1 ignored by comments)? in 2 files with 1 policy\n", said.getvalue())
    assert cli.main(["test", tests, "--policy", policy, "--issuers", issuers]) == 0


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "tests.yaml"
    mine.write_text("mine")
    assert cli.main(["init", "rest", str(tmp_path)]) == 2
    assert "already has tests.yaml; nothing was written" in capsys.readouterr().err
    assert (mine.read_text(), [path.name for path in tmp_path.iterdir()]) == ("mine", ["tests.yaml"])


def test_a_folder_is_made_and_the_next_commands_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a" / "b"
    assert cli.main(["init", "mcp", str(folder), "--host", "MCP.example.org", "--namespace", "team-a"]) == 0
    assert f"exchanger check {folder}/policy.yaml --issuers {folder}/issuers.yaml\n" in capsys.readouterr().out
    policy = (folder / "policy.yaml").read_text()
    assert "host: mcp.example.org" in policy
    assert "namespace: team-a\n" in policy


@pytest.mark.parametrize("arguments", [["--host", "*.a"], ["--host", "a b"], ["--host", ""], ["--namespace", "A"], ["--namespace", "a.b"]])
def test_what_no_manifest_may_have_is_refused(arguments: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["init", "deny", str(tmp_path), *arguments])
    assert (ended.value.code, list(tmp_path.iterdir())) == (2, [])


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert cli.main(["init", "deny", str(tmp_path / "file" / "below")]) == 1
    assert "Traceback" not in capsys.readouterr().err
