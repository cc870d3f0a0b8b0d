"""What is rendered is what Kubernetes takes, in each version that the chart is for, and hardened; helm's own lint has no objection."""

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from exchanger.envoy.health import LIVENESS
from tests.helm.cases import CONSOLE, CONSOLE_TOKEN, CONTAINER, MTLS, PEERS, POD, PROFILE, TLS, look
from tests.helm.chart import CHART, Manifest, of_kind, only, refusal, render, run_helm
from tests.helm.test_wiring_modes import MODES

pytestmark = [pytest.mark.helm]

VERSIONS = ("1.29", "1.31", "1.33", "1.35", "1.37")
"""The oldest that the chart takes, the newest that the schemas know, and some between."""
CUSTOM = {"ServiceMonitor", "PodMonitor", "PrometheusRule"}
"""Kinds that Kubernetes does not know by itself."""

FULL: dict[str, Any] = {
    "autoscaling": {
        "enabled": True,
        "targetMemoryUtilizationPercentage": 80,
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
    },
    "commonLabels": {"team": "edge"},
    "env": {"EXTRA": "1"},
    "envFrom": [{"configMapRef": {"name": "extra"}}],
    "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca", "readOnly": True}],
    "image": {"digest": f"sha256:{'0' * 64}"},
    "imagePullSecrets": [{"name": "registry"}],
    "issuerProfiles": {
        "profiles": [PROFILE, {**PROFILE, "name": "two", "clientIDSecretRef": {"name": "x", "namespace": "vault", "key": "k"}}]
    },
    "networkPolicy": {"ingress": {"gateways": PEERS}, "egress": {"tokenEndpoints": [{"to": PEERS, "ports": [8443]}]}},
    "oauth": {"createSecret": True, "clientID": "id", "clientSecret": "secret"},
    "otel": {"tracesExporter": "otlp", "endpoint": "http://collector.telemetry.svc.cluster.local:4318"},
    "podMonitor": {"enabled": True},
    "priorityClassName": "system-cluster-critical",
    "service": {"type": "NodePort", "ports": {"grpc-api": {"nodePort": 30001}}},
    "tolerations": [{"operator": "Exists"}],
    **CONSOLE_TOKEN,
    **MTLS,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "full": FULL,
    "namespaced": {"policyNamespaces": ["a", "b"]},
    "bare": {
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "rbac": {"create": False},
        "metrics": {"enabled": False},
        "tests": {"enabled": False},
    },
    "tls only": {"tls": {"secretName": "edge", "only": True}},
    "open": {"networkPolicy": {"ingress": {"gateways": [], "monitoring": []}}},
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", SETTINGS)
def test_every_manifest_is_valid_and_has_no_field_that_kubernetes_does_not_know(name: str, version: str) -> None:
    values = dict(SETTINGS[name])
    manifests = render(values, kubernetes=f"{version}.0")
    assert manifests
    for manifest in manifests:
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_a_wrong_field_would_be_found() -> None:
    deployment = only(render(), "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["volumMounts"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[0], strict=True)


def test_an_older_kubernetes_is_refused() -> None:
    said = refusal({}, kubernetes="1.28.9")
    assert "this chart needs Kubernetes 1.29 or newer, and this is v1.28.9: upgrade the cluster" in said


@pytest.mark.parametrize("version", ["1.29.0", "1.29.0-rc.1", "1.29.4-gke.100", "1.33.5+k3s1"])
def test_every_build_of_a_supported_kubernetes_is_taken(version: str) -> None:
    assert render(kubernetes=version)


@pytest.mark.parametrize("name", SETTINGS)
def test_lint_has_no_objection(name: str, tmp_path: Any) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(SETTINGS[name]))
    done = run_helm("lint", "--strict", CHART, "--values", path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


WHOLE: dict[str, Mapping[str, Any]] = {
    **SETTINGS,
    **{f"wiring, {mode}": values for mode, (values, _) in MODES.items()},
    "monitoring": {name: {"enabled": True} for name in ("grafanaDashboard", "prometheusRule", "serviceMonitor")},
    "monitoring elsewhere": {
        name: {"enabled": True, "namespace": "monitoring", "labels": {"a": "b"}, "annotations": {"c": "d"}}
        for name in ("grafanaDashboard", "prometheusRule")
    },
}
"""Values that together render every template of the chart."""


@pytest.mark.parametrize("name", WHOLE)
def test_no_key_is_written_twice_in_a_manifest(name: str, tmp_path: Any) -> None:
    class Strict(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            assert len(keys) == len(set(keys)), f"{node.start_mark}: {keys}"
            return super().construct_mapping(node, deep)

    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(dict(WHOLE[name])))
    done = run_helm("template", "exchanger", CHART, "--values", path)
    assert done.returncode == 0, done.stderr
    assert list(yaml.load_all(done.stdout, Strict))


def test_every_template_is_looked_at_for_such_keys() -> None:
    templates = {path.relative_to(CHART).as_posix() for path in (CHART / "templates").rglob("*.yaml")}
    rendered: set[str] = set()
    for values in WHOLE.values():
        rendered |= sources(values)
    # These refuse, and render nothing.
    assert templates - rendered == {"templates/validate.yaml", "templates/validate-environment.yaml", "templates/wiring-validate.yaml"}


def sources(values: Mapping[str, Any]) -> set[str]:
    """Return the templates that ``values`` render, as helm names them above each manifest."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "values.yaml"
        path.write_text(yaml.safe_dump(dict(values)))
        done = run_helm("template", "exchanger", CHART, "--values", path)
    return set(re.findall(r"^# Source: exchanger/(.+)$", done.stdout, re.MULTILINE))


def pods(manifests: list[Manifest]) -> list[dict[str, Any]]:
    hooks = [manifest["spec"] for manifest in manifests if manifest["kind"] == "Pod"]
    return [only(manifests, "Deployment")["spec"]["template"]["spec"], *hooks]


@pytest.mark.parametrize("name", SETTINGS)
def test_every_pod_is_restricted_and_only_the_services_has_a_token(name: str) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, and a read-only root beyond it."""
    service, *hooks = pods(render(SETTINGS[name]))
    for pod in (service, *hooks):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert service["automountServiceAccountToken"] is True
    assert [hook["automountServiceAccountToken"] for hook in hooks] == [False] * len(hooks)


def test_the_service_does_not_take_the_tests_pod_for_one_of_its_own() -> None:
    manifests = render()
    selector = only(manifests, "Service")["spec"]["selector"]
    (hook,) = [manifest for manifest in manifests if manifest["kind"] == "Pod"]
    assert not selector.items() <= hook["metadata"]["labels"].items()
    assert selector.items() <= look(only(manifests, "Deployment"), "spec/template/metadata/labels").items()
    # ... but the network policy lets it in.
    peers = [peer for rule in only(manifests, "NetworkPolicy")["spec"]["ingress"] for peer in rule["from"] if "podSelector" in peer]
    assert any(peer["podSelector"]["matchLabels"].items() <= hook["metadata"]["labels"].items() for peer in peers)


def test_another_version_of_the_chart_alone_replaces_no_pod(tmp_path: Any) -> None:
    import shutil

    copy = tmp_path / "exchanger"
    shutil.copytree(CHART, copy)
    chart = yaml.safe_load((copy / "Chart.yaml").read_text())
    (copy / "Chart.yaml").write_text(yaml.safe_dump({**chart, "version": "9.9.9"}))
    before, after = (only(render(chart=where), "Deployment") for where in (CHART, copy))
    assert before["metadata"]["labels"] != after["metadata"]["labels"]
    assert before["spec"] == after["spec"]


def test_configuration_that_is_followed_live_replaces_no_pod() -> None:
    before, after = (only(render({"issuerProfiles": {"profiles": profiles}}), "Deployment") for profiles in ([], [PROFILE]))
    assert before == after
    text = str(render(FULL))
    assert "reloader" not in text
    assert "checksum" not in text
    assert "subPath" not in text


def test_the_console_adds_a_variable_and_nothing_that_leads_to_it_from_elsewhere() -> None:
    before, after = (render(values) for values in ({}, CONSOLE))
    look(only(after, "Deployment"), f"{CONTAINER}/env").remove({"name": "CONSOLE_ADDRESS", "value": "127.0.0.1:3003"})
    assert after == before


def test_the_consoles_token_is_a_folder_that_follows_its_secret_and_cannot_be_written() -> None:
    deployment = only(render(CONSOLE_TOKEN), "Deployment")
    assert look(deployment, f"{POD}/volumes/console-token") == {"name": "console-token", "secret": {"secretName": "console"}}
    mount = look(deployment, f"{CONTAINER}/volumeMounts/console-token")
    assert mount == {"name": "console-token", "mountPath": "/etc/exchanger/console", "readOnly": True}
    assert look(deployment, f"{CONTAINER}/env/CONSOLE_TOKEN_FILE/value") == f"{mount['mountPath']}/token"
    # Switched off, nothing of it is left that a pod could wait for.
    off = {"console": {**CONSOLE_TOKEN["console"], "enabled": False}}
    assert render(off) == render()


def test_the_profiles_folder_is_mounted_where_the_variable_says() -> None:
    deployment = only(render({"issuerProfiles": {"mountPath": "/profiles/", "fileName": "p.json"}}), "Deployment")
    assert look(deployment, f"{CONTAINER}/env/TOKEN_EXCHANGE_ISSUER_PROFILES_FILE/value") == "/profiles/p.json"


def test_a_scaled_deployment_leaves_its_size_to_the_autoscaler() -> None:
    assert "replicas" not in only(render({"autoscaling": {"enabled": True}}), "Deployment")["spec"]


def test_a_handler_of_the_users_replaces_the_charts() -> None:
    handler = {"httpGet": {"path": "/metrics", "port": "http-metrics"}}
    probe = look(only(render({"livenessProbe": handler}), "Deployment"), f"{CONTAINER}/livenessProbe")
    assert probe["httpGet"] == handler["httpGet"]
    assert "grpc" not in probe


def test_a_handler_that_names_no_port_asks_where_the_service_listens() -> None:
    asked = {"grpc": {"service": "envoy.service.auth.v3.Authorization"}}
    container = look(only(render({"readinessProbe": asked, "env": {"GRPC_PORT": "4001"}}), "Deployment"), CONTAINER)
    assert container["readinessProbe"]["grpc"] == {"port": 4001, **asked["grpc"]}


def test_a_headless_service_is_a_second_one_and_leads_to_the_pods_own_ports() -> None:
    values = {"service": {"headless": True, "type": "LoadBalancer", "annotations": {"a": "b"}, "ports": {"grpc-api": {"port": 80}}}}
    manifests = render({**values, **TLS, "env": {"GRPC_PORT": "4001"}})
    first, second = (only(manifests, "Service", name) for name in ("exchanger", "exchanger-headless"))
    assert (first["spec"]["type"], look(first, "spec/ports/grpc-api/port")) == ("LoadBalancer", 80)
    assert (second["spec"]["clusterIP"], second["spec"]["selector"]) == ("None", first["spec"]["selector"])
    assert {port["name"]: port["port"] for port in second["spec"]["ports"]} == {"grpc-api": 4001, "grpc-api-tls": 3000}
    # An address for the one would be taken for an address of the other.
    assert "annotations" not in second["metadata"]


def test_no_two_releases_have_a_name_in_common_outside_of_their_namespaces() -> None:
    def names(namespace: str, release: str) -> set[tuple[str, str]]:
        manifests = render({**FULL, **MODES["istio's filter"][0]}, namespace=namespace, release=release)
        return {
            (found["kind"], found["metadata"]["name"])
            for found in manifests
            if found["metadata"].get("namespace", "") not in {"team", "team-a"}
        }

    ours = names("team", "a-exchanger")
    assert ours
    assert ours & names("team-a", "exchanger") == set()


def test_another_cluster_role_is_bound_anew_since_a_binding_cannot_change() -> None:
    bindings = [only(render({"rbac": {"clusterRoleName": name}}), "ClusterRoleBinding") for name in ("", "a", "b")]
    assert len({binding["metadata"]["name"] for binding in bindings}) == 3
    assert [binding["roleRef"]["name"] for binding in bindings[1:]] == ["a", "b"]


def test_liveness_and_startup_ask_whether_the_process_answers_and_readiness_whether_it_serves() -> None:
    container = look(only(render(), "Deployment"), CONTAINER)
    assert container["livenessProbe"]["grpc"] == container["startupProbe"]["grpc"] == {"port": 3001, "service": LIVENESS}
    assert container["readinessProbe"]["grpc"] == {"port": 3001}


def test_no_rollout_takes_a_pod_before_its_successor_is_ready() -> None:
    assert only(render(), "Deployment")["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_tls_alone_leaves_plaintext_to_the_pods_own_probes() -> None:
    manifests = render({"tls": {"secretName": "edge", "only": True}})
    assert [port["name"] for port in only(manifests, "Service")["spec"]["ports"]] == ["grpc-api-tls"]
    assert "grpc-authz'" not in str(only(manifests, "NetworkPolicy")["spec"]["ingress"])
    deployment = only(manifests, "Deployment")
    assert look(deployment, f"{CONTAINER}/ports/grpc-authz/containerPort") == 3001
    (hook,) = [manifest for manifest in manifests if manifest["kind"] == "Pod"]
    assert hook["spec"]["containers"][0]["args"][1:] == [
        *("--address", "exchanger.edge.svc.cluster.local:3000", "--timeout", "10s"),
        *("--ca-file", "/etc/exchanger/ca/ca.crt"),
    ]
    # The test needs the authority, and never the key beside it.
    assert look(hook, "spec/volumes/ca/secret") == {"secretName": "edge", "items": [{"key": "ca.crt", "path": "ca.crt"}]}


def test_long_names_stay_within_what_kubernetes_takes() -> None:
    manifests = render({"nameOverride": "n" * 63}, release="r" * 53)
    for manifest in manifests:
        assert len(manifest["metadata"]["name"]) <= 253
        assert all(len(str(value)) <= 63 for value in manifest["metadata"]["labels"].values())
        if manifest["kind"] in {"Service", "Deployment", "Pod"}:
            assert len(manifest["metadata"]["name"]) <= 63


@pytest.mark.parametrize("name", WHOLE)
def test_names_that_yaml_would_take_for_something_else_stay_texts(name: str) -> None:
    odd = {"nameOverride": "on", "fullnameOverride": "1", "clusterDomain": "2", "priorityClassName": "3", "runtimeClassName": "4"}
    account = {"rbac": {**WHOLE[name].get("rbac", {}), "serviceAccountName": "5"}}
    for manifest in render({"policyNamespaces": ["6"], **WHOLE[name], **odd, **account}, namespace="7"):
        texts = list(texts_of(manifest))
        assert all(isinstance(text, str) for text in texts), f"{manifest['kind']}: {texts}"
        if manifest["apiVersion"] in {"v1", "apps/v1", "networking.k8s.io/v1", "policy/v1", "rbac.authorization.k8s.io/v1"}:
            kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)


def texts_of(node: Any) -> Iterator[Any]:
    """Return what is a text wherever a manifest has it: names, namespaces, labels and whom they select."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in {"name", "namespace", "serviceAccountName", "secretName", "hostname", "authority"} and not isinstance(value, dict):
                yield value
            elif key in {"labels", "matchLabels", "annotations"} and isinstance(value, dict):
                yield from value.values()
            elif key == "matchNames":
                yield from value
            else:
                yield from texts_of(value)
    elif isinstance(node, list):
        for element in node:
            yield from texts_of(element)


def test_two_releases_share_nothing() -> None:
    def names(release: str, namespace: str) -> set[tuple[str, str, str]]:
        found = render({"policyNamespaces": []}, release=release, namespace=namespace)
        return {(manifest["kind"], manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"]) for manifest in found}

    assert not names("one", "edge") & names("two", "edge")
    assert not names("one", "edge") & names("one", "other")


def test_the_pod_has_what_its_volumes_promise() -> None:
    deployment = only(render(FULL), "Deployment")
    volumes = {volume["name"] for volume in look(deployment, f"{POD}/volumes")}
    assert {mount["name"] for mount in look(deployment, f"{CONTAINER}/volumeMounts")} == volumes


def test_only_wanted_objects_are_there() -> None:
    kinds = sorted(manifest["kind"] for manifest in render() if "helm.sh/hook" not in manifest["metadata"].get("annotations", {}))
    assert kinds == [
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "ServiceAccount",
    ]
    assert not of_kind(render(), "Secret")
