import pytest

from exchanger.http.names import is_loopback


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1"])
def test_only_this_machine_reaches_these(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "10.0.0.1", "example.com", "localhost.example.com", "127.1", "[::1]", "::ffff:10.0.0.1"]
)
def test_others_reach_these(host: str) -> None:
    assert not is_loopback(host)
