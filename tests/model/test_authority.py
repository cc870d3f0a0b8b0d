from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.model.authority import (
    MAX_NON_ASCII_TEXT,
    MAX_TEXT,
    HostReading,
    is_host,
    normalise_policy_host,
    read_authority,
    read_host,
    split_absolute_form,
)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("api.example.com", "api.example.com"),
        ("API.Example.COM", "api.example.com"),
        ("API.example.com.:443", "api.example.com"),
        (" \tapi.example.com\t ", "api.example.com"),
        ("a_b-c.1", "a_b-c.1"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("[2001:DB8:0:0::1]:", "[2001:db8::1]"),
        ("", ""),
    ],
)
def test_authorities_have_one_canonical_form(text: str, canonical: str) -> None:
    assert read_authority(text) == canonical


MALFORMED: Final = (
    "user@api.example.com api.example.com,evil.com api.example.com/x api.example.com:abc api.example.com\x00 "
    "api%2eexample.com bücher.example api..example.com .example.com * https://api.example.com 2001:db8::1 [2001:db8::1 "
    "[fe80::1%25eth0] [1.2.3.4] [:::]"
)


# The last two have KELVIN SIGN, which lower-cases to k, and a digit that is not ASCII.
@pytest.mark.parametrize(
    "text", [*MALFORMED.split(), "api.exam ple.com", "\xa0api.example.com", "\u212aiwi.example", "api.example.com:\u0663"]
)
def test_an_authority_that_is_no_host_is_malformed(text: str) -> None:
    assert read_authority(text) is None


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("\u00a0API.example.com\n", "api.example.com"),
        ("api.example.com:http", "api.example.com"),
        ("api.example.com.:http", "api.example.com"),
        ("[2001:DB8:0::1]:https", "[2001:db8::1]"),
        ("2001:DB8::1", "[2001:db8::1]"),
        ("API.example.com:*", "api.example.com"),
        ("api.example.com: 443", "api.example.com"),
        ("api.example.com. :443", "api.example.com"),
        ("orders:https", "orders"),
        ("orders:x11-ssh-offset1", "orders"),
        ("http:8080", "http"),
        # What no request can have is trimmed, and put into lower case where it is ASCII.
        (" *.Example.com ", None),
        ("BÜCHER.example", None),
        ("\u212aiwi.example.", None),
        ("fe80::1%eth0", None),
        ("HTTP:api.example.com", None),
        ("orders:a-service-name-of-17", None),
        ("orders:a--b", None),
        ("orders:-a", None),
        ("orders:1-2", None),
        ("[1:2]:http", None),
    ],
)
def test_policy_hosts_have_the_same_canonical_form(text: str, canonical: str | None) -> None:
    literal = "".join(char.lower() if char.isascii() else char for char in text.strip())
    assert normalise_policy_host(text) == canonical or (canonical is None and normalise_policy_host(text) == literal)
    assert is_host(normalise_policy_host(text)) == (canonical is not None)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("https://api.example.com/x", 'is a URL: write api.example.com instead of "https://api.example.com/x"'),
        ("api.example.com/", 'is more than a host name: write api.example.com instead of "api.example.com/"'),
        ("a,b", 'is more than one host: write one entry for each of a, b instead of "a,b"'),
        ("a,b,c,d", 'is more than one host: write one entry for each of a, b, c and the others instead of "a,b,c,d"'),
        ("*.example.com", ""),
        (
            "*.a.*",
            'has a misplaced "*": write one entry for each host name, or *.example.com for all below one, instead of "*.a.*"',
        ),
        ("*.example.com/", 'is more than a host name: write *.example.com instead of "*.example.com/"'),
        (
            ".example.com",
            'begins with a dot: write *.example.com for all hosts below it, or example.com, instead of ".example.com"',
        ),
        ("*.[::1]", 'is not a host: write a host name or a bracketed IPv6 address instead of "*.[::1]"'),
        ("*", 'has a misplaced "*": write one entry for each host name, or *.example.com for all below one, instead of "*"'),
        ("(a|b).example.com", 'has no patterns: write one entry for each host name instead of "(a|b).example.com"'),
        ("${HOST}", 'is a template or has escapes: write the host name itself instead of "${HOST}"'),
        (":443", 'is not a host: write a host name or a bracketed IPv6 address instead of ":443"'),
        ("bücher.example", 'is more than a host name: write xn--bcher-kva.example instead of "bücher.example"'),
    ],
)
def test_a_reason_says_what_to_write_instead_of_the_host(text: str, sentence: str) -> None:
    assert read_host(text).problem == sentence


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:secret@a.example.com/", "https://…@a.example.com/"),
        ("https://us,er:sec,ret@a.example.com/", "https://…@a.example.com/"),
        ("user:secret@a.example.com/", "…@a.example.com/"),
        ("b.example.com, user:secret@a.example.com", "b.example.com, …@a.example.com"),
        ("a.example.com/?token=secret", "a.example.com/?…"),
        ("a.example.com/#secret", "a.example.com/#…"),
    ],
)
def test_a_sentence_keeps_passwords_and_queries_to_itself(text: str, shown: str) -> None:
    reading = read_host(text)
    assert reading.problem.endswith(f'"{shown}"')
    assert not any("secret" in (host or "") for host in reading.hosts)


