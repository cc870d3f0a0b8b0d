"""Law: after each answer of a stream, the files that came on it so far are a whole: every one of them can be built from the others.

FileDescriptorResponse of https://github.com/grpc/grpc-proto/blob/master/grpc/reflection/v1/reflection.proto: "The reflection service is
allowed to avoid sending FileDescriptorProtos that were previously sent in response to earlier requests in the stream." What was asked for
comes in every case, and first.
"""

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from hypothesis import given
from hypothesis import strategies as st

from exchanger._proto.grpc.reflection.v1.reflection_pb2 import ServerReflectionRequest
from exchanger.util.descriptor_pool import POOL
from tests.property.strategies_reflection import REFLECTION, known_files, known_symbols


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
