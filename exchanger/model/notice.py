"""Probable mistakes: something looks as if it protects, and has no effect.

A notice names the object, never the value of a variable or the text of a document: either may hold a secret.

Must not know: what is checked, or who gets the notices.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Final, final

import attrs

from exchanger.model.codes.code import Code
from exchanger.model.text import POLICY_LIMIT
from exchanger.util.text import printable

# Notices that are listed; more are one mistake made many times, and only their number is reported.
MAX_NOTICES: Final = 20
# Characters of a notice's subject: ``namespace/name`` and a word or two before it.
SUBJECT_LIMIT: Final = POLICY_LIMIT + 32
# Characters of a sentence, which may name two selectors.
TEXT_LIMIT: Final = 1024


def _subject(text: str) -> str:
    return printable(text, SUBJECT_LIMIT)


def _sentence(text: str) -> str:
    return printable(text, TEXT_LIMIT)


@final
@attrs.frozen
class Notice:
    """A subject, its probable mistake, and what to do. All are bounded and printable. Notices about policies have a code."""

    subject: str = attrs.field(converter=_subject)
    text: str = attrs.field(converter=_sentence)
    remedy: str = attrs.field(converter=_sentence)
    code: Code | None = attrs.field(default=None, eq=False)

    def __str__(self) -> str:
        told = f"{self.subject} {self.text} ({self.remedy})"
        return told if self.code is None else f"{self.code}: {told}"

    def fields(self) -> dict[str, str | None]:
        """Return the parts as texts, for JSON."""
        return {"code": None if self.code is None else self.code.name, "subject": self.subject, "text": self.text, "remedy": self.remedy}


@final
@attrs.frozen
class Notices:
    """The first ``MAX_NOTICES`` notices, and the number of the others."""

    listed: tuple[Notice, ...] = ()
    more: int = 0

    @classmethod
    def of(cls, found: Iterable[Notice], count: int | None = None) -> "Notices":
        """Keep the first of ``found``; ``count`` is their number, if it is known without making them all."""
        rest = iter(found)
        listed = tuple(islice(rest, MAX_NOTICES))
        return cls(listed, sum(1 for _ in rest) if count is None else count - len(listed))

    @property
    def count(self) -> int:
        """How many there are in all."""
        return len(self.listed) + self.more


NO_NOTICES: Final = Notices()
