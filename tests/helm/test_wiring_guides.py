"""What the guides say to write down works: values are rendered, Envoy accepts its configuration, names agree with the chart's."""

import re
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import trustme
import yaml

from exchanger.model.entry import Source
from exchanger.policy.documents.document import parse_document
from tests.helm.cases import look
from tests.helm.chart import CHART, only, render
from tests.helm.guides import FENCE, GUIDES, PAGES, Block, block, blocks, complaint, guide_config, manager

pytestmark = [pytest.mark.helm]

# What the values of each block make, beside what the chart makes in any case.
MAKES: Final[dict[str, set[str]]] = {
    "service": set(),
    "istio-provider": {"AuthorizationPolicy"},
    "istio-host": {"AuthorizationPolicy", "ServiceEntry"},
    "istio-filter": {"EnvoyFilter"},
    "istio-sidecar": set(),
    "istio-ambient": set(),
    "envoy-gateway": {"SecurityPolicy", "ReferenceGrant"},
    "envoy-gateway-tls": {"SecurityPolicy", "ReferenceGrant", "BackendTLSPolicy"},
    "gke": {"GCPTrafficExtension", "HealthCheckPolicy", "GCPBackendPolicy", "BackendTLSPolicy", "Certificate", "Issuer"},
    "gke-self-signed": {"GCPTrafficExtension", "HealthCheckPolicy", "GCPBackendPolicy", "BackendTLSPolicy", "Secret"},
    "gke-authority": {"GCPTrafficExtension", "HealthCheckPolicy", "GCPBackendPolicy", "BackendTLSPolicy", "Certificate"},
    "gke-authz": {"HealthCheckPolicy", "GCPBackendPolicy", "BackendTLSPolicy", "Certificate", "Issuer"},
    "plain-envoy": set(),
    "http-authz": set(),
    "plain-envoy-mtls": set(),
    "beside": set(),
}
# The other blocks that a test reads, here or in ``test_hardening_guide.py``; an API server is given the manifests, too
# (``test_wiring_control_plane.py``).
READ: Final = {
    "manifests": {"policy", "paths", "certificate", "guard", "gke-authority", "raw-headers", "external-auth", "external-auth-http"},
    "mesh": {"", "istio-host"},
    "envoy": {"ext_authz", "http_service"},  # the second one and NGINX's and Caddy's blocks in tests/e2e/test_http_gateways.py
    "traefik": {"static", "dynamic"},
    "agentgateway": {""},
    "argocd": {"", "generated"},  # in test_gitops_guide.py, and the next
    "flux": {""},
    **{key: {""} for key in ("issuers", "policy", "compose")},  # in tests/e2e/test_outside_kubernetes.py
    "filter": {"ext_proc", "credentials"},
    "routes": {"credentials"},
    "transport": {"mtls"},
}
LANGUAGES: Final = {"yaml", "sh", "nginx", "caddyfile", "ini"}
SERVICE: Final = block("values", "service")


@cache
def core() -> frozenset[str]:
    """Return the kinds that the chart makes in any case."""
    return frozenset(found["kind"] for found in render(SERVICE))


def provider(name: str) -> dict[str, Any]:
    (found,) = block("mesh", name)["meshConfig"]["extensionProviders"]
    return dict(found)


def test_every_block_of_yaml_is_marked_and_read_by_a_test() -> None:
    known = {("values", name) for name in MAKES} | {(kind, name) for kind, names in READ.items() for name in names}
    assert sorted((found.kind, found.name) for found in blocks()) == sorted(known)
    opened = [language for page in PAGES for language in FENCE.findall(page.read_text())[::2]]
    assert set(opened) == LANGUAGES  # a block without one, or of another spelling, would be read by nobody
    assert len(blocks()) == opened.count("yaml")


def test_traefik_believes_no_client_and_takes_the_token_from_the_answer() -> None:
    found = block("traefik", "dynamic")["http"]
    asked = found["middlewares"]["exchanger"]["forwardAuth"]
    assert asked["address"].endswith("/forward-auth")
    assert (asked["trustForwardHeader"], asked["authResponseHeaders"]) == (False, ["Authorization", "X-Exchanger-Secret"])
    (sent,) = found["middlewares"]["exchanger-secret"]["headers"]["customRequestHeaders"]
    assert sent == "X-Exchanger-Secret"  # which the other one takes out again
    assert [router["middlewares"] for router in found["routers"].values()] == [["exchanger-secret", "exchanger"]]
    (entry,) = block("traefik", "static")["entryPoints"].values()
    assert (entry["forwardedHeaders"], entry["http"]) == ({"insecure": False}, {"aliasHeadersStrategy": "reject"})


def test_agentgateway_waits_for_an_exchange_and_fails_closed() -> None:
    ((bind,),) = (found.documents[0]["binds"] for found in blocks("agentgateway"))
    asked = bind["listeners"][0]["routes"][0]["policies"]["extAuthz"]
    assert (asked["failureMode"], asked["timeout"], "includeRequestHeaders" in asked) == ("deny", "1s", False)


