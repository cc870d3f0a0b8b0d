from collections.abc import Iterable, Mapping

import pytest

from exchanger._proto.envoy.config.core.v3.base_pb2 import HeaderMap, HeaderValue, HeaderValueOption
from exchanger._proto.envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from exchanger._proto.envoy.service.ext_proc.v3.external_processor_pb2 import (
    CommonResponse,
    HeaderMutation,
    HeadersResponse,
    HttpHeaders,
    ImmediateResponse,
    ProcessingRequest,
    ProcessingResponse,
    TrailersResponse,
)
from exchanger._proto.google.protobuf.struct_pb2 import ListValue, Struct, Value
from exchanger.authz.decision.check import MISSING_HTTP
from exchanger.authz.decision.outcome import Allow, DecisionReason, Deny
from exchanger.authz.envoy.process_codec import CONTINUED, decode_request_headers, encode_request_headers
from exchanger.authz.envoy.request_fields import RefusedRequest
from exchanger.model.request import HttpRequest
from exchanger.model.secret import Secret

FILTER = "envoy.filters.http.ext_proc"
PSEUDO = {":method": "GET", ":scheme": "https", ":authority": "api.example.com", ":path": "/orders/1"}


def struct(values: Mapping[str, str | float | bool]) -> Struct:
    fields = {}
    for name, value in values.items():
        if isinstance(value, str):
            fields[name] = Value(string_value=value)
        else:
            fields[name] = Value(bool_value=value) if isinstance(value, bool) else Value(number_value=value)
    return Struct(fields=fields)


def request_headers(
    headers: Mapping[str, str] | Iterable[tuple[str, str, bytes]] = (),
    attributes: Mapping[str, Mapping[str, str | float | bool]] | None = None,
) -> ProcessingRequest:
    """Return the message for headers by name, in ``raw_value`` as Envoy sends them, or for (key, value, raw_value)."""
    listed = [(name, "", value.encode()) for name, value in headers.items()] if isinstance(headers, Mapping) else headers
    return ProcessingRequest(
        request_headers=HttpHeaders(headers=HeaderMap(headers=[HeaderValue(key=k, value=v, raw_value=raw) for k, v, raw in listed])),
        attributes={name: struct(values) for name, values in (attributes or {}).items()},
    )


def decoded(message: ProcessingRequest) -> HttpRequest:
    request = decode_request_headers(message)
    assert isinstance(request, HttpRequest)
    return request


@pytest.mark.parametrize(
    ("headers", "attribute", "expected"),
    [
        ({":authority": "a"}, "", "a"),
        ({":authority": "a:80", "host": "A"}, "a.", "a:80"),
        ({"Host": "b"}, "", "b"),
        ({"host": ""}, "c", "c"),
        ({"x-forwarded-host": "evil"}, "c", "c"),
        ({}, "c", "c"),
    ],
)
def test_the_host_is_the_first_that_is_given(headers: dict[str, str], attribute: str, expected: str) -> None:
    message = request_headers({":method": "GET", ":path": "/", **headers}, {FILTER: {"request.host": attribute}})
    assert decoded(message).host == expected


@pytest.mark.parametrize("name", ["x-original-url", "x-rewrite-url", "x-http-method-override", "path", "method", "request.path"])
def test_headers_do_not_rename_the_request(name: str) -> None:
    request = decoded(request_headers({**PSEUDO, name: "/admin"}))
    assert (request.method, request.host, request.path) == ("GET", "api.example.com", "/orders/1")


@pytest.mark.parametrize("told", ["/p?a=1", "/p?", "/p?a=1?b"])
def test_a_path_of_attributes_may_lack_its_query(told: str) -> None:
    assert decoded(request_headers({**PSEUDO, ":path": told}, {FILTER: {"request.path": "/p"}})).path == told
    for other in ("/q", "/p?b", "/p/"):
        assert isinstance(
            decode_request_headers(request_headers({**PSEUDO, ":path": told}, {FILTER: {"request.path": other}})), RefusedRequest
        )


@pytest.mark.parametrize(
    ("attributes", "path"),
    [
        ({"request.path": "/p", "request.query": "a=1"}, "/p?a=1"),
        ({"request.path": "/p?b", "request.query": "a=1"}, "/p?b"),
        ({"request.path": "/p?", "request.query": "a=1"}, "/p?"),
        ({"request.path": "/p", "request.query": ""}, "/p"),
        ({"request.path": "/p"}, "/p"),
        ({"request.query": "a=1"}, ""),
        ({"request.url_path": "/p"}, ""),
    ],
)
def test_the_path_of_attributes_gets_its_query(attributes: dict[str, str], path: str) -> None:
    assert decoded(request_headers({":method": "GET", ":authority": "a"}, {FILTER: attributes})).path == path


