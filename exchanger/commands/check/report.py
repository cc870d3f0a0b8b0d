"""The results of a check, for people, for programs and for GitHub. Pure.

Workflow commands: https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions#setting-an-error-message
"""

import json
from collections.abc import Iterator
from typing import Final

from exchanger.commands.check.engine import Checked
from exchanger.commands.check.files import ManifestFile, PlacedProblem
from exchanger.commands.check.quoting import quote, token_at
from exchanger.model.codes.code import Severity
from exchanger.util.text import printable

# Characters of a message.
LIMIT: Final = 2_048

_COLOURS: Final = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.NOTICE: "36"}


def as_text(checked: Checked, *, colours: bool = False) -> str:
    """Return the problems for people, each with its line quoted."""

    def painted(text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if colours and text else text

    files, lines, told = {file.name: file for file in checked.files}, list[str](), set[str]()
    known: dict[str, dict[int, str]] = {}
    for found in checked.problems:
        problem, severity = found.problem, found.problem.code.severity
        where = f"{shown(found.file)}:{found.place.line or 1}:{found.place.column or 1}:"
        word = painted(f"{severity.value} {problem.code}:", f"1;{_COLOURS[severity]}")
        lines.append(f"{painted(where, '1')} {word} {printable(problem.sentence, LIMIT)}")
        quoted = quote(files[found.file].text, found.place, known.setdefault(found.file, {}))
        if quoted is not None and quoted.text.strip():
            number = f"{quoted.number:5}"
            lines.append(f"{painted(number + ' |', '2')} {quoted.text}")
            lines.append(f"{painted('      |', '2')} {painted(quoted.marks, _COLOURS[severity])}")
        for file, place in found.rivals[:3]:
            lines.append(f"{painted('      =', '2')} see {shown(file)}:{place.line or 1}:{place.column or 1}")
        if problem.remedy not in told:
            told.add(problem.remedy)
            lines.append(f"{painted('      =', '2')} {printable(problem.remedy, LIMIT)}")
    lines += _summary(checked)
    return "".join(f"{line}\n" for line in lines)


def _summary(checked: Checked) -> Iterator[str]:
    counts = [(checked.count(severity), severity.value) for severity in Severity]
    found = ", ".join(_count(number, noun) for number, noun in counts if number) or "no problems"
    ignored = f", {len(checked.ignored)} ignored by comments" if checked.ignored else ""
    yield f"{found}{ignored} in {_count(len(checked.files), 'file')} with {_count(len(checked.documents), 'policy', 'policies')}"
    if checked.problems:
        worst = min((one.problem.code for one in checked.problems), key=lambda code: list(Severity).index(code.severity))
        yield f"What a code means: exchanger code {worst}"


def _count(number: int, noun: str, nouns: str = "") -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {nouns or noun + 's'}"


def shown(name: str) -> str:
    """Return the name of a file as a terminal can show it."""
    return printable(name, 4_096)


def as_json(checked: Checked) -> str:
    """Return one JSON object."""
    files = {file.name: file for file in checked.files}
    content = {
        "files": len(checked.files),
        "policies": len(checked.documents),
        **{f"{severity.value}s": checked.count(severity) for severity in Severity},
        "problems": [_problem_json(found, files[found.file]) for found in checked.problems],
        "ignored": [_problem_json(found, files[found.file]) for found in checked.ignored],
    }
    return json.dumps(content, indent=2) + "\n"


def _problem_json(found: PlacedProblem, file: ManifestFile) -> dict[str, object]:
    problem, place = found.problem, found.place
    return {
        "code": problem.code.name,
        "severity": problem.code.severity.value,
        "message": printable(problem.text, LIMIT),
        "hint": printable(problem.hint, LIMIT) or None,
        "remedy": printable(problem.remedy, LIMIT),
        "file": shown(found.file),
        "line": place.line or 1,
        "column": place.column or 1,
        "endColumn": end_column(found, file),
        "policy": None if found.policy is None else {"namespace": printable(found.policy.namespace), "name": printable(found.policy.name)},
        "entry": problem.entry,
        "field": problem.field or None,
        "related": [{"file": shown(name), "line": other.line or 1, "column": other.column or 1} for name, other in found.rivals],
    }


def end_column(found: PlacedProblem, file: ManifestFile) -> int:
    """Return the column after the marked part."""
    line, column = file.text.line(found.place.line or 1), found.place.column or 1
    return column + max(1, len(token_at(line, column - 1)))


def as_github(checked: Checked) -> str:
    """Return a workflow command for each problem, which GitHub shows as an annotation."""
    files = {file.name: file for file in checked.files}
    return "".join(f"{_command(found, files[found.file])}\n" for found in checked.problems)


def _command(found: PlacedProblem, file: ManifestFile) -> str:
    problem, line = found.problem, found.place.line or 1
    properties = {
        "file": shown(found.file),
        "line": str(line),
        "endLine": str(line),
        "col": str(found.place.column or 1),
        "endColumn": str(end_column(found, file)),
        "title": problem.code.name,
    }
    listed = ",".join(f"{name}={_escaped(value, ':,')}" for name, value in properties.items())
    message = _escaped(printable(f"{problem.sentence}. {problem.remedy}", LIMIT))
    return f"::{problem.code.severity.value} {listed}::{message}"


def _escaped(text: str, more: str = "") -> str:
    for char in f"%\r\n{more}":
        text = text.replace(char, f"%{ord(char):02X}")
    return text
