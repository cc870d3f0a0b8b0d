"""The JSON Schema (2020-12) of a policy document, for editors and CI, made from the tables of fields that the readers use.

It never refuses what the service accepts. ``UNSAID`` is all that it accepts and the service refuses.

Must not know: documents.
"""

from typing import Final, assert_never

from exchanger.policy.documents.document import DOCUMENT_FIELDS, MAX_ENTRIES, VERSION
from exchanger.policy.documents.entry_reader import EXCHANGE_FIELDS, ISSUER, METADATA, TARGETS
from exchanger.policy.documents.fields import Field, FieldType
from exchanger.policy.documents.text_rules import IS_EXCHANGE, NOT_BLANK, RESOURCE_METADATA, TextRule
from exchanger.policy.headers import MAX_HEADERS
from exchanger.util.json_schema import Schema, document

# Of every document that is read as YAML.
BEYOND_JSON: Final = "YAML beyond its JSON: duplicate keys, tags, a second document, and limits of size and depth"
# What the service refuses, and the schema cannot express.
UNSAID: Final = (
    BEYOND_JSON,
    "which issuer profiles there are",
    "the length of texts",
    "whether an IPv6 address is one, and whether the name of a service instead of a port is one",
    "a pathPrefix that begins with the entry's host",
    "what a pathPrefix with escapes or non-ASCII characters becomes once servers have decoded and normalised it",
    f"one header twice, and more than {MAX_HEADERS} headers",
    "whether resourceMetadata is on the entry's own host, and whether the number of its port is one",
)


def policy_schema() -> Schema:
    """Return the schema of a document, the text under ``config.yaml`` in a ConfigMap."""
    description = "A policy of exchanger, as it stands under config.yaml in a ConfigMap."
    return document("policy", VERSION, description, UNSAID, mapping(DOCUMENT_FIELDS))


def mapping(fields: tuple[Field, ...]) -> Schema:
    """Return the schema of a mapping with only these fields."""
    schema: Schema = {"type": "object", "additionalProperties": False, "properties": {field.name: _field(field) for field in fields}}
    required = [field.name for field in fields if field.required]
    return {**schema, "required": required} if required else schema


def _field(field: Field) -> Schema:
    """Return the schema of a field, which may be null if it may be missing."""
    schema: Schema = {"description": field.description, **_value(field)}
    return schema if field.required else {**schema, "type": [schema["type"], "null"]}


def _value(field: Field) -> Schema:
    match field.type:
        case FieldType.TEXT:
            return {"type": "string", **_rule(field.rule)}
        case FieldType.TEXTS:
            return {"type": "array", "items": {"type": ["string", "null"], **_rule(field.rule)}}
        case FieldType.BOOLEAN:
            return {"type": "boolean"}
        case FieldType.MAPPING:
            return mapping(field.fields)
        case FieldType.MAPPINGS:
            return {"type": "array", "items": {**mapping(field.fields), "type": ["object", "null"]}}
        case FieldType.ENTRIES:
            entry = {**mapping(field.fields), "type": ["object", "null"], **_complete_exchange()}
            return {"type": "array", "maxItems": MAX_ENTRIES, "items": entry}
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
        # A pattern accepts anything but a text, so "not" has to ask for one. The reason is inside, where validators show it and editors
        # do not mistake it for a description of the field.
        schema["allOf"] = [
            {"not": {"description": refusal.reason, "type": "string", "pattern": refusal.pattern}} for refusal in rule.refusals
        ]
    return schema


def words_or(words: tuple[str, ...], pattern: str) -> Schema:
    """Return the schema of one of ``words``, which editors offer and name in errors, or of another way to write one of them."""
    return {"anyOf": [{"enum": list(words)}, {"pattern": pattern}]}


def _complete_exchange() -> Schema:
    """Return what an entry with the action exchange needs; for another action, the block need not be complete."""
    present: Schema = {"type": "string", "pattern": NOT_BLANK}
    targets: list[Schema] = [
        {
            "properties": {field.name: present if field.type is FieldType.TEXT else {"type": "array", "contains": present}},
            "required": [field.name],
        }
        for field in EXCHANGE_FIELDS
        if field.name in TARGETS
    ]
    properties: Schema = {ISSUER: present, METADATA: _rule(RESOURCE_METADATA)}
    exchange: Schema = {"type": "object", "required": [ISSUER], "properties": properties, "anyOf": targets}
    return {
        "if": {"properties": {"action": {"type": "string", "pattern": IS_EXCHANGE}}, "required": ["action"], "type": "object"},
        "then": {"required": ["exchange"], "properties": {"exchange": exchange}},
    }
