import math

import attrs
import pytest

from exchanger._proto.envoy.config.core.v3.base_pb2 import HeaderMap, HeaderValue
from exchanger.authz.decision.outcome import DecisionReason
from exchanger.authz.envoy.request_fields import RefusedRequest, RequestLine, request_of_header_map, with_gateway_trace
from exchanger.model.request import HttpRequest
from exchanger.model.trace import NO_TRACE, TraceContext
from exchanger.net.grpc.routes import CallInfo, Headers

Field = tuple[str, str, bytes]
LINE = RequestLine("GET", "/orders", "api.example.com")
MAP: tuple[Field, ...] = ((":method", "", b"GET"), (":path", "", b"/orders"), (":authority", "", b"api.example.com"))


def read(*fields: Field, line: RequestLine = LINE, headers: dict[str, str] | None = None) -> HttpRequest | RefusedRequest:
    header_map = HeaderMap(headers=[HeaderValue(key=key, value=value, raw_value=raw) for key, value, raw in fields])
    return request_of_header_map(header_map, headers or {}, line)


def request_line(found: HttpRequest | RefusedRequest) -> tuple[str, str, str, bool]:
    assert isinstance(found, HttpRequest)
    return found.method, found.path, found.host, found.path_is_raw


def refused(found: HttpRequest | RefusedRequest, part: str) -> str:
    assert isinstance(found, RefusedRequest)
    deny = found.deny
    assert (deny.reason, deny.status) == (DecisionReason.DENY_AMBIGUOUS_REQUEST, 400)
    assert deny.body == f'{{"error":"invalid_request","error_description":"ambiguous or malformed {part}"}}'
    return deny.detail


def test_bytes_that_are_not_utf8_stay_to_be_seen_in_a_path() -> None:
    found = read(*MAP[::2], (":path", "", b"/adm\xffin"), line=RequestLine("GET", "/adm!in", "api.example.com"))
    assert request_line(found) == ("GET", "/adm\udcffin", "api.example.com", True)


@pytest.mark.parametrize(
    "raw", [b"/adm!in", b"/adm\xff", b"/adm\xff\xffin", b"/admin", b"/adm\xc3\xa9in", b"", b"/adm\xffin/", b"/adm\xffin?"]
)
def test_a_path_that_its_attribute_does_not_show_is_refused(raw: bytes) -> None:
    line = RequestLine("GET", "/adm!in" if raw != b"/adm!in" else "/adm!!in", "api.example.com")
    assert "contradict" in refused(read(*MAP[::2], (":path", "", raw), line=line), "path")


@pytest.mark.parametrize(
    ("left_out", "line", "expected"),
    [
        (":path", LINE, ("GET", "/orders", "api.example.com", False)),
        (":method", RequestLine("put", "", ""), ("PUT", "/orders", "api.example.com", True)),
        (":authority", RequestLine("", "", "b"), ("GET", "/orders", "b", True)),
        (":path", RequestLine("", "", ""), ("GET", "", "api.example.com", False)),
    ],
)
def test_an_attribute_fills_in_for_a_missing_pseudo_header(left_out: str, line: RequestLine, expected: tuple[str, str, str, bool]) -> None:
    assert request_line(read(*(field for field in MAP if field[0] != left_out), line=line)) == expected


def test_a_path_that_came_as_text_is_not_raw() -> None:
    assert request_line(read(*MAP[::2], (":path", "/orders", b""))) == ("GET", "/orders", "api.example.com", False)


@pytest.mark.parametrize(
    ("line", "authority"),
    [
        (RequestLine("get", "/orders", "API.example.com:443"), b"api.example.com"),
        (RequestLine("GET", "/orders", "api.example.com"), b"Api.Example.com."),
        (RequestLine("GET", "/orders", "[2001:DB8:0::1]"), b"[2001:db8::1]:8443"),
        (RequestLine("GET", "/orders", "a,b"), b"a,b"),
    ],
)
def test_spellings_of_one_thing_agree(line: RequestLine, authority: bytes) -> None:
    assert request_line(read(*MAP[:2], (":authority", "", authority), line=line))[2] == authority.decode()


@pytest.mark.parametrize(
    ("line", "part"),
    [
        (RequestLine("POST", "/orders", "api.example.com"), "method"),
        (RequestLine("GET", "/orders", "b.example.com"), "authority"),
        (RequestLine("GET", "/orders", "api.example.com,api.example.com"), "authority"),
        (RequestLine("GET", "/Orders", "api.example.com"), "path"),
        (RequestLine("GET", "/orders/", "api.example.com"), "path"),
        (RequestLine("GET", "/%6frders", "api.example.com"), "path"),
    ],
)
def test_an_attribute_that_says_otherwise_is_refused(line: RequestLine, part: str) -> None:
    refused(read(*MAP, line=line), part)


@pytest.mark.parametrize("part", ["method", "path", "authority"])
def test_an_empty_pseudo_header_is_one_that_is_there(part: str) -> None:
    refused(read(*((name, "", b"" if name == f":{part}" else raw) for name, _, raw in MAP)), part)


@pytest.mark.parametrize("part", ["method", "path", "authority"])
@pytest.mark.parametrize("again", ["", "x", "same"])
def test_a_pseudo_header_that_comes_twice_is_refused(part: str, again: str) -> None:
    (raw,) = (raw for name, _, raw in MAP if name == f":{part}")
    twice = (f":{part}".title(), "", raw if again == "same" else again.encode())
    for fields in ((*MAP, twice), (twice, *MAP)):
        assert "twice" in refused(read(*fields), part)


