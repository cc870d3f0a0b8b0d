import pytest

from exchanger.console.settings import parse_hosts


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
