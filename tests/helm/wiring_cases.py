"""What each value of the gateways' wiring has to change, and the values that switch each wiring on."""

from collections.abc import Mapping
from typing import Any, Final

from tests.helm.cases import Case

GATEWAY: Final = "gateway.networking.k8s.io/gateway-name"
AUTHORIZATION_POLICY: Final = {"authorizationPolicy": {"enabled": True}}
SERVICE_ENTRY: Final = {**AUTHORIZATION_POLICY, "gatewayExtAuthzService": {"enabled": True}}
ALIAS: Final = {"gatewayExtAuthzService": {"enabled": True, "serviceEntry": {"enabled": False}}}
FILTER: Final = {"envoyFilter": {"enabled": True}}
PROC_FILTER: Final = {**FILTER, "extensionMode": "ext_proc"}
SECURITY_POLICY: Final = {"envoyGateway": {"enabled": True, "namespace": "gateways", "targetRefs": [{"name": "gateway"}]}}
EXTENSION_POLICY: Final = {**SECURITY_POLICY, "extensionMode": "ext_proc"}
BACKEND_TLS: Final = {
    "tls": {"secretName": "edge-tls"},
    "envoyGateway": {**SECURITY_POLICY["envoyGateway"], "tls": {"enabled": True, "caCertificateRef": {"name": "edge-ca"}}},
}
GKE: Final = {"extensionMode": "ext_proc", "gkeExtProc": {"enabled": True}}
GKE_SELF_SIGNED: Final = {**GKE, "gkeAuthz": {"callout": {"tls": {"selfSigned": {"enabled": True}, "certificate": {"enabled": False}}}}}
GKE_PLAINTEXT: Final = {
    **GKE,
    "gkeAuthz": {
        "callout": {
            "service": {"port": 3001, "targetPort": "grpc-authz", "appProtocol": "kubernetes.io/h2c"},
            "tls": {"enabled": False},
        }
    },
}
GKE_AUTHZ: Final = {"gkeAuthz": {"enabled": True}}
FORWARDED: Final = {**GKE, "gkeExtProc": {"enabled": True, "forwardAttributes": ["request.method", "request.host", "request.path"]}}

PATCH: Final = "spec/configPatches/0/patch/value/typed_config"
CALLOUT: Final = "gkeAuthz.callout"
EXTENSION: Final = "spec/extensionChains/0/extensions/0"


def selected(section: str, kind: str, at: str, on: Mapping[str, Any]) -> tuple[Case, ...]:
    """Return the cases of a section's labels and namespace."""
    return (
        Case(f"{section}.namespace", "gateways", kind, "metadata/namespace", "gateways", on),
        Case(f"{section}.workloadSelectorLabels", {GATEWAY: "edge"}, kind, f"{at}/{GATEWAY.replace('/', '~1')}", "edge", on),
        Case(f"{section}.workloadSelectorLabelsOverride", {"app": "gateway"}, kind, at, {"app": "gateway"}, on),
    )


