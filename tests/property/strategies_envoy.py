"""Strategies for what Envoy asks: one HTTP request in the forms of both of its services, and any message of an ext_proc stream."""

import attrs
from hypothesis import strategies as st

from exchanger._proto.envoy.config.core.v3.base_pb2 import HeaderMap, HeaderValue
from exchanger._proto.envoy.service.auth.v3.attribute_context_pb2 import AttributeContext
from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from exchanger._proto.envoy.service.ext_proc.v3.external_processor_pb2 import HttpBody, HttpHeaders, HttpTrailers, ProcessingRequest
from exchanger._proto.google.protobuf.struct_pb2 import ListValue, NullValue, Struct, Value
from tests.property.policy_model import METHODS
from tests.property.strategies_policy import HOSTS, plain_paths, prefixes, queries, rarely

Header = tuple[str, str]


@attrs.frozen
class Asked:
    """One HTTP request as a gateway knows it; ``headers`` are lower-cased, and may come more than once."""

    method: str
    host: str
    path: str
    headers: tuple[Header, ...]


values = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
bearers = st.sampled_from(["Bearer good", "bearer good", "Bearer bad token", "Bearer é", "Bearer", "Basic Z29vZA==", "DPoP good", ""])
headers = st.one_of(
    st.tuples(st.just("authorization"), bearers),
    st.tuples(st.sampled_from(["origin", "access-control-request-method"]), st.sampled_from(["", "x"])),
    st.tuples(st.sampled_from(["traceparent", "tracestate", "baggage", "x-original-url", "x-forwarded-host", "cookie"]), values),
)
hosts = st.sampled_from([*HOSTS, "A.example", "a.example.", "a.example:8443", "user@a.example", "a.example,b.example", "c.example"])
paths = rarely(st.text(max_size=6).map(lambda text: "/" + text), st.builds("".join, st.tuples(plain_paths | prefixes, queries)), one_in=4)
# Requests to the hosts and paths of generated policies; no part of them is missing, and paths are in origin form.
requests = st.builds(
    Asked,
    st.sampled_from([*METHODS, "OPTIONS", "get", "CONNECT"]),
    rarely(hosts, st.just(HOSTS[0]), one_in=3),
    paths,
    st.builds(
        lambda first, more: (*first, *more), st.sampled_from([(("authorization", "Bearer good"),), ()]), st.lists(headers, max_size=3)
    ),
)


def check_request(asked: Asked, *, raw: bool = False) -> bytes:
    """Return the CheckRequest that ext_authz sends: names once, what comes twice joined with a comma.

    ``raw``: as with ``encode_raw_headers``.
    """
    joined: dict[str, str] = {":authority": asked.host, ":method": asked.method, ":path": asked.path, ":scheme": "https"}
    for name, value in asked.headers:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    http = AttributeContext.HttpRequest(
        method=asked.method, host=asked.host, path=asked.path, scheme="https", headers={} if raw else joined
    )
    if raw:
        http.header_map.CopyFrom(HeaderMap(headers=[HeaderValue(key=name, raw_value=value.encode()) for name, value in joined.items()]))
    return CheckRequest(attributes=AttributeContext(request=AttributeContext.Request(http=http))).SerializeToString()


@st.composite
def processing_requests_of(draw: st.DrawFn, asked: Asked) -> ProcessingRequest:
    """Draw one of the messages in which ext_proc may send ``asked``: pseudo-headers or attributes, either field, names in any case."""
    path = asked.path
    if draw(st.booleans()):
        path = f"{draw(st.sampled_from(['http', 'HTTPS']))}://{asked.host}{path}"
    whole = {":method": asked.method, ":path": path, ":authority": asked.host, ":scheme": "https"}
    attributes = {}
    pseudo: list[Header] = []
    for name, value in whole.items():
        form = draw(st.sampled_from(["header", "both", "attribute"]))
        if form != "attribute":
            pseudo.append((name, value))
        if form != "header":
            attributes[f"request.{'host' if name == ':authority' else name[1:]}"] = Value(string_value=value)
    fields = []
    for name, value in draw(st.permutations(pseudo)) + list(asked.headers):
        spelled = name.title() if draw(st.booleans()) else name
        raw = draw(st.booleans())
        fields.append(HeaderValue(key=spelled, raw_value=value.encode() if raw else b"", value="ignored" if raw and value else value))
    key = draw(st.sampled_from(["envoy.filters.http.ext_proc", "other"]))
    return ProcessingRequest(
        request_headers=HttpHeaders(headers=HeaderMap(headers=fields), end_of_stream=draw(st.booleans())),
        attributes={key: Struct(fields=attributes)} if attributes else {},
    )


names = st.sampled_from([":method", ":path", ":authority", ":scheme", "host", "Authorization", "authorization", "origin", "é", ""])
texts = st.sampled_from(["", "GET", "OPTIONS", "/a", "http://a.example/a", "a.example", "Bearer good", "http://", "ftp:///"]) | values
header_maps = st.builds(
    lambda fields: HeaderMap(headers=fields),
    st.lists(st.builds(HeaderValue, key=names, value=texts, raw_value=texts.map(str.encode) | st.binary(max_size=4)), max_size=6),
)
attribute_values = st.one_of(
    st.builds(Value, string_value=texts),
    st.builds(Value, number_value=st.floats()),
    st.builds(Value, bool_value=st.booleans()),
    st.just(Value(null_value=NullValue.NULL_VALUE)),
    st.just(Value(list_value=ListValue())),
    st.just(Value()),
)
structs = st.builds(
    lambda fields: Struct(fields=fields),
    st.dictionaries(st.sampled_from([f"request.{part}" for part in ("method", "host", "path", "query", "scheme", "id")]), attribute_values),
)
# Messages of every kind, with and without an HTTP request in them.
processing_requests = st.builds(
    lambda member, attributes, observing: ProcessingRequest(**member, attributes=attributes, observability_mode=observing),
    st.one_of(
        st.builds(lambda fields: {"request_headers": HttpHeaders(headers=fields)}, header_maps),
        st.builds(lambda fields: {"response_headers": HttpHeaders(headers=fields)}, header_maps),
        st.builds(
            lambda kind, body: {kind: HttpBody(body=body)}, st.sampled_from(["request_body", "response_body"]), st.binary(max_size=4)
        ),
        st.builds(
            lambda kind, fields: {kind: HttpTrailers(trailers=fields)},
            st.sampled_from(["request_trailers", "response_trailers"]),
            header_maps,
        ),
        st.just({}),
    ),
    st.dictionaries(st.sampled_from(["envoy.filters.http.ext_proc", "a", "b"]), structs, max_size=2),
    rarely(st.just(True), st.just(False), one_in=5),
)
