"""The part of Go's ``text/template`` that scenario files of the Go project use: fields, literals and comments, with trim markers. Bounded.

Other actions (conditions, loops, functions, pipelines) are refused rather than guessed. Source: https://pkg.go.dev/text/template
"""

import json
import re
from collections.abc import Mapping
from typing import Final, final

import attrs

from exchanger.util.text import quoted

# Characters that fields and literals add in total: the most that a scenario file may have.
MAX_INSERTED: Final = 1_048_576

_SPACE: Final = " \t\r\n"  # what trim markers remove
_match_action: Final = re.compile(
    r'[ \t\r\n]*+(?:/\*.*?\*/|\$?\.(?P<field>[A-Za-z_][A-Za-z0-9_]*+)|(?P<text>"(?:[^"\\\n]|\\.)*")|`(?P<raw>[^`]*+)`)'
    r"(?:[ \t\r\n]++(?P<trim>-)\}\}|[ \t\r\n]*+\}\})",
    re.DOTALL,
).match


@final
@attrs.frozen
class NotRendered:
    """Why the template cannot be used; ``line`` counts from 1."""

    line: int
    reason: str


def render(template: str, values: Mapping[str, str]) -> str | NotRendered:
    """Return ``template`` with its actions replaced. Never raises; no reason repeats a value."""
    parts: list[str] = []
    at, size, trimmed = 0, 0, False
    while (opened := template.find("{{", at)) >= 0:
        begin = opened + 2
        trims = template.startswith("-", begin) and template[begin + 1 : begin + 2] in tuple(_SPACE)
        parts.append(_between(template[at:opened], left=trimmed, right=trims))
        found = _match_action(template, begin + trims)
        value = _value(found, values) if found else None
        if found is None or value is None:
            line = template.count("\n", 0, opened) + 1
            known = ", ".join(f".{name}" for name in values)
            name = found["field"] if found else None
            what = f"has no field {quoted(f'.{name}')}" if name else "has an action that is not supported"
            return NotRendered(line, f"{what}: a template may have {known}, literals and comments")
        parts.append(value)
        size += len(value)
        if size > MAX_INSERTED:
            return NotRendered(template.count("\n", 0, opened) + 1, "inserts more than a scenario file can hold")
        at, trimmed = found.end(), bool(found["trim"])
    parts.append(_between(template[at:], left=trimmed, right=False))
    return "".join(parts)


def _between(text: str, *, left: bool, right: bool) -> str:
    text = text.lstrip(_SPACE) if left else text
    return text.rstrip(_SPACE) if right else text


def _value(action: re.Match[str], values: Mapping[str, str]) -> str | None:
    if action["field"]:
        return values.get(action["field"])
    if action["text"]:
        try:
            return str(json.loads(action["text"]))
        except ValueError:
            return None
    return action["raw"] or ""
