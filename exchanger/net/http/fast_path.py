"""The usual request, and the bytes of a response: what nearly all messages need, at a tenth of h11's time. Pure.

A usual request is a whole head of HTTP/1.1 without a body, and without anything that readers might understand in two ways. h11 checks every
other message.

Source: RFC 9112 sections 3 to 6 (https://www.rfc-editor.org/rfc/rfc9112)
"""

import re
from http import HTTPStatus
from typing import Final

from exchanger.net.http.message import Headers, Request, Response

# No folded lines, no bare CR or LF, no white space before a colon.
_HEAD: Final = re.compile(rb"([A-Z]+) ([\x21-\x7e]+) HTTP/1\.1\r\n((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)+)\r\n")
# Fields that affect framing, the connection or what is expected before an answer; a request with one of them is not usual. A length is, if
# it is 0.
_UNUSUAL: Final = frozenset({"transfer-encoding", "connection", "expect", "upgrade", "trailer", "te", "keep-alive", "proxy-connection"})
# What may be in the head of a response: nothing of a value can end its line.
_is_name: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_is_value: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*").fullmatch
_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
# 204 and 304 have no content, and 204 no Content-Length (RFC 9110 section 8.6).
WITHOUT_LENGTH: Final = frozenset({204, 304})


class UnsendableError(ValueError):
    """A header of a response cannot be sent; the message does not quote it."""


def read_request(data: bytes, most_bytes: int, most_lines: int) -> tuple[Request, int] | None:
    """Return the usual request at the start of ``data`` and the length of its head, or ``None`` if it is another one, or not whole."""
    head = _HEAD.match(data)
    if head is None or head.end() > most_bytes or head[1] == b"CONNECT":
        return None
    fields: list[tuple[str, str]] = []
    hosts = lengths = 0
    for line in head[3].decode("latin-1").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        if name == "host":
            hosts += 1
        elif name == "content-length":
            lengths += 1
            if lengths > 1 or value != "0":
                return None
        elif name in _UNUSUAL:
            return None
        fields.append((name, value))
    if hosts != 1 or len(fields) >= most_lines:
        return None
    return Request(head[1].decode("ascii"), head[2].decode("ascii"), tuple(fields)), head.end()


def response_head(response: Response, always: Headers, *, ends: bool) -> bytes:
    """Return the head of ``response``, which ``always`` has these headers, too; ``ends``: the connection ends after it.

    Raises:
        UnsendableError: a header has characters that no header may have.
    """
    fields: list[str] = []
    for name, value in (*response.headers, *always):
        if not (_is_name(name) and _is_value(value)):
            raise UnsendableError("a header of the response has characters that no header may have")
        fields.append(f"{name}: {value}")
    if response.status not in WITHOUT_LENGTH:
        fields.append(f"Content-Length: {len(response.body)}")
    if ends:
        fields.append("Connection: close")
    line = _STATUS_LINES.get(response.status) or f"HTTP/1.1 {response.status} \r\n"
    return "".join((line, *(f"{field}\r\n" for field in fields), "\r\n")).encode("latin-1")
