"""The fields of a mapping as Go's YAML libraries read them into a struct: null is absent, unknown fields do not count, scalars become text.

Source: https://pkg.go.dev/encoding/json#Unmarshal, https://pkg.go.dev/gopkg.in/yaml.v3#Unmarshal
"""

import re
from typing import Final, Self, final

import attrs

from exchanger.policy.documents.yaml_nodes import Kind, Mapping, Node, Scalar, Sequence, is_null
from exchanger.scenarios.fields import FileProblem

_is_number: Final = re.compile(r"[-+]?[0-9]{1,9}").fullmatch


@final
@attrs.define(eq=False)
class GoFields:
    """Problems are noted, and the zero value of the right type is returned anyway. Reasons do not repeat values."""

    node: Node
    where: str
    problems: list[FileProblem]
    any_case: bool
    fields: dict[str, Node]

    @classmethod
    def of(cls, node: Node, where: str, problems: list[FileProblem], *, any_case: bool = False) -> Self:
        """Return the fields of ``node``; with ``any_case``, names in any case are the same field, and the last one counts."""
        fields: dict[str, Node] = {}
        if isinstance(node, Mapping):
            fields = {key.text.lower() if any_case else key.text: value for key, value in node.pairs if isinstance(key, Scalar)}
        elif not is_null(node):
            problems.append(FileProblem(node.line, where or "the file", "must be a mapping"))
        return cls(node, where, problems, any_case, fields)

    def problem(self, name: str, reason: str) -> None:
        """Note what is wrong with the field ``name``."""
        line = self.fields.get(self._key(name), self.node).line
        self.problems.append(FileProblem(line, self.path(name), reason))

    def path(self, name: str) -> str:
        """Return where the field ``name`` is."""
        return f"{self.where}.{name}" if self.where else name

    def take(self, name: str) -> Node | None:
        """Return the field ``name``, ``None`` if it is absent or null."""
        node = self.fields.get(self._key(name))
        return None if node is None or is_null(node) else node

    def text(self, name: str) -> str:
        """Return the text of a scalar, "" if it is absent."""
        node = self.take(name)
        if node is None or isinstance(node, Scalar):
            return "" if node is None else node.text
        self.problem(name, "must be text")
        return ""

    def number(self, name: str) -> int:
        """Return a whole number, 0 if it is absent."""
        node = self.take(name)
        if node is None:
            return 0
        if isinstance(node, Scalar) and node.kind is Kind.OTHER and _is_number(node.text):
            return int(node.text)
        self.problem(name, "must be a whole number")
        return 0

    def items(self, name: str) -> tuple[Node, ...]:
        """Return the items of a list, none if it is absent."""
        node = self.take(name)
        if node is None or isinstance(node, Sequence):
            return () if node is None else node.items
        self.problem(name, "must be a list")
        return ()

    def inner(self, name: str) -> "GoFields":
        """Return the fields of the mapping in the field ``name``, none if it is absent."""
        node = self.take(name)
        absent = Scalar(Kind.NULL, "", self.node.line)
        return GoFields.of(absent if node is None else node, self.path(name), self.problems, any_case=self.any_case)

    def texts(self, name: str) -> tuple[tuple[str, str], ...]:
        """Return the pairs of a mapping of texts, in its order; names are as they are written."""
        node = self.take(name)
        if node is None:
            return ()
        pairs = node.pairs if isinstance(node, Mapping) else None
        if pairs is None or not all(isinstance(key, Scalar) and isinstance(value, Scalar) for key, value in pairs):
            self.problem(name, "must be a mapping of texts")
            return ()
        return tuple(
            (key.text, "" if is_null(value) else value.text)
            for key, value in pairs
            if isinstance(key, Scalar) and isinstance(value, Scalar)
        )

    def _key(self, name: str) -> str:
        return name.lower() if self.any_case else name
