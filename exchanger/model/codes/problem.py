"""A problem of a document as a value: its code, a sentence about this one, and its place.

Must not know: which codes exist, or who finds problems and who is told.
"""

from collections.abc import Iterable, Iterator
from typing import final

import attrs

from exchanger.model.codes.code import Code, Severity
from exchanger.util.text import printable


@final
@attrs.frozen
class Problem:
    """A problem in one place.

    ``text`` is a sentence for the author, bounded, without a full stop. ``entry`` is the position in ``entries``, ``None`` for the
    document as a whole. ``field`` is the path of the field from the root of its file, such as ``entries[0].match.host``, "" without
    one. ``line`` and ``column`` count from 1 in the text that was read.

    ``hint`` is what was probably meant, "" if unknown. ``instead`` is the YAML that should replace the text at the place, if that is the
    only right answer. ``advice`` says in a sentence what to do, "" if that follows from the hint or the code. ``summary`` is the text for
    a line with all problems of an entry (``None``: the same): it may cover several, and then that of the others is "".

    Whatever these sentences repeat of a document is made printable here. ``instead`` is written into the file, so it stays as it is.
    """

    code: Code
    text: str = attrs.field(converter=printable)
    entry: int | None = None
    field: str = attrs.field(default="", converter=printable)
    line: int | None = None
    column: int | None = attrs.field(default=None, eq=False)
    hint: str = attrs.field(default="", eq=False, converter=printable)
    instead: str = attrs.field(default="", eq=False)
    advice: str = attrs.field(default="", eq=False, converter=printable, kw_only=True)
    summary: str | None = attrs.field(default=None, eq=False, converter=attrs.converters.optional(printable), repr=False)

    def __str__(self) -> str:
        return f"{self.code}: {self.sentence}"

    @property
    def sentence(self) -> str:
        """The text with the hint."""
        return hinted(self.text, self.hint)

    @property
    def remedy(self) -> str:
        """What to do about this one: never something else than what its hint says."""
        if self.advice or not self.hint or self.code.severity is not Severity.ERROR:
            return self.advice or self.code.remedy
        to_do = self.hint.removeprefix("to ") if self.hint.startswith("to ") else f"write {self.hint}"
        return f"{to_do[:1].upper()}{to_do[1:]}."

    @property
    def lined(self) -> str:
        """The sentence after its line, for files whose problems are reported without codes."""
        return self.sentence if self.line is None else f"line {self.line}: {self.sentence}"


def reason_of(problems: Iterable[Problem]) -> str:
    """Return the problems of one entry in one line."""
    return "; ".join(filter(None, map(_summary, problems)))


def coded(problems: Iterable[Problem], reason: str = "") -> str:
    """Return the problems of one entry in one line, each after its code; ``reason`` if there are none."""
    return "; ".join(f"{problem.code}: {text}" for problem, text in _hinted(problems)) or reason


def hinted_reason(problems: Iterable[Problem], reason: str = "") -> str:
    """Return the problems of one entry in one line, each with what was probably meant; ``reason`` if there are none."""
    return "; ".join(text for _, text in _hinted(problems)) or reason


def _hinted(problems: Iterable[Problem]) -> Iterator[tuple[Problem, str]]:
    return ((problem, hinted(text, problem.hint)) for problem in problems if (text := _summary(problem)))


def _summary(problem: Problem) -> str:
    return problem.text if problem.summary is None else problem.summary


def hinted(text: str, hint: str) -> str:
    """Return ``text`` with a question about what was meant."""
    return f"{text} (did you mean {hint}?)" if hint else text
