"""House rule: values are immutable all the way down, and a class is either a frozen value or a machine with identity.

The rooms listed here are walked class by class and field by field: scalars, enums, other values, tuples, frozensets and persistent maps of
these are allowed, and nothing else.
"""

import enum
import importlib
import pkgutil
import types
from collections.abc import Callable, Iterator
from typing import Any, Final, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs
import pytest

from exchanger.model.secret import Secret

ROOMS: Final = ("exchanger.model", "exchanger.policy", "exchanger.authz.decision")
SCALARS: Final = frozenset({str, int, float, bool, bytes, type(None), Secret})

K = TypeVar("K")
V = TypeVar("V")


class PersistentMap(Generic[K, V]):
    """Stands for ``rpds.HashTrieMap``, which cannot be subscripted when annotations are evaluated."""


def attrs_classes(room: str) -> Iterator[type[attrs.AttrsInstance]]:
    """Yield the attrs classes that the modules of a package define, and those of the packages in it."""
    package = importlib.import_module(room)
    for info in pkgutil.walk_packages(package.__path__, room + "."):
        module = importlib.import_module(info.name)
        yield from (
            found for found in vars(module).values() if isinstance(found, type) and found.__module__ == info.name and attrs.has(found)
        )


def is_frozen(cls: type) -> bool:
    instance: object = object.__new__(cls)
    try:
        setattr(instance, attrs.fields(cls)[0].name if attrs.fields(cls) else "anything", None)
    except attrs.exceptions.FrozenInstanceError:
        return True
    except AttributeError:
        return False
    return False


def mutable_parts(hint: Any) -> list[Any]:
    """Return the parts of a type that values must not be made of."""
    origin = get_origin(hint)
    arguments = get_args(hint)
    if hint in SCALARS or isinstance(hint, TypeVar) or hint is Ellipsis:
        return []
    if origin in {Union, types.UnionType, tuple, frozenset, PersistentMap}:
        return [part for argument in arguments for part in mutable_parts(argument)]
    cls = origin or hint
    if isinstance(cls, type) and (issubclass(cls, enum.Enum) or (attrs.has(cls) and is_frozen(cls))):
        return [part for argument in arguments for part in mutable_parts(argument)]
    return [hint]


def mutable_fields(cls: type[attrs.AttrsInstance]) -> dict[str, list[Any]]:
    hints = get_type_hints(cls, localns={"HashTrieMap": PersistentMap})
    found = {field.name: mutable_parts(hints[field.name]) for field in attrs.fields(cls)}
    return {name: parts for name, parts in found.items() if parts}


CLASSES: Final = [pytest.param(cls, id=f"{cls.__module__}.{cls.__name__}") for room in ROOMS for cls in attrs_classes(room)]


@pytest.mark.parametrize("cls", CLASSES)
def test_a_class_is_a_value_or_a_machine(cls: type[attrs.AttrsInstance]) -> None:
    if is_frozen(cls):
        assert mutable_fields(cls) == {}
    else:
        assert cls.__eq__ is object.__eq__, "a class that changes is compared by identity"


@attrs.frozen
class Value:
    part: tuple[int, ...]


@attrs.define(eq=False)
class Machine:
    part: int


@attrs.frozen
class Wrong:
    a_list: list[int]
    a_dict: tuple[dict[str, int], ...]
    a_machine: Machine | None
    a_function: Callable[[], None]
    anything: Any
    an_object: object
    a_map_of_lists: "HashTrieMap[str, list[int]]"  # type: ignore[name-defined]  # noqa: F821 - resolved by the test
    fine: Value


def test_the_walk_finds_what_it_looks_for() -> None:
    assert set(mutable_fields(Wrong)) == {field.name for field in attrs.fields(Wrong)} - {"fine"}
    assert is_frozen(Value)
    assert not is_frozen(Machine)


def test_the_walk_finds_the_classes_of_every_room() -> None:
    for room in ROOMS:
        assert len(list(attrs_classes(room))) > 2
