"""What a scenario is, as values: a request with what has to come of it, and what to watch.

Must not know: ports, sockets, where scenarios are written down, or how one is run.
"""

import enum
from typing import final

import attrs

from exchanger.demo.answer import Answer
from exchanger.demo.http import Headers

EDIT_BOUND = 1.0  # seconds until a changed policy file has to be in force: watching takes about 30 ms, reading and publishing less


@enum.unique
class Subject(enum.Enum):
    """Which subject token a request carries. What is wrong with the last three takes an issuer who looks at signatures to be seen."""

    NONE = "none"
    VALID = "valid"
    EXPIRED = "expired"
    UNSIGNED = "unsigned"
    TRUNCATED = "truncated"
    FOREIGN = "foreign"


@final
@attrs.frozen
class Call:
    """One request to the gateway."""

    host: str
    path: str
    subject: Subject = Subject.VALID
    method: str = "GET"
    headers: Headers = ()


@final
@attrs.frozen
class OneRequest:
    """A request and its answer."""

    name: str
    watch: str
    call: Call
    expected: Answer


@final
@attrs.frozen
class EqualRequests:
    """The same request ``count`` times at once: each is answered as expected, and the token endpoint is asked once."""

    name: str
    watch: str
    call: Call
    expected: Answer
    count: int


@final
@attrs.frozen
class PolicyEdit:
    """In ``file``, ``old`` is replaced by ``new`` while everything runs: answers change to ``edited`` in time, and back again."""

    name: str
    watch: str
    call: Call
    expected: Answer
    edited: Answer
    file: str
    old: str
    new: str


Scenario = OneRequest | EqualRequests | PolicyEdit
