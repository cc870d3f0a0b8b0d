"""Values files that were written for the reference's chart keep their meaning in the sections that wire gateways."""

from typing import Any, Final

import pytest

from tests.helm.cases import look
from tests.helm.chart import of_kind, only, render
from tests.helm.wiring_cases import PATCH

pytestmark = [pytest.mark.helm]

CALLOUT: Final[dict[str, Any]] = {
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
PLATFORM: Final[dict[str, Any]] = {
    "gatewayProvider": "gke-gateway",
    "extensionMode": "ext_proc",
    "gkeExtProc": {"enabled": True, "failOpen": False, "host": "httpbin.example.test", "gateway": {"name": "gateway"}},
    "gkeAuthz": {
        "enabled": False,
        "gateway": {"name": "gateway", "namespace": "gke-gateway", "sectionName": "https"},
        "host": "httpbin.example.test",
        "callout": CALLOUT,
    },
}


def test_a_file_for_a_gke_gateway_makes_the_same_callout() -> None:
    manifests = render(PLATFORM, namespace="gke-gateway")
    kinds = ("BackendTLSPolicy", "GCPBackendPolicy", "Certificate", "Issuer", "AuthorizationPolicy", "ServiceEntry", "EnvoyFilter")
    assert [kind for kind in kinds if of_kind(manifests, kind)] == []
    assert only(manifests, "Secret")["type"] == "kubernetes.io/tls"
    ports = only(manifests, "Service", "gateway-ext-authz")["spec"]["ports"]
    assert (ports[0]["port"], ports[0]["targetPort"], ports[0]["appProtocol"]) == (3000, "grpc-authz-tls", "HTTP2")
    assert look(only(manifests, "HealthCheckPolicy"), "spec/default/config/grpcHealthCheck/port") == 3001
    chain = only(manifests, "GCPTrafficExtension")["spec"]["extensionChains"][0]
    (extension,) = chain["extensions"]
    assert extension["authority"] == "gateway-ext-authz.gke-gateway.svc.cluster.local"
    assert (chain["name"], extension["name"], extension["timeout"], extension["failOpen"]) == (
        "token-exchange",
        "token-exchange",
        "1s",
        False,
    )
    assert "httpbin.example.test" in chain["matchCondition"]["celExpressions"][0]["celMatcher"]


def test_a_file_for_istios_provider_makes_policy_and_host() -> None:
    for values in (
        {"authorizationPolicy": {"enabled": True}, "gatewayExtAuthzService": {"enabled": True}},
        {"gatewayProvider": "local-istio", "extensionMode": "ext_authz", "authorizationPolicy": {"enabled": False}},
    ):
        manifests = render(values)
        policy = only(manifests, "AuthorizationPolicy")
        assert policy["metadata"]["namespace"] == "istio-ingress"
        assert policy["spec"]["selector"] == {"matchLabels": {"gateway.networking.k8s.io/gateway-name": "gateway"}}
        assert policy["spec"]["provider"] == {"name": "gateway-ext-authz-grpc"}
        assert policy["spec"]["rules"] == [{}]
        entry = only(manifests, "ServiceEntry")
        assert entry["spec"]["hosts"] == ["gateway-ext-authz.istio-ingress.svc.cluster.local"]
        assert (entry["spec"]["location"], entry["spec"]["resolution"]) == ("MESH_INTERNAL", "DNS")


def test_a_file_for_istios_filter_makes_the_filter_at_the_same_place() -> None:
    ext_authz = only(render({"envoyFilter": {"enabled": True, "timeout": "2s"}}), "EnvoyFilter")
    patch, _ = ext_authz["spec"]["configPatches"]
    assert (patch["applyTo"], patch["match"]["context"], patch["patch"]["operation"]) == ("HTTP_FILTER", "GATEWAY", "INSERT_BEFORE")
    config = look(ext_authz, PATCH)
    assert (config["clear_route_cache"], config["failure_mode_allow"], config["grpc_service"]["timeout"]) == (True, False, "2s")
    values = {
        "extensionMode": "ext_proc",
        "gatewayProvider": "local-istio",
        "envoyFilter": {"enabled": True, "extProc": {"failureModeAllow": False, "clearRouteCache": True}},
    }
    config = look(only(render(values), "EnvoyFilter"), PATCH)
    assert (config["route_cache_action"], config["failure_mode_allow"], config["message_timeout"]) == ("CLEAR", False, "1s")


def test_an_override_of_labels_takes_the_place_of_the_default_ones() -> None:
    values = {"envoyFilter": {"enabled": True, "workloadSelectorLabelsOverride": {"istio": "ingressgateway"}}}
    assert look(only(render(values), "EnvoyFilter"), "spec/workloadSelector/labels") == {"istio": "ingressgateway"}
