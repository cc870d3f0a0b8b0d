import pytest

from exchanger.policy.prefix import Spellings, prefix_spellings


@pytest.mark.parametrize(
    ("prefix", "literal", "rewritten"),
    [
        ("/orders", ("/orders",), ()),
        ("", ("",), ()),
        ("/a%2fb", ("/a%2fb", "/a%2Fb"), ("/a/b",)),
        ("/a%2fb%7ec", ("/a%2fb%7ec", "/a%2Fb%7Ec", "/a%2fb~c"), ("/a/b~c",)),
        ("/café", ("/café", "/caf%C3%A9"), ()),
        ("/caf%c3%a9", ("/caf%c3%a9", "/caf%C3%A9", "/café"), ()),
        ("/a?b=%2f", ("/a?b=%2f",), ()),
        ("/%41?b=%2f", ("/%41?b=%2f",), ("/A?b=%2f",)),
        ("/orders%3F", ("/orders%3F",), ("/orders?",)),
        ("/orders%3Fa//b", ("/orders%3Fa//b",), ("/orders?a//b",)),
        ("/a%20b", ("/a%20b", "/a b"), ()),
        ("/a%2f%2fb", ("/a%2f%2fb", "/a%2F%2Fb", "/a//b"), ()),
        ("/%ff", ("/%ff", "/%FF"), ()),
        ("/\ud800", ("/\ud800",), ()),
        ("/100%", ("/100%",), ()),
    ],
)
def test_spellings(prefix: str, literal: tuple[str, ...], rewritten: tuple[str, ...]) -> None:
    assert prefix_spellings(prefix) == Spellings(literal, rewritten)
