"""The registry: its codes are reached by their examples, and described in whole sentences."""

import re
from pathlib import Path

import pytest

from exchanger.model.codes import registry
from exchanger.model.codes.code import Code, Example
from exchanger.model.codes.manifests import UNREAD_FILE
from exchanger.model.codes.registry import CODES, find
from exchanger.model.errors import Diagnostic
from exchanger.sources.directory.folder import Scan, notices_of, scan
from tests.model.codes.reaching import CONFIG_MAPS, NAMESPACES, reached


@pytest.mark.parametrize("code", [code for code in CODES if code.kind is not Example.SITUATION], ids=str)
def test_the_example_of_a_code_reaches_it(code: Code) -> None:
    assert code.name in reached(code)


def test_what_is_not_read_has_a_code(tmp_path: Path) -> None:
    (tmp_path / "orders.yam").write_text("")
    notices = notices_of(scan(tmp_path, Scan()), NAMESPACES, CONFIG_MAPS)
    assert [notice.code for notice in notices.listed] == [UNREAD_FILE]


def test_the_names_are_unique_and_of_one_form() -> None:
    names = [code.name for code in CODES]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"(?:POL|TXE)-[0-9]{4}", name) for name in names)
    assert names == sorted(names)


def test_every_diagnostic_of_an_exchange_is_described() -> None:
    assert {code.name for code in CODES if code.name.startswith("TXE")} == {diagnostic.value for diagnostic in Diagnostic}


@pytest.mark.parametrize("code", CODES, ids=str)
def test_a_code_is_described_in_whole_sentences(code: Code) -> None:
    for sentence in (code.sentence, code.remedy, *code.causes):
        assert sentence.endswith(".")
        assert sentence.isprintable()
    assert code.causes


@pytest.mark.parametrize("text", ["POL-1101", " pol-1101 ", "Pol-1101\n"])
def test_a_code_is_found_in_any_case(text: str) -> None:
    found = find(text)
    assert found is not None
    assert found.name == "POL-1101"


def test_an_unknown_code_is_not_found() -> None:
    assert find("POL-9999") is None


def test_the_registry_has_every_code_that_is_declared() -> None:
    assert len(registry.CODES) > 80
