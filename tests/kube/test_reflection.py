import pytest

from exchanger.kube.list_watch import Bookmark, Deleted, Item, Key, Put
from exchanger.kube.reflection import Complete, Effect, Reflection, older, usable

A, B = Key("n", "a"), Key("n", "b")


def item(key: Key, version: str, value: str = "x") -> Item[str]:
    return Item(key, version, value)


@pytest.fixture
def known() -> Reflection[str]:
    """What a list in version 10 said: one object, of version 7."""
    found: Reflection[str] = Reflection()
    found.replace(Complete((item(A, "7"),), "10"))
    return found


@pytest.mark.parametrize(
    ("version", "other", "expected"),
    [
        ("9", "10", True),
        ("10", "9", False),
        ("10", "10", False),
        ("18446744073709551614", "18446744073709551615", True),
        ("9" * 5000, "1" + "0" * 5000, False),
        ("a", "b", False),
        ("", "1", False),
        ("1", "", False),
        ("-1", "1", False),
        ("١", "2", False),
        ("²", "3", False),
    ],
)
def test_only_numbers_have_an_order(version: str, other: str, expected: bool) -> None:
    assert older(version, other) is expected


@pytest.mark.parametrize(("version", "expected"), [("", False), ("0", False), ("1", True), ("opaque", True)])
def test_requests_give_two_versions_another_meaning(version: str, expected: bool) -> None:
    assert usable(version) is expected


def test_a_put_is_news_and_advances(known: Reflection[str]) -> None:
    assert known.apply(Put(item(B, "11"))) is Effect.NEWS
    assert known.apply(Put(item(A, "12", "y"))) is Effect.NEWS
    assert (known.version, len(known)) == ("12", 2)


def test_an_added_one_that_is_there_is_nothing_new(known: Reflection[str]) -> None:
    """Duplicate ADDED, below the version that is known: a repetition."""
    assert known.apply(Put(item(A, "7"))) is Effect.NOTHING
    assert known.version == "10"


def test_a_modified_one_that_is_not_there_is_added(known: Reflection[str]) -> None:
    assert known.apply(Put(item(B, "11"))) is Effect.NEWS


def test_a_put_from_another_history_changes_nothing(known: Reflection[str]) -> None:
    assert known.apply(Put(item(A, "6", "older"))) is Effect.BREAK
    assert known.apply(Put(item(B, "9"))) is Effect.BREAK
    assert known.agrees(Complete((item(A, "7"),), "10"))


def test_a_deletion_is_news_and_advances(known: Reflection[str]) -> None:
    assert known.apply(Deleted(A, "11")) is Effect.NEWS
    assert (known.version, len(known)) == ("11", 0)


def test_a_deletion_may_have_the_version_of_what_is_deleted(known: Reflection[str]) -> None:
    assert known.apply(Deleted(A, "7")) is Effect.NEWS
    assert (known.version, len(known)) == ("10", 0)


def test_a_deletion_from_another_history_changes_nothing(known: Reflection[str]) -> None:
    assert known.apply(Deleted(A, "9")) is Effect.BREAK
    assert (known.version, len(known)) == ("10", 1)


@pytest.mark.parametrize(("version", "then"), [("11", "11"), ("9", "10"), ("", "10"), ("0", "10")])
def test_a_deletion_of_what_is_not_there_is_nothing_new(known: Reflection[str], version: str, then: str) -> None:
    assert known.apply(Deleted(B, version)) is Effect.NOTHING
    assert known.version == then


@pytest.mark.parametrize(
    ("version", "effect", "then"), [("11", Effect.NOTHING, "11"), ("10", Effect.NOTHING, "10"), ("9", Effect.BREAK, "10")]
)
def test_a_bookmark_advances_and_never_goes_back(known: Reflection[str], version: str, effect: Effect, then: str) -> None:
    assert known.apply(Bookmark(version)) is effect
    assert known.version == then


@pytest.mark.parametrize("version", ["", "0"])
def test_nothing_continues_from_no_version(known: Reflection[str], version: str) -> None:
    assert known.apply(Put(item(B, version))) is Effect.BREAK
    assert known.apply(Deleted(A, version)) is Effect.BREAK
    assert known.apply(Bookmark(version)) is Effect.BREAK
    assert known.version == "10"


def test_versions_that_are_no_numbers_are_taken_as_they_come(known: Reflection[str]) -> None:
    assert known.apply(Put(item(A, "abc"))) is Effect.NEWS
    assert known.apply(Put(item(A, "aaa"))) is Effect.NEWS
    assert known.version == "aaa"


def test_what_was_handed_on_does_not_change(known: Reflection[str]) -> None:
    handed = known.replace(Complete((item(A, "7"),), "3"))
    known.apply(Put(item(B, "4")))
    assert (set(handed), known.version) == ({A}, "4")
    with pytest.raises(TypeError):
        handed[B] = item(B, "4")  # type: ignore[index]


@pytest.mark.parametrize(
    ("complete", "expected"),
    [
        (Complete((item(A, "7"),), "10"), True),
        (Complete((item(A, "7"),), "99"), True),
        (Complete((item(A, "7"),), "9"), False),
        (Complete((item(A, "7", "other"),), "10"), False),
        (Complete((item(A, "8"),), "10"), False),
        (Complete((item(A, "7"), item(B, "7")), "10"), False),
        (Complete((), "10"), False),
    ],
)
def test_a_list_agrees_when_it_is_equal_and_not_older(known: Reflection[str], complete: Complete[str], expected: bool) -> None:
    assert known.agrees(complete) is expected


def test_any_complete_state_is_taken_even_an_older_one(known: Reflection[str]) -> None:
    known.replace(Complete((item(B, "2"),), "3"))
    assert (known.version, len(known)) == ("3", 1)
    known.advance("5")
    assert known.version == "5"
