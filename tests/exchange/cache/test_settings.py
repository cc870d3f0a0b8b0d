from typing import Final

import pytest

from exchanger.exchange.cache.settings import StoreAddress, parse_namespace, parse_store_url, parse_username


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://cache", StoreAddress(False, "cache", 6379)),
        ("valkey://Cache.Example.com:7000/3", StoreAddress(False, "cache.example.com", 7000, 3)),
        ("rediss://cache/", StoreAddress(True, "cache", 6379)),
        ("VALKEYS://[::1]:1/15", StoreAddress(True, "::1", 1, 15)),
        ("redis://10.0.0.1:6380/0", StoreAddress(False, "10.0.0.1", 6380)),
    ],
)
def test_a_store_url_is_an_address_or_has_a_problem(url: str, address: StoreAddress) -> None:
    assert parse_store_url(url) == address


NO_ADDRESSES: Final = [
    *("", "cache:6379", "http://cache", "redis:cache", "redis+sentinel://cache", "unix:///run/redis.sock"),
    *(f"redis://{place}" for place in ("", "/0", ":canary@cache", "user:canary@cache:1", "canary@cache")),
    *(f"redis://cache{rest}" for rest in ("/canary", "/0/1", "?password=canary", "/0?password=canary", "#canary", "/99999")),
    *(f"redis://cache:{port}" for port in ("0", "65536", "")),
    *(f"redis://{host}" for host in ("ca che", "a,b", "[::1", "::1", "[fe80::1%25eth0]", "a." * 600 + "b")),
]


@pytest.mark.parametrize("url", NO_ADDRESSES)
def test_what_is_no_address_is_told_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"must|has no usable") as raised:
        parse_store_url(url)

    assert "canary" not in str(raised.value)


@pytest.mark.parametrize("name", ["exchanger", "a", "team-1.prod_eu", "9", "a" * 63])
def test_a_namespace_of_the_store_may_have_these_characters(name: str) -> None:
    assert parse_namespace(name) == name


@pytest.mark.parametrize("name", ["", "a b", "a:b", "*", "-a", "a" * 64, "é", "a\n"])
def test_an_unusable_namespace_of_the_store_is_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_namespace(name)


@pytest.mark.parametrize("name", ["a b", "a\n", "é", "a\x7f"])
def test_an_unusable_user_of_the_store_is_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="visible ASCII"):
        parse_username(name)
