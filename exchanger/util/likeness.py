"""How far one name is from another: for telling authors which name they most likely meant.

Must not know: what the names are for.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

NEAR: Final = 2
"""Edits between a name and a likely misspelling of it: a letter lost, added, changed or swapped, twice."""
_LONGEST: Final = 320
"""Characters of a name that is compared: a label key has at most 317 (a DNS name, a slash, 63); no variable of ours is that long."""
_REMEMBERED: Final = 4096
"""Pairs whose distance is kept: the same few labels stand on thousands of objects."""


@lru_cache(_REMEMBERED)
def is_near(left: str, right: str) -> bool:
    """Tell whether at most ``NEAR`` edits (insert, delete, change, swap of neighbours) make ``left`` into ``right``."""
    return distance(left, right) <= NEAR


def distance(left: str, right: str) -> int:
    """Return the number of edits from ``left`` to ``right``, or ``NEAR + 1`` where there are more.

    This is the optimal string alignment distance, computed only in the band around the diagonal that ``NEAR`` edits can reach.
    """
    if abs(len(left) - len(right)) > NEAR or max(len(left), len(right)) > _LONGEST:
        return NEAR + 1
    left, right = _without_what_is_common(left, right)
    far = NEAR + 1
    before: dict[int, int] = {}
    row = {column: column for column in range(min(len(right), NEAR) + 1)}
    for at, character in enumerate(left, 1):
        below: dict[int, int] = {}
        for column in range(max(0, at - NEAR), min(len(right), at + NEAR) + 1):
            best = min(row.get(column, far), below.get(column - 1, far)) + 1
            if column:
                best = min(best, row.get(column - 1, far) + (character != right[column - 1]))
            if at > 1 and column > 1 and character == right[column - 2] and left[at - 2] == right[column - 1]:
                best = min(best, before.get(column - 2, far) + 1)
            below[column] = best
        before, row = row, below
    return min(row.get(len(right), far), far)


def closest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that is nearest to ``name`` in any case of letters, ``None`` where none is near; the first one of equals."""
    folded = name.casefold()
    likely = (candidate for candidate in candidates if abs(len(candidate) - len(name)) <= NEAR)
    found = [(distance(folded, candidate.casefold()), candidate) for candidate in likely]
    return min((pair for pair in found if pair[0] <= NEAR), key=lambda pair: pair[0], default=(0, None))[1]


def _without_what_is_common(left: str, right: str) -> tuple[str, str]:
    """Take away the longest common beginning, and then the longest common end: neither is edited on a shortest way."""
    start = _common(left, right)
    left, right = left[start:], right[start:]
    end = _common(left[::-1], right[::-1])
    return left[: len(left) - end], right[: len(right) - end]


def _common(left: str, right: str) -> int:
    """Return how many characters both begin with."""
    shorter = min(len(left), len(right))
    return next((index for index in range(shorter) if left[index] != right[index]), shorter)
