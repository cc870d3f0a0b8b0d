"""``exchanger serve`` with a real API server: policy, rights, issuers' Secrets and outages, as an operator sees them."""

import contextlib
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Final

import pytest

from exchanger._proto.grpc.health.v1.health_pb2 import HealthCheckResponse
from tests.e2e.service import Service, answering, serving
from tests.e2e.test_serve import status
from tests.sources.kube.admin import NAMESPACE_LABELS, READ_POLICY, WRITE_EVENTS, Rule, until
from tests.sources.kube.control_plane import ControlPlane

pytestmark = [pytest.mark.full, pytest.mark.kubernetes, pytest.mark.slow]

READ_SECRET: Final[Rule] = {
    "apiGroups": [""],
    "resources": ["secrets"],
    "resourceNames": ["issuer-oauth"],
    "verbs": ["list", "watch"],
}
# What the Go service needs, so that there are roles with this alone.
GET_SECRET: Final[Rule] = {**READ_SECRET, "verbs": ["get"]}
ACCOUNT: Final = {"kind": "ServiceAccount", "name": "exchanger", "namespace": "exchanger"}
ISSUERS: Final = """
issuers:
  - name: primary
    tokenEndpoint: https://issuer.invalid/token
    clientIDSecretRef: {name: issuer-oauth, key: client_id}
    clientSecretSecretRef: {name: issuer-oauth, key: client_secret}
"""
EXCHANGE: Final = """
version: v1
entries:
  - match: {host: api.example.com, pathPrefix: /orders}
    action: exchange
    exchange: {issuerRef: primary, scope: read:orders}
"""


def deny(prefix: str) -> str:
    return f"version: v1\nentries: [{{match: {{host: api.example.com, pathPrefix: {prefix}}}, action: deny}}]"


def set_up(control_plane: ControlPlane, *more: Rule, labels: Mapping[str, str] = NAMESPACE_LABELS) -> None:
    """Begin with an empty Namespace ``team``, and an account of the service that may read policy and its Secret, and ``more``."""
    admin = control_plane.admin
    control_plane.tidy()
    admin.put_namespace("team", labels)
    admin.put_namespace("exchanger", {})
    token = admin.put_service_account("exchanger", (*READ_POLICY, READ_SECRET, *more), "exchanger")
    control_plane.kubeconfig("service", token=token)
    put_secret(control_plane, "canary")
    for resource in {"configmaps", *(name for rule in more for name in rule["resources"])}:
        admin.until_may("exchanger", "exchanger", "list" if resource == "configmaps" else "create", resource, "team")


@pytest.fixture
def cluster(control_plane: ControlPlane) -> ControlPlane:
    set_up(control_plane)
    return control_plane


@contextlib.contextmanager
def running(control_plane: ControlPlane, folder: Path, *, ready: bool = True, **variables: str) -> Generator[Service]:
    (folder / "issuers.yaml").write_text(ISSUERS)
    with (serving if ready else answering)(
        folder,
        "",
        POLICY_SOURCE="kubernetes",
        KUBECONFIG=str(control_plane.folder / "service"),
        POD_NAMESPACE="exchanger",
        **variables,
    ) as service:
        yield service
        if service.process.poll() is None:
            assert service.stop() == 0
        assert "canary" not in service.lines()


def currency(service: Service) -> tuple[float, float]:
    """Return what the metrics say of the connection and of the age of the policy."""
    connected, age = service.metric("policy_source_connected"), service.metric("policy_snapshot_age_seconds")
    assert connected is not None
    assert age is not None
    return connected, age


def put_secret(control_plane: ControlPlane, secret: str) -> None:
    control_plane.admin.put_secret("exchanger", "issuer-oauth", {"client_id": "client", "client_secret": secret})


