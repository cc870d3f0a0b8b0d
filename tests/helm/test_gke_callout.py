"""The certificate of GKE's callout is what the values say and lasts as long as it should; who may reach the callout."""

import base64
import datetime as dt
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.helm.chart import of_kind, only, render
from tests.helm.wirings import GKE, GKE_AUTHZ, GKE_PLAINTEXT, GKE_SELF_SIGNED

pytestmark = [pytest.mark.helm]

HOST = "gateway-ext-authz.edge.svc.cluster.local"


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
    first, second = (only(render(GKE_SELF_SIGNED, release=name), "Secret")["data"]["tls.crt"] for name in ("one", "two"))
    assert first != second
