"""What is said on the terminal."""

import io
import re
import shlex

import pytest

from exchanger.commands.scenarios.builtin import SCENARIOS
from exchanger.commands.scenarios.display import Columns, curl_line, table_head, table_row
from exchanger.commands.scenarios.runner import Finding
from exchanger.commands.scenarios.scenario import GatewayCall
from exchanger.commands.scenarios.terminal import Progress
from exchanger.commands.scenarios.tokens import Subject
from exchanger.commands.tables import cells


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_whole_lines_unless_it_is_on_a_terminal() -> None:
    out = io.StringIO()
    progress = Progress(out)
    progress.begin("service")
    progress.tick()
    progress.done("port 1")
    progress.say("that is all")
    assert out.getvalue() == "service …\nservice: port 1\nthat is all\n"


def test_progress_moves_on_a_terminal_and_other_text_begins_a_line() -> None:
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
    progress.begin("service")
    progress.say("interrupted")
    assert out.getvalue().endswith("service …\ninterrupted\n")


def test_a_curl_line_is_for_a_shell() -> None:
    call = GatewayCall("h.example.com", "/a?b=c&d", method="OPTIONS", headers=(("Origin", "https://o.example.com"),))
    expected = "curl -s -X OPTIONS -H 'Host: h.example.com' -H 'Authorization: Bearer $TOKEN' -H 'Origin: https://o.example.com'"
    assert shlex.split(curl_line(call)) == [*shlex.split(expected), "$GATEWAY/a?b=c&d"]
    assert "Authorization" not in curl_line(GatewayCall("h", "/", subject=Subject.NONE))
    assert "$EXPIRED" in curl_line(GatewayCall("h", "/", subject=Subject.EXPIRED))
    assert "$FOREIGN" in curl_line(GatewayCall("h", "/", subject=Subject.FOREIGN))


def test_rows_stand_below_the_heads_of_columns_as_wide_as_needed() -> None:
    some = SCENARIOS[:3]
    columns = Columns.of(some)
    assert columns.name == max(len(scenario.name) for scenario in some)
    assert Columns.of(()) == Columns(0, 0)
    assert Columns.of(some, lenient=True).expected < columns.expected
    got = table_head(columns).index("got")
    good = table_row(Finding("unmatched", "200", "200 yes", ok=True, elapsed=0.123), columns)
    bad = table_row(Finding("unmatched", "200", "500 no", ok=False, elapsed=0.1, details=("expected x", "got y")), columns)
    skipped = table_row(Finding("unmatched", "200", "skipped", ok=True, elapsed=0.0, skipped="because"), columns)
    assert (good[:15], bad[:15], skipped[:15]) == ("ok   unmatched ", "FAIL unmatched ", "skip unmatched ")
    assert good.index("200 yes") == skipped.index("because") == got
    assert bad.splitlines()[1:] == ["       expected x", "       got y"]


def test_a_terminal_with_colours_shows_the_same_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    screen = Progress(Terminal()).screen({"TERM": "xterm"})
    assert screen is not None
    columns = Columns.of(SCENARIOS)
    for finding in (
        Finding("a", "b", "c", ok=True, elapsed=0.5),
        Finding("a", "b", "c", ok=False, elapsed=0.5, details=("more", "[red]still more[/]")),
        Finding("a", "b", "", ok=True, elapsed=0.0, skipped="no reason"),
    ):
        shown = table_row(finding, columns, screen)
        assert "\x1b[" in shown
        assert re.sub(r"\x1b\[[0-9;]*m", "", shown).split() == table_row(finding, columns).split()
    assert re.sub(r"\x1b\[[0-9;]*m", "", table_head(columns, screen)).split() == table_head(columns).split()


def test_columns_are_as_wide_as_a_terminal_shows_them() -> None:
    wide, narrow = (Finding(name, "b", "c", ok=True, elapsed=0.0) for name in ("注文", "abcd"))
    assert cells(table_row(wide, Columns(6, 1))) == cells(table_row(narrow, Columns(6, 1)))
