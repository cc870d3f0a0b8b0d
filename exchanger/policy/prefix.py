"""Spellings of a policy's path prefix: the texts under which one entry is found.

A prefix with escapes or non-ASCII characters is one thing in the raw path and another once a server has decoded it. An entry that is found
under each of these spellings is found by each reading of a request that keeps to them, so the readings agree.

Must not know: requests, or where spellings are stored.
"""

import string
from typing import Final, final

import attrs

from exchanger.policy.path import is_plain
from exchanger.policy.percent import decode, decode_but_slashes, encode
from exchanger.values.entry import MatchScope

_ASCII_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@final
@attrs.frozen
class Spellings:
    """The distinct spellings of a prefix.

    ``literal``: those that mean nothing else: as written, as clients escape it, decoded but still in need of escapes.
    ``rewritten``: decoded ones that may also be written as they are, such as ``/orders/`` for ``/orders%2F``. A prefix is plain text, so
    what is written as it is comes first: nobody's escapes reach into requests that match another entry and that nobody has to decode.
    """

    literal: tuple[str, ...]
    rewritten: tuple[str, ...] = ()


def fold(text: str) -> str:
    """Return ``text`` with ASCII letters in lower case: what is compared without regard to case."""
    return text.lower() if text.isascii() else text.translate(_ASCII_LOWER)


def spellings_of(scope: MatchScope) -> Spellings:
    """Return the spellings of an scope's prefix, folded where case makes no difference."""
    spellings = prefix_spellings(scope.path_prefix)
    if not scope.case_insensitive:
        return spellings
    literal = dict.fromkeys(map(fold, spellings.literal))
    return Spellings(tuple(literal), tuple(other for other in dict.fromkeys(map(fold, spellings.rewritten)) if other not in literal))


def prefix_spellings(prefix: str) -> Spellings:
    """Return the spellings of ``prefix``, itself first."""
    if "%" not in prefix and prefix.isascii():
        return Spellings((prefix,))
    path, mark, query = prefix.partition("?")
    as_came: list[str | None] = [path, encode(path)]
    rewritten: list[str] = []
    for decoded in (decode(path), decode_but_slashes(path)):
        if decoded is not None and is_plain(decoded.partition("?")[0]):
            rewritten.append(decoded)
        else:
            as_came.append(decoded)
    literal = dict.fromkeys(spelling + mark + query for spelling in as_came if spelling is not None)
    others = dict.fromkeys(spelling + mark + query for spelling in rewritten)
    return Spellings(tuple(literal), tuple(other for other in others if other not in literal))
