"""The environment that the chart renders is the one that the service reads: no unknown names, no changed defaults, no values lost."""

import re
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml

from exchanger.app import settings as service_settings
from exchanger.app.settings import read_settings
from exchanger.exchange.issuers.profiles import parse_profiles
from exchanger.model.issuer import CachePolicy, CallLimits
from exchanger.net.http.names import is_loopback
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.grants.reader import read_grants
from tests.helm.cases import CONSOLE, CONSOLE_TOKEN, CONTAINER, MTLS, POD, PROFILE, SETTINGS, look
from tests.helm.chart import ROOT, only, render, secret_texts
from tests.helm.many import prepare

pytestmark = [pytest.mark.helm]

WITHOUT_A_VALUE = {
    # `kubectl port-forward` is reached as localhost; who gives it another name (--address) says so in `env`.
    "CONSOLE_HOSTS",
    # Where a process listens, and how it finds the cluster and its policies: given by being in a pod.
    "GRPC_HOST",
    "GRPC_PLAINTEXT_ENABLED",
    "KUBECONFIG",
    "KUBE_CONTEXT",
    "METRICS_HOST",
    "POLICY_DIRECTORY",
    "POLICY_SOURCE",
    # The chart names Namespaces in the file that POLICY_NAMESPACES_FILE is about.
    "POLICY_NAMESPACES",
}
NO_GRANT = {"version": "v1", "grants": []}
TOKEN_CACHE = {
    "tokenCache": {
        "url": "rediss://cache.example.com",
        "keySecretName": "keys",
        "namespace": "edge",
        "username": "exchanger",
        "password": {"secretName": "password"},
        "ca": {"secretName": "ca"},
    }
}
HTTP_AUTHZ = {
    "httpAuthz": {"enabled": True, "secretName": "gateway", "tls": {"secretName": "authz", "clientCA": {"secretName": "gateways"}}}
}
AUDIT = {"audit": {"log": "/var/log/exchanger/audit.log", "keySecretName": "keys"}}
CHANGED_DEFAULTS = {
    "METRICS_ENABLED",  # an installation is observable
    "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE",  # the chart brings the file
}


TABLE: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("environment.yaml").read_text())


def environment(values: dict[str, Any]) -> dict[str, str]:
    """Return the variables with a text, in the order in which a container has them: a later one of the same name would win."""
    found = look(only(render(values), "Deployment"), f"{CONTAINER}/env")
    names = [variable["name"] for variable in found]
    assert len(names) == len(set(names)), "a name is there twice"
    return {variable["name"]: variable["value"] for variable in found if "value" in variable}


def known_variables() -> set[str]:
    """Return the names in the service's configuration reference, where its own tests keep them complete."""
    section = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    names: set[str] = set()
    for row in re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE):
        first = ""
        for name in re.findall(r"`([A-Z0-9_]+)`", row):
            first = first or name
            names.add(re.sub(r"_[A-Z]+_TIMEOUT$", "", first) + name if name.startswith("_") else name)
    return names


def test_every_variable_has_a_chart_value_or_a_reason() -> None:
    values = {"policyNamespaces": ["a"], "policy": {"grants": NO_GRANT}, **MTLS, **CONSOLE_TOKEN, **TOKEN_CACHE, **AUDIT, **HTTP_AUTHZ}
    given = set(environment(values)) | {"POD_NAMESPACE"}
    documented = {name for name in known_variables() if not name.startswith(("TOKEN_ENDPOINT_", "OTEL_"))}
    assert documented - given == WITHOUT_A_VALUE


def test_the_chart_says_nothing_that_the_service_does_not_know() -> None:
    source = "".join(path.read_text() for path in Path(service_settings.__file__).parent.rglob("*.py"))
    for name in environment({**MTLS, **CONSOLE_TOKEN}):
        assert name.startswith("OTEL_") or f'"{name}"' in source, name


def test_the_charts_defaults_are_the_services() -> None:
    given = {name: value for name, value in environment({}).items() if name not in CHANGED_DEFAULTS}
    ours, bare = read_settings(given), read_settings({})
    for field in attrs.fields(type(bare)):
        assert getattr(ours, field.name) == getattr(bare, field.name), field.name


def test_console_of_the_chart_listens_on_loopback() -> None:
    on = {name: text for name, text in environment(CONSOLE).items() if name.startswith("CONSOLE_")}
    console = read_settings({**on, "CONSOLE_HOSTS": "jump.example.com"}).console
    assert console is not None
    assert is_loopback(console.host)
    assert (console.port, console.token_file) == (3003, None)