def test_policy_and_issuers_take_effect_without_a_restart(cluster: ControlPlane, tmp_path: Path) -> None:
    admin = cluster.admin
    with running(cluster, tmp_path, POLICY_EVENTS="false") as service:
        assert status(service.check("/admin")) == 200
        admin.put_config_map("team", "policy", deny("/admin"))
        until(lambda: status(service.check("/admin")) == 403, service.lines)
        admin.put_config_map("team", "orders", EXCHANGE)
        until(lambda: status(service.check("/orders")) == 401, service.lines)
        admin.put_config_map("team", "orders", EXCHANGE.replace("primary", "second"))
        until(lambda: status(service.check("/orders")) == 500, service.lines)
        (tmp_path / "issuers.yaml").write_text(ISSUERS + ISSUERS.replace("issuers:\n", "").replace("primary", "second"))
        until(lambda: status(service.check("/orders")) == 401, service.lines)
        (tmp_path / "issuers.yaml").write_text("issuers: [{name: primary}]")
        until(lambda: "issuers.file_rejected" in service.lines(), service.lines)
        assert status(service.check("/orders")) == 401
        put_secret(cluster, "canary-2")
        until(lambda: service.lines().count("issuers.rotated") == 2, service.lines)
        admin.put_namespace("team", {})
        until(lambda: status(service.check("/admin")) == 200, service.lines)
        assert service.stop() == 0
        assert "event" not in service.lines().replace('"event":', "")


def test_a_role_with_only_get_on_secrets_suffices_for_a_rotation(cluster: ControlPlane, tmp_path: Path) -> None:
    cluster.admin.grant("exchanger", ACCOUNT, (*READ_POLICY, GET_SECRET))
    cluster.admin.put_config_map("team", "policy", deny("/admin").replace("deny", "dney"))
    with running(cluster, tmp_path) as service:
        assert status(service.check("/admin")) == 500
        put_secret(cluster, "canary-2")
        until(lambda: "issuers.rotated" in service.lines(), service.lines)
        until(lambda: "policy.event_right_missing" in service.lines(), service.lines)
        assert service.stop() == 0
        assert "issuers.secret_problem" not in service.lines()


def test_authors_learn_of_their_mistakes_by_events(control_plane: ControlPlane, tmp_path: Path) -> None:
    admin = control_plane.admin
    set_up(control_plane, WRITE_EVENTS)
    admin.put_config_map("team", "policy", deny("/admin").replace("deny", "dney"))

    def reasons() -> set[str]:
        return {event["reason"] for event in admin.request("GET", "/api/v1/namespaces/team/events")["items"]}

    with running(control_plane, tmp_path) as service:
        until(lambda: reasons() == {"InvalidPolicy"}, service.lines)
        admin.put_config_map("team", "policy", deny("/admin"))
        until(lambda: reasons() == {"InvalidPolicy", "PolicyActive"}, service.lines)
        uid = admin.request("GET", "/api/v1/namespaces/team/configmaps/policy")["metadata"]["uid"]
        # What ``kubectl describe configmap`` asks for.
        selector = f"involvedObject.name=policy,involvedObject.uid={uid}"
        assert len(admin.request("GET", f"/api/v1/namespaces/team/events?fieldSelector={selector}")["items"]) == 2


def test_a_missing_secret_is_said_and_waited_for(cluster: ControlPlane, tmp_path: Path) -> None:
    cluster.admin.delete("/api/v1/namespaces/exchanger/secrets/issuer-oauth")
    cluster.admin.put_config_map("team", "orders", EXCHANGE)
    with running(cluster, tmp_path, ready=False) as service:
        until(lambda: "there is no Secret exchanger/issuer-oauth" in service.lines(), service.lines)
        assert service.health() == HealthCheckResponse.NOT_SERVING
        put_secret(cluster, "canary")
        until(lambda: service.health() == HealthCheckResponse.SERVING, service.lines)
        assert status(service.check("/orders")) == 401
        until(lambda: "issuers.secret_recovered" in service.lines(), service.lines)


