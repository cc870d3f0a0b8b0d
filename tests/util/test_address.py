"""Addresses on command lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.util.address import format_address, parse_address


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
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be HOST:PORT"):
        parse_address(text)


@given(st.sampled_from(["a", "10.0.0.1", "::1", "fe80::1"]), st.integers(0, 65535))
def test_what_is_written_is_read_again(host: str, port: int) -> None:
    assert parse_address(format_address(host, port)) == (host, port)


def test_all_interfaces_have_a_name_for_people() -> None:
    assert format_address("", 80) == "*:80"
