"""The NetworkPolicy opens what the values name, and nothing else; where they name nothing, what they imply."""

from typing import Any, Final

import pytest

from tests.helm.cases import OTLP, PEERS, PROFILE
from tests.helm.chart import only, render
from tests.helm.many import prepare

pytestmark = [pytest.mark.helm]

Values = dict[str, Any]
Rules = list[dict[str, Any]]


def egress(values: Values) -> Rules:
    """Return the egress rules after DNS and API server."""
    rules: Rules = only(render(values), "NetworkPolicy")["spec"]["egress"][2:]
    return rules


def endpoints(*addresses: str) -> Values:
    profiles = [{**PROFILE, "name": str(number), "tokenEndpoint": address} for number, address in enumerate(addresses)]
    return {"issuerProfiles": {"profiles": profiles}, "tokenExchange": {"allowHttpTokenEndpoint": True}}


def proven(**issued: Any) -> Values:
    values = endpoints("https://issuer.example.com/token")
    values["issuerProfiles"]["profiles"][0]["issuedToken"] = issued
    return values


def asked(**introspection: Any) -> Values:
    values = endpoints("https://issuer.example.com/token")
    values["issuerProfiles"]["profiles"][0]["subjectToken"] = {"introspection": introspection}
    return values


def behind(proxy: str | None, **env: Any) -> Values:
    values = endpoints("https://issuer.example.com:8443/token", "https://other.example.com/token")
    values["issuerProfiles"]["profiles"][0]["proxy"] = proxy
    return {**values, "env": env}


def exporting(address: str) -> Values:
    return {"otel": {"metricsExporter": "otlp", "endpoint": address}}


def given(part: str, rules: Rules) -> Values:
    return {"networkPolicy": {"egress": {part: rules}}}


def ports(*numbers: int) -> dict[str, Any]:
    return {"ports": [{"protocol": "TCP", "port": number} for number in numbers]}


def namespace(name: str) -> dict[str, Any]:
    return {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}]}


SWITCH: Final = {"TOKEN_ENDPOINT_PROXY_FROM_ENVIRONMENT": "true"}
HTTP_PROXY: Final = {"env": {"HTTP_PROXY": "http://proxy.example.com:3128", **SWITCH}}
HIDDEN_PROXY: Final = {"env": {"HTTPS_PROXY": {"valueFrom": {"secretKeyRef": {"name": "proxy", "key": "url"}}}, **SWITCH}}
UNKNOWN_COLLECTORS: Final = ("$(COLLECTOR)", "http://$(HOST):$(PORT)", "http://collector.$(NAMESPACE).svc:4318")