def test_the_query_of_attributes_is_not_for_the_path_of_a_header() -> None:
    assert decoded(request_headers(PSEUDO, {FILTER: {"request.query": "a=1"}})).path == "/orders/1"
    headers = {":path": "/p", ":authority": "a"}
    assert decoded(request_headers(headers, {FILTER: {"request.query": "a=1", "request.method": "GET"}})).path == "/p"


def test_envoys_own_filter_comes_first_and_then_the_names_in_order() -> None:
    attributes: dict[str, dict[str, str | float | bool]] = {
        "b": {"request.path": "/b", "request.method": "B", "request.query": "b"},
        "a": {"request.path": "/a", "request.query": "a"},
        "z": {"request.host": "z.example.com", "request.method": "Z"},
        FILTER: {"request.query": "filter", "request.path": ""},
    }
    request = decoded(request_headers({}, attributes))
    assert (request.method, request.host, request.path) == ("B", "z.example.com", "/a?a")
    first = decoded(request_headers({}, {**attributes, FILTER: {"request.path": "/filter"}}))
    assert first.path == "/filter"


@pytest.mark.parametrize("value", [1.0, True])
def test_only_strings_are_attributes(value: float | bool) -> None:
    message = request_headers({}, {FILTER: {"request.method": value, "request.host": value, "request.path": value, "request.query": "q"}})
    assert decode_request_headers(message) is MISSING_HTTP


@pytest.mark.parametrize(
    ("wrapper", "path"),
    [
        (struct({"value": "/p"}), "/p"),
        (struct({"string_value": "/p"}), "/p"),
        (struct({"stringValue": "/p"}), "/p"),
        (struct({"anything": "/p"}), "/p"),
        (struct({"value": "/first", "string_value": "/second"}), "/first"),
        (struct({"value": "", "stringValue": "/p"}), "/p"),
        (struct({"value": 12.0}), "12"),
        (struct({"value": True}), "true"),
        (struct({"value": False}), "false"),
        (struct({"one": "/p", "two": "/q"}), ""),
        (struct({"value": ""}), ""),
        (Struct(fields={"value": Value(struct_value=struct({"string_value": "/p"}))}), "/p"),
        (Struct(fields={"value": Value(list_value=ListValue(values=[Value(string_value="/p")]))}), ""),
        (Struct(fields={"value": Value()}), ""),
        (Struct(), ""),
    ],
)
def test_attributes_may_come_one_by_one(wrapper: Struct, path: str) -> None:
    message = request_headers({":method": "GET"}, {"request.host": {"value": "api.example.com"}})
    message.attributes["request.path"].CopyFrom(wrapper)
    request = decoded(message)
    assert (request.host, request.path) == ("api.example.com", path)
    message.attributes[FILTER].CopyFrom(struct({"request.path": "/filter"}))
    assert decoded(message).path == "/filter"


def test_a_value_is_not_looked_for_without_end() -> None:
    wrapper = struct({"value": "/p"})
    for _ in range(4):
        wrapper = Struct(fields={"value": Value(struct_value=wrapper)})
    message = request_headers({":method": "GET", ":authority": "a"})
    message.attributes["request.path"].CopyFrom(wrapper)
    assert decoded(message).path == ""
    message.attributes["request.path"].CopyFrom(wrapper.fields["value"].struct_value)
    assert decoded(message).path == "/p"


WITHHELD = [{name: value for name, value in PSEUDO.items() if name != missing} for missing in (":method", ":authority")]


@pytest.mark.parametrize(
    "message",
    [
        ProcessingRequest(request_headers=HttpHeaders()),
        request_headers({"authorization": "Bearer a", ":scheme": "https"}),
        request_headers({":method": "", ":path": "", ":authority": "", "host": ""}),
        request_headers({}, {FILTER: {"request.scheme": "https", "request.query": "a"}}),
        *(request_headers({**headers, "x-forwarded-host": "evil"}) for headers in WITHHELD),
        *(request_headers({":method": "", ":authority": "", "host": "", **headers}) for headers in WITHHELD),
    ],
)
def test_without_a_method_or_host_there_is_no_http_request(message: ProcessingRequest) -> None:
    assert decode_request_headers(message) is MISSING_HTTP


def test_a_request_may_have_no_path() -> None:
    assert decoded(request_headers({":method": "CONNECT", ":authority": "a:443"})) == HttpRequest("CONNECT", "a:443", "")


