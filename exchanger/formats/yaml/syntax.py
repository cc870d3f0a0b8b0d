"""What an author probably meant where the YAML parser fails: it says what it expected, and not what is wrong. Pure, in linear time.

A hint may repeat the author's text. A log line on a file with secrets leaves it out.
"""

import re
from typing import Final, final

import attrs

from exchanger.formats.yaml.nodes import Mapping, Node
from exchanger.util.text import MAX_QUOTED

# What a template's placeholder should become before it is read.
RENDER: Final = "to render the template first"
# Characters of a line that are looked at.
_MAX_LINE: Final = 4_096

# A wildcard host without quotation marks: YAML takes the star for an alias.
_STAR: Final = re.compile(r"(?:(?<=[\s,\[{])|^)\*\.[A-Za-z0-9_.*-]+")
# Signs with which no plain text begins, and which precede the searched text.
_RESERVED: Final = re.compile(r"(?<=[\s,\[{])[@`%][^\s,\]}]*")
# What the parser says of a second colon in a line: outside of brackets, and within them.
_COLON_SAID: Final = ("mapping values are not allowed", "did not find expected ',' or")
# What cannot begin a plain value, and what ends one within brackets.
_NOT_PLAIN: Final = frozenset("\"'[{&*!|>%@`#")
_END_IN_BRACKETS: Final = re.compile(r"[,\[\]{}]")
_COMMENT: Final = re.compile(r"[ \t]#")
# Keys whose values may be secret, that of a header's value among them: hints reach logs and Events.
_SENSITIVE: Final = re.compile(
    r"(?:value|secret|passw(?:or)?d|passwd|pwd|token|key|credential|authorization|cookie)\w*[\"']?$", re.IGNORECASE
)
_QUOTE: Final = "to put it in quotation marks"
_INDENT: Final = "to indent this line like its neighbours"
# What the parser says of the first word of a line that is indented less than its neighbours, and yet within the block.
_INDENTATION_SAID: Final = ("did not find expected key", "did not find expected '-' indicator")


@final
@attrs.frozen
class Suggestion:
    """A better place, ``column``, for a mistake in syntax, what was probably meant, and the YAML to write there if that is certain."""

    column: int | None
    hint: str = ""
    instead: str = ""


def meant(line: str, column: int, said: str) -> Suggestion | None:
    """Return what was probably meant in ``line``, where the parser ``said`` something about ``column``; ``None`` if that is unknown."""
    line = line[:_MAX_LINE]
    if (found := _STAR.search(line)) and len(found[0]) <= MAX_QUOTED:
        quoted = f'"{found[0]}"'
        return Suggestion(found.start() + 1, quoted, quoted)
    if (at := line.find("{{")) >= 0:
        return Suggestion(at + 1, RENDER)
    first = len(line) - len(line.lstrip())
    if line[column - 1 : column] == "\t" or "\t" in line[:first]:
        return Suggestion(line.index("\t") + 1, "spaces instead of the tab")
    if first == column - 1 and any(words in said for words in _INDENTATION_SAID):
        return Suggestion(column, _INDENT)
    if (value := _with_colon(line, column, said)) is not None:
        return value
    if (found := _RESERVED.search(line)) and found.start() + 1 == column and len(found[0]) <= MAX_QUOTED:
        return Suggestion(column, _QUOTE)
    return None


def _with_colon(line: str, column: int, said: str) -> Suggestion | None:
    """Return the value with a colon and a blank in it whose colon is at ``column``: YAML takes it for a mapping.

    If the colon belongs to the key at the beginning of the line, the key is in the wrong place.
    """
    at = column - 1
    if line[at : at + 1] != ":" or not any(words in said for words in _COLON_SAID):
        return None
    within = _COLON_SAID[1] in said
    if ": " not in line[:at]:
        return Suggestion(len(line) - len(line.lstrip()) + 1, "a comma or a closing bracket before it" if within else _INDENT)
    start = line.rfind(": ", 0, at) + 2
    start += len(line[start:at]) - len(line[start:at].lstrip())
    end = (_END_IN_BRACKETS if within else _COMMENT).search(line, at)
    value = line[start : len(line) if end is None else end.start()].rstrip()
    is_plain = value[:1] not in _NOT_PLAIN and not (_END_IN_BRACKETS if within else _COMMENT).search(value)
    if not is_plain or len(value) > MAX_QUOTED:
        return None
    key = line[:start].rstrip(": \t")
    return Suggestion(start + 1, _QUOTE if _SENSITIVE.search(key[-MAX_QUOTED:]) else f'"{value}"')


def is_template(node: Node | None) -> bool:
    """Return whether ``node`` is a placeholder such as ``{{ .Values.host }}``, which YAML reads as a mapping in a mapping."""
    return isinstance(node, Mapping) and bool(node.pairs) and isinstance(node.pairs[0][0], Mapping)
