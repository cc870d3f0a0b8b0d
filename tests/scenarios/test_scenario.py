"""What somebody else may put into a request stays in its place: no line, header or request comes out of it that was not meant."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.scenarios.scenario import is_host, is_method, is_path, why_no_header


@given(st.text(), st.text(), st.text(), st.text(), st.text())
def test_what_is_let_through_is_one_request_to_any_parser(method: str, host: str, path: str, name: str, value: str) -> None:
    method, host, path = method if is_method(method) else "GET", host if is_host(host) else "h", path if is_path(path) else "/"
    headers = [("Host", host), *([] if why_no_header(name, value) else [(name, value)])]
    sent = h11.Connection(h11.CLIENT).send(h11.Request(method=method, target=path, headers=headers))
    assert sent is not None
    assert sent.count(b"\r\n") == len(headers) + 2
    server = h11.Connection(h11.SERVER)
    server.receive_data(sent)
    got = server.next_event()
    assert isinstance(got, h11.Request)
    assert got.target.decode() == path
    assert [(key.decode(), text.decode()) for key, text in got.headers] == [(key.lower(), text) for key, text in headers]


@pytest.mark.parametrize("name", ["Host", "AUTHORIZATION", "Content-Length", "Transfer-Encoding", "connection", "Upgrade", "", "a b", "a:"])
def test_what_is_said_elsewhere_is_no_header(name: str) -> None:
    assert why_no_header(name, "x")


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", " a", "a ", "ä", "\x00", "a" * 9_000])
def test_a_value_that_no_header_has_is_refused_and_not_repeated(value: str) -> None:
    assert why_no_header("X-A", value) == "has a value that no header can have"


@pytest.mark.parametrize("value", ["", "a", "a b\tc", "x" * 8_000])
def test_any_other_value_is_one(value: str) -> None:
    assert why_no_header("X-A", value) == ""


@pytest.mark.parametrize("host", ["a.example.com", "a.example.com:8080", "127.0.0.1", "[::1]", "[::1]:80", "A_b"])
def test_hosts(host: str) -> None:
    assert is_host(host)


@pytest.mark.parametrize("host", ["", "a/b", "a b", "a@b", "a:", "a:b", "::1", "a\n", "a?b", "a,b"])
def test_what_is_no_host(host: str) -> None:
    assert not is_host(host)


@pytest.mark.parametrize("path", ["", "a", "/a b", "/a\n", "http://h/", "/ä", "*"])
def test_what_is_no_path(path: str) -> None:
    assert not is_path(path)


@pytest.mark.parametrize("path", ["/", "//", "/a/../b;c?d=%2F&e", "/%zz", "/" + "a" * 8_000])
def test_paths_in_any_spelling(path: str) -> None:
    assert is_path(path)
