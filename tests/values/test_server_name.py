import pytest

from exchanger.util.address import tls_server_name


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
