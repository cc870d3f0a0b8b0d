"""An entry's lines are exactly those that its author wrote it in, however the document is laid out."""

from hypothesis import given
from hypothesis import strategies as st

from exchanger.policy.documents.document import entry_lines

# Items in many spellings; each is one entry from its first line to its last.
ITEMS = (
    "- {match: {host: a, pathPrefix: /}, action: deny}",
    "- match: {host: a, pathPrefix: /}  # of this one\n  action: deny",
    "- action: |\n    # no comment\n    deny",
    "- action: deny\n  match:\n    host: a\n\n    # within\n    methods:\n    - GET",
    "-\n  match: {host: a}",
    "- # why\n  # and why\n\n  match: {host: a}",
    "- {match: {host: a},\n   action: deny\n  }",
    "- action: two\n    lines",
    '- action: "two\n\n    lines"',
    "- ~",
    "-",
)
BETWEEN = ("\n", "# of what follows\n", "  # - {action: deny}\n", "\n\n")


@given(
    st.lists(st.tuples(st.sampled_from(ITEMS), st.lists(st.sampled_from(BETWEEN), max_size=2)), min_size=1, max_size=5),
    st.booleans(),
    st.sampled_from(["\n", "\r\n", "\r", "\x85"]),
    st.sampled_from(["", "version: v1\n", "# the end\n"]),
)
def test_an_entry_has_its_own_lines(items: list[tuple[str, list[str]]], alias: bool, line_end: str, tail: str) -> None:
    text, expected = "entries:\n", []
    for item, after in [*items, *([("- &two {action: deny}", []), ("- *two", [])] if alias else [])]:
        first = text.count("\n") + 1
        text += f"{item}\n"
        expected.append((first, text.count("\n")))
        text += "".join(after)

    assert entry_lines((text + tail).replace("\n", line_end)) == tuple(expected)
