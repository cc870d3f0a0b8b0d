"""One HTTP/1.1 request on a separate connection, by httpx: for scenarios, and for the demo's requests to a Keycloak.

The request is sent byte for byte. httpx's client would resolve dots in a path, add headers and use the environment's proxies; so this uses
its transport, without any of that, and passes the target separately from the URL.
"""

import ssl
from typing import Final

import httpx
import trio

from exchanger.model.errors import ExchangerError
from exchanger.net.error_text import describe_error
from exchanger.net.http.message import Headers, Request, Response
from exchanger.util.address import format_address, tls_server_name

LOOPBACK: Final = "127.0.0.1"
# Bytes of an answer's body: the echo of a request with 60 KiB of headers, escaped, fits.
MAX_BODY: Final = 262_144


class NoAnswerError(ExchangerError):
    """The server could not be reached, took too long, or sent something other than an HTTP answer."""


async def fetch(port: int, request: Request, *, timeout: float) -> Response:  # noqa: ASYNC109 - the limit belongs to the call
    """Send ``request`` to ``port`` on the loopback address; see ``fetch_from``."""
    return await fetch_from(LOOPBACK, port, request, timeout=timeout)


async def fetch_from(
    host: str,
    port: int,
    request: Request,
    *,
    timeout: float,  # noqa: ASYNC109 - the limit belongs to the call
    tls: ssl.SSLContext | None = None,
    server_name: str = "",
) -> Response:
    """Send ``request``, and return the answer. Redirects are answers.

    Args:
        host: name or address to connect to.
        port: TCP port.
        request: must have a ``Host`` header.
        timeout: seconds in total, from connecting to the last byte of the answer.
        tls: how the connection is secured; ``None`` for plain text.
        server_name: the name in the server's certificate, sent as SNI; "" for ``host``.

    Raises:
        NoAnswerError: the connection was refused or cut, there was no answer within ``timeout``, or it was not valid HTTP.
    """
    # Without a TLS context there is one that trusts no CA, and that is never used.
    transport = httpx.AsyncHTTPTransport(verify=tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), trust_env=False)
    extensions: dict[str, object] = {"target": request.target.encode("latin-1"), "timeout": httpx.Timeout(None).as_dict()}
    if tls is not None:
        extensions["sni_hostname"] = tls_server_name(server_name or host)
    outgoing = httpx.Request(
        request.method,
        f"{'http' if tls is None else 'https'}://{format_address(host, port)}/",
        headers=[*request.headers, ("Connection", "close")],
        content=request.body or None,
        extensions=extensions,
    )
    try:
        with trio.fail_after(timeout):
            async with transport:
                answer = await transport.handle_async_request(outgoing)
                return Response(answer.status_code, _decoded(answer), await _body(answer))
    except trio.TooSlowError:
        raise NoAnswerError(f"no answer within {timeout:g} s") from None
    except httpx.LocalProtocolError:
        raise NoAnswerError("not sent: the request is not valid HTTP") from None
    except httpx.RemoteProtocolError:
        raise NoAnswerError("no HTTP response") from None
    except (OSError, httpx.TransportError) as error:
        raise NoAnswerError(f"no answer: {describe_error(error)}") from None


async def _body(answer: httpx.Response) -> bytes:
    body, size = bytearray(), 0
    async for data in answer.aiter_raw():  # unchanged: nothing here asks for compression
        size += len(data)
        # The rest is read and dropped, for as long as the timeout allows: httpx's generators must not be left in the middle.
        body += data if size <= MAX_BODY else b""
    if size > MAX_BODY:
        raise NoAnswerError(f"answer of more than {MAX_BODY} bytes")
    return bytes(body)


def _decoded(answer: httpx.Response) -> Headers:
    return tuple((name.decode("ascii").lower(), value.decode("latin-1")) for name, value in answer.headers.raw)
