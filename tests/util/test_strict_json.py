"""Parts of JSON text, counted before it is read, against what is in the value that is read from it."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from exchanger.util.strict_json import flat_members, no_constant, outline, unique_names

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


names = st.text('ab"\\é', max_size=2)
members = st.tuples(names, values | st.integers(-(10**21), 10**21) | st.floats())
JSON = " \t\n\r"


@given(st.lists(members, max_size=5), st.sampled_from([", ", ","]), st.sampled_from(["", " ", "x", "{}"]), st.booleans(), st.data())
def test_flat_members_are_those_that_strict_reading_returns(
    pairs: list[tuple[str, object]], comma: str, after: str, ascii_only: bool, data: st.DataObject
) -> None:
    texts = [f"{json.dumps(name, ensure_ascii=ascii_only)}: {json.dumps(value, ensure_ascii=ascii_only)}" for name, value in pairs]
    whole = ("{" + comma.join(texts) + "}" + after).encode("utf-8", "surrogatepass")
    at = data.draw(st.integers(0, len(whole)))
    damaged = whole[:at] + data.draw(st.sampled_from([b"", b"", b'"', b",", b"\xff", b"\0", b"1", b":"])) + whole[at:]
    found = flat_members(damaged)
    if found is not None:
        assert found == strictly_read(damaged)
        assert all(type(value) is not int for value in found.values())


def strictly_read(data: bytes) -> object:
    return json.loads(data.decode().strip(JSON), object_pairs_hook=unique_names, parse_int=float, parse_constant=no_constant)


@given(st.dictionaries(st.text("ab_", max_size=3), st.text("eyJ._-é,:") | st.integers(0, 10**10) | st.booleans() | st.none(), min_size=1))
def test_usual_answers_have_flat_members(usual: dict[str, object]) -> None:
    text = json.dumps(usual, ensure_ascii=False)
    assert flat_members(text.encode()) == usual
    name = next(iter(usual))
    twice = re.sub(r"}$", f', "{name}": null}}', text)
    assert flat_members(twice.encode()) is None
