import pytest

from exchanger.util.address import is_dialable


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