def test_a_host_is_read_up_to_a_length() -> None:
    assert read_host("a" * MAX_TEXT) == HostReading(("a" * MAX_TEXT,))
    for text in ("a" * (MAX_TEXT + 1), "é" * (MAX_NON_ASCII_TEXT + 1)):
        reading = read_host(text)
        assert reading.hosts == (None,)
        assert reading.problem.startswith("is longer than any host: write one host name instead of ")


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        (f"{'é' * 60}.example.com", {None}),  # an A-label longer than any
        ("a.example.com 😀.example.com", {"a.example.com", None}),
        ("a.example.com :443:8443", {"a.example.com"}),
        ("a.example.com:443,8443", {"a.example.com"}),
        ("https://orders,user@billing", {"billing", None}),  # user information, or a list of hosts
        ("https://orders;user@billing", {"billing", None}),
        ("https://orders:443|user@billing", {"billing", None}),
        ("https://a.example.com,user@billing", {"a.example.com", "billing"}),
        ("https://user:pass@billing", {"billing"}),
        ("https://user:a|b@billing", {"billing"}),
        ("([2001:DB8::1])", {"[2001:db8::1]"}),
        ("localhost:a.example.com", {"localhost", "a.example.com"}),
        ("a.example.com:no--port", {"a.example.com"}),
        ("a.example.com/orders/b.example.com/10.1.2.3/1.2", {"a.example.com", "b.example.com", "10.1.2.3"}),
        (" ".join(f"{name}.example.com" for name in "abcdefghij"), {*(f"{name}.example.com" for name in "abcdefgh"), None}),
    ],
)
def test_each_known_host_is_named_and_the_others_are_unknown(text: str, hosts: set[str | None]) -> None:
    assert set(read_host(text).hosts) == hosts


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("http://api.example.com/orders/1?x=1", ("api.example.com", "/orders/1?x=1")),
        ("HTTPS://API.example.com:8443/", ("API.example.com:8443", "/")),
        ("http://api.example.com", ("api.example.com", "/")),
        ("http://api.example.com?x", ("api.example.com", "/?x")),
        ("http://api.example.com#f", ("api.example.com", "/#f")),
        ("http://user@api.example.com/", ("user@api.example.com", "/")),
        ("http:///orders", ("", "/orders")),
        ("http://api.example.com//orders", ("api.example.com", "//orders")),
        ("http://api.example.com/a\nb", ("api.example.com", "/a\nb")),
        ("coap+tcp://a/b", ("a", "/b")),
        ("http://a/http://b/c", ("a", "/http://b/c")),
    ],
)
def test_an_absolute_form_has_an_authority_and_a_path(target: str, parts: tuple[str, str]) -> None:
    assert split_absolute_form(target) == parts


@pytest.mark.parametrize(
    "target",
    ["", "/", "/orders", "//a/b", "*", "orders", "http:/a", "http:a", "://a/b", "1http://a/b", "/http://a/b", " http://a/b", "?http://a"],
)
def test_no_other_form_is_split(target: str) -> None:
    assert split_absolute_form(target) is None


@given(st.text(max_size=40))
def test_a_path_that_is_split_off_is_not_split_again(text: str) -> None:
    parts = split_absolute_form(f"http://{text}")
    assert parts is not None
    authority, path = parts
    assert path.startswith("/")
    assert not set("/?#") & set(authority)
    assert split_absolute_form(path) is None


def test_a_host_with_a_leading_dot_closes_itself_and_all_below() -> None:
    assert read_host(".Example.com:443").hosts == ("*.example.com", "example.com")
