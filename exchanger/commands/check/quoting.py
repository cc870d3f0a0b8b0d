"""A line of an author's file with the relevant place marked, and without possible secrets. Pure."""

import re
from typing import Final, final
from unicodedata import east_asian_width

import attrs

from exchanger.commands.check.source_map import FileText, Place
from exchanger.util.text import ELLIPSIS, JWT, printable

# Characters of a line that are shown, around the place.
WIDTH: Final = 120
# Characters that are marked.
MAX_MARKED: Final = 64

# Words after which a secret may follow, in any spelling: the line up to them is enough.
_SENSITIVE: Final = re.compile(
    r"(?:secret|passw(?:or)?d|passwd|pwd|credential|api[-_]?key|private[-_]?key|authorization|cookie|bearer|basic\s"
    r"|(?:access|refresh|id|auth)[-_]?token|\btoken(?=[\"']?\s*:))[\w-]*[\"']?",
    re.IGNORECASE,
)
_VALUE: Final = re.compile(r"(value[\"']?\s*:\s*)(?:\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^,}\]]*)", re.IGNORECASE)
_USER: Final = re.compile(r"(?<=//)[^/\\\s\"']*@")
_QUERY: Final = re.compile(r"(?<=[?&])([\w.~-]+=)[^&\s\"',}\]]+")
_JWT: Final = re.compile(JWT)
_QUOTED: Final = re.compile(r"\"(?:[^\"\\]|\\.)*\"?|'(?:[^']|'')*'?")
_PLAIN: Final = re.compile(r"(?:[^\s,\[\]{}#:]|:(?=\S)|(?<=\S)#)+")


@final
@attrs.frozen
class Quoted:
    """A line, and the first and last column of its marked part, counted from 0; the second is after the last."""

    number: int
    text: str
    start: int
    end: int

    @property
    def marks(self) -> str:
        """The line below, with signs under the marked part."""
        before = "".join("  " if east_asian_width(char) in "WF" else " " for char in self.text[: self.start])
        return before + "^" * max(1, self.end - self.start)


def token_at(text: str, offset: int) -> str:
    """Return the scalar that begins at ``offset``, as written and only in its line; "" if there is none."""
    line = text[offset : offset + 4096].split("\n", 1)[0]
    found = _QUOTED.match(line) or _PLAIN.match(line)
    return found[0] if found else ""


def quote(file: FileText, place: Place, known: dict[int, str]) -> Quoted | None:
    """Return the line of ``place``; ``None`` without one. ``known`` caches lines of this file without secrets, and receives this one."""
    if place.line is None or place.line > len(file.starts):
        return None
    line = file.line(place.line)
    start = min((place.column or 1) - 1, len(line))
    length = len(token_at(line, start)) or 1
    shown = known.get(place.line) or known.setdefault(place.line, redacted(line))
    left = max(0, start - WIDTH // 2) if len(shown) > WIDTH else 0
    shown = (ELLIPSIS if left else "") + shown[left : left + WIDTH] + (ELLIPSIS if len(shown) > left + WIDTH else "")
    start = min(start - left + bool(left), len(shown))
    return Quoted(place.line, printable(shown.replace("\t", " ")), start, min(start + min(length, MAX_MARKED), max(len(shown), start + 1)))


def redacted(line: str) -> str:
    """Return ``line`` without possible secrets; the rest keeps its place up to the first of them."""
    line = _JWT.sub(ELLIPSIS, _QUERY.sub(rf"\1{ELLIPSIS}", _USER.sub(f"{ELLIPSIS}@", line)))
    found = _SENSITIVE.search(line)
    if found is None:
        return line
    kept = _VALUE.sub(rf"\1{ELLIPSIS}", line[: found.end()])
    return kept + (ELLIPSIS if line[found.end() :].strip() else "")
