"""The NetworkPolicy opens what the values name, and nothing else; where they name nothing, what they imply."""

from typing import Any

import pytest

from tests.helm.cases import OTLP, PEERS, PROFILE
from tests.helm.chart import only, refusal, render

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
        ("https://Keycloak.Identity.SVC/realms/a", namespace("identity")),
        ("https://keycloak.identity.svc.:8443/realms/a", namespace("identity")),
        ("http://keycloak/realms/a", namespace("edge")),
        ("https://Keycloak-2:8443/realms/a", namespace("edge")),
        # Not names of Services: the pod itself, and a name that is whole.
        ("http://localhost:8080/token", port(8080)),
        ("https://keycloak./token", port(443)),
        ("https://keycloak.identity/token", port(443)),
        # Names of the public DNS may have `svc` in them, and pods of a headless Service have names of their own.
        ("https://sso.eu.svc.example.com/token", port(443)),
        ("https://sso.eu.svc.example.com.:8443/token", port(8443)),
        ("https://keycloak-0.keycloak.identity.svc.cluster.local:8080/token", port(8080)),
        ("https://keycloak.identity.svc.cluster.local.example.com/token", port(443)),
        ("https://identity.svc/token", port(443)),
    ],
)
def test_a_token_endpoint_opens_its_port_or_its_namespace(address: str, rule: dict[str, Any]) -> None:
    assert egress(endpoints(address)) == [rule]


def test_a_services_name_is_one_of_the_clusters_own_domain() -> None:
    domain = {"clusterDomain": "k8s.corp.example"}
    assert egress({**endpoints("https://keycloak.identity.svc.k8s.corp.example/token"), **domain}) == [namespace("identity")]
    assert egress({**endpoints("https://keycloak.identity.svc.cluster.local/token"), **domain}) == [port(443)]


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


def test_a_collectors_name_with_svc_in_it_opens_its_port() -> None:
    values = {"otel": {"tracesExporter": "otlp", "endpoint": "https://otlp.eu.svc.example.com:4318"}}
    assert egress(values) == [port(443), port(4318)]


@pytest.mark.parametrize("address", ["$(COLLECTOR)", "http://$(HOST):$(PORT)", "http://collector.$(NAMESPACE).svc:4318"])
def test_where_variables_tell_of_the_collector_its_rules_have_to_be_given(address: str) -> None:
    values: dict[str, Any] = {"env": {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": address}}
    given = {**values, "networkPolicy": {"egress": {"collector": [{"ports": [4318]}]}}}
    assert egress(given) == [port(443), port(4318)]
    assert render({**values, "networkPolicy": {"enabled": False}})
    assert egress({"env": {"OTEL_EXPORTER_OTLP_ENDPOINT": address}}) == [port(443)]  # nothing is exported


def test_an_agent_on_the_node_is_told_by_a_variable_and_a_port() -> None:
    values = {"otel": {"metricsExporter": "otlp", "endpoint": "http://$(NODE_IP):4318"}}
    assert egress(values) == [port(443), port(4318)]


def test_a_collector_beside_the_service_is_told_by_its_name() -> None:
    values = {"otel": {"metricsExporter": "otlp", "endpoint": "http://collector:4318"}}
    assert egress(values) == [port(443), namespace("edge")]


def test_nothing_is_opened_for_an_export_that_is_switched_off() -> None:
    assert egress({"otel": {**OTLP["otel"], "sdkDisabled": True}}) == [port(443)]
    assert egress({**OTLP, "env": {"OTEL_SDK_DISABLED": "TRUE"}}) == [port(443)]


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


def behind(proxy: str | None, **env: Any) -> dict[str, Any]:
    values = endpoints("https://issuer.example.com:8443/token", "https://other.example.com/token")
    values["issuerProfiles"]["profiles"][0]["proxy"] = proxy
    return {**values, "env": env}


SWITCH = {"TOKEN_ENDPOINT_PROXY_FROM_ENVIRONMENT": "true"}


@pytest.mark.parametrize(
    ("proxy", "rule"),
    [
        ("http://proxy.example.com:3128", port(3128)),
        ("http://proxy.example.com/", port(80)),
        ("https://proxy.example.com", port(443)),
        ("http://squid.network.svc:3128", namespace("network")),
        ("", port(8443)),
        (None, port(8443)),
    ],
)
def test_a_proxy_is_opened_in_the_place_of_its_profiles_endpoint(proxy: str | None, rule: dict[str, Any]) -> None:
    expected = [rule] if rule == port(443) else [rule, port(443)]
    assert egress(behind(proxy)) == expected


def test_a_proxy_of_the_environment_is_opened_beside_the_endpoints() -> None:
    assert egress(behind(None, HTTPS_PROXY="proxy.example.com:3128")) == [port(8443), port(443)]
    assert egress(behind(None, HTTPS_PROXY="proxy.example.com:3128", **SWITCH)) == [port(8443), port(443), port(3128)]
    assert egress({"env": {"https_proxy": "http://squid.network.svc:3128", **SWITCH}}) == [port(443), namespace("network")]
    http = {"env": {"HTTP_PROXY": "http://proxy.example.com:3128", **SWITCH}}
    assert egress(http) == [port(443)]
    assert egress({**http, "tokenExchange": {"allowHttpTokenEndpoint": True}}) == [port(443), port(3128)]


def test_a_proxy_that_only_the_pod_knows_needs_rules() -> None:
    hidden = {"env": {"HTTPS_PROXY": {"valueFrom": {"secretKeyRef": {"name": "proxy", "key": "url"}}}, **SWITCH}}
    assert "networkPolicy.egress.tokenEndpoints: HTTPS_PROXY is known to the pod alone" in refusal(hidden)
    assert egress({**hidden, "networkPolicy": {"egress": {"tokenEndpoints": [{"ports": [3128]}]}}}) == [port(3128)]
    assert render({**hidden, "networkPolicy": {"enabled": False}})


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (behind("http://canary:canary@proxy.example.com"), "the proxy of 0 must not have user information"),
        (behind("http://proxy.example.com:99999"), "the proxy of 0 has a port that is none"),
        (behind("http://proxy.example.com/canary"), "the proxy of 0 has more than a host and a port"),
        (behind("socks5://canary"), "proxy"),
        (behind(None, HTTPS_PROXY="http://canary:canary@proxy.example.com", **SWITCH), "HTTPS_PROXY must not have user information"),
        (behind(None, HTTPS_PROXY="socks5://canary", **SWITCH), "HTTPS_PROXY has to begin with http:// or https://"),
    ],
)
def test_a_proxy_that_will_not_do_is_refused(values: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(values)
