"""What is said on the terminal."""

import io
import shlex
from pathlib import Path

import attrs

from exchanger.demo.command import guide
from exchanger.demo.setup import DemoPorts, own_setup
from exchanger.scenarios.builtin import SCENARIOS
from exchanger.scenarios.display import Columns, curl_line, table_head, table_row
from exchanger.scenarios.runner import Finding
from exchanger.scenarios.scenario import Call
from exchanger.scenarios.terminal import Progress
from exchanger.scenarios.tokens import Subject, make_subjects

COLUMNS = Columns.of(SCENARIOS)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_whole_lines_where_it_is_not_a_terminal() -> None:
    out = io.StringIO()
    progress = Progress(out)
    progress.begin("service")
    progress.tick()
    progress.done("port 1")
    progress.say("that is all")
    assert out.getvalue() == "service …\nservice: port 1\nthat is all\n"


def test_progress_moves_on_a_terminal() -> None:
    out = Terminal()
    progress = Progress(out)
    progress.begin("service")
    progress.tick()
    progress.done("port 1")
    lines = out.getvalue().split("\r\x1b[K")
    assert [line[1:] for line in lines[1:3]] == [" service …", " service …"]
    assert lines[1] != lines[2]
    assert lines[3:] == ["service: port 1\n"]
    progress.tick()
    assert out.getvalue().endswith("service: port 1\n")


def test_words_in_the_middle_of_a_step_begin_a_line() -> None:
    out = Terminal()
    progress = Progress(out)
    progress.begin("service")
    progress.say("interrupted")
    assert out.getvalue().endswith("service …\ninterrupted\n")


def test_a_curl_line_is_what_a_shell_takes() -> None:
    call = Call("h.example.com", "/a?b=c&d", method="OPTIONS", headers=(("Origin", "https://o.example.com"),))
    words = shlex.split(curl_line(call))
    assert words == [
        "curl",
        "-s",
        "-X",
        "OPTIONS",
        "-H",
        "Host: h.example.com",
        "-H",
        "Authorization: Bearer $TOKEN",
        "-H",
        "Origin: https://o.example.com",
        "$GATEWAY/a?b=c&d",
    ]
    assert "Authorization" not in curl_line(Call("h", "/", subject=Subject.NONE))
    assert "$EXPIRED" in curl_line(Call("h", "/", subject=Subject.EXPIRED))
    assert "$FOREIGN" in curl_line(Call("h", "/", subject=Subject.FOREIGN))


def test_the_guide_has_all_that_is_needed_to_try() -> None:
    subjects = make_subjects()
    site = DemoPorts(
        envoy_port=10_001,
        grpc_port=10_002,
        metrics_port=10_003,
        token_port=10_004,
        upstream_port=10_005,
        policy=Path("/tmp/x/policy"),
        subjects=subjects,
    )
    text = guide(site, {"sub": "alice", "scope": "read:orders"}, attrs.evolve(own_setup(10_004), token=subjects.token))
    assert all(f"# {scenario.name}: {scenario.watch}" in text for scenario in SCENARIOS)
    assert "export GATEWAY=http://127.0.0.1:10001" in text
    assert f"export TOKEN={subjects.valid}" in text
    assert '"scope": "read:orders"' in text
    assert '"iss": "https://login.example.com"' in text
    assert "Policy folder: /tmp/x/policy" in text
    assert "http://127.0.0.1:10003/metrics" in text
    assert "Console" not in text
    with_console = guide(attrs.evolve(site, console_port=10_006), {}, own_setup(10_004))
    assert with_console.lstrip().startswith("Console: http://127.0.0.1:10006  ")  # paths are put behind it in scripts


def test_rows_stand_below_their_heads_and_details_below_their_row() -> None:
    good = table_row(Finding("unmatched", "200", "200 yes", ok=True, elapsed=0.123), COLUMNS)
    bad = table_row(Finding("unmatched", "200", "500 no", ok=False, elapsed=0.1, details=("expected x", "got y")), COLUMNS)
    assert good.startswith("ok   unmatched ")
    assert good.index("200 yes") == table_head(COLUMNS).index("got")
    assert bad.splitlines()[1:] == ["       expected x", "       got y"]
    assert bad.startswith("FAIL unmatched ")


def test_a_scenario_that_was_skipped_says_why_where_others_say_what_they_got() -> None:
    row = table_row(Finding("unmatched", "200", "skipped", ok=True, elapsed=0.0, skipped="because"), COLUMNS)
    assert row.startswith("skip unmatched ")
    assert row.index("because") == table_head(COLUMNS).index("got")


def test_columns_are_as_wide_as_their_scenarios_need() -> None:
    some = SCENARIOS[:3]
    columns = Columns.of(some)
    assert columns.name == max(len(scenario.name) for scenario in some)
    assert Columns.of(()) == Columns(0, 0)
    assert Columns.of(some, lenient=True).expected < columns.expected
    row = table_row(Finding("red-success", "200", "200 yes", ok=True, elapsed=0.1), columns)
    assert row.index("200 yes") == table_head(columns).index("got")
