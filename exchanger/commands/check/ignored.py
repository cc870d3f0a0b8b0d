"""Sorts out the warnings and notices that comments accept, and reports comments that accept nothing. Pure.

Errors stay: what they are about is not active, and no comment changes that.
"""

from collections.abc import Iterable, Iterator

from exchanger.commands.check.files import CheckedDocument, ManifestFile, PlacedProblem
from exchanger.commands.check.source_map import Place
from exchanger.model.codes.code import Severity
from exchanger.model.codes.manifests import IGNORES_NOTHING
from exchanger.model.codes.problem import Problem
from exchanger.model.codes.registry import find
from exchanger.model.entry import Source
from exchanger.policy.documents.accepted import comments_in


def sorted_out(
    found: Iterable[PlacedProblem], files: Iterable[ManifestFile], documents: Iterable[CheckedDocument]
) -> tuple[list[PlacedProblem], list[PlacedProblem]]:
    """Return the problems that stay, with those of comments that accept nothing, and the problems that comments accept.

    A comment accepts a problem on its own line, or on the first line of the entry that the problem is about.
    """
    comments = {(file.name, number): codes for file in files for number, codes in comments_in(file.text.text).items()}
    by_policy: dict[tuple[str, Source | None], list[CheckedDocument]] = {}
    for document in documents:
        by_policy.setdefault((document.file.name, None if document.bare else document.policy.source), []).append(document)
    stay: list[PlacedProblem] = []
    ignored: list[PlacedProblem] = []
    used: set[tuple[str, int]] = set()
    for one in found:
        code = one.problem.code
        lines = _lines(one, by_policy.get((one.file, one.policy), ())) if code.severity is not Severity.ERROR else ()
        by = [line for line in lines if code.name in comments.get((one.file, line), ())]
        (ignored if by else stay).append(one)
        used.update((one.file, line) for line in by)
    return [*stay, *(_useless(name, line, codes) for (name, line), codes in comments.items() if (name, line) not in used)], ignored


def _lines(found: PlacedProblem, documents: Iterable[CheckedDocument]) -> Iterator[int]:
    if found.place.line is not None:
        yield found.place.line
    for document in documents if found.problem.entry is not None else ():
        starts = (document.place(entry.line, None).line for entry in document.policy.entries if entry.index == found.problem.entry)
        yield from (start for start in starts if start is not None)


def _useless(file: str, line: int, codes: Iterable[str]) -> PlacedProblem:
    names = " or ".join(sorted(codes))
    errors = [name for name in sorted(codes) if (code := find(name)) is not None and code.severity is Severity.ERROR]
    text = f"this comment ignores nothing: the check finds no {names} on this line or about its entry"
    if errors:
        text = f"this comment ignores nothing: {errors[0]} is an error, and comments can ignore only warnings and notices"
    elif not names:
        text = "this comment ignores nothing: it names no code, such as POL-2108"
    return PlacedProblem(Problem(IGNORES_NOTHING, text), file, Place(line, 1))
