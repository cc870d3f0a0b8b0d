"""The JSON Schema (2020-12) of a file of tests (``exchanger test``), made from the tables of fields that its reader uses.

It refuses no file that is read.
"""

from typing import Final, assert_never

from exchanger.policy.documents.fields import Field, FieldType
from exchanger.policy.documents.schema import BEYOND_JSON, words_or
from exchanger.policy.documents.text_rules import BLANKS, NOT_BLANK, whole
from exchanger.policy.headers import TOKEN
from exchanger.tools.cases import BASELINE_NAME, CASES_FIELDS, DECISIONS, HEADER_FIELDS
from exchanger.tools.question import MAX_HEADERS
from exchanger.util.json_schema import Schema, document

# What the reader refuses, and the schema cannot express.
UNSAID: Final = (
    BEYOND_JSON,
    f"more than {MAX_HEADERS} headers of a request",
    "a url without a host where no header Host names one",
)

_SCHEME: Final = "[A-Za-z][A-Za-z0-9+.-]*://"
_HTTP: Final = "(?:[Hh][Tt][Tt][Pp][Ss]?|[Ww][Ss][Ss]?)://"
# Of a URL, behind its scheme: no user information, and no fragment.
_REST: Final = "[^/?#@]*(?:[/?][^#]*)?$"
_EXCHANGE_ONLY: Final = ("scope", "audiences")
_NAME: Final[Schema] = {"pattern": whole(TOKEN)}
# What is to be said of a field beyond its type.
_SAYS: Final[dict[str, Schema]] = {
    "tests": {"minItems": 1},
    "method": {"pattern": whole(TOKEN), "examples": ["GET", "POST", "PUT", "PATCH", "DELETE"]},
    "url": {
        "allOf": [{"pattern": NOT_BLANK}],
        "anyOf": [
            {"pattern": f"^[{BLANKS}]*{_HTTP}{_REST}"},
            {
                "pattern": f"^[{BLANKS}]*{_REST}",
                "not": {"description": "The scheme of a URL has to be http or https.", "pattern": f"^[{BLANKS}]*{_SCHEME}"},
            },
        ],
    },
    "decision": words_or(DECISIONS, whole("|".join(DECISIONS))),
    "policy": {"pattern": whole(f"{BASELINE_NAME}|[^/{BLANKS}][^/]*/[^/]*[^/{BLANKS}]")},
    "name": _NAME,
}


def tests_schema() -> Schema:
    """Return the schema of a file of tests."""
    description = "Requests, and the decision that a policy must come to for each: a file for exchanger test."
    return document("tests", "v1", description, UNSAID, _mapping(CASES_FIELDS))


def _mapping(fields: tuple[Field, ...]) -> Schema:
    """Return the schema of a mapping with only these fields; a null one is missing."""
    properties: Schema = {field.name: _field(field) for field in fields}
    schema: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    required = [field.name for field in fields if field.required]
    if set(_EXCHANGE_ONLY) <= properties.keys():
        exchange: Schema = {"properties": {"decision": {"type": "string", "pattern": whole("exchange")}}}
        schema |= {"if": exchange, "else": {"properties": {name: {"type": "null"} for name in _EXCHANGE_ONLY}}}
    return {**schema, "required": required} if required else schema


def _field(field: Field) -> Schema:
    if field.fields == HEADER_FIELDS:
        return {"description": field.description, "type": ["object", "array", "null"], **_headers(field.fields)}
    schema: Schema = {"description": field.description, **_value(field), **_SAYS.get(field.name, {})}
    return schema if field.required else {**schema, "type": [schema["type"], "null"]}


def _headers(fields: tuple[Field, ...]) -> Schema:
    """Return what holds for a mapping of headers, and for a list of them."""
    return {"propertyNames": _NAME, "additionalProperties": {"type": "string"}, "items": _mapping(fields)}


def _value(field: Field) -> Schema:
    match field.type:
        case FieldType.TEXT:
            return {"type": "string"}
        case FieldType.TEXTS:
            return {"type": "array", "items": {"type": "string"}}
        case FieldType.MAPPING:
            return _mapping(field.fields)
        case FieldType.MAPPINGS:
            return {"type": "array", "items": _mapping(field.fields)}
        case FieldType.BOOLEAN | FieldType.ENTRIES:
            raise TypeError(f"{field.name} cannot stand in a test")
        case _:
            assert_never(field.type)
