import pytest

from exchanger.policy.authority import is_host, normalise_policy_host, read_authority


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("api.example.com", "api.example.com"),
        ("API.Example.COM", "api.example.com"),
        ("api.example.com:8443", "api.example.com"),
        ("api.example.com:", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        ("API.example.com.:443", "api.example.com"),
        (" \tapi.example.com\t ", "api.example.com"),
        ("a_b-c.1", "a_b-c.1"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("[2001:db8::1]:443", "[2001:db8::1]"),
        ("[2001:DB8:0:0::1]:", "[2001:db8::1]"),
        ("", ""),
        (" \t", ""),
    ],
)
def test_authorities_have_one_canonical_form(text: str, canonical: str) -> None:
    assert read_authority(text) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "user@api.example.com",
        "api.example.com,evil.com",
        "api.example.com/x",
        "api.example.com:abc",
        "api.example.com:80:80",
        "api.exam ple.com",
        "api.example.com\n",
        "api.example.com\x00",
        "\xa0api.example.com",
        "api%2eexample.com",
        "bücher.example",
        "\u212aiwi.example",  # KELVIN SIGN, which lower-cases to k
        "api.example.com:٣",  # a digit, but not one of ASCII
        "api..example.com",
        "api.example.com..",
        ".example.com",
        ".",
        ":443",
        "*",
        "*.example.com",
        "https://api.example.com",
        "2001:db8::1",
        "[2001:db8::1",
        "[2001:db8::1]x",
        "[fe80::1%25eth0]",
        "[1.2.3.4]",
        "[:::]",
        "[]",
    ],
)
def test_what_no_host_can_be_is_malformed(text: str) -> None:
    assert read_authority(text) is None


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("\u00a0API.example.com\n", "api.example.com"),
        ("api.example.com:8443", "api.example.com"),
        ("api.example.com:http", "api.example.com"),
        ("api.example.com.:http", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        ("[2001:DB8:0::1]:443", "[2001:db8::1]"),
        ("[2001:DB8:0::1]:https", "[2001:db8::1]"),
        ("2001:DB8::1", "[2001:db8::1]"),
        ("API.example.com:*", "api.example.com"),
        ("api.example.com: 443", "api.example.com"),
        ("api.example.com. :443", "api.example.com"),
        ("api.example.com:", "api.example.com"),
        ("orders:https", "orders"),
        ("orders:x11-ssh-offset1", "orders"),
        ("http:8080", "http"),
        ("http:*", "http"),
    ],
)
def test_policy_hosts_have_the_same_canonical_form(text: str, canonical: str) -> None:
    assert normalise_policy_host(text) == canonical
    assert is_host(canonical)


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("*", "*"),
        (" *.Example.com ", "*.example.com"),
        ("https://X.example", "https://x.example"),
        ("A b", "a b"),
        ("BÜCHER.example", "bÜcher.example"),
        ("\u212aiwi.example.", "\u212aiwi.example."),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("a..", "a.."),
        ("a b:443", "a b:443"),
        ("https://a:443", "https://a:443"),
        ("", ""),
        (":443", ":443"),
        ("::1%ETH0", "::1%eth0"),
        ("api.example.com:443/orders", "api.example.com:443/orders"),
        ("api.example.com:443,8443", "api.example.com:443,8443"),
        ("api.example.com:{port}", "api.example.com:{port}"),
        ("api.example.com:443:1", "api.example.com:443:1"),
        ("HTTP:api.example.com", "http:api.example.com"),
        ("http:orders", "http:orders"),
        ("orders:a-service-name-of-17", "orders:a-service-name-of-17"),
        ("orders:a--b", "orders:a--b"),
        ("orders:-a", "orders:-a"),
        ("orders:1-2", "orders:1-2"),
        ("orders:a_b", "orders:a_b"),
        ("[1:2]:http", "[1:2]:http"),
    ],
)
def test_a_policy_host_that_no_request_can_have_stays_as_it_is(text: str, literal: str) -> None:
    assert normalise_policy_host(text) == literal
    assert not is_host(literal)
