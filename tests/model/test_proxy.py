import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.model.proxy import Proxy, ProxyProblem, read_proxy
from exchanger.model.secret import Secret


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://proxy.example.com:3128", Proxy(False, "proxy.example.com", 3128)),
        ("http://proxy.example.com", Proxy(False, "proxy.example.com", 80)),
        ("http://proxy.example.com:/", Proxy(False, "proxy.example.com", 80)),
        ("HTTPS://Proxy.Example.Com/", Proxy(True, "proxy.example.com", 443)),
        ("http://10.0.0.1:8080", Proxy(False, "10.0.0.1", 8080)),
        ("http://[2001:DB8::1]:8080", Proxy(False, "2001:db8::1", 8080)),
        ("http://user:pass@proxy:1", Proxy(False, "proxy", 1, Secret("user:pass"))),
        ("http://user@proxy:1", Proxy(False, "proxy", 1, Secret("user:"))),
        ("http://us%2Fer:p%40%3Ass%25@proxy:1", Proxy(False, "proxy", 1, Secret("us/er:p@:ss%"))),
        ("http://user:a:b@proxy:1", Proxy(False, "proxy", 1, Secret("user:a:b"))),
        ("http://@proxy:1", Proxy(False, "proxy", 1)),
    ],
)
def test_urls(text: str, expected: Proxy) -> None:
    assert read_proxy(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("canary", "is not a URL"),
        ("canary:3128", "is not a URL"),
        ("http://canary/" + "a" * 5000, "is not a URL"),
        ("socks5://canary:1080", "must begin with http:// or https://"),
        ("http://", "must have a host"),
        ("http://canary:3128/path", "must have a host"),
        ("http://canary:3128#x", "must have a host"),
        ("http://canary:pass/word@proxy:1", "must have a host"),
        ("http://canary:pass@word@proxy:1", "must have a host"),
        ("http://a\r\ncanary:1", "must have a host"),
        ("http://büro.canary:1", "must have a host"),
        ("http://canary:65536", "no usable host and port"),
        ("http://-canary:1", "no usable host and port"),
        ("http://[::1::]:1", "no usable host and port"),
        ("http://canary%zz:x@proxy:1", "does not begin an escape"),
        ("http://canary%ff:x@proxy:1", "not UTF-8"),
        ("http://canary\udcff:x@proxy:1", "not UTF-8"),
        ("http://canary%3Ax:x@proxy:1", "a colon in its user name"),
        ("http://canary:x%0d%0aX-Injected:%201@proxy:1", "a control character"),
    ],
)
def test_a_url_that_cannot_be_used_is_not_quoted(text: str, reason: str) -> None:
    found = read_proxy(text)
    assert isinstance(found, ProxyProblem)
    assert reason in found.reason
    assert "canary" not in repr(found)


printable = st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)


@given(printable.filter(lambda name: ":" not in name), printable)
def test_any_user_and_password_can_be_written_and_do_not_show(name: str, password: str) -> None:
    found = read_proxy(f"http://{quote(name, safe='')}:{quote(password, safe='')}@proxy.example.com:3128")
    assert found == Proxy(False, "proxy.example.com", 3128, Secret(f"{name}:{password}"))
    assert repr(found) == repr(Proxy(False, "proxy.example.com", 3128, Secret("another")))


@given(st.text(string.printable) | st.text(string.printable).map(lambda text: f"http://{text}") | st.text())
def test_any_text_is_a_proxy_or_a_problem(text: str) -> None:
    found = read_proxy(text)
    assert isinstance(found, ProxyProblem) or found.port > 0
