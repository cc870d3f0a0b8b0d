"""Turns OpenTelemetry's variables into export settings.

They are often set for a whole platform, so a mistake in them never stops the service: it is reported, and the affected export is left
out (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#parsing). The reports become warnings at the start.
"""

import re
from collections.abc import Mapping
from typing import Final, final
from urllib.parse import unquote, urlsplit

import attrs

from exchanger import __version__
from exchanger.app.environment import Environment
from exchanger.app.variable_names import Notes
from exchanger.model.secret import Secret
from exchanger.net.error_text import describe_unusable
from exchanger.net.http.names import is_loopback
from exchanger.operations.telemetry.otlp.post import tls_context
from exchanger.operations.telemetry.otlp.settings import MetricsExportSettings, OtlpSettings, Protocol, Target, TracesSettings
from exchanger.operations.telemetry.trace_context import Sampler, SamplingSettings

DEFAULT_ENDPOINTS: Final = {Protocol.HTTP_PROTOBUF: "http://localhost:4318", Protocol.GRPC: "http://localhost:4317"}
SERVICE_NAME: Final = "exchanger"

_PREFIX: Final = "OTEL_EXPORTER_OTLP"
_PORTS: Final = {"http": 80, "https": 443}
# The default port of OTLP over gRPC (https://opentelemetry.io/docs/specs/otlp/#otlpgrpc-default-port).
_GRPC_PORT: Final = 4317
_METHODS: Final = {
    "TRACES": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "METRICS": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
_MILLISECONDS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_COUNT: Final = re.compile(r"[0-9]{1,7}", re.ASCII)
# Characters of a request target (RFC 9112 section 3.2): no blanks, and anything outside ASCII percent-encoded.
_URL: Final = re.compile(r"[\x21-\x7e]*")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # RFC 9110 section 5.1
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?|")
_OURS: Final = frozenset(
    {"host", "content-length", "content-type", "content-encoding", "connection", "transfer-encoding", "te", "grpc-encoding", "grpc-timeout"}
)
_PROPAGATED: Final = frozenset({"tracecontext", "baggage"})

Pairs = tuple[tuple[str, str], ...]
_NO_PAIRS: Final[Pairs] = ()
Headers = tuple[tuple[str, Secret], ...]
_NO_HEADERS: Final[Headers] = ()


@final
@attrs.frozen
class OtelReading:
    """The export settings, and notes for the operator."""

    settings: OtlpSettings
    notes: Notes


def read_otel(variables: Mapping[str, str]) -> OtelReading:
    """Read all supported OTEL_ variables."""
    environment = Environment(variables)
    reader = _Reader(environment)
    if environment.boolean("OTEL_SDK_DISABLED", default=False):
        return OtelReading(OtlpSettings(), reader.notes())
    traces, metrics = reader.target("TRACES"), reader.target("METRICS")
    settings = OtlpSettings(
        traces=None if traces is None else reader.traces(traces),
        metrics=None if metrics is None else reader.metrics(metrics),
        resource=() if traces is None and metrics is None else reader.resource(),
        in_clear=reader.in_clear(),
    )
    reader.check_propagators()
    return OtelReading(settings, reader.notes())


@final
@attrs.define(eq=False)
class _Reader:
    """Reads the variables of a signal, or the common ones if the signal has none."""

    _environment: Environment
    _notes: list[tuple[str, str]] = attrs.field(factory=list)
    _in_clear: list[str] = attrs.field(factory=list)

    def notes(self) -> Notes:
        """Return the notes made here and the problems of the environment."""
        unreadable = (problem.partition(" ") for problem in self._environment.problems())
        notes = (*self._notes, *((name, f"{text}; the default is used") for name, _, text in unreadable))
        return tuple(dict.fromkeys(notes))  # variables of both signals are read twice

    def in_clear(self) -> tuple[str, ...]:
        """Return the variables whose headers leave this machine without TLS. They do take effect, so these are not notes."""
        return tuple(dict.fromkeys(self._in_clear))

    def target(self, signal: str) -> Target | None:
        """Return the target of ``signal``, or ``None`` if it is not exported."""
        name = f"OTEL_{signal}_EXPORTER"
        exporters = {part.strip().lower() for part in self._environment.text(name).split(",")}
        if "otlp" not in exporters:
            if exporters - {"", "none"}:
                self._note(name, "must be otlp or none; nothing is exported")
            return None
        if exporters - {"", "otlp"}:
            self._note(name, "only otlp is supported; the other exporters are ignored")
        name, text = self._of_signal(signal, "PROTOCOL")
        if text.lower() not in {"", *(protocol.value for protocol in Protocol)}:
            self._note(name, f"must be grpc or http/protobuf; no {signal.lower()} are exported")
            return None
        target = self._endpoint(signal, Protocol(text.lower()) if text else None)
        if target is None:
            return None
        target = attrs.evolve(
            target,
            headers=self._headers(signal, target),
            timeout=self._milliseconds(self._of_signal(signal, "TIMEOUT")[0], 10.0),
            gzip=self._gzip(signal),
        )
        return self._with_files(target, signal) if target.secure else target

    def traces(self, target: Target) -> TracesSettings:
        """Return how traces are sampled and batched."""
        timeout = self._milliseconds("OTEL_BSP_EXPORT_TIMEOUT", target.timeout)
        return TracesSettings(
            target=attrs.evolve(target, timeout=min(target.timeout, timeout)),
            sampling=self._sampling(),
            delay=self._milliseconds("OTEL_BSP_SCHEDULE_DELAY", 5.0),
            max_queue=self._environment.read("OTEL_BSP_MAX_QUEUE_SIZE", _count, 2048),
            max_batch=self._environment.read("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", _count, 512),
        )

    def metrics(self, target: Target) -> MetricsExportSettings:
        """Return how often metrics are exported."""
        name = f"{_PREFIX}_METRICS_TEMPORALITY_PREFERENCE"
        if self._environment.text(name, "cumulative").lower() != "cumulative":
            self._note(name, "only cumulative is supported")
        timeout = self._milliseconds("OTEL_METRIC_EXPORT_TIMEOUT", target.timeout)
        target = attrs.evolve(target, timeout=min(target.timeout, timeout))
        return MetricsExportSettings(target=target, interval=self._milliseconds("OTEL_METRIC_EXPORT_INTERVAL", 60.0))

    def resource(self) -> tuple[tuple[str, str], ...]:
        """Return the resource attributes; OTEL_SERVICE_NAME wins over OTEL_RESOURCE_ATTRIBUTES, which wins over the defaults."""
        attributes = {
            "service.name": SERVICE_NAME,
            "service.version": __version__,
            **dict(self._environment.read("OTEL_RESOURCE_ATTRIBUTES", _pairs, _NO_PAIRS)),
        }
        name = self._environment.text("OTEL_SERVICE_NAME")
        if name:
            attributes["service.name"] = name
        # https://opentelemetry.io/docs/specs/semconv/resource/#telemetry-sdk: another name than opentelemetry, since it is not that SDK.
        sdk = {"telemetry.sdk.name": "exchanger", "telemetry.sdk.language": "python", "telemetry.sdk.version": __version__}
        return tuple((_encodable(key), _encodable(value)) for key, value in {**attributes, **sdk}.items())

    def check_propagators(self) -> None:
        """Record unsupported propagators: the two of W3C are always used, and no others."""
        name = "OTEL_PROPAGATORS"
        asked = {part.strip().lower() for part in self._environment.text(name).split(",") if part.strip()}
        if asked and asked != _PROPAGATED:
            self._note(name, "only tracecontext and baggage are supported, and both are always on")

    def _note(self, name: str, text: str) -> None:
        self._notes.append((name, text))

    def _of_signal(self, signal: str, name: str) -> tuple[str, str]:
        """Return name and value of the variable that applies to ``signal``."""
        own, common = f"{_PREFIX}_{signal}_{name}", f"{_PREFIX}_{name}"
        text = self._environment.text(own)
        return (own, text) if text else (common, self._environment.text(common))

    def _endpoint(self, signal: str, protocol: Protocol | None) -> Target | None:
        """Return the target of ``signal``; without a ``protocol``, the port decides."""
        name, text = self._of_signal(signal, "ENDPOINT")
        text = text or DEFAULT_ENDPOINTS[protocol or Protocol.HTTP_PROTOBUF]
        named_grpc = protocol is Protocol.GRPC or (protocol is None and text.endswith(f":{_GRPC_PORT}"))
        if named_grpc and "://" not in text:  # the form that gRPC clients use
            text = f"{'http' if self._insecure(signal) else 'https'}://{text}"
        try:
            url = urlsplit(text)
            port = _PORTS[url.scheme] if url.port is None else url.port
        except (KeyError, ValueError):
            url, port = urlsplit(""), 0
        # A password in the URL would end up in logs; credentials belong in headers.
        unusable = url.scheme not in _PORTS or not port or url.username is not None or bool(url.fragment)
        if unusable or not url.hostname or not _URL.fullmatch(text):
            self._note(name, f"must be an http or https URL without user information or blanks; no {signal.lower()} are exported")
            return None
        if protocol is Protocol.GRPC or (protocol is None and port == _GRPC_PORT):
            path = _METHODS[signal]  # a URL's path has no meaning for gRPC
            return Target(secure=url.scheme == "https", host=url.hostname, port=port, path=path, protocol=Protocol.GRPC)
        path = url.path if name == f"{_PREFIX}_{signal}_ENDPOINT" else f"{url.path.rstrip('/')}/v1/{signal.lower()}"
        path = f"{path or '/'}?{url.query}" if url.query else path or "/"
        return Target(secure=url.scheme == "https", host=url.hostname, port=port, path=path)

    def _insecure(self, signal: str) -> bool:
        name = self._of_signal(signal, "INSECURE")[0]
        return self._environment.boolean(name, default=False)

    def _headers(self, signal: str, target: Target) -> Headers:
        name = self._of_signal(signal, "HEADERS")[0]
        headers = self._environment.read(name, _headers, _NO_HEADERS)
        if headers and not target.secure and not is_loopback(target.host):
            self._in_clear.append(name)
        return headers

    def _gzip(self, signal: str) -> bool:
        name, text = self._of_signal(signal, "COMPRESSION")
        if text.lower() not in {"", "none", "gzip"}:
            self._note(name, "must be gzip or none; nothing is compressed")
        return text.lower() == "gzip"

    def _with_files(self, target: Target, signal: str) -> Target | None:
        """Add the TLS files. If one is unusable, the signal is not exported: its restriction must not be ignored."""
        names = [self._of_signal(signal, part)[0] for part in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")]
        certificate, client_certificate, client_key = (self._environment.path(name) for name in names)
        if client_key is not None and client_certificate is None:
            self._note(names[2], f"has no effect without {names[1]}")
        target = attrs.evolve(target, ca_file=certificate, client_cert_file=client_certificate, client_key_file=client_key)
        try:
            tls_context(target)
        except OSError as error:
            text = f"the files cannot be used: {describe_unusable(error)}; no {signal.lower()} are exported"
            self._note(", ".join(name for name in names if self._environment.text(name)) or f"OTEL_{signal}_EXPORTER", text)
            return None
        return target

    def _sampling(self) -> SamplingSettings:
        choices = [sampler.value for sampler in Sampler]
        sampler = Sampler(self._environment.choice("OTEL_TRACES_SAMPLER", choices, Sampler.PARENT_BASED_ALWAYS_ON.value))
        return SamplingSettings(sampler, self._environment.read("OTEL_TRACES_SAMPLER_ARG", _ratio, 1.0))

    def _milliseconds(self, name: str, default: float) -> float:
        return self._environment.read(name, _milliseconds, default)


def _encodable(text: str) -> str:
    """Replace the lone surrogates that represent bytes that are not UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _milliseconds(text: str) -> float:
    if not _MILLISECONDS.fullmatch(text) or not int(text):
        raise ValueError("must be a positive whole number of milliseconds")
    return int(text) / 1000


def _count(text: str) -> int:
    if not _COUNT.fullmatch(text) or not int(text):
        raise ValueError("must be a whole number above 0")
    return int(text)


def _ratio(text: str) -> float:
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0.0 <= ratio <= 1.0:
        raise ValueError("must be a number between 0 and 1")
    return ratio


def _pairs(text: str) -> Pairs:
    """Read ``key=value,key=value`` with percent-encoded values; a single malformed pair invalidates the whole list."""
    pairs = []
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not part.strip():
            continue
        if not equals or not key.strip():
            raise ValueError("must be key=value pairs, separated by commas")
        pairs.append((unquote(key.strip()), unquote(value.strip())))
    return tuple(pairs)


def _headers(text: str) -> Headers:
    pairs = _pairs(text)
    for name, value in pairs:
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OURS or not _HEADER_VALUE.fullmatch(value):
            raise ValueError("must be valid header=value pairs")
    return tuple((name, Secret(value)) for name, value in pairs)
