"""The command line: each command is there, and wrong arguments are status 2."""

import importlib.util
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exchanger import __version__, cli
from exchanger.app.settings import known_variables
from exchanger.model.codes.registry import CODES
from tests.tiers import mostly_full

COMMANDS = tuple(cli.available_commands())
ROOT = Path(__file__).parent.parent


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


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_has_valid_examples_and_the_exit_statuses(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    said, known = shown([command, "--help"], capsys), cli.available_commands()[command]
    assert known.examples
    for example in known.examples:
        assert f"\n  exchanger {example}\n" in said
        arguments = shlex.split(example.partition(">")[0])
        assert arguments[0] == "help" or cli.parse(arguments) is not None
    for status, meaning in enumerate(known.statuses):
        assert f"\n  {status}  {meaning}\n" in said


def test_admission_help_has_every_variable_of_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "reference" / "admission.md").read_text().partition("## Variables")[2].partition("\n## ")[0]
    said = shown(["admission", "--help"], capsys)
    variables = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)*)`", page))
    assert [name for name in sorted(variables) if name not in said] == []


def test_code_alone_lists_all_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["code"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == [code.name for code in CODES]


def test_without_the_demo_s_package_its_commands_are_elsewhere(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    for command in cli.DEMO_COMMANDS:
        assert f"the command {command} is not part of this installation" in refused([command], capsys)
    assert "usage: exchanger serve" in shown(["serve", "--help"], capsys)


def test_no_command_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "usage:" in capsys.readouterr().err


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return what a wrong command line is answered with."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


def shown(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return what is printed instead of running a command."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 0
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_command_is_the_same_as_its_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(["help", command], capsys) == shown([command, "--help"], capsys)


@pytest.mark.parametrize("arguments", [["help"], ["help", "--help"], ["-h"]])
def test_help_alone_names_the_commands(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(arguments, capsys) == shown(["--help"], capsys)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("statsu", "status"),
        ("Health", "health"),
        ("schemas", "schema"),
        ("pre-stop", "pre-stop-sleep"),
        ("halp", "help"),
        ("sta", "status"),
    ],
)
def test_a_misspelt_command_is_answered_with_the_one_that_was_meant(written: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([written], ["help", written]):
        assert f"there is no command '{written}'; did you mean {meant}?" in refused(arguments, capsys)


def test_a_command_like_no_other_is_answered_with_none(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(["xyz\x1b[31m"], capsys)
    assert "there is no command" in said
    assert "did you mean" not in said
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["serve", "surplus"], "unexpected argument: 'surplus'"),
        (["health", "--timeuot=1s"], "there is no option --timeuot; did you mean --timeout?"),
        (["health", "--adress=a", "--tsl"], "--adress; did you mean --address?; there is no option --tsl; did you mean --tls?"),
        (["schema", "polcy"], "argument DOCUMENT: must be one of policy, issuers, grants, tests, not 'polcy'; did you mean policy?"),
        (["health", "--timeout", "soon"], "argument --timeout: 'soon' must be a duration"),
        (["pre-stop-sleep", "soon"], "argument duration: 'soon' must be a duration such as 750ms or 1m30s"),
        # Options that do not go together.
        (["health", "--key-file", "k"], "--key-file needs --cert-file"),
        (["demo", "--console", "http://127.0.0.1:1"], "--console requires --gateway"),
        (["scenarios", "--base-url", "http://a", "--ca-file", "c"], "--ca-file is for a gateway with https"),
    ],
)
def test_an_error_has_the_usage_of_its_command(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(arguments, capsys)
    assert said.startswith(f"usage: exchanger {arguments[0]} ")
    assert says in said


def test_what_stands_behind_a_misspelt_option_may_be_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["scenarios", "--tokenn", "canary"],
        ["scenarios", "--tokenn=canary"],
        ["health", "-H", "Authorization: canary"],
        ["explain", "--policy=.", "GET", "a.example", "Authorization: Bearer canary"],
        ["health", "canary" * 8],
    ):
        assert "canary" not in refused(arguments, capsys)


def test_serve_help_has_every_variable_of_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(["help", "serve"], capsys)
    assert [name for name in known_variables() if name not in said] == []
    assert "](" not in said
    assert max(map(len, said.splitlines())) < 80


PRINTING = [["--help"], ["--version"], ["help", "serve"], ["schema", "policy"], ["scenarios", "--list"]]


def program(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "exchanger", *arguments)


@pytest.mark.parametrize("arguments", PRINTING)
def test_output_that_nobody_reads_is_the_end_and_no_complaint(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(program(*arguments), stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writing)
    assert done.stderr == b""
    assert done.returncode in {0, 1, 141}  # argparse takes it for success


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_for_which_there_is_no_room_is_a_failure(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(program("schema", "policy"), stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr == b"exchanger: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("arguments", PRINTING)
def test_closed_output_is_no_fault(arguments: list[str]) -> None:
    command = ("/bin/sh", "-c", 'exec "$0" "$@" >&-', *program(*arguments))
    done = subprocess.run(command, stderr=subprocess.PIPE, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_probe_loads_no_more_than_it_needs() -> None:
    heavy = {
        "exchanger.policy",
        "exchanger.operations.telemetry",
        "exchanger.commands.demo",
        "httpx",
        "kubernetes",
        "rich",
        "structlog",
        "yaml",
    }
    call = "cli.main(['health', '--address', '127.0.0.1:1'])"
    code = f"import sys; from exchanger import cli; {call}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def wait_until(pid: int, place: str) -> None:
    """Wait until a thread of a process waits in ``place`` of the kernel, which it does in its command alone."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if any(place in task.joinpath("wchan").read_text() for task in Path(f"/proc/{pid}/task").iterdir()):
            return
        time.sleep(0.05)
    pytest.fail(f"nothing waits in {place}")


@pytest.mark.skipif(not Path("/proc/self/wchan").exists(), reason="this system does not say where a process waits")
@pytest.mark.parametrize(
    ("arguments", "place"),
    mostly_full(
        [
            (["pre-stop-sleep", "1h"], "nanosleep"),
            (["check", "-"], "pipe_read"),
            (["explain", "GET", "a.example", "--policy", "-"], "pipe_read"),
            (["test", "-", "--policy", "."], "pipe_read"),
            (["diff", "-", "."], "pipe_read"),
        ],
        [(["check", "-"], "pipe_read")],
    ),
)
def test_ctrl_c_ends_a_command_without_a_trace(arguments: list[str], place: str) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen(program(*arguments), stdin=pipe, stdout=pipe, stderr=pipe) as child:
        wait_until(child.pid, place)
        child.send_signal(signal.SIGINT)
        child.wait(timeout=60)  # its input stays open: an end of it would race with the signal
        out, err = child.communicate(timeout=60)
    assert (child.returncode, out, err) == (130, b"", b"")


def test_an_interrupt_inside_of_a_group_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_arguments: object) -> int:
        raise BaseExceptionGroup("", [KeyboardInterrupt(), BaseExceptionGroup("", [KeyboardInterrupt()])])

    monkeypatch.setattr(cli, "_run", interrupted)
    assert cli.main(["status"]) == 130


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such"],
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
    assert "--base-url is required" in refused(["scenarios"], capsys)


def test_a_variable_may_stand_for_an_option(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DEMO_BASE_URL", "http://127.0.0.1:1")
    assert cli.main(["scenarios", "--only", "yellow-success"]) == 1
    monkeypatch.setenv("DEMO_BASE_URL", "nonsense")
    assert cli.main(["scenarios"]) == 2
    assert "DEMO_BASE_URL" in capsys.readouterr().err


def test_the_package_is_the_program() -> None:
    done = subprocess.run((sys.executable, "-m", "exchanger", "--version"), capture_output=True, text=True, check=True, timeout=60)
    assert re.fullmatch(rf"exchanger {re.escape(__version__)} \(Python 3\.\d+\.\d+\S*, \w+ \w+\)\n", done.stdout)


# Prints at the end of the interpreter, which a thread would not survive.
STILL_WORKING = """
import argparse, atexit, threading
from exchanger import cli
from tests.tiers import mostly_full

def work(namespace: argparse.Namespace) -> int:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    print("worked")
    return 3

atexit.register(print, "the interpreter ends")
cli.COMMANDS["code"] = cli.Command("work", work)
cli.run()
"""


def test_a_process_whose_threads_still_work_ends_without_unwinding_them() -> None:
    ended = subprocess.run([sys.executable, "-c", STILL_WORKING, "code"], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "worked\n", "")


@pytest.mark.parametrize(
    ("variables", "status", "out", "err"),
    [
        ({"POLICY_SOURCE": "directory", "POLICY_DIRECTORY": "/"}, 0, ("the configuration is valid",), ()),
        (
            {"POLICY_SOURCE": "directory", "POLICY_DIRECTORY": "/", "LOG_LEVEL": "", "POLICY_REQIRED": "true"},
            2,
            (),
            ("would start, and ignore", "LOG_LEVEL has no effect", "POLICY_REQIRED has no effect", "did you mean POLICY_REQUIRED?"),
        ),
        (
            {"GRPC_PORT": "a", "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE": "/none.yaml"},
            2,
            (),
            ("would not start", "GRPC_PORT", "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE"),
        ),
    ],
)
def test_serve_checks_its_configuration_and_ends(
    variables: dict[str, str],
    status: int,
    out: tuple[str, ...],
    err: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["serve", "--check-config"]) == status
    said = capsys.readouterr()
    assert [text for text in out if text not in said.out] == []
    assert [text for text in err if text not in said.err] == []
    assert bool(said.out) == bool(out)
