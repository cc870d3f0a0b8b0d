"""``exchanger code``: every code is explained in full, in any spelling of its case, and an unknown one leads to those that may be meant."""

import pytest

from exchanger import cli
from exchanger.commands.code_text import lines_of, near_misses
from exchanger.model.codes.code import Code
from exchanger.model.codes.registry import CODES
from exchanger.util.text import printable

every_code = pytest.mark.parametrize("code", CODES, ids=str)


@every_code
def test_all_that_the_registry_knows_of_a_code_is_said(code: Code, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["code", code.name.lower()]) == 0
    said = capsys.readouterr().out
    flat = " ".join(said.split())
    assert flat.startswith(f"{code.name} ({code.severity.value}): {code.sentence}")
    for text in (*code.causes, code.remedy):
        assert text in flat
    for line in (*code.example.splitlines(), *code.grants.splitlines()):
        assert " ".join(printable(line, 158).split()) in flat


@every_code
def test_sentences_keep_within_eighty_columns(code: Code) -> None:
    assert all(len(line) < 80 for line in lines_of(code) if not line.startswith("    "))


@pytest.mark.parametrize(
    ("written", "meant"),
    [("1101", "POL-1101"), ("pol1101", "POL-1101"), ("TXE1004", "TXE-1004"), ("POL-110l", "POL-1101"), (" TXE_1004 ", "TXE-1004")],
)
def test_an_unknown_code_leads_to_near_ones(written: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["code", written]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"exchanger code: there is no code {written.strip()!r}; did you mean ")
    assert meant in said.err


@pytest.mark.parametrize("written", ["", "?", "\x1b[31m", "x" * 10_000])
def test_a_text_like_no_code_leads_nowhere(written: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert near_misses(written) == []
    assert cli.main(["code", written]) == 2
    said = capsys.readouterr().err
    assert "did you mean" not in said
    assert "\x1b" not in said
    assert len(said) < 200


def test_several_near_misses_are_named() -> None:
    assert 1 < len(near_misses("POL-11")) <= 5
