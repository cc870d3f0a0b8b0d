"""Where the gRPC ports listen, from the environment: for the service, and for ``exchanger health``, which asks the same ones.

It imports little, since ``exchanger health`` may run at every probe.
"""

from typing import final

import attrs

from exchanger.app.environment import Environment
from exchanger.net.tls.settings import TlsSettings


@final
@attrs.frozen
class GrpcListeners:
    """The address (``None``: all interfaces), and the ports without and with TLS. ``None`` is none, but one of them is there."""

    host: str | None
    port: int | None
    tls: TlsSettings | None


def read_listeners(environment: Environment) -> GrpcListeners:
    """Read where to listen. The files of TLS are not looked at."""
    tls = _tls(environment)
    plaintext = environment.boolean("GRPC_PLAINTEXT_ENABLED", default=True)
    if not plaintext and tls is None:
        environment.problem("GRPC_PLAINTEXT_ENABLED=false leaves no port to listen on; set GRPC_TLS_CERT_FILE and GRPC_TLS_KEY_FILE")
        plaintext = True
    port = environment.port("GRPC_PORT", 3001)
    return GrpcListeners(environment.text("GRPC_HOST") or None, port if plaintext else None, tls)


def _tls(environment: Environment) -> TlsSettings | None:
    port = environment.port("GRPC_TLS_PORT", 3000)
    cert_file, key_file = environment.path("GRPC_TLS_CERT_FILE"), environment.path("GRPC_TLS_KEY_FILE")
    client_ca_file = environment.path("GRPC_TLS_CLIENT_CA_FILE")
    if cert_file is None or key_file is None:
        if client_ca_file is not None:
            environment.problem("GRPC_TLS_CLIENT_CA_FILE needs GRPC_TLS_CERT_FILE and GRPC_TLS_KEY_FILE")
        return None
    return TlsSettings(port=port, cert_file=cert_file, key_file=key_file, client_ca_file=client_ca_file)
