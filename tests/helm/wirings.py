"""Values that switch each wiring of a gateway on, and values files that were written for the reference's chart."""

from collections.abc import Mapping
from typing import Any, Final

from tests.helm.cases import PROFILE

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

CALLOUT: Final = {"Service", "HealthCheckPolicy", "GCPBackendPolicy", "NetworkPolicy"}
CERTIFIED: Final = CALLOUT | {"BackendTLSPolicy", "Certificate", "Issuer"}
MODES: Final[dict[str, tuple[Mapping[str, Any], set[str]]]] = {
    "nothing": ({}, set()),
    "istio's provider": (AUTHORIZATION_POLICY, {"AuthorizationPolicy"}),
    "istio's provider with a host": (SERVICE_ENTRY, {"AuthorizationPolicy", "ServiceEntry"}),
    "an alias as the host": (ALIAS, {"Service"}),
    "istio by name": ({"gatewayProvider": "local-istio"}, {"AuthorizationPolicy", "ServiceEntry"}),
    "istio by name, ext_proc": ({"gatewayProvider": "local-istio", **PROC_FILTER}, {"EnvoyFilter"}),
    "istio's filter": (FILTER, {"EnvoyFilter"}),
    "istio's filter, ext_proc": (PROC_FILTER, {"EnvoyFilter"}),
    "envoy gateway": (SECURITY_POLICY, {"SecurityPolicy", "ReferenceGrant"}),
    "envoy gateway in the namespace": (
        {"envoyGateway": {**SECURITY_POLICY["envoyGateway"], "namespace": ""}},
        {"SecurityPolicy"},
    ),
    "envoy gateway, ext_proc": (EXTENSION_POLICY, {"EnvoyExtensionPolicy", "ReferenceGrant"}),
    "envoy gateway with tls": (BACKEND_TLS, {"SecurityPolicy", "ReferenceGrant", "BackendTLSPolicy"}),
    "gke": (GKE, CERTIFIED | {"GCPTrafficExtension"}),
    "gke by name": ({"gatewayProvider": "gke-gateway"}, CERTIFIED | {"GCPTrafficExtension"}),
    "gke by name, with the reference's defaults for istio": (
        {"gatewayProvider": "gke-gateway", "extensionMode": "ext_authz", "gatewayExtAuthzService": {"enabled": True}},
        CERTIFIED | {"GCPTrafficExtension"},
    ),
    "gke with a certificate of ours": (GKE_SELF_SIGNED, CALLOUT | {"BackendTLSPolicy", "Secret", "GCPTrafficExtension"}),
    "gke without tls": (GKE_PLAINTEXT, CALLOUT | {"GCPTrafficExtension"}),
    "gke's authorization extension": (GKE_AUTHZ, CERTIFIED),
}

ANOTHER_NAME: Final = (
    "istio's provider",
    "istio's filter",
    "istio's filter, ext_proc",
    "envoy gateway",
    "gke",
    "gke's authorization extension",
)

REFERENCE_CALLOUT: Final[dict[str, Any]] = {
    "service": {"name": "gateway-ext-authz", "port": 3000, "targetPort": "grpc-authz-tls", "appProtocol": "HTTP2"},
    "tls": {
        "enabled": True,
        "port": 3000,
        "secretName": "gateway-ext-authz-tls",
        "mountPath": "/etc/ext-authz-token-exchange/tls",
        "selfSigned": {"enabled": True, "validityDays": 3650},
        "backendTLSPolicy": {"enabled": False},
        "certificate": {
            "enabled": False,
            "issuerName": "gateway-ext-authz-selfsigned",
            "issuerKind": "Issuer",
            "dnsNames": ["gateway-ext-authz.gke-gateway.svc.cluster.local"],
        },
    },
    "healthCheck": {"enabled": True, "port": 3001, "portSpecification": "USE_FIXED_PORT", "checkIntervalSec": 5, "timeoutSec": 3},
    "backendPolicy": {"enabled": False},
}
REFERENCE_GKE: Final[dict[str, Any]] = {
    "gatewayProvider": "gke-gateway",
    "extensionMode": "ext_proc",
    "gkeExtProc": {"enabled": True, "failOpen": False, "host": "httpbin.example.test", "gateway": {"name": "gateway"}},
    "gkeAuthz": {
        "enabled": False,
        "gateway": {"name": "gateway", "namespace": "gke-gateway", "sectionName": "https"},
        "host": "httpbin.example.test",
        "callout": REFERENCE_CALLOUT,
    },
}
REFERENCE: Final[dict[str, Any]] = {
    "image": {"repository": "registry.example/authz", "pullPolicy": "IfNotPresent"},
    "deployments": {"default": {"enabled": True}},
    "deploymentAnnotations": {"reloader.stakater.com/auto": "true"},
    "serviceAccountName": "ext-authz-token-exchange",
    "podSecurityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
    "ports": {
        "grpc-authz-tls": {"enabled": False, "containerPort": 3000},
        "grpc-authz": {"containerPort": 3001},
        "http-metrics": {"containerPort": 3002},
    },
    "readinessProbe": {"grpc": {"port": 3001}, "initialDelaySeconds": 1, "periodSeconds": 2, "failureThreshold": 3},
    "resources": {"requests": {"cpu": "200m", "memory": "128Mi"}, "limits": {"cpu": "1000m", "memory": "1024Mi"}},
    "service": {
        "type": "ClusterIP",
        "ports": {
            "grpc-api": {"port": 3001, "targetPort": "grpc-authz", "appProtocol": "grpc"},
            "http-metrics": {"port": 3002, "targetPort": "http-metrics", "appProtocol": "http"},
        },
    },
    "oauth": {
        "createSecret": False,
        "secretName": "ext-authz-token-exchange-oauth",
        "clientID": "",
        "clientSecret": "",
        "existingSecret": {"name": "ext-authz-token-exchange-oauth", "clientIDKey": "client_id", "clientSecretKey": "client_secret"},
    },
    "issuerProfiles": {
        "configMapName": "",
        "fileName": "issuers.yaml",
        "mountPath": "/etc/ext-authz-token-exchange",
        "profiles": [
            {
                **PROFILE,
                "clientIDSecretRef": {"name": "a", "key": "b"},
                "clientSecretSecretRef": {"name": "a", "key": "c"},
                "bearerRealm": "",
            }
        ],
        "extraProfiles": [],
    },
    "env": {"GRPC_LOG_HEALTH_CHECKS": "true", "METRICS_ENABLED": "true", "METRICS_PATH": "/metrics", "METRICS_PORT": "3002"},
    "rbac": {"create": True, "serviceAccountName": "ext-authz-token-exchange", "clusterRoleName": "", "clusterRoleBindingName": ""},
    "serviceMonitor": {"enabled": True, "interval": "30s", "scrapeTimeout": "10s", "labels": {"release": "prometheus"}},
}
"""Every value of the reference's core, with the shape and mostly the text that it has there."""
