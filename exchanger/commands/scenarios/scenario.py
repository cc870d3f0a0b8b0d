"""A scenario as a value: a request, the expected answer, and what to watch for. Also the rules for requests from other authors.

Such a request must not smuggle a second one or end early: RFC 9110 sections 5.1, 5.5, 7.2 and 9.1, RFC 9112 section 3.2,
https://www.rfc-editor.org/rfc/rfc9110.
"""

import re
from typing import Final, final

import attrs

from exchanger.commands.scenarios.answer import ScenarioAnswer
from exchanger.commands.scenarios.expectation import ExpectedAnswer
from exchanger.commands.scenarios.tokens import Subject
from exchanger.net.http.message import Headers

# Seconds until an edited policy file must be active: watching takes about 30 ms, reading and publishing less.
EDIT_BOUND: Final = 1.0

# Headers of one request; a browser sends twenty, and Envoy accepts a hundred.
MAX_HEADERS: Final = 64

is_method: Final = re.compile(r"[A-Z][A-Z-]{0,31}").fullmatch
is_host: Final = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?").fullmatch
# Path and query as sent. A scenario may be about any spelling, so nothing more is checked.
is_path: Final = re.compile(r"/[!-~]{0,8191}").fullmatch
_is_header_name: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}").fullmatch
_is_header_value: Final = re.compile(r"(?:[!-~](?:[ \t!-~]{0,8190}[!-~])?)?").fullmatch

_TAKEN: Final = {"authorization": "the subject says which token is sent", "host": "the request has a field for it"}
_FRAMING: Final = frozenset(
    {"connection", "content-length", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)


def why_no_header(name: str, value: str) -> str:
    """Return why this header cannot be sent, "" if it can. The reason does not repeat the header."""
    if not _is_header_name(name):
        return "is not a header name"
    if name.lower() in _TAKEN:
        return f"cannot be {name.capitalize()}: {_TAKEN[name.lower()]}"
    if name.lower() in _FRAMING:
        return "is about the connection, which is not the request's own"
    return "" if _is_header_value(value) else "has a value that no header can have"


@final
@attrs.frozen
class GatewayCall:
    """One request to the gateway.

    Attributes:
        literal: The token itself, if the scenario has it; hidden from repr.
        signed: Whether the token must be signed by a real issuer, or derived from such a token.
        grants: Whether it is about the teams and grants of the local demo.
    """

    host: str
    path: str
    subject: Subject = Subject.VALID
    method: str = "GET"
    headers: Headers = ()
    literal: str = attrs.field(default="", repr=False)
    signed: bool = False
    grants: bool = False


@final
@attrs.frozen
class OneRequest:
    """A request and its answer."""

    name: str
    watch: str
    call: GatewayCall
    expected: ScenarioAnswer


@final
@attrs.frozen
class LooseRequest:
    """A request and what its answer must have; the rest is not compared. Scenarios of the Go project are of this kind."""

    name: str
    watch: str
    call: GatewayCall
    expected: ExpectedAnswer


@final
@attrs.frozen
class EqualRequests:
    """The same request ``count`` times at once: each gets the expected answer, and they share one token request."""

    name: str
    watch: str
    call: GatewayCall
    expected: ScenarioAnswer
    count: int


@final
@attrs.frozen
class PolicyEdit:
    """Replaces ``old`` with ``new`` in ``file`` while everything runs: the answer becomes ``edited`` in time, then ``expected`` again."""

    name: str
    watch: str
    call: GatewayCall
    expected: ScenarioAnswer
    edited: ScenarioAnswer
    file: str
    old: str
    new: str


Scenario = OneRequest | LooseRequest | EqualRequests | PolicyEdit
