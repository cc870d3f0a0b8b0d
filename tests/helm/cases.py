"""What each value of the chart's core has to change. ``test_core_values.py`` walks ``values.yaml`` and finds a case for each leaf."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

import attrs

from tests.helm.chart import Manifest, of_kind

OTHERS: Final = frozenset(
    {
        # Values of the gateways' wiring and of monitoring have tests of their own.
        "authorizationPolicy",
        "envoyFilter",
        "envoyGateway",
        "extensionMode",
        "gatewayExtAuthzService",
        "gatewayProvider",
        "gkeAuthz",
        "gkeExtProc",
        "grafanaDashboard",
        "prometheusRule",
    }
)
"""Sections of ``values.yaml`` that are not walked here."""

PROFILE: Final = {"name": "primary", "tokenEndpoint": "https://issuer.example.com/token"}
POD: Final = "spec/template/spec"
CONTAINER: Final = f"{POD}/containers/exchanger"


@attrs.frozen
class Case:
    """``value`` at ``path``, beside ``given``, makes ``expected`` of what ``look`` finds at ``at`` in the manifest ``kind``."""

    path: str
    value: Any
    kind: str
    at: str
    expected: Any
    given: Mapping[str, Any] = attrs.field(factory=dict)


def look(manifest: Manifest | None, at: str) -> Any:
    """Return what is at a path such as ``spec/ports/grpc-api/port``; ``None`` when nothing is.

    Steps into lists are indexes, or names of elements; ``~1`` stands for a slash, as in RFC 6901.
    """
    found: Any = manifest
    for step in at.split("/") if at else ():
        match found:
            case dict():
                found = found.get(step.replace("~1", "/"))
            case list() if step.isdecimal():
                found = found[int(step)] if int(step) < len(found) else None
            case list():
                found = next((element for element in found if element.get("name") == step), None)
            case _:
                return None
    return found


def manifest_of(manifests: list[Manifest], kind: str) -> Manifest | None:
    """Return the manifest that a case speaks of: ``Kind`` or ``Kind:part of its name``; ``Hook`` is the test's pod."""
    wanted, _, part = kind.partition(":")
    if wanted == "Hook":
        found = [manifest for manifest in manifests if manifest["kind"] == "Pod"]
    else:
        found = [manifest for manifest in of_kind(manifests, wanted) if part in manifest["metadata"]["name"]]
    return found[0] if found else None