@pytest.fixture(scope="module", autouse=True)
def at_once() -> None:
    prepare([*(case["values"] for case in TABLE["given"].values()), *(values for pair in TABLE["alike"].values() for values in pair)])


@pytest.mark.parametrize("name", TABLE["given"])
def test_values_give_the_service_these_variables(name: str) -> None:
    case = TABLE["given"][name]
    given = environment(case["values"])
    assert {variable: given.get(variable) for variable in case["variables"]} == case["variables"]


@pytest.mark.parametrize("name", TABLE["alike"])
def test_values_that_mean_the_same_render_the_same(name: str) -> None:
    values, like = TABLE["alike"][name]
    assert render(values) == render(like)


def test_later_files_win_over_earlier_ones() -> None:
    extra = {"enabled": True, "value": "1"}
    earlier, later = {"LOG_LEVEL": "debug", "EXTRA": extra}, {"LOG_LEVEL": "error", "EXTRA": {"enabled": False}}
    assert render([{"env": earlier}, {"env": later}]) == render({"env": {"LOG_LEVEL": "error"}})


def test_listed_variables_keep_their_order_at_the_end() -> None:
    listed = [
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "otel", "key": "token"}}},
        {"name": "OTEL_EXPORTER_OTLP_HEADERS", "value": "authorization=$(TOKEN)"},
        {"name": "A", "value": "1"},
    ]
    assert look(only(render({"env": listed}), "Deployment"), f"{CONTAINER}/env")[-3:] == listed


def test_a_variable_that_refers_to_another_comes_after_it() -> None:
    """Kubernetes puts in what was defined further up, and leaves $(NAME) as it is otherwise: the collector would get that for a key."""
    node = {"valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    key = {"valueFrom": {"secretKeyRef": {"name": "collector", "key": "key"}}}
    values = {
        "otel": {"resourceAttributes": "k8s.node.name=$(NODE)"},
        "env": {"NODE": node, "OTEL_EXPORTER_OTLP_HEADERS": "key=$(Z_KEY)", "Z_KEY": key},
    }
    names = [variable["name"] for variable in look(only(render(values), "Deployment"), f"{CONTAINER}/env")]
    assert names.index("NODE") < names.index("OTEL_RESOURCE_ATTRIBUTES")
    assert names.index("Z_KEY") < names.index("OTEL_EXPORTER_OTLP_HEADERS")
    assert len(names) == len(set(names))


def test_the_environment_of_the_reference_keeps_its_meaning() -> None:
    """The variables that its values.yaml sets, as texts and as YAML reads them, and two that its chart knew earlier, left empty."""
    env = {
        "GRPC_LOG_HEALTH_CHECKS": False,
        "METRICS_ENABLED": "true",
        "METRICS_PATH": "/custom",
        "METRICS_PORT": 9090,
        "GRPC_PORT": "4001",
        "TOKEN_EXCHANGE_DEFAULT_DENY_UNMATCHED": "true",
        "TOKEN_ENDPOINT_REQUEST_TIMEOUT": "600ms",
        "TOKEN_ENDPOINT_ALLOWLIST": "",
        "TOKEN_EXCHANGE_DEFAULT_TOKEN_ENDPOINT": "",
    }
    manifests = render({"env": env, "serviceMonitor": {"enabled": True}})
    container = look(only(manifests, "Deployment"), CONTAINER)
    given = {variable["name"]: variable.get("value") for variable in container["env"]}
    settings = read_settings({name: value for name, value in given.items() if value and name != "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE"})
    assert not settings.log_health_checks
    assert settings.decision.default_deny_unmatched
    assert settings.token_client.request_timeout == 0.6
    assert (settings.grpc.port, settings.metrics.port, settings.metrics.path) == (4001, 9090, "/custom")
    # ... and what depends on them follows.
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"grpc-authz": 4001, "http-metrics": 9090}
    assert container["readinessProbe"]["grpc"] == {"port": 4001}
    assert only(manifests, "ServiceMonitor")["spec"]["endpoints"][0]["path"] == "/custom"
    assert not {"TOKEN_ENDPOINT_ALLOWLIST", "TOKEN_EXCHANGE_DEFAULT_TOKEN_ENDPOINT"} & set(given)


