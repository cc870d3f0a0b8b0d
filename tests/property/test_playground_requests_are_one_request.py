"""Laws: any body is understood or refused without being repeated, and what is understood is sent as exactly the request that it says."""

import json

import h11
from hypothesis import given
from hypothesis import strategies as st

from exchanger.playground.requests import MalformedBody, read_name, read_run, read_send, read_text
from exchanger.scenarios.target import request_of

NASTY = st.sampled_from(
    ["\r\n", "\n", "\x00", " ", ":", "\u00e9", "a", "/", "?", "#", "@", "[", "Host", "Content-Length", "%0d%0a", "HTTP/1.1"]
)
TEXTS = st.lists(NASTY, max_size=5).map("".join) | st.text(max_size=20)
VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20)
VALUES = st.recursive(st.none() | st.booleans() | st.integers() | TEXTS, lambda inner: st.lists(inner, max_size=3), max_leaves=6)
HOSTS = st.sampled_from(["h", "h:80", "[::1]:80", "yellow.example.com", "-._"])
PATHS = VISIBLE.map(lambda text: f"/{text}")
METHODS = st.sampled_from(["GET", "PUT", "OPTIONS", "M-SEARCH"])
HEADERS = st.lists(st.tuples(st.sampled_from(["X-A", "Accept", "Cookie", "x-a"]), VISIBLE), max_size=4)


@given(st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_understood_or_refused(body: bytes) -> None:
    for read in (read_run, read_send, read_text, read_name):
        read(body)


@given(st.dictionaries(st.sampled_from(["name", "text", "token", "host", "path", "method", "headers", "subject", "s3cretfield"]), VALUES))
def test_no_refusal_repeats_what_came(fields: dict[str, object]) -> None:
    marked = {name: f"s3cret{value}" if isinstance(value, str) else value for name, value in fields.items()}
    for read in (read_run, read_send, read_text, read_name):
        found = read(json.dumps(marked).encode())
        assert not isinstance(found, MalformedBody) or "s3cret" not in found.reason


@given(host=HOSTS, path=PATHS, method=METHODS, headers=HEADERS)
def test_what_can_be_sent_is_sent_as_it_was_meant(host: str, path: str, method: str, headers: list[tuple[str, str]]) -> None:
    assert sent_as_meant(host, path, method, headers)


@given(st.data())
def test_what_is_sent_is_what_was_meant_whatever_stands_in_one_of_its_fields(data: st.DataObject) -> None:
    fields = data.draw(st.fixed_dictionaries({"host": HOSTS, "path": PATHS, "method": METHODS, "name": st.just("X-A"), "value": VISIBLE}))
    fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(TEXTS)
    sent_as_meant(fields["host"], fields["path"], fields["method"], [(fields["name"], fields["value"])])


def sent_as_meant(host: str, path: str, method: str, headers: list[tuple[str, str]]) -> bool:
    """Tell whether the request is sent at all; then it must be just the one that was meant."""
    found = read_send(json.dumps({"host": host, "path": path, "method": method, "headers": headers}).encode())
    if isinstance(found, MalformedBody):
        return False
    sent = request_of(found.call, "token")
    client, server = h11.Connection(h11.CLIENT), h11.Connection(h11.SERVER)
    head = client.send(h11.Request(method=sent.method, target=sent.target, headers=list(sent.headers)))
    server.receive_data((head or b"") + (client.send(h11.EndOfMessage()) or b""))
    request = server.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method.decode(), request.target.decode()) == (method, path)
    got = [(name.decode(), value.decode()) for name, value in request.headers]
    assert got == [("host", host), ("authorization", "Bearer token"), *((name.lower(), value) for name, value in headers)]
    assert isinstance(server.next_event(), h11.EndOfMessage)
    assert server.trailing_data == (b"", False)
    return True
