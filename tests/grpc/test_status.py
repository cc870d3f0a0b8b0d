import pytest

from exchanger.grpc.head import encode_message
from exchanger.grpc.status import GrpcError, StatusCode


def test_codes_are_those_of_grpc() -> None:
    assert [code.value for code in StatusCode] == list(range(17))
    assert StatusCode(16) is StatusCode.UNAUTHENTICATED


def test_an_error_is_never_ok() -> None:
    with pytest.raises(ValueError, match="OK"):
        GrpcError(StatusCode.OK, "fine")


@pytest.mark.parametrize(
    ("message", "encoded"),
    [
        ("", b""),
        ("not found", b"not found"),
        ("100%", b"100%25"),
        ("a\r\nb", b"a%0D%0Ab"),
        ("~ \x7f", b"~ %7F"),
        ("grün", b"gr%C3%BCn"),
    ],
)
def test_message_encoding(message: str, encoded: bytes) -> None:
    assert encode_message(message) == encoded
