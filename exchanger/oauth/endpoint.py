"""The address of a token endpoint: what makes one usable (RFC 6749 section 3.2, https://www.rfc-editor.org/rfc/rfc6749#section-3.2)."""

import re
from typing import final

import attrs
import httpx

from exchanger.oauth.dial import Origin
from exchanger.util.address import is_dialable


@final
@attrs.frozen
class Endpoint:
    """A usable address; ``host`` is in lower case and without port, as metrics name it."""

    url: httpx.URL
    origin: Origin

    @property
    def host(self) -> str:
        """The host that metrics name."""
        return self.origin.host


@final
@attrs.frozen
class EndpointProblem:
    """Why an address is not usable, in words that follow its name; the address is not repeated, it may carry a password."""

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
    authority = re.split(r"[/?#]", text.partition("//")[2], maxsplit=1)[0]
    # Also where what they introduce is empty, which the parsed form does not tell.
    if "@" in authority:
        return EndpointProblem("must not have user information")
    if "#" in text:
        return EndpointProblem("must not have a fragment")
    host = url.raw_host.decode("ascii")
    port = url.port if url.port is not None else 443 if secure else 80
    if not is_dialable(host, port):
        return EndpointProblem("has no usable host and port")
    return Endpoint(url, Origin(secure, host, port))
