"""Parts of JSON text, counted before it is read, against what is in the value that is read from it."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from exchanger.formats.strict_json import certain_object, flat_members, no_constant, outline, unique_names

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


class Members(list[tuple[str, object]]):
    """The members of an object, of which some may have the same name."""


def members(value: st.SearchStrategy[object]) -> st.SearchStrategy[list[tuple[str, object]]]:
    return st.lists(st.tuples(names, value), max_size=4)


def written(value: object, ascii_only: bool) -> str:
    match value:
        case Members():
            texts = [f"{json.dumps(name, ensure_ascii=ascii_only)}:{written(inner, ascii_only)}" for name, inner in value]
            return "{" + ",".join(texts) + "}"
        case list():
            return "[" + ",".join(written(inner, ascii_only) for inner in value) + "]"
        case _:
            return json.dumps(value, ensure_ascii=ascii_only)


names = st.text('ab"\\é', max_size=2)
numbers = st.integers(-(10**21), 10**21) | st.floats()
nested = st.recursive(values | numbers, lambda inner: st.lists(inner, max_size=3) | st.builds(Members, members(inner)), max_leaves=6)
JSON = " \t\n\r"


@given(members(nested), st.sampled_from(["", " ", "x", "{}"]), st.booleans(), st.data())
def test_quick_reading_returns_what_strict_reading_does(
    pairs: list[tuple[str, object]], after: str, ascii_only: bool, data: st.DataObject
) -> None:
    whole = (written(Members(pairs), ascii_only) + after).encode("utf-8", "surrogatepass")
    at = data.draw(st.integers(0, len(whole)))
    damaged = whole[:at] + data.draw(st.sampled_from([b"", b"", b'"', b",", b"\xff", b"\0", b"1", b":"])) + whole[at:]
    flat, certain = flat_members(damaged), certain_object(damaged)
    if flat is not None:
        assert flat == strictly_read(damaged, float)
        assert all(type(value) is not int for value in flat.values())
    if certain is not None:
        assert repr(certain) == repr(strictly_read(damaged, int))


def strictly_read(data: bytes, integer: type) -> object:
    return json.loads(data.decode().strip(JSON), object_pairs_hook=unique_names, parse_int=integer, parse_constant=no_constant)


@given(
    st.dictionaries(
        names.filter(lambda name: not set(name) & {'"', "\\"}), st.text("ab, {") | st.lists(st.integers(0, 2**60)) | st.booleans()
    )
)
def test_usual_claims_are_read_quickly_unless_a_name_occurs_twice(usual: dict[str, object]) -> None:
    text = json.dumps({**usual, "act": usual, "act2": [usual, None]}, ensure_ascii=False, separators=(",", ":"))
    assert certain_object(text.encode()) == json.loads(text)
    for twice in (re.sub(r"}$", ',"act":null}', text), text.replace('"act2":[{', '"act2":[{"x":1,"x":2' + "," * bool(usual))):
        assert certain_object(twice.encode()) is None


@given(st.dictionaries(st.text("ab_", max_size=3), st.text("eyJ._-é,:") | st.integers(0, 10**10) | st.booleans() | st.none(), min_size=1))
def test_usual_answers_have_flat_members(usual: dict[str, object]) -> None:
    text = json.dumps(usual, ensure_ascii=False)
    assert flat_members(text.encode()) == usual
    name = next(iter(usual))
    twice = re.sub(r"}$", f', "{name}": null}}', text)
    assert flat_members(twice.encode()) is None
