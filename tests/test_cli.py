"""The command line: each command is there, and wrong arguments are status 2."""

import importlib.util
import os
import subprocess
import sys

import pytest

from exchanger import __version__, cli

DEMO_COMMANDS = ("demo", "scenarios", "fake-token-endpoint", "echo")
COMMANDS = ("serve", "admission", "status", "health", "pre-stop-sleep", "schema", *DEMO_COMMANDS)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert [command for command in COMMANDS if f"\n    {command} " not in said and f"\n    {command}\n" not in said] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert f"exchanger {command}" in capsys.readouterr().out


def test_without_the_demo_s_package_its_commands_are_unknown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    for command in DEMO_COMMANDS:
        with pytest.raises(SystemExit) as ended:
            cli.main([command])
        assert ended.value.code == 2
        assert f"invalid choice: '{command}'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])


def test_no_command_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such"],
        ["serve", "surplus"],
        ["health", "--timeout", "soon"],
        ["scenarios", "--base-url", "here"],
        ["schema"],
        ["schema", "no-such"],
    ],
)
def test_wrong_arguments_are_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_duration_that_is_none_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["pre-stop-sleep", "soon"]) == 2
    assert capsys.readouterr().err == "exchanger pre-stop-sleep: 'soon' must be a duration such as 750ms or 1m30s\n"


def test_health_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["health", "--address", "127.0.0.1:1", "--timeout", "60s"]) == 1
    assert "Connection refused" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_that_cannot_show_a_character_shows_the_rest(encoding: str) -> None:
    command = (sys.executable, "-m", "exchanger", "scenarios", "--list")
    done = subprocess.run(command, capture_output=True, check=False, timeout=60, env={**os.environ, "PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stderr) == (0, b"")
    assert "yellow-success" in done.stdout.decode(encoding)


def test_scenarios_are_listed_and_are_run_at_a_gateway_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["scenarios", "--list"]) == 0
    assert "yellow-success: " in capsys.readouterr().out
    assert cli.main(["scenarios"]) == 2
    assert "--base-url is required" in capsys.readouterr().err


def test_the_package_is_the_program() -> None:
    done = subprocess.run((sys.executable, "-m", "exchanger", "--version"), capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"exchanger {__version__}\n"
