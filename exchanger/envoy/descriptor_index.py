"""Finds descriptors by name: the files that some services need, and what each of them declares.

Names are those of https://protobuf.com/docs/language-spec#fully-qualified-references, without a leading dot. The pool's own search is not
used, because it knows no methods.

Must not know: gRPC, or how names are asked for.
"""

from collections.abc import Iterable, Iterator
from typing import final

import attrs
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from rpds import HashTrieMap


@final
@attrs.frozen
class DescriptorFile:
    """A ``.proto`` file; ``data`` is its serialised ``google.protobuf.FileDescriptorProto``, with the JSON name of every field."""

    name: str
    data: bytes = attrs.field(repr=False)


@final
@attrs.frozen
class DescriptorIndex:
    """What the files of ``services`` and all that they import declare; ``services`` are full names, sorted."""

    services: tuple[str, ...]
    _files: "HashTrieMap[str, tuple[DescriptorFile, ...]]" = attrs.field(repr=False)
    _symbols: "HashTrieMap[str, str]" = attrs.field(repr=False)
    _messages: frozenset[str] = attrs.field(repr=False)

    @classmethod
    def of(cls, services: Iterable[str], pool: DescriptorPool) -> "DescriptorIndex":
        """Return the index of ``services``.

        Raises:
            KeyError: a service is not in ``pool``.
        """
        names = tuple(sorted(set(services)))
        files = {file.name: file for name in names for file in _with_imports(pool.FindServiceByName(name).file)}
        parts = {name: DescriptorFile(name, _with_json_names(file)) for name, file in files.items()}
        return cls(
            names,
            HashTrieMap({name: tuple(parts[part.name] for part in _with_imports(file)) for name, file in files.items()}),
            HashTrieMap({symbol: file.name for file in files.values() for symbol in _symbols_of(file)}),
            frozenset(message.full_name for file in files.values() for message in _messages_of(file.message_types_by_name.values())),
        )

    def file(self, name: str) -> tuple[DescriptorFile, ...] | None:
        """Return the file ``name`` and after it all that it imports, directly or not; ``None`` when there is no such file."""
        return self._files.get(name)

    def containing(self, symbol: str) -> tuple[DescriptorFile, ...] | None:
        """Return the same for the file that declares ``symbol``: a service, method, message, field, oneof, enum or enum value."""
        name = self._symbols.get(symbol)
        return None if name is None else self._files[name]

    def has_message(self, name: str) -> bool:
        """Return whether ``name`` is a message."""
        return name in self._messages


def _with_imports(root: FileDescriptor) -> list[FileDescriptor]:
    """Return ``root`` and what it imports, each once, the nearest first."""
    found = {root.name: root}
    queue = [root]
    for file in queue:
        for imported in file.dependencies:
            if imported.name not in found:
                found[imported.name] = imported
                queue.append(imported)
    return queue


def _with_json_names(file: FileDescriptor) -> bytes:
    """Return the serialised ``file`` as protoc gives it to its plugins.

    What it compiles into code has no JSON names, and there are tools (grpcurl) that then print answers with the fields' own names, which is
    not how https://protobuf.dev/programming-guides/json/ writes them.
    """
    whole = FileDescriptorProto.FromString(file.serialized_pb)
    for message in whole.message_type:
        _add_json_names(message, file.message_types_by_name[message.name])
    return whole.SerializeToString()


def _add_json_names(message: DescriptorProto, descriptor: Descriptor) -> None:
    for field in message.field:
        field.json_name = descriptor.fields_by_name[field.name].json_name
    for nested in message.nested_type:
        _add_json_names(nested, descriptor.nested_types_by_name[nested.name])


def _messages_of(messages: Iterable[Descriptor]) -> Iterator[Descriptor]:
    for message in messages:
        yield message
        yield from _messages_of(message.nested_types)


def _symbols_of(file: FileDescriptor) -> Iterator[str]:
    for service in file.services_by_name.values():
        yield service.full_name
        yield from (f"{service.full_name}.{method.name}" for method in service.methods)
    yield from _symbols_of_enums(file.enum_types_by_name.values())
    for message in _messages_of(file.message_types_by_name.values()):
        yield message.full_name
        yield from (field.full_name for field in message.fields)
        yield from (f"{message.full_name}.{oneof.name}" for oneof in message.oneofs)
        yield from _symbols_of_enums(message.enum_types)


def _symbols_of_enums(enums: Iterable[EnumDescriptor]) -> Iterator[str]:
    for enum in enums:
        yield enum.full_name
        scope = enum.full_name.rpartition(".")[0]  # values are siblings of their enum, as in C++
        yield from (f"{scope}.{value.name}".lstrip(".") for value in enum.values)
