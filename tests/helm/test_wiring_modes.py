"""Each way to wire a gateway renders what it needs and nothing of the others, and none of them ever lets a request pass unchecked."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import pytest

from tests.helm.cases import look
from tests.helm.chart import Manifest, only, render
from tests.helm.wiring_cases import (
    ALIAS,
    AUTHORIZATION_POLICY,
    BACKEND_TLS,
    EXTENSION_POLICY,
    FILTER,
    GKE,
    GKE_AUTHZ,
    GKE_PLAINTEXT,
    GKE_SELF_SIGNED,
    PATCH,
    PROC_FILTER,
    SECURITY_POLICY,
    SERVICE_ENTRY,
)

pytestmark = [pytest.mark.helm]

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

each_mode = pytest.mark.parametrize("mode", MODES)


def names(manifests: list[Manifest]) -> set[tuple[str, str, str]]:
    return {(found["kind"], found["metadata"].get("namespace", ""), found["metadata"]["name"]) for found in manifests}


@cache
def wiring(mode: str) -> list[Manifest]:
    """Return what the values of ``mode`` add to the chart without wiring."""
    values, _ = MODES[mode]
    core = names(render({name: value for name, value in values.items() if name == "tls"}))
    return [found for found in render(values) if not names([found]) <= core]


def scalars(part: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Return every scalar in ``part`` with the name of the field that it is in."""
    match part:
        case dict():
            for field, inner in part.items():
                yield from scalars(inner, field)
        case list():
            for inner in part:
                yield from scalars(inner, name)
        case _:
            yield name, part


@each_mode
def test_a_mode_renders_what_it_needs_and_nothing_else(mode: str) -> None:
    _, expected = MODES[mode]
    assert {found["kind"] for found in wiring(mode)} == expected


@pytest.mark.parametrize("mode", ANOTHER_NAME)
def test_beside_a_switch_another_providers_name_means_nothing(mode: str) -> None:
    """Files of the reference have to name one, such as ``none`` or ``external``, since no name means Istio there."""
    values, _ = MODES[mode]
    assert render({**values, "gatewayProvider": "external"}) == render(values)


@each_mode
def test_no_mode_is_ever_open(mode: str) -> None:
    switches = [(name, value) for found in wiring(mode) for name, value in scalars(found) if name in {"failure_mode_allow", "failOpen"}]
    assert all(value is False for _, value in switches)
    asks = {"EnvoyFilter", "SecurityPolicy", "EnvoyExtensionPolicy", "GCPTrafficExtension"}
    assert len(switches) == len([found for found in wiring(mode) if found["kind"] in asks])


@each_mode
def test_what_is_rendered_says_whose_it_is(mode: str) -> None:
    for found in wiring(mode):
        assert found["metadata"]["labels"]["app.kubernetes.io/instance"] == "exchanger"
        assert found["metadata"]["namespace"]


@pytest.mark.parametrize("values", [FILTER, PROC_FILTER])
def test_releases_of_one_name_in_two_namespaces_do_not_meet_in_the_gateways(values: Mapping[str, Any]) -> None:
    first, second = (only(render(values, namespace=namespace), "EnvoyFilter")["metadata"]["name"] for namespace in ("a", "b"))
    assert first != second


def test_the_filter_asks_the_charts_own_service_under_its_name_in_istio() -> None:
    values = {**FILTER, "service": {"ports": {"grpc-api": {"port": 4001}}}, "clusterDomain": "corp.example"}
    service = look(only(render(values), "EnvoyFilter"), f"{PATCH}/grpc_service/envoy_grpc")
    assert service == {"cluster_name": "outbound|4001||exchanger.edge.svc.corp.example", "authority": "exchanger.edge.svc.corp.example"}


