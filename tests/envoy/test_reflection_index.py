from collections.abc import Iterable, Iterator

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from exchanger._proto._pool import POOL
from exchanger.envoy.reflection import REFLECTION_SERVICES, DescriptorIndex

SERVICES = (
    "envoy.service.auth.v3.Authorization",
    "envoy.service.ext_proc.v3.ExternalProcessor",
    "grpc.health.v1.Health",
    *REFLECTION_SERVICES,
)
INDEX = DescriptorIndex.of(SERVICES, POOL)


def symbols(file: FileDescriptorProto) -> Iterator[str]:
    """Name what a file declares, from its serialised form."""

    def of_enum(scope: str, enum: EnumDescriptorProto) -> Iterator[str]:
        yield f"{scope}.{enum.name}"
        yield from (f"{scope}.{value.name}" for value in enum.value)

    def of_message(scope: str, message: DescriptorProto) -> Iterator[str]:
        name = f"{scope}.{message.name}"
        yield name
        yield from (f"{name}.{field.name}" for field in message.field)
        yield from (f"{name}.{oneof.name}" for oneof in message.oneof_decl)
        for enum in message.enum_type:
            yield from of_enum(name, enum)
        for nested in message.nested_type:
            yield from of_message(name, nested)

    for service in file.service:
        yield f"{file.package}.{service.name}"
        yield from (f"{file.package}.{service.name}.{method.name}" for method in service.method)
    for enum in file.enum_type:
        yield from of_enum(file.package, enum)
    for message in file.message_type:
        yield from of_message(file.package, message)


def everything() -> dict[str, FileDescriptorProto]:
    """All files of the index by name, parsed."""
    found = {}
    for service in SERVICES:
        for file in INDEX.containing(service) or ():
            found[file.name] = FileDescriptorProto.FromString(file.data)
    return found


def test_every_symbol_of_every_file_is_found_in_it() -> None:
    files = everything()
    assert len(files) >= 9
    for name, file in files.items():
        assert file.name == name
        declared = list(symbols(file))
        assert declared
        for symbol in declared:
            found = INDEX.containing(symbol)
            assert found is not None, symbol
            assert found[0].name == name
        assert INDEX.file(name) == INDEX.containing(declared[0])


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "grpc.health.v1",
        ".grpc.health.v1.Health",
        "grpc.health.v1.Health/Check",
        "grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING",
        "grpc.health.v1.Health.Nothing",
        "a\0b",
        "google.protobuf.Any",
    ],
)
def test_unknown_names(name: str) -> None:
    assert INDEX.containing(name) is None
    assert INDEX.file(name) is None
    assert not INDEX.has_message(name)


def test_a_message_is_no_other_kind_of_symbol() -> None:
    assert INDEX.has_message("grpc.health.v1.HealthCheckRequest")
    assert INDEX.has_message("google.protobuf.Struct.FieldsEntry")
    assert not INDEX.has_message("grpc.health.v1.Health")
    assert not INDEX.has_message("grpc.health.v1.HealthCheckRequest.service")


def test_a_file_comes_before_what_it_imports_and_each_comes_once() -> None:
    for name, file in everything().items():
        parts = [part.name for part in INDEX.file(name) or ()]
        assert parts[0] == name
        assert len(parts) == len(set(parts))
        assert set(file.dependency) <= set(parts)
    assert len(INDEX.file("envoy/service/auth/v3/external_auth.proto") or ()) == 6


def test_files_that_no_service_needs_are_not_shown() -> None:
    health = DescriptorIndex.of(["grpc.health.v1.Health", "grpc.health.v1.Health"], POOL)
    assert health.services == ("grpc.health.v1.Health",)
    assert health.file("grpc/health/v1/health.proto") is not None
    assert health.file("google/protobuf/struct.proto") is None
    assert health.containing("envoy.service.auth.v3.Authorization") is None


def test_an_enum_without_a_package_has_values_without_one() -> None:
    pool = DescriptorPool()
    file = FileDescriptorProto(name="bare.proto", syntax="proto3")
    file.enum_type.add(name="Colour").value.add(name="RED", number=0)
    file.message_type.add(name="Nothing")
    file.service.add(name="Bare").method.add(name="Do", input_type=".Nothing", output_type=".Nothing")
    pool.Add(file)
    index = DescriptorIndex.of(["Bare"], pool)
    for symbol in ("Bare", "Bare.Do", "Nothing", "Colour", "RED"):
        assert index.containing(symbol) == index.file("bare.proto") != None, symbol  # noqa: E711 - it must be there


def test_fields_have_json_names_and_all_else_is_as_it_was_compiled() -> None:
    def without(messages: Iterable[DescriptorProto]) -> int:
        count = 0
        for message in messages:
            for field in message.field:
                words = field.name.split("_")
                assert field.json_name == words[0] + "".join(word.capitalize() for word in words[1:])
                field.ClearField("json_name")
                count += 1
            count += without(message.nested_type)
        return count

    files = everything()
    assert sum(without(file.message_type) for file in files.values()) > 100
    for name, file in files.items():
        assert file == FileDescriptorProto.FromString(POOL.FindFileByName(name).serialized_pb)


def test_nothing_can_be_extended() -> None:
    """Reflection answers questions about extensions by this."""
    for file in everything().values():
        assert file.syntax == "proto3"
        assert not file.extension
        assert not any(message.extension_range or message.extension for message in file.message_type)
