"""OpenTelemetry's variables to the settings of the export.

They are often set for a whole platform, so nothing that is wrong with them stops the service: it is noted, and what cannot be done is left
out (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#parsing). The notes become warnings at the start.
"""

import ipaddress
import re
import uuid
from collections.abc import Mapping
from typing import Final, final
from urllib.parse import unquote, urlsplit

import attrs

from exchanger import __version__
from exchanger.app.environment import Environment
from exchanger.app.variable_names import Notes
from exchanger.telemetry.otlp.post import files_reason, tls_context
from exchanger.telemetry.otlp.settings import MetricsExportSettings, OtlpSettings, Protocol, Target, TracesSettings
from exchanger.telemetry.trace_context import Sampler, SamplingSettings
from exchanger.values.secret import Secret

DEFAULT_ENDPOINTS: Final = {Protocol.HTTP_PROTOBUF: "http://localhost:4318", Protocol.GRPC: "http://localhost:4317"}
SERVICE_NAME: Final = "exchanger"

_PREFIX: Final = "OTEL_EXPORTER_OTLP"
_PORTS: Final = {"http": 80, "https": 443}
_GRPC_PORT: Final = 4317
"""Where collectors take OTLP over gRPC (https://opentelemetry.io/docs/specs/otlp/#otlpgrpc-default-port)."""
_METHODS: Final = {
    "TRACES": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "METRICS": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
_MILLISECONDS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_COUNT: Final = re.compile(r"[0-9]{1,7}", re.ASCII)
_URL: Final = re.compile(r"[\x21-\x7e]*")
"""What a request's target can be made of (RFC 9112 section 3.2): without blanks, and what is no ASCII has to be percent-encoded."""
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
    """What is exported, and what to tell the operator."""

    settings: OtlpSettings
    notes: Notes


def read_otel(variables: Mapping[str, str]) -> OtelReading:
    """Read everything that begins with OTEL_ and is supported."""
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
    """Reads variables, of a signal where it has its own and the common one otherwise."""

    _environment: Environment
    _notes: list[tuple[str, str]] = attrs.field(factory=list)
    _in_clear: list[str] = attrs.field(factory=list)

    def notes(self) -> Notes:
        """Return what was noted here, and what the environment found to be unreadable."""
        unreadable = (problem.partition(" ") for problem in self._environment.statistics())
        notes = (*self._notes, *((name, f"{text}; the default is used") for name, _, text in unreadable))
        return tuple(dict.fromkeys(notes))  # what counts for both signals was read twice

    def in_clear(self) -> tuple[str, ...]:
        """Return the variables whose headers leave this machine without TLS. They have their effect, so that this is no note."""
        return tuple(dict.fromkeys(self._in_clear))

    def target(self, signal: str) -> Target | None:
        """Return where ``signal`` goes, ``None`` where it is not exported."""
        name = f"OTEL_{signal}_EXPORTER"
        exporters = {part.strip().lower() for part in self._environment.text(name).split(",")}
        if "otlp" not in exporters:
            if exporters - {"", "none"}:
                self._note(name, "must be otlp or none; nothing is exported")
            return None
        if exporters - {"", "otlp"}:
            self._note(name, "nothing is exported but by otlp")
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
        """Return how traces are sampled and gathered."""
        timeout = self._milliseconds("OTEL_BSP_EXPORT_TIMEOUT", target.timeout)
        return TracesSettings(
            target=attrs.evolve(target, timeout=min(target.timeout, timeout)),
            sampling=self._sampling(),
            delay=self._milliseconds("OTEL_BSP_SCHEDULE_DELAY", 5.0),
            max_queue=self._environment.read("OTEL_BSP_MAX_QUEUE_SIZE", _count, 2048),
            max_batch=self._environment.read("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", _count, 512),
        )

    def metrics(self, target: Target) -> MetricsExportSettings:
        """Return how often metrics are sent."""
        name = f"{_PREFIX}_METRICS_TEMPORALITY_PREFERENCE"
        if self._environment.text(name, "cumulative").lower() != "cumulative":
            self._note(name, "metrics are cumulative")
        timeout = self._milliseconds("OTEL_METRIC_EXPORT_TIMEOUT", target.timeout)
        target = attrs.evolve(target, timeout=min(target.timeout, timeout))
        return MetricsExportSettings(target=target, interval=self._milliseconds("OTEL_METRIC_EXPORT_INTERVAL", 60.0))

    def resource(self) -> tuple[tuple[str, str], ...]:
        """Return what describes this process; OTEL_SERVICE_NAME wins over OTEL_RESOURCE_ATTRIBUTES, and that over what is known here."""
        attributes = {
            "service.name": SERVICE_NAME,
            "service.version": __version__,
            "service.instance.id": str(uuid.uuid4()),
            **dict(self._environment.read("OTEL_RESOURCE_ATTRIBUTES", _pairs, _NO_PAIRS)),
        }
        name = self._environment.text("OTEL_SERVICE_NAME")
        if name:
            attributes["service.name"] = name
        # https://opentelemetry.io/docs/specs/semconv/resource/#telemetry-sdk: another name than opentelemetry, since it is not that SDK.
        sdk = {"telemetry.sdk.name": "exchanger", "telemetry.sdk.language": "python", "telemetry.sdk.version": __version__}
        return tuple((_encodable(key), _encodable(value)) for key, value in {**attributes, **sdk}.items())

    def check_propagators(self) -> None:
        """Note propagators that are asked for and not there: W3C's two are always on."""
        name = "OTEL_PROPAGATORS"
        asked = {part.strip().lower() for part in self._environment.text(name).split(",") if part.strip()}
        if asked and asked != _PROPAGATED:
            self._note(name, "tracecontext and baggage are always passed on, and nothing else")

    def _note(self, name: str, text: str) -> None:
        self._notes.append((name, text))

    def _of_signal(self, signal: str, name: str) -> tuple[str, str]:
        """Return the name and the text of the variable that counts for ``signal``."""
        own, common = f"{_PREFIX}_{signal}_{name}", f"{_PREFIX}_{name}"
        text = self._environment.text(own)
        return (own, text) if text else (common, self._environment.text(common))

    def _endpoint(self, signal: str, protocol: Protocol | None) -> Target | None:
        """Return where ``signal`` goes by ``protocol``; ``None`` leaves it to the port."""
        name, text = self._of_signal(signal, "ENDPOINT")
        text = text or DEFAULT_ENDPOINTS[protocol or Protocol.HTTP_PROTOBUF]
        named_grpc = protocol is Protocol.GRPC or (protocol is None and text.endswith(f":{_GRPC_PORT}"))
        if named_grpc and "://" not in text:  # as clients of gRPC have it
            text = f"{'http' if self._insecure(signal) else 'https'}://{text}"
        try:
            url = urlsplit(text)
            port = _PORTS[url.scheme] if url.port is None else url.port
        except (KeyError, ValueError):
            url, port = urlsplit(""), 0
        # A password in the address would end up in logs; headers are the place for credentials.
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
        if headers and not target.secure and not _is_loopback(target.host):
            self._in_clear.append(name)
        return headers

    def _gzip(self, signal: str) -> bool:
        name, text = self._of_signal(signal, "COMPRESSION")
        if text.lower() not in {"", "none", "gzip"}:
            self._note(name, "must be gzip or none; nothing is compressed")
        return text.lower() == "gzip"

    def _with_files(self, target: Target, signal: str) -> Target | None:
        """Add the files of TLS. One that cannot be used leaves no way to send, since what it says must not be passed by."""
        names = [self._of_signal(signal, part)[0] for part in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")]
        certificate, client_certificate, client_key = (self._environment.path(name) for name in names)
        if client_key is not None and client_certificate is None:
            self._note(names[2], f"has no effect without {names[1]}")
        target = attrs.evolve(target, ca_file=certificate, client_cert_file=client_certificate, client_key_file=client_key)
        try:
            tls_context(target)
        except OSError as error:
            text = f"the files cannot be used: {files_reason(error)}; no {signal.lower()} are exported"
            self._note(", ".join(name for name in names if self._environment.text(name)) or f"OTEL_{signal}_EXPORTER", text)
            return None
        return target

    def _sampling(self) -> SamplingSettings:
        choices = [sampler.value for sampler in Sampler]
        sampler = Sampler(self._environment.choice("OTEL_TRACES_SAMPLER", choices, Sampler.PARENT_BASED_ALWAYS_ON.value))
        return SamplingSettings(sampler, self._environment.read("OTEL_TRACES_SAMPLER_ARG", _ratio, 1.0))

    def _milliseconds(self, name: str, default: float) -> float:
        return self._environment.read(name, _milliseconds, default)


def _is_loopback(host: str) -> bool:
    """Return whether what is sent to ``host`` stays in the pod, as it does on the way to a collector beside the service."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _encodable(text: str) -> str:
    """Return ``text`` without the lone surrogates that stand for bytes of the environment that are no UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _milliseconds(text: str) -> float:
    if not _MILLISECONDS.fullmatch(text) or not int(text):
        raise ValueError("must be milliseconds, a whole number above 0")
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
    """Read ``key=value,key=value`` with percent-encoded values; one that cannot be read makes all of it unreadable."""
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
            raise ValueError("must be header=value pairs that can be sent")
    return tuple((name, Secret(value)) for name, value in pairs)
