"""Token endpoints: which addresses are usable, and one POST to one of them.

Source: RFC 6749 section 3.2 (https://www.rfc-editor.org/rfc/rfc6749#section-3.2).

httpx reads the URL, once per issuer, because its rules on international names and percent-encoding are those that operators' files were
written against. Nothing else of it is used.
"""

import re
from http import HTTPStatus
from typing import Final, final

import attrs
import h11
import httpx
import trio

from exchanger.decision.token_exchange import MAX_RESPONSE_BYTES, EncodedRequest, TooLarge
from exchanger.oauth.dial import Origin
from exchanger.oauth.http1 import Bounds, Broken, Http1Connection
from exchanger.oauth.pool import ConnectionPool, Lease
from exchanger.util.address import is_dialable

# Most pieces a body may come in, so that a megabyte of one-byte chunks does not cost a second of CPU. A usual body comes in one or two.
_MAX_BODY_PIECES: Final = 4096


@final
@attrs.frozen
class Endpoint:
    """A usable address. ``authority`` and ``target`` are what a request to it has in its Host header and request line."""

    origin: Origin
    authority: str
    target: str

    @property
    def host(self) -> str:
        """The host that metrics name, in lower case and without port."""
        return self.origin.host

    def head(self, request: EncodedRequest, *, reuse: bool) -> h11.Request | None:
        """Return the head of the POST of ``request``; ``None`` if it is not valid HTTP."""
        headers = [("Host", self.authority), ("Content-Length", str(len(request.body))), *request.headers]
        if not reuse:  # RFC 9112 section 9.3: a client that does not reuse connections has to say so
            headers.append(("Connection", "close"))
        try:
            return h11.Request(method="POST", target=self.target, headers=headers)
        except h11.LocalProtocolError:  # its message may quote a header
            return None


@final
@attrs.frozen
class EndpointProblem:
    """Why an address is not usable, in words that follow its name. The address is not repeated: it may carry a password."""

    reason: str


def read_endpoint(text: str, *, allow_http: bool) -> Endpoint | EndpointProblem:
    """Read an address: absolute, https unless ``allow_http``, without user information and fragment."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError):  # the latter for lone surrogates
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


@final
@attrs.frozen
class Answer:
    """What an endpoint answered; ``body`` is ``None`` when it broke off or came too late."""

    status: int
    challenges: list[str] = attrs.field(repr=False)
    body: bytes | TooLarge | None = attrs.field(repr=False)


async def post(endpoint: Endpoint, pool: ConnectionPool, head: h11.Request, body: bytes, bounds: Bounds) -> Answer | None:
    """Send one request and return the answer; ``None`` if there is none, within ``bounds`` or at all.

    Redirects are not followed. The connection goes back to the pool if the exchange came to a clean end, and is closed otherwise.
    """
    lease: Lease | None = None
    answer: h11.Response | None = None
    content: bytes | TooLarge | None = None
    try:
        with bounds.scope:
            lease = await pool.lease(endpoint.origin)
            answer = await _first_answer(lease, head, body, bounds)
        if lease is not None and lease.connection is not None and answer is not None:
            with trio.CancelScope(deadline=bounds.expires):
                # Nothing that a redirect says is of use.
                content = b"" if _is_redirect(answer.status_code) else await _read_body(lease.connection)
    finally:
        if lease is not None:
            await lease.release()
    if answer is None:
        return None
    challenges = [value.decode("latin-1") for name, value in answer.headers if name == b"www-authenticate"]
    return Answer(answer.status_code, challenges, content)


async def _first_answer(lease: Lease, head: h11.Request, body: bytes, bounds: Bounds) -> h11.Response | None:
    """Send on a connection that was used before, else on a fresh one. Return the head of the answer, ``None`` if there is no answer.

    A used connection that ends without a byte of response was closed by the peer before it saw the request (RFC 9112 section 9.3.1,
    https://www.rfc-editor.org/rfc/rfc9112#section-9.3.1), so the request goes out once more, on a fresh connection. The same holds after a
    408, with which the peer ends an idle connection (RFC 9110 section 15.5.9, https://www.rfc-editor.org/rfc/rfc9110#section-15.5.9): it
    answers no request.
    """
    connection = await lease.reuse()
    if connection is not None:
        answer = await connection.send(head, body, bounds)
        ended = answer.status_code == HTTPStatus.REQUEST_TIMEOUT if isinstance(answer, h11.Response) else not answer.answered
        if not ended:
            return answer if isinstance(answer, h11.Response) else None
        await lease.discard()
    connection = await lease.connect(bounds)
    if connection is None:
        return None
    answer = await connection.send(head, body, bounds)
    return answer if isinstance(answer, h11.Response) else None


async def _read_body(connection: Http1Connection) -> bytes | TooLarge | None:
    """Return the body as it was sent, without any decoding. Stop where it gets too long; ``None`` if it breaks off."""
    pieces: list[bytes] = []
    room = MAX_RESPONSE_BYTES
    while piece := await connection.next_piece():
        if isinstance(piece, Broken):
            return None
        room -= len(piece)
        if room < 0 or len(pieces) == _MAX_BODY_PIECES:
            return TooLarge.TOO_LARGE
        pieces.append(piece)
    return b"".join(pieces)


def _is_redirect(status: int) -> bool:
    return HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
