"""The interpretations of a path that servers may use, what the ``!`` in one may stand for, and whether a prefix covers one of them.

Must not know: hosts, headers, or the policy's decision on an interpretation.
"""

import enum
import re
from collections.abc import Iterator
from typing import Final, assert_never, final

import attrs

from exchanger.model.entry import PathType
from exchanger.policy.path import MAX_INTERPRETATIONS, MalformedPath, is_plain_with_query, read_path, without_markers
from exchanger.policy.prefix import MAX_PREFIX, fold
from exchanger.util.frozen import fast_init

# The number of ``!`` in a path that can be read; honest paths have two or three.
MAX_MARKERS: Final = 64
# Characters of prefixes that are compared one by one for one request, in less than a millisecond. An ordinary policy needs dozens.
MAX_MARKER_WORK: Final = 640
# Look-ups of one request: its interpretations times the labels of its host, each of which may be below a wildcard. A host of five labels
# has room for all interpretations that a path may have, one of ten for those of a path with three oddities.
MAX_LOOKUPS: Final = 80

# Paths that the ``!`` of one request may stand for and that are looked up, 25 µs each at the limits of a namespace. An ordinary policy
# needs one for each prefix with a character beyond ASCII, or ``!``, that the path may begin with.
MAX_POSSIBLE: Final = 32
# No prefix has this character.
NO_CHARACTER: Final = "\0"

_match_markers: Final = re.compile("!++").match


@final
@enum.unique
class InvalidByteMarkers(enum.Enum):
    """How to interpret the ``!`` of a path that is not raw. Each kind also takes every ``!`` literally.

    Envoy's ext_authz writes a ``!`` for each byte that is not UTF-8. The server behind it gets the byte: some drop it, others read it as a
    character of an older encoding.

    ``STAND``: each may be one non-ASCII character of a prefix. ``SOME``: any of those before the query may be dropped. ``DROPPED``: all of
    them were dropped before the path was rewritten, so that a prefix may have more.
    """

    STAND = "stand"
    SOME = "some"
    DROPPED = "dropped"

    def after(self, key: str, text: str, at: int) -> int:
        """Return where the text continues after matching the character ``key`` of a prefix at ``at``, -1 if it does not match."""
        char = text[at : at + 1]
        if key == char or (char == "!" and key > "\x7f" and self is InvalidByteMarkers.STAND):
            return at + 1
        if key == "!" and self is InvalidByteMarkers.DROPPED:
            return at
        if char == "!" and self is InvalidByteMarkers.SOME and text.startswith(key, end := _dropped(text, at)):
            return end + 1
        return -1

    def after_prefix(self, prefix: str, text: str) -> tuple[int, int]:
        """Return where ``text`` continues after ``prefix``, -1 if it does not begin with it, and how many characters that took."""
        if text.startswith(prefix):
            return len(prefix), 1
        at = 0
        for place, char in enumerate(prefix, 1):
            at = self.after(char, text, at)
            if at < 0:
                return at, place
        return at, len(prefix)

    def written(self, prefix: str, path: str, text: str) -> Iterator[str]:
        """Yield what ``path`` may be that begins with ``prefix``; ``text`` is the path as it was compared with the prefix.

        The ``!`` behind the prefix concern longer prefixes, for which this is asked as well. So here they are characters that no prefix
        has, and where ``!`` may be dropped, they are also kept, or all of them dropped.
        """
        begun, at = "", 0
        for char in prefix:
            end = self.after(char, text, at)
            is_hidden = end == at or (self is InvalidByteMarkers.STAND and path[at] == "!")
            begun += char if is_hidden else path[end - 1]
            at = end
        match self:
            case InvalidByteMarkers.STAND:
                yield begun + path[at:].replace("!", NO_CHARACTER)
            case InvalidByteMarkers.DROPPED:
                yield begun + path[at:]
            case InvalidByteMarkers.SOME:
                for end in {at: None, _dropped(path, at): None}:
                    part, mark, query = path[end:].partition("?") if "?" not in begun else ("", "", path[end:])
                    for instead in ("!", "", NO_CHARACTER):
                        yield begun + part.replace("!", instead) + mark + query
            case _:
                assert_never(self)


