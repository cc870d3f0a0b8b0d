"""Settings of the export of telemetry; the variables are OpenTelemetry's.

Sources: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/,
https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

import enum
from pathlib import Path
from typing import Final, final

import attrs

from exchanger.model.secret import Secret
from exchanger.operations.telemetry.trace_context import SamplingSettings

# The fastest: spans repeat themselves so much that more effort gains little, and the event loop waits for it.
GZIP_LEVEL: Final = 1


@enum.unique
class Protocol(enum.Enum):
    """OTEL_EXPORTER_OTLP_PROTOCOL, of which JSON is not supported."""

    HTTP_PROTOBUF = "http/protobuf"
    GRPC = "grpc"


@final
@attrs.frozen(kw_only=True)
class Target:
    """Where a signal is sent, and how. ``headers`` often hold a credential; ``timeout`` is in seconds, repeated attempts included.

    ``path`` is that of the URL, or for gRPC the method (``/package.Service/Method``).
    ``ca_file`` ``None`` means the system's trust store; ``client_cert_file`` and ``client_key_file`` are for mTLS.
    """

    secure: bool
    host: str
    port: int
    path: str
    headers: tuple[tuple[str, Secret], ...] = ()
    timeout: float = 10.0
    gzip: bool = False
    protocol: Protocol = Protocol.HTTP_PROTOBUF
    ca_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None

    @property
    def address(self) -> str:
        """The address for logs."""
        return f"{self.host}:{self.port}"

    @property
    def authority(self) -> str:
        """The address for requests: an IPv6 address is in brackets (RFC 3986 section 3.2.2)."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else self.address


@final
@attrs.frozen(kw_only=True)
class TracesSettings:
    """OTEL_TRACES_SAMPLER and OTEL_BSP_*: a batch is sent when it is full or ``delay`` seconds after the previous one."""

    target: Target
    sampling: SamplingSettings = attrs.field(factory=SamplingSettings)
    delay: float = 5.0
    max_queue: int = attrs.field(default=2048, validator=attrs.validators.ge(1))
    max_batch: int = attrs.field(default=512, validator=attrs.validators.ge(1))


@final
@attrs.frozen(kw_only=True)
class MetricsExportSettings:
    """OTEL_METRIC_EXPORT_INTERVAL, in seconds."""

    target: Target
    interval: float = 60.0


@final
@attrs.frozen(kw_only=True)
class OtlpSettings:
    """A signal that is ``None`` is not exported. ``resource`` has the attributes of this process for every span and metric.

    ``in_clear`` names the variables whose headers leave this machine without TLS.
    """

    traces: TracesSettings | None = None
    metrics: MetricsExportSettings | None = None
    resource: tuple[tuple[str, str], ...] = ()
    in_clear: tuple[str, ...] = ()
