from pathlib import Path

import attrs
import pytest
import trustme

from exchanger import __version__
from exchanger.app.otel_environment import OtelReading, read_otel
from exchanger.operations.telemetry.otlp.settings import MetricsExportSettings, OtlpSettings, Protocol, Target, TracesSettings
from exchanger.operations.telemetry.trace_context import Sampler, SamplingSettings

BOTH = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "otlp"}


def read(**variables: str) -> OtelReading:
    return read_otel({**BOTH, **variables})


def traces(**variables: str) -> TracesSettings:
    reading = read(**variables)
    assert reading.notes == ()
    assert reading.settings.traces is not None
    return reading.settings.traces


def metrics(**variables: str) -> MetricsExportSettings:
    reading = read(**variables)
    assert reading.notes == ()
    assert reading.settings.metrics is not None
    return reading.settings.metrics


def without_traces(**variables: str) -> tuple[str, str]:
    """Return the one note that such variables lead to: the metrics are exported, and no traces."""
    reading = read(**variables)
    assert reading.settings.traces is None
    assert reading.settings.metrics is not None
    assert "canary" not in repr(reading)
    (found,) = reading.notes
    return found


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "None"},
        {**BOTH, "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
    ],
)
def test_nothing_is_exported_unless_it_is_asked_for(variables: dict[str, str]) -> None:
    assert read_otel(variables) == OtelReading(OtlpSettings(), ())


def test_defaults() -> None:
    assert traces().target == Target(secure=False, host="localhost", port=4318, path="/v1/traces", timeout=10.0)
    assert traces().sampling == SamplingSettings()
    assert (traces().delay, traces().max_queue, traces().max_batch) == (5.0, 2048, 512)
    assert metrics().target == Target(secure=False, host="localhost", port=4318, path="/v1/metrics", timeout=10.0)
    assert metrics().interval == 60.0
    assert read(OTEL_PROPAGATORS="baggage, tracecontext", OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE="Cumulative").notes == ()


@pytest.mark.parametrize(
    ("variables", "where"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector"}, (False, "collector", 80, "/v1/traces")),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://Collector:4318/base/"}, (True, "collector", 4318, "/base/v1/traces")),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector/?x=1"}, (True, "collector", 443, "/v1/traces?x=1")),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://[::1]:4318/as/it/is"}, (False, "::1", 4318, "/as/it/is")),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://own", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://common"}, (False, "own", 80, "/")),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://own"}, (False, "localhost", 4318, "/v1/traces")),
    ],
)
def test_endpoints(variables: dict[str, str], where: tuple[bool, str, int, str]) -> None:
    target = traces(**variables).target
    assert (target.secure, target.host, target.port, target.path) == where


NO_ENDPOINTS = (
    *("collector:4318", "/v1", "ftp://c/", "ftp://c:4318", "htps://c:4318"),  # no scheme, or another one
    *("http://", "http://c:port", "http://c:0", "http://c d/", "http://user:canary@c/"),
    *("http://c/#f", "http://c/é", "http://c/a b", "http://c/?a b", "http://c/\x7f"),
)


@pytest.mark.parametrize("endpoint", NO_ENDPOINTS)
def test_an_invalid_endpoint_leaves_its_signal_out(endpoint: str) -> None:
    variable, text = without_traces(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=endpoint)
    assert variable == "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    assert "no traces are exported" in text


def test_headers_are_decoded_and_hidden() -> None:
    settings = traces(OTEL_EXPORTER_OTLP_HEADERS="api-key=canary%20key, Authorization = Basic%20eA==,, User-Agent=gateway%2F1")
    assert [(name, value.reveal()) for name, value in settings.target.headers] == [
        ("api-key", "canary key"),
        ("Authorization", "Basic eA=="),
        ("User-Agent", "gateway/1"),
    ]
    assert "canary" not in repr(settings)


