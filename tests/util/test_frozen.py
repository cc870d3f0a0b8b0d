"""Values that are quickly made are what attrs would make of the same fields."""

import inspect

import attrs
import pytest

from exchanger.util.frozen import evolver_of, fast_init


def lowered(text: str) -> str:
    return text.lower()


@attrs.frozen(cache_hash=True, weakref_slot=False)
class Usual:
    first: int
    second: str = "two"
    third: int | None = attrs.field(default=None, eq=False, repr=False)
    fourth: str = attrs.field(default="FOUR", converter=lowered)


@fast_init
@attrs.frozen(cache_hash=True, weakref_slot=False)
class Quick:
    first: int
    second: str = "two"
    third: int | None = attrs.field(default=None, eq=False, repr=False)
    fourth: str = attrs.field(default="FOUR", converter=lowered)


@attrs.frozen
class Weak:
    first: int


def test_they_are_as_attrs_makes_them() -> None:
    quick, usual = Quick(1, third=3), Usual(1, third=3)
    assert attrs.astuple(quick) == attrs.astuple(usual)
    assert repr(quick) == repr(usual).replace("Usual", "Quick")
    assert type(quick) is Quick
    assert (quick, hash(quick)) == (Quick(1), hash(Quick(1)))
    assert quick != Quick(2)
    assert attrs.evolve(quick, second="2") == Quick(1, "2")
    assert (quick.fourth, Quick(1, fourth="4TH").fourth) == (usual.fourth, Usual(1, fourth="4TH").fourth) == ("four", "4th")
    assert list(inspect.signature(Quick).parameters) == list(inspect.signature(Usual).parameters)


def test_they_are_frozen() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Quick(1).first = 2  # type: ignore[misc]  # as it should
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Quick(1).__class__ = Usual  # type: ignore[assignment]  # as above


def test_what_is_missing_or_unknown_is_refused() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        Quick()  # type: ignore[call-arg]  # it is what is refused
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        Quick(1, fifth=5)  # type: ignore[call-arg]  # as above


def test_a_class_whose_values_have_weak_references_is_none() -> None:
    with pytest.raises(TypeError, match="Weak must be without __weakref__"):
        fast_init(Weak)


def test_a_changed_value_is_what_attrs_makes_of_it() -> None:
    change = evolver_of(Quick, "fourth", "second")
    before = Quick(1, third=3)
    known = hash(before)
    changed = change(before, "NEW", "2")
    assert attrs.astuple(changed) == attrs.astuple(attrs.evolve(before, fourth="NEW", second="2")) == (1, "2", 3, "new")
    assert (type(changed), hash(changed)) == (Quick, hash(Quick(1, "2", fourth="new")))
    assert hash(changed) != known
    assert attrs.astuple(before) == (1, "two", 3, "four")
