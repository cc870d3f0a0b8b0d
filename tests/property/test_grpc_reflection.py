"""Laws of server reflection."""

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from hypothesis import given
from hypothesis import strategies as st

from exchanger._proto.grpc.reflection.v1.reflection_pb2 import ExtensionRequest, ServerReflectionRequest
from exchanger.authz.envoy.reflection import Reflection
from exchanger.net.grpc.status import StatusCode
from exchanger.util.descriptor_pool import POOL

# Strategies for the reflection laws: questions that clients ask, and any others.


REFLECTION = Reflection(("envoy.service.auth.v3.Authorization", "envoy.service.ext_proc.v3.ExternalProcessor", "grpc.health.v1.Health"))
FILES = sorted(
    {
        FileDescriptorProto.FromString(data).name
        for service in REFLECTION.services
        for data in REFLECTION.answer(
            ServerReflectionRequest(file_containing_symbol=service), set()
        ).file_descriptor_response.file_descriptor_proto
    }
)
MESSAGES = sorted(message.full_name for name in FILES for message in POOL.FindFileByName(name).message_types_by_name.values())

known_files = st.builds(lambda name: ServerReflectionRequest(file_by_filename=name), st.sampled_from(FILES))
known_symbols = st.builds(
    lambda name: ServerReflectionRequest(file_containing_symbol=name), st.sampled_from([*REFLECTION.services, *MESSAGES])
)
names = st.one_of(st.text(max_size=40), st.sampled_from([*FILES, *REFLECTION.services, *MESSAGES]))
any_requests = st.one_of(
    known_files,
    known_symbols,
    st.builds(lambda host, name: ServerReflectionRequest(host=host, file_by_filename=name), names, names),
    st.builds(lambda host, name: ServerReflectionRequest(host=host, file_containing_symbol=name), names, names),
    st.builds(lambda name: ServerReflectionRequest(all_extension_numbers_of_type=name), names),
    st.builds(lambda text: ServerReflectionRequest(list_services=text), names),
    st.builds(
        lambda name, number: ServerReflectionRequest(
            file_containing_extension=ExtensionRequest(containing_type=name, extension_number=number)
        ),
        names,
        st.integers(-(2**31), 2**31 - 1),
    ),
    st.builds(lambda host: ServerReflectionRequest(host=host), names),
)


# Law: after each answer of a stream, the files that came on it so far are a whole: every one of them can be built from the others.
#
# FileDescriptorResponse of https://github.com/grpc/grpc-proto/blob/master/grpc/reflection/v1/reflection.proto: "The reflection service is
# allowed to avoid sending FileDescriptorProtos that were previously sent in response to earlier requests in the stream." What was asked for
# comes in every case, and first.


def build(name: str, files: dict[str, FileDescriptorProto], pool: DescriptorPool) -> None:
    for imported in files[name].dependency:
        build(imported, files, pool)
    pool.Add(files[name])  # which may be there already


@given(st.lists(st.one_of(known_files, known_symbols), max_size=8))
def test_answers_are_complete(requests: list[ServerReflectionRequest]) -> None:
    sent: set[str] = set()
    received: dict[str, FileDescriptorProto] = {}
    for request in requests:
        response = REFLECTION.answer(request, sent)
        files = [FileDescriptorProto.FromString(data) for data in response.file_descriptor_response.file_descriptor_proto]
        asked_for = request.file_by_filename or POOL.FindFileContainingSymbol(request.file_containing_symbol).name
        assert files[0].name == asked_for
        assert received.keys().isdisjoint(file.name for file in files[1:])
        received.update((file.name, file) for file in files)
        pool = DescriptorPool()
        for name in received:
            build(name, received, pool)
            assert pool.FindFileByName(name).package == POOL.FindFileByName(name).package


# Law: every question gets one answer that repeats it, and it is files only where the name is known; all else is an error in the answer.
#
# https://github.com/grpc/grpc-proto/blob/master/grpc/reflection/v1/reflection.proto: the response carries ``valid_host``,
# ``original_request`` and one ``message_response``.


# Bytes of the largest answer, besides the question that it repeats.
LARGEST = 8192


@given(st.lists(any_requests, max_size=6))
def test_every_question_is_answered(requests: list[ServerReflectionRequest]) -> None:
    sent: set[str] = set()
    for request in requests:
        response = REFLECTION.answer(request, sent)
        assert response.original_request == request
        assert response.valid_host == request.host
        assert len(response.SerializeToString()) <= LARGEST + 3 * len(request.SerializeToString())
        assert sent <= set(FILES)
        match request.WhichOneof("message_request"):
            case "list_services":
                expected = "list_services_response"
            case "file_by_filename":
                expected = "file_descriptor_response" if request.file_by_filename in FILES else "error_response"
            case "file_containing_symbol":
                known = request.file_containing_symbol in {*MESSAGES, *REFLECTION.services}
                expected = "file_descriptor_response" if known else "error_response"
            case "all_extension_numbers_of_type":
                known = request.all_extension_numbers_of_type in MESSAGES
                expected = "all_extension_numbers_response" if known else "error_response"
            case _:
                expected = "error_response"
        assert response.WhichOneof("message_response") == expected
        if expected == "error_response":
            asked = request.WhichOneof("message_request")
            assert response.error_response.error_code == (StatusCode.NOT_FOUND if asked else StatusCode.INVALID_ARGUMENT)
