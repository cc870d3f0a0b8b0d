"""Operators' settings for calls to token endpoints."""

import math
from typing import final

import attrs

from exchanger.exchange.oauth.token_response import TokenResponseRules
from exchanger.net.proxies import EnvironmentProxies

_positive = attrs.validators.and_(attrs.validators.gt(0.0), attrs.validators.lt(math.inf))


@final
@attrs.frozen(kw_only=True)
class TokenClientSettings:
    """Limits of calls to token endpoints; durations are in seconds, and none may be zero or infinite. The defaults are the contract's.

    ``request_timeout`` bounds an exchange as a whole, including the wait for a connection and a second attempt; its phases have separate
    limits. No connection is used twice without ``connection_reuse``, or when ``max_idle_connections`` or ``max_idle_connections_per_host``
    is 0. ``max_quarantined_connections`` depends on how many files may be open. ``proxies`` apply to issuers without their own proxy.
    """

    request_timeout: float = attrs.field(default=0.75, validator=_positive)
    dial_timeout: float = attrs.field(default=3.0, validator=_positive)
    tls_handshake_timeout: float = attrs.field(default=3.0, validator=_positive)
    response_header_timeout: float = attrs.field(default=0.5, validator=_positive)
    idle_connection_timeout: float = attrs.field(default=90.0, validator=_positive)
    max_idle_connections: int = attrs.field(default=100, validator=attrs.validators.ge(0))
    max_idle_connections_per_host: int = attrs.field(default=10, validator=attrs.validators.ge(0))
    max_quarantined_connections: int = attrs.field(default=512, validator=attrs.validators.ge(0))
    connection_reuse: bool = True
    allow_http: bool = False
    proxies: EnvironmentProxies = attrs.field(factory=EnvironmentProxies)
    rules: TokenResponseRules = attrs.field(factory=TokenResponseRules)
