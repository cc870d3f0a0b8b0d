"""What went wrong below HTTP, as a failure with a sentence of our own: the exceptions of sockets, TLS, http.client and urllib3.

Must not know: requests, answers, credentials.
"""

import http.client
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any, Final

import urllib3.exceptions

from exchanger.kube.answers import printable
from exchanger.kube.list_watch import ApiFailure, FailureKind

FAULTS: Final = (OSError, ValueError, http.client.HTTPException, urllib3.exceptions.HTTPError)
"""Everything that a request may raise for reasons on the network, or of text that cannot be a header or an address."""
MAX_CHAIN: Final = 16
"""Exceptions inside exceptions that are looked at; urllib3 wraps three deep."""


def failure_of_fault(fault: BaseException) -> ApiFailure:
    """Return the failure that ``fault`` is."""
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


_MEANINGS: Final[tuple[tuple[tuple[type[BaseException], ...], Callable[[Any], ApiFailure]], ...]] = (
    ((ssl.SSLCertVerificationError,), _certificate),
    ((TimeoutError, urllib3.exceptions.TimeoutError), lambda _: ApiFailure(FailureKind.TIMEOUT, message="no answer in time")),
    ((socket.gaierror,), lambda _: _unreachable("the server's name cannot be resolved")),
    ((urllib3.exceptions.ProxyError,), lambda _: _unreachable("the proxy does not let the connection through")),
    ((ssl.SSLError,), _tls),
    ((ConnectionRefusedError,), lambda _: _unreachable("the connection was refused")),
    ((http.client.IncompleteRead, ConnectionError), lambda _: _unreachable("the connection broke")),
    ((http.client.HTTPException, ValueError), lambda _: ApiFailure(FailureKind.MALFORMED, message="an answer that is not HTTP")),
    ((OSError,), _system),
)
"""What to look for, in this order, anywhere in the chain: the first is the most telling."""


def _chain(fault: BaseException) -> Iterator[BaseException]:
    """Return ``fault`` and those that it was made of, which urllib3 keeps as causes, contexts or arguments."""
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
