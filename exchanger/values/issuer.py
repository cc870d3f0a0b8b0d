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


@final
@attrs.frozen
class Issuer:
    """A resolved issuer profile. ``bearer_realm`` "" means the global realm, and ``proxy`` ``None`` the environment's.

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