def unknown(address: str) -> Values:
    return {"env": {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": address}}


ENDPOINTS: Final = {
    "https://issuer.example.com/token": ports(443),
    "https://issuer.example.com:8443/token": ports(8443),
    "http://issuer.example.com/token": ports(80),
    "https://[2001:db8::1]/token": ports(443),
    "https://[2001:db8::1]:9/token": ports(9),
    "https://10.0.0.1:9443/token": ports(9443),
    "https://keycloak.identity.svc:8443/realms/a": namespace("identity"),
    "http://keycloak.identity.svc.cluster.local/realms/a": namespace("identity"),
    "http://keycloak.identity.svc.cluster.local.:80/realms/a": namespace("identity"),
    "https://Keycloak.Identity.SVC/realms/a": namespace("identity"),
    "https://keycloak.identity.svc.:8443/realms/a": namespace("identity"),
    "http://keycloak/realms/a": namespace("edge"),
    "https://Keycloak-2:8443/realms/a": namespace("edge"),
    # Not names of Services: the pod itself, and a name that is whole.
    "http://localhost:8080/token": ports(8080),
    "https://keycloak./token": ports(443),
    "https://keycloak.identity/token": ports(443),
    # Names of the public DNS may have `svc` in them, and pods of a headless Service have names of their own.
    "https://sso.eu.svc.example.com/token": ports(443),
    "https://sso.eu.svc.example.com.:8443/token": ports(8443),
    "https://keycloak-0.keycloak.identity.svc.cluster.local:8080/token": ports(8080),
    "https://keycloak.identity.svc.cluster.local.example.com/token": ports(443),
    "https://identity.svc/token": ports(443),
}
DOMAIN: Final = {"clusterDomain": "k8s.corp.example"}
OPENED: Final[dict[str, tuple[Values, Rules]]] = {
    **{address: (endpoints(address), [rule]) for address, rule in ENDPOINTS.items()},
    "a Service of the cluster's own domain": (
        {**endpoints("https://keycloak.identity.svc.k8s.corp.example/token"), **DOMAIN},
        [namespace("identity")],
    ),
    "a Service of another domain": ({**endpoints("https://keycloak.identity.svc.cluster.local/token"), **DOMAIN}, [ports(443)]),
    "endpoints with one port": (
        endpoints("https://a.example/t", "https://b.example/t", "https://c.example:8443/t"),
        [ports(443), ports(8443)],
    ),
    "no profiles": ({}, [ports(443)]),
    "profiles that somebody else keeps": ({"issuerProfiles": {"existingConfigMap": "kept"}}, [ports(443)]),
    "rules of the users": (
        {**endpoints("https://a.example/t"), **given("tokenEndpoints", [{"to": PEERS}, {"ports": [1, 2]}])},
        [{"to": PEERS}, ports(1, 2)],
    ),
    # Keys by which issued tokens are verified.
    **{
        f"keys for issued tokens, {more}": (proven(**more), [ports(443), *rules])
        for more, rules in (
            ({"issuer": "https://a.example:9443"}, []),
            ({"issuer": "https://a.example:9443", "signature": True}, [ports(9443)]),
            ({"issuer": "https://a.example:9443", "signature": True, "jwksURI": "https://keys.example:7443/k"}, [ports(7443)]),
        )
    },
    # Where issuers are asked about callers' tokens.
    **{
        f"introspection, {more}": (asked(**more), [ports(443), *rules])
        for more, rules in (({"when": "always"}, []), ({"endpoint": "https://a.example:9443/introspect"}, [ports(9443)]))
    },
    # The store that replicas share.
    **{
        f"a store at {address}": ({"tokenCache": {"url": address, "keySecretName": "k"}}, [ports(443), rule])
        for address, rule in {
            "redis://cache.example.com": ports(6379),
            "rediss://cache.example.com:7000/1": ports(7000),
            "valkey://valkey.cache.svc": namespace("cache"),
            "valkeys://valkey": namespace("edge"),
            "redis://[2001:db8::1]": ports(6379),
            "redis://10.0.0.1:6380": ports(6380),
        }.items()
    },
    "a store with rules": (
        {"tokenCache": {"url": "redis://cache", "keySecretName": "k"}, **given("tokenCache", [{"ports": [26379]}])},
        [ports(443), ports(26379)],
    ),
    "rules for a store that is not there": (given("tokenCache", [{"ports": [26379]}]), [ports(443), ports(26379)]),
    # Collectors.
    "a collector": (OTLP, [ports(443), namespace("telemetry")]),
    "a collector to which nothing is exported": ({"otel": {"endpoint": OTLP["otel"]["endpoint"]}}, [ports(443)]),
    "a collector by variables": (
        {"env": {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "https://otlp.example:4318"}},
        [ports(443), ports(4318)],
    ),
    "a collector with svc in its name": (exporting("https://otlp.eu.svc.example.com:4318"), [ports(443), ports(4318)]),
    "a collector on the node": (exporting("http://$(NODE_IP):4318"), [ports(443), ports(4318)]),
    "a collector beside the service": (exporting("http://collector:4318"), [ports(443), namespace("edge")]),
    "an export that is switched off": ({"otel": {**OTLP["otel"], "sdkDisabled": True}}, [ports(443)]),
    "an export that a variable switches off": ({**OTLP, "env": {"OTEL_SDK_DISABLED": "TRUE"}}, [ports(443)]),
    **{
        f"{address}, with rules": ({**unknown(address), **given("collector", [{"ports": [4318]}])}, [ports(443), ports(4318)])
        for address in UNKNOWN_COLLECTORS
    },
    **{
        f"{address}, and nothing exported": ({"env": {"OTEL_EXPORTER_OTLP_ENDPOINT": address}}, [ports(443)])
        for address in UNKNOWN_COLLECTORS
    },
    # A profile's proxy is opened in the place of its endpoint, one of the environment beside the endpoints.
    "a proxy": (behind("http://proxy.example.com:3128"), [ports(3128), ports(443)]),
    "a proxy without a port": (behind("http://proxy.example.com/"), [ports(80), ports(443)]),
    "a proxy with TLS": (behind("https://proxy.example.com"), [ports(443)]),
    "a proxy in the cluster": (behind("http://squid.network.svc:3128"), [namespace("network"), ports(443)]),
    "an empty proxy": (behind(""), [ports(8443), ports(443)]),
    "no proxy": (behind(None), [ports(8443), ports(443)]),
    "a proxy of the environment, not followed": (behind(None, HTTPS_PROXY="proxy.example.com:3128"), [ports(8443), ports(443)]),
    "a proxy of the environment": (behind(None, HTTPS_PROXY="proxy.example.com:3128", **SWITCH), [ports(8443), ports(443), ports(3128)]),
    "a proxy of the environment in the cluster": (
        {"env": {"https_proxy": "http://squid.network.svc:3128", **SWITCH}},
        [ports(443), namespace("network")],
    ),
    "a proxy for what is not allowed": (HTTP_PROXY, [ports(443)]),
    "a proxy for http": ({**HTTP_PROXY, "tokenExchange": {"allowHttpTokenEndpoint": True}}, [ports(443), ports(3128)]),
    "a proxy that only the pod knows, with rules": ({**HIDDEN_PROXY, **given("tokenEndpoints", [{"ports": [3128]}])}, [ports(3128)]),
}


@pytest.fixture(scope="module")
def at_once() -> None:
    prepare(values for values, _ in OPENED.values())


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("name", OPENED)
def test_only_what_the_service_has_to_reach_is_open(name: str) -> None:
    values, rules = OPENED[name]
    assert egress(values) == rules


@pytest.mark.parametrize("asks_by_http", [False, True])
def test_the_port_that_hands_out_tokens_is_open_to_gateways_alone(asks_by_http: bool) -> None:
    gateways = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateways"}}}]
    values = {"networkPolicy": {"ingress": {"gateways": gateways}}, "httpAuthz": {"enabled": asks_by_http, "secretName": "gateway"}}
    rules = only(render(values), "NetworkPolicy")["spec"]["ingress"]
    asking = [rule["from"] for rule in rules if {"protocol": "TCP", "port": "http-authz"} in rule["ports"]]
    assert asking == [gateways] * asks_by_http
