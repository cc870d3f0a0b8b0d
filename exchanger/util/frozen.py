"""Frozen values that are made for each request, without the usual cost of that."""

from typing import Any, Final, TypeVar

import attrs

T = TypeVar("T", bound=attrs.AttrsInstance)

_become: Final = vars(object)["__class__"].__set__


def quickly_made(cls: type[T]) -> type[T]:
    """Have ``cls`` filled by assignments; it is a frozen attrs class of plain fields, perhaps with converters, without ``__weakref__``.

    Assignments to a frozen value are refused, so attrs bypasses that field by field, which takes twice as long as all the rest of creating
    one. Here a new value is of a mutable twin of its class until it is filled; no other code has it before.
    """
    fields = attrs.fields(cls)
    slots: tuple[str, ...] = vars(cls)["__slots__"]
    filled = {field.name: field.name if field.converter is None else f"convert_{field.name}({field.name})" for field in fields}
    lines = [
        f"def __init__(self, {', '.join(field.name for field in fields)}):",
        " become(self, twin)",
        *(f" self.{slot} = {filled.get(slot)}" for slot in slots),  # a hash that is kept is not known at first
        " self.__class__ = cls",
    ]
    twin = type(f"{cls.__name__}InTheMaking", (object,), {"__slots__": slots})
    names: dict[str, Any] = {"__name__": cls.__module__, "become": _become, "twin": twin, "cls": cls}
    names |= {f"convert_{field.name}": field.converter for field in fields if field.converter is not None}
    exec(compile("\n".join(lines), f"<making of {cls.__qualname__}>", "exec"), names)  # noqa: S102 - of names of ours, as attrs does it
    init = names["__init__"]
    init.__defaults__ = tuple(field.default for field in fields if field.default is not attrs.NOTHING)
    setattr(cls, "__init__", init)  # noqa: B010 - of the same signature, which type checkers know from attrs
    return cls
