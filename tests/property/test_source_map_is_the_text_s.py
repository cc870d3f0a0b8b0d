"""Law: every line and column of a document is shown at the same character of the file, however the document is set into it."""

from hypothesis import assume, given
from hypothesis import strategies as st

from exchanger.playground.source_map import FileMap, file_map
from exchanger.policy.yaml_nodes import Limits
from exchanger.values.entry import Source

HEADS = ["|", "|-", "|+", "| # a comment", "&a |", "!!str |-"]
# No line break of any kind, and nothing that YAML does not take.
LINES = st.lists(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x17F, exclude_categories=["Cc"]), max_size=30), max_size=12)


@given(
    before=st.lists(st.sampled_from(["# a comment", "", "---", "--- []"]), max_size=4),
    data_indent=st.integers(1, 6),
    more_indent=st.integers(1, 6),
    head=st.sampled_from(HEADS),
    first=st.text(st.characters(categories=["Ll"]), min_size=1, max_size=8),
    lines=LINES,
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_a_place_in_a_block_is_the_character_that_it_is_in_the_document(
    before: list[str], data_indent: int, more_indent: int, head: str, first: str, lines: list[str], end: str
) -> None:
    document = [first, *lines]
    indent = data_indent + more_indent
    file = [
        *before,
        "---",
        "{}",
        "---",
        "kind: ConfigMap",
        "metadata: {name: a}",
        "data:",
        f"{' ' * data_indent}config.yaml: {head}",
        *(f"{' ' * indent}{line}" for line in document),
    ]
    known = file_map(end.join(file) + end, Limits())
    assert isinstance(known, FileMap)
    found = known.of(Source("default", "a"))
    assert found is not None
    assert found.document is not None
    held = found.document.text.split("\n")
    for number, line in enumerate(held[: len(document)], 1):
        assume(line == document[number - 1])  # a block may end early only where lines are blank
        for column in (1, len(line), len(line) + 1):
            place = known.place(found.source, number, column)
            assert place.line is not None
            assert place.column is not None
            assert file[place.line - 1][place.column - 1 :] == line[column - 1 :] or column == 0


@given(text=st.text(max_size=200), line=st.integers(-3, 300), column=st.none() | st.integers(1, 80))
def test_no_text_and_no_place_is_too_much(text: str, line: int, column: int | None) -> None:
    body = "".join(f"    {part}\n" for part in text.splitlines())
    known = file_map(f"kind: ConfigMap\nmetadata: {{name: a}}\ndata:\n  config.yaml: |\n{body}", Limits())
    if isinstance(known, FileMap):
        place = known.place(Source("default", "a"), line, column)
        assert place.line is None or 1 <= place.line <= len(known.lines)
