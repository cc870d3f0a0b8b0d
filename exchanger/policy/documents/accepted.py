"""Comments by which authors accept a warning or a notice: ``# exchanger: ignore POL-2106`` on a line of the entry. Pure."""

import re
from collections.abc import Mapping
from typing import Final

from exchanger.formats.yaml.reader import BREAK
from exchanger.model.codes.code import Severity
from exchanger.model.codes.problem import Problem
from exchanger.policy.documents.document import PolicyDocument

# The YAML comment (https://yaml.org/spec/1.2.2/#66-comments) at the end of a line: codes, then perhaps the reason.
_find_comment: Final = re.compile(r"(?:^|\s)(#[ \t]*exchanger:[ \t]*ignore)\b((?:[, \t]*POL-\d{4})*)").search
_CODE: Final = re.compile(r"POL-\d{4}")

# The codes that the comment on a line accepts, by the number of the line.
Comments = Mapping[int, frozenset[str]]


def comments_in(text: str) -> Comments:
    """Return the codes that comments in ``text`` accept, by line, counted from 1."""
    if "exchanger:" not in text:
        return {}
    found = ((number, _find_comment(line)) for number, line in enumerate(BREAK.split(text), 1))
    return {number: frozenset(_CODE.findall(comment[2])) for number, comment in found if comment is not None}


def is_accepted(problem: Problem, document: PolicyDocument, comments: Comments) -> bool:
    """Return whether one of ``comments``, by the document's lines, accepts ``problem``. No comment accepts an error."""
    if problem.code.severity is Severity.ERROR or not comments:
        return False
    starts = (entry.line for entry in document.entries if entry.index == problem.entry)
    return any(problem.code.name in comments.get(line, ()) for line in (problem.line, *starts) if line is not None)
