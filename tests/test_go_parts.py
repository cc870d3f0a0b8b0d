"""What users of the Go service bring along is read here, and each part of that project has tests here or a reason why it is left out.

The names are those of ``ext-authz-token-exchange`` 0.6.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from exchanger.app.settings import read_settings
from exchanger.operations.telemetry.metrics import Metrics
from tests.operations.telemetry.gauges import SOMETHING

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "how-to" / "move-from-go.md"
# By subject, what a part is, with the tests that cover it or the reason why it is left out.
PARTS: Final[dict[str, dict[str, list[str] | str]]] = yaml.safe_load((ROOT / "tests" / "reference" / "parts.yaml").read_text())

VARIABLES: Final = {
    *("GRPC_PORT", "GRPC_TLS_PORT", "GRPC_TLS_CERT_FILE", "GRPC_TLS_KEY_FILE", "GRPC_LOG_HEALTH_CHECKS", "POD_NAMESPACE"),
    *("CONFIGMAP_LABEL_SELECTOR", "CONFIGMAP_NAMESPACE_SELECTOR", "METRICS_ENABLED", "METRICS_PORT", "METRICS_PATH"),
    *("TOKEN_EXCHANGE_ISSUER_PROFILES_FILE", "TOKEN_EXCHANGE_GRANT_TYPE", "TOKEN_EXCHANGE_SUBJECT_TOKEN_TYPE"),
    *("TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT", "TOKEN_EXCHANGE_ERROR_PASSTHROUGH", "TOKEN_EXCHANGE_INSECURE_LOG_TOKENS"),
    *("TOKEN_EXCHANGE_REQUIRE_ISSUED_TOKEN_TYPE", "TOKEN_EXCHANGE_EXPECTED_ISSUED_TOKEN_TYPE", "TOKEN_EXCHANGE_BEARER_REALM"),
    *("TOKEN_EXCHANGE_ALLOW_UNAUTHENTICATED_OPTIONS", "TOKEN_EXCHANGE_DEFAULT_DENY_UNMATCHED"),
    *("TOKEN_ENDPOINT_AUTH_METHOD", "TOKEN_ENDPOINT_REQUEST_TIMEOUT", "TOKEN_ENDPOINT_DIAL_TIMEOUT"),
    *("TOKEN_ENDPOINT_TLS_HANDSHAKE_TIMEOUT", "TOKEN_ENDPOINT_RESPONSE_HEADER_TIMEOUT", "TOKEN_ENDPOINT_IDLE_CONN_TIMEOUT"),
    *("TOKEN_ENDPOINT_MAX_IDLE_CONNS", "TOKEN_ENDPOINT_MAX_IDLE_CONNS_PER_HOST"),
    *("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SDK_DISABLED"),
    *("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"),
}
METRICS: Final = {
    *("ext_authz_check_requests_total", "ext_authz_check_duration_seconds", "ext_authz_check_in_flight"),
    *("ext_authz_token_exchange_requests_total", "ext_authz_token_exchange_latency_seconds"),
    *("ext_authz_token_exchange_timeouts_total", "ext_authz_token_exchange_context_cancellations_total"),
    "ext_authz_token_exchange_in_flight",
}

LABELS: Final = "workloadSelectorLabels workloadSelectorLabelsOverride"
CALLOUT: Final = "gkeAuthz.callout"
# Names in the values of its chart, by the section that they are in.
VALUES: Final = {
    "image": "repository tag pullPolicy digest registry",
    "global": "imageRegistry",
    "": "gatewayProvider extensionMode deploymentAnnotations serviceAccountName podSecurityContext securityContext resources env",
    "deployments.default": "enabled",
    "ports.grpc-authz": "containerPort",
    "ports.grpc-authz-tls": "enabled containerPort",
    "ports.http-metrics": "containerPort",
    "livenessProbe": "grpc initialDelaySeconds periodSeconds failureThreshold",
    "readinessProbe": "grpc initialDelaySeconds periodSeconds failureThreshold",
    "service": "type",
    "service.ports.grpc-api": "port targetPort appProtocol",
    "service.ports.http-metrics": "port targetPort appProtocol",
    "oauth": "createSecret secretName clientID clientSecret",
    "oauth.existingSecret": "name clientIDKey clientSecretKey",
    "issuerProfiles": "configMapName mountPath fileName profiles extraProfiles",
    "rbac": "create serviceAccountName clusterRoleName clusterRoleBindingName",
    "envoyFilter": f"enabled namespace timeout {LABELS}",
    "envoyFilter.extProc": "failureModeAllow clearRouteCache",
    "authorizationPolicy": f"enabled namespace providerName rules {LABELS}",
    "gatewayExtAuthzService": "enabled namespace name type externalName port targetPort appProtocol",
    "gatewayExtAuthzService.serviceEntry": "enabled location resolution protocol",
    "gkeAuthz": "enabled host",
    "gkeAuthz.gateway": "name namespace sectionName",
    f"{CALLOUT}.service": "name port targetPort appProtocol",
    f"{CALLOUT}.tls": "enabled port secretName mountPath",
    f"{CALLOUT}.tls.selfSigned": "enabled validityDays",
    f"{CALLOUT}.tls.backendTLSPolicy": "enabled",
    f"{CALLOUT}.tls.certificate": "enabled issuerName issuerKind dnsNames",
    f"{CALLOUT}.healthCheck": "enabled port portSpecification checkIntervalSec timeoutSec healthyThreshold unhealthyThreshold",
    f"{CALLOUT}.healthCheck.logConfig": "enabled",
    f"{CALLOUT}.backendPolicy": "enabled",
    f"{CALLOUT}.backendPolicy.connectionDraining": "drainingTimeoutSec",
    "gkeExtProc": "enabled name chainName extensionName timeout failOpen host supportedEvents forwardHeaders forwardAttributes",
    "gkeExtProc.gateway": "name",
    "serviceMonitor": "enabled interval scrapeTimeout labels",
    "grafanaDashboard": "enabled name labels annotations datasourceUid pluginJob gatewayJob gatewayWorkload providerCluster "
    "envoyTimeoutMs tokenEndpointTimeoutSeconds",
}
LIBRARY: Final = {
    *("nameOverride", "fullnameOverride", "imagePullSecrets", "replicaCount", "strategy", "revisionHistoryLimit", "minReadySeconds"),
    *("podAnnotations", "podLabels", "nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "priorityClassName"),
    *("runtimeClassName", "terminationGracePeriodSeconds", "startupProbe", "envFrom", "autoscaling"),
}
# What its library chart takes and this one does not.
REFUSED: Final = {
    *("volumes", "volumeMounts", "lifecycle", "initContainers", "sidecarContainers", "command", "args", "workingDir", "hostNetwork"),
    *("hostPID", "hostname", "subdomain", "dnsPolicy", "dnsConfig", "schedulerName", "restartPolicy", "activeDeadlineSeconds"),
    *("progressDeadlineSeconds", "autoscaling.metrics", "deployments.default.replicaCount"),
}

# Other parts of that project.
NAMED: Final = {
    "variables that nothing reads": "OAUTH_CLIENT_ID OAUTH_CLIENT_SECRET",
    "variables of the platform": "HTTPS_PROXY HTTP_PROXY NO_PROXY",
    "variables of the fake token endpoint": "FAKE_TOKEN_ENDPOINT_ADDR FAKE_TOKEN_ENDPOINT_CLIENT_ID FAKE_TOKEN_ENDPOINT_CLIENT_SECRET "
    "FAKE_TOKEN_ENDPOINT_CONFIG",
    "variables of the demo": "DEMO_BASE_URL DEMO_SCENARIO_CONFIG DEMO_NAMESPACE_PREFIX DEMO_SYSTEM_NAMESPACE DEMO_PLUGIN_NAMESPACE "
    "DEMO_PLUGIN_DEPLOYMENT DEMO_DIRECT_ADDRESS DEMO_INSECURE_SKIP_VERIFY DEMO_DASHBOARD_ADDR DEMO_KEYCLOAK_BASE_URL DEMO_KEYCLOAK_REALM "
    "DEMO_KEYCLOAK_ISSUER DEMO_KEYCLOAK_USER DEMO_KEYCLOAK_PASSWORD DEMO_KEYCLOAK_CLIENT_ID "
    "DEMO_KEYCLOAK_SUBJECT_CLIENT_ID DEMO_KEYCLOAK_SUBJECT_CLIENT_SECRET "
    "DEMO_KEYCLOAK_SHORT_TTL_CLIENT_ID DEMO_KEYCLOAK_SHORT_TTL_CLIENT_SECRET",
    "variables of its tests": "E2E_BASE_URL E2E_HOST E2E_DIRECT_ADDRESS E2E_NAMESPACE_PREFIX E2E_RELEASE "
    "E2E_NAMESPACE E2E_DEMO_RELEASE "
    "E2E_DEMO_NAMESPACE E2E_PLUGIN_IMAGE E2E_FAKE_TOKEN_ENDPOINT_IMAGE E2E_OAUTH_CLIENT_ID E2E_OAUTH_CLIENT_SECRET "
    "E2E_SKIP_INSTALL E2E_SKIP_CLEANUP E2E_INSECURE_SKIP_VERIFY E2E_KEYCLOAK_BASE_URL E2E_KEYCLOAK_ISSUER E2E_KEYCLOAK_NAME "
    "E2E_KEYCLOAK_REALM E2E_KEYCLOAK_CLIENT_ID E2E_KEYCLOAK_CLIENT_SECRET E2E_KEYCLOAK_SUBJECT_CLIENT_ID "
    "E2E_KEYCLOAK_SUBJECT_CLIENT_SECRET E2E_KEYCLOAK_SHORT_TTL_CLIENT_ID E2E_KEYCLOAK_SHORT_TTL_CLIENT_SECRET "
    "E2E_KEYCLOAK_AUDIENCE_CLIENT_ID E2E_KEYCLOAK_USER E2E_KEYCLOAK_PASSWORD "
    "E2E_EXPECT_INSECURE_TOKEN_LOGS E2E_STRESS_CONCURRENCY E2E_STRESS_DURATION E2E_STRESS_REQUEST_TIMEOUT "
    "SMOKE_MODE SMOKE_CLUSTER_NAME",
    "programs": "ext-authz-token-exchange-service fake-token-endpoint demo-dashboard",
    "profiles": "with-infra with-test with-keycloak ext-proc gke gke-platform gke-app",
    "commands": "setup generate compile build test coverage actionlint lint helm-verify verify smoke test-e2e gke-smoke stress-e2e "
    "demo-dashboard start build-images deploy dev helm k k9s logs",
    "variables of DevSpace": "REGISTRY DEV_REGISTRY DEV_REGISTRY_IMAGE_PREFIX IMAGE_NAME FAKE_TOKEN_ENDPOINT_IMAGE_NAME IMAGE_TAG DEV_TAG "
    "PROD_TAG GATEWAY_PROVIDER GATEWAY_NAMESPACE GKE_GATEWAY_NAME GKE_GATEWAY_NAMESPACE DEPLOYMENT_DOMAIN HOST_INTEGRATION",
    "scripts": "scripts/devspace-pipeline.sh scripts/docker-entrypoint.sh scripts/gke-authz.sh "
    "scripts/run-demo-dashboard.sh scripts/run-gke-smoke.sh scripts/starter-pack-env.sh scripts/verify-gke-deployment-model.sh",
    "files": "Dockerfile devspace.yaml go.mod renovate.json release-please-config.json .pre-commit-config.yaml docs/policy.schema.json "
    "charts/ext-authz-token-exchange charts/ext-authz-token-exchange-e2e charts/keycloak deploy/gke-service-extensions/ "
    "test/e2e/ test/e2e/cmd/smoke test/e2e/demo-scenarios.yaml",
    "values of the demo": "host namespacePrefix systemNamespace teams additionalScenarios teamApp platformRoutes demoRoute "
    "unselectedNamespaces gateway.enabled fakeTokenEndpoint.routes "
    "fakeTokenEndpoint.defaultResponse fakeTokenEndpoint.env policy.labelKey policy.httpbinResourceBase pluginNamespace testUser gkeIap "
    "gkeHealthCheck clients.subject clients.shortTTLSubject clients.exchanger clients.audience keycloak.externalURL secret.name",
    "workflows": "ci.yml smoke.yml release-please.yml test-published-chart.yml actions/setup-helm",
    "pages": "README.md docs/configuration.md COMPATIBILITY.md DEVELOPMENT.md docs/development.md docs/implementation.md docs/devspace.md "
    "docs/tracing.md docs/gke-service-extensions.md docs/gke-platform-demo.md test/e2e/README.md CHANGELOG.md",
}


class Asked(dict[str, str]):
    """Variables that remember which of them were asked for."""

    def __init__(self, **variables: str) -> None:
        super().__init__(variables)
        self.names: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.names.add(key)
        return super().get(key, default)


def values() -> Iterator[str]:
    """Return the full names of ``VALUES``."""
    for section, names in VALUES.items():
        for name in names.split():
            yield f"{section}.{name}" if section else name


def accepts(name: str) -> bool:
    """Return whether the chart's schema has a place for the value ``name``."""
    whole = json.loads((ROOT / "helm" / "exchanger" / "values.schema.json").read_text())
    schema: Any = whole
    for part in name.split("."):
        while "$ref" in schema:
            schema = whole["$defs"][schema["$ref"].rpartition("/")[2]]
        if part not in schema.get("properties", {}):
            return schema.get("additionalProperties", True) is not False
        schema = schema["properties"][part]
    return True


