"""The policy's decision on one request: a closed set.

Must not know: how a decision is found, or how it is answered.
"""

import enum
from typing import Final, final

import attrs

from exchanger.model.entry import AllowEntry, DenyEntry, ExchangeEntry, Source


@final
@attrs.frozen
class NoMatch:
    """No entry and no fail-closed scope applies, however the request is read."""


@final
@attrs.frozen
class Unhealthy:
    """The authors' intention for this request is unknown: a fail-closed scope covers it, or entries conflict.

    ``reason`` is written for the author. ``source`` is the document to look at, ``None`` if there is more than one; ``index`` is the entry
    in it, ``None`` for the document as a whole.
    """

    reason: str
    source: Source | None = None
    index: int | None = None


@enum.unique
class AmbiguousPart(enum.Enum):
    """The part of a request that servers read in different ways, or that cannot be read at all."""

    AUTHORITY = "authority"
    HEADER = "header"
    METHOD = "method"
    PATH = "path"


@final
@attrs.frozen
class Ambiguous:
    """The request can be understood in ways that lead to different decisions, so it gets none."""

    part: AmbiguousPart


PolicyDecision = NoMatch | DenyEntry | ExchangeEntry | AllowEntry | Unhealthy | Ambiguous

NO_MATCH: Final = NoMatch()
AMBIGUOUS_AUTHORITY: Final = Ambiguous(AmbiguousPart.AUTHORITY)
AMBIGUOUS_HEADER: Final = Ambiguous(AmbiguousPart.HEADER)
AMBIGUOUS_PATH: Final = Ambiguous(AmbiguousPart.PATH)
