"""Law: every line and column of a document is the same character in its file, whichever kind of scalar the document is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.selection import ConfigMap
from exchanger.tools.check.documents import Document
from exchanger.tools.check.files import read_file
from exchanger.tools.check.source_map import FileText
from exchanger.values.entry import Source

HEADS = ["|", "|-", "|+", "| # a comment", "&a |", "!!str |-"]
# No line break of any kind, and nothing that YAML does not take.
CHARS = st.characters(min_codepoint=0x20, max_codepoint=0x17F, exclude_categories=["Cc"])
LINES = st.lists(st.text(CHARS, max_size=30), max_size=12)
FIRST = st.text(st.characters(categories=["Ll"], max_codepoint=0x17F), min_size=1, max_size=8)


def document_in(text: str) -> Document | None:
    file = read_file("file.yaml", text.encode())
    items = [item for item in file.objects if isinstance(item.value, ConfigMap) and item.document is not None]
    return Document(file, items[0], PolicyDocument(Source("default", "a"))) if items else None


def assert_same_characters(document: Document) -> None:
    assert document.object.document is not None
    value, file = FileText(document.object.document.node.text), document.file.text
    for line in range(1, len(value.starts) + 1):
        for column, char in enumerate(value.line(line), 1):
            place = document.place(line, column)
            assert place.line is not None
            assert place.column is not None
            here = file.line(place.line)[place.column - 1 :]
            assert char.isspace() or here[:1] == char or here[:1] == "\\"


@given(
    before=st.lists(st.sampled_from(["# a comment", "", "---", "--- []"]), max_size=4),
    data_indent=st.integers(1, 6),
    more_indent=st.integers(1, 6),
    head=st.sampled_from([*HEADS, ">", ">-", "&a >+"]),
    first=FIRST,
    lines=LINES,
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_in_a_block(before: list[str], data_indent: int, more_indent: int, head: str, first: str, lines: list[str], end: str) -> None:
    indent = " " * (data_indent + more_indent)
    head_lines = ["kind: ConfigMap", "apiVersion: v1", "metadata: {name: a}", "data:", f"{' ' * data_indent}config.yaml: {head}"]
    document = document_in(end.join([*before, "---", *head_lines, *(f"{indent}{line}" for line in (first, *lines))]) + end)
    if document is not None:  # else a line at the end of the block was not part of it
        assert_same_characters(document)


@given(first=FIRST, lines=LINES, style=st.sampled_from("\"'"))
def test_in_quotation_marks(first: str, lines: list[str], style: str) -> None:
    value = "\n".join([first, *lines])
    written = (
        json.dumps(value, ensure_ascii=len(value) % 2 == 0)
        if style == '"'
        else "'" + value.replace("'", "''").replace("\n", "\n\n  ") + "'"
    )
    document = document_in(f"kind: ConfigMap\napiVersion: v1\nmetadata: {{name: a}}\ndata: {{config.yaml: {written}}}\n")
    if document is not None:
        assert_same_characters(document)


@pytest.mark.parametrize("style", ['"', "'", "", "|", ">"])
def test_the_place_of_a_word_is_known_in_every_style(style: str) -> None:
    written = {
        '"': '"version: v1\\nentries:\\n- \\u0061cton: x"',
        "'": "'version: v1\n\n  entries:\n\n  - acton: x'",
        "": "version v1 acton x",
        "|": "|\n    version: v1\n    entries:\n    - acton: x",
        ">": ">\n    version: v1\n\n    entries:\n\n    - acton: x",
    }[style]
    document = document_in(f"kind: ConfigMap\napiVersion: v1\nmetadata: {{name: a}}\ndata:\n  config.yaml: &doc {written}\n")
    assert document is not None
    assert document.object.document is not None
    text = FileText(document.object.document.node.text)
    place = text.place(text.text.index("acton"))
    found = document.place(place.line, place.column)
    assert found.line is not None
    assert found.column is not None
    assert document.file.text.line(found.line)[found.column - 1 :].startswith(("acton", "\\u0061cton"))


@given(
    text=st.text(max_size=200), line=st.integers(-3, 300), column=st.none() | st.integers(1, 80), head=st.sampled_from([*HEADS, ">", ">+"])
)
def test_no_text_and_no_place_is_too_much(text: str, line: int, column: int | None, head: str) -> None:
    body = "".join(f"    {part}\n" for part in text.splitlines())
    whole = f"kind: ConfigMap\napiVersion: v1\nmetadata: {{name: a}}\ndata:\n  config.yaml: {head}\n{body}"
    try:
        document = document_in(whole)
    except UnicodeEncodeError:
        return
    if document is not None:
        place = document.place(line, column)
        assert place.line is None or 1 <= place.line <= len(document.file.text.starts)
