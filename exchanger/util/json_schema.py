"""JSON Schemas (2020-12): the frame that all of ours share, and the schema of a document that is read into attrs classes.

A field without a default is required, and one that is there has a value unless it is ``nullable``, as the readers of these classes treat
them.

Must not know: which documents there are.
"""

import json
import types
from collections.abc import Mapping
from typing import Any, Final, Union, final, get_args, get_origin

import attrs

Schema = dict[str, object]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_SIMPLE: Final[Mapping[object, str]] = {str: "string", bool: "boolean", int: "integer"}


@final
@attrs.frozen
class About:
    """What the type of a field does not say: a ``description`` for authors, and what the schema of its values ``says`` beyond their type.

    ``least`` and ``most`` are the bounds of a number or, as texts, of a duration. ``nullable``: null, and a blank text, count as missing.
    """

    description: str
    says: Mapping[str, object] = attrs.field(factory=dict)
    least: int | str | None = None
    most: int | str | None = None
    nullable: bool = False


def about(
    description: str,
    says: Mapping[str, object] | None = None,
    *,
    least: int | str | None = None,
    most: int | str | None = None,
    nullable: bool = False,
) -> dict[object, About]:
    """Return the metadata of a field of an attrs class that a document is read into."""
    return {About: About(description, says or {}, least, most, nullable)}


_ACRONYMS: Final = {"id": "ID", "ttl": "TTL", "uri": "URI"}


def written(name: str) -> str:
    """Return how a document writes the ``name`` of a field: ``client_id`` is ``clientID`` there, and ``from_`` is ``from``."""
    first, *others = name.rstrip("_").split("_")
    return first + "".join(_ACRONYMS.get(word, word.title()) for word in others)


def type_of(field: "attrs.Attribute[Any]") -> Any:
    """Return the type of a field, without ``None``, which means a missing one."""
    return Union[tuple(part for part in alternatives(field.type) if part is not types.NoneType)]  # noqa: UP007 - one may be left


def alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the types of which values of the type ``hint`` may be."""
    return get_args(hint) if get_origin(hint) in {Union, types.UnionType} else (hint,)


def schema_of(cls: type[attrs.AttrsInstance], kinds: Mapping[object, Schema], filled: Mapping[str, object] | None = None) -> Schema:
    """Return the schema of a mapping with the fields of ``cls``.

    ``kinds`` are the schemas of types with a special form, and ``filled`` is what holds for a text that is not ``nullable``.

    Raises:
        KeyError: a field has no description
        TypeError: its type cannot be written in a document
    """
    properties: Schema = {}
    required: list[str] = []
    for field in attrs.fields(cls):
        told: About = field.metadata[About]
        value = {**_value(type_of(field), told, kinds, filled), **told.says}
        if field.default is attrs.NOTHING:
            required.append(written(field.name))
        elif told.nullable:
            kinds_of_value = value["type"]
            value["type"] = [*(kinds_of_value if isinstance(kinds_of_value, list) else [kinds_of_value]), "null"]
        elif filled and str in alternatives(type_of(field)):
            value["allOf"] = [dict(filled)]
        properties[written(field.name)] = {"description": told.description, **value}
    schema: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**schema, "required": required} if required else schema


def _value(hint: Any, told: About, kinds: Mapping[object, Schema], filled: Mapping[str, object] | None) -> Schema:
    if len(several := alternatives(hint)) > 1:  # each says something of its own JSON type, and so nothing of the others
        schemas = [_value(one, told, kinds, filled) for one in several]
        return {key: item for schema in schemas for key, item in schema.items()} | {"type": [schema["type"] for schema in schemas]}
    if hint in kinds:
        return {**kinds[hint]}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _value(get_args(hint)[0], told, kinds, filled)}
    if attrs.has(hint):
        return schema_of(hint, kinds, filled)
    if hint is int and told.most is not None:
        return {"type": "integer", "minimum": told.least, "maximum": told.most}
    if hint not in _SIMPLE:
        raise TypeError(f"{hint} cannot be written in a document")
    return {"type": _SIMPLE[hint]}


def document(name: str, version: str, description: str, unsaid: tuple[str, ...], body: Schema) -> Schema:
    """Return the schema ``body`` of the document ``name`` with its dialect and title, and the rules that it leaves ``unsaid``."""
    return {
        "$schema": DIALECT,
        "$id": f"urn:exchanger:{name}:{version}",
        "title": f"exchanger {name}",
        "description": f"{description} This schema does not check: {'; '.join(unsaid)}.",
        **body,
    }


def as_text(schema: Schema) -> str:
    """Return ``schema`` as JSON in ASCII, with a line break at its end."""
    return json.dumps(schema, indent=2) + "\n"
