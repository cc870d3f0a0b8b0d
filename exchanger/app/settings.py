"""Turns the environment into the settings of each room, and reports all problems at once, including those of required files.

``Settings`` only carries the rooms' values to the supervisor; no room sees it.
"""

import re
from collections.abc import Mapping
from typing import Final, final

import attrs

from exchanger.app.environment import Environment
from exchanger.app.grants_file import GrantsSettings
from exchanger.app.grpc_environment import read_listeners
from exchanger.app.otel_environment import read_otel
from exchanger.app.policy_environment import policy_notes, read_grants_settings, read_policy
from exchanger.app.proxy_environment import read_proxies
from exchanger.app.variable_names import Notes
from exchanger.authz.audit.identities import read_audit_keys
from exchanger.authz.audit.settings import OFF, AuditSettings, parse_target
from exchanger.authz.decision.check import TOKEN_EXCHANGE_GRANT, DecisionRules
from exchanger.authz.http_authz.settings import DEFAULT_HOST, HttpAuthzSettings
from exchanger.exchange.cache.files import read_files
from exchanger.exchange.cache.settings import DEFAULT_NAMESPACE, SharedSettings, parse_namespace, parse_store_url, parse_username
from exchanger.exchange.issuers.profiles_file import check_file
from exchanger.exchange.issuers.rules import ProfileRules
from exchanger.exchange.issuers.source import IssuerSettings
from exchanger.exchange.oauth.settings import TokenClientSettings
from exchanger.exchange.oauth.token_response import TokenResponseRules
from exchanger.model.errors import ConfigurationError
from exchanger.model.issuer import AuthMethod
from exchanger.model.token import ACCESS_TOKEN_TYPE
from exchanger.net.grpc.server import ServerSettings
from exchanger.net.http.names import is_loopback
from exchanger.net.http.token_file import check_token_file
from exchanger.net.tls.certificates import check_files
from exchanger.net.tls.settings import TlsSettings
from exchanger.operations.console.access import ConsoleSettings, parse_hosts
from exchanger.operations.telemetry.log import LogDecisions, LogFormat, LogLevel, LogSettings
from exchanger.operations.telemetry.metrics import MetricsSettings
from exchanger.operations.telemetry.otlp.settings import OtlpSettings
from exchanger.policy.snapshot import UnreadableReach
from exchanger.sources.directory.source import DirectorySettings
from exchanger.sources.kube.settings import KubernetesSettings
from exchanger.util.address import parse_address
from exchanger.util.regular_file import UnusableFile
from exchanger.util.shown import shown_file

_is_request_target: Final = re.compile(r"/[!\"$->@-~]*").fullmatch  # visible ASCII, and neither query nor fragment (RFC 9112 section 3.2)
# Seconds: Kubernetes kills after 30 by default (https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination).
_SHUTDOWN_GRACE: Final = 25.0
_NO_PORT: Final = -1


@final
@attrs.frozen
class Settings:
    """The settings of each room. ``without_effect``: variables that are set without effect, each with the reason."""

    grpc: ServerSettings
    decision: DecisionRules
    token_client: TokenClientSettings
    policy: DirectorySettings | KubernetesSettings
    issuers: IssuerSettings
    metrics: MetricsSettings
    log: LogSettings
    otlp: OtlpSettings
    token_cache: SharedSettings | None = None
    audit: AuditSettings | None = None
    console: ConsoleSettings | None = None
    http_authz: HttpAuthzSettings | None = None
    kube_context: str = ""
    policy_events: bool = True
    policy_required: bool = False
    unreadable_reach: UnreadableReach = UnreadableReach.UNMATCHED
    grants: GrantsSettings = attrs.field(factory=GrantsSettings)
    log_health_checks: bool = True
    insecure_log_tokens: bool = False
    shutdown_grace: float = _SHUTDOWN_GRACE
    without_effect: Notes = ()


def read_settings(variables: Mapping[str, str]) -> Settings:
    """Read the whole configuration of ``exchanger serve``.

    Raises:
        ConfigurationError: with every problem found.
    """
    environment = Environment(variables)
    settings = _settings(environment, variables)
    problems = environment.problems()
    if problems:
        raise ConfigurationError((*problems, *(f"{name}: {text}" for name, text in environment.unknown())))
    return attrs.evolve(settings, without_effect=(*settings.without_effect, *environment.notes()))


def known_variables() -> frozenset[str]:
    """Return the names of all variables that ``read_settings`` reads, except OpenTelemetry's."""
    environment = Environment({})
    _settings(environment, {})
    return environment.asked


