"""Text for people: made printable and short enough to show, and the distance between names, for suggestions.

Must not know: what the texts are about.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

ELLIPSIS: Final = "…"
REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
# Characters of an author's text that a reason repeats: enough to find the place in a document, too few to repeat the document.
MAX_QUOTED: Final = 64

# Edits between a name and a likely misspelling of it: a letter lost, added, changed or swapped, twice.
NEAR: Final = 2
# Characters of a name that is compared: a label key has at most 317 (a DNS name, a slash, 63); no variable of ours is that long.
_LONGEST: Final = 320
# Pairs whose distance is cached: the same few labels appear on thousands of objects.
_REMEMBERED: Final = 4096

# A JSON object in base64url, as a JWT's header is (RFC 7515 section 3.1), and what follows it. No dot is required: a search would read each
# beginning in a long text without dots to its end.
JWT: Final = r"eyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+)*"

_USER_OF_URL: Final = re.compile(r"(?<=//)[^/\\\s]*@")
_QUERY: Final = re.compile(r"([?#]).*\Z", re.DOTALL)


def printable(text: str, limit: int | None = None) -> str:
    """Return ``text``, shortened to ``limit`` characters, with each that does not print (controls, bidi marks, surrogates) replaced."""
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + ELLIPSIS
    if text.isprintable():
        return text
    return "".join([character if character.isprintable() else REPLACEMENT for character in text])


def bounded(text: str) -> str:
    """Return at most ``MAX_QUOTED`` printable characters of ``text``."""
    return printable(text, MAX_QUOTED)


def quoted(text: str) -> str:
    """Return ``text`` in quotation marks, bounded."""
    return f'"{bounded(text)}"'


def without_secrets(text: str) -> str:
    """Return ``text`` without the parts of a URL that may be secret: user information, query and fragment."""
    return _QUERY.sub(r"\1…", _USER_OF_URL.sub("…@", text))


@lru_cache(_REMEMBERED)
def is_near(left: str, right: str) -> bool:
    """Return whether at most ``NEAR`` edits (insert, delete, change, swap of neighbours) turn ``left`` into ``right``."""
    return distance(left, right) <= NEAR


def distance(left: str, right: str) -> int:
    """Return the number of edits from ``left`` to ``right``, ``NEAR + 1`` if there are more.

    This is the optimal string alignment distance, computed only in the band around the diagonal that ``NEAR`` edits can reach.
    """
    far = NEAR + 1
    if abs(len(left) - len(right)) > NEAR or max(len(left), len(right)) > _LONGEST:
        return far
    left, right = _without_common_ends(left, right)
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
    """Return the candidate nearest to ``name``, ignoring case, ``None`` if none is near; the first one of equals."""
    folded = name.casefold()
    likely = (candidate for candidate in candidates if abs(len(candidate) - len(name)) <= NEAR)
    found = [(distance(folded, candidate.casefold()), candidate) for candidate in likely]
    return min((pair for pair in found if pair[0] <= NEAR), key=lambda pair: pair[0], default=(0, None))[1]


def _without_common_ends(left: str, right: str) -> tuple[str, str]:
    """Remove the longest common prefix, and then the longest common suffix: a shortest edit touches neither."""
    start = _common(left, right)
    left, right = left[start:], right[start:]
    end = _common(left[::-1], right[::-1])
    return left[: len(left) - end], right[: len(right) - end]


def _common(left: str, right: str) -> int:
    """Return the length of the common prefix."""
    shorter = min(len(left), len(right))
    return next((index for index in range(shorter) if left[index] != right[index]), shorter)
