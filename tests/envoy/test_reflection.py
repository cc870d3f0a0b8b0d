from collections.abc import AsyncIterator

import pytest
import trio
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from exchanger._proto.grpc.reflection.v1 import reflection_pb2 as v1
from exchanger._proto.grpc.reflection.v1alpha import reflection_pb2 as v1alpha
from exchanger.envoy.reflection import IDLE_S, Reflection
from exchanger.grpc.status import StatusCode
from tests.grpc.peer import framed, head
from tests.grpc.serving import serving

HEALTH = "grpc.health.v1.Health"
AUTHORIZATION = "envoy.service.auth.v3.Authorization"
PROCESSOR = "envoy.service.ext_proc.v3.ExternalProcessor"
AUTH_FILE = "envoy/service/auth/v3/external_auth.proto"
Request, Response = v1.ServerReflectionRequest, v1.ServerReflectionResponse


async def ask(
    *requests: v1.ServerReflectionRequest, services: tuple[str, ...] = (HEALTH, AUTHORIZATION)
) -> list[v1.ServerReflectionResponse]:
    """Ask on one stream."""

    async def stream() -> AsyncIterator[v1.ServerReflectionRequest]:
        for request in requests:
            yield request

    return [response async for response in Reflection(services).ServerReflectionInfo(stream())]


def names(response: v1.ServerReflectionResponse) -> list[str]:
    return [FileDescriptorProto.FromString(data).name for data in response.file_descriptor_response.file_descriptor_proto]


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


@pytest.mark.parametrize(
    "request_",
    [
        Request(file_by_filename=AUTH_FILE),
        Request(file_containing_symbol=AUTHORIZATION),
        Request(file_containing_symbol=f"{AUTHORIZATION}.Check"),
        Request(file_containing_symbol="envoy.service.auth.v3.CheckRequest"),
    ],
)
async def test_a_file_comes_with_what_it_imports(request_: v1.ServerReflectionRequest) -> None:
    (response,) = await ask(request_)
    assert names(response) == [
        AUTH_FILE,
        "envoy/config/core/v3/base.proto",
        "envoy/service/auth/v3/attribute_context.proto",
        "envoy/type/v3/http_status.proto",
        "google/rpc/status.proto",
        "google/protobuf/wrappers.proto",
    ]


async def test_imports_are_sent_once_in_a_stream_and_the_file_itself_each_time() -> None:
    requests = [Request(file_containing_symbol=symbol) for symbol in (AUTHORIZATION, PROCESSOR, AUTHORIZATION, "google.protobuf.Struct")]
    first, second, third, fourth = map(names, await ask(*requests, services=(AUTHORIZATION, PROCESSOR)))
    assert set(first) & set(second) == set()
    assert {"envoy/service/ext_proc/v3/external_processor.proto", "google/protobuf/struct.proto"} <= set(second)
    assert third == [AUTH_FILE]
    assert fourth == ["google/protobuf/struct.proto"]
    assert names((await ask(requests[0]))[0]) == first  # another stream knows nothing of it


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (Request(file_by_filename="nothing.proto"), StatusCode.NOT_FOUND),
        (Request(file_by_filename=""), StatusCode.NOT_FOUND),
        (Request(file_containing_symbol="no.such.Symbol"), StatusCode.NOT_FOUND),
        (Request(file_containing_symbol="google.protobuf.Struct"), StatusCode.NOT_FOUND),  # of a service that is not served
        (
            Request(file_containing_extension=v1.ExtensionRequest(containing_type="grpc.health.v1.HealthCheckRequest", extension_number=1)),
            StatusCode.NOT_FOUND,
        ),
        (Request(file_containing_extension=v1.ExtensionRequest()), StatusCode.NOT_FOUND),
        (Request(all_extension_numbers_of_type="no.such.Message"), StatusCode.NOT_FOUND),
        (Request(all_extension_numbers_of_type=HEALTH), StatusCode.NOT_FOUND),
        (Request(), StatusCode.INVALID_ARGUMENT),
        (Request(host="only a host"), StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_an_error_is_an_answer_and_the_stream_goes_on(request_: v1.ServerReflectionRequest, code: StatusCode) -> None:
    error, after = await ask(request_, Request(list_services=""))
    assert error.WhichOneof("message_response") == "error_response"
    assert error.error_response.error_code == code
    assert error.error_response.error_message
    assert error.original_request == request_
    assert after.list_services_response.service


async def test_a_known_message_has_no_extensions() -> None:
    (response,) = await ask(Request(all_extension_numbers_of_type="grpc.health.v1.HealthCheckRequest"))
    assert response.WhichOneof("message_response") == "all_extension_numbers_response"
    assert response.all_extension_numbers_response.base_type_name == "grpc.health.v1.HealthCheckRequest"
    assert not response.all_extension_numbers_response.extension_number


async def test_a_silent_stream_ends_by_itself(autojump_clock: trio.testing.MockClock) -> None:
    async def stream() -> AsyncIterator[v1.ServerReflectionRequest]:
        for wait in (IDLE_S - 0.1, IDLE_S - 0.1, IDLE_S + 0.1):
            await trio.sleep(wait)
            yield Request(list_services="")

    started = trio.current_time()
    responses = [response async for response in Reflection((HEALTH,)).ServerReflectionInfo(stream())]
    assert len(responses) == 2
    assert trio.current_time() - started == pytest.approx(3 * IDLE_S - 0.2)


def fields(message: object) -> object:
    """Describe a message's fields without the package's name."""
    descriptor = message.DESCRIPTOR  # type: ignore[attr-defined]  # a message class
    return [
        (
            field.name,
            field.number,
            field.type,
            field.is_repeated,
            field.containing_oneof and field.containing_oneof.name,
            field.message_type and field.message_type.name,
        )
        for field in descriptor.fields
    ]


def test_both_versions_have_the_same_messages() -> None:
    """One method answers both, because their messages are the same on the wire."""
    files = v1.DESCRIPTOR, v1alpha.DESCRIPTOR
    current, alpha = ([*file.message_types_by_name] for file in files)
    assert current == alpha
    assert len(current) == 8
    for name in current:
        assert fields(getattr(v1, name)) == fields(getattr(v1alpha, name)), name
    services = [file.services_by_name["ServerReflection"] for file in files]
    signatures = [
        [(m.name, m.input_type.name, m.output_type.name, m.client_streaming, m.server_streaming) for m in s.methods] for s in services
    ]
    assert signatures[0] == signatures[1]


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


async def test_streams_that_are_reset_while_they_wait_leave_nothing_behind() -> None:
    async with serving(Reflection((HEALTH,)).routes()) as served:
        client = await served.connect()
        path = b"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        streams = [client.peer.request(head(path), b"", end=False) for _ in range(50)]
        await client.settle()
        assert served.server.usage().tasks == 50
        for stream in streams:
            client.peer.http.reset_stream(stream, 8)
        await client.settle()
        assert served.at_rest()