def with_value(given: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return ``given`` with ``value`` at the dotted ``path``."""
    head, _, rest = path.partition(".")
    inner = with_value(given.get(head) or {}, rest, value) if rest else value
    return {**given, head: inner}


def in_base64(text: str) -> str:
    """Return ``text`` as a Secret has it."""
    return b64encode(text.encode()).decode()


def variable(path: str, value: Any, name: str, given: Mapping[str, Any] | None = None) -> Case:
    """Return the case of a value that is a variable of the service."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return Case(path, value, "Deployment", f"{CONTAINER}/env/{name}/value", text, given or {})


TLS: Final = {"tls": {"secretName": "edge-tls"}}
TLS_ONLY: Final = {"tls": {"secretName": "edge-tls", "only": True}}
MTLS: Final = {"tls": {"secretName": "edge-tls", "clientCA": {"secretName": "gateways"}}}
SCALED: Final = {"autoscaling": {"enabled": True}}
CONSOLE: Final = {"console": {"enabled": True}}
CONSOLE_TOKEN: Final = {"console": {"enabled": True, "token": {"secretName": "console"}}}
OTLP: Final = {"otel": {"tracesExporter": "otlp", "endpoint": "http://collector.telemetry.svc:4318"}}
OWN_SECRET: Final = {"oauth": {"createSecret": True, "clientID": "id", "clientSecret": "secret"}}
PEERS: Final = [{"namespaceSelector": {"matchLabels": {"team": "edge"}}}]
RULE: Final = {"from": PEERS, "ports": [{"port": 1}]}
PROFILES: Final = {"issuerProfiles": {"profiles": [PROFILE]}}
DUAL_STACK: Final = {"service": {"ipFamilyPolicy": "PreferDualStack"}}


def monitor(section: str, kind: str, endpoints: str) -> tuple[Case, ...]:
    """Return the cases of a monitor's section."""
    on = {section: {"enabled": True}}
    change = [{"action": "labeldrop", "regex": "pod"}]
    return (
        Case(f"{section}.enabled", True, kind, "kind", kind),
        Case(f"{section}.interval", "15s", kind, f"{endpoints}/0/interval", "15s", on),
        Case(f"{section}.scrapeTimeout", "5s", kind, f"{endpoints}/0/scrapeTimeout", "5s", on),
        Case(f"{section}.labels", {"release": "prometheus"}, kind, "metadata/labels/release", "prometheus", on),
        Case(f"{section}.annotations", {"a": "b"}, kind, "metadata/annotations/a", "b", on),
        Case(f"{section}.relabelings", change, kind, f"{endpoints}/0/relabelings", change, on),
        Case(f"{section}.metricRelabelings", change, kind, f"{endpoints}/0/metricRelabelings", change, on),
    )


CASES: Final = (
    Case("nameOverride", "authz", "Deployment", "metadata/labels/app.kubernetes.io~1name", "authz"),
    Case("fullnameOverride", "authz", "Service", "metadata/name", "authz"),
    Case("commonLabels", {"team": "edge"}, "NetworkPolicy", "metadata/labels/team", "edge"),
    Case("clusterDomain", "corp.example", "Hook", "spec/containers/health/args/2", "exchanger.edge.svc.corp.example:3001"),
    Case("image.repository", "registry.example/exchanger", "Deployment", f"{CONTAINER}/image", "registry.example/exchanger:0.1.0"),
    Case("image.registry", "mirror.example:5000", "Deployment", f"{CONTAINER}/image", "mirror.example:5000/exchanger:0.1.0"),
    Case("image.registry", "mirror.example/edge/", "Hook", "spec/containers/health/image", "mirror.example/edge/exchanger:0.1.0"),
    Case(
        "global.imageRegistry",
        "mirror.example:5000",
        "Hook",
        "spec/containers/health/image",
        "mirror.example:5000/exchanger:0.1.0",
        {"image": {"registry": "registry.example"}},
    ),
    Case("image.tag", "edge", "Deployment", f"{CONTAINER}/image", "exchanger:edge"),
    Case("image.digest", f"sha256:{'a' * 64}", "Deployment", f"{CONTAINER}/image", f"exchanger:0.1.0@sha256:{'a' * 64}"),
    Case("image.pullPolicy", "Always", "Hook", "spec/containers/health/imagePullPolicy", "Always"),
    Case("imagePullSecrets", [{"name": "registry"}], "Deployment", f"{POD}/imagePullSecrets/0/name", "registry"),
    Case("replicaCount", 5, "Deployment", "spec/replicas", 5),
    Case("revisionHistoryLimit", 1, "Deployment", "spec/revisionHistoryLimit", 1),
    Case("strategy.type", "Recreate", "Deployment", "spec/strategy", {"type": "Recreate"}),
    Case("strategy.rollingUpdate.maxUnavailable", "50%", "Deployment", "spec/strategy/rollingUpdate/maxUnavailable", "50%"),
    Case("strategy.rollingUpdate.maxSurge", 3, "Deployment", "spec/strategy/rollingUpdate/maxSurge", 3),
    Case("minReadySeconds", 9, "Deployment", "spec/minReadySeconds", 9),
    Case("deploymentAnnotations", {"a": "b"}, "Deployment", "metadata/annotations/a", "b"),
    Case("podAnnotations", {"a": "b"}, "Deployment", "spec/template/metadata/annotations/a", "b"),
    Case("podLabels", {"a": "b"}, "Deployment", "spec/template/metadata/labels/a", "b"),
    Case("rbac.create", False, "ServiceAccount", "", None),
    Case("rbac.serviceAccountName", "asks", "Deployment", f"{POD}/serviceAccountName", "asks"),
    Case("rbac.serviceAccountAnnotations", {"a": "b"}, "ServiceAccount", "metadata/annotations/a", "b"),
    Case("rbac.clusterRoleName", "authz:policies", "ClusterRoleBinding", "roleRef/name", "authz:policies"),
    Case("rbac.clusterRoleBindingName", "authz", "ClusterRoleBinding", "metadata/name", "authz"),
    Case("rbac.secrets", [{"name": "other"}], "Role:secrets", "rules/0/resourceNames", ["other"]),
    Case("serviceAccountName", "asks", "ServiceAccount", "metadata/name", "asks"),
    Case("issuerProfiles.existingConfigMap", "kept", "Deployment", f"{POD}/volumes/issuer-profiles/configMap/name", "kept"),
    Case("issuerProfiles.configMapName", "mine", "ConfigMap:mine", "metadata/name", "mine"),
    Case("issuerProfiles.fileName", "p.json", "ConfigMap:issuer-profiles", "data/p.json", "issuers: []\n"),
    Case("issuerProfiles.mountPath", "/profiles", "Deployment", f"{CONTAINER}/volumeMounts/issuer-profiles/mountPath", "/profiles"),
    Case("issuerProfiles.profiles", [PROFILE], "Role:secrets", "rules/0/resourceNames/0", "ext-authz-token-exchange-oauth"),
    Case("issuerProfiles.extraProfiles", [PROFILE], "Role:secrets", "rules/0/resourceNames/0", "ext-authz-token-exchange-oauth"),
    Case("oauth.createSecret", True, "Secret", "kind", "Secret", {"oauth": {"clientID": "id", "clientSecret": "secret"}}),
    Case("oauth.secretName", "mine", "Secret", "metadata/name", "mine", OWN_SECRET),
    Case("oauth.clientID", "other", "Secret", "data/client_id", in_base64("other"), OWN_SECRET),
    Case("oauth.clientSecret", "other", "Secret", "data/client_secret", in_base64("other"), OWN_SECRET),
    Case("oauth.existingSecret.name", "theirs", "Role:secrets", "rules/0/resourceNames/0", "theirs", PROFILES),
    Case("oauth.existingSecret.clientIDKey", "user", "Secret", "data/user", in_base64("id"), OWN_SECRET),
    Case("oauth.existingSecret.clientSecretKey", "password", "Secret", "data/password", in_base64("secret"), OWN_SECRET),
    Case("policyNamespaces", ["a"], "Role:policies", "metadata/namespace", "a"),
    variable("policy.configMapSelector", "policy=yes", "CONFIGMAP_LABEL_SELECTOR"),
    variable("policy.namespaceSelector", "policy=yes", "CONFIGMAP_NAMESPACE_SELECTOR"),
    variable("policy.maxStaleness", "10m", "POLICY_MAX_STALENESS"),
    variable("policy.required", True, "POLICY_REQUIRED"),
    variable("policy.unreadableReach", "global", "POLICY_UNREADABLE_REACH"),
    Case("policy.events", False, "ClusterRole", "rules/1", None),
    variable("tokenExchange.tokenEndpointAuthMethod", "client_secret_post", "TOKEN_ENDPOINT_AUTH_METHOD"),
    variable("tokenExchange.grantType", "urn:g", "TOKEN_EXCHANGE_GRANT_TYPE"),
    variable("tokenExchange.subjectTokenType", "urn:s", "TOKEN_EXCHANGE_SUBJECT_TOKEN_TYPE"),
    variable("tokenExchange.requireIssuedTokenType", False, "TOKEN_EXCHANGE_REQUIRE_ISSUED_TOKEN_TYPE"),
    variable("tokenExchange.expectedIssuedTokenType", "urn:i", "TOKEN_EXCHANGE_EXPECTED_ISSUED_TOKEN_TYPE"),
    variable("tokenExchange.bearerRealm", "api", "TOKEN_EXCHANGE_BEARER_REALM"),
    variable("tokenExchange.allowHttpTokenEndpoint", True, "TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT"),
    variable("tokenExchange.errorPassthrough", True, "TOKEN_EXCHANGE_ERROR_PASSTHROUGH"),
    variable("tokenExchange.allowUnauthenticatedOptions", True, "TOKEN_EXCHANGE_ALLOW_UNAUTHENTICATED_OPTIONS"),
    variable("tokenExchange.defaultDenyUnmatched", True, "TOKEN_EXCHANGE_DEFAULT_DENY_UNMATCHED"),
    variable("tokenExchange.insecureLogTokens", True, "TOKEN_EXCHANGE_INSECURE_LOG_TOKENS"),
    variable("tokenExchange.httpClient.requestTimeout", "600ms", "TOKEN_ENDPOINT_REQUEST_TIMEOUT"),
    variable("tokenExchange.httpClient.dialTimeout", "1s", "TOKEN_ENDPOINT_DIAL_TIMEOUT"),
    variable("tokenExchange.httpClient.tlsHandshakeTimeout", "1s", "TOKEN_ENDPOINT_TLS_HANDSHAKE_TIMEOUT"),
    variable("tokenExchange.httpClient.responseHeaderTimeout", "1s", "TOKEN_ENDPOINT_RESPONSE_HEADER_TIMEOUT"),
    variable("tokenExchange.httpClient.idleConnTimeout", "1m30s", "TOKEN_ENDPOINT_IDLE_CONN_TIMEOUT"),
    variable("tokenExchange.httpClient.maxIdleConns", 1000000, "TOKEN_ENDPOINT_MAX_IDLE_CONNS"),
    variable("tokenExchange.httpClient.maxIdleConnsPerHost", 0, "TOKEN_ENDPOINT_MAX_IDLE_CONNS_PER_HOST"),
    variable("tokenExchange.httpClient.connectionReuse", False, "TOKEN_ENDPOINT_CONNECTION_REUSE"),
    variable("log.format", "console", "LOG_FORMAT"),
    variable("log.level", "debug", "LOG_LEVEL"),
    variable("log.decisions", "all", "LOG_DECISIONS"),
    variable("log.healthChecks", False, "GRPC_LOG_HEALTH_CHECKS"),
    Case("metrics.enabled", False, "Deployment", f"{CONTAINER}/ports/http-metrics", None),
    variable("metrics.path", "/m", "METRICS_PATH"),
    Case("metrics.servicePort", True, "Service", "spec/ports/http-metrics/port", 3002),
    variable("otel.tracesExporter", "otlp", "OTEL_TRACES_EXPORTER", {"otel": {"endpoint": "http://c:4318"}}),
    variable("otel.metricsExporter", "otlp", "OTEL_METRICS_EXPORTER", {"otel": {"endpoint": "http://c:4318"}}),
    variable("otel.endpoint", "http://c:4318", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    variable("otel.tracesEndpoint", "http://t:4318", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
    variable("otel.metricsEndpoint", "http://m:4318", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"),
    variable("otel.serviceName", "edge", "OTEL_SERVICE_NAME"),
    variable("otel.resourceAttributes", "a=b", "OTEL_RESOURCE_ATTRIBUTES"),
    variable("otel.sdkDisabled", True, "OTEL_SDK_DISABLED"),
    Case("console.enabled", True, "Deployment", f"{CONTAINER}/env/CONSOLE_ADDRESS/value", "127.0.0.1:3003"),
    Case("console.port", 4003, "Deployment", f"{CONTAINER}/env/CONSOLE_ADDRESS/value", "127.0.0.1:4003", CONSOLE),
    Case("console.token.secretName", "sesame", "Deployment", f"{POD}/volumes/console-token/secret/secretName", "sesame", CONSOLE),
    Case(
        "console.token.key",
        "password",
        "Deployment",
        f"{CONTAINER}/env/CONSOLE_TOKEN_FILE/value",
        "/etc/exchanger/console/password",
        CONSOLE_TOKEN,
    ),
    Case("env", {"LOG_LEVEL": "debug"}, "Deployment", f"{CONTAINER}/env/LOG_LEVEL/value", "debug"),
    Case("envFrom", [{"configMapRef": {"name": "e"}}], "Deployment", f"{CONTAINER}/envFrom/0/configMapRef/name", "e"),
    Case("ports.grpc-authz.containerPort", 4001, "Deployment", f"{CONTAINER}/readinessProbe/grpc/port", 4001),
    Case("ports.grpc-authz-tls.containerPort", 4000, "Deployment", f"{CONTAINER}/ports/grpc-authz-tls/containerPort", 4000, TLS),
    Case("ports.http-metrics.containerPort", 4002, "Deployment", f"{CONTAINER}/ports/http-metrics/containerPort", 4002),
    Case("tls.secretName", "edge-tls", "Deployment", f"{POD}/volumes/tls/secret/secretName", "edge-tls"),
    Case("tls.only", True, "Service", "spec/ports/grpc-api", None, TLS),
    Case("tls.clientCA.secretName", "ca", "Deployment", f"{POD}/volumes/client-ca/secret/secretName", "ca", TLS),
    Case(
        "tls.clientCA.key",
        "roots.pem",
        "Deployment",
        f"{CONTAINER}/env/GRPC_TLS_CLIENT_CA_FILE/value",
        "/etc/exchanger/client-ca/roots.pem",
        MTLS,
    ),
    Case("service.type", "NodePort", "Service", "spec/type", "NodePort"),
    Case("service.annotations", {"a": "b"}, "Service", "metadata/annotations/a", "b"),
    Case("service.labels", {"a": "b"}, "Service", "metadata/labels/a", "b"),
    Case("service.headless", True, "Service:-headless", "spec/clusterIP", "None"),
    Case("service.ipFamilyPolicy", "PreferDualStack", "Service", "spec/ipFamilyPolicy", "PreferDualStack"),
    Case("service.ipFamilies", ["IPv6", "IPv4"], "Service", "spec/ipFamilies", ["IPv6", "IPv4"], DUAL_STACK),
    Case("service.trafficDistribution", "PreferClose", "Service", "spec/trafficDistribution", "PreferClose"),
    Case("service.ports.grpc-api.port", 80, "Service", "spec/ports/grpc-api/port", 80),
    Case("service.ports.grpc-api.appProtocol", "grpc", "Service", "spec/ports/grpc-api/appProtocol", "grpc"),
    Case("service.ports.grpc-api-tls.port", 443, "Service", "spec/ports/grpc-api-tls/port", 443, TLS),
    Case("service.ports.grpc-api-tls.appProtocol", "https", "Service", "spec/ports/grpc-api-tls/appProtocol", "https", TLS),
    Case("service.ports.http-metrics.port", 80, "Service", "spec/ports/http-metrics/port", 80, {"metrics": {"servicePort": True}}),
    Case(
        "service.ports.http-metrics.appProtocol",
        "kubernetes.io/h2c",
        "Service",
        "spec/ports/http-metrics/appProtocol",
        "kubernetes.io/h2c",
        {"metrics": {"servicePort": True}},
    ),
    Case("podSecurityContext.runAsNonRoot", False, "Deployment", f"{POD}/securityContext/runAsNonRoot", False),
    Case("podSecurityContext.runAsUser", 7, "Hook", "spec/securityContext/runAsUser", 7),
    Case("podSecurityContext.runAsGroup", 7, "Deployment", f"{POD}/securityContext/runAsGroup", 7),
    Case("podSecurityContext.fsGroup", 7, "Deployment", f"{POD}/securityContext/fsGroup", 7),
    Case("podSecurityContext.seccompProfile.type", "Localhost", "Deployment", f"{POD}/securityContext/seccompProfile/type", "Localhost"),
    Case("securityContext.allowPrivilegeEscalation", True, "Hook", "spec/containers/health/securityContext/allowPrivilegeEscalation", True),
    Case("securityContext.readOnlyRootFilesystem", False, "Deployment", f"{CONTAINER}/securityContext/readOnlyRootFilesystem", False),
    Case("securityContext.capabilities.drop", ["KILL"], "Deployment", f"{CONTAINER}/securityContext/capabilities/drop", ["KILL"]),
    Case("resources.requests.cpu", "2", "Deployment", f"{CONTAINER}/resources/requests/cpu", "2"),
    Case("resources.requests.memory", "1Gi", "Deployment", f"{CONTAINER}/resources/requests/memory", "1Gi"),
    Case("resources.limits.memory", "1Gi", "Deployment", f"{CONTAINER}/resources/limits/memory", "1Gi"),
    *(
        Case(f"{probe}.{field}", 7, "Deployment", f"{CONTAINER}/{probe}/{field}", 7)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe")
        for field in ("periodSeconds", "timeoutSeconds", "failureThreshold")
    ),
    Case("shutdown.preStopSleep", "10s", "Deployment", f"{CONTAINER}/lifecycle/preStop/exec/command/2", "10s"),
    Case("shutdown.gracePeriod", "1m0.5s", "Deployment", f"{POD}/terminationGracePeriodSeconds", 76),
    Case("terminationGracePeriodSeconds", 90, "Deployment", f"{POD}/terminationGracePeriodSeconds", 90),
    Case("priorityClassName", "system-cluster-critical", "Deployment", f"{POD}/priorityClassName", "system-cluster-critical"),
    Case("nodeSelector", {"a": "b"}, "Deployment", f"{POD}/nodeSelector/a", "b"),
    Case("tolerations", [{"key": "a", "operator": "Exists"}], "Hook", "spec/tolerations/0/key", "a"),
    Case("affinity", {"podAntiAffinity": {}}, "Deployment", f"{POD}/affinity", {"podAntiAffinity": {}}),
    Case("topologySpreadConstraints", [{"topologyKey": "rack"}], "Deployment", f"{POD}/topologySpreadConstraints/0/topologyKey", "rack"),
    Case("runtimeClassName", "gvisor", "Deployment", f"{POD}/runtimeClassName", "gvisor"),
    Case("extraVolumes", [{"name": "ca", "emptyDir": {}}], "Deployment", f"{POD}/volumes/ca/emptyDir", {}),
    Case("extraVolumeMounts", [{"name": "ca", "mountPath": "/ca"}], "Deployment", f"{CONTAINER}/volumeMounts/ca/mountPath", "/ca"),
    Case("podDisruptionBudget.enabled", False, "PodDisruptionBudget", "", None),
    Case("podDisruptionBudget.maxUnavailable", "25%", "PodDisruptionBudget", "spec/maxUnavailable", "25%"),
    Case("podDisruptionBudget.minAvailable", 1, "PodDisruptionBudget", "spec/minAvailable", 1),
    Case("autoscaling.enabled", True, "HorizontalPodAutoscaler", "spec/scaleTargetRef/name", "exchanger"),
    Case("autoscaling.minReplicas", 3, "HorizontalPodAutoscaler", "spec/minReplicas", 3, SCALED),
    Case("autoscaling.maxReplicas", 30, "HorizontalPodAutoscaler", "spec/maxReplicas", 30, SCALED),
    Case(
        "autoscaling.targetCPUUtilizationPercentage",
        50,
        "HorizontalPodAutoscaler",
        "spec/metrics/0/resource/target/averageUtilization",
        50,
        SCALED,
    ),
    Case(
        "autoscaling.targetMemoryUtilizationPercentage",
        80,
        "HorizontalPodAutoscaler",
        "spec/metrics/1/resource/target/averageUtilization",
        80,
        SCALED,
    ),
    Case(
        "autoscaling.behavior",
        {"scaleDown": {"stabilizationWindowSeconds": 600}},
        "HorizontalPodAutoscaler",
        "spec/behavior/scaleDown/stabilizationWindowSeconds",
        600,
        SCALED,
    ),
    Case("networkPolicy.enabled", False, "NetworkPolicy", "", None),
    Case("networkPolicy.ingress.gateways", PEERS, "NetworkPolicy", "spec/ingress/0/from", PEERS),
    Case("networkPolicy.ingress.monitoring", PEERS, "NetworkPolicy", "spec/ingress/2/from", PEERS),
    Case("networkPolicy.egress.dns", PEERS, "NetworkPolicy", "spec/egress/0/to", PEERS),
    Case(
        "networkPolicy.egress.dnsPorts",
        [54],
        "NetworkPolicy",
        "spec/egress/0/ports",
        [{"protocol": "UDP", "port": 54}, {"protocol": "TCP", "port": 54}],
    ),
    Case("networkPolicy.egress.apiServer.to", PEERS, "NetworkPolicy", "spec/egress/1/to", PEERS),
    Case("networkPolicy.egress.apiServer.ports", [8443], "NetworkPolicy", "spec/egress/1/ports", [{"protocol": "TCP", "port": 8443}]),
    Case("networkPolicy.egress.tokenEndpoints", [{"to": PEERS, "ports": [8]}], "NetworkPolicy", "spec/egress/2/ports/0/port", 8),
    Case("networkPolicy.egress.collector", [{"to": PEERS}], "NetworkPolicy", "spec/egress/3", {"to": PEERS}),
    Case("networkPolicy.extraIngress", [RULE], "NetworkPolicy", "spec/ingress/3", RULE),
    Case("networkPolicy.extraEgress", [{"to": PEERS}], "NetworkPolicy", "spec/egress/3", {"to": PEERS}),
    *monitor("serviceMonitor", "ServiceMonitor", "spec/endpoints"),
    *monitor("podMonitor", "PodMonitor", "spec/podMetricsEndpoints"),
    Case("tests.enabled", False, "Hook", "", None),
    Case("tests.timeout", "3s", "Hook", "spec/containers/health/args/4", "3s"),
    Case("tests.ca.secretName", "roots", "Hook", "spec/volumes/ca/secret/secretName", "roots", TLS_ONLY),
    Case("tests.ca.key", "tls.crt", "Hook", "spec/volumes/ca/secret/items/0/key", "tls.crt", TLS_ONLY),
)
