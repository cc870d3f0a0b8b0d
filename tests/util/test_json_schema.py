"""Schemas of attrs classes: names, types and required fields come from the class, and nothing of it may be forgotten."""

import json

import attrs
import pytest

from exchanger.util.json_schema import Schema, about, as_text, document, schema_of, written


@attrs.frozen
class Secretive:
    text: str


@attrs.frozen
class Inner:
    flag: bool = attrs.field(metadata=about("A flag."))


@attrs.frozen
class Outer:
    some_name: str = attrs.field(metadata=about("A name.", {"pattern": "a"}))
    inner: Inner | None = attrs.field(default=None, metadata=about("More."))
    numbers: tuple[int, ...] = attrs.field(default=(), metadata=about("Numbers.", least=1, most=3))
    secret: Secretive = attrs.field(default=Secretive(""), metadata=about("A secret."))
    realm: str = attrs.field(default="", metadata=about("A realm.", nullable=True))
    file: str = attrs.field(default="", metadata=about("A file."))


KINDS: dict[object, Schema] = {Secretive: {"type": "string"}}


def test_a_class_becomes_a_mapping() -> None:
    assert schema_of(Outer, KINDS, {"pattern": "."}) == {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "someName": {"description": "A name.", "type": "string", "pattern": "a"},
            "inner": {
                "description": "More.",
                "type": "object",
                "additionalProperties": False,
                "properties": {"flag": {"description": "A flag.", "type": "boolean"}},
                "required": ["flag"],
            },
            "numbers": {
                "description": "Numbers.",
                "type": "array",
                "items": {"type": "integer", "minimum": 1, "maximum": 3},
            },
            "secret": {"description": "A secret.", "type": "string"},
            "realm": {"description": "A realm.", "type": ["string", "null"]},
            "file": {"description": "A file.", "type": "string", "allOf": [{"pattern": "."}]},
        },
        "required": ["someName"],
    }


def test_a_field_that_nobody_describes_is_an_error() -> None:
    with pytest.raises(KeyError, match="About"):
        schema_of(Secretive, {})


def test_a_type_that_no_document_has_is_an_error() -> None:
    with pytest.raises(TypeError, match="cannot be written"):
        schema_of(attrs.make_class("Odd", {"odd": attrs.field(type=complex, metadata=about("Odd."))}), {})


@pytest.mark.parametrize(("name", "text"), [("client_id", "clientID"), ("jwks_uri", "jwksURI"), ("max_ttl", "maxTTL"), ("from_", "from")])
def test_a_name_is_written_as_documents_have_it(name: str, text: str) -> None:
    assert written(name) == text


def test_a_document_says_what_its_schema_does_not() -> None:
    made = document("x", "v1", "A file.", ("one thing", "another"), {"type": "object"})
    assert made["description"] == "A file. This schema does not check: one thing; another."
    assert json.loads(as_text(made)) == made
    assert as_text({"a": "é\n"}).isascii()
