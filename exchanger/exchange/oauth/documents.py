"""Small JSON documents that issuers publish, such as their metadata (RFC 8414) and their keys (RFC 7517).

They are fetched over the connections to token endpoints, without credentials. Problems are values in our own words: nothing of a document
is quoted.

Source: RFC 8414 section 3 (https://www.rfc-editor.org/rfc/rfc8414#section-3).
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, final

import attrs

from exchanger.exchange.oauth.resolve_endpoint import resolve_endpoint
from exchanger.exchange.oauth.settings import TokenClientSettings
from exchanger.exchange.oauth.token_response import read_members
from exchanger.model.issuer import Issuer
from exchanger.net.answer import EndpointResponse, TooLarge, is_redirect
from exchanger.net.call import NoAnswer
from exchanger.net.endpoint import Endpoint
from exchanger.net.pool import Connections

# Seconds that a document may take, from the wait for a connection to its last byte. No caller's request waits for it except the first at an
# issuer, and an issuer that has just started answers its first requests slowly: the time of an exchange would be too short.
DOCUMENT_TIMEOUT: Final = 5.0

# Bytes of a document. Metadata has some KiB, and a hundred keys with their certificates less than this.
MAX_DOCUMENT_BYTES: Final = 256 * 1024

# Content that is not compressed, as for tokens: so the limit on bytes also limits the work.
_HEADERS: Final = (("Accept", "application/json"), ("Accept-Encoding", "identity"), ("User-Agent", "exchanger"))

# RFC 9111 sections 5.2 and 1.2.2 (https://www.rfc-editor.org/rfc/rfc9111#section-5.2): names in any case, and seconds, also as a string.
_MAX_AGE: Final = re.compile(r'(?:^|,)[\t ]*max-age=(?:([0-9]+)|"([0-9]+)")[\t ]*(?=,|$)', re.ASCII | re.IGNORECASE)

# The longest age, which also replaces longer ones (RFC 9111 section 1.2.2).
_LONGEST_AGE: Final = 2.0**31


@final
@attrs.frozen
class Fetched:
    """A JSON object. ``max_age`` is for how many seconds it may be kept, ``None`` if the answer does not say."""

    members: Mapping[str, object] = attrs.field(repr=False)
    max_age: float | None


@final
@attrs.frozen
class NotFetched:
    """There is no document; ``why`` is in words for operators, and written by us. ``status`` is the answer's, if there was one."""

    why: str
    status: int | None = None


@final
@attrs.define(eq=False)
class Documents:
    """Fetches documents over ``connections``."""

    _settings: TokenClientSettings
    _connections: Connections

    async def fetch(self, url: str, *, issuer: Issuer) -> Fetched | NotFetched:
        """Return the document at ``url``, within ``DOCUMENT_TIMEOUT``. Redirects are not followed.

        The document is requested like ``issuer``'s tokens, but without the client's certificate: it may be on somebody else's server.
        """
        endpoint = resolve_endpoint(url, issuer, self._settings, as_client=False)
        if not isinstance(endpoint, Endpoint):
            return NotFetched(f"its address {endpoint.reason}")
        head = endpoint.get_head(_HEADERS)
        if head is None:
            return NotFetched("its address cannot be requested over HTTP")
        answer, late = await self._connections.round_trip(endpoint, head, b"", DOCUMENT_TIMEOUT, header_timeout=DOCUMENT_TIMEOUT)
        return read_document(answer, late=late)


def read_document(answer: EndpointResponse | NoAnswer, *, late: bool) -> Fetched | NotFetched:
    """Return the document in ``answer``. ``late``: the time was up when it ended. Never raises."""
    if isinstance(answer, NoAnswer):
        return NotFetched(answer.why)
    status = answer.status
    if is_redirect(status):
        return NotFetched("the answer is a redirect, which is not followed", status)
    if status != HTTPStatus.OK:
        return NotFetched(f"the answer has status {status}", status)
    if answer.body is None:
        return NotFetched("timed out while reading the response" if late else "the response was cut off", status)
    if isinstance(answer.body, TooLarge) or len(answer.body) > MAX_DOCUMENT_BYTES:
        return NotFetched(f"the document has more than {MAX_DOCUMENT_BYTES} bytes", status)
    members = read_members(answer.body)
    if members is None:
        return NotFetched("the document is not a JSON object with unique names", status)
    return Fetched(members, _max_age(answer.cache_control))


def _max_age(cache_control: str) -> float | None:
    """Return the first ``max-age`` of Cache-Control."""
    found = _MAX_AGE.search(cache_control)
    return None if found is None else min(float(found[1] or found[2]), _LONGEST_AGE)
