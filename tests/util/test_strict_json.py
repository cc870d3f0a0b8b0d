"""Parts of JSON text, counted before it is read, against what is in the value that is read from it."""

import json

from hypothesis import given
from hypothesis import strategies as st

from exchanger.util.strict_json import outline

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(' ,:"[]{}\\\\xé\n', max_size=8),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text('"{x', max_size=4), inner, max_size=6),
    max_leaves=30,
)


def parts(value: object) -> int:
    """Return how many strings, brackets, commas and colons ``value`` is written with."""
    match value:
        case str():
            return 1
        case list():
            return 2 + max(len(value) - 1, 0) + sum(map(parts, value))
        case dict():
            return 2 + max(len(value) - 1, 0) + len(value) + sum(map(parts, [*value, *value.values()]))
        case _:
            return 0


@given(values, st.booleans())
def test_parts_are_those_of_the_value(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    count = parts(value)
    assert outline(text, count - 1) is None
    if text.count('"') <= 2 * count:  # many escaped ones count too
        assert outline(text, count) is not None


@given(st.text('{}[],:"\\x1 ', max_size=300), st.integers(0, 100))
def test_any_text_has_an_outline_of_few_parts_or_none(text: str, most: int) -> None:
    found = outline(text, most)
    assert found is None or (sum(map(found.count, "{}[],:")) <= most and '"' not in found)
