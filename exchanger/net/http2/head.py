"""Heads of HTTP/2 requests: which fields they have, and which of them HPACK must not remember.

Sources: RFC 9113 section 8.3.1 (https://www.rfc-editor.org/rfc/rfc9113#section-8.3.1) and RFC 7541 section 7.1.3.
"""

import enum
import re
from collections.abc import Iterable
from typing import Final, final

import attrs
from ngh2 import NeverIndexedHeader

Field = tuple[bytes, bytes]

# RFC 9110 sections 5.1 and 5.5, names in lower case (RFC 9113 section 8.2.1). The codec does not check what it sends, and a proxy that
# turns the request into HTTP/1.1 must not find a line end.
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE: Final = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")

# RFC 9113 section 8.2.2: fields of one HTTP/1.1 connection, and those that pseudo-header fields and the client itself replace.
_NOT_FORWARDED: Final = frozenset(
    {b"connection", b"content-length", b"host", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"}
)

# Sent in full in each request. Credentials must not be in a table whose hits can be measured, neither here nor at proxies on the way; trace
# headers differ from request to request and would displace everything else from that table.
_NEVER_INDEXED: Final = frozenset({b"authorization", b"cookie", b"proxy-authorization", b"traceparent", b"tracestate", b"baggage"})


@enum.unique
class Method(enum.Enum):
    """The method (RFC 9110 section 9.3); a GET has no content, and so neither its length nor its type."""

    GET = "GET"
    POST = "POST"


@final
@attrs.frozen
class RequestHead:
    """The fields with which all requests to one endpoint with the same credentials begin. Hidden, since they contain a secret."""

    fields: tuple[Field, ...] = attrs.field(repr=False)
    method: Method = Method.POST


def request_head(
    *, secure: bool, authority: str, target: str, headers: Iterable[tuple[str, str]], method: Method = Method.POST
) -> RequestHead | None:
    """Return the head of requests to ``target`` at ``authority``; ``None`` if HTTP/2 cannot carry it.

    ``headers`` must not have Host and Content-Length. Names may be in any case.
    """
    pseudo = header_fields((("scheme", "https" if secure else "http"), ("authority", authority), ("path", target)))
    fields = header_fields(headers)
    if pseudo is None or fields is None or not authority or not target:
        return None
    named = [(b":" + name, value) for name, value in pseudo]
    return RequestHead(((b":method", method.value.encode("ascii")), *named, *fields), method)


def header_fields(headers: Iterable[tuple[str, str]]) -> tuple[Field, ...] | None:
    """Return ``headers`` as fields for HTTP/2; ``None`` if one of them is not valid or belongs to an HTTP/1.1 connection."""
    fields: list[Field] = []
    for name, value in headers:
        try:
            field = (name.lower().encode("ascii"), value.encode("latin-1"))
        except UnicodeEncodeError:
            return None
        if not _NAME.fullmatch(field[0]) or field[0] in _NOT_FORWARDED or not _VALUE.fullmatch(field[1]):
            return None
        fields.append(NeverIndexedHeader(*field) if field[0] in _NEVER_INDEXED else field)
    return tuple(fields)
