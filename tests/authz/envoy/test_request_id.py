"""The request id is read alike from what each filter sends, and repeated it is none."""

from collections.abc import Callable

import pytest

from exchanger.authz.envoy.authorization import decode_check
from exchanger.authz.envoy.process_codec import decode_request_headers
from exchanger.model.request import HttpRequest
from exchanger.model.text import loggable_request_id
from tests.authz.envoy.test_check_codec import check
from tests.authz.envoy.test_process_codec import request_headers

LINE = [(":method", "", b"GET"), (":authority", "", b"api.example.com"), (":path", "", b"/orders")]
Read = Callable[[list[tuple[str, str]]], object]


def from_header_map(headers: list[tuple[str, str]]) -> object:
    return decode_check(check({}, [*LINE, *((name, "", value.encode()) for name, value in headers)], path="/orders"))


def from_process(headers: list[tuple[str, str]]) -> object:
    return decode_request_headers(request_headers([*LINE, *((name, "", value.encode()) for name, value in headers)]))


def from_text(headers: list[tuple[str, str]]) -> object:
    """Envoy joins what is repeated."""
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return decode_check(check(joined, path="/orders", host="api.example.com"))


@pytest.mark.parametrize("read", [from_header_map, from_process, from_text])
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("x-request-id", "abc.DEF_1-2")], "abc.DEF_1-2"),
        ([("X-Request-Id", "abc")], "abc"),
        ([("x-request-id", "abc"), ("x-request-id", "abc")], ""),
        ([("x-request-id", "abc"), ("X-REQUEST-ID", "")], ""),
        ([("x-request-id", "Bearer abc")], ""),
        ([("x-request-id", "ü")], ""),
        ([("request-id", "abc")], ""),
        ([], ""),
    ],
)
def test_a_request_id(read: Read, headers: list[tuple[str, str]], expected: str) -> None:
    request = read(headers)
    assert isinstance(request, HttpRequest)
    assert loggable_request_id(request.request_id) == expected
