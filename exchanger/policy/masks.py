"""What the ``!`` of a path may hide that did not come byte for byte, as a likeness of prefixes and paths.

Envoy's ext_authz puts a ``!`` in the place of each byte that is no UTF-8. The server behind it gets the byte: some drop it, others read it
as a character of an older encoding.

Must not know: who asks, or what follows.
"""

import enum
import re
from bisect import bisect_right
from collections.abc import Iterable
from typing import Final, final

MAX_MASKS: Final = 64
"""Of a path that can be read; honest ones have two or three."""

_match_marks: Final = re.compile("!++").match


@final
@enum.unique
class Masks(enum.Enum):
    """How the ``!`` of a path are understood; each kind also takes every ``!`` for what it is.

    ``STAND``: each may stand for one character of a prefix that is beyond ASCII. ``SOME``: any of those before the query may be dropped.
    ``DROPPED``: all of them were, before the path was rewritten, so that a prefix may have more.
    """

    STAND = "stand"
    SOME = "some"
    DROPPED = "dropped"

    def children(self, chars: str, text: str, at: int) -> Iterable[int]:
        """Return where in ``chars``, which are sorted, those stand that may match at ``at``, which may be the end of the text."""
        char = text[at : at + 1]
        wanted = {char}
        if self is Masks.DROPPED:
            wanted.add("!")
        elif char == "!" and self is Masks.SOME:
            end = _dropped(text, at)
            wanted.add(text[end : end + 1])
        places = [place for one in wanted if one and (place := chars.find(one)) >= 0]
        if char == "!" and self is Masks.STAND:
            places += range(bisect_right(chars, "\x7f"), len(chars))
        return places

    def after(self, key: str, text: str, at: int) -> int:
        """Return where the text goes on once the character ``key`` of a prefix was matched at ``at``, -1 when it does not match."""
        char = text[at : at + 1]
        if key == char or (char == "!" and key > "\x7f" and self is Masks.STAND):
            return at + 1
        if key == "!" and self is Masks.DROPPED:
            return at
        if char == "!" and self is Masks.SOME and text.startswith(key, end := _dropped(text, at)):
            return end + 1
        return -1


def _dropped(text: str, at: int) -> int:
    """Return where ``text`` goes on when the ``!`` at ``at`` are dropped, unless they are in the query."""
    run = _match_marks(text, at) if text.find("?", 0, at) < 0 else None
    return at if run is None else run.end()
