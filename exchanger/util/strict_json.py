"""Hooks for ``json`` by which a text that two readers may understand differently is refused: RFC 8259 sections 4 and 6."""

from typing import NoReturn


class DuplicateNameError(ValueError):
    """A name occurs twice in an object."""


def unique_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object with these members, as ``object_pairs_hook``.

    Raises:
        DuplicateNameError: a name occurs twice.
    """
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DuplicateNameError("a name occurs twice")
    return members


def no_constant(_constant: str) -> NoReturn:
    """Refuse NaN and Infinity, as ``parse_constant``.

    Raises:
        ValueError: always.
    """
    raise ValueError("NaN and Infinity are not JSON")