def _settings(environment: Environment, variables: Mapping[str, str]) -> Settings:
    token_client = _token_client(environment)
    policy = read_policy(environment)
    otel = read_otel(variables)
    proxies = read_proxies(environment, variables, allow_http=token_client.allow_http)
    return Settings(
        grpc=_grpc(environment),
        decision=DecisionRules(
            bearer_realm=environment.text("TOKEN_EXCHANGE_BEARER_REALM", "ext-authz-token-exchange"),
            grant_type=environment.text("TOKEN_EXCHANGE_GRANT_TYPE", TOKEN_EXCHANGE_GRANT),
            subject_token_type=environment.text("TOKEN_EXCHANGE_SUBJECT_TOKEN_TYPE", ACCESS_TOKEN_TYPE),
            allow_unauthenticated_options=environment.boolean("TOKEN_EXCHANGE_ALLOW_UNAUTHENTICATED_OPTIONS", default=False),
            default_deny_unmatched=environment.boolean("TOKEN_EXCHANGE_DEFAULT_DENY_UNMATCHED", default=False),
        ),
        token_client=attrs.evolve(token_client, proxies=proxies.proxies),
        policy=policy,
        kube_context=environment.text("KUBE_CONTEXT"),
        policy_events=environment.boolean("POLICY_EVENTS", default=True),
        policy_required=environment.boolean("POLICY_REQUIRED", default=False),
        unreadable_reach=UnreadableReach(
            environment.choice("POLICY_UNREADABLE_REACH", [choice.value for choice in UnreadableReach], UnreadableReach.UNMATCHED.value)
        ),
        grants=read_grants_settings(environment, has_labels=not (isinstance(policy, KubernetesSettings) and policy.namespaces)),
        issuers=_issuers(environment, with_secrets=isinstance(policy, KubernetesSettings), allow_http=token_client.allow_http),
        metrics=_metrics(environment),
        token_cache=_token_cache(environment),
        audit=_audit(environment),
        console=_console(environment),
        http_authz=_http_authz(environment),
        log=LogSettings(
            format=LogFormat(environment.choice("LOG_FORMAT", [choice.value for choice in LogFormat], "json")),
            level=LogLevel(environment.choice("LOG_LEVEL", [choice.value for choice in LogLevel], "info")),
            decisions=LogDecisions(environment.choice("LOG_DECISIONS", [choice.value for choice in LogDecisions], "denied")),
        ),
        log_health_checks=environment.boolean("GRPC_LOG_HEALTH_CHECKS", default=True),
        insecure_log_tokens=environment.boolean("TOKEN_EXCHANGE_INSECURE_LOG_TOKENS", default=False),
        shutdown_grace=environment.duration("SHUTDOWN_GRACE_PERIOD", _SHUTDOWN_GRACE),
        otlp=otel.settings,
        without_effect=(
            *_half_given_tls(environment),
            *_without_console(environment),
            *_without_http_authz(environment),
            *_without_token_cache(environment),
            *_without_audit(environment),
            *policy_notes(environment, policy),
            *proxies.notes,
            *otel.notes,
        ),
    )


def _grpc(environment: Environment) -> ServerSettings:
    found = read_listeners(environment)
    if found.tls is not None and (problem := check_files(found.tls)) is not None:
        environment.problem(f"GRPC_TLS_CERT_FILE, GRPC_TLS_KEY_FILE, GRPC_TLS_CLIENT_CA_FILE: {problem}")
    return ServerSettings(host=found.host, port=found.port, tls=found.tls)


def _half_given_tls(environment: Environment) -> Notes:
    pair = ("GRPC_TLS_CERT_FILE", "GRPC_TLS_KEY_FILE")
    given = [name for name in pair if environment.text(name)]
    if len(given) != 1:
        return ()
    (missing,) = set(pair) - set(given)
    return ((given[0], f"there is no TLS listener, since {missing} is not set"),)


