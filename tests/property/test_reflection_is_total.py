"""Law: every question gets one answer that repeats it, and it is files only where the name is known; all else is an error in the answer.

https://github.com/grpc/grpc-proto/blob/master/grpc/reflection/v1/reflection.proto: the response carries ``valid_host``,
``original_request`` and one ``message_response``.
"""

from hypothesis import given
from hypothesis import strategies as st

from exchanger._proto.grpc.reflection.v1.reflection_pb2 import ServerReflectionRequest
from exchanger.grpc.status import StatusCode
from tests.property.strategies_reflection import FILES, MESSAGES, REFLECTION, any_requests

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