ENDPOINT, HEADERS = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"
OF_TRACES, OF_METRICS = "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_METRICS_HEADERS"


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({}, ()),
        ({HEADERS: "api-key=canary"}, (HEADERS,)),
        ({OF_METRICS: "api-key=canary"}, (OF_METRICS,)),
        ({OF_TRACES: "a=canary", OF_METRICS: "b=canary"}, (OF_TRACES, OF_METRICS)),
        ({HEADERS: "api-key=canary", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://collector/v1/traces"}, (HEADERS,)),
        ({HEADERS: "api-key=canary", ENDPOINT: "http://10.0.0.1:4318"}, (HEADERS,)),
        ({HEADERS: "api-key=canary", ENDPOINT: "https://collector"}, ()),
        *(({HEADERS: "api-key=canary", ENDPOINT: f"http://{host}:4318"}, ()) for host in ("localhost", "127.0.0.1", "[::1]")),
    ],
)
def test_headers_that_leave_without_tls_are_named_and_sent(variables: dict[str, str], names: tuple[str, ...]) -> None:
    reading = read(**{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", **variables})
    assert reading.settings.in_clear == names
    assert reading.notes == ()
    assert reading.settings.metrics is not None
    assert bool(reading.settings.metrics.target.headers) == any("HEADERS" in name for name in variables)
    assert "canary" not in repr(reading)


TRACE_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
METRICS_METHOD = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"


@pytest.mark.parametrize(
    ("variables", "secure", "host", "port"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, False, "localhost", 4317),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "GRPC", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/ignored"}, False, "c", 4318),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"}, False, "c", 4317),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c:4317/"}, True, "c", 4317),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "c:4317"}, True, "c", 4317),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "c:4317", "OTEL_EXPORTER_OTLP_INSECURE": "true"}, False, "c", 4317),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "c:55680"}, True, "c", 55680),
    ],
)
def test_grpc_is_spoken_where_it_is_named_or_its_port_is(variables: dict[str, str], secure: bool, host: str, port: int) -> None:
    expected = Target(secure=secure, host=host, port=port, path=TRACE_METHOD, protocol=Protocol.GRPC)
    assert traces(**variables).target == expected
    assert metrics(**variables).target == attrs.evolve(expected, path=METRICS_METHOD)


@pytest.mark.parametrize(
    ("common", "own", "expected"),
    [
        ("http/protobuf", "", (Protocol.HTTP_PROTOBUF, Protocol.HTTP_PROTOBUF)),
        ("HTTP/Protobuf", "", (Protocol.HTTP_PROTOBUF, Protocol.HTTP_PROTOBUF)),
        ("grpc", "http/protobuf", (Protocol.GRPC, Protocol.HTTP_PROTOBUF)),
    ],
)
def test_a_named_protocol_wins_over_the_port_for_one_signal_or_both(common: str, own: str, expected: tuple[Protocol, Protocol]) -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": common}
    variables = {**endpoint, "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": own}
    assert (traces(**variables).target.protocol, metrics(**variables).target.protocol) == expected


def test_an_unsupported_protocol_leaves_its_signal_out() -> None:
    variable, text = without_traces(OTEL_EXPORTER_OTLP_PROTOCOL="http/json", OTEL_EXPORTER_OTLP_METRICS_PROTOCOL="http/protobuf")
    assert variable == "OTEL_EXPORTER_OTLP_PROTOCOL"
    assert text.startswith("must be grpc or http/protobuf")


def test_one_signal_alone_is_exported() -> None:
    settings = read_otel(
        {
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "a=canary",
        }
    ).settings
    assert (settings.traces, settings.metrics is None, settings.in_clear) == (None, False, ())


