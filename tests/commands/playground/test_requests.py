"""Bodies of the playground's requests; the laws of what is sent are in tests/property, the rules in the tests of scenarios."""

import json
from collections.abc import Callable

import pytest

from exchanger.commands.playground.requests import (
    MAX_HEADER_CHARACTERS,
    FileRequest,
    MalformedBody,
    RunRequest,
    SendRequest,
    read_name,
    read_run,
    read_save,
    read_send,
    read_text,
)
from exchanger.commands.scenarios.scenario import MAX_HEADERS, GatewayCall
from exchanger.commands.scenarios.tokens import Subject
from exchanger.model.bearer import MAX_TOKEN_LENGTH

Read = Callable[[bytes], object]
HEADERS = (("X-A", "b c"), ("x-a", ""))


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("read", "fields", "meant"),
    [
        (read_run, {"name": "timeout"}, RunRequest("timeout")),
        (read_run, {"name": "timeout", "token": ""}, RunRequest("timeout")),
        (read_run, {"name": "timeout", "token": "abc.def=="}, RunRequest("timeout", "abc.def==")),
        (read_send, {"host": "h:80", "path": "/"}, SendRequest(GatewayCall("h:80", "/"))),
        (
            read_send,
            {"method": "PUT", "host": "[::1]", "path": "/a?b=%0d", "headers": [*HEADERS], "subject": "expired"},
            SendRequest(GatewayCall("[::1]", "/a?b=%0d", Subject.EXPIRED, "PUT", HEADERS)),
        ),
        (read_send, {"host": "h", "path": "/", "subject": "own", "token": "abc"}, SendRequest(GatewayCall("h", "/", Subject.NONE), "abc")),
        (
            read_send,
            {"host": "h", "path": "/", "headers": [["A", "b"]] * MAX_HEADERS},
            SendRequest(GatewayCall("h", "/", headers=(("A", "b"),) * MAX_HEADERS)),
        ),
        (read_text, {"name": "a.yaml", "text": "b\n"}, FileRequest("a.yaml", "b\n")),
        (read_save, {"name": "a.yaml", "text": "b\n"}, FileRequest("a.yaml", "b\n")),
        (read_save, {"name": "a.yaml", "text": "b\n", "version": "1"}, FileRequest("a.yaml", "b\n", "1")),
        (read_name, {"name": "a.yaml"}, "a.yaml"),
    ],
)
def test_a_body_is_understood(read: Read, fields: dict[str, object], meant: object) -> None:
    assert read(body(**fields)) == meant


@pytest.mark.parametrize("read", [read_run, read_send, read_text, read_save, read_name])
@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{", b'{"name": 1}', b'{"other": "a"}', b'{"token": "a"}', b"\xff"])
def test_any_other_body_is_refused(read: Read, data: bytes) -> None:
    assert isinstance(read(data), MalformedBody)


WRONG_HEADERS: list[object] = [
    *({"A": "b"}, "A: b", ["A: b"], [["A"]], [["A", "b", "c"]], [["A", 1]], [["A", "b\r\nC: d"]], [["hOST", "b"]]),
    [["A", "b"]] * (MAX_HEADERS + 1),
    [["A", "b" * 8000]] * (MAX_HEADER_CHARACTERS // 8000 + 1),
]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("host", "user@a"), ("path", "a"), ("method", "get"), ("subject", "everybody"), ("subject", "own"), ("token", "abc")),
        *(("headers", headers) for headers in WRONG_HEADERS),
        ("extra", "a"),
    ],
)
def test_anything_but_one_request_is_refused(field: str, value: object) -> None:
    assert isinstance(read_send(body(**{"host": "h", "path": "/", field: value})), MalformedBody)


@pytest.mark.parametrize("token", ["a b", "a\r\nb", "\u00e4", "Bearer abc", "a" * (MAX_TOKEN_LENGTH + 1), "a,b"])
def test_a_token_that_no_header_can_carry_is_refused(token: str) -> None:
    assert isinstance(read_run(body(name="a", token=token)), MalformedBody)
    assert isinstance(read_send(body(host="h", path="/", subject="own", token=token)), MalformedBody)


def test_no_repr_contains_tokens_or_texts() -> None:
    asks = (
        read_run(body(name="a", token="s3cret")),
        read_send(body(host="h", path="/", subject="own", token="s3cret")),
        read_send(body(host="h", path="/", headers=[["X-Key", "s3cret"]])),
        read_text(body(name="a", text="s3cret")),
    )
    assert not any(isinstance(ask, MalformedBody) for ask in asks)
    assert "s3cret" not in repr(asks)