def _token_client(environment: Environment) -> TokenClientSettings:
    return TokenClientSettings(
        request_timeout=environment.duration("TOKEN_ENDPOINT_REQUEST_TIMEOUT", 0.75),
        dial_timeout=environment.duration("TOKEN_ENDPOINT_DIAL_TIMEOUT", 3.0),
        tls_handshake_timeout=environment.duration("TOKEN_ENDPOINT_TLS_HANDSHAKE_TIMEOUT", 3.0),
        response_header_timeout=environment.duration("TOKEN_ENDPOINT_RESPONSE_HEADER_TIMEOUT", 0.5),
        idle_connection_timeout=environment.duration("TOKEN_ENDPOINT_IDLE_CONN_TIMEOUT", 90.0),
        max_idle_connections=environment.integer("TOKEN_ENDPOINT_MAX_IDLE_CONNS", 100),
        max_idle_connections_per_host=environment.integer("TOKEN_ENDPOINT_MAX_IDLE_CONNS_PER_HOST", 10),
        connection_reuse=environment.boolean("TOKEN_ENDPOINT_CONNECTION_REUSE", default=True),
        allow_http=environment.boolean("TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT", default=False),
        rules=TokenResponseRules(
            error_passthrough=environment.boolean("TOKEN_EXCHANGE_ERROR_PASSTHROUGH", default=False),
            require_issued_token_type=environment.boolean("TOKEN_EXCHANGE_REQUIRE_ISSUED_TOKEN_TYPE", default=True),
            expected_issued_token_type=environment.text("TOKEN_EXCHANGE_EXPECTED_ISSUED_TOKEN_TYPE", ACCESS_TOKEN_TYPE),
        ),
    )


def _metrics(environment: Environment) -> MetricsSettings:
    path = environment.text("METRICS_PATH", "/metrics")
    if not path.startswith("/"):
        environment.problem("METRICS_PATH must start with /")
    elif not _is_request_target(path):
        environment.problem("METRICS_PATH must be visible ASCII without ? and #")
    return MetricsSettings(
        enabled=environment.boolean("METRICS_ENABLED", default=False),
        host=environment.text("METRICS_HOST") or None,
        port=environment.port("METRICS_PORT", 3002),
        path=path,
    )


def _console(environment: Environment) -> ConsoleSettings | None:
    address = environment.read("CONSOLE_ADDRESS", parse_address, None, with_length=True)
    hosts: frozenset[str] = environment.read("CONSOLE_HOSTS", parse_hosts, frozenset())
    token_file = environment.path("CONSOLE_TOKEN_FILE")
    if address is None:
        return None
    host, port = address
    if token_file is None and not is_loopback(host):
        environment.problem("CONSOLE_TOKEN_FILE is required, since CONSOLE_ADDRESS is not a loopback address")
    if token_file is not None and (problem := check_token_file(token_file)) is not None:
        environment.problem(f"CONSOLE_TOKEN_FILE {shown_file(token_file)} {problem}")
    return ConsoleSettings(host=host, port=port, token_file=token_file, hosts=hosts)


def _without_console(environment: Environment) -> Notes:
    if environment.text("CONSOLE_ADDRESS"):
        return ()
    names = ("CONSOLE_TOKEN_FILE", "CONSOLE_HOSTS")
    return tuple((name, "there is no console, since CONSOLE_ADDRESS is not set") for name in names if environment.text(name))


def _http_authz(environment: Environment) -> HttpAuthzSettings | None:
    """Return the authorization port. It hands tokens to everyone who asks, so without proof of who that is, only this machine may."""
    port = environment.port("HTTP_AUTHZ_PORT", _NO_PORT)
    host = environment.text("HTTP_AUTHZ_HOST", DEFAULT_HOST)
    names = tuple(f"HTTP_AUTHZ_TLS_{name}_FILE" for name in ("CERT", "KEY", "CLIENT_CA"))
    cert_file, key_file, client_ca_file = (environment.path(name) for name in names)
    secret_file = environment.path("HTTP_AUTHZ_SECRET_FILE")
    if port == _NO_PORT:
        return None
    tls = None
    if cert_file is not None and key_file is not None:
        tls = TlsSettings(port=port, cert_file=cert_file, key_file=key_file, client_ca_file=client_ca_file, protocols=("http/1.1",))
        if (problem := check_files(tls)) is not None:
            environment.problem(f"{', '.join(names)}: {problem}")
    elif given := [name for name in names if environment.text(name)]:
        # Otherwise a port that should have TLS would listen without it.
        environment.problem(f"{', '.join(given)}: TLS needs {names[0]} and {names[1]}")
    if secret_file is not None and (problem := check_token_file(secret_file)) is not None:
        environment.problem(f"HTTP_AUTHZ_SECRET_FILE {shown_file(secret_file)} {problem}")
    if secret_file is None and (tls is None or client_ca_file is None) and not is_loopback(host):
        environment.problem(
            "HTTP_AUTHZ_TLS_CLIENT_CA_FILE or HTTP_AUTHZ_SECRET_FILE is required, since HTTP_AUTHZ_HOST is not a loopback address"
        )
    return HttpAuthzSettings(host, port, tls, secret_file)