def words(text: str) -> set[str]:
    return set(re.split(r"[,:]? ", text))


def parts() -> set[str]:
    """Return the names of all parts."""
    return set().union(*(words(part) for subject in PARTS.values() for part in subject))


def test_every_variable_is_read() -> None:
    asked = Asked(OTEL_TRACES_EXPORTER="otlp", OTEL_METRICS_EXPORTER="otlp", METRICS_ENABLED="true")
    read_settings(asked)
    assert VARIABLES - asked.names == set()


def test_every_metric_is_exposed() -> None:
    metrics = Metrics("1.2.3", SOMETHING)
    families = text_string_to_metric_families(generate_latest(metrics).decode())
    names = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    assert METRICS - names == set()


def test_the_chart_takes_every_value_of_the_old_one() -> None:
    assert [name for name in (*values(), *LIBRARY) if not accepts(name)] == []


def test_the_chart_refuses_what_the_page_says() -> None:
    assert [name for name in REFUSED if accepts(name)] == []


def test_the_page_names_each_value_that_the_chart_refuses() -> None:
    assert set(re.findall(r"`([^`\n]+)`", PAGE.read_text())) >= REFUSED


def test_each_part_of_the_go_project_is_listed() -> None:
    listed = parts()
    assert VARIABLES - listed == set()
    assert [name for names in NAMED.values() for name in names.split() if name not in listed] == []


def test_no_part_is_listed_that_the_go_project_does_not_have() -> None:
    known = {*VARIABLES, *(name for names in NAMED.values() for name in names.split())}
    for subject in PARTS.values():
        for part in subject:
            if not part.endswith("before 0.6"):
                assert {name for name in words(part) if re.match(r"(E2E|DEMO|FAKE|TOKEN)_|scripts/|test/", name)} - known == set(), part


def test_each_part_has_existing_tests_or_a_reason_for_absence() -> None:
    for subject in PARTS.values():
        for part, shown in subject.items():
            if isinstance(shown, str):
                assert shown, part
            else:
                assert shown, part
                assert [name for name in shown if not name.startswith("tests/") or not (ROOT / name).exists()] == [], part


def test_devspace_commands_and_profiles_of_the_go_service_exist_or_are_explained() -> None:
    config = yaml.safe_load((ROOT / "devspace.yaml").read_text())
    offered = {*config["commands"], *(profile["name"] for profile in config["profiles"])}
    left_out = set().union(*(words(part) for part, shown in PARTS["DevSpace"].items() if isinstance(shown, str)))
    for name in (*NAMED["commands"].split(), *NAMED["profiles"].split()):
        assert (name in offered) != (name in left_out), name
