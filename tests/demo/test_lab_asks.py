"""Bodies of the lab's requests: what can be sent is understood, and everything else is refused in words."""

import json

import pytest

from exchanger.decision.bearer import MAX_TOKEN_LENGTH
from exchanger.demo.lab_asks import (
    MAX_HEADER_CHARACTERS,
    RequestAsk,
    RunAsk,
    TextAsk,
    Wrong,
    name_ask,
    request_ask,
    run_ask,
    save_ask,
    text_ask,
)
from exchanger.demo.request_rules import MAX_HEADERS
from exchanger.demo.scenario import Call, Subject


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_a_run_is_a_name_and_perhaps_a_token() -> None:
    assert run_ask(body(name="timeout")) == RunAsk("timeout")
    assert run_ask(body(name="timeout", token="")) == RunAsk("timeout")
    assert run_ask(body(name="timeout", token="abc.def==")) == RunAsk("timeout", "abc.def==")


def test_a_request_is_a_call_with_a_subject_of_the_demo_or_a_token() -> None:
    assert request_ask(body(host="h:80", path="/")) == RequestAsk(Call("h:80", "/"))
    everything = body(method="PUT", host="[::1]", path="/a?b=%0d", headers=[["X-A", "b c"], ["x-a", ""]], subject="expired")
    assert request_ask(everything) == RequestAsk(Call("[::1]", "/a?b=%0d", Subject.EXPIRED, "PUT", (("X-A", "b c"), ("x-a", ""))))
    assert request_ask(body(host="h", path="/", subject="own", token="abc")) == RequestAsk(Call("h", "/", Subject.NONE), "abc")


def test_texts_and_names() -> None:
    assert text_ask(body(name="a.yaml", text="b\n")) == TextAsk("a.yaml", "b\n")
    assert save_ask(body(name="a.yaml", text="b\n")) == TextAsk("a.yaml", "b\n")
    assert save_ask(body(name="a.yaml", text="b\n", version="1")) == TextAsk("a.yaml", "b\n", "1")
    assert name_ask(body(name="a.yaml")) == "a.yaml"


@pytest.mark.parametrize("read", [run_ask, request_ask, text_ask, save_ask, name_ask])
@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{", b'{"name": 1}', b'{"other": "a"}', b'{"token": "a"}', b"\xff"])
def test_what_is_no_such_body_is_refused(read: object, data: bytes) -> None:
    assert callable(read)
    assert isinstance(read(data), Wrong)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("host", "a\r\nX: b"),
        ("host", ""),
        ("host", "a b"),
        ("host", "a,b"),
        ("host", "user@a"),
        ("path", ""),
        ("path", "a"),
        ("path", "/ HTTP/1.1\r\n\r\nGET /"),
        ("path", "/\u00e4"),
        ("path", "http://h/"),
        ("method", "get"),
        ("method", "GET "),
        ("method", ""),
        ("subject", "everybody"),
        ("subject", "own"),
        ("token", "abc"),
        ("headers", {"A": "b"}),
        ("headers", "A: b"),
        ("headers", ["A: b"]),
        ("headers", [["A"]]),
        ("headers", [["A", "b", "c"]]),
        ("headers", [["A", 1]]),
        ("headers", [["A:", "b"]]),
        ("headers", [["", "b"]]),
        ("headers", [["A", "b\r\nC: d"]]),
        ("headers", [["A", "b\n"]]),
        ("headers", [["A", "b\x00"]]),
        ("headers", [["hOST", "b"]]),
        ("headers", [["Transfer-Encoding", "chunked"]]),
        ("headers", [["Content-Length", "5"]]),
        ("headers", [["Connection", "close"]]),
        ("headers", [["Authorization", "Bearer abc"]]),
        ("headers", [["A", "b"]] * (MAX_HEADERS + 1)),
        ("headers", [["A", "b" * 8000]] * (MAX_HEADER_CHARACTERS // 8000 + 1)),
        ("extra", "a"),
    ],
)
def test_what_could_be_more_than_one_request_or_none_is_refused(field: str, value: object) -> None:
    assert isinstance(request_ask(body(**{"host": "h", "path": "/", field: value})), Wrong)


def test_as_many_headers_as_there_may_be() -> None:
    assert isinstance(request_ask(body(host="h", path="/", headers=[["A", "b"]] * MAX_HEADERS)), RequestAsk)


@pytest.mark.parametrize("token", ["a b", "a\r\nb", "\u00e4", "Bearer abc", "a" * (MAX_TOKEN_LENGTH + 1), "a,b"])
def test_a_token_that_no_header_can_carry_is_refused(token: str) -> None:
    assert isinstance(run_ask(body(name="a", token=token)), Wrong)
    assert isinstance(request_ask(body(host="h", path="/", subject="own", token=token)), Wrong)


def test_tokens_and_texts_are_in_no_repr() -> None:
    asks = (
        run_ask(body(name="a", token="s3cret")),
        request_ask(body(host="h", path="/", subject="own", token="s3cret")),
        request_ask(body(host="h", path="/", headers=[["X-Key", "s3cret"]])),
        text_ask(body(name="a", text="s3cret")),
    )
    assert not any(isinstance(ask, Wrong) for ask in asks)
    assert "s3cret" not in repr(asks)
