"""The JSON Schemas (2020-12) of mappings, for editors and CI, made from the tables of fields that their readers use."""

from typing import Final, assert_never

from exchanger.formats.yaml.fields import Field, FieldType, Table
from exchanger.formats.yaml.text_rules import TextRule, words_or
from exchanger.util.json_schema import Schema

# What the reader of every YAML document refuses, and no schema can express.
BEYOND_JSON: Final = "YAML beyond its JSON: duplicate keys, tags, a second document, and limits of size and depth"


def mapping(table: Table) -> Schema:
    """Return the schema of a mapping with only these fields."""
    properties: Schema = {field.name: _field(field) for field in table.fields.values()}
    schema: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    required = [field.name for field in table.fields.values() if field.required]
    return {**schema, **({"required": required} if required else {}), **table.says}


def _field(field: Field) -> Schema:
    schema: Schema = {"description": field.description, **_value(field), **field.says}
    return _or_null(schema) if field.nullable else schema


def _or_null(schema: Schema) -> Schema:
    of = schema["type"]
    return {**schema, "type": [*(of if isinstance(of, list) else [of]), "null"]}


def _value(field: Field) -> Schema:
    match field.type:
        case FieldType.TEXT:
            return {"type": "string", **_rule(field.rule)}
        case FieldType.NUMBER:
            return {"type": "integer"}
        case FieldType.BOOLEAN:
            return {"type": "boolean"}
        case FieldType.PAIRS:
            return {"type": "object", "additionalProperties": {"type": "string"}}
        case FieldType.MAPPING:
            return mapping(field.fields)
        case FieldType.TEXTS | FieldType.MAPPINGS:
            item: Schema = {"type": "string", **_rule(field.rule)} if field.type is FieldType.TEXTS else mapping(field.fields)
            return {"type": "array", "items": _or_null(item) if field.nullable else item}
        case _:
            assert_never(field.type)


def _rule(rule: TextRule) -> Schema:
    if rule.only:
        return {"const": rule.only}
    schema: Schema = {"examples": list(rule.examples)} if rule.examples else {}
    if rule.words:
        schema.update(words_or(rule.words, rule.pattern))
    elif rule.pattern:
        schema["pattern"] = rule.pattern
    if rule.refusals:
        # A pattern accepts anything but a text, so "not" must require one. The reason is inside, where validators show it and editors do
        # not take it for a description of the field.
        schema["allOf"] = [
            {"not": {"description": refusal.reason, "type": "string", "pattern": refusal.pattern}} for refusal in rule.refusals
        ]
    return schema
