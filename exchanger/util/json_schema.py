"""JSON Schemas (2020-12): the frame that all of ours share, and the schema of a document that attrs classes are read from.

A null field counts as a missing one, and a field without a default is required, as the readers of these classes have it.

Must not know: which documents there are.
"""

import json
import types
from collections.abc import Mapping
from typing import Any, Final, Union, final, get_args, get_origin, get_type_hints

import attrs

Schema = dict[str, object]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_SIMPLE: Final[Mapping[object, str]] = {str: "string", bool: "boolean", int: "integer", float: "number"}


@final
@attrs.frozen
class About:
    """What a field's class does not say: a ``description`` for authors, and what the schema of its values ``says`` beyond their type."""

    description: str
    says: Mapping[str, object] = attrs.field(factory=dict)


@final
@attrs.frozen
class Classes:
    """How the fields of attrs classes are written in a document: their names where these differ, and what there is to say about each.

    ``texts`` are classes that are written as a text, and ``mappings`` those that are written as a mapping with names of any kind.
    """

    spelling: Mapping[str, str]
    about: Mapping[type, Mapping[str, About]]
    texts: frozenset[type] = frozenset()
    mappings: frozenset[type] = frozenset()

    def schema(self, cls: type) -> Schema:
        """Return the schema of a mapping with the fields of ``cls``.

        Raises:
            KeyError: nothing is said about a field.
            TypeError: its type cannot be written in a document.
        """
        hints = get_type_hints(cls)
        properties: Schema = {}
        required: list[str] = []
        for field in attrs.fields(cls):
            name, about = self.spelling.get(field.name, field.name), self.about[cls][field.name]
            value: Schema = {**self._value(hints[field.name]), **about.says}
            if field.default is attrs.NOTHING:
                required.append(name)
            else:
                value["type"] = [value["type"], "null"]
            properties[name] = {"description": about.description, **value}
        schema: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
        return {**schema, "required": required} if required else schema

    def _value(self, hint: Any) -> Schema:
        if get_origin(hint) in {Union, types.UnionType}:
            (hint,) = (part for part in get_args(hint) if part is not types.NoneType)
        if hint in self.about:
            return self.schema(hint)
        if hint in self.texts:
            return {"type": "string"}
        if hint in self.mappings:
            return {"type": "object"}
        if get_origin(hint) is tuple:
            return {"type": "array", "items": self._value(get_args(hint)[0])}
        if hint not in _SIMPLE:
            raise TypeError(f"{hint} cannot be written in a document")
        return {"type": _SIMPLE[hint]}


def document(name: str, version: str, description: str, unsaid: tuple[str, ...], body: Schema) -> Schema:
    """Return the schema ``body`` of the document ``name`` with its dialect and title, and with what it leaves ``unsaid``."""
    return {
        "$schema": DIALECT,
        "$id": f"urn:exchanger:{name}:{version}",
        "title": f"exchanger {name}",
        "description": f"{description} The reader refuses more than this schema can say: {'; '.join(unsaid)}.",
        **body,
    }


def as_text(schema: Schema) -> str:
    """Return ``schema`` as JSON in ASCII, with a line break at its end."""
    return json.dumps(schema, indent=2) + "\n"
