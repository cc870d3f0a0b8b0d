"""One request to an API server and its answer, as bytes: bounded in time and size, and every failure a value. Blocks in a thread.

No exception text is passed on: http.client's messages quote headers, and one of them is the token.
"""

import http.client
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, TypeVar, final
from urllib.parse import urlencode

import attrs
import urllib3
import urllib3.exceptions
from urllib3.response import BaseHTTPResponse

from exchanger.model.secret import Secret
from exchanger.sources.kube.api.access import PRESENT, Access, ApiCall, ClusterCredentials, close_kept
from exchanger.sources.kube.api.decoding import Lines, failure_of_response, printable, read_object
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind

R = TypeVar("R")
# Bytes per read; a TLS record has 16 KiB, so most reads return less.
PIECE_BYTES: Final = 64 * 1024
# Bytes of an answer, and of a watch's line. An object has at most 1.5 MiB in etcd (https://etcd.io/docs/v3.5/dev-guide/limit/), and JSON
# writes some characters (``<``, control characters) as six.
MAX_BODY_BYTES: Final = 16 * 1024 * 1024
# Bytes that are read of an error answer; a Status has a few hundred.
MAX_FAILURE_BYTES: Final = 64 * 1024
# Exceptions inside exceptions that are examined; urllib3 wraps three deep.
MAX_CHAIN: Final = 16
# Everything that a request may raise because of the network, or of text that cannot be a header or an address.
TRANSPORT_ERRORS: Final = (OSError, ValueError, http.client.HTTPException, urllib3.exceptions.HTTPError)
USER_AGENT: Final = "exchanger"


@final
@attrs.frozen
class ApiRequest:
    """A request. ``path`` starts with a slash and is percent-encoded; ``query`` is not."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = attrs.field(default=None, repr=False)
    content_type: str = "application/json"
    accept: str = "application/json"

    @property
    def target(self) -> str:
        """Path and query as sent."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


@final
@attrs.frozen
class ApiResponseTooLarge:
    """The answer has more than ``MAX_BODY_BYTES``."""


@final
@attrs.frozen
class _Distrust:
    """The server did not prove its identity; nothing was sent to it."""

    failure: ApiFailure


@final
@attrs.frozen
class Timeouts:
    """Seconds: ``connect`` for one address, including TLS, and ``read`` for the next byte of an answer."""

    connect: float
    read: float


def ask(
    credentials: ClusterCredentials, call: ApiCall, request: ApiRequest, timeouts: Timeouts, read: Callable[[dict[str, object]], R]
) -> R | ApiFailure | ApiResponseTooLarge:
    """Make ``request`` and return what ``read`` makes of the JSON object in the answer."""
    token = PRESENT.set(call)
    try:
        response = _open(credentials, request, timeouts)
        if isinstance(response, ApiFailure):
            return response
        try:
            body = _body(response)
        except TRANSPORT_ERRORS as fault:
            return failure_of(fault)
        finally:
            response.close()
        if body is None:
            return ApiResponseTooLarge()
        found = read_object(body)
        return found if isinstance(found, ApiFailure) else read(found)
    finally:
        PRESENT.reset(token)
        call.close()


def follow(
    credentials: ClusterCredentials, call: ApiCall, request: ApiRequest, timeouts: Timeouts, take: Callable[[list[bytes]], bool]
) -> ApiFailure | None:
    """Make ``request`` and pass the lines of its answer to ``take`` as they arrive, until it returns ``False``.

    The first call has no lines: the server has accepted the request.

    Returns:
        Why there are no more lines; ``None`` if the server ended the answer cleanly, or ``take`` wants no more.
    """
    token = PRESENT.set(call)
    try:
        response = _open(credentials, request, timeouts)
        if isinstance(response, ApiFailure):
            return response
        lines = Lines(MAX_BODY_BYTES)
        try:
            if not take([]):
                return None
            for piece in _pieces(response):
                complete = lines.feed(piece)
                if complete is None:
                    return ApiFailure(FailureKind.MALFORMED, response.status, f"an event of more than {MAX_BODY_BYTES} bytes")
                if complete and not take(complete):
                    return None
        except TRANSPORT_ERRORS as fault:
            return failure_of(fault)
        finally:
            response.close()
        return ApiFailure(FailureKind.UNREACHABLE, response.status, "the watch ended inside an event") if lines.pending else None
    finally:
        PRESENT.reset(token)
        call.close()


def _open(credentials: ClusterCredentials, request: ApiRequest, timeouts: Timeouts) -> BaseHTTPResponse | ApiFailure:
    """Return a successful answer whose body is still to come.

    If the server refuses the credentials or cannot be trusted, they are read again, and if they differ, the request is repeated once: a
    token may have expired, a cluster's authority may have been replaced.
    """
    try:
        access, authorization = credentials.present()
        response = _send(access, authorization, request, timeouts)
        if _renewed(credentials, access, authorization, response):
            access, authorization = credentials.present()
            response = _send(access, authorization, request, timeouts)
    except TimeoutError as fault:
        return failure_of(fault)
    if isinstance(response, _Distrust):
        response = response.failure
    if not isinstance(response, ApiFailure):
        return response
    if response.kind in {FailureKind.UNREACHABLE, FailureKind.TIMEOUT}:
        close_kept(access.pools)  # the idle connections have most likely failed in the same way
    return _without(authorization, response)


