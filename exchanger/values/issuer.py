"""Issuer profiles: the token endpoints that operators offer to policies, with the credentials of this client.

Must not know: where credentials are stored, or HTTP.
"""

import enum
from typing import final

import attrs

from exchanger.values.proxy import Proxy
from exchanger.values.secret import Secret


@enum.unique
class AuthMethod(enum.Enum):
    """How the client authenticates to the token endpoint (RFC 6749 section 2.3.1)."""

    CLIENT_SECRET_BASIC = "client_secret_basic"
    CLIENT_SECRET_POST = "client_secret_post"


@final
@attrs.frozen
class Credentials:
    """Client id and secret. ``generation`` grows with each rotation, so that exchanges under different credentials are never shared."""

    client_id: str
    client_secret: Secret
    generation: int = 0


@enum.unique
class EndpointProtocol(enum.Enum):
    """How to speak to the token endpoint; ``AUTO``: HTTP/2 where the TLS handshake agrees on it, else HTTP/1.1."""

    AUTO = "auto"
    HTTP1 = "http1"
    HTTP2 = "http2"

    __hash__ = object.__hash__


@final
@attrs.frozen
class CachePolicy:
    """How tokens of an issuer are kept: each for ``max_ttl`` seconds at most, and at most ``max_entries`` of them."""

    max_ttl: float
    max_entries: int


@final
@attrs.frozen
class CallLimits:
    """How an issuer is spared: at most ``max_in_flight`` calls at a time (``None``: any number).

    ``breaker``: it is not called while it is down.
    """

    max_in_flight: int | None = None
    breaker: bool = False


@final
@attrs.frozen(cache_hash=True)
class Issuer:
    """A resolved issuer profile. ``bearer_realm`` "" means the global realm, ``proxy`` ``None`` the environment's, ``cache`` ``None`` none.

    ``previous`` are the credentials that ``credentials`` replaced a short while ago, at the same token endpoint, which may not know the new
    ones yet. They count in comparisons: exchanges that may fall back to them are not shared with those that may not.
    """

    name: str
    token_endpoint: str
    endpoint_host: str
    auth_method: AuthMethod
    credentials: Credentials
    bearer_realm: str = ""
    previous: Credentials | None = None
    proxy: Proxy | None = None
    protocol: EndpointProtocol = EndpointProtocol.AUTO
    cache: CachePolicy | None = None
    limits: CallLimits = CallLimits()