def _dropped(text: str, at: int) -> int:
    """Return where ``text`` continues if the ``!`` at ``at`` are dropped; those in the query are not."""
    run = _match_markers(text, at) if "?" not in text[:at] else None
    return at if run is None else run.end()


@final
@fast_init
@attrs.frozen(weakref_slot=False)
class Interpretation:
    """A path as a server may interpret it.

    ``rewritten``: it is not the path as received. Decoded spellings of prefixes then count as much as literal ones; for the path as
    received they count only if no literal one applies. ``markers``: it is not looked up itself, but the paths that its ``!`` may stand for.
    ``supposed``: it is one of these.
    """

    path: str
    rewritten: bool = False
    markers: InvalidByteMarkers | None = None
    supposed: bool = False

    @property
    def folded(self) -> str:
        """The path for prefixes that ignore case, cut where no prefix reaches, since its query may be long.

        Only a decoded spelling of a prefix reaches into the query, and that is no longer than the written prefix.
        """
        return fold(self.path[: max(self.end + 1, MAX_PREFIX)])

    @property
    def end(self) -> int:
        """The end of the path without its query."""
        query = self.path.find("?")
        return len(self.path) if query < 0 else query


def path_interpretations(host: str | None, path: str, method: str, *, raw: bool) -> tuple[Interpretation, ...] | MalformedPath:
    """Return every interpretation to look up in the policy of ``host``, the path as received first, or why it cannot be read."""
    if is_plain_with_query(path, raw=raw):
        return (Interpretation(path),)
    interpretations = _interpretations(path, method, raw=raw)
    if isinstance(interpretations, MalformedPath):
        return interpretations
    labels = 1 if host is None else host.count(".") + 1
    if len(interpretations) > max(1, min(MAX_INTERPRETATIONS, MAX_LOOKUPS // labels)):
        return MalformedPath.TOO_MANY_INTERPRETATIONS
    if len(interpretations) <= MAX_INTERPRETATIONS // 2:
        return interpretations
    searched = sum(one.markers is not None for one in interpretations)  # these take twice as long
    return MalformedPath.TOO_MANY_INTERPRETATIONS if len(interpretations) + searched > MAX_INTERPRETATIONS else interpretations


def _interpretations(path: str, method: str, *, raw: bool) -> tuple[Interpretation, ...] | MalformedPath:
    found = read_path(path, method)
    if isinstance(found, MalformedPath):
        return found
    interpretations = [Interpretation(text, place > 0) for place, text in enumerate(found)]
    if raw or "!" not in path:
        return tuple(interpretations)
    if path.partition("?")[0].count("!") > MAX_MARKERS:
        return MalformedPath.TOO_MANY_INTERPRETATIONS
    without = without_markers(path)
    unmasked = read_path(without, method) if without != path else ()
    if isinstance(unmasked, MalformedPath):
        return unmasked
    interpretations += [Interpretation(text, place > 0, InvalidByteMarkers.STAND) for place, text in enumerate(found)]
    for place, text in enumerate(unmasked):
        marked, markers = (text, InvalidByteMarkers.DROPPED) if place else (path, InvalidByteMarkers.SOME)
        interpretations += [Interpretation(text, place > 0), Interpretation(marked, place > 0, markers)]
    return tuple(interpretations)


def fits(path_type: PathType, text: str, at: int, end: int) -> bool:
    """Return whether a whole-segment or exact prefix that ends at ``at`` covers ``text``, whose query begins at ``end``."""
    return at == end or (path_type is PathType.SEGMENT and at < end and text[at] == "/")