def _renewed(
    credentials: ClusterCredentials, access: Access, authorization: Secret | None, response: BaseHTTPResponse | ApiFailure | _Distrust
) -> bool:
    match response:
        case _Distrust():
            return credentials.renew_trust(access)
        case ApiFailure(kind=FailureKind.UNAUTHORIZED):
            return credentials.renew(access, authorization)
        case _:
            return False


def _send(
    access: Access, authorization: Secret | None, request: ApiRequest, timeouts: Timeouts
) -> BaseHTTPResponse | ApiFailure | _Distrust:
    headers = {"Accept": request.accept, "User-Agent": USER_AGENT}
    if authorization is not None:
        headers["Authorization"] = authorization.reveal()
    if request.body is not None:
        headers["Content-Type"] = request.content_type
    send = partial(
        access.pools.urlopen,
        request.method,
        access.url + request.target,
        body=request.body,
        headers=headers,
        timeout=urllib3.Timeout(connect=timeouts.connect, read=timeouts.read),
        retries=False,
        redirect=False,
        preload_content=False,
        decode_content=False,
    )
    try:
        try:
            response = send()
        except urllib3.exceptions.ClosedPoolError:
            response = send()  # another call just closed the idle connections; nothing was sent
    except TRANSPORT_ERRORS as fault:
        failure = failure_of(fault)
        # urllib3 passes the TLS error as an argument of its own exception.
        return _Distrust(failure) if any(isinstance(inner, ssl.SSLCertVerificationError) for inner in fault.args) else failure
    if 200 <= response.status < 300:  # noqa: PLR2004 - RFC 9110 section 15.3
        return response
    try:
        return failure_of_response(response.status, _beginning(response), response.headers.get("Retry-After"))
    except TRANSPORT_ERRORS:
        return failure_of_response(response.status, b"", response.headers.get("Retry-After"))
    finally:
        response.close()


def _pieces(response: BaseHTTPResponse) -> Iterator[bytes]:
    while piece := response.read1(PIECE_BYTES, decode_content=False):
        yield piece


def _body(response: BaseHTTPResponse) -> bytearray | None:
    """Return the whole body, ``None`` if it is too large."""
    body = bytearray()
    for piece in _pieces(response):
        body += piece
        if len(body) > MAX_BODY_BYTES:
            return None
    return body


def _beginning(response: BaseHTTPResponse) -> bytes:
    body = bytearray()
    for piece in _pieces(response):
        body += piece
        if len(body) >= MAX_FAILURE_BYTES:
            break
    return bytes(body)


def _without(authorization: Secret | None, failure: ApiFailure) -> ApiFailure:
    """Drop the message of ``failure`` if it quotes the token: some proxies echo a request's headers."""
    token = "" if authorization is None else authorization.reveal().rpartition(" ")[2]
    return attrs.evolve(failure, message="") if token and token in failure.message else failure


def failure_of(fault: BaseException) -> ApiFailure:
    """Return ``fault`` as a failure with a message of our own."""
    chain = tuple(_chain(fault))
    for kinds, meaning in _MEANINGS:
        for link in chain:
            if isinstance(link, kinds):
                return meaning(link)
    return _unreachable("the connection broke")


def _unreachable(message: str) -> ApiFailure:
    return ApiFailure(FailureKind.UNREACHABLE, message=message)


def _certificate(fault: Any) -> ApiFailure:
    return _unreachable(f"the server's certificate cannot be verified: {printable(fault.verify_message)}")


def _tls(fault: Any) -> ApiFailure:
    return _unreachable(f"TLS failed: {printable(str(fault.reason or 'the connection broke'))}")


def _system(fault: Any) -> ApiFailure:
    return _unreachable(printable(fault.strerror).lower() if isinstance(fault.strerror, str) else "the connection broke")


# Looked for in this order, anywhere in the chain: the most informative first.
_MEANINGS: Final[tuple[tuple[tuple[type[BaseException], ...], Callable[[Any], ApiFailure]], ...]] = (
    ((ssl.SSLCertVerificationError,), _certificate),
    ((TimeoutError, urllib3.exceptions.TimeoutError), lambda _: ApiFailure(FailureKind.TIMEOUT, message="no answer in time")),
    ((socket.gaierror,), lambda _: _unreachable("the server's name cannot be resolved")),
    ((urllib3.exceptions.ProxyError,), lambda _: _unreachable("the proxy refused the connection")),
    ((ssl.SSLError,), _tls),
    ((ConnectionRefusedError,), lambda _: _unreachable("the connection was refused")),
    ((http.client.IncompleteRead, ConnectionError), lambda _: _unreachable("the connection broke")),
    ((http.client.HTTPException, ValueError), lambda _: ApiFailure(FailureKind.MALFORMED, message="an answer that is not HTTP")),
    ((OSError,), _system),
)


def _chain(fault: BaseException) -> Iterator[BaseException]:
    """Yield ``fault`` and the exceptions inside it, which urllib3 keeps as causes, contexts or arguments."""
    pending: list[BaseException] = [fault]
    seen: list[BaseException] = []
    while pending and len(seen) < MAX_CHAIN:
        link = pending.pop(0)
        if any(link is other for other in seen):
            continue
        seen.append(link)
        yield link
        inner = (*link.args, getattr(link, "reason", None), link.__cause__, link.__context__)
        pending.extend(part for part in inner if isinstance(part, BaseException))
