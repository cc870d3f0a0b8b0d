"""METHOD URL and headers as people write them, read without any normalisation."""

import pytest

from exchanger.commands.question import MAX_HEADERS, MalformedQuestion, Question, read_question


def test_a_bearer_token_is_assumed_unless_a_header_says_otherwise() -> None:
    found = read_question("GET", "https://a.example:8443/x%2Fy?z=1", ["X-One:  b:c "])
    assert isinstance(found, Question)
    assert (found.host, found.path) == ("a.example:8443", "/x%2Fy?z=1")
    assert found.headers == (("x-one", "b:c"), ("authorization", "Bearer assumed"))
    assert found.url() == "https://a.example:8443/x%2Fy?z=1"


@pytest.mark.parametrize(
    ("header", "kept"), [("Authorization: Basic eA==", "Basic eA=="), ("authorization:", None), ("Authorization:  ", None)]
)
def test_authorization_is_what_the_header_says(header: str, kept: str | None) -> None:
    found = read_question("GET", "a.example", [header])
    assert isinstance(found, Question)
    assert dict(found.headers).get("authorization") == kept
    assert "eA==" not in repr(found)


@pytest.mark.parametrize(
    ("url", "headers", "host", "path"),
    [
        ("a.example/x", (), "a.example", "/x"),
        ("https://a.example", (), "a.example", "/"),
        ("https://a.example?x", (), "a.example", "/?x"),
        ("https://a.example//x/../y", (), "a.example", "//x/../y"),
        ("https://[::1]:3000/x", (), "[::1]:3000", "/x"),
        ("https://a.example/x", ("Host: b.example",), "b.example", "/x"),
        ("/x", ("Host: b.example",), "b.example", "/x"),
        ("https://a.example/ü!", (), "a.example", "/ü!"),
    ],
)
def test_a_url_is_taken_apart_and_not_changed(url: str, headers: tuple[str, ...], host: str, path: str) -> None:
    found = read_question("GET", url, headers)
    assert isinstance(found, Question)
    assert (found.host, found.path) == (host, path)


@pytest.mark.parametrize(
    ("method", "url", "headers", "said"),
    [
        ("GET", "https://me:hunter2@a.example/", (), "user information"),
        ("GET", "ftp://a.example/", (), 'the scheme "ftp"'),
        ("GET", "https://a.example/#x", (), "fragment"),
        ("GET", "/x", (), "no host"),
        ("GET", "", (), "no host"),
        ("G ET", "a.example", (), "is not a method"),
        ("", "a.example", (), "is not a method"),
        ("GET", "a.example", ("nothing",), "'Name: value'"),
        ("GET", "a.example", (": x",), "'Name: value'"),
        ("GET", "a.example", (":path: x",), "'Name: value'"),
        ("GET", "a.example", ("a b: hunter2",), "'Name: value'"),
        ("GET", "a.example", ("x: y",) * (MAX_HEADERS + 1), "at most 100 headers"),
    ],
)
def test_what_is_no_request_is_told_without_secrets(method: str, url: str, headers: tuple[str, ...], said: str) -> None:
    found = read_question(method, url, headers)
    assert isinstance(found, MalformedQuestion)
    assert said in found.reason
    assert "hunter2" not in found.reason
