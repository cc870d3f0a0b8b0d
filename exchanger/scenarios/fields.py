"""The fields of a YAML mapping, taken one by one, and what is said about those that are wrong. Every reader of the demo's files uses it."""

import re
from collections.abc import Callable
from typing import Final, final

import attrs

from exchanger.policy.documents.yaml_nodes import Kind, Mapping, Node, Scalar, Sequence
from exchanger.util.text import quoted

# Problems reported at once; more than that have one cause.
MAX_PROBLEMS: Final = 20

_is_number: Final = re.compile(r"[0-9]{1,9}").fullmatch
_MAX_TEXT: Final = 4_096  # characters of any text; bodies of refusals have some hundred


@final
@attrs.frozen
class FileProblem:
    """What is wrong with the field at ``line``, counted from 1; ``None`` if there is no place to point at."""

    line: int | None
    field: str
    reason: str

    def __str__(self) -> str:
        """Return it as a line of text."""
        place = "" if self.line is None else f"line {self.line}: "
        return f"{place}{self.field} {self.reason}".strip()


@attrs.define(eq=False)
class ScenarioFields:
    """The fields of one mapping, taken one by one. Problems are noted, and something of the right type is returned anyway."""

    node: Node
    where: str
    problems: list[FileProblem]
    fields: dict[str, Node]
    keys: dict[str, Node]

    @classmethod
    def of(cls, node: Node, where: str, problems: list[FileProblem]) -> "ScenarioFields":
        """Return the fields of ``node``, none if it is not a mapping."""
        fields: dict[str, Node] = {}
        keys: dict[str, Node] = {}
        if not isinstance(node, Mapping):
            problems.append(FileProblem(node.line, where or "the file", "must be a mapping"))
            return cls(node, where, problems, fields, keys)
        for key, value in node.pairs:
            if isinstance(key, Scalar) and key.text not in fields:
                fields[key.text], keys[key.text] = value, key
            else:
                problems.append(FileProblem(key.line, where or "the file", "has a field whose name is not text"))
        return cls(node, where, problems, fields, keys)

    def path(self, name: str) -> str:
        """Return where the field ``name`` is."""
        return f"{self.where}.{name}" if self.where else name

    def problem(self, name: str, reason: str) -> None:
        """Note what is wrong with the field ``name``, at its key or at the mapping that lacks it."""
        self.problems.append(FileProblem(self.keys.get(name, self.node).line, self.path(name), reason))

    def take(self, name: str, *, required: bool) -> Node | None:
        """Take the field ``name`` away, ``None`` if it is not there."""
        node = self.fields.pop(name, None)
        if node is None and required and isinstance(self.node, Mapping):
            self.problem(name, "is required")
        return node

    def text(self, name: str, default: str | None = None) -> str:
        """Return the text of a field, which is required unless it has a ``default``."""
        node = self.take(name, required=default is None)
        if node is None:
            return default or ""
        if isinstance(node, Scalar) and node.kind is Kind.TEXT and len(node.text) <= _MAX_TEXT:
            return node.text
        self.problem(name, f"must be text of at most {_MAX_TEXT} characters (in quotation marks if it looks like something else)")
        return ""

    def matching(self, name: str, allowed: Callable[[str], object], reason: str, default: str | None = None) -> str:
        """Return the text of a field, which must be ``allowed``."""
        before = len(self.problems)
        text = self.text(name, default)
        if len(self.problems) == before and not allowed(text) and isinstance(self.node, Mapping):
            self.problem(name, reason)
        return text

    def number(self, name: str, allowed: range) -> int:
        """Return a whole number, which is required."""
        node = self.take(name, required=True)
        if node is None:
            return allowed[0]
        if isinstance(node, Scalar) and node.kind is Kind.OTHER and _is_number(node.text) and int(node.text) in allowed:
            return int(node.text)
        self.problem(name, f"must be a number from {allowed[0]} to {allowed[-1]}")
        return allowed[0]

    def items(self, name: str) -> tuple[Node, ...]:
        """Return the items of a list, none if it is missing."""
        node = self.take(name, required=False)
        if node is None or isinstance(node, Sequence):
            return () if node is None else node.items
        self.problem(name, "must be a list")
        return ()

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts, empty if it is missing."""
        items = self.items(name)
        texts = tuple(item.text for item in items if isinstance(item, Scalar) and item.kind is Kind.TEXT and len(item.text) <= _MAX_TEXT)
        if len(texts) != len(items):
            self.problem(name, f"must be a list of texts of at most {_MAX_TEXT} characters")
        return texts

    def inner(self, name: str) -> "ScenarioFields":
        """Return the fields of the mapping in a required field."""
        node = self.take(name, required=True)
        if node is None:
            return ScenarioFields(Scalar(Kind.NULL, "", self.node.line), self.path(name), self.problems, {}, {})
        return ScenarioFields.of(node, self.path(name), self.problems)

    def nothing_else(self) -> None:
        """Report the fields that nobody has taken."""
        for name in self.fields:
            self.problems.append(FileProblem(self.keys[name].line, self.where or "the file", f"has an unknown field {quoted(name)}"))
