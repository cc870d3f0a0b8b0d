import base64
import hashlib
import re
from operator import attrgetter
from pathlib import Path
from typing import Final

import attrs
import pytest
import trustme

from exchanger.app.settings import Settings, known_variables, read_settings
from exchanger.authz.audit.identities import AuditKey
from exchanger.authz.audit.settings import AuditSettings
from exchanger.authz.http_authz.settings import HttpAuthzSettings
from exchanger.exchange.cache.settings import SharedSettings, StoreAddress
from exchanger.exchange.issuers.rules import ProfileRules
from exchanger.model.errors import ConfigurationError
from exchanger.model.issuer import AuthMethod
from exchanger.model.selector import parse_selector
from exchanger.net.tls.settings import TlsSettings
from exchanger.operations.console.access import ConsoleSettings
from exchanger.operations.telemetry.log import LogDecisions, LogFormat, LogLevel
from exchanger.operations.telemetry.otlp.settings import OtlpSettings
from exchanger.policy.snapshot import UnreadableReach
from exchanger.sources.kube.settings import KubernetesSettings
from tests.net.grpc.authority import Site

PROFILES = """
issuers:
  - {name: basic, tokenEndpoint: "https://ISSUER.example.com:8443/token", clientID: id, clientSecret: secret}
  - name: post
    tokenEndpoint: https://b.example.com/t
    clientID: id
    clientSecret: s
    tokenEndpointAuthMethod: client_secret_post
    bearerRealm: r
"""


def read(tmp_path: Path, **variables: str) -> Settings:
    profiles = tmp_path / "issuers.yaml"
    profiles.write_text(PROFILES)
    defaults = {"POLICY_SOURCE": "directory", "POLICY_DIRECTORY": str(tmp_path), "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE": str(profiles)}
    return read_settings({**defaults, **variables})


def problem(tmp_path: Path, **variables: str) -> str:
    """Return the one problem that such variables have."""
    with pytest.raises(ConfigurationError) as raised:
        read(tmp_path, **variables)
    (found,) = raised.value.problems
    assert "canary" not in found
    return found


TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"
LABEL: Final = "ext-authz-token-exchange.magneticflux.net"
# Each variable, its setting with the default, and a text with what it means.
VARIABLES: Final = (
    ("GRPC_PORT", "grpc.port", 3001, "4001", 4001),
    ("GRPC_HOST", "grpc.host", None, "127.0.0.1", "127.0.0.1"),
    ("GRPC_LOG_HEALTH_CHECKS", "log_health_checks", True, "off", False),
    ("TOKEN_EXCHANGE_GRANT_TYPE", "decision.grant_type", "urn:ietf:params:oauth:grant-type:token-exchange", "g", "g"),
    ("TOKEN_EXCHANGE_SUBJECT_TOKEN_TYPE", "decision.subject_token_type", TOKEN_TYPE, "s", "s"),
    ("TOKEN_EXCHANGE_BEARER_REALM", "decision.bearer_realm", "ext-authz-token-exchange", "realm", "realm"),
    ("TOKEN_EXCHANGE_ALLOW_UNAUTHENTICATED_OPTIONS", "decision.allow_unauthenticated_options", False, "on", True),
    ("TOKEN_EXCHANGE_DEFAULT_DENY_UNMATCHED", "decision.default_deny_unmatched", False, "TRUE", True),
    ("CONFIGMAP_LABEL_SELECTOR", "policy.configmap_selector", parse_selector(f"{LABEL}/enabled=true"), "a=b", parse_selector("a=b")),
    ("CONFIGMAP_NAMESPACE_SELECTOR", "policy.namespace_selector", parse_selector(f"{LABEL}/policy=enabled"), "!c", parse_selector("!c")),
    ("TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT", "token_client.allow_http", False, "1", True),
    ("TOKEN_EXCHANGE_ERROR_PASSTHROUGH", "token_client.rules.error_passthrough", False, "yes", True),
    ("TOKEN_EXCHANGE_REQUIRE_ISSUED_TOKEN_TYPE", "token_client.rules.require_issued_token_type", True, "no", False),
    ("TOKEN_EXCHANGE_EXPECTED_ISSUED_TOKEN_TYPE", "token_client.rules.expected_issued_token_type", TOKEN_TYPE, "t", "t"),
    ("TOKEN_EXCHANGE_INSECURE_LOG_TOKENS", "insecure_log_tokens", False, "true", True),
    ("TOKEN_ENDPOINT_REQUEST_TIMEOUT", "token_client.request_timeout", 0.75, "1s", 1.0),
    ("TOKEN_ENDPOINT_DIAL_TIMEOUT", "token_client.dial_timeout", 3.0, "2s", 2.0),
    ("TOKEN_ENDPOINT_TLS_HANDSHAKE_TIMEOUT", "token_client.tls_handshake_timeout", 3.0, "4s", 4.0),
    ("TOKEN_ENDPOINT_RESPONSE_HEADER_TIMEOUT", "token_client.response_header_timeout", 0.5, "5s", 5.0),
    ("TOKEN_ENDPOINT_IDLE_CONN_TIMEOUT", "token_client.idle_connection_timeout", 90.0, "1m", 60.0),
    ("TOKEN_ENDPOINT_MAX_IDLE_CONNS", "token_client.max_idle_connections", 100, "0", 0),
    ("TOKEN_ENDPOINT_MAX_IDLE_CONNS_PER_HOST", "token_client.max_idle_connections_per_host", 10, "3", 3),
    ("TOKEN_ENDPOINT_CONNECTION_REUSE", "token_client.connection_reuse", True, "false", False),
    ("METRICS_ENABLED", "metrics.enabled", False, "true", True),
    ("METRICS_PORT", "metrics.port", 3002, "4002", 4002),
    ("METRICS_HOST", "metrics.host", None, "::1", "::1"),
    ("METRICS_PATH", "metrics.path", "/metrics", "/m", "/m"),
    ("LOG_FORMAT", "log.format", LogFormat.JSON, "console", LogFormat.CONSOLE),
    ("LOG_LEVEL", "log.level", LogLevel.INFO, "Debug", LogLevel.DEBUG),
    ("LOG_DECISIONS", "log.decisions", LogDecisions.DENIED, "all", LogDecisions.ALL),
    ("SHUTDOWN_GRACE_PERIOD", "shutdown_grace", 25.0, "3s", 3.0),
    ("POLICY_UNREADABLE_REACH", "unreadable_reach", UnreadableReach.UNMATCHED, "Global", UnreadableReach.GLOBAL),
    ("POLICY_REQUIRED", "policy_required", False, "true", True),
)


@pytest.mark.parametrize(("name", "setting", "default", "text", "expected"), VARIABLES, ids=[name for name, *_ in VARIABLES])
def test_a_variable_has_a_default_and_can_be_set(
    tmp_path: Path, name: str, setting: str, default: object, text: str, expected: object
) -> None:
    assert attrgetter(setting)(read(tmp_path)) == default
    assert attrgetter(setting)(read(tmp_path, **{name: text})) == expected


def test_issuers(tmp_path: Path) -> None:
    issuers = read(tmp_path, POD_NAMESPACE="own").issuers
    assert issuers.path == tmp_path / "issuers.yaml"
    assert issuers.rules == ProfileRules(AuthMethod.CLIENT_SECRET_BASIC, "own", with_secrets=False)
    other = read(tmp_path, TOKEN_ENDPOINT_AUTH_METHOD="client_secret_post").issuers
    assert other.rules.auth_method is AuthMethod.CLIENT_SECRET_POST
    assert read(tmp_path, TOKEN_EXCHANGE_ISSUER_PROFILES_FILE="").issuers.path is None


def test_the_kubernetes_source_is_the_default(tmp_path: Path) -> None:
    settings = read(
        tmp_path, POLICY_SOURCE="", POLICY_DIRECTORY="", POLICY_NAMESPACES="b, a", POLICY_MAX_STALENESS="5m", KUBE_CONTEXT="lab"
    )
    assert settings.policy == KubernetesSettings(
        parse_selector(f"{LABEL}/policy=enabled"),
        parse_selector(f"{LABEL}/enabled=true"),
        ("b", "a"),
        300.0,
    )
    assert (settings.kube_context, settings.policy_events) == ("lab", True)
    assert not read(tmp_path, POLICY_SOURCE="kubernetes", POLICY_EVENTS="off").policy_events
    assert settings.issuers.rules.with_secrets
    plain = read(tmp_path, POLICY_SOURCE="Kubernetes", POLICY_MAX_STALENESS="0").policy
    assert isinstance(plain, KubernetesSettings)
    assert (plain.namespaces, plain.max_staleness) == ((), 0.0)


