import pytest

from exchanger.console.settings import is_loopback, parse_hosts


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1"])
def test_only_this_machine_reaches_these(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "10.0.0.1", "example.com", "localhost.example.com", "127.1", "[::1]", "::ffff:10.0.0.1"]
)
def test_others_reach_these(host: str) -> None:
    assert not is_loopback(host)


def test_names_are_read_in_canonical_form() -> None:
    assert parse_hosts(" Console.Example.com., b.example:8443 ,,") == {"console.example.com", "b.example"}
    assert parse_hosts("") == frozenset()


@pytest.mark.parametrize(
    "text", ["http://console.example.com", "a b", "console.example.com/", "*.example.com", ",".join(f"h{n}" for n in range(65))]
)
def test_what_is_no_name_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="must be at most 64 names of hosts") as caught:
        parse_hosts(text)
    assert text not in str(caught.value)
