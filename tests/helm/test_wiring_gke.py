"""GKE's callout: ports, health, and its certificate, which is what the names say and lasts as long as it should."""

import base64
import datetime as dt
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.helm.cases import CONTAINER, POD, look
from tests.helm.chart import Manifest, of_kind, only, refusal, render
from tests.helm.wiring_cases import GKE, GKE_AUTHZ, GKE_PLAINTEXT, GKE_SELF_SIGNED

pytestmark = [pytest.mark.helm]

HOST = "gateway-ext-authz.edge.svc.cluster.local"


def callout_ports(manifests: list[Manifest]) -> dict[str, tuple[int, str]]:
    ports = only(manifests, "Service", "gateway-ext-authz")["spec"]["ports"]
    return {port["name"]: (port["port"], port["targetPort"]) for port in ports}


def matcher(values: dict[str, Any]) -> str:
    at = "spec/extensionChains/0/matchCondition/celExpressions/0/celMatcher"
    found: str = look(only(render(values), "GCPTrafficExtension"), at)
    return found


def test_the_load_balancer_calls_with_tls_and_checks_health_without() -> None:
    manifests = render(GKE)
    assert callout_ports(manifests) == {"grpc-authz-tls": (3000, "grpc-authz-tls"), "grpc-health": (3001, "grpc-authz")}
    check = only(manifests, "HealthCheckPolicy")["spec"]["default"]["config"]
    assert check == {"type": "GRPC", "grpcHealthCheck": {"portSpecification": "USE_FIXED_PORT", "port": 3001}}
    selector = only(manifests, "Service", "gateway-ext-authz")["spec"]["selector"]
    assert selector == only(manifests, "Deployment")["spec"]["selector"]["matchLabels"]


def pace(values: Mapping[str, Any]) -> tuple[int, str | None, int]:
    """Return the seconds for which a new pod has to be ready, how long one that leaves goes on, and its time to end."""
    deployment = only(render(values), "Deployment")
    sleep = look(deployment, f"{CONTAINER}/lifecycle/preStop/exec/command/2")
    return deployment["spec"]["minReadySeconds"], sleep, look(deployment, f"{POD}/terminationGracePeriodSeconds")


@pytest.mark.parametrize("values", [GKE, GKE_AUTHZ, GKE_PLAINTEXT, {"gatewayProvider": "gke-gateway"}], ids=str)
def test_pods_come_and_go_at_the_pace_of_googles_health_checks(values: Mapping[str, Any]) -> None:
    assert pace({}) == (5, "5s", 5 + 25 + 10)
    assert pace(values) == (10, "30s", 30 + 25 + 10)


@pytest.mark.parametrize("wiring", [{}, GKE], ids=["another gateway", "gke"])
def test_a_pace_of_ones_own_wins(wiring: Mapping[str, Any]) -> None:
    assert pace({**wiring, "minReadySeconds": 0, "shutdown": {"preStopSleep": "7s"}}) == (0, "7s", 7 + 25 + 10)
    assert pace({**wiring, "minReadySeconds": 3, "shutdown": {"preStopSleep": "0"}}) == (3, None, 25 + 10)
    assert pace({**wiring, "terminationGracePeriodSeconds": 99})[2] == 99
    assert pace({**wiring, "minReadySeconds": None, "shutdown": {"preStopSleep": None}}) == pace(wiring)


def test_too_little_time_to_end_is_refused_by_what_a_gke_callout_needs() -> None:
    assert "is 45, and shutdown needs 55 seconds" in refusal({**GKE, "terminationGracePeriodSeconds": 45})


def test_without_tls_one_port_serves_calls_and_health() -> None:
    manifests = render(GKE_PLAINTEXT)
    assert callout_ports(manifests) == {"grpc-authz-tls": (3001, "grpc-authz")}
    assert look(only(manifests, "Deployment"), "spec/template/spec/volumes/tls") is None


def test_the_callout_says_where_the_listener_for_it_is() -> None:
    """In values files of the reference nothing else does."""
    values = {**GKE, "gkeAuthz": {"callout": {"tls": {"port": 3443}, "service": {"port": 3443}}}}
    manifests = render(values)
    assert callout_ports(manifests)["grpc-authz-tls"] == (3443, "grpc-authz-tls")
    container = look(only(manifests, "Deployment"), CONTAINER)
    assert look(container, "env/GRPC_TLS_PORT/value") == "3443"
    assert look(container, "ports/grpc-authz-tls/containerPort") == 3443
    assert render({**values, "ports": {"grpc-authz-tls": {"containerPort": 3443}}}) == manifests
    switched_off = {"tls": {"secretName": "t"}, "gkeAuthz": values["gkeAuthz"]}
    assert look(only(render(switched_off), "Deployment"), f"{CONTAINER}/env/GRPC_TLS_PORT/value") == "3000"


