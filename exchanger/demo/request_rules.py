"""What a request may be made of when somebody else has written it: nothing that could make another request of it, or end it early.

Must not know: who wrote it, or where it is sent. Source: RFC 9110 sections 5.1, 5.5, 7.2 and 9.1, RFC 9112 section 3.2,
https://www.rfc-editor.org/rfc/rfc9110.
"""

import re
from typing import Final

MAX_HEADERS: Final = 64
"""Headers of one request; a browser sends twenty, and Envoy takes a hundred."""

is_method: Final = re.compile(r"[A-Z][A-Z-]{0,31}").fullmatch
is_host: Final = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?").fullmatch
is_path: Final = re.compile(r"/[!-~]{0,8191}").fullmatch
"""Path and query as they are sent: a scenario may be about any spelling, so that they are not looked at any closer."""
is_header_name: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}").fullmatch
is_header_value: Final = re.compile(r"(?:[!-~](?:[ \t!-~]{0,8190}[!-~])?)?").fullmatch

_TAKEN: Final = {"authorization": "the subject says which token is sent", "host": "the request has a field for it"}
_FRAMING: Final = frozenset(
    {"connection", "content-length", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)


def why_no_header(name: str, value: str) -> str:
    """Return why this header cannot be sent, "" when it can; what it holds is not repeated."""
    if not is_header_name(name):
        return "is no name of a header"
    if name.lower() in _TAKEN:
        return f"cannot be {name.capitalize()}: {_TAKEN[name.lower()]}"
    if name.lower() in _FRAMING:
        return "is about the connection, which is not the request's own"
    return "" if is_header_value(value) else "has a value that no header can have"
