"""Comments by which authors accept a warning or a notice: ``# exchanger: ignore POL-2106`` on a line of the entry. Pure.

Errors stay: what they are about is not in force, and no comment changes that.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from exchanger.codes.code import Severity
from exchanger.tools.check.files import CheckedDocument, ManifestFile, PlacedProblem

# The YAML comment (https://yaml.org/spec/1.2.2/#66-comments) at the end of a line: one code or more, then perhaps the reason.
_COMMENT: Final = re.compile(r"(?:^|\s)#\s*exchanger:\s*ignore\s+((?:POL-\d{4}[,\s]*)+)")
_CODE: Final = re.compile(r"POL-\d{4}")


def is_ignored(found: PlacedProblem, file: ManifestFile, documents: Iterable[CheckedDocument]) -> bool:
    """Return whether a comment accepts the problem: on its own line, or on the first one of the entry that it is about.

    ``documents`` are those with the problem's ``policy`` in its ``file``.
    """
    code = found.problem.code
    return code.severity is not Severity.ERROR and any(code.name in _codes(line) for line in _lines(found, file, documents))


def _lines(found: PlacedProblem, file: ManifestFile, documents: Iterable[CheckedDocument]) -> Iterator[str]:
    if found.place.line is not None:
        yield file.text.line(found.place.line)
    if found.problem.entry is not None:
        for document in documents:
            starts = (entry.line for entry in document.policy.entries if entry.index == found.problem.entry)
            for start in starts:
                yield file.text.line(document.place(start, None).line or 0)


def _codes(line: str) -> frozenset[str]:
    comment = _COMMENT.search(line)
    return frozenset(_CODE.findall(comment[1])) if comment else frozenset()