CASES: Final = (
    Case("extensionMode", "ext_proc", "EnvoyFilter", "metadata/name", "edge.exchanger-ext-proc", FILTER),
    Case("gatewayProvider", "gke-gateway", "GCPTrafficExtension", "kind", "GCPTrafficExtension"),
    Case("authorizationPolicy.enabled", True, "AuthorizationPolicy", "spec/action", "CUSTOM"),
    *selected("authorizationPolicy", "AuthorizationPolicy", "spec/selector/matchLabels", AUTHORIZATION_POLICY),
    Case("authorizationPolicy.providerName", "mine", "AuthorizationPolicy", "spec/provider/name", "mine", AUTHORIZATION_POLICY),
    Case(
        "authorizationPolicy.rules",
        [{"to": [{"operation": {"hosts": ["a.example"]}}]}],
        "AuthorizationPolicy",
        "spec/rules",
        [{"to": [{"operation": {"hosts": ["a.example"]}}]}],
        AUTHORIZATION_POLICY,
    ),
    Case("gatewayExtAuthzService.enabled", True, "ServiceEntry", "spec/ports/0/number", 3001),
    Case("gatewayExtAuthzService.namespace", "g", "ServiceEntry", "spec/hosts/0", "gateway-ext-authz.g.svc.cluster.local", SERVICE_ENTRY),
    Case("gatewayExtAuthzService.name", "mine", "ServiceEntry", "spec/hosts/0", "mine.istio-ingress.svc.cluster.local", SERVICE_ENTRY),
    Case("gatewayExtAuthzService.externalName", "a.example", "ServiceEntry", "spec/endpoints/0/address", "a.example", SERVICE_ENTRY),
    Case("gatewayExtAuthzService.port", 80, "ServiceEntry", "spec/ports/0/number", 80, SERVICE_ENTRY),
    Case(
        "gatewayExtAuthzService.targetPort",
        "4001",
        "ServiceEntry",
        "spec/endpoints/0/ports/grpc",
        4001,
        {"gatewayExtAuthzService": {"enabled": True, "externalName": "a.example"}},
    ),
    Case("gatewayExtAuthzService.appProtocol", "http2", "Service:gateway-ext-authz", "spec/ports/grpc/appProtocol", "http2", ALIAS),
    Case("gatewayExtAuthzService.serviceEntry.enabled", False, "Service:gateway-ext-authz", "spec/type", "ExternalName", SERVICE_ENTRY),
    Case("gatewayExtAuthzService.serviceEntry.location", "MESH_EXTERNAL", "ServiceEntry", "spec/location", "MESH_EXTERNAL", SERVICE_ENTRY),
    Case(
        "gatewayExtAuthzService.serviceEntry.resolution",
        "DNS_ROUND_ROBIN",
        "ServiceEntry",
        "spec/resolution",
        "DNS_ROUND_ROBIN",
        SERVICE_ENTRY,
    ),
    Case("gatewayExtAuthzService.serviceEntry.protocol", "HTTP2", "ServiceEntry", "spec/ports/grpc/protocol", "HTTP2", SERVICE_ENTRY),
    Case("envoyFilter.enabled", True, "EnvoyFilter", "kind", "EnvoyFilter"),
    *selected("envoyFilter", "EnvoyFilter", "spec/workloadSelector/labels", FILTER),
    Case("envoyFilter.timeout", "1m1500ms", "EnvoyFilter", f"{PATCH}/grpc_service/timeout", "61.5s", FILTER),
    Case("envoyFilter.statusOnError", 500, "EnvoyFilter", f"{PATCH}/status_on_error/code", 500, FILTER),
    Case("envoyFilter.normalizePaths", False, "EnvoyFilter", "spec/configPatches/1", None, FILTER),
    Case("envoyFilter.extAuthz.clearRouteCache", False, "EnvoyFilter", f"{PATCH}/clear_route_cache", False, FILTER),
    Case("envoyFilter.extProc.clearRouteCache", False, "EnvoyFilter", f"{PATCH}/route_cache_action", "RETAIN", PROC_FILTER),
    Case("envoyGateway.enabled", True, "SecurityPolicy", "kind", "SecurityPolicy", {"envoyGateway": {"targetRefs": [{"name": "gateway"}]}}),
    Case("envoyGateway.namespace", "g", "ReferenceGrant", "spec/from/0/namespace", "g", SECURITY_POLICY),
    Case(
        "envoyGateway.targetRefs",
        [{"kind": "HTTPRoute", "name": "orders", "sectionName": "v1"}],
        "SecurityPolicy",
        "spec/targetRefs",
        [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "orders", "sectionName": "v1"}],
        SECURITY_POLICY,
    ),
    Case("envoyGateway.timeout", "1m1500ms", "SecurityPolicy", "spec/extAuth/timeout", "61500ms", SECURITY_POLICY),
    Case("envoyGateway.statusOnError", 0, "SecurityPolicy", "spec/extAuth/statusOnError", None, SECURITY_POLICY),
    Case("envoyGateway.recomputeRoute", True, "SecurityPolicy", "spec/extAuth/recomputeRoute", True, SECURITY_POLICY),
    Case("envoyGateway.headersToExtAuth", ["cookie"], "SecurityPolicy", "spec/extAuth/headersToExtAuth", ["cookie"], SECURITY_POLICY),
    Case("envoyGateway.tls.enabled", False, "BackendTLSPolicy", "", None, BACKEND_TLS),
    Case("envoyGateway.tls.hostname", "a.example", "BackendTLSPolicy", "spec/validation/hostname", "a.example", BACKEND_TLS),
    Case(
        "envoyGateway.tls.caCertificateRef.kind",
        "Secret",
        "BackendTLSPolicy",
        "spec/validation/caCertificateRefs/0/kind",
        "Secret",
        BACKEND_TLS,
    ),
    Case("envoyGateway.tls.caCertificateRef.name", "b", "BackendTLSPolicy", "spec/validation/caCertificateRefs/0/name", "b", BACKEND_TLS),
    Case("gkeAuthz.enabled", True, "HealthCheckPolicy", "kind", "HealthCheckPolicy"),
    Case(
        f"{CALLOUT}.sourceRanges",
        ["10.129.0.0/23"],
        "NetworkPolicy:gke-callout",
        "spec/ingress/0/from",
        [{"ipBlock": {"cidr": "10.129.0.0/23"}}],
        GKE,
    ),
    Case(f"{CALLOUT}.service.name", "callout", "BackendTLSPolicy", "spec/targetRefs/0/name", "callout", GKE),
    Case(f"{CALLOUT}.service.port", 443, "GCPTrafficExtension", f"{EXTENSION}/backendRef/port", 443, GKE),
    Case(
        f"{CALLOUT}.service.targetPort",
        "grpc-authz",
        "Service:gateway-ext-authz",
        "spec/ports/0/targetPort",
        "grpc-authz",
        {**GKE, "gkeAuthz": {"callout": {"tls": {"enabled": False}, "service": {"port": 3001}}}, "tls": {"secretName": "t"}},
    ),
    Case(
        f"{CALLOUT}.service.appProtocol",
        "kubernetes.io/h2c",
        "Service:gateway-ext-authz",
        "spec/ports/0/appProtocol",
        "kubernetes.io/h2c",
        GKE,
    ),
    Case(f"{CALLOUT}.tls.enabled", False, "Certificate", "", None, {**GKE, "tls": {"secretName": "gateway-ext-authz-tls"}}),
    Case(
        f"{CALLOUT}.tls.port", 3443, "Deployment", "spec/template/spec/containers/exchanger/ports/grpc-authz-tls/containerPort", 3443, GKE
    ),
    Case(f"{CALLOUT}.tls.secretName", "mine", "Deployment", "spec/template/spec/volumes/tls/secret/secretName", "mine", GKE),
    Case(
        f"{CALLOUT}.tls.selfSigned.enabled",
        True,
        "Secret",
        "type",
        "kubernetes.io/tls",
        {**GKE_SELF_SIGNED, "gkeAuthz": {"callout": {"tls": {"certificate": {"enabled": False}}}}},
    ),
    Case(f"{CALLOUT}.tls.backendTLSPolicy.enabled", False, "BackendTLSPolicy", "", None, GKE),
    Case(f"{CALLOUT}.tls.certificate.enabled", False, "Certificate", "", None, GKE),
    Case(f"{CALLOUT}.tls.certificate.issuerName", "mine", "Certificate", "spec/issuerRef/name", "mine", GKE),
    Case(f"{CALLOUT}.tls.certificate.issuerKind", "ClusterIssuer", "Issuer", "", None, GKE),
    Case(
        f"{CALLOUT}.tls.certificate.dnsNames", ["a.example", "b.example"], "BackendTLSPolicy", "spec/validation/hostname", "a.example", GKE
    ),
    Case(f"{CALLOUT}.healthCheck.enabled", False, "HealthCheckPolicy", "", None, GKE),
    Case(
        f"{CALLOUT}.healthCheck.portSpecification",
        "USE_SERVING_PORT",
        "HealthCheckPolicy",
        "spec/default/config/grpcHealthCheck",
        {"portSpecification": "USE_SERVING_PORT"},
        GKE,
    ),
    Case(f"{CALLOUT}.healthCheck.checkIntervalSec", 9, "HealthCheckPolicy", "spec/default/checkIntervalSec", 9, GKE),
    Case(f"{CALLOUT}.healthCheck.timeoutSec", 2, "HealthCheckPolicy", "spec/default/timeoutSec", 2, GKE),
    Case(f"{CALLOUT}.healthCheck.healthyThreshold", 3, "HealthCheckPolicy", "spec/default/healthyThreshold", 3, GKE),
    Case(f"{CALLOUT}.healthCheck.unhealthyThreshold", 4, "HealthCheckPolicy", "spec/default/unhealthyThreshold", 4, GKE),
    Case(f"{CALLOUT}.healthCheck.logConfig.enabled", False, "HealthCheckPolicy", "spec/default/logConfig/enabled", False, GKE),
    Case(f"{CALLOUT}.backendPolicy.enabled", False, "GCPBackendPolicy", "", None, GKE),
    Case(
        f"{CALLOUT}.backendPolicy.connectionDraining.drainingTimeoutSec",
        60,
        "GCPBackendPolicy",
        "spec/default/connectionDraining/drainingTimeoutSec",
        60,
        GKE,
    ),
    Case("gkeExtProc.enabled", True, "GCPTrafficExtension", "kind", "GCPTrafficExtension", {"extensionMode": "ext_proc"}),
    Case("gkeExtProc.name", "mine", "GCPTrafficExtension", "metadata/name", "mine", GKE),
    Case("gkeExtProc.chainName", "mine", "GCPTrafficExtension", "spec/extensionChains/0/name", "mine", GKE),
    Case("gkeExtProc.extensionName", "mine", "GCPTrafficExtension", f"{EXTENSION}/name", "mine", GKE),
    Case("gkeExtProc.timeout", "1500ms", "GCPTrafficExtension", f"{EXTENSION}/timeout", "1500ms", GKE),
    Case(
        "gkeExtProc.host",
        "API.example.com",
        "GCPTrafficExtension",
        "spec/extensionChains/0/matchCondition/celExpressions/0/celMatcher",
        "request.host.lowerAscii().contains('api.example.com')",
        GKE,
    ),
    Case("gkeExtProc.gateway.name", "mine", "GCPTrafficExtension", "spec/targetRefs/0/name", "mine", GKE),
    Case(
        "gkeExtProc.supportedEvents",
        ["RequestHeaders", "ResponseHeaders"],
        "GCPTrafficExtension",
        f"{EXTENSION}/supportedEvents/1",
        "ResponseHeaders",
        GKE,
    ),
    Case(
        "gkeExtProc.forwardHeaders", ["Authorization"], "GCPTrafficExtension", f"{EXTENSION}/forwardHeaders/0", "Authorization", FORWARDED
    ),
    Case("gkeExtProc.forwardAttributes", ["request.path"], "GCPTrafficExtension", f"{EXTENSION}/forwardAttributes/0", "request.path", GKE),
)