def test_namespaces_may_be_named_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "namespaces"
    path.write_text("b\na # the second\n")
    policy = read(tmp_path, POLICY_SOURCE="kubernetes", POLICY_NAMESPACES_FILE=str(path)).policy
    assert isinstance(policy, KubernetesSettings)
    assert (policy.namespaces, policy.namespaces_file) == (("b", "a"), path)


@pytest.mark.parametrize("content", [None, "", "# a", "A", "a a"])
def test_a_file_without_names_never_means_all_namespaces(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "namespaces"
    if content is not None:
        path.write_text(content)
    kubernetes = {"POLICY_SOURCE": "kubernetes", "POLICY_NAMESPACES_FILE": str(path)}
    assert problem(tmp_path, **kubernetes).startswith(f"POLICY_NAMESPACES_FILE {path} ")
    path.write_text("a")
    assert "both set" in problem(tmp_path, **kubernetes, POLICY_NAMESPACES="a")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POLICY_SOURCE", "git"),
        ("POLICY_DIRECTORY", ""),
        ("POLICY_DIRECTORY", "/nowhere/at/all"),
        ("TOKEN_EXCHANGE_ISSUER_PROFILES_FILE", "/nowhere/at/all"),
        ("GRPC_PORT", "70000"),
        ("GRPC_TLS_PORT", "-1"),
        ("GRPC_TLS_CLIENT_CA_FILE", "/ca"),
        ("GRPC_PLAINTEXT_ENABLED", "false"),
        ("TOKEN_ENDPOINT_REQUEST_TIMEOUT", "0s"),
        ("TOKEN_ENDPOINT_AUTH_METHOD", "none"),
        ("TOKEN_ENDPOINT_MAX_IDLE_CONNS", "-1"),
        ("TOKEN_EXCHANGE_ERROR_PASSTHROUGH", "ture"),
        *(("METRICS_PATH", path) for path in ("metrics", "/m?x", "/m#x", "/a b", "/é", "/\udcff")),
        ("CONSOLE_ADDRESS", "3003"),
        ("CONSOLE_HOSTS", "https://console.example.com"),
        ("CONFIGMAP_LABEL_SELECTOR", "a in b"),
        ("POLICY_UNREADABLE_REACH", "all"),
        ("POLICY_NAMESPACES", "a,,b"),
        ("POLICY_NAMESPACES", "A"),
        *((f"POLICY_MAX_{what}", "0") for what in ("ENTRIES", "FAIL_CLOSED_SCOPES", "DOCUMENTS", "SIZE_KIB")),
        ("POLICY_MAX_STALENESS", "5"),
    ],
)
def test_a_wrong_value_names_its_variable(tmp_path: Path, name: str, value: str) -> None:
    source = {"POLICY_SOURCE": "kubernetes"} if name in {"POLICY_NAMESPACES", "POLICY_MAX_STALENESS"} else {}
    assert problem(tmp_path, **source, **{name: value}).startswith(name)


def test_telemetry_is_read_and_what_is_wrong_with_it_stops_nothing(tmp_path: Path) -> None:
    settings = read(tmp_path, OTEL_TRACES_EXPORTER="otlp", OTEL_METRICS_EXPORTER="prometheus")
    assert settings.otlp.traces is not None
    assert settings.otlp.metrics is None
    ((variable, text),) = settings.without_effect
    assert variable == "OTEL_METRICS_EXPORTER"
    assert "otlp or none" in text
    assert (read(tmp_path).otlp, read(tmp_path).without_effect) == (OtlpSettings(), ())


@pytest.fixture
def pair(tmp_path: Path) -> dict[str, str]:
    files = Site.at(tmp_path).files
    return {"GRPC_TLS_CERT_FILE": str(files.cert), "GRPC_TLS_KEY_FILE": str(files.key), "CA": str(files.client_ca)}


