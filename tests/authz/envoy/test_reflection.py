from collections.abc import AsyncIterator, Iterable, Iterator

import pytest
import trio
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from exchanger._proto.grpc.reflection.v1 import reflection_pb2 as v1
from exchanger._proto.grpc.reflection.v1alpha import reflection_pb2 as v1alpha
from exchanger.authz.envoy.reflection import IDLE_S, REFLECTION_SERVICES, DescriptorIndex, Reflection
from exchanger.util.descriptor_pool import POOL
from tests.net.grpc.peer import framed
from tests.net.grpc.serving import serving

HEALTH = "grpc.health.v1.Health"
AUTHORIZATION = "envoy.service.auth.v3.Authorization"
PROCESSOR = "envoy.service.ext_proc.v3.ExternalProcessor"
Request, Response = v1.ServerReflectionRequest, v1.ServerReflectionResponse


async def ask(
    *requests: v1.ServerReflectionRequest, services: tuple[str, ...] = (HEALTH, AUTHORIZATION)
) -> list[v1.ServerReflectionResponse]:
    """Ask on one stream."""

    async def stream() -> AsyncIterator[v1.ServerReflectionRequest]:
        for request in requests:
            yield request

    return [response async for response in Reflection(services).ServerReflectionInfo(stream())]


async def test_services_are_listed_by_name_with_reflection_itself() -> None:
    (response,) = await ask(Request(list_services="*"))
    assert [service.name for service in response.list_services_response.service] == [
        AUTHORIZATION,
        HEALTH,
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ]
    (empty,) = await ask(Request(list_services=""))  # what it says has no meaning
    assert empty.list_services_response == response.list_services_response


async def test_a_silent_stream_ends_by_itself(autojump_clock: trio.testing.MockClock) -> None:
    async def stream() -> AsyncIterator[v1.ServerReflectionRequest]:
        for wait in (IDLE_S - 0.1, IDLE_S - 0.1, IDLE_S + 0.1):
            await trio.sleep(wait)
            yield Request(list_services="")

    started = trio.current_time()
    responses = [response async for response in Reflection((HEALTH,)).ServerReflectionInfo(stream())]
    assert len(responses) == 2
    assert trio.current_time() - started == pytest.approx(3 * IDLE_S - 0.2)


@pytest.mark.parametrize("version", [v1, v1alpha])
async def test_both_versions_are_served(version: object) -> None:
    service = version.DESCRIPTOR.services_by_name["ServerReflection"].full_name  # type: ignore[attr-defined]  # a generated module
    request = version.ServerReflectionRequest(host="h", file_containing_symbol=HEALTH)  # type: ignore[attr-defined]
    async with serving(Reflection((HEALTH,)).routes()) as served:
        client = await served.connect()
        _, answer = await client.start(f"/{service}/ServerReflectionInfo".encode(), framed(request.SerializeToString()) * 2)
        assert answer.status == 0
        for message in answer.messages:
            response = version.ServerReflectionResponse.FromString(message)  # type: ignore[attr-defined]
            assert response.original_request == request
            assert len(response.file_descriptor_response.file_descriptor_proto) == 1
        assert len(answer.messages) == 2
    assert served.faults == []


async def test_an_open_stream_does_not_hold_a_drain_up(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(Reflection((HEALTH,)).routes()) as served:
        client = await served.connect()
        path = b"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        _, answer = await client.start(path, framed(Request(list_services="").SerializeToString()), end=False)
        assert len(answer.messages) == 1
        assert answer.status is None
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.server.drain, 100 * IDLE_S)
            await client.settle()  # it learns that it must open no more streams
        assert trio.current_time() - started < IDLE_S + 2  # and the time that closing takes
        assert served.stopped.is_set()
        await client.settle()
        assert answer.status == 0


# The index of names.

INDEX = DescriptorIndex.of((AUTHORIZATION, PROCESSOR, HEALTH, *REFLECTION_SERVICES), POOL)


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
    for service in INDEX.services:
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


NO_NAMES = (
    *("", ".", "a\0b", "grpc.health.v1", "google.protobuf.Any"),
    *(f"{HEALTH}.Nothing", f"{HEALTH}/Check", f".{HEALTH}", "grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING"),
)


@pytest.mark.parametrize("name", NO_NAMES)
def test_unknown_names(name: str) -> None:
    assert INDEX.containing(name) is None
    assert INDEX.file(name) is None
    assert not INDEX.has_message(name)


def test_only_messages_count_as_messages() -> None:
    assert INDEX.has_message("grpc.health.v1.HealthCheckRequest")
    assert INDEX.has_message("google.protobuf.Struct.FieldsEntry")
    assert not INDEX.has_message("grpc.health.v1.Health")
    assert not INDEX.has_message("grpc.health.v1.HealthCheckRequest.service")


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
