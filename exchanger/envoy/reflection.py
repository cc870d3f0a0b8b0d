"""Server reflection: a client without ``.proto`` files asks which services are here, and for their descriptors.

Sources: https://github.com/grpc/grpc/blob/master/doc/server-reflection.md and
https://github.com/grpc/grpc-proto/blob/master/grpc/reflection/v1/reflection.proto. It tells what the descriptors say, which is public, and
nothing of what the service does.
"""

from collections.abc import AsyncIterator
from typing import Final, final

import attrs
import trio

# Each of these puts its file and what that imports into the pool, so that every service can be described.
from exchanger._proto._pool import POOL
from exchanger._proto.envoy.service.auth.v3 import external_auth_pb2 as _authorization  # noqa: F401 - see above
from exchanger._proto.envoy.service.ext_proc.v3 import external_processor_pb2 as _external_processor  # noqa: F401 - see above
from exchanger._proto.grpc.health.v1 import health_pb2 as _health  # noqa: F401 - see above
from exchanger._proto.grpc.reflection.v1 import reflection_pb2 as v1
from exchanger._proto.grpc.reflection.v1.reflection_grpc import ServerReflectionServicer
from exchanger._proto.grpc.reflection.v1alpha import reflection_pb2 as v1alpha
from exchanger.envoy.descriptor_index import DescriptorFile, DescriptorIndex
from exchanger.grpc.routes import Route, routes_of
from exchanger.grpc.status import StatusCode

_SERVICE: Final[str] = v1.DESCRIPTOR.services_by_name["ServerReflection"].full_name
_ALPHA_SERVICE: Final[str] = v1alpha.DESCRIPTOR.services_by_name["ServerReflection"].full_name

REFLECTION_SERVICES: Final = (_SERVICE, _ALPHA_SERVICE)
"""The names of both versions."""

IDLE_S: Final = 5.0
"""Seconds without a question after which a stream ends: tools keep theirs open as long as their user looks at the screen, a drain waits for
running calls, and a tool that has another question opens another stream."""


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
        """Answer every question in turn, until the peer has asked its last one or has nothing to ask for ``IDLE_S``."""
        sent: set[str] = set()
        while True:
            request = None
            with trio.move_on_after(IDLE_S):
                request = await anext(input_messages, None)
            if request is None:
                return
            yield self.answer(request, sent)

    def answer(self, request: v1.ServerReflectionRequest, sent: set[str]) -> v1.ServerReflectionResponse:
        """Answer one question; what cannot be answered is an error in the response, and the stream goes on.

        ``sent`` are the names of the files that went out on this stream, and grows: what a file imports is sent once, but the file that was
        asked for is sent each time.
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
            _refuse(response, StatusCode.INVALID_ARGUMENT, "no question that is known here")
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
