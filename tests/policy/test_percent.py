import pytest

from exchanger.policy.path import decode, decode_but_slashes, encode, has_broken_escape, has_escape


@pytest.mark.parametrize(
    ("text", "decoded"),
    [("", ""), ("a%2fB%2F", "a/B/"), ("%2561", "%61"), ("%zz%2", "%zz%2"), ("%C3%a9é", "éé"), ("%00", "\0")],
)
def test_escapes_are_decoded_once(text: str, decoded: str) -> None:
    assert decode(text) == decoded


@pytest.mark.parametrize("text", ["%ff", "%C3", "%c0%af", "%ed%a0%80", "\ud800"])
def test_what_is_not_utf8_is_not_decoded(text: str) -> None:
    assert decode(text) is None


def test_slashes_may_be_left_alone() -> None:
    assert decode_but_slashes("%2f%2F%252f%2e") == "%2f%2F%2f."
    assert decode_but_slashes("%ff") is None


def test_encoding_touches_nothing_but_non_ascii_and_the_case_of_escapes() -> None:
    assert encode("/a b?#%c3%A9é%") == "/a b?#%C3%A9%C3%A9%"
    assert encode("\ud800") is None


def test_escapes_are_recognised() -> None:
    assert has_escape("a%2F")
    assert not has_escape("a%2")
    assert has_broken_escape("a%2")
    assert has_broken_escape("%zz")
    assert not has_broken_escape("%2F%aB")