def test_a_signal_has_variables_of_its_own() -> None:
    variables = {
        "OTEL_EXPORTER_OTLP_HEADERS": "a=1",
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS": "b=2",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "3000",
        "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "4000",
        "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    }
    mine, other = traces(**variables).target, metrics(**variables).target
    assert ([name for name, _ in mine.headers], mine.timeout, mine.gzip) == (["a"], 3.0, False)
    assert ([name for name, _ in other.headers], other.timeout, other.gzip) == (["b"], 4.0, True)


@pytest.mark.parametrize("text", ["canary", "=canary", "a b=canary", "host=canary", "Content-Length=1", "a=canary%0d%0ab", "a=%C3%A9"])
def test_headers_that_cannot_be_sent_are_not(text: str) -> None:
    reading = read(OTEL_EXPORTER_OTLP_HEADERS=text)
    assert reading.settings.traces is not None
    assert reading.settings.traces.target.headers == ()
    assert [name for name, _ in reading.notes] == ["OTEL_EXPORTER_OTLP_HEADERS"]
    assert "canary" not in repr(reading)


@pytest.mark.parametrize(
    ("sampler", "argument", "expected"),
    [
        ("", "", SamplingSettings()),
        ("always_off", "", SamplingSettings(Sampler.ALWAYS_OFF)),
        ("traceidratio", "0.25", SamplingSettings(Sampler.TRACE_ID_RATIO, 0.25)),
        ("ParentBased_TraceIdRatio", "1e-3", SamplingSettings(Sampler.PARENT_BASED_TRACE_ID_RATIO, 0.001)),
    ],
)
def test_samplers(sampler: str, argument: str, expected: SamplingSettings) -> None:
    assert traces(OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=argument).sampling == expected


def test_gathering() -> None:
    settings = traces(
        OTEL_BSP_SCHEDULE_DELAY="100", OTEL_BSP_MAX_QUEUE_SIZE="10", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="5", OTEL_BSP_EXPORT_TIMEOUT="2000"
    )
    assert (settings.delay, settings.max_queue, settings.max_batch, settings.target.timeout) == (0.1, 10, 5, 2.0)
    other = metrics(OTEL_METRIC_EXPORT_INTERVAL="1500", OTEL_METRIC_EXPORT_TIMEOUT="30000")
    assert (other.interval, other.target.timeout) == (1.5, 10.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_METRICS_EXPORTER", "prometheus"),
        ("OTEL_TRACES_EXPORTER", "console,otlp"),
        ("OTEL_SDK_DISABLED", "maybe"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_TRACES_SAMPLER_ARG", "nan"),
        ("OTEL_TRACES_SAMPLER_ARG", "half"),
        ("OTEL_BSP_SCHEDULE_DELAY", "5s"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1m"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=1,b"),
        ("OTEL_PROPAGATORS", "b3"),
        ("OTEL_PROPAGATORS", "tracecontext"),
    ],
)
def test_an_invalid_value_is_noted_and_left_out(name: str, value: str) -> None:
    reading = read(**{name: value})
    assert [variable for variable, _ in reading.notes] == [name]
    assert reading.settings.traces is not None


def test_of_several_exporters_the_one_that_there_is_counts() -> None:
    reading = read(OTEL_METRICS_EXPORTER="prometheus, OTLP", OTEL_TRACES_EXPORTER="otlp,")
    assert reading.notes == (("OTEL_METRICS_EXPORTER", "only otlp is supported; the other exporters are ignored"),)
    assert reading.settings.metrics == metrics()
    assert read(OTEL_METRICS_EXPORTER="prometheus,console").settings.metrics is None


def test_the_resource_names_this_process() -> None:
    resource = dict(read().settings.resource)
    assert (resource["service.name"], resource["service.version"]) == ("exchanger", __version__)
    assert resource["telemetry.sdk.language"] == "python"


def test_operators_may_say_more_of_it() -> None:
    text = "service.name=other,service.namespace=gateway%2Cedge,k8s.pod.name = pod-1,telemetry.sdk.name=forged"
    resource = dict(read(OTEL_RESOURCE_ATTRIBUTES=text, OTEL_SERVICE_NAME="own").settings.resource)
    assert (resource["service.name"], resource["service.namespace"], resource["k8s.pod.name"]) == ("own", "gateway,edge", "pod-1")
    assert resource["telemetry.sdk.name"] == "exchanger"
    assert dict(read(OTEL_RESOURCE_ATTRIBUTES="service.name=other").settings.resource)["service.name"] == "other"


def test_undecodable_bytes_of_the_environment_are_tolerated() -> None:
    for key, value in read(OTEL_SERVICE_NAME="a\udcff", OTEL_RESOURCE_ATTRIBUTES="b\udcfe=c\udcfd").settings.resource:
        (key + value).encode()


def test_tls_files_are_used(tmp_path: Path) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("exchanger.example.com")
    files = {"CERTIFICATE": tmp_path / "ca", "CLIENT_CERTIFICATE": tmp_path / "crt", "CLIENT_KEY": tmp_path / "key"}
    authority.cert_pem.write_to_path(str(files["CERTIFICATE"]))
    leaf.cert_chain_pems[0].write_to_path(str(files["CLIENT_CERTIFICATE"]))
    leaf.private_key_pem.write_to_path(str(files["CLIENT_KEY"]))
    variables = {f"OTEL_EXPORTER_OTLP_{name}": str(path) for name, path in files.items()}
    target = traces(**variables, OTEL_EXPORTER_OTLP_ENDPOINT="https://collector").target
    assert (target.ca_file, target.client_cert_file, target.client_key_file) == tuple(files.values())
    plain = traces(**variables, OTEL_EXPORTER_OTLP_ENDPOINT="http://collector").target
    assert (plain.ca_file, plain.client_cert_file) == (None, None)


@pytest.mark.parametrize("key", ["OTEL_EXPORTER_OTLP_CLIENT_KEY", "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY"])
def test_a_key_without_a_certificate_is_noted(key: str) -> None:
    reading = read(**{"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector", key: "/nowhere/tls.key"})
    assert reading.settings.traces is not None
    assert reading.settings.traces.target.client_cert_file is None
    assert reading.notes == ((key, "has no effect without OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),)


@pytest.mark.parametrize("content", [None, "canary"])
def test_a_file_of_tls_that_cannot_be_used_leaves_its_signal_out(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector", "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE": str(path)}
    variable, text = without_traces(**variables)
    assert variable == "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE"
    assert "no traces are exported" in text
