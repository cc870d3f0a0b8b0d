"""Addresses on command lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.util.address import format_address, is_dialable, parse_address, tls_server_name


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:3001", ("127.0.0.1", 3001)),
        ("localhost:0", ("localhost", 0)),
        (":8080", ("", 8080)),
        ("[::1]:3001", ("::1", 3001)),
        ("[::]:65535", ("::", 65535)),
    ],
)
def test_an_address_is_read(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "3001", "localhost", "localhost:", "localhost:x", "localhost:65536", "::1:3001", "a:-1", "a:²", "[a:1"]
)
def test_a_wrong_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be HOST:PORT"):
        parse_address(text)


@given(st.sampled_from(["a", "10.0.0.1", "::1", "fe80::1"]), st.integers(0, 65535))
def test_a_formatted_address_is_parsed_back(host: str, port: int) -> None:
    assert parse_address(format_address(host, port)) == (host, port)


def test_all_interfaces_have_a_name_for_people() -> None:
    assert format_address("", 80) == "*:80"


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("issuer.example.com", 443, True),
        ("issuer.example.com.", 443, True),
        ("token_endpoint", 8080, True),
        ("xn--bcher-kva.example", 443, True),
        ("127.0.0.1", 65_535, True),
        ("::1", 443, True),
        ("a" * 63 + ".example", 443, True),
        ("a" * 64 + ".example", 443, False),
        (".".join(["a" * 60] * 5), 443, False),
        ("", 443, False),
        (".", 443, False),
        ("a..b", 443, False),
        ("-a", 443, False),
        ("a-", 443, False),
        ("a b", 443, False),
        ("a\n", 443, False),
        ("%41", 443, False),
        ("fe80::1%eth0", 443, False),
        ("b\u00fccher.example", 443, False),
        ("issuer.example.com", 0, False),
        ("issuer.example.com", 65_536, False),
    ],
)
def test_is_dialable(host: str, port: int, expected: bool) -> None:
    assert is_dialable(host, port) is expected


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("issuer.example.com", "issuer.example.com"),
        ("issuer.example.com.", "issuer.example.com"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("a..", "a."),  # no name, and not made one
    ],
)
def test_a_name_is_without_the_dot_of_the_root(host: str, name: str) -> None:
    assert tls_server_name(host) == name
