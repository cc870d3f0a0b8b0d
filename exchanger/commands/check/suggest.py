"""Fixes unambiguous mistakes, as a unified diff. Pure.

Each fix replaces the characters of one scalar and leaves everything else unchanged: comments, layout, quotation marks, line ends. A parser
that writes its tree back would break long lines and indent lists in its own way, and cannot see the document inside a block scalar. A fix
is proposed only if everything valid keeps its meaning and the problem is gone.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final, final

import attrs

from exchanger.commands.check.engine import Checked, check
from exchanger.commands.check.files import CheckedDocument, ManifestFile, read_file
from exchanger.commands.check.quoting import redacted, token_at
from exchanger.commands.check.source_map import FileText
from exchanger.commands.offline.rules import PolicyRules
from exchanger.model.codes.policy import WRONG_TYPE
from exchanger.model.codes.problem import Problem
from exchanger.model.entry import Entry, Source

# Lines around a change, as ``diff -u`` has them.
CONTEXT: Final = 3
# Characters of a line that is changed; JSON may be a single line, too long to show twice.
MAX_LINE: Final = 4_096
# Passes over a file: a field in a field in a field may be misspelt.
MAX_ROUNDS: Final = 4
# Changes of one file that are tried one by one if not all of them together are right.
MAX_TRIES: Final = 32


@final
@attrs.frozen(order=True)
class Edit:
    """``new`` in the place of the characters from ``start`` to ``end`` of a file, for ``problem``."""

    start: int
    end: int
    new: str = attrs.field(order=False)
    problem: Problem = attrs.field(order=False, eq=False, repr=False)


def suggest(checked: Checked, rules: PolicyRules) -> str:
    """Return the diff for all files, "" if no mistake has exactly one right correction."""
    after = ((file, mended(file, checked, rules)) for file in checked.files)
    return "".join(_diff(file, text) for file, text in after if text != file.text.text)


def mended(file: ManifestFile, checked: Checked, rules: PolicyRules) -> str:
    """Return the text of ``file`` with all proposed fixes."""
    for _ in range(MAX_ROUNDS):
        edits = _chosen(file, _edits(file, checked), rules)
        if not edits:
            break
        # The content of a field is only checked once the field has the right name.
        checked = check((read_file(file.name, _applied(file.text.text, edits).encode("utf-8", "replace")),), rules)
        file = checked.files[0]
    return file.text.text


def _edits(file: ManifestFile, checked: Checked) -> tuple[Edit, ...]:
    found: dict[Edit, None] = {}
    for document in checked.documents:
        if document.file is file:
            for problem in document.problems:
                edit = _in_document(problem, document) if problem.instead else None
                if edit is not None:
                    found[edit] = None
    for placed in file.problems:
        line, column = placed.place.line, placed.place.column
        if placed.problem.instead and line is not None and column is not None:
            start = file.text.offset(line, column)
            token = token_at(file.text.text, start)
            found[Edit(start, start + len(token), _instead(token, placed.problem), placed.problem)] = None
    return tuple(_apart(sorted(edit for edit in found if _is_showable(file.text, edit))))


def _apart(edits: Iterable[Edit]) -> Iterator[Edit]:
    """Leave out edits that overlap with an earlier one: an alias is in several places, and is fixed once."""
    end = -1
    for edit in edits:
        if edit.start >= end:
            yield edit
            end = edit.end


def _is_showable(text: FileText, edit: Edit) -> bool:
    """Return whether the line may be shown: all of it is part of the diff."""
    line = text.line(text.place(edit.start).line or 1)
    return len(line) <= MAX_LINE and redacted(line) == line


def _in_document(problem: Problem, document: CheckedDocument) -> Edit | None:
    if problem.line is None or problem.column is None:
        return None
    places = document.object.document
    text = document.file.text if places is None else places.lines
    token = token_at(text.text, text.offset(problem.line, problem.column))
    new = _instead(token, problem)
    if not token or not new:
        return None
    if places is None:
        start = text.offset(problem.line, problem.column)
        return Edit(start, start + len(token), new, problem) if document.bare else None
    style = document.file.text.text[places.content : places.content + 1]
    if style == '"':
        new = new.replace("\\", "\\\\").replace('"', '\\"')
    elif style == "'":
        new = new.replace("'", "''")
    # A quotation mark at the end takes two characters within such marks: it is escaped, or doubled.
    length = 2 if style in {'"', "'"} and token.endswith(style) else 1
    start, last = (places.offset(problem.line, problem.column + at) for at in (0, len(token) - 1))
    return Edit(start, last + length, new, problem)


def _instead(token: str, problem: Problem) -> str:
    """Return what to write in the place of ``token``, within the quotation marks that it has."""
    quotes = token[:1] if token[:1] in {'"', "'"} and token[-1:] == token[:1] else ""
    if problem.code is WRONG_TYPE:
        return f"[{token}]" if problem.instead.startswith("[") else problem.instead
    return f"{quotes}{problem.instead}{quotes}"


def _applied(text: str, edits: Iterable[Edit]) -> str:
    parts, at = list[str](), 0
    for edit in edits:
        parts += [text[at : edit.start], edit.new]
        at = edit.end
    return "".join([*parts, text[at:]])


def _chosen(file: ManifestFile, edits: tuple[Edit, ...], rules: PolicyRules) -> tuple[Edit, ...]:
    """Return those of ``edits`` that leave everything valid unchanged, and remove their problems."""
    if not edits:
        return ()
    before = _checked(file.name, file.text.text, rules)

    def is_better(tried: Iterable[Edit]) -> bool:
        after = _checked(file.name, _applied(file.text.text, tried), rules)
        if [source for source, _ in before.valid] != [source for source, _ in after.valid]:
            return False
        same = all(old <= new for (_, old), (_, new) in zip(before.valid, after.valid, strict=True))
        return same and not any(edit.problem in after.problems for edit in tried)

    if is_better(edits):
        return edits
    kept: tuple[Edit, ...] = ()
    for edit in edits[:MAX_TRIES]:
        if is_better(tried := tuple(sorted((*kept, edit)))):
            kept = tried
    return kept


@final
@attrs.frozen
class _Checked:
    """The content of a version of a file: the healthy entries of each document, and the problems."""

    valid: tuple[tuple[Source, frozenset[Entry]], ...]
    problems: frozenset[Problem]


def _checked(name: str, text: str, rules: PolicyRules) -> _Checked:
    checked = check((read_file(name, text.encode("utf-8", "replace")),), rules)
    valid = tuple((document.policy.source, frozenset(document.policy.entries)) for document in checked.documents)
    own = (placed.problem for file in checked.files for placed in file.problems)
    of_documents = (problem for document in checked.documents for problem in document.problems)
    return _Checked(valid, frozenset(chain(own, of_documents)))


def _diff(file: ManifestFile, after: str) -> str:
    """Return a unified diff of a file whose lines stay the same in number. Lines that may be secret are not context."""
    old, new = file.text.text.split("\n"), after.split("\n")
    changed = [number for number, (left, right) in enumerate(zip(old, new, strict=True)) if left != right]
    name = file.name.removeprefix("./")
    prefix = ("", "") if name.startswith(("/", "<")) else ("a/", "b/")
    lines = [f"--- {prefix[0]}{name}", f"+++ {prefix[1]}{name}"]
    for start, end in _hunks(changed, old):
        lines.append(f"@@ -{start + 1},{end - start} +{start + 1},{end - start} @@")
        for number in range(start, end):
            is_last = number == len(old) - 1
            ending = "\n\\ No newline at end of file" if is_last else ""
            if old[number] == new[number]:
                lines.append(f" {old[number]}{ending}")
            else:
                lines += [f"-{old[number]}{ending}", f"+{new[number]}{ending}"]
    return "".join(f"{line}\n" for line in lines)


def _hunks(changed: list[int], lines: list[str]) -> Iterator[tuple[int, int]]:
    """Yield the first line of each hunk, and the one after its last."""
    last = len(lines) - (lines[-1] == "")  # what follows the last line break is not a line
    hunks: list[list[int]] = []
    for number in changed:
        start, end = number, number + 1
        while start > 0 and number - start < CONTEXT and _may_be_shown(lines[start - 1]):
            start -= 1
        while end < last and end - number <= CONTEXT and _may_be_shown(lines[end]):
            end += 1
        if hunks and start <= hunks[-1][1]:
            hunks[-1][1] = end
        else:
            hunks.append([start, end])
    yield from ((start, end) for start, end in hunks)


def _may_be_shown(line: str) -> bool:
    return len(line) <= MAX_LINE and redacted(line) == line