@pytest.mark.parametrize(
    ("headers", "part"),
    [
        ({":path": "/admin"}, "path"),
        ({":Path": "/orders", ":path": "/admin"}, "path"),
        ({":method": "POST"}, "method"),
        ({":authority": "b"}, "authority"),
        ({"host": "b"}, "authority"),
        ({":authority": "api.example.com", "Host": "b"}, "authority"),
    ],
)
@pytest.mark.parametrize("fields", [MAP, ()])
def test_text_headers_beside_the_map_must_not_contradict(headers: dict[str, str], part: str, fields: tuple[Field, ...]) -> None:
    refused(read(*fields, headers=headers), part)


def test_two_paths_in_text_headers_are_refused() -> None:
    refused(read(line=RequestLine("GET", "", "api.example.com"), headers={":Path": "/orders", ":path": "/admin"}), "path")


def test_text_headers_that_say_the_same_change_nothing() -> None:
    headers = {":path": "/orders", ":method": "get", ":authority": "API.example.com", "host": "api.example.com:80"}
    assert request_line(read(*MAP, headers=headers)) == ("GET", "/orders", "api.example.com", True)
    assert request_line(read(headers=headers, line=RequestLine("GET", "/orders", ""))) == ("GET", "/orders", "API.example.com", False)


@pytest.mark.parametrize("raw", [b"api\xff.example.com", b"\xc3", b"\xed\xa0\x80"])
def test_a_host_or_method_that_is_not_utf8_is_refused(raw: bytes) -> None:
    text = raw.decode("utf-8", "replace").replace("\N{REPLACEMENT CHARACTER}", "!")
    assert "UTF-8" in refused(read(*MAP[:2], (":authority", "", raw), line=RequestLine("GET", "/orders", text)), "authority")
    assert "UTF-8" in refused(read(*MAP[1:], (":method", "", raw), line=RequestLine(text, "/orders", "")), "method")


def test_a_host_header_that_comes_twice_is_ambiguous() -> None:
    fields = (*MAP[:2], ("host", "", b"a"), ("Host", "", b"b"))
    assert request_line(read(*fields, line=RequestLine("GET", "/orders", "")))[2] == "a,b"
    refused(read(*fields, line=RequestLine("GET", "/orders", "a")), "authority")


def test_no_detail_repeats_what_came() -> None:
    for part, raw in ((":path", b"/secret"), (":authority", b"secret"), (":method", b"SECRET")):
        found = read(*(field for field in MAP if field[0] != part), (part, "", raw))
        assert isinstance(found, RefusedRequest)
        assert "secret" not in found.deny.detail.lower() + found.deny.body.lower()


def test_records_say_what_was_refused() -> None:
    found = read(*MAP, line=RequestLine("GET", "/admin", "api.example.com"))
    assert isinstance(found, RefusedRequest)
    assert request_line(found.request) == ("GET", "/orders", "api.example.com", True)
    twice = read(*MAP, (":path", "", b"/admin"))
    assert isinstance(twice, RefusedRequest)
    assert (twice.request.method, twice.request.host) == ("GET", "api.example.com")


# The gateway's own trace.

CALLER = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=state", "key=value")
GATEWAY = ((b"traceparent", b"00-11111111111111111111111111111111-2222222222222222-01"), (b"tracestate", b"gateway=state"))


def trace_of(trace: TraceContext, *metadata: tuple[bytes, bytes]) -> TraceContext:
    headers: Headers = ((b":path", b"/x"), (b"user-agent", b"envoy"), *metadata)
    return with_gateway_trace(HttpRequest("GET", "h", "/", trace=trace), CallInfo(b"/x", math.inf, headers)).trace


def test_the_callers_trace_goes_first() -> None:
    assert trace_of(CALLER, *GATEWAY) == CALLER


def test_the_trace_of_the_gateway_is_continued_if_the_caller_has_none() -> None:
    expected = TraceContext(GATEWAY[0][1].decode(), "gateway=state")
    assert trace_of(NO_TRACE, *GATEWAY) == expected
    assert trace_of(NO_TRACE, GATEWAY[0]).tracestate == ""
    assert trace_of(TraceContext(baggage="a=b"), *GATEWAY).baggage == "a=b"


def test_an_invalid_traceparent_of_the_caller_is_ignored_with_its_tracestate() -> None:
    of_caller = attrs.evolve(CALLER, traceparent=f"{CALLER.traceparent},{CALLER.traceparent}")
    assert trace_of(of_caller, *GATEWAY) == TraceContext(GATEWAY[0][1].decode(), "gateway=state", CALLER.baggage)
    assert trace_of(of_caller, GATEWAY[0]).tracestate == ""
    assert trace_of(of_caller) == of_caller


@pytest.mark.parametrize("trace", [NO_TRACE, TraceContext(baggage="a=b")])
def test_without_either_nothing_changes(trace: TraceContext) -> None:
    assert trace_of(trace, (b"tracestate", b"alone")) == trace


def test_bytes_that_are_no_text_do_not_matter() -> None:
    assert trace_of(NO_TRACE, (b"traceparent", b"\xff")).traceparent == "ÿ"
