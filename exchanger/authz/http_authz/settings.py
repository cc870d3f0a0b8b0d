"""Where the authorization port listens, and who may ask there."""

from pathlib import Path
from typing import Final, final

import attrs

from exchanger.net.tls.settings import TlsSettings

# Only this machine reaches it: everyone who asks gets tokens.
DEFAULT_HOST: Final = "127.0.0.1"

# Stands for all addresses, of IPv4 and IPv6.
ANY: Final = "*"

# Each gateway keeps some connections to the port, and NGINX by default opens one for each request.
MAX_CONNECTIONS: Final = 1024


@final
@attrs.frozen
class HttpAuthzSettings:
    """The address, and what callers must show: a client certificate, the secret in ``secret_file``, or both.

    ``host`` may be ``ANY``; ``port`` 0: any free one. ``tls`` has the files of the certificate and of the client CA.
    """

    host: str = DEFAULT_HOST
    port: int = 0
    tls: TlsSettings | None = None
    secret_file: Path | None = None
    max_connections: int = MAX_CONNECTIONS
