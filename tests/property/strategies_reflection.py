"""Strategies for the reflection laws: questions that clients ask, and any others."""

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from hypothesis import strategies as st

from exchanger._proto.grpc.reflection.v1.reflection_pb2 import ExtensionRequest, ServerReflectionRequest
from exchanger.envoy.reflection import Reflection
from exchanger.util.descriptor_pool import POOL

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
