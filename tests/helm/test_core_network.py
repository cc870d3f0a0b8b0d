"""The NetworkPolicy opens what the values name, and nothing else; where they name nothing, what they imply."""

from typing import Any

import pytest

from tests.helm.cases import OTLP, PEERS, PROFILE
from tests.helm.chart import only, render

pytestmark = [pytest.mark.helm]


def egress(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the egress rules after DNS and API server."""
    rules: list[dict[str, Any]] = only(render(values), "NetworkPolicy")["spec"]["egress"][2:]
    return rules


def endpoints(*addresses: str) -> dict[str, Any]:
    profiles = [{**PROFILE, "name": str(number), "tokenEndpoint": address} for number, address in enumerate(addresses)]
    return {"issuerProfiles": {"profiles": profiles}, "tokenExchange": {"allowHttpTokenEndpoint": True}}


def port(number: int) -> dict[str, Any]:
    return {"ports": [{"protocol": "TCP", "port": number}]}


def namespace(name: str) -> dict[str, Any]:
    return {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}]}


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("https://issuer.example.com/token", port(443)),
        ("https://issuer.example.com:8443/token", port(8443)),
        ("http://issuer.example.com/token", port(80)),
        ("https://[2001:db8::1]/token", port(443)),
        ("https://[2001:db8::1]:9/token", port(9)),
        ("https://10.0.0.1:9443/token", port(9443)),
        ("https://keycloak.identity.svc:8443/realms/a", namespace("identity")),
        ("http://keycloak.identity.svc.cluster.local/realms/a", namespace("identity")),
        ("http://keycloak.identity.svc.cluster.local.:80/realms/a", namespace("identity")),
    ],
)
def test_a_token_endpoint_opens_its_port_or_its_namespace(address: str, rule: dict[str, Any]) -> None:
    assert egress(endpoints(address)) == [rule]


def test_endpoints_with_the_same_port_need_one_rule() -> None:
    assert egress(endpoints("https://a.example/t", "https://b.example/t", "https://c.example:8443/t")) == [port(443), port(8443)]


def test_without_profiles_https_is_open() -> None:
    assert egress({}) == [port(443)]
    assert egress({"issuerProfiles": {"existingConfigMap": "kept"}}) == [port(443)]


def test_rules_of_the_users_replace_what_is_derived() -> None:
    values = {**endpoints("https://a.example/t"), "networkPolicy": {"egress": {"tokenEndpoints": [{"to": PEERS}, {"ports": [1, 2]}]}}}
    assert egress(values) == [{"to": PEERS}, {"ports": [*port(1)["ports"], *port(2)["ports"]]}]


def test_dns_and_the_api_server_are_reached_on_either_side_of_their_services() -> None:
    dns, server = only(render(), "NetworkPolicy")["spec"]["egress"][:2]
    assert {(open_["protocol"], open_["port"]) for open_ in dns["ports"]} == {
        (protocol, number) for protocol in ("UDP", "TCP") for number in (53, 5353)
    }
    assert server == {"ports": [*port(443)["ports"], *port(6443)["ports"]]}


def test_a_collector_is_reached_only_where_something_is_exported() -> None:
    assert egress(OTLP) == [port(443), namespace("telemetry")]
    assert egress({"otel": {"endpoint": OTLP["otel"]["endpoint"]}}) == [port(443)]
    by_env = {"env": {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "https://otlp.example:4318"}}
    assert egress(by_env) == [port(443), port(4318)]


def test_nobody_named_is_nobody_let_in() -> None:
    spec = only(render({"networkPolicy": {"ingress": {"gateways": [], "monitoring": []}}, "tests": {"enabled": False}}), "NetworkPolicy")[
        "spec"
    ]
    assert not spec["ingress"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]


def test_gateways_reach_grpc_and_monitoring_reaches_metrics() -> None:
    values = {"networkPolicy": {"ingress": {"gateways": PEERS, "monitoring": [{"podSelector": {}}]}}, "tests": {"enabled": False}}
    gateways, monitoring = only(render(values), "NetworkPolicy")["spec"]["ingress"]
    assert gateways == {"from": PEERS, "ports": [{"protocol": "TCP", "port": "grpc-authz"}]}
    assert monitoring == {"from": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": "http-metrics"}]}