def test_an_outage_keeps_policy_until_too_old_and_names_the_missing_right(cluster: ControlPlane, tmp_path: Path) -> None:
    cluster.admin.put_config_map("team", "policy", deny("/admin"))
    with running(cluster, tmp_path, POLICY_MAX_STALENESS="10s", METRICS_ENABLED="true") as service:
        until(lambda: currency(service) == (1.0, 0.0), service.lines)  # a first list is active before its changes are followed
        cluster.admin.withdraw("exchanger")  # which ends no watch
        cluster.kill_apiserver()
        until(lambda: "policy.source_disconnected" in service.lines(), service.lines)
        connected, age = currency(service)
        assert connected == 0.0
        assert 0.0 < age < 10.0
        assert (status(service.check("/admin")), status(service.check("/public"))) == (403, 200)
        until(lambda: status(service.check("/public")) == 500, service.lines)
        assert service.health() == HealthCheckResponse.NOT_SERVING
        connected, later = currency(service)
        assert connected == 0.0
        assert later > 10.0 > age
        cluster.start_apiserver()
        until(lambda: "needs list on configmaps in every namespace" in service.lines(), service.lines)
        assert service.health() == HealthCheckResponse.NOT_SERVING
        cluster.admin.grant("exchanger", ACCOUNT, (*READ_POLICY, READ_SECRET))
        until(lambda: service.health() == HealthCheckResponse.SERVING, service.lines)
        assert (status(service.check("/admin")), status(service.check("/public"))) == (403, 200)
        assert currency(service) == (1.0, 0.0)


NARROW: Final = {"kind": "ServiceAccount", "name": "narrow", "namespace": "team"}
LIST_CONFIG_MAPS: Final[tuple[Rule, ...]] = ({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]},)


def test_an_unreadable_named_namespace_fails_closed_until_readable_or_removed(cluster: ControlPlane, tmp_path: Path) -> None:
    """Nobody knows what policies are in it: the server says the same of one that does not exist as of one that may not be read."""
    admin, names = cluster.admin, tmp_path / "namespaces"
    names.write_text("team\nlater\n")
    cluster.kubeconfig("service", token=admin.put_service_account("narrow", LIST_CONFIG_MAPS, "team", everywhere=False))
    admin.grant("narrow", NARROW, (READ_SECRET,), "exchanger")
    admin.put_config_map("team", "policy", deny("/admin"))
    with running(cluster, tmp_path, ready=False, POLICY_NAMESPACES_FILE=str(names), METRICS_ENABLED="true") as service:
        missing = '"namespace":"later","reason":"needs list on configmaps in the namespace later"'

        def nothing_is_active() -> None:
            assert "policy.published" not in service.lines()
            assert service.health() == HealthCheckResponse.NOT_SERVING
            assert [status(service.check(path)) for path in ("/admin", "/public")] == [500, 500]
            assert service.metric("policy_source_connected") == 0.0
            assert service.metric("policy_snapshot_age_seconds") is None

        until(lambda: missing in service.lines() and '"resource":"configmaps in team"' in service.lines(), service.lines)
        nothing_is_active()
        admin.put_namespace("later", {})  # there is one now, which may not be read
        names.write_text("")
        until(lambda: "policy.namespaces_rejected" in service.lines(), service.lines)
        nothing_is_active()
        names.write_text("team # without it\n")
        until(lambda: service.health() == HealthCheckResponse.SERVING, service.lines)
        assert [status(service.check(path)) for path in ("/admin", "/later", "/public")] == [403, 200, 200]
        assert service.lines().count("policy.namespace_unreadable") == 1
        admin.put_config_map("later", "policy", deny("/later"))
        admin.grant("narrow", NARROW, LIST_CONFIG_MAPS, "later")
        admin.until_may("narrow", "team", "list", "configmaps", "later")
        names.write_text("team\nlater\n")
        until(lambda: status(service.check("/later")) == 403, service.lines)
        assert [status(service.check(path)) for path in ("/admin", "/public")] == [403, 200]
        assert service.metric("policy_source_connected") == 1.0
