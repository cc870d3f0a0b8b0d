"""Bodies of the lab's requests: what can be sent is understood, and everything else is refused in words."""

import json

import pytest

from exchanger.decision.bearer import MAX_TOKEN_LENGTH
from exchanger.playground.requests import (
    MAX_HEADER_CHARACTERS,
    FileRequest,
    Malformed,
    RunRequest,
    SendRequest,
    read_name,
    read_run,
    read_save,
    read_send,
    read_text,
)
from exchanger.scenarios.scenario import MAX_HEADERS, Call
from exchanger.scenarios.tokens import Subject


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_a_run_is_a_name_and_perhaps_a_token() -> None:
    assert read_run(body(name="timeout")) == RunRequest("timeout")
    assert read_run(body(name="timeout", token="")) == RunRequest("timeout")
    assert read_run(body(name="timeout", token="abc.def==")) == RunRequest("timeout", "abc.def==")


def test_a_request_is_a_call_with_a_subject_of_the_demo_or_a_token() -> None:
    assert read_send(body(host="h:80", path="/")) == SendRequest(Call("h:80", "/"))
    everything = body(method="PUT", host="[::1]", path="/a?b=%0d", headers=[["X-A", "b c"], ["x-a", ""]], subject="expired")
    assert read_send(everything) == SendRequest(Call("[::1]", "/a?b=%0d", Subject.EXPIRED, "PUT", (("X-A", "b c"), ("x-a", ""))))
    assert read_send(body(host="h", path="/", subject="own", token="abc")) == SendRequest(Call("h", "/", Subject.NONE), "abc")


def test_texts_and_names() -> None:
    assert read_text(body(name="a.yaml", text="b\n")) == FileRequest("a.yaml", "b\n")
    assert read_save(body(name="a.yaml", text="b\n")) == FileRequest("a.yaml", "b\n")
    assert read_save(body(name="a.yaml", text="b\n", version="1")) == FileRequest("a.yaml", "b\n", "1")
    assert read_name(body(name="a.yaml")) == "a.yaml"


@pytest.mark.parametrize("read", [read_run, read_send, read_text, read_save, read_name])
@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{", b'{"name": 1}', b'{"other": "a"}', b'{"token": "a"}', b"\xff"])
def test_what_is_no_such_body_is_refused(read: object, data: bytes) -> None:
    assert callable(read)
    assert isinstance(read(data), Malformed)


# What may be in a host, path, method, name or value is tested with the rules, in tests/scenarios/test_scenario.py.
WRONG_HEADERS: list[object] = [
    *({"A": "b"}, "A: b", ["A: b"], [["A"]], [["A", "b", "c"]], [["A", 1]]),
    *([["A:", "b"]], [["A", "b\r\nC: d"]], [["hOST", "b"]], [["Transfer-Encoding", "chunked"]], [["Authorization", "Bearer abc"]]),
    [["A", "b"]] * (MAX_HEADERS + 1),
    [["A", "b" * 8000]] * (MAX_HEADER_CHARACTERS // 8000 + 1),
]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("host", host) for host in ("a\r\nX: b", "", "user@a")),
        *(("path", path) for path in ("", "a", "/ HTTP/1.1\r\n\r\nGET /", "http://h/")),
        *(("method", method) for method in ("get", "GET ", "")),
        *(("subject", subject) for subject in ("everybody", "own")),
        *(("headers", headers) for headers in WRONG_HEADERS),
        ("token", "abc"),
        ("extra", "a"),
    ],
)
def test_what_could_be_more_than_one_request_or_none_is_refused(field: str, value: object) -> None:
    assert isinstance(read_send(body(**{"host": "h", "path": "/", field: value})), Malformed)


def test_as_many_headers_as_there_may_be() -> None:
    assert isinstance(read_send(body(host="h", path="/", headers=[["A", "b"]] * MAX_HEADERS)), SendRequest)


@pytest.mark.parametrize("token", ["a b", "a\r\nb", "\u00e4", "Bearer abc", "a" * (MAX_TOKEN_LENGTH + 1), "a,b"])
def test_a_token_that_no_header_can_carry_is_refused(token: str) -> None:
    assert isinstance(read_run(body(name="a", token=token)), Malformed)
    assert isinstance(read_send(body(host="h", path="/", subject="own", token=token)), Malformed)


def test_tokens_and_texts_are_in_no_repr() -> None:
    asks = (
        read_run(body(name="a", token="s3cret")),
        read_send(body(host="h", path="/", subject="own", token="s3cret")),
        read_send(body(host="h", path="/", headers=[["X-Key", "s3cret"]])),
        read_text(body(name="a", text="s3cret")),
    )
    assert not any(isinstance(ask, Malformed) for ask in asks)
    assert "s3cret" not in repr(asks)
