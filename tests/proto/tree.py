"""Messages and descriptors as plain data, for both sides of a comparison: this process, and the one with the official classes.

A message becomes a tree: ``{"number:name": value}`` of the fields that are set; bytes are base64, enums numbers, maps keyed by text.
"""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

Tree = dict[str, Any]

# Deep enough for each field of each of our messages inside its parents; Struct and the official classes contain themselves.
MAX_DEPTH = 5


def map_entry(field: FieldDescriptor) -> tuple[FieldDescriptor, FieldDescriptor] | None:
    """Return the fields of key and value where ``field`` is a map."""
    entry = field.message_type
    if entry is None or not entry.GetOptions().map_entry:
        return None
    return entry.fields_by_name["key"], entry.fields_by_name["value"]


def messages(descriptor: Descriptor) -> Iterator[Descriptor]:
    """Yield ``descriptor`` and all that is declared inside it, but for the entries of maps."""
    yield descriptor
    for inner in descriptor.nested_types:
        if not inner.GetOptions().map_entry:
            yield from messages(inner)


def to_tree(message: Message) -> Tree:
    return {f"{field.number}:{field.name}": _plain(field, value) for field, value in message.ListFields()}


def _plain(field: FieldDescriptor, value: Any) -> Any:
    if entry := map_entry(field):
        return {str(key): _plain_one(entry[1], value[key]) for key in value}
    if field.is_repeated:
        return [_plain_one(field, one) for one in value]
    return _plain_one(field, value)


def _plain_one(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type:
        return to_tree(value)
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def fill(message: Message, tree: Tree) -> None:
    """Set the fields of ``message`` by the names in ``tree``; the numbers are not looked at."""
    for key, value in tree.items():
        descriptor: Any = message.DESCRIPTOR  # of the C extension, which the stubs give a type of its own
        field: FieldDescriptor = descriptor.fields_by_name[key.partition(":")[2]]
        if entry := map_entry(field):
            _fill_map(getattr(message, field.name), entry[1], value)
        elif field.is_repeated:
            for one in value:
                if field.message_type:
                    fill(getattr(message, field.name).add(), one)
                else:
                    getattr(message, field.name).append(_scalar(field, one))
        elif field.message_type:
            getattr(message, field.name).SetInParent()
            fill(getattr(message, field.name), value)
        else:
            setattr(message, field.name, _scalar(field, value))


def _fill_map(entries: Any, field: FieldDescriptor, value: Mapping[str, Any]) -> None:
    for key, one in value.items():
        if field.message_type:
            fill(entries[key], one)
        else:
            entries[key] = _scalar(field, one)


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    return base64.b64decode(value) if field.type == FieldDescriptor.TYPE_BYTES else value


def samples(descriptor: Descriptor) -> Iterator[Message]:
    """Yield messages that set each field alone, to each of its values where they are an enum's, and one that sets all fields."""
    for field in descriptor.fields:
        values = [value.number for value in field.enum_type.values if value.number or field.has_presence] if field.enum_type else [None]
        for value in values:
            message = GetMessageClass(descriptor)()
            _set(message, field, 0, value)
            yield message
    yield filled(descriptor)


def filled(descriptor: Descriptor, depth: int = 0) -> Message:
    """Return a message with every field set to something other than its default; of a oneof the last member stays."""
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        _set(message, field, depth)
    return message


def _set(message: Message, field: FieldDescriptor, depth: int, enum_value: int | None = None) -> None:
    if field.message_type and depth >= MAX_DEPTH:
        return
    if entry := map_entry(field):
        key, value = entry
        entries = getattr(message, field.name)
        if value.message_type:
            entries[_something(key)].CopyFrom(filled(value.message_type, depth + 1))
        else:
            entries[_something(key)] = _something(value)
    elif field.message_type:
        inner = filled(field.message_type, depth + 1)
        if field.is_repeated:
            getattr(message, field.name).extend([inner, GetMessageClass(field.message_type)()])
        else:
            getattr(message, field.name).SetInParent()
            getattr(message, field.name).CopyFrom(inner)
    elif field.is_repeated:
        getattr(message, field.name).extend([_something(field), _something(field)])
    else:
        setattr(message, field.name, _something(field) if enum_value is None else enum_value)


def _something(field: FieldDescriptor) -> Any:
    """Return a value that differs from field to field and is never the default of a field without presence."""
    if field.enum_type:
        return field.enum_type.values[-1].number
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return field.full_name.encode() + b"\xff\x00" if field.type == FieldDescriptor.TYPE_BYTES else f"{field.full_name} é"
        case FieldDescriptor.CPPTYPE_BOOL:
            return True
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return field.number + 0.5
        case _:
            return 1000 + field.number


def describe(descriptor: Descriptor) -> dict[str, Any]:
    """Return all that decides how the message's fields look on the wire and in its JSON form, and its enums."""
    enums = {field.enum_type.full_name: field.enum_type for field in descriptor.fields if field.enum_type}
    return {
        "fields": {field.name: _describe_field(field) for field in descriptor.fields},
        "enums": {name: _numbers(enum) for name, enum in enums.items()},
    }


def _numbers(enum: EnumDescriptor) -> dict[str, int]:
    return {value.name: value.number for value in enum.values}


def _describe_field(field: FieldDescriptor) -> dict[str, Any]:
    described = {
        "number": field.number,
        "json": field.json_name,
        "type": field.type,
        "repeated": field.is_repeated,
        "packed": field.is_packed,
        "presence": field.has_presence,
        "oneof": field.containing_oneof.name if field.containing_oneof else None,
        "message": field.message_type.full_name if field.message_type else None,
        "enum": field.enum_type.full_name if field.enum_type else None,
    }
    if entry := map_entry(field):
        described["map"] = {inner.name: _describe_field(inner) for inner in entry}
    return described


def describe_service(service: ServiceDescriptor) -> dict[str, Any]:
    return {
        method.name: [method.client_streaming, method.input_type.full_name, method.server_streaming, method.output_type.full_name]
        for method in service.methods
    }