@pytest.mark.parametrize("found", blocks("values"), ids=str)
def test_values_make_what_the_guide_says(found: Block) -> None:
    (values,) = found.documents
    assert {manifest["kind"] for manifest in render([SERVICE, values])} - core() == MAKES[found.name]


def test_policy_of_the_guide_is_selected_and_names_its_profile() -> None:
    namespace, policy = next(found for found in blocks("manifests") if found.name == "policy").documents
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())["policy"]
    for manifest, selector in ((namespace, defaults["namespaceSelector"]), (policy, defaults["configMapSelector"])):
        name, _, value = selector.partition("=")
        assert manifest["metadata"]["labels"][name] == value
    assert policy["metadata"]["namespace"] == namespace["metadata"]["name"]
    profiles = frozenset(profile["name"] for profile in SERVICE["issuerProfiles"]["profiles"])
    understood = parse_document(Source("orders", "policy"), policy["data"]["config.yaml"], profiles)
    assert (len(understood.entries), understood.closed_scopes) == (2, ())


def test_gke_guide_creates_the_issuer_that_its_values_name() -> None:
    root, certificate, issuer = next(found for found in blocks("manifests") if found.name == "gke-authority").documents
    named = block("values", "gke-authority")["gkeAuthz"]["callout"]["tls"]["certificate"]
    assert (issuer["kind"], issuer["metadata"]["name"]) == (named["issuerKind"], named["issuerName"])
    assert issuer["spec"]["ca"]["secretName"] == certificate["spec"]["secretName"]
    assert certificate["spec"]["issuerRef"] == {"kind": root["kind"], "name": root["metadata"]["name"]}


@pytest.mark.parametrize(("mesh", "values"), [("", "istio-provider"), ("istio-host", "istio-host")])
def test_mesh_provider_of_the_guide_leads_to_the_service(mesh: str, values: str) -> None:
    manifests = render([SERVICE, block("values", values)])
    said = provider(mesh)
    assert said["name"] == only(manifests, "AuthorizationPolicy")["spec"]["provider"]["name"]
    asks = said["envoyExtAuthzGrpc"]
    service = only(manifests, "Service", "exchanger")
    hosts = {f"exchanger.edge.svc.cluster.local:{look(service, 'spec/ports/grpc-api/port')}"}
    if values == "istio-host":
        entry = only(manifests, "ServiceEntry")["spec"]
        hosts = {f"{entry['hosts'][0]}:{entry['ports'][0]['number']}"}
    assert f"{asks['service']}:{asks['port']}" in hosts
    assert asks["failOpen"] is False
    assert asks["timeout"] == "1s"
    # https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/
    assert set(asks) <= {"service", "port", "timeout", "failOpen", "statusOnError", "clearRouteCache"}


def test_the_commands_are_for_the_chart_that_is_here() -> None:
    named = {path for guide in GUIDES.glob("*.md") for path in re.findall(r"(?<!\.)\./(helm/\S+)", guide.read_text())}
    assert named == {str(CHART.relative_to(CHART.parents[1]))}


@pytest.mark.parametrize("values", ["plain-envoy", "plain-envoy-mtls"])
def test_the_bootstrap_asks_a_service_that_leads_to_every_pod(values: str) -> None:
    clusters = {cluster["name"]: cluster for cluster in guide_config()["static_resources"]["clusters"]}
    asked = look(clusters["exchanger"], "load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address")
    service = only(render([SERVICE, block("values", values)]), "Service", asked["address"].removesuffix(".edge.svc.cluster.local"))
    assert service["spec"]["clusterIP"] == "None"
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    assert ports.get("grpc-api", 3000) in {asked["port_value"], 3000}


@pytest.mark.envoy
def test_envoy_accepts_the_tls_of_the_cluster(tmp_path: Path) -> None:
    """All else runs in ``test_hardening_guide.py``."""
    authority = trustme.CA()
    certificate = authority.issue_cert("gateway.example.com")
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "tls.key")
    config = guide_config()
    config["static_resources"]["clusters"][0] |= block("transport", "mtls")
    assert complaint(config, tmp_path) == ""


def test_the_filters_of_the_guide_are_those_of_the_chart() -> None:
    """But for the cluster's name, and the route that is chosen again in Istio, as it always was there."""
    for mode, written in ((mode, manager(guide_config(mode))["http_filters"][0]) for mode in ("ext_authz", "ext_proc")):
        rendered = look(
            only(render({"extensionMode": mode, "envoyFilter": {"enabled": True}}), "EnvoyFilter"), "spec/configPatches/0/patch/value"
        )
        for found in (written, rendered):
            found["typed_config"]["grpc_service"]["envoy_grpc"].pop("cluster_name")
            for name in ("clear_route_cache", "route_cache_action", "include_peer_certificate", "allow_mode_override", "processing_mode"):
                found["typed_config"].pop(name, None)
        assert written == rendered
