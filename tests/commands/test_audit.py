"""``exchanger audit``: what is found in a log, and what is shown of it."""

import argparse
import base64
import gzip
import io
import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import PIPE

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.authz.audit.identities import AuditKey
from exchanger.authz.audit.line import LineWriter, group_of
from exchanger.cli import main
from exchanger.commands import audit as module
from exchanger.commands.arguments import WrongArgumentsError
from exchanger.commands.audit import add_arguments, audit
from tests.authz.audit.outputs import KEY, granted, jwt, refused

OTHER = AuditKey.of(bytes(range(1, 33)))
ALICE = jwt(iss="https://login.example.com", sub="alice", client_id="web", jti="s-1", act={"sub": "agent"})
BOB = jwt(iss="https://login.example.com", sub="bob", jti="s-2")


def line(hour: int, key: AuditKey | None, record: object) -> bytes:
    writer = LineWriter(lambda: f"2026-01-31T{hour:02}:00:00.123Z", key)
    return writer.line(record)  # type: ignore[arg-type]


LINES = [
    line(9, OTHER, granted(ALICE)),
    line(10, KEY, granted(ALICE)),
    line(11, KEY, refused(BOB, namespace="team-b")),
    line(12, None, granted(BOB)),
    LineWriter(lambda: "2026-01-31T13:00:00.123Z", KEY).summary(group_of(refused()), 7, "2026-01-31T12:59:59.000Z"),
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "audit.log"
    path.write_bytes(b"".join(LINES))
    return path


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_bytes(b"".join(base64.b64encode(key) + b"\n" for key in (bytes(range(32)), bytes(range(1, 33)))))
    return path


@attrs.define
class Ran:
    status: int
    out: str
    errors: str

    @property
    def hours(self) -> list[int]:
        return [int(json.loads(text)["time"][11:13]) for text in self.out.splitlines()]


def run(*arguments: object, variables: dict[str, str] | None = None) -> Ran:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    out, errors = io.StringIO(), io.StringIO()
    status = audit(parser.parse_args([str(argument) for argument in arguments]), variables or {}, out, errors)
    return Ran(status, out.getvalue(), errors.getvalue())


def test_lines_are_printed_as_they_are(log: Path) -> None:
    found = run("--json", log)
    assert (found.status, found.out.encode(), found.errors) == (0, b"".join(LINES), "")


@pytest.mark.parametrize(
    ("arguments", "hours"),
    [
        (("--since", "2026-01-31T10:30:00Z"), [11, 12, 13]),
        (("--since", "2026-01-31T12:30:00+02:00"), [11, 12, 13]),
        (("--since", "2026-02-01"), []),
        (("--policy", "team-b/orders"), [11]),
        (("--policy", "team-a/orders", "--since", "2026-01-31T10:00:00Z"), [10, 12]),
        (("--jti", "s-1"), [9, 10]),
        (("--jti", "issued-1"), [9, 10, 12]),
        (("--subject", "bob"), [11, 12]),
        (("--subject", "alice"), [9, 10]),
        (("--subject", "agent"), [9, 10]),
        (("--subject", "web"), [9, 10]),
        (("--subject", "mallory"), []),
    ],
)
def test_filters(log: Path, keys: Path, arguments: tuple[str, ...], hours: list[int]) -> None:
    assert run("--json", "--key-file", keys, *arguments, log).hours == hours


def test_without_the_key_only_plain_identities_are_found(log: Path, keys: Path) -> None:
    found = run("--json", "--subject", "bob", log)
    assert (found.status, found.hours) == (1, [12])
    ids = ", ".join(sorted((KEY.id, OTHER.id)))
    assert found.errors == f"exchanger audit: there are identities under keys that the key file does not have: {ids}\n"
    assert run("--subject", "bob", "--since", "2026-01-31T12:00:00Z", log).errors == ""
    assert run("--json", "--subject", "bob", log, variables={"AUDIT_KEY_FILE": str(keys)}).hours == [11, 12]


def test_a_duration_counts_from_now(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    times = [f"{now - timedelta(minutes=age):%Y-%m-%dT%H:%M:%S}.000Z" for age in (120, 30)]
    path = tmp_path / "audit.log"
    path.write_bytes(b"".join(LineWriter(lambda time=time: time, KEY).line(granted()) for time in times))  # type: ignore[misc]  # a default
    found = [[json.loads(line)["time"] for line in run("--json", "--since", since, path).out.splitlines()] for since in ("3h", "1h", "10m")]
    assert found == [times, times[1:], []]


def test_rows_name_time_result_subject_policy_and_request(log: Path) -> None:
    head, first, _, third, _, counted = run(log).out.splitlines()
    assert head.split() == ["TIME", "RESULT", "SUBJECT", "POLICY", "FOR", "REQUEST", "ACTORS"]
    assert first.split()[:5] == ["2026-01-31T09:00:00.123Z", "granted", "miss", OTHER.of_identity("alice"), "team-a/orders#3"]
    assert first.endswith(OTHER.of_identity("agent"))
    assert "refused TXE-4001" in third
    assert "7 refusals" in counted


def test_what_is_in_a_file_cannot_drive_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "forged"
    path.write_text(
        json.dumps({"event": "exchange.granted", "policy": "\x1b[2J", "subject": {"sub": "\x1b]0;x\x07\u202e"}, "actors": 5}) + "\n"
    )
    shown = run(path).out
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_torn_lines_are_counted_and_those_of_the_service_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "mixed"
    path.write_bytes(
        b'{"event":"check.decided"}\n' + LINES[0] + b'{"event":"exchange.gr\n\n' + b"x" * (module.MAX_LINE + 5) + b"\n" + LINES[1]
    )
    found = run("--json", path)
    assert (found.status, found.hours) == (1, [9, 10])
    assert "lines that cannot be read" in found.errors


def test_incomplete_last_line_and_text_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "mixed"
    text = b"INFO started\nTraceback (most recent call last):\n  File x\n\n" + LINES[0] + b"2026-01-31 WARN something {\n" + LINES[1]
    for end in (b"", LINES[2][:-40], b"{", b"x"):
        path.write_bytes(text + end)
        found = run("--json", path)
        assert (found.status, found.hours, found.errors) == (0, [9, 10], "")


def test_gzipped_files_and_the_services_own(log: Path, tmp_path: Path) -> None:
    for name in ("audit.log.1.gz", "audit.log.1", "audit.log-20260131"):
        packed = tmp_path / name
        packed.write_bytes(gzip.compress(b"".join(LINES[:2])))
        assert run("--json", packed, log).hours == [9, 10, 9, 10, 11, 12, 13]
    assert run("--json", variables={"AUDIT_LOG": str(log)}).hours == [9, 10, 11, 12, 13]


def test_what_cannot_be_read_is_said(tmp_path: Path, log: Path) -> None:
    found = run("--json", tmp_path / "nowhere", log)
    assert (found.status, len(found.hours)) == (1, 5)
    assert "nowhere cannot be read: No such file or directory" in found.errors
    (tmp_path / "short.gz").write_bytes(gzip.compress(LINES[0])[:-9])
    damaged = bytearray(gzip.compress(b"".join(LINES)))
    damaged[30:200] = bytes(170)
    (tmp_path / "damaged.gz").write_bytes(damaged)
    for name, why in (("short.gz", "it ends too early"), ("damaged.gz", "it is damaged")):
        found = run(tmp_path / name)
        assert (found.status, found.errors) == (1, f"exchanger audit: {tmp_path / name} cannot be read: {why}\n")
    with pytest.raises(WrongArgumentsError, match="AUDIT_LOG"):
        run(variables={"AUDIT_LOG": "stdout"})
    with pytest.raises(WrongArgumentsError, match="AUDIT_KEY_FILE"):
        run("--subject", "x", "--key-file", log, log)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_on_long_files(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROGRESS_BYTES", 1000)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    out, errors = io.StringIO(), Terminal()
    audit(parser.parse_args(["--json", str(log)]), {}, out, errors)
    assert "audit.log: " in errors.getvalue()
    assert " %" in errors.getvalue()
    assert errors.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("--since", "yesterday", "is neither a time nor a duration"),
        ("--since", "2026-13-01", "must be a time such as"),
        ("--since", "2026-01-31Tnoon", "must be a time such as"),
        ("--since", "0001-01-01T00:00:00+10:00", "must be a time such as"),
        ("--since", "9999-12-31T23:59:59-10:00", "must be a time such as"),
        ("--since", "", "is neither a time nor a duration"),
        ("--policy", "orders", "must be the namespace and name of a ConfigMap"),
        ("--policy", "team-a/", "must be the namespace and name of a ConfigMap"),
    ],
)
def test_wrong_values_are_refused(option: str, value: str, why: str, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["audit", option, value, str(log)])
    assert ended.value.code == 2
    assert why in capsys.readouterr().err


hostile = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["sub", "client_id", "act", "x"]), inner, max_size=3),
    max_leaves=8,
)
forged = st.dictionaries(st.sampled_from([*json.loads(LINES[1]), "count", "since"]), hostile).map(
    lambda line: json.dumps({**line, "event": "exchange.granted"}).encode()
)


@given(st.lists(forged | st.binary(max_size=20) | st.sampled_from(LINES), max_size=6), st.booleans())
def test_any_bytes_are_read(tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], as_json: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(b"\n".join(parts))
    found = run(*["--json"] * as_json, "--subject", "alice", path)
    assert found.out.isprintable() or set(filter(lambda text: not text.isprintable(), found.out)) == {"\n"} or as_json
    assert run(path).status in (0, 1)


def test_ctrl_c_ends_it_in_the_middle(log: Path) -> None:
    with subprocess.Popen([sys.executable, "-m", "exchanger", "audit", "--json", "-"], stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(log.read_bytes() * 10)  # a pipe holds as much
        process.stdin.flush()
        assert process.stdout.read(1000)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, b"")