def test_both_files_make_a_tls_listener_beside_the_plaintext_one(tmp_path: Path, pair: dict[str, str]) -> None:
    authority = pair.pop("CA")
    settings = read(tmp_path, **pair).grpc
    assert settings.port == 3001
    assert settings.tls == TlsSettings(cert_file=tmp_path / "tls.crt", key_file=tmp_path / "tls.key")
    assert settings.tls.port == 3000
    mutual = read(tmp_path, **pair, GRPC_TLS_PORT="3443", GRPC_TLS_CLIENT_CA_FILE=authority, GRPC_PLAINTEXT_ENABLED="no").grpc
    assert mutual.port is None
    assert mutual.tls is not None
    assert (mutual.tls.port, mutual.tls.client_ca_file) == (3443, tmp_path / "ca.crt")


@pytest.mark.parametrize("name", ["GRPC_TLS_CERT_FILE", "GRPC_TLS_KEY_FILE"])
def test_one_of_them_makes_none_and_is_told(tmp_path: Path, pair: dict[str, str], name: str) -> None:
    settings = read(tmp_path, **{name: pair[name]})
    assert settings.grpc.tls is None
    ((variable, text),) = settings.without_effect
    assert variable == name
    assert "no TLS listener" in text


@pytest.mark.parametrize("broken", ["GRPC_TLS_CERT_FILE", "GRPC_TLS_KEY_FILE", "GRPC_TLS_CLIENT_CA_FILE"])
def test_files_that_cannot_be_used_are_a_problem(tmp_path: Path, pair: dict[str, str], broken: str) -> None:
    files = {**pair, "GRPC_TLS_CLIENT_CA_FILE": pair["CA"]}
    del files["CA"]
    Path(files[broken]).write_text("canary")
    found = problem(tmp_path, **files)
    assert found.startswith("GRPC_TLS_CERT_FILE")
    assert files[broken] in found


def test_there_is_no_console_unless_it_has_an_address(tmp_path: Path) -> None:
    settings = read(tmp_path, CONSOLE_HOSTS="console.example.com")
    assert settings.console is None
    assert settings.without_effect == (("CONSOLE_HOSTS", "there is no console, since CONSOLE_ADDRESS is not set"),)


@pytest.mark.parametrize(("address", "host"), [("127.0.0.2:0", "127.0.0.2"), ("[::1]:0", "::1"), ("localhost:0", "localhost")])
def test_a_console_on_a_loopback_address_needs_no_token(tmp_path: Path, address: str, host: str) -> None:
    assert read(tmp_path, CONSOLE_ADDRESS=address).console == ConsoleSettings(host, 0)


@pytest.mark.parametrize("address", [":3003", "0.0.0.0:3003", "[::]:3003", "10.0.0.1:3003", "console.example.com:3003"])
def test_a_console_anywhere_else_needs_a_token(tmp_path: Path, address: str) -> None:
    expected = "CONSOLE_TOKEN_FILE is required, since CONSOLE_ADDRESS is not a loopback address"
    assert problem(tmp_path, CONSOLE_ADDRESS=address) == expected
    token = tmp_path / "token"
    token.write_text("a-token-that-is-long-enough\n")
    settings = read(tmp_path, CONSOLE_ADDRESS=address, CONSOLE_TOKEN_FILE=str(token), CONSOLE_HOSTS="Console.example.com., other:80")
    assert settings.console is not None
    assert settings.console.token_file == token
    assert settings.console.hosts == {"console.example.com", "other"}


@pytest.mark.parametrize("content", [None, "short", "two words that are long enough", ""])
def test_a_token_file_that_cannot_be_used_is_named_and_not_repeated(tmp_path: Path, content: str | None) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_text(content)
    found = problem(tmp_path, CONSOLE_ADDRESS="127.0.0.1:0", CONSOLE_TOKEN_FILE=str(token))
    assert found.startswith(f"CONSOLE_TOKEN_FILE {token} ")
    assert not content or content not in found


def test_there_is_no_authorization_port_unless_it_has_a_number(tmp_path: Path) -> None:
    assert read(tmp_path).http_authz is None
    settings = read(tmp_path, HTTP_AUTHZ_HOST="0.0.0.0", HTTP_AUTHZ_SECRET_FILE="/nowhere")
    assert settings.http_authz is None
    assert [name for name, _ in settings.without_effect] == ["HTTP_AUTHZ_HOST", "HTTP_AUTHZ_SECRET_FILE"]
    of_a_service = read(tmp_path, HTTP_AUTHZ_PORT="tcp://10.0.0.1:80")
    assert of_a_service.http_authz is None