@pytest.mark.parametrize(
    ("target", "path", "authority"),
    [
        ("http://api.example.com/orders/1?x", "/orders/1?x", "api.example.com"),
        ("HTTPS://Other.example.com:8443/orders", "/orders", "Other.example.com:8443"),
        ("Http://api.example.com", "/", "api.example.com"),
        ("http://api.example.com?x=1", "/?x=1", "api.example.com"),
        ("ws+unix://api.example.com//orders", "//orders", "api.example.com"),
        ("http://user@api.example.com/a", "/a", "user@api.example.com"),
        ("http://a/http://b/c", "/http://b/c", "a"),
        ("http:///orders", "http:///orders", ""),
        ("/http://api.example.com/", "/http://api.example.com/", ""),
        ("//api.example.com/orders", "//api.example.com/orders", ""),
        ("/orders?u=http://b/c", "/orders?u=http://b/c", ""),
        ("*", "*", ""),
        ("orders", "orders", ""),
    ],
)
def test_an_absolute_form_loses_scheme_and_authority(target: str, path: str, authority: str) -> None:
    for message in (
        request_headers({**PSEUDO, ":path": target, "authorization": "Bearer a"}),
        request_headers(
            {"host": "api.example.com", "authorization": "Bearer a"}, {FILTER: {"request.path": target, "request.method": "GET"}}
        ),
    ):
        request = decoded(message)
        assert (request.path, request.target_authority) == (path, authority)
        assert (request.method, request.host, request.authorization) == ("GET", "api.example.com", Secret("Bearer a"))


def replaces(option: HeaderValueOption) -> bool:
    return (
        option.header.value == ""
        and option.HasField("append")
        and option.append.value is False
        and option.append_action == HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    )


def answered(outcome: Allow | Deny) -> ProcessingResponse:
    return ProcessingResponse.FromString(encode_request_headers(outcome))


ONLY_REQUEST_HEADERS = ProcessingMode(
    request_header_mode=ProcessingMode.SEND,
    response_header_mode=ProcessingMode.SKIP,
    request_body_mode=ProcessingMode.NONE,
    response_body_mode=ProcessingMode.NONE,
    request_trailer_mode=ProcessingMode.SKIP,
    response_trailer_mode=ProcessingMode.SKIP,
)


def test_an_allow_changes_nothing_and_asks_for_nothing_more() -> None:
    unchanged = HeadersResponse(response=CommonResponse(status=CommonResponse.CONTINUE))
    response = answered(Allow(DecisionReason.ALLOW_UNMATCHED))
    response.ClearField("dynamic_metadata")
    assert response == ProcessingResponse(request_headers=unchanged, mode_override=ONLY_REQUEST_HEADERS)


@pytest.mark.parametrize("reason", [DecisionReason.DENY_EXCHANGE_ERROR, DecisionReason.DENY_MISSING_BEARER])
def test_a_denial(reason: DecisionReason) -> None:
    deny = Deny(reason, 401, '{"error":"ü"}', (("WWW-Authenticate", "Basic"), ("WWW-Authenticate", "Bearer ü")))
    response = answered(deny)
    assert response.WhichOneof("response") == "immediate_response"
    assert not response.HasField("mode_override")
    immediate = response.immediate_response
    assert (immediate.status.code, immediate.body.decode(), immediate.details) == (
        401,
        '{"error":"ü"}',
        "ext_proc_token_exchange_denied",
    )
    assert [(option.header.key, option.header.raw_value.decode()) for option in immediate.headers.set_headers] == [
        ("Content-Type", "application/json"),
        ("WWW-Authenticate", "Basic"),
        ("WWW-Authenticate", "Bearer ü"),
    ]
    assert all(map(replaces, immediate.headers.set_headers))


def test_equal_denials_are_serialised_once_and_failed_exchanges_are_not_kept() -> None:
    kept, seldom = (Deny(reason, 403, "once") for reason in (DecisionReason.DENY_EXPLICIT_POLICY, DecisionReason.DENY_EXCHANGE_ERROR))
    assert encode_request_headers(kept) is encode_request_headers(Deny(DecisionReason.DENY_EXPLICIT_POLICY, 403, "once"))
    assert encode_request_headers(seldom) is not encode_request_headers(seldom)
    assert isinstance(answered(seldom).immediate_response, ImmediateResponse)


def test_every_other_message_is_continued_in_kind() -> None:
    kinds = {field.name for field in ProcessingRequest.DESCRIPTOR.oneofs_by_name["request"].fields}
    assert set(CONTINUED) == kinds - {"request_headers"}
    unchanged = CommonResponse(status=CommonResponse.CONTINUE)
    for kind, data in CONTINUED.items():
        response = ProcessingResponse.FromString(data)
        assert (response.WhichOneof("response"), response.HasField("mode_override")) == (kind, False)
        inner = getattr(response, str(kind))
        if "trailers" in str(kind):
            assert inner == TrailersResponse(header_mutation=HeaderMutation())
        else:
            assert inner == type(inner)(response=unchanged)
