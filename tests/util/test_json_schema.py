"""Schemas of attrs classes: names, types and required fields come from the class, and nothing of it may be forgotten."""

import json
from typing import Any

import attrs
import pytest

from exchanger.util.json_schema import About, Classes, as_text, document


@attrs.frozen
class Secretive:
    text: str


@attrs.frozen
class Inner:
    flag: bool


@attrs.frozen
class Outer:
    some_name: str
    inner: Inner | None = None
    numbers: tuple[int, ...] = ()
    secret: Secretive = Secretive("")


ABOUT = {
    Inner: {"flag": About("A flag.")},
    Outer: {
        "some_name": About("A name.", {"pattern": "a"}),
        "inner": About("More."),
        "numbers": About("Numbers."),
        "secret": About("A secret."),
    },
}


def schema(about: dict[type, dict[str, About]]) -> Any:
    return Classes({"some_name": "someName"}, about, frozenset({Secretive})).schema(Outer)


def test_a_class_becomes_a_mapping() -> None:
    assert schema(ABOUT) == {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "someName": {"description": "A name.", "type": "string", "pattern": "a"},
            "inner": {
                "description": "More.",
                "type": ["object", "null"],
                "additionalProperties": False,
                "properties": {"flag": {"description": "A flag.", "type": "boolean"}},
                "required": ["flag"],
            },
            "numbers": {"description": "Numbers.", "type": ["array", "null"], "items": {"type": "integer"}},
            "secret": {"description": "A secret.", "type": ["string", "null"]},
        },
        "required": ["someName"],
    }


def test_a_field_that_nobody_describes_is_an_error() -> None:
    with pytest.raises(KeyError, match="flag"):
        schema({**ABOUT, Inner: {}})


def test_a_type_that_no_document_has_is_an_error() -> None:
    with pytest.raises(TypeError, match="cannot be written"):
        Classes({}, ABOUT).schema(Outer)


def test_a_document_says_what_its_schema_does_not() -> None:
    made = document("x", "v1", "A file.", ("one thing", "another"), {"type": "object"})
    assert made["description"] == "A file. The reader refuses more than this schema can say: one thing; another."
    assert json.loads(as_text(made)) == made
    assert as_text({"a": "é\n"}).isascii()