def test_features_that_env_switches_off_are_off_everywhere() -> None:
    manifests = render({"env": {"METRICS_ENABLED": "Off", "POLICY_EVENTS": "0"}})
    assert look(only(manifests, "Deployment"), f"{CONTAINER}/ports/http-metrics") is None
    assert "events" not in str(only(manifests, "ClusterRole")["rules"])
    assert "http-metrics" not in str(only(manifests, "NetworkPolicy"))


def test_the_profiles_file_is_one_that_the_service_reads(tmp_path: Path) -> None:
    profiles = [
        PROFILE,
        {
            "name": "other",
            "tokenEndpoint": "https://other.example/token",
            "bearerRealm": "other",
            "tokenEndpointAuthMethod": "client_secret_post",
            "clientID": "me: {{ not a template }}",
            "clientSecretSecretRef": {"name": "other", "key": "secret", "namespace": "vault"},
            "tokenEndpointProtocol": "http2",
            "cache": {"maxTTL": "5m", "maxEntries": 1_000_000},
            "limits": {"maxInFlight": 64, "breaker": True},
        },
    ]
    content = only(render({"issuerProfiles": {"profiles": profiles}}), "ConfigMap", "exchanger-issuer-profiles")["data"]["issuers.yaml"]
    path = tmp_path / "issuers.yaml"
    path.write_text(content)
    read_settings({"TOKEN_EXCHANGE_ISSUER_PROFILES_FILE": str(path), "POD_NAMESPACE": "edge"})
    (_, other), problems = parse_profiles(content.encode(), "issuers.yaml")
    assert (other.cache, other.limits, problems) == (CachePolicy(300.0, 1_000_000), CallLimits(64, breaker=True), ())


def test_the_grants_file_is_one_that_the_service_reads() -> None:
    manifests = render(SETTINGS["service"]["granted"])
    folder, _, name = environment(SETTINGS["service"]["granted"])["POLICY_GRANTS_FILE"].rpartition("/")
    assert look(only(manifests, "Deployment"), f"{CONTAINER}/volumeMounts/policy-grants/mountPath") == folder
    volume = look(only(manifests, "Deployment"), f"{POD}/volumes/policy-grants/configMap/name")
    text = only(manifests, "ConfigMap", volume)["data"][name]
    assert isinstance(read_grants(text, has_labels=True), Grants)
    assert yaml.safe_load(text) == SETTINGS["service"]["granted"]["policy"]["grants"]


def test_profiles_of_a_second_list_come_after_those_of_the_first() -> None:
    extra = {
        **PROFILE,
        "name": "extra",
        "tokenEndpoint": "https://extra.example:8443/token",
        "clientSecretSecretRef": {"name": "x", "key": "k"},
    }
    manifests = render([{"issuerProfiles": {"profiles": [PROFILE]}}, {"issuerProfiles": {"extraProfiles": [extra]}}])
    content = yaml.safe_load(only(manifests, "ConfigMap", "exchanger-issuer-profiles")["data"]["issuers.yaml"])
    assert [issuer["name"] for issuer in content["issuers"]] == ["primary", "extra"]
    assert {"ports": [{"port": 8443, "protocol": "TCP"}]} in only(manifests, "NetworkPolicy")["spec"]["egress"]
    assert look(only(manifests, "Role"), "rules/0/resourceNames") == ["ext-authz-token-exchange-oauth", "x"]


def test_a_file_with_the_client_secret_takes_the_place_of_the_secret() -> None:
    manifests = render({"issuerProfiles": {"profiles": [{**PROFILE, "clientID": "id", "clientSecretFile": "/secrets/client"}]}})
    content = yaml.safe_load(only(manifests, "ConfigMap", "exchanger-issuer-profiles")["data"]["issuers.yaml"])
    assert content["issuers"][0] == {**PROFILE, "clientID": "id", "clientSecretFile": "/secrets/client"}


def test_a_secret_among_the_profiles_makes_a_secret_of_them() -> None:
    manifests = render({"issuerProfiles": {"profiles": [{**PROFILE, "clientID": "id", "clientSecret": "hush"}]}})
    assert "hush" in secret_texts(only(manifests, "Secret", "exchanger-issuer-profiles"))["issuers.yaml"]
    volume = look(only(manifests, "Deployment"), "spec/template/spec/volumes/issuer-profiles")
    assert volume == {"name": "issuer-profiles", "secret": {"secretName": "exchanger-issuer-profiles"}}
    assert "hush" not in str([manifest for manifest in manifests if manifest["kind"] != "Secret"])
