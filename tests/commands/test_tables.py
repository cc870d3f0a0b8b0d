"""Tables on a terminal: when there are some, and that nothing of a text is lost, whatever it is and however narrow the terminal."""

import io
import re
import sys
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.commands.tables import Column, Screen, cells, padded

COLOURS: Final = {"TERM": "xterm-256color"}
ESCAPE: Final = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def screen() -> Screen:
    found = Screen.on(Terminal(), COLOURS)
    assert found is not None
    return found


def unstyled(text: str) -> str:
    return ESCAPE.sub("", text)


@pytest.mark.parametrize("variables", [{}, {"TERM": "dumb"}, {"TERM": "unknown"}, {**COLOURS, "NO_COLOR": "1"}])
def test_a_terminal_without_colours_has_plain_text(variables: dict[str, str]) -> None:
    assert Screen.on(Terminal(), variables) is None


def test_what_is_no_terminal_has_plain_text() -> None:
    assert Screen.on(io.StringIO(), COLOURS) is None


def test_without_rich_there_is_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert Screen.on(Terminal(), COLOURS) is None


def test_an_empty_no_color_is_none() -> None:
    assert Screen.on(Terminal(), {**COLOURS, "NO_COLOR": ""}) is not None


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("é", 1), ("e\u0301", 1), ("注文", 4), ("a注", 3), ("", 0)])
def test_a_text_takes_what_its_characters_take(text: str, width: int) -> None:
    assert cells(text) == width
    assert cells(padded(text, 9)) == 9
    assert padded(text, 0) == text


words = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x3FF, exclude_categories=["Cc", "Cf", "Cn", "Mn", "Me", "Zs"])
    | st.sampled_from("注文[]/:")
)


@given(st.lists(words, min_size=3, max_size=3), st.integers(20, 200))
def test_no_character_of_a_row_is_lost_or_read_as_a_style(texts: list[str], width: int) -> None:
    columns = (Column("name", 8), Column("number", 6, right=True), Column("rest"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        row = unstyled(screen().row(columns, [(text, "bold red") for text in texts]))
    assert sorted(char for text in texts for char in text) == sorted(char for char in row if not char.isspace())
    assert all(cells(line) <= width for line in row.split("\n"))


def test_wide_columns_give_way_to_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    columns = (Column("name", 100), Column("number", 6, right=True), Column("rest"))
    assert len(unstyled(screen().row(columns, [("a", ""), ("1", ""), ("x" * 32, "")])).split("\n")) == 1
    assert unstyled(screen().head(columns)).split() == ["name", "number", "rest"]


def test_a_note_is_indented_and_styled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert screen().note("[bold]x[/]", "red", 2).startswith("  \x1b[31m[bold]x[/]")
    assert [line[:2] for line in unstyled(screen().note("word " * 9, "", 2)).split("\n")] == ["  "] * 3
