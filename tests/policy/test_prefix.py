import pytest

from exchanger.policy.prefix import prefix_spellings


@pytest.mark.parametrize(
    ("prefix", "spellings"),
    [
        ("/orders", ("/orders",)),
        ("", ("",)),
        ("/a%2fb", ("/a%2fb", "/a%2Fb", "/a/b")),
        ("/a%2fb%7ec", ("/a%2fb%7ec", "/a%2Fb%7Ec", "/a/b~c", "/a%2fb~c")),
        ("/café", ("/café", "/caf%C3%A9")),
        ("/caf%c3%a9", ("/caf%c3%a9", "/caf%C3%A9", "/café")),
        ("/a?b=%2f", ("/a?b=%2f",)),
        ("/%41?b=%2f", ("/%41?b=%2f", "/A?b=%2f")),
        ("/%ff", ("/%ff", "/%FF")),
        ("/\ud800", ("/\ud800",)),
        ("/100%", ("/100%",)),
    ],
)
def test_spellings(prefix: str, spellings: tuple[str, ...]) -> None:
    assert prefix_spellings(prefix) == spellings
