"""Rules for texts: regular expressions by which JSON Schemas, and so authors' editors, check them.

The patterns mean the same in every language: no look-around, no possessive quantifiers. The readers decide. A rule never refuses what its
reader accepts, and refuses most of what the reader refuses, so that an editor can show it at once. A text is checked as written, with
surrounding blanks.

Must not know: which fields exist, or how they are read.
"""

from collections.abc import Callable
from typing import Final, final

import attrs

# Words for all methods elsewhere; as methods they would match no request.
EVERY_METHOD: Final = frozenset({"ALL", "ANY"})


@final
@attrs.frozen
class TextRefusal:
    """Texts in which ``pattern`` is found are refused. ``reason`` is a sentence for authors."""

    pattern: str
    reason: str


@final
@attrs.frozen
class TextRule:
    """A text must contain ``pattern`` ("": anything) and none of the ``refusals``, or be exactly ``only``.

    ``examples`` are texts that editors offer. ``words`` are all meanings of ``pattern``, which knows more ways to write them.
    ``accepts`` is for a reader that knows nothing else about the text, and ``reason`` its words about one that is refused.
    """

    pattern: str = ""
    refusals: tuple[TextRefusal, ...] = ()
    only: str = ""
    examples: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    accepts: Callable[[str], object] | None = None
    reason: str = ""


ANY_TEXT: Final = TextRule()


def literally(escapes: str) -> str:
    """Return ``escapes``, of Python, as the characters themselves."""
    return escapes.encode("ascii").decode("unicode_escape")


def any_case(words: frozenset[str]) -> str:
    """Return a pattern for ``words`` in any case."""
    return "|".join("".join(f"[{char.upper()}{char.lower()}]" if char.isalpha() else char for char in word) for word in sorted(words))


def whole(pattern: str) -> str:
    """Return ``pattern`` for a whole text, with blanks around it."""
    return f"^[{BLANKS}]*(?:{pattern})[{BLANKS}]*$"


# The blanks that Python strips: more than JavaScript in some places, and fewer in others.
BLANKS: Final = literally(r"\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000")
NOT_BLANK: Final = f"[^{BLANKS}]"


def words_or(words: tuple[str, ...], pattern: str) -> dict[str, object]:
    """Return the schema of one of ``words``, which editors offer and name in errors, or of another way to write one of them."""
    return {"anyOf": [{"enum": list(words)}, {"pattern": pattern}]}