def test_an_authorization_port_listens_on_loopback_unless_told_otherwise(tmp_path: Path) -> None:
    assert read(tmp_path, HTTP_AUTHZ_PORT="3003").http_authz == HttpAuthzSettings("127.0.0.1", 3003)
    assert read(tmp_path, HTTP_AUTHZ_PORT="0", HTTP_AUTHZ_HOST="::1").http_authz == HttpAuthzSettings("::1", 0)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "*", "10.0.0.1", "gateway.example.com"])
def test_beyond_loopback_callers_of_the_authorization_port_must_prove_who_they_are(tmp_path: Path, host: str) -> None:
    expected = "HTTP_AUTHZ_TLS_CLIENT_CA_FILE or HTTP_AUTHZ_SECRET_FILE is required, since HTTP_AUTHZ_HOST is not a loopback address"
    site, secret = Site.at(tmp_path), tmp_path / "secret"
    secret.write_text("a-secret-that-is-long-enough\n")
    asked = {"HTTP_AUTHZ_PORT": "3003", "HTTP_AUTHZ_HOST": host}
    with_tls = {**asked, "HTTP_AUTHZ_TLS_CERT_FILE": str(site.files.cert), "HTTP_AUTHZ_TLS_KEY_FILE": str(site.files.key)}
    assert problem(tmp_path, **asked) == expected
    assert problem(tmp_path, **with_tls) == expected

    by_secret = read(tmp_path, **asked, HTTP_AUTHZ_SECRET_FILE=str(secret)).http_authz
    assert by_secret == HttpAuthzSettings(host, 3003, None, secret)
    by_certificate = read(tmp_path, **with_tls, HTTP_AUTHZ_TLS_CLIENT_CA_FILE=str(site.files.client_ca)).http_authz
    assert by_certificate is not None
    assert by_certificate.tls == attrs.evolve(site.files.settings(mutual=True, poll_interval=1.0), port=3003, protocols=("http/1.1",))


@pytest.mark.parametrize(
    "given",
    [
        {"TLS_CERT_FILE": "/nowhere"},
        {"TLS_KEY_FILE": "/nowhere"},
        {"TLS_CLIENT_CA_FILE": "/nowhere"},
        {"TLS_CERT_FILE": "/nowhere", "TLS_KEY_FILE": "/nowhere"},
        {"SECRET_FILE": "/nowhere"},
    ],
    ids=str,
)
def test_an_authorization_port_with_unusable_files_does_not_start(tmp_path: Path, given: dict[str, str]) -> None:
    found = problem(tmp_path, HTTP_AUTHZ_PORT="0", **{f"HTTP_AUTHZ_{name}": value for name, value in given.items()})
    assert found.startswith("HTTP_AUTHZ_")


def key_file(tmp_path: Path, content: str | None = None) -> str:
    path = tmp_path / "cache-keys"
    path.write_text(base64.b64encode(hashlib.sha256(b"key").digest()).decode() if content is None else content)
    return str(path)