def test_a_filter_may_change_nothing_but_what_an_exchange_changes() -> None:
    rules = look(only(render(FILTER), "EnvoyFilter"), f"{PATCH}/decoder_header_mutation_rules")
    assert rules == {"disallow_all": True, "allow_expression": {"regex": "^authorization$"}, "disallow_is_error": True}
    rules = look(only(render(PROC_FILTER), "EnvoyFilter"), f"{PATCH}/mutation_rules")
    # The headers of ext_proc's own answers come under the same rules.
    assert rules["allow_expression"] == {"regex": "^(authorization|content-type|www-authenticate)$"}
    assert rules["disallow_all"] is rules["disallow_is_error"] is True


def test_an_ext_proc_filter_shows_the_requests_headers_and_nothing_else() -> None:
    config = look(only(render(PROC_FILTER), "EnvoyFilter"), PATCH)
    assert [name for name, mode in config["processing_mode"].items() if mode not in {"SKIP", "NONE"}] == ["request_header_mode"]
    assert config["allow_mode_override"] is False
    assert config["message_timeout"] == "1s"
    assert "timeout" not in config["grpc_service"]  # it would be the whole stream's
    spec = only(render(EXTENSION_POLICY), "EnvoyExtensionPolicy")["spec"]["extProc"]
    assert [part["processingMode"] for part in spec] == [{"allowModeOverride": False, "request": {}}]


def test_envoy_gateway_is_granted_the_service_and_nothing_else() -> None:
    for values, kind in ((SECURITY_POLICY, "SecurityPolicy"), (EXTENSION_POLICY, "EnvoyExtensionPolicy")):
        manifests = render(values)
        grant = only(manifests, "ReferenceGrant")
        assert grant["metadata"]["namespace"] == "edge"
        assert grant["spec"]["from"] == [{"group": "gateway.envoyproxy.io", "kind": kind, "namespace": "gateways"}]
        assert grant["spec"]["to"] == [{"group": "", "kind": "Service", "name": "exchanger"}]
        assert only(manifests, kind)["metadata"]["namespace"] == "gateways"


def test_envoy_gateway_asks_the_port_that_tls_is_on_where_it_is_to_use_tls() -> None:
    plain = only(render(SECURITY_POLICY), "SecurityPolicy")["spec"]["extAuth"]["grpc"]["backendRefs"]
    assert plain == [{"name": "exchanger", "namespace": "edge", "port": 3001}]
    manifests = render({**BACKEND_TLS, "tls": {"secretName": "edge-tls", "only": True}})
    assert look(only(manifests, "SecurityPolicy"), "spec/extAuth/grpc/backendRefs/0/port") == 3000
    (target,) = only(manifests, "BackendTLSPolicy")["spec"]["targetRefs"]
    ports = {port["name"]: port["port"] for port in only(manifests, "Service", "exchanger")["spec"]["ports"]}
    assert ports[target["sectionName"]] == 3000
    assert only(manifests, "BackendTLSPolicy")["spec"]["validation"]["hostname"] == "exchanger.edge.svc.cluster.local"


def test_an_alias_leads_to_the_charts_service_and_a_service_entry_too() -> None:
    host = "exchanger.edge.svc.cluster.local"
    alias = only(render(ALIAS), "Service", "gateway-ext-authz")["spec"]
    assert alias["externalName"] == host
    assert alias["ports"] == [{"name": "grpc", "port": 3001, "targetPort": 3001, "appProtocol": "grpc"}]
    entry = only(render(SERVICE_ENTRY), "ServiceEntry")["spec"]
    assert entry["endpoints"] == [{"address": host, "ports": {"grpc": 3001}}]
    # The ports of a headless Service are the pods' own.
    pods = {**SERVICE_ENTRY, "service": {"headless": True, "ports": {"grpc-api": {"port": 80}}}}
    address = "exchanger-headless.edge.svc.cluster.local"
    assert only(render(pods), "ServiceEntry")["spec"]["endpoints"] == [{"address": address, "ports": {"grpc": 3001}}]
    assert entry["hosts"] == ["gateway-ext-authz.istio-ingress.svc.cluster.local"]
