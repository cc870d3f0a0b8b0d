"""Server reflection: lists the services for clients without ``.proto`` files, and sends their descriptors, which are public.

Sources: https://github.com/grpc/grpc/blob/master/doc/server-reflection.md and
https://github.com/grpc/grpc-proto/blob/master/grpc/reflection/v1/reflection.proto.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Final, final

import attrs
import trio
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from rpds import HashTrieMap

# Each of these puts its file and that file's imports into the pool, so every service can be described.
from exchanger._proto.envoy.service.auth.v3 import external_auth_pb2 as _authorization  # noqa: F401 - see above
from exchanger._proto.envoy.service.ext_proc.v3 import external_processor_pb2 as _external_processor  # noqa: F401 - see above
from exchanger._proto.grpc.health.v1 import health_pb2 as _health  # noqa: F401 - see above
from exchanger._proto.grpc.reflection.v1 import reflection_pb2 as v1
from exchanger._proto.grpc.reflection.v1.reflection_grpc import ServerReflectionServicer
from exchanger._proto.grpc.reflection.v1alpha import reflection_pb2 as v1alpha
from exchanger.net.grpc.routes import Route, routes_of
from exchanger.net.grpc.status import StatusCode
from exchanger.util.descriptor_pool import POOL

_SERVICE: Final[str] = v1.DESCRIPTOR.services_by_name["ServerReflection"].full_name
_ALPHA_SERVICE: Final[str] = v1alpha.DESCRIPTOR.services_by_name["ServerReflection"].full_name

REFLECTION_SERVICES: Final = (_SERVICE, _ALPHA_SERVICE)

# Seconds without a question after which a stream ends. Tools keep theirs open for as long as their user looks at the screen, and a drain
# waits for running calls. A tool with another question opens another stream.
IDLE_S: Final = 5.0


@final
@attrs.frozen
class DescriptorFile:
    """A ``.proto`` file; ``data`` is its serialised ``google.protobuf.FileDescriptorProto``, with the JSON name of every field."""

    name: str
    data: bytes = attrs.field(repr=False)


@final
@attrs.frozen
class DescriptorIndex:
    """Finds descriptors by name, in the files of ``services`` and all their imports; ``services`` are full names, sorted.

    Names are as in https://protobuf.com/docs/language-spec#fully-qualified-references, without a leading dot. The pool's own search is not
    used because it does not know methods.
    """

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
        """Return the file ``name`` and then all that it imports, directly or not; ``None`` when there is no such file."""
        return self._files.get(name)

    def containing(self, symbol: str) -> tuple[DescriptorFile, ...] | None:
        """Return the same for the file that declares ``symbol``: a service, method, message, field, oneof, enum or enum value."""
        name = self._symbols.get(symbol)
        return None if name is None else self._files[name]

    def has_message(self, name: str) -> bool:
        """Return whether ``name`` is a message."""
        return name in self._messages


def _with_imports(root: FileDescriptor) -> list[FileDescriptor]:
    """Return ``root`` and its imports, each once, the nearest first."""
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

    Compiled code has no JSON names, and without them some tools (grpcurl) print answers with the fields' own names, contrary to
    https://protobuf.dev/programming-guides/json/.
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


@final
@attrs.define(eq=False)
class Reflection(ServerReflectionServicer):
    """Describes ``services`` and itself; afterwards these are all their full names, sorted."""

    services: tuple[str, ...]
    _index: DescriptorIndex = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._index = DescriptorIndex.of((*self.services, *REFLECTION_SERVICES), POOL)
        self.services = self._index.services

    def routes(self) -> dict[bytes, Route]:
        """Return the routes of v1 and v1alpha.

        Their messages are the same byte by byte and differ only in their package's name, which is not sent: one method serves both.
        """
        routes = routes_of(self.service)
        return {**routes, **{path.replace(_SERVICE.encode(), _ALPHA_SERVICE.encode()): route for path, route in routes.items()}}

    async def ServerReflectionInfo(  # noqa: N802 - the name of the RPC
        self, input_messages: AsyncIterator[v1.ServerReflectionRequest]
    ) -> AsyncIterator[v1.ServerReflectionResponse]:
        """Answer every question in turn, until the peer has asked its last one or is silent for ``IDLE_S``."""
        sent: set[str] = set()
        while True:
            request = None
            with trio.move_on_after(IDLE_S):
                request = await anext(input_messages, None)
            if request is None:
                return
            yield self.answer(request, sent)

    def answer(self, request: v1.ServerReflectionRequest, sent: set[str]) -> v1.ServerReflectionResponse:
        """Answer one request. If there is no answer, the response says so, and the stream continues.

        ``sent`` collects the names of the files sent on this stream: imports are sent once, but the requested file each time.
        """
        response = v1.ServerReflectionResponse(valid_host=request.host, original_request=request)
        kind = request.WhichOneof("message_request")
        if kind == "list_services":
            response.list_services_response.service.extend(v1.ServiceResponse(name=name) for name in self.services)
        elif kind == "file_by_filename":
            self._answer_with_files(response, self._index.file(request.file_by_filename), sent)
        elif kind == "file_containing_symbol":
            self._answer_with_files(response, self._index.containing(request.file_containing_symbol), sent)
        elif kind == "file_containing_extension":
            self._answer_with_files(response, None, sent)  # messages of proto3 have no extensions
        elif kind == "all_extension_numbers_of_type":
            if self._index.has_message(request.all_extension_numbers_of_type):
                response.all_extension_numbers_response.base_type_name = request.all_extension_numbers_of_type
            else:
                _refuse(response, StatusCode.NOT_FOUND, "unknown message")
        else:
            _refuse(response, StatusCode.INVALID_ARGUMENT, "unknown request")
        return response

    @staticmethod
    def _answer_with_files(response: v1.ServerReflectionResponse, files: tuple[DescriptorFile, ...] | None, sent: set[str]) -> None:
        if files is None:
            _refuse(response, StatusCode.NOT_FOUND, "unknown name")
            return
        asked_for, *imports = files
        parts = (asked_for, *(file for file in imports if file.name not in sent))
        response.file_descriptor_response.file_descriptor_proto.extend(file.data for file in parts)
        sent.update(file.name for file in parts)


def _refuse(response: v1.ServerReflectionResponse, status: StatusCode, message: str) -> None:
    response.error_response.error_code = status
    response.error_response.error_message = message
