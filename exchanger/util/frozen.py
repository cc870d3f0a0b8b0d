"""Frozen values that are made for each request, without what that costs."""

from typing import Final, TypeVar

import attrs

T = TypeVar("T")

_become: Final = vars(object)["__class__"].__set__


def quickly_made(cls: type[T]) -> type[T]:
    """Have ``cls`` filled by assignments; it is an attrs class that is frozen, has plain fields alone, and no ``__weakref__``.

    Assignments to a frozen value are refused, so attrs goes around them field by field, which takes twice as long as all the rest of making
    one. Here a new value is of an open twin of its class until it is filled; nobody else has it before.
    """
    fields = attrs.fields(cls)  # type: ignore[type-var]  # it is one
    twin = type(f"{cls.__name__}InTheMaking", (object,), {"__slots__": cls.__slots__})  # type: ignore[attr-defined]  # as above
    defaults = tuple(field.default for field in fields if field.default is not attrs.NOTHING)
    # The hash that a class with ``cache_hash`` keeps is unknown at first.
    filled = [(slot, slot if slot in {field.name for field in fields} else "None") for slot in twin.__slots__]
    lines = [
        f"def __init__(self, {', '.join(field.alias or field.name for field in fields)}):",
        " become(self, twin)",
        *(f" self.{slot} = {value}" for slot, value in filled),
        " self.__class__ = cls",
    ]
    names = {"become": _become, "twin": twin, "cls": cls}
    exec("\n".join(lines), names)  # noqa: S102 - of our own names, as attrs does it
    init = names["__init__"]
    init.__defaults__ = defaults
    cls.__init__ = init  # type: ignore[misc]  # of the same signature
    return cls
