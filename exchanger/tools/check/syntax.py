"""What an author probably meant if the YAML parser fails: it says what it expected, and not what is wrong. Pure."""

import re
from typing import Final

import attrs

from exchanger.codes.manifests import UNREADABLE_FILE
from exchanger.codes.policy import NOT_YAML, WRONG_TYPE
from exchanger.codes.problem import Problem
from exchanger.tools.check.source_map import FileText
from exchanger.util.text import MAX_QUOTED

# A wildcard host without quotation marks: YAML takes the star for an alias.
_STAR: Final = re.compile(r"(?:(?<=[\s,\[{])|^)\*\.[A-Za-z0-9_.*-]+")
_TEMPLATE: Final = re.compile(r"\{\{")
# Signs with which no plain text begins, and which precede the searched text.
_RESERVED: Final = re.compile(r"(?<=[\s,\[{])[@`%][^\s,\]}]*")
# What the parser says of a second colon in a line.
_COLON_SAID: Final = "mapping values are not allowed"
# A value with a colon and a blank in it: YAML takes it for a mapping.
_COLON: Final = re.compile(r"(?<=: )(?![\s\"'\[{&*!|>%@`#])[^\s#][^#]*?: [^#]*?(?=\s*(?:#|$))")
# Characters of a line that are looked at.
_MAX_LINE: Final = 4_096


def explained(problem: Problem, lines: FileText) -> Problem:
    """Return a problem of syntax in the text with these ``lines`` with a hint, and at the wrong place, if that is known."""
    if problem.code not in {NOT_YAML, UNREADABLE_FILE, WRONG_TYPE} or problem.line is None:
        return problem
    line, column = lines.line(problem.line)[:_MAX_LINE], problem.column or 1
    if problem.code is WRONG_TYPE:  # {{ x }} alone is a mapping in a mapping
        is_template = line[column - 1 :].startswith("{{")
        return attrs.evolve(problem, hint="to render the template first", instead="") if is_template else problem
    if (found := _STAR.search(line)) and len(found[0]) <= MAX_QUOTED:
        quoted = f'"{found[0]}"'
        return attrs.evolve(problem, column=found.start() + 1, hint=quoted, instead=quoted)
    if found := _TEMPLATE.search(line):
        return attrs.evolve(problem, column=found.start() + 1, hint="to render the template first")
    if (
        _COLON_SAID in problem.text
        and (found := _COLON.search(line))
        and found.start() < column <= found.end()
        and len(found[0]) <= MAX_QUOTED
    ):
        return attrs.evolve(problem, column=found.start() + 1, hint=f'"{found[0]}"')
    if line[column - 1 : column] == "\t" or (line[: len(line) - len(line.lstrip())].count("\t")):
        return attrs.evolve(problem, column=line.index("\t") + 1 if "\t" in line else column, hint="spaces instead of the tab")
    if (found := _RESERVED.search(line)) and found.start() + 1 == column and len(found[0]) <= MAX_QUOTED:
        return attrs.evolve(problem, hint="to put it in quotation marks")
    return problem