def _without_http_authz(environment: Environment) -> Notes:
    if environment.text("HTTP_AUTHZ_PORT"):
        return ()
    names = ("HOST", "TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_CLIENT_CA_FILE", "SECRET_FILE")
    given = (name for name in (f"HTTP_AUTHZ_{name}" for name in names) if environment.text(name))
    return tuple((name, "there is no authorization port, since HTTP_AUTHZ_PORT is not set") for name in given)


def _token_cache(environment: Environment) -> SharedSettings | None:
    """Return the shared level of the token cache. Without its key nothing starts: no token leaves the process unsealed."""
    address = environment.read("TOKEN_CACHE_URL", parse_store_url, None)
    namespace = environment.read("TOKEN_CACHE_NAMESPACE", parse_namespace, DEFAULT_NAMESPACE)
    username = environment.read("TOKEN_CACHE_USERNAME", parse_username, "")
    key_file, password_file = environment.path("TOKEN_CACHE_KEY_FILE"), environment.path("TOKEN_CACHE_PASSWORD_FILE")
    ca_file = environment.path("TOKEN_CACHE_CA_FILE")
    if address is None:
        return None
    if key_file is None:
        environment.problem("TOKEN_CACHE_KEY_FILE is required with TOKEN_CACHE_URL")
        return None
    if username and password_file is None:
        environment.problem("TOKEN_CACHE_USERNAME needs TOKEN_CACHE_PASSWORD_FILE")
    if ca_file is not None and not address.secure:
        environment.problem("TOKEN_CACHE_CA_FILE needs a TOKEN_CACHE_URL that begins with rediss:// or valkeys://")
    settings = SharedSettings(address, key_file, namespace, username, password_file, ca_file)
    if isinstance(found := read_files(settings), UnusableFile):
        environment.problem(found.reason)
    return settings


def _without_token_cache(environment: Environment) -> Notes:
    if environment.text("TOKEN_CACHE_URL"):
        return ()
    names = ("USERNAME", "PASSWORD_FILE", "CA_FILE", "KEY_FILE", "NAMESPACE")
    given = (name for name in (f"TOKEN_CACHE_{name}" for name in names) if environment.text(name))
    return tuple((name, "no store is shared, since TOKEN_CACHE_URL is not set") for name in given)


def _audit(environment: Environment) -> AuditSettings | None:
    """Return where the audit log is. Without a key nothing starts, unless plain identities are wanted."""
    off = environment.text("AUDIT_LOG", OFF).lower() == OFF
    path = None if off else environment.read("AUDIT_LOG", parse_target, None, with_length=True)
    identities = environment.choice("AUDIT_IDENTITIES", ["keyed", "plain"], "keyed")
    key_file = environment.path("AUDIT_KEY_FILE")
    required = environment.boolean("AUDIT_REQUIRED", default=False)
    if off:
        if required:
            environment.problem("AUDIT_REQUIRED needs an AUDIT_LOG")
        return None
    if identities == "plain":
        return AuditSettings(path, required)
    if key_file is None:
        environment.problem("AUDIT_KEY_FILE is required with AUDIT_LOG, unless AUDIT_IDENTITIES is plain")
        return None
    keys = read_audit_keys(key_file)
    if isinstance(keys, UnusableFile):
        environment.problem(keys.reason)
        return None
    return AuditSettings(path, required, key_file, keys)


def _without_audit(environment: Environment) -> Notes:
    names = ("AUDIT_IDENTITIES", "AUDIT_KEY_FILE")
    if environment.text("AUDIT_LOG", OFF).lower() == OFF:
        return tuple((name, "there is no audit log, since AUDIT_LOG is not set") for name in names if environment.text(name))
    if environment.text("AUDIT_IDENTITIES").lower() == "plain" and environment.text("AUDIT_KEY_FILE"):
        return (("AUDIT_KEY_FILE", "AUDIT_IDENTITIES is plain"),)
    return ()


def _issuers(environment: Environment, *, with_secrets: bool, allow_http: bool) -> IssuerSettings:
    methods = [method.value for method in AuthMethod]
    rules = ProfileRules(
        auth_method=AuthMethod(environment.choice("TOKEN_ENDPOINT_AUTH_METHOD", methods, AuthMethod.CLIENT_SECRET_BASIC.value)),
        namespace=environment.text("POD_NAMESPACE"),
        with_secrets=with_secrets,
        allow_http=allow_http,
    )
    path = environment.path("TOKEN_EXCHANGE_ISSUER_PROFILES_FILE")
    if path is not None:
        for problem in check_file(path, rules):
            environment.problem(f"TOKEN_EXCHANGE_ISSUER_PROFILES_FILE: {problem}")
    return IssuerSettings(path, rules)
