import pytest
from google.protobuf.message import Message

from exchanger._proto.envoy.config.core.v3.base_pb2 import HeaderMap, HeaderValue, HeaderValueOption
from exchanger._proto.envoy.service.auth.v3.attribute_context_pb2 import AttributeContext
from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from exchanger.authz.decision.check import MISSING_HTTP, MISSING_REQUEST
from exchanger.authz.decision.outcome import Allow, DecisionReason, Deny
from exchanger.authz.envoy.authorization import decode_check, encode_check
from exchanger.model.request import NO_FIELDS, HttpRequest
from exchanger.model.secret import Secret
from exchanger.model.trace import TraceContext
from exchanger.net.grpc.status import GrpcError, StatusCode


def check(
    headers: dict[str, str] | None = None,
    header_map: list[tuple[str, str, bytes]] | None = None,
    *,
    method: str = "GET",
    path: str = "/",
    host: str = "",
) -> bytes:
    http = AttributeContext.HttpRequest(method=method, path=path, host=host, headers=headers or {})
    if header_map is not None:
        http.header_map.CopyFrom(HeaderMap(headers=[HeaderValue(key=key, value=value, raw_value=raw) for key, value, raw in header_map]))
    return CheckRequest(attributes=AttributeContext(request=AttributeContext.Request(http=http))).SerializeToString()


def decoded(message: bytes) -> HttpRequest:
    request = decode_check(message)
    assert isinstance(request, HttpRequest)
    return request


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (CheckRequest(), MISSING_REQUEST),
        (CheckRequest(attributes=AttributeContext()), MISSING_REQUEST),
        (CheckRequest(attributes=AttributeContext(request=AttributeContext.Request())), MISSING_HTTP),
    ],
)
def test_missing_blocks(message: Message, answer: Deny) -> None:
    assert decode_check(message.SerializeToString()) is answer
    assert (answer.reason, answer.status) == (DecisionReason.MISSING_HTTP_ATTRIBUTES, 500)


@pytest.mark.parametrize("message", [b"\xff", b"\x0a\x05abc", b"garbage", b"\x0a\x02\x22\x05"])
def test_garbage_is_an_invalid_argument(message: bytes) -> None:
    with pytest.raises(GrpcError) as raised:
        decode_check(message)
    assert raised.value.status is StatusCode.INTERNAL
    assert raised.value.__cause__ is None


def test_all_headers_come_along_where_a_policy_names_some() -> None:
    plain, raw = {"Mcp-Name": "a", "x": "b,c"}, [("Mcp-Name", "", b"a\xff"), ("x", "b", b""), ("x", "c", b"")]
    messages = [check(plain), check({"x": "b", "y": "z"}, [("MCP-Name", "", b"a\xff"), *raw[1:]])]
    found = [decode_check(message, with_headers=True) for message in messages]
    fields = [request.fields for request in found if isinstance(request, HttpRequest)]
    assert [(sorted(one.fields), one.raw) for one in fields] == [
        ([("mcp-name", "a"), ("x", "b,c")], False),
        ([("mcp-name", "a\udcff"), ("x", "b"), ("x", "c"), ("y", "z")], True),
    ]
    assert decoded(messages[0]).fields is NO_FIELDS


def test_everything_that_is_read() -> None:
    headers = {
        ":authority": "api.example.com",
        "authorization": "Bearer token",
        "origin": "https://app",
        "access-control-request-method": "PUT",
        "traceparent": "tp",
        "tracestate": "ts",
        "baggage": "b",
    }
    assert decoded(check(headers, method="options", path="/orders?x=1", host="ignored")) == HttpRequest(
        "OPTIONS", "api.example.com", "/orders?x=1", Secret("Bearer token"), "https://app", "PUT", TraceContext("tp", "ts", "b")
    )


@pytest.mark.parametrize(
    ("headers", "host", "expected"),
    [
        ({":authority": "a", "host": "b"}, "c", "a"),
        ({":authority": "", "host": "b"}, "c", "b"),
        ({"host": "b"}, "c", "b"),
        ({"Host": "b"}, "c", "b"),
        ({"x-forwarded-host": "evil"}, "c", "c"),
        ({}, "", ""),
    ],
)
def test_the_host_is_the_first_that_is_given(headers: dict[str, str], host: str, expected: str) -> None:
    assert decoded(check(headers, host=host)).host == expected


@pytest.mark.parametrize("name", ["x-original-url", "x-rewrite-url", "x-http-method-override", ":path", ":method"])
def test_headers_do_not_rename_the_request(name: str) -> None:
    request = decoded(check({name: "/admin"}, method="GET", path="/orders"))
    assert (request.method, request.path) == ("GET", "/orders")


@pytest.mark.parametrize(
    ("headers", "header_map", "expected"),
    [
        ({"Authorization": "Bearer a"}, None, "Bearer a"),
        ({}, [("authorization", "", b"Bearer raw")], "Bearer raw"),
        ({}, [("Authorization", "Bearer value", b"Bearer raw")], "Bearer raw"),
        ({}, [("AUTHORIZATION", "Bearer value", b"")], "Bearer value"),
        ({"authorization": "Bearer a"}, [("authorization", "", b"Bearer b")], "Bearer a,Bearer b"),
        ({"authorization": "Bearer a"}, [("Authorization", "", b"Bearer b")], "Bearer a,Bearer b"),
        ({}, [("authorization", "", b"Bearer a"), ("authorization", "", b"Bearer b")], "Bearer a,Bearer b"),
        ({}, [("authorization", "", b"Bearer a"), ("authorization", "", b"")], "Bearer a,"),
        ({"authorization": ""}, [("authorization", "", b"Bearer a")], ",Bearer a"),
        ({}, [("authorization", "", b"Bearer \xff")], "Bearer \N{REPLACEMENT CHARACTER}"),
        ({}, [("", "Bearer a", b"")], None),
        ({"authorization": ""}, None, None),
        ({}, None, None),
    ],
)
def test_authorization(headers: dict[str, str], header_map: list[tuple[str, str, bytes]] | None, expected: str | None) -> None:
    authorization = decoded(check(headers, header_map)).authorization
    assert (authorization.reveal() if authorization else None) == expected


def replaces(option: HeaderValueOption) -> bool:
    return (
        option.HasField("append") and option.append.value is False and option.append_action == HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    )


def test_an_allow_changes_nothing() -> None:
    response = CheckResponse.FromString(encode_check(Allow(DecisionReason.ALLOW_UNMATCHED)))
    assert response.HasField("status")
    assert response.status.code == StatusCode.OK
    assert response.WhichOneof("http_response") == "ok_response"
    assert list(response.ok_response.headers) == []


def test_a_denial() -> None:
    deny = Deny(DecisionReason.DENY_EXCHANGE_ERROR, 401, '{"error":"x"}', (("WWW-Authenticate", "Basic"), ("WWW-Authenticate", "Bearer")))
    response = CheckResponse.FromString(encode_check(deny))
    assert response.status.code == StatusCode.PERMISSION_DENIED
    assert response.WhichOneof("http_response") == "denied_response"
    denied = response.denied_response
    assert (denied.status.code, denied.body) == (401, '{"error":"x"}')
    assert [(option.header.key, option.header.value) for option in denied.headers] == [
        ("Content-Type", "application/json"),
        ("WWW-Authenticate", "Basic"),
        ("WWW-Authenticate", "Bearer"),
    ]
    assert all(map(replaces, denied.headers))
