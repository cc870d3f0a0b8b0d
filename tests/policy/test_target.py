"""The absolute form of a request target."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.policy.authority import split_absolute_form


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("http://api.example.com/orders/1?x=1", ("api.example.com", "/orders/1?x=1")),
        ("HTTPS://API.example.com:8443/", ("API.example.com:8443", "/")),
        ("http://api.example.com", ("api.example.com", "/")),
        ("http://api.example.com?x", ("api.example.com", "/?x")),
        ("http://api.example.com#f", ("api.example.com", "/#f")),
        ("http://user@api.example.com/", ("user@api.example.com", "/")),
        ("http:///orders", ("", "/orders")),
        ("http://api.example.com//orders", ("api.example.com", "//orders")),
        ("http://api.example.com/a\nb", ("api.example.com", "/a\nb")),
        ("coap+tcp://a/b", ("a", "/b")),
        ("http://a/http://b/c", ("a", "/http://b/c")),
    ],
)
def test_an_absolute_form_has_an_authority_and_a_path(target: str, parts: tuple[str, str]) -> None:
    assert split_absolute_form(target) == parts


@pytest.mark.parametrize(
    "target",
    ["", "/", "/orders", "//a/b", "*", "orders", "http:/a", "http:a", "://a/b", "1http://a/b", "/http://a/b", " http://a/b", "?http://a"],
)
def test_anything_else_is_none(target: str) -> None:
    assert split_absolute_form(target) is None


@given(st.text(max_size=40))
def test_a_path_that_is_split_off_is_not_split_again(text: str) -> None:
    parts = split_absolute_form(f"http://{text}")
    assert parts is not None
    authority, path = parts
    assert path.startswith("/")
    assert not set("/?#") & set(authority)
    assert split_absolute_form(path) is None
