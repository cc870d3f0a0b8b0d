"""One request to an API server and its answer, as bytes: sent, bounded in time and size, and every failure a value. Blocking, thread side.

Must not know: Trio, what objects are for, or where credentials come from. No exception text is passed on: http.client's quote headers, and
one of them is the token.
"""

import ssl
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeVar, final
from urllib.parse import urlencode

import attrs
import urllib3
import urllib3.exceptions
from urllib3.response import BaseHTTPResponse

from exchanger.kube.answers import failure_of_response, read_object
from exchanger.kube.credentials import Access, Credentials
from exchanger.kube.events import Lines
from exchanger.kube.faults import FAULTS, failure_of_fault
from exchanger.kube.list_watch import ApiFailure, FailureKind
from exchanger.kube.sockets import PRESENT, Call, close_kept
from exchanger.values.secret import Secret

R = TypeVar("R")
PIECE_BYTES: Final = 64 * 1024
"""Bytes a read at most; a TLS record has 16 KiB, so most reads bring less."""
MAX_BODY_BYTES: Final = 16 * 1024 * 1024
"""Bytes of an answer, and of a watch's line. An object has at most 1.5 MiB in etcd (https://etcd.io/docs/v3.5/dev-guide/limit/), and JSON
writes some characters (``<``, control characters) as six."""
MAX_FAILURE_BYTES: Final = 64 * 1024
"""Bytes of an answer without success that are looked at; a Status has some hundred."""
USER_AGENT: Final = "exchanger"


@final
@attrs.frozen
class Request:
    """What is asked. ``path`` starts with a slash and is percent-encoded; ``query`` is not."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = attrs.field(default=None, repr=False)
    content_type: str = "application/json"

    @property
    def target(self) -> str:
        """Path and query as they are sent."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


@final
@attrs.frozen
class TooLarge:
    """The answer has more than ``MAX_BODY_BYTES``."""


@final
@attrs.frozen
class _Distrust:
    """The server did not prove that it is the one that is meant; nothing was sent to it."""

    failure: ApiFailure


@final
@attrs.frozen
class Timeouts:
    """Seconds: ``connect`` for one address, TLS included, and ``read`` for the next byte of an answer."""

    connect: float
    read: float


def ask(
    credentials: Credentials, call: Call, request: Request, timeouts: Timeouts, read: Callable[[dict[str, object]], R]
) -> R | ApiFailure | TooLarge:
    """Make ``request`` and return what ``read`` makes of the JSON object that is its answer."""
    token = PRESENT.set(call)
    try:
        response = _open(credentials, request, timeouts)
        if isinstance(response, ApiFailure):
            return response
        try:
            body = _body(response)
        except FAULTS as fault:
            return failure_of_fault(fault)
        finally:
            response.close()
        if body is None:
            return TooLarge()
        found = read_object(body)
        return found if isinstance(found, ApiFailure) else read(found)
    finally:
        PRESENT.reset(token)
        call.close()


def follow(
    credentials: Credentials, call: Call, request: Request, timeouts: Timeouts, take: Callable[[list[bytes]], bool]
) -> ApiFailure | None:
    """Make ``request`` and hand the lines of its answer to ``take`` as they come, until it returns ``False``.

    Before there are any, it gets no lines: the server has taken the request.

    Returns:
        Why there are no more lines; ``None`` when the server ended the answer in good order, or ``take`` wants no more.
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
        except FAULTS as fault:
            return failure_of_fault(fault)
        finally:
            response.close()
        return ApiFailure(FailureKind.UNREACHABLE, response.status, "the watch ended inside an event") if lines.pending else None
    finally:
        PRESENT.reset(token)
        call.close()


def _open(credentials: Credentials, request: Request, timeouts: Timeouts) -> BaseHTTPResponse | ApiFailure:
    """Return an answer of success, with its body still to come.

    Where the server refuses the credentials, or cannot be trusted, they are read again, and if others are found, the request is made once
    more with them: a token may have expired, a cluster's authority may have been replaced.
    """
    try:
        access, authorization = credentials.present()
        response = _send(access, authorization, request, timeouts)
        if _renewed(credentials, access, authorization, response):
            access, authorization = credentials.present()
            response = _send(access, authorization, request, timeouts)
    except TimeoutError as fault:
        return failure_of_fault(fault)
    if isinstance(response, _Distrust):
        response = response.failure
    if not isinstance(response, ApiFailure):
        return response
    if response.kind in {FailureKind.UNREACHABLE, FailureKind.TIMEOUT}:
        close_kept(access.pools)  # what happened to this connection has most likely happened to those that wait for their next use
    return _without(authorization, response)


def _renewed(
    credentials: Credentials, access: Access, authorization: Secret | None, response: BaseHTTPResponse | ApiFailure | _Distrust
) -> bool:
    match response:
        case _Distrust():
            return credentials.renew_trust(access)
        case ApiFailure(kind=FailureKind.UNAUTHORIZED):
            return credentials.renew(access, authorization)
        case _:
            return False


def _send(access: Access, authorization: Secret | None, request: Request, timeouts: Timeouts) -> BaseHTTPResponse | ApiFailure | _Distrust:
    headers = {"Accept": "application/json", "User-Agent": USER_AGENT}
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
            response = send()  # another call has just closed the kept connections; nothing was sent, and there is a new pool now
    except FAULTS as fault:
        failure = failure_of_fault(fault)
        # urllib3 has what TLS says as the argument of an exception of its own.
        return _Distrust(failure) if any(isinstance(inner, ssl.SSLCertVerificationError) for inner in fault.args) else failure
    if 200 <= response.status < 300:  # noqa: PLR2004 - RFC 9110 section 15.3
        return response
    try:
        return failure_of_response(response.status, _beginning(response), response.headers.get("Retry-After"))
    except FAULTS:
        return failure_of_response(response.status, b"", response.headers.get("Retry-After"))
    finally:
        response.close()


def _pieces(response: BaseHTTPResponse) -> Iterator[bytes]:
    while piece := response.read1(PIECE_BYTES, decode_content=False):
        yield piece


def _body(response: BaseHTTPResponse) -> bytearray | None:
    """Return the whole body, ``None`` when it is too large."""
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
    """Return ``failure`` with no message where that quotes the token: some proxies show a request's headers to whoever sent it."""
    token = "" if authorization is None else authorization.reveal().rpartition(" ")[2]
    return attrs.evolve(failure, message="") if token and token in failure.message else failure
