"""Why a connection failed or a TLS file cannot be used, in words for operators.

They are the system's, the resolver's and OpenSSL's own words, which quote nothing that was sent.
"""

import os
import socket
import ssl
from collections.abc import Iterator

from exchanger.model.errors import leaves


def describe_error(error: BaseException, peer: str = "the server") -> str:
    """Return why there is no connection to ``peer``. The explanation is often a cause of ``error``; each address's reason counts once."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate of {peer} is refused: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"no TLS with {peer}: {cause.reason or 'the connection ended'}"
        if isinstance(cause, socket.gaierror):
            return f"the name cannot be resolved ({cause.strerror})"
    numbers = dict.fromkeys(cause.errno for cause in causes if isinstance(cause, OSError))
    unsaid = "no address answers" if isinstance(error, OSError) else "the connection ended"
    return ", ".join(os.strerror(number) for number in numbers if number is not None) or unsaid


def describe_handshake_error(error: ssl.SSLError) -> str:
    """Return OpenSSL's name for the problem of a client's handshake, without the details of its own source."""
    name = error.reason or "TLS error"
    return f"{name}: {error.verify_message}" if isinstance(error, ssl.SSLCertVerificationError) else name


def describe_unusable(error: OSError) -> str:
    """Return why a file of certificates cannot be used."""
    return "no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror or type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error`` and what led to it. Trio keeps the system's errors as causes, one for each address; httpcore as contexts alone."""
    for leaf in leaves(error):
        yield leaf
        if (cause := leaf.__cause__ or leaf.__context__) is not None:
            yield from _causes(cause)
