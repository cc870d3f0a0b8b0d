"""The fields of one mapping of a document: read by name and type, with a sentence for whatever is wrong.

Each mapping has a table of the fields that it may have. The JSON Schema of a document is made from the same tables.

Must not know: which fields there are, or what they mean.
"""

import enum
from collections.abc import Mapping as Table
from typing import Final, final

import attrs

from exchanger.policy.quoting import quoted
from exchanger.policy.text_rules import ANY_TEXT, TextRule
from exchanger.policy.yaml_nodes import Kind, Mapping, Node, Scalar, Sequence, is_null, text_of

_BOOLEANS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}  # YAML 1.2 core schema


@enum.unique
class FieldType(enum.Enum):
    """What a field holds."""

    TEXT = "text"
    TEXTS = "list of texts"
    BOOLEAN = "boolean"
    MAPPING = "mapping"
    ENTRIES = "list of entries"


@final
@attrs.frozen
class Field:
    """A field that a mapping may have.

    ``description`` is for authors, whose editor shows it. ``required``: it must be there, and not be null or blank. ``rule`` is about the
    field's text, or each of its texts. ``fields`` are those of the mapping, or of each entry, that it holds.
    """

    name: str
    type: FieldType
    description: str
    required: bool = False
    rule: TextRule = ANY_TEXT
    fields: tuple["Field", ...] = ()


@final
@attrs.frozen
class Problem:
    """A sentence for the author, and the node to look at."""

    text: str
    node: Node


@final
@attrs.define(eq=False)
class Fields:
    """The fields of one mapping, ``node``. A field that is null is missing. ``where`` is the mapping's path, for sentences."""

    where: str
    node: Node
    known: Table[str, Field]
    problems: list[Problem]
    nodes: dict[str, Node]

    @classmethod
    def of(cls, node: Node, where: str, known: tuple[Field, ...], problems: list[Problem]) -> "Fields | None":
        """Return the fields of ``node``, ``None`` when it is no mapping. What is wrong goes to ``problems``, now and later."""
        table = {field.name: field for field in known}
        if not isinstance(node, Mapping):
            problems.append(Problem(f"{where} must be a mapping", node))
            return None
        nodes: dict[str, Node] = {}
        unknown: list[Node] = []
        for key, value in node.pairs:
            name = text_of(key)
            if name is None or name not in table:
                unknown.append(key)
            elif not is_null(value):
                nodes[name] = value
        if unknown:
            first = unknown[0]
            name = text_of(first)
            shown = "that is no text" if name is None else quoted(name)
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            problems.append(Problem(f"{where} has an unknown field {shown}{more}", first))
        return cls(where, node, table, problems, nodes)

    def problem(self, name: str, text: str) -> None:
        """Note that something is wrong with the field ``name``; ``text`` goes on after its path."""
        self.problems.append(Problem(f"{self.where}.{name} {text}", self.nodes.get(name, self.node)))

    def mapping(self, name: str, *, required: bool = False) -> "Fields | None":
        """Return the fields of the mapping in the field ``name``, ``None`` when it is missing or something else.

        It is a problem that one is missing where the table says that it is ``required``, or the caller does.
        """
        field, node = self.known[name], self.nodes.get(name)
        if node is not None:
            return Fields.of(node, f"{self.where}.{name}", field.fields, self.problems)
        if required or field.required:
            self.problem(name, "is required")
        return None

    def text(self, name: str, *, required: bool = False) -> str:
        """Return the trimmed text of a field, "" when it is missing or something else; ``required`` as for a mapping."""
        node = self.nodes.get(name)
        text = "" if node is None else text_of(node)
        if text is None:
            self.problem(name, "must be text")
            return ""
        text = text.strip()
        if not text and (required or self.known[name].required):
            self.problem(name, "is required")
        return text

    def boolean(self, name: str) -> bool | None:
        """Return a field that must be a boolean, False when it is missing, ``None`` when it is something else."""
        node = self.nodes.get(name)
        if node is None:
            return False
        value = _BOOLEANS.get(node.text) if isinstance(node, Scalar) and node.kind is Kind.OTHER else None
        if value is None:
            self.problem(name, "must be true or false")
        return value

    def texts(self, name: str) -> tuple[str, ...] | None:
        """Return the trimmed texts of a list without blank ones; ``None`` when it is no list of texts."""
        node = self.nodes.get(name)
        if node is None:
            return ()
        if isinstance(node, Sequence):
            present = [item for item in node.items if not is_null(item)]
            texts = [text for item in present if (text := text_of(item)) is not None]
            if len(texts) == len(present):
                return tuple(trimmed for text in texts if (trimmed := text.strip()))
        self.problem(name, "must be a list of texts")
        return None