def test_tokens_are_shared_only_if_there_is_a_store(tmp_path: Path) -> None:
    key, password = key_file(tmp_path), tmp_path / "password"
    password.write_text("p")

    assert read(tmp_path).token_cache is None
    assert read(tmp_path, TOKEN_CACHE_URL="redis://cache", TOKEN_CACHE_KEY_FILE=key).token_cache == SharedSettings(
        StoreAddress(False, "cache", 6379), Path(key)
    )
    assert read(
        tmp_path,
        TOKEN_CACHE_URL="valkeys://cache:1/2",
        TOKEN_CACHE_KEY_FILE=key,
        TOKEN_CACHE_NAMESPACE="blue",
        TOKEN_CACHE_USERNAME="app",
        TOKEN_CACHE_PASSWORD_FILE=str(password),
    ).token_cache == SharedSettings(StoreAddress(True, "cache", 1, 2), Path(key), "blue", "app", password)


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"TOKEN_CACHE_URL": "redis://:canary@cache", "TOKEN_CACHE_KEY_FILE": "KEY"}, "TOKEN_CACHE_URL"),
        ({"TOKEN_CACHE_URL": "http://cache", "TOKEN_CACHE_KEY_FILE": "KEY"}, "TOKEN_CACHE_URL"),
        ({"TOKEN_CACHE_URL": "redis://cache"}, "TOKEN_CACHE_KEY_FILE is required"),
        ({"TOKEN_CACHE_URL": "redis://cache", "TOKEN_CACHE_KEY_FILE": "BAD"}, "TOKEN_CACHE_KEY_FILE"),
        ({"TOKEN_CACHE_URL": "redis://cache", "TOKEN_CACHE_KEY_FILE": "/nowhere"}, "TOKEN_CACHE_KEY_FILE /nowhere cannot be read"),
        ({"TOKEN_CACHE_URL": "redis://cache", "TOKEN_CACHE_KEY_FILE": "KEY", "TOKEN_CACHE_NAMESPACE": "a:canary"}, "TOKEN_CACHE_NAMESPACE"),
        ({"TOKEN_CACHE_URL": "redis://cache", "TOKEN_CACHE_KEY_FILE": "KEY", "TOKEN_CACHE_USERNAME": "a"}, "TOKEN_CACHE_USERNAME needs"),
        ({"TOKEN_CACHE_URL": "redis://cache", "TOKEN_CACHE_KEY_FILE": "KEY", "TOKEN_CACHE_PASSWORD_FILE": "/nowhere"}, "PASSWORD_FILE"),
        ({"TOKEN_CACHE_URL": "rediss://cache", "TOKEN_CACHE_KEY_FILE": "KEY", "TOKEN_CACHE_CA_FILE": "BAD"}, "TOKEN_CACHE_CA_FILE"),
    ],
)
def test_a_store_that_cannot_be_used_stops_the_start(tmp_path: Path, variables: dict[str, str], name: str) -> None:
    bad = tmp_path / "bad"
    bad.write_text("canary")
    files = {"KEY": key_file(tmp_path), "BAD": str(bad)}

    assert name in problem(tmp_path, **{variable: files.get(value, value) for variable, value in variables.items()})


def test_an_authority_without_tls_is_a_mistake(tmp_path: Path) -> None:
    authority = tmp_path / "ca"
    trustme.CA().cert_pem.write_to_path(authority)
    variables = {"TOKEN_CACHE_KEY_FILE": key_file(tmp_path), "TOKEN_CACHE_CA_FILE": str(authority)}

    assert "needs a TOKEN_CACHE_URL" in problem(tmp_path, TOKEN_CACHE_URL="redis://cache", **variables)
    assert read(tmp_path, TOKEN_CACHE_URL="rediss://cache", **variables).token_cache is not None


def test_without_a_store_its_other_variables_have_no_effect(tmp_path: Path) -> None:
    names = [f"TOKEN_CACHE_{name}" for name in ("USERNAME", "PASSWORD_FILE", "CA_FILE", "KEY_FILE", "NAMESPACE")]
    found = read(tmp_path, **dict.fromkeys(names, "x"))

    assert [name for name, _ in found.without_effect if name.startswith("TOKEN_CACHE")] == names


