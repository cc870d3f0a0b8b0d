"""What cannot be meant is refused with a sentence: wirings that exclude each other, what would open a gateway, ports that are not there."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.helm.chart import refusal, render
from tests.helm.wiring_cases import ALIAS, AUTHORIZATION_POLICY, BACKEND_TLS, FILTER, GKE, GKE_SELF_SIGNED, PROC_FILTER, SECURITY_POLICY

pytestmark = [pytest.mark.helm]


def gke(**extension: Any) -> dict[str, Any]:
    return {**GKE, "gkeExtProc": {"enabled": True, **extension}}


def callout(**sections: Any) -> dict[str, Any]:
    return {**GKE, "gkeAuthz": {"callout": sections}}


def gateway(**fields: Any) -> dict[str, Any]:
    return {"envoyGateway": {**SECURITY_POLICY["envoyGateway"], **fields}}


GATEWAY = "gateway.networking.k8s.io/gateway-name"
FORWARDED = {"forwardHeaders": ["authorization"], "forwardAttributes": ["request.method", "request.host", "request.path"]}

SENTENCES: dict[str, tuple[Mapping[str, Any], str]] = {
    "a provider that is misspelled": ({"gatewayProvider": "local-isito"}, "gatewayProvider=local-isito names no wiring"),
    "a provider that is misspelled, with a host that nobody asks at": (
        {"gatewayProvider": "local-isito", "gatewayExtAuthzService": {"enabled": True}},
        "Names that mean something are local-istio and gke-gateway",
    ),
    "a provider without a wiring": ({"gatewayProvider": "none"}, "Where you wire the gateway yourself, leave it empty"),
    "two wirings of istio": ({**FILTER, **AUTHORIZATION_POLICY}, "envoyFilter.enabled and authorizationPolicy.enabled exclude each other"),
    "two wirings of istio, one by name": ({"gatewayProvider": "local-istio", **FILTER}, "exclude each other"),
    "a provider for ext_proc": (
        {**AUTHORIZATION_POLICY, "extensionMode": "ext_proc"},
        "authorizationPolicy.enabled needs extensionMode=ext_authz",
    ),
    "gke's ext_authz in ext_proc": (
        {"gkeAuthz": {"enabled": True}, "extensionMode": "ext_proc"},
        "gkeAuthz.enabled needs extensionMode=ext_authz",
    ),
    "gke's ext_authz beside gke by name": ({"gkeAuthz": {"enabled": True}, "gatewayProvider": "gke-gateway"}, "gkeAuthz.enabled needs"),
    "gke's ext_proc in ext_authz": ({"gkeExtProc": {"enabled": True}}, "gkeExtProc.enabled needs extensionMode=ext_proc"),
    "envoy gateway and istio's provider": ({**SECURITY_POLICY, **AUTHORIZATION_POLICY}, "envoyGateway.enabled excludes"),
    "envoy gateway and istio's filter": ({**SECURITY_POLICY, **FILTER}, "envoyGateway.enabled excludes"),
    "envoy gateway and gke": ({**SECURITY_POLICY, **GKE}, "envoyGateway.enabled excludes"),
    "a filter that opens": (
        {**PROC_FILTER, "envoyFilter": {"enabled": True, "extProc": {"failureModeAllow": True}}},
        "would pass unchecked",
    ),
    "a filter that would open": (
        {"envoyFilter": {"extProc": {"failureModeAllow": True}}},
        "envoyFilter.extProc.failureModeAllow=true is refused",
    ),
    "an extension that opens": (gke(failOpen=True), "gkeExtProc.failOpen=true is refused"),
    "a filter for every workload": (
        {"envoyFilter": {"enabled": True, "workloadSelectorLabels": {GATEWAY: None}}},
        "envoyFilter.workloadSelectorLabels is empty",
    ),
    "a policy for every workload": (
        {"authorizationPolicy": {"enabled": True, "workloadSelectorLabels": {GATEWAY: None}}},
        "authorizationPolicy.workloadSelectorLabels is empty",
    ),
    "a policy for no request": ({"authorizationPolicy": {"enabled": True, "rules": []}}, "authorizationPolicy.rules is empty"),
    "a policy for no gateway": ({"envoyGateway": {"enabled": True}}, "envoyGateway.targetRefs is empty"),
    "a host that leads nowhere": (
        {"gatewayExtAuthzService": {**ALIAS["gatewayExtAuthzService"], "type": "ClusterIP"}},
        "gatewayExtAuthzService.type=ClusterIP is refused",
    ),
    "a host that leads to no port": (
        {**ALIAS, "service": {"ports": {"grpc-api": {"port": 4001}}}},
        "gatewayExtAuthzService.targetPort (3001) is not the port of the chart's Service (4001",
    ),
    "a host that leads to no port of the pods": (
        {**ALIAS, "service": {"headless": True}, "ports": {"grpc-authz": {"containerPort": 4001}}},
        "(4001, ports.grpc-authz.containerPort, since service.headless leads to the pods)",
    ),
    "a health check of no port": (
        {**GKE, "ports": {"grpc-authz": {"containerPort": 4001}}},
        "gkeAuthz.callout.healthCheck.port (3001) is not the pods' port without TLS (4001",
    ),
    "a filter that gives up first": (
        {"envoyFilter": {"enabled": True, "timeout": "750ms"}},
        "envoyFilter.timeout (750ms) has to be longer",
    ),
    "a policy that gives up first": (gateway(timeout="0.5s"), "envoyGateway.timeout (0.5s) has to be longer"),
    "an extension that gives up first": (gke(timeout="500ms"), "gkeExtProc.timeout (500ms) has to be longer"),
    "an exchange that takes longer": (
        {**FILTER, "tokenExchange": {"httpClient": {"requestTimeout": "5s"}}},
        "requestTimeout or TOKEN_ENDPOINT_REQUEST_TIMEOUT, 5s",
    ),
    "an exchange that takes longer, by env": (
        {**FILTER, "env": {"TOKEN_ENDPOINT_REQUEST_TIMEOUT": "1m0.5s"}},
        "TOKEN_ENDPOINT_REQUEST_TIMEOUT, 1m0.5s",
    ),
    "a filter for a port that is gone": ({**FILTER, "tls": {"secretName": "t", "only": True}}, "tls.only takes the port without TLS away"),
    "a policy for a port that is gone": ({**SECURITY_POLICY, "tls": {"secretName": "t", "only": True}}, "envoyGateway.tls.enabled=true"),
    "a health check of a port that is gone": (
        {**GKE, "tls": {"secretName": "gateway-ext-authz-tls", "only": True}},
        "gkeAuthz.callout.healthCheck asks",
    ),
    "tls to a service without it": (
        gateway(tls={"enabled": True, "caCertificateRef": {"name": "a"}}),
        "envoyGateway.tls.enabled needs tls.secretName",
    ),
    "tls with whomever": ({"tls": BACKEND_TLS["tls"], **gateway(tls={"enabled": True})}, "needs envoyGateway.tls.caCertificateRef.name"),
    "a health check longer than its interval": (
        callout(healthCheck={"timeoutSec": 6}),
        "timeoutSec must not be longer than checkIntervalSec",
    ),
    "a callout with tls to the port without": (callout(service={"targetPort": "grpc-authz"}), "grpc-authz has no TLS"),
    "a callout to a port that is not there": (callout(tls={"enabled": False}), "the port is there with a certificate only"),
    "two certificates for one listener": ({**GKE, "tls": {"secretName": "t"}}, "name two Secrets"),
    "two ports for one listener": (
        {**callout(tls={"port": 3443}), "ports": {"grpc-authz-tls": {"containerPort": 4443}}},
        "gkeAuthz.callout.tls.port (3443) is not the port of the TLS listener (4443",
    ),
    "two ports for one listener, one by env": (
        {**callout(tls={"port": 3443}), "env": {"GRPC_TLS_PORT": "3000"}},
        "gkeAuthz.callout.tls.port (3443) is not the port of the TLS listener (3000",
    ),
    "the callout's listener on another's port": (callout(tls={"port": 3001}), "two listeners on one port (3001, 3001, 3002)"),
    "another port of the pods than the callout's": (
        {**GKE, "ports": {"grpc-authz-tls": {"containerPort": 4443}}},
        "gkeAuthz.callout.tls.port (3000) is not the port of the TLS listener (4443",
    ),
    "two makers of one certificate": (callout(tls={"selfSigned": {"enabled": True}}), "would both write the Secret"),
    "an extension that waits too long": (gke(timeout="11s"), "gkeExtProc.timeout (11s) has to be from 10ms to 10s"),
    "an extension that is told nothing": (gke(supportedEvents=["ResponseHeaders"]), "gkeExtProc.supportedEvents needs RequestHeaders"),
    "no token to exchange": (gke(**{**FORWARDED, "forwardHeaders": ["cookie"]}), "gkeExtProc.forwardHeaders needs authorization"),
    "no path to decide by": (gke(**{**FORWARDED, "forwardAttributes": ["request.method", "request.host"]}), "needs request.path"),
}

OUT_OF_BOUNDS: dict[str, Mapping[str, Any]] = {
    "an unknown mode": {"extensionMode": "ext_wasm"},
    "a provider that is no text": {"gatewayProvider": 1},
    "a field that is nowhere": {"envoyFilter": {"failureModeAllow": False}},
    "a status that is none": {"envoyFilter": {"statusOnError": 200}},
    "an expression in a host": gke(host="a') || request.host.contains('"),
    "a cluster-wide target": gateway(targetRefs=[{"kind": "GatewayClass", "name": "eg"}]),
    "a timeout without a unit": {"envoyFilter": {"timeout": "1"}},
    "an event of nothing": gke(supportedEvents=["REQUEST_HEADERS"]),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_what_cannot_be_meant_is_refused_with_a_sentence(case: str) -> None:
    values, sentence = SENTENCES[case]
    assert sentence in refusal(values)


@pytest.mark.parametrize("case", OUT_OF_BOUNDS)
def test_what_a_value_cannot_be_is_refused_by_the_schema(case: str) -> None:
    assert "values don't meet the specifications of the schema" in refusal(OUT_OF_BOUNDS[case])


@pytest.mark.parametrize(
    "values",
    [
        gke(**{**FORWARDED, "forwardHeaders": ["Authorization", "origin"]}),
        {**GKE_SELF_SIGNED, "tls": {"secretName": "gateway-ext-authz-tls"}},
        {**GKE, "tls": {"secretName": "gateway-ext-authz-tls", "only": True}, "gkeAuthz": {"callout": {"healthCheck": {"enabled": False}}}},
        {"envoyFilter": {"enabled": False, "timeout": "1ms"}, "gkeExtProc": {"timeout": "1h"}},
        {**PROC_FILTER, "gatewayExtAuthzService": {"enabled": True, "type": "ClusterIP", "serviceEntry": {"enabled": False}}},
        {**FILTER, "tokenExchange": {"httpClient": {"requestTimeout": "999ms"}}},
    ],
    ids=["headers", "one_secret", "no_health_check", "switched_off", "host_of_no_use", "just_shorter"],
)
def test_what_is_odd_but_means_something_is_rendered(values: Mapping[str, Any]) -> None:
    assert render(values)
