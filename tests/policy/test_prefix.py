import pytest

from exchanger.policy.prefix import MAX_DECODINGS, MAX_PREFIX, PrefixReading, Spellings, prefix_spellings, read_prefix


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


@pytest.mark.parametrize(
    ("text", "closed", "sentence"),
    [
        ("/admin*", "/admin", 'is a prefix already: write /admin instead of "/admin*"'),
        ("*", "", 'is a prefix already: write / instead of "*"'),
        ("https://a.example/b?c=d", "", 'is a URL: write /b instead of "https://a.example/b?…"'),
        ("https://u:p@a.example", "", 'is a URL: write / instead of "https://…@a.example"'),
        ("//admin", "", 'begins with two slashes, so servers take what follows for a host: write /admin instead of "//admin"'),
        ("\\admin", "", 'has a backslash, which servers treat as a slash: write /admin instead of "\\admin"'),
        ("/a\\b", "/a", 'has a backslash, which servers treat as a slash: write /a/b instead of "/a\\b"'),
        ('"/admin"', "", 'contains quotation marks: write /admin instead of ""/admin""'),
        ("^/admin$", "", 'is taken literally, not as a regular expression: write /admin instead of "^/admin$"'),
        ("/x/../a", "", 'has a dot segment ("." or ".."), which servers resolve: write /a instead of "/x/../a"'),
        ("/%2e/a", "", 'has a dot segment ("." or ".."), which servers resolve: write the path as servers see it instead of "/%2e/a"'),
        ("/a//b", "/a", 'has an empty segment ("//"), which servers drop: write /a/b instead of "/a//b"'),
        ("/a#b", "/a", 'has a fragment, which servers never see: write /a instead of "/a#…"'),
        ("/a?b", "/a", 'has a query, but prefixes are for paths only: write /a instead of "/a?…"'),
        ("/100%", "/100", 'has a "%" that does not begin an escape: write /100%25 instead of "/100%" if the sign itself is meant'),
        ("/100%/*", "/100", 'has a "%" that does not begin an escape: write the path as servers see it instead of "/100%/*"'),
        ("/a\u200bb", "/a", 'has an invisible character, which no path has: write /ab instead of "/a\ufffdb"'),
        ("/a, /b", "", 'is more than one prefix: write one entry for each prefix instead of "/a, /b"'),
        (
            "/a/{id}/b",
            "/a",
            ('is taken literally, not as a pattern: write one entry for each prefix, or /a for all of them, instead of "/a/{id}/b"'),
        ),
        (
            "/a%ff",
            "/a",
            'has escapes or parameters that servers rewrite: write the path as servers see it instead of "/a%ff"',
        ),
    ],
)
def test_a_reason_says_what_to_write_instead_of_the_prefix(text: str, closed: str, sentence: str) -> None:
    assert read_prefix(text) == PrefixReading(closed, sentence)


def test_a_prefix_is_read_up_to_a_length() -> None:
    longest = "/" + "a" * (MAX_PREFIX - 1)
    assert read_prefix(longest) == PrefixReading(longest)
    assert read_prefix(longest + "b").prefix == longest
    assert read_prefix(longest + "b").problem.startswith(
        "is longer than 2,048 characters: write a shorter beginning of the path instead of "
    )
    assert read_prefix("/a*" + longest).prefix == "/a"
    assert not read_prefix("/a/é".ljust(512, "a")).problem
    assert read_prefix("/a/é".ljust(513, "a")).prefix == "/a"


def test_escapes_of_escapes_are_read_so_many_times() -> None:
    assert read_prefix("/" + "%25" + "25" * (MAX_DECODINGS - 3) + "41").problem == ""
    assert read_prefix("/a/" + "%25" + "25" * MAX_DECODINGS + "41").prefix == "/a"


@pytest.mark.parametrize("text", ["/a*%", "/a" + "*.+" * 50 + "%"])
def test_a_closed_prefix_is_legal_itself(text: str) -> None:
    closed = read_prefix(text).prefix
    assert closed in {"/a", ""}
