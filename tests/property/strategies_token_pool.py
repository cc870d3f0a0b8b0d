"""Strategies for a token endpoint that says too much, too late, in pieces or not to the end, and for those who ask it."""

from enum import Enum
from typing import final

import attrs
from hypothesis import strategies as st

ISSUERS = ("one.example", "two.example")


class Kind(Enum):
    """What comes beside the answer that was asked for."""

    COPY = "the same answer again"
    OTHER = "the answer to another request"
    IDLE_NOTICE = "a 408"
    INTERIM = "a 1xx"
    BYTES = "no HTTP"
    LINE = "an empty line"


@final
@attrs.frozen
class Surplus:
    """``at`` is a share of the rest that the connection needs at least, so that 0 is with the answer's end.

    If ``cut`` is not 0, what comes after so many bytes comes ``gap`` seconds later, and that may be after the rest.
    """

    kind: Kind
    at: float
    cut: int = 0
    gap: float = 0.0


@final
@attrs.frozen
class Behaviour:
    """What the endpoint does with one request.

    The answer comes after ``delay`` seconds, in two pieces if ``cut`` is not 0, ``gap`` seconds apart. ``joined`` has the surplus in the
    same write as the answer's end. ``breaks`` closes the connection after so many bytes, ``closes`` so many seconds after the answer.
    """

    delay: float
    cut: int = 0
    gap: float = 0.0
    chunked: bool = False
    joined: bool = False
    surplus: Surplus | None = None
    breaks: int | None = None
    closes: float | None = None


@final
@attrs.frozen
class Ask:
    """A caller with a subject of its own asks, and leaves after ``patience`` seconds."""

    issuer: str
    patience: float


@final
@attrs.frozen
class Pause:
    """Nobody asks for ``seconds``."""

    seconds: float


Step = Ask | Pause

_seldom = st.integers(0, 5).map(lambda number: number == 0)
surpluses = st.builds(
    Surplus,
    kind=st.sampled_from(Kind),
    at=st.floats(0.0, 0.999),
    cut=st.sampled_from([0, 0, 1, 20, 60]),
    gap=st.sampled_from([0.0, 0.05, 0.2, 1.0]),
)
behaviours = st.builds(
    Behaviour,
    delay=st.sampled_from([0.0, 0.001, 0.01, 0.03, 0.03, 0.03, 0.15, 0.6]),
    cut=st.sampled_from([0, 0, 0, 1, 40, 90]),
    gap=st.sampled_from([0.0, 0.01, 0.2]),
    chunked=st.booleans(),
    joined=_seldom,
    surplus=st.none() | surpluses,
    breaks=_seldom.flatmap(lambda breaks: st.integers(0, 200) if breaks else st.none()),
    closes=_seldom.flatmap(lambda closes: st.sampled_from([0.0, 0.05, 0.3]) if closes else st.none()),
)
steps = st.lists(
    st.builds(Ask, issuer=st.sampled_from([*[ISSUERS[0]] * 3, ISSUERS[1]]), patience=st.sampled_from([*[30.0] * 5, 0.0, 0.02, 0.2]))
    | st.builds(Pause, seconds=st.sampled_from([0.001, 0.02, 0.1, 0.11, 0.3, 0.5, 1.2, 7.0])),
    min_size=10,
    max_size=50,
)
