"""``exchanger code``: the meaning of a code, as text for people."""

import sys
import textwrap
from collections.abc import Iterator
from typing import Final

from exchanger.model.codes.code import Code, Example
from exchanger.model.codes.registry import CODES, find
from exchanger.util.text import NEAR, bounded, distance, printable

_KNOWN: Final = 0
_UNKNOWN: Final = 2
_WIDTH: Final = 79
_MOST: Final = 5  # near misses that are named


def run_code(name: str | None) -> int:
    """Print the meaning of the code ``name``, or a line for each code, and return the exit status."""
    if name is None:
        sys.stdout.write("".join(f"{code.name}  {code.severity.value:7}  {code.sentence}\n" for code in CODES))
        return _KNOWN
    code = find(name)
    if code is None:
        near = near_misses(name)
        hint = f"; did you mean {' or '.join(filter(None, (', '.join(near[:-1]), near[-1])))}?" if near else ""
        sys.stderr.write(f"exchanger code: there is no code {bounded(name.strip())!r}{hint}\n")
        return _UNKNOWN
    sys.stdout.write("".join(f"{line}\n" for line in lines_of(code)))
    return _KNOWN


def near_misses(name: str) -> list[str]:
    """Return the codes that ``name`` may mean: those with its number, otherwise those most similar to it."""
    wanted = bounded(name.strip()).upper()
    digits = "".join(char for char in wanted if char.isdecimal())
    numbered = [code.name for code in CODES if digits and code.name.endswith(f"-{digits}")]
    edits = sorted((distance(wanted, code.name), code.name) for code in CODES)
    return (numbered or [name for edited, name in edits if edited <= NEAR])[:_MOST]


def lines_of(code: Code) -> Iterator[str]:
    """Yield the lines that explain ``code``."""
    yield from _wrapped(f"{code.name} ({code.severity.value}): {code.sentence}")
    yield ""
    yield "Causes:"
    for cause in code.causes:
        yield from _wrapped(cause, "  - ")
    yield ""
    yield "Remedy:"
    yield from _wrapped(code.remedy, "  ")
    if not code.example.strip():
        return
    yield ""
    yield f"An example, {code.kind.value}:"
    yield from _indented(code.example, keep=code.kind is not Example.SITUATION)
    if code.grants:
        yield ""
        yield from _indented(code.grants, keep=True)


def _wrapped(text: str, indentation: str = "") -> list[str]:
    following = " " * len(indentation)
    return textwrap.wrap(text, _WIDTH, initial_indent=indentation, subsequent_indent=following, break_on_hyphens=False)


def _indented(text: str, *, keep: bool) -> list[str]:
    """Return ``text`` below its headline: a document (``keep``) line by line, anything else wrapped."""
    if not keep:
        return _wrapped(text, "  ")
    return [f"    {printable(line, 2 * _WIDTH)}".rstrip() for line in text.rstrip("\n").split("\n")]
