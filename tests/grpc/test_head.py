import math

import pytest

from exchanger.grpc.head import BAD_TIMEOUT, NOT_GRPC, NOT_POST, Refusal, error_trailers, read_head, refuse
from exchanger.grpc.routes import CallInfo
from exchanger.grpc.status import GrpcError, StatusCode
from tests.grpc.peer import ECHO, head


def info(*headers: tuple[bytes, bytes]) -> CallInfo:
    read = read_head(tuple(head(b"/a.B/C", *headers)), 10.0)
    assert isinstance(read, CallInfo)
    return read


def test_path_and_deadline() -> None:
    assert info().path == b"/a.B/C"
    assert info().deadline == math.inf
    assert info((b"grpc-timeout", b"200m")).deadline == pytest.approx(10.2)


def test_metadata_is_what_the_caller_added() -> None:
    call = info((b"grpc-timeout", b"1S"), (b"grpc-encoding", b"identity"), (b"traceparent", b"00-1"), (b"x", b"1"), (b"x", b"2"))
    assert call.metadata == ((b"traceparent", b"00-1"), (b"x", b"1"), (b"x", b"2"))


def test_headers_do_not_show() -> None:
    assert "hunter2" not in repr(info((b"authorization", b"hunter2")))


@pytest.mark.parametrize(
    "content_type",
    [b"application/grpc", b"application/grpc+proto", b"application/grpc;charset=utf-8", b"Application/GRPC", b"application/grpc ; a=b"],
)
def test_grpc_content_types(content_type: bytes) -> None:
    assert isinstance(read_head(tuple(head(content_type=content_type)), 0.0), CallInfo)


@pytest.mark.parametrize(
    "content_type", [None, b"", b"application/json", b"application/grpc-web", b"application/grpc+json", b"application/grpcx"]
)
def test_other_content_types_get_http_415(content_type: bytes | None) -> None:
    assert read_head(tuple(head(content_type=content_type)), 0.0) is NOT_GRPC
    assert NOT_GRPC.headers[0] == (b":status", b"415")


def test_other_methods_get_http_405() -> None:
    assert read_head(tuple(head(method=b"GET")), 0.0) is NOT_POST
    assert NOT_POST.headers[:2] == ((b":status", b"405"), (b"allow", b"POST"))


def test_head_is_told_the_same_without_the_body() -> None:
    refusal = read_head(tuple(head(method=b"HEAD")), 0.0)
    assert isinstance(refusal, Refusal)
    assert (refusal.headers, refusal.body) == (NOT_POST.headers, b"")


@pytest.mark.parametrize(
    ("name", "value", "refusal"), [(b"content-type", b"application/grpc", NOT_GRPC), (b"grpc-timeout", b"1S", BAD_TIMEOUT)]
)
def test_what_may_be_said_once_is_refused_when_said_twice(name: bytes, value: bytes, refusal: Refusal) -> None:
    headers = head(ECHO, (name, value), (name, value), content_type=None)
    assert read_head(tuple(headers), 0.0) is refusal


def test_the_encoding_of_messages() -> None:
    assert info().encoding == b""
    assert info((b"grpc-encoding", b"gzip")).encoding == b"gzip"


def test_malformed_timeout() -> None:
    assert read_head(tuple(head(b"/a", (b"grpc-timeout", b"soon"))), 0.0) is BAD_TIMEOUT
    assert BAD_TIMEOUT.status is StatusCode.INTERNAL


def test_refusal_is_trailers_only() -> None:
    refusal = refuse(GrpcError(StatusCode.NOT_FOUND, "no such thing"))
    assert refusal.headers == (
        (b":status", b"200"),
        (b"content-type", b"application/grpc"),
        (b"grpc-status", b"5"),
        (b"grpc-message", b"no such thing"),
    )
    assert error_trailers(GrpcError(StatusCode.NOT_FOUND)) == ((b"grpc-status", b"5"),)


def test_what_is_not_implemented_says_what_is_not_compressed() -> None:
    assert refuse(GrpcError(StatusCode.UNIMPLEMENTED)).headers[-1] == (b"grpc-accept-encoding", b"identity")