def let_in(values: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return, for each port, the ranges that reach it without being gateways' pods; an empty list is any address."""
    found: dict[str, list[str]] = {}
    for policy in of_kind(render(values), "NetworkPolicy"):
        for rule in policy["spec"]["ingress"]:
            ranges = [peer["ipBlock"]["cidr"] for peer in rule.get("from", ()) if "ipBlock" in peer]
            if ranges or not rule.get("from"):
                for port in rule["ports"]:
                    assert port["port"] not in found, "two rules for one port add up"
                    found[port["port"]] = ranges
    return found


WATCHED_BY_ANOTHER = {**GKE, "gkeAuthz": {"callout": {"healthCheck": {"enabled": False}}}}
UNWATCHED = {**WATCHED_BY_ANOTHER, "tls": {"secretName": "gateway-ext-authz-tls", "only": True}, "tests": {"enabled": False}}
ON_THE_SERVING_PORT = {**GKE, "gkeAuthz": {"callout": {"healthCheck": {"portSpecification": "USE_SERVING_PORT"}}}}


@pytest.mark.parametrize(
    ("values", "ports"),
    [
        (GKE, {"grpc-authz-tls", "grpc-authz"}),
        (GKE_AUTHZ, {"grpc-authz-tls", "grpc-authz"}),
        (GKE_PLAINTEXT, {"grpc-authz"}),
        (WATCHED_BY_ANOTHER, {"grpc-authz-tls", "grpc-authz"}),
        (UNWATCHED, {"grpc-authz-tls"}),
        (ON_THE_SERVING_PORT, {"grpc-authz-tls"}),
    ],
    ids=["ext_proc", "ext_authz", "without tls", "with a health check of another's", "without one", "with a health check where it serves"],
)
def test_google_is_let_in_to_the_ports_that_it_asks_and_nobody_else_is_and_to_no_other(values: Mapping[str, Any], ports: set[str]) -> None:
    assert let_in(values) == {port: ["35.191.0.0/16", "130.211.0.0/22"] for port in ports}


def test_ranges_can_be_changed_and_without_any_every_address_is_let_in() -> None:
    for ranges in (["10.129.0.0/23"], []):
        values = {**GKE, "gkeAuthz": {"callout": {"sourceRanges": ranges}}}
        assert let_in(values) == {"grpc-authz-tls": ranges, "grpc-authz": ranges}


def test_without_a_callout_google_is_not_let_in() -> None:
    assert let_in({}) == {}


def test_a_port_for_health_is_there_where_it_is_asked_and_has_the_number_of_the_pods() -> None:
    for values in (UNWATCHED, ON_THE_SERVING_PORT):
        assert callout_ports(render(values)) == {"grpc-authz-tls": (3000, "grpc-authz-tls")}
    assert callout_ports(render(WATCHED_BY_ANOTHER)) == callout_ports(render(GKE))
    other = {**GKE, "ports": {"grpc-authz": {"containerPort": 3003}}, "gkeAuthz": {"callout": {"healthCheck": {"port": 3003}}}}
    manifests = render(other)
    assert callout_ports(manifests)["grpc-health"] == (3003, "grpc-authz")
    assert look(only(manifests, "HealthCheckPolicy"), "spec/default/config/grpcHealthCheck/port") == 3003


def test_without_a_host_every_request_is_shown_and_with_one_its_spelling_does_not_matter() -> None:
    assert matcher(dict(GKE)) == "1 == 1"
    assert matcher({**GKE, "gkeExtProc": {"enabled": True, "host": "API.Example.com"}}) == (
        "request.host.lowerAscii().contains('api.example.com')"
    )


def test_the_callouts_certificate_is_the_services() -> None:
    for values in (GKE, GKE_AUTHZ, {**GKE, "tls": {"secretName": "gateway-ext-authz-tls"}}):
        deployment = only(render(values), "Deployment")
        assert look(deployment, "spec/template/spec/volumes/tls/secret/secretName") == "gateway-ext-authz-tls"


def test_cert_manager_is_asked_for_the_name_that_the_load_balancer_looks_for() -> None:
    manifests = render(GKE)
    certificate = only(manifests, "Certificate")["spec"]
    assert certificate["dnsNames"] == [HOST]
    assert certificate["secretName"] == "gateway-ext-authz-tls"
    assert certificate["issuerRef"] == {"name": "gateway-ext-authz-selfsigned", "kind": "Issuer"}
    assert only(manifests, "Issuer")["spec"] == {"selfSigned": {}}
    validation = only(manifests, "BackendTLSPolicy")["spec"]["validation"]
    assert validation == {"hostname": HOST, "caCertificateRefs": [{"group": "", "kind": "Secret", "name": "gateway-ext-authz-tls"}]}


def test_a_certificate_made_here_has_the_names_the_authority_and_the_time_that_values_say() -> None:
    tls = {"selfSigned": {"enabled": True, "validityDays": 30}, "certificate": {"enabled": False, "dnsNames": [HOST, "b.example"]}}
    secret = only(render({**GKE, "gkeAuthz": {"callout": {"tls": tls}}}), "Secret")
    files = {name: base64.b64decode(text) for name, text in secret["data"].items()}
    certificate, authority = (x509.load_pem_x509_certificate(files[name]) for name in ("tls.crt", "ca.crt"))
    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    assert names == [HOST, "b.example"]
    key = load_pem_private_key(files["tls.key"], None)
    assert key.public_key() == certificate.public_key()
    left = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
    assert dt.timedelta(days=29) < left < dt.timedelta(days=31)


def test_a_rendering_without_a_cluster_makes_another_certificate_each_time() -> None:
    """Which is why upgrades look the Secret up; ``test_wiring_control_plane.py`` shows that they keep it."""
    first, second = (only(render(GKE_SELF_SIGNED), "Secret")["data"]["tls.crt"] for _ in range(2))
    assert first != second
