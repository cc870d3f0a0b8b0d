"""Token endpoints and other addresses of issuers: which are usable, and the head of the requests to one of them.

Source: RFC 6749 section 3.2 (https://www.rfc-editor.org/rfc/rfc6749#section-3.2).

httpx parses the URL, once per issuer, because operators' files were written against its rules on international names and
percent-encoding. Nothing else of it is used.
"""

import re
from collections.abc import Iterable
from typing import Final, final

import attrs
import h11
import httpx

from exchanger.net.dial import Origin
from exchanger.net.http2.head import Method, RequestHead, request_head
from exchanger.util.address import is_dialable

# Prepared heads that are kept. There is one per issuer profile and generation of its credentials.
_MAX_HEADS: Final = 256

# Servers commonly accept request heads of 8 KiB. Proxies in front of them add fields, and HTTP/2 counts 32 bytes more for each
# (RFC 9113 section 10.5.1).
MAX_HEAD: Final = 7 * 1024

HeaderFields = tuple[tuple[str, str], ...]


@final
@attrs.frozen
class PreparedHead:
    """The beginning of all requests to one endpoint with the same credentials, in both versions of HTTP. Hidden, as it has a secret."""

    http1: bytes = attrs.field(repr=False)
    http2: RequestHead | None = attrs.field(repr=False)
    method: Method = Method.POST

    def fitting(self, trace: HeaderFields) -> HeaderFields:
        """Return the fields of ``trace`` for which the head has room. The last ones are dropped first: they are the least useful."""
        room = MAX_HEAD - len(self.http1)
        for count, (name, value) in enumerate(trace):
            room -= len(name) + len(value) + 4
            if room < 0:
                return trace[:count]
        return trace

    def http1_request(self, trace: HeaderFields, body: bytes) -> bytes:
        """Return the bytes of a POST of ``body``, or of a GET without one. ``trace`` are fields of this request alone, fit to be sent."""
        more = "".join([f"{name}: {value}\r\n" for name, value in trace]).encode("ascii") if trace else b""
        if self.method is Method.GET:
            return b"%b%b\r\n" % (self.http1, more)
        return b"%b%bContent-Length: %d\r\n\r\n%b" % (self.http1, more, len(body), body)


@final
@attrs.define(eq=False)
class Endpoint:
    """A usable address. ``authority`` and ``target`` go into the Host header and the request line."""

    origin: Origin
    authority: str
    target: str
    reuse: bool = True
    _heads: dict[HeaderFields, PreparedHead | None] = attrs.field(factory=dict, init=False, repr=False)

    @property
    def host(self) -> str:
        """The host that metrics name, in lower case and without port."""
        return self.origin.host

    def head(self, headers: HeaderFields) -> PreparedHead | None:
        """Return the head of POST requests with ``headers``; ``None`` if that is not valid HTTP. Caches its results."""
        if headers not in self._heads:
            if len(self._heads) >= _MAX_HEADS:
                self._heads.clear()
            self._heads[headers] = self._prepare(headers, Method.POST)
        return self._heads[headers]

    def get_head(self, headers: HeaderFields) -> PreparedHead | None:
        """Return the head of a GET request with ``headers``; ``None`` if that is not valid HTTP."""
        return self._prepare(headers, Method.GET)

    def _prepare(self, headers: HeaderFields, method: Method) -> PreparedHead | None:
        fields: Iterable[tuple[str, str]] = (("Host", self.authority), *headers)
        if not self.reuse:  # RFC 9112 section 9.3: a client that does not reuse connections must say so
            fields = (*fields, ("Connection", "close"))
        length = [("Content-Length", "0")] if method is Method.POST else []
        codec = h11.Connection(h11.CLIENT)
        try:
            http1 = codec.send(h11.Request(method=method.value, target=self.target, headers=[*fields, *length])) or b""
        except h11.LocalProtocolError:  # its message may quote a header
            return None
        http2 = request_head(secure=self.origin.secure, authority=self.authority, target=self.target, headers=headers, method=method)
        end = b"Content-Length: 0\r\n\r\n" if method is Method.POST else b"\r\n"
        return PreparedHead(http1.removesuffix(end), http2, method)


@final
@attrs.frozen
class EndpointProblem:
    """Why an address is not usable, in words that follow its name. The address is not repeated: it may contain a password."""

    reason: str


def read_endpoint(text: str, *, allow_http: bool) -> Endpoint | EndpointProblem:
    """Read an address: absolute, https unless ``allow_http``, without user information and fragment."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError):  # UnicodeError for lone surrogates
        return EndpointProblem("is not a URL")
    secure = url.scheme == "https"
    if not secure and url.scheme != "http":
        return EndpointProblem("must be an absolute https URL")
    if not secure and not allow_http:
        return EndpointProblem("must use https (TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT is for tests)")
    # Also empty user information and an empty fragment, which the parsed form does not show.
    authority = re.split(r"[/?#]", text.partition("//")[2], maxsplit=1)[0]
    if "@" in authority:
        return EndpointProblem("must not have user information")
    if "#" in text:
        return EndpointProblem("must not have a fragment")
    host = url.raw_host.decode("ascii")
    port = url.port if url.port is not None else 443 if secure else 80
    if not is_dialable(host, port):
        return EndpointProblem("has no usable host and port")
    return Endpoint(Origin(secure, host, port), url.netloc.decode("ascii"), url.raw_path.decode("ascii"))
