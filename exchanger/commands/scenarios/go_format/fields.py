"""Mappings as Go's YAML libraries read them into a struct, for our own strict reader: scalars become text, unknown fields do not count.

Source: https://pkg.go.dev/encoding/json#Unmarshal, https://pkg.go.dev/gopkg.in/yaml.v3#Unmarshal
"""

from exchanger.formats.yaml.fields import Field, FieldType, Table
from exchanger.formats.yaml.nodes import Mapping, Node, Scalar, ScalarKind, Sequence, is_null


def texts(*names: str) -> tuple[Field, ...]:
    """Return fields of these names that hold texts."""
    return tuple(Field(name, FieldType.TEXT) for name in names)


def as_go_reads(node: Node, table: Table, *, any_case: bool = False) -> Node:
    """Return ``node`` without ignored parts; with ``any_case``, names in any case are the same field, and the last one counts."""
    if not isinstance(node, Mapping):
        return Mapping((), node.line, node.column) if is_null(node) else node
    known = {name.lower() if any_case else name: field for name, field in table.fields.items()}
    found: dict[str, tuple[Node, Node]] = {}
    for key, value in node.pairs:
        field = known.get(key.text.lower() if any_case else key.text) if isinstance(key, Scalar) else None
        if field is not None and is_null(value):
            found.pop(field.name, None)
        elif field is not None:
            name = Scalar(ScalarKind.TEXT, field.name, key.line, key.column)
            found[field.name] = (name, _value(value, field, any_case=any_case))
    return Mapping(tuple(found.values()), node.line, node.column)


def _value(node: Node, field: Field, *, any_case: bool) -> Node:
    match node:
        case Scalar() if field.type is FieldType.TEXT:
            return _as_text(node)
        case Mapping() if field.type is FieldType.MAPPING:
            return as_go_reads(node, field.fields, any_case=any_case)
        case Sequence(items) if field.type is FieldType.MAPPINGS:
            read = tuple(as_go_reads(item, field.fields, any_case=any_case) for item in items)
            return Sequence(read, node.line, node.column)
        case Mapping(pairs) if field.type is FieldType.PAIRS:
            return Mapping(tuple((_as_text(key), _as_text(value)) for key, value in pairs), node.line, node.column)
        case _:
            return node


def _as_text(node: Node) -> Node:
    return Scalar(ScalarKind.TEXT, "" if is_null(node) else node.text, node.line, node.column) if isinstance(node, Scalar) else node
