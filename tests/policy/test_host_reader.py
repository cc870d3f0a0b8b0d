import pytest

from exchanger.policy.authority import MAX_HOSTS, MAX_NON_ASCII_TEXT, MAX_TEXT, HostReading, read_host


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("https://api.example.com/x", 'is a URL: write api.example.com instead of "https://api.example.com/x"'),
        ("//api.example.com", 'is a URL: write api.example.com instead of "//api.example.com"'),
        ("api.example.com/", 'is more than a host name: write api.example.com instead of "api.example.com/"'),
        ("a,b", 'is more than one host: write one entry for each of a, b instead of "a,b"'),
        ("a,b,c,d", 'is more than one host: write one entry for each of a, b, c and the others instead of "a,b,c,d"'),
        ("*.example.com", 'is a wildcard, and wildcards are not supported: write one entry for each host name instead of "*.example.com"'),
        ("*", 'has no patterns, and "*" is no host: write one entry for each host name instead of "*"'),
        ("(a|b).example.com", 'has no patterns: write one entry for each host name instead of "(a|b).example.com"'),
        ("${HOST}", 'is a template or has escapes: write the host name itself instead of "${HOST}"'),
        (":443", 'is no host: write a host name or a bracketed IPv6 address instead of ":443"'),
        ("bücher.example", 'is more than a host name: write xn--bcher-kva.example instead of "bücher.example"'),
    ],
)
def test_a_sentence_says_what_to_write(text: str, sentence: str) -> None:
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


def test_a_number_of_hosts_is_closed_by_name_and_the_others_are_unknown() -> None:
    some = tuple(f"{name}.example.com" for name in "abcdefgh")

    assert len(some) == MAX_HOSTS
    assert read_host(" ".join(some)).hosts == some
    assert read_host(" ".join([*some, "i.example.com"])).hosts == (*some, None)
    assert read_host(" ".join([*some, *"ijklmn"])).hosts == (*some, None)


@pytest.mark.parametrize(
    "text",
    [
        "😀.example.com",  # neither letter nor digit: nobody knows what it becomes
        "api‐v1.example.com",  # another hyphen
        f"{'é' * 60}.example.com",  # an A-label longer than any
        "*.a.example.com",
        "1,2",
        "https://",
    ],
)
def test_what_cannot_be_known_is_unknown(text: str) -> None:
    assert read_host(text).hosts == (None,)


def test_what_is_known_is_closed_beside_what_is_not() -> None:
    assert read_host("a.example.com 😀.example.com").hosts == ("a.example.com", None)
    assert read_host("a.example.com :443:8443").hosts == ("a.example.com",)


@pytest.mark.parametrize("text", ["https://orders,user@billing", "https://orders;user@billing", "https://orders:443|user@billing"])
def test_user_information_that_may_be_a_list_of_hosts_is_unknown(text: str) -> None:
    reading = read_host(text)

    assert set(reading.hosts) == {"billing", None}
    assert reading.problem == 'is a URL: write billing instead of "https://…@billing"'


def test_an_address_within_brackets_of_another_kind_is_named() -> None:
    assert read_host("([2001:DB8::1])").hosts == ("[2001:db8::1]",)


@pytest.mark.parametrize("text", ["https://user:pass@billing", "https://user:a|b@billing", "https://user:sec,ret@billing"])
def test_user_information_is_no_host(text: str) -> None:
    assert read_host(text).hosts == ("billing",)