def test_audit_log_needs_a_place_and_a_key_to_be_on(tmp_path: Path) -> None:
    key = key_file(tmp_path)
    assert read(tmp_path).audit is None
    assert read(tmp_path, AUDIT_LOG="Off").audit is None
    assert read(tmp_path, AUDIT_LOG="stdout", AUDIT_IDENTITIES="plain").audit == AuditSettings()
    keyed = read(tmp_path, AUDIT_LOG="/var/log/audit.log", AUDIT_KEY_FILE=key, AUDIT_REQUIRED="true").audit
    assert keyed == AuditSettings(Path("/var/log/audit.log"), True, Path(key), (AuditKey.of(hashlib.sha256(b"key").digest()),))


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"AUDIT_LOG": "audit.log", "AUDIT_IDENTITIES": "plain"}, "AUDIT_LOG must be off, stdout or the absolute path of a file"),
        ({"AUDIT_LOG": "/var/log/", "AUDIT_IDENTITIES": "plain"}, "AUDIT_LOG must be"),
        ({"AUDIT_LOG": "stdout"}, "AUDIT_KEY_FILE is required"),
        ({"AUDIT_LOG": "stdout", "AUDIT_KEY_FILE": "BAD"}, "AUDIT_KEY_FILE"),
        ({"AUDIT_LOG": "stdout", "AUDIT_KEY_FILE": "/nowhere"}, "AUDIT_KEY_FILE /nowhere cannot be read"),
        ({"AUDIT_LOG": "stdout", "AUDIT_IDENTITIES": "hashed", "AUDIT_KEY_FILE": "KEY"}, "AUDIT_IDENTITIES must be one of keyed, plain"),
        ({"AUDIT_REQUIRED": "true"}, "AUDIT_REQUIRED needs an AUDIT_LOG"),
        ({"AUDIT_LOG": "off", "AUDIT_REQUIRED": "1"}, "AUDIT_REQUIRED needs an AUDIT_LOG"),
    ],
)
def test_an_audit_log_that_cannot_be_kept_as_wanted_stops_the_start(tmp_path: Path, variables: dict[str, str], named: str) -> None:
    bad = tmp_path / "bad"
    bad.write_text("canary")
    files = {"KEY": key_file(tmp_path), "BAD": str(bad)}
    found = problem(tmp_path, **{variable: files.get(value, value) for variable, value in variables.items()})
    assert named in found
    assert "canary" not in found


def test_without_an_audit_log_its_other_variables_have_no_effect(tmp_path: Path) -> None:
    found = read(tmp_path, AUDIT_IDENTITIES="plain", AUDIT_KEY_FILE="x")
    assert [name for name, _ in found.without_effect] == ["AUDIT_IDENTITIES", "AUDIT_KEY_FILE"]
    found = read(tmp_path, AUDIT_LOG="stdout", AUDIT_IDENTITIES="plain", AUDIT_KEY_FILE="x")
    assert [name for name, _ in found.without_effect] == ["AUDIT_KEY_FILE"]


def test_every_documented_variable_is_known_even_where_it_has_no_effect() -> None:
    section = (Path(__file__).parents[2] / "docs" / "reference" / "configuration.md").read_text()
    names: set[str] = set()
    for row in re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE):
        found = re.findall(r"`([A-Z0-9_]+)`", row)
        names |= {f"TOKEN_ENDPOINT{name}" if name.startswith("_") else name for name in found}  # the long names of two rows are cut
    ours = {name for name in names if not name.startswith("OTEL_")} - {"KUBECONFIG"}  # the client library's own
    assert ours == known_variables(), "a variable is asked for in any case, or is called unknown where it has no effect"


def test_variables_without_effect_are_reported_and_a_clean_configuration_has_none(tmp_path: Path) -> None:
    assert read(tmp_path).without_effect == ()
    notes = dict(read(tmp_path, POLICY_MAX_STALENESS="5m", GRPC_HOST=" ", POLICY_REQURED="true").without_effect)
    assert notes == {
        "POLICY_MAX_STALENESS": "it applies only to POLICY_SOURCE=kubernetes",
        "GRPC_HOST": "it is empty, so the default applies",
        "POLICY_REQURED": "there is no such variable; did you mean POLICY_REQUIRED?",
    }
    assert dict(read_settings({"POLICY_DIRECTORY": "/x"}).without_effect) == {
        "POLICY_DIRECTORY": "it applies only to POLICY_SOURCE=directory"
    }


def documented_defaults() -> list[tuple[str, str]]:
    """Return each variable of the reference that has a default, with it. What is in words is left out: they name no value."""
    found: list[tuple[str, str]] = []
    page = (Path(__file__).parents[2] / "docs" / "reference" / "configuration.md").read_text()
    for names, default in re.findall(r"^\| (`[^|]*) \| ([^|]*) \|", page, re.MULTILINE):
        variables, texts = re.findall(r"`([A-Z0-9_]+)`", names), default.replace("`", "").split(", ")
        pairs = zip(variables, texts if len(texts) > 1 else texts * len(variables), strict=True)
        found += [(name, text) for name, text in pairs if " " not in text and text != "–" and "/." not in text]
    return found


@pytest.mark.parametrize(("name", "default"), documented_defaults())
def test_the_default_in_the_reference_is_the_one_that_applies(name: str, default: str) -> None:
    assert attrs.evolve(read_settings({name: default}), without_effect=()) == attrs.evolve(read_settings({}), without_effect=())
